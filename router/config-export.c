/* The configuration that the directory holds, as JSON: config_load of it gives the same again. What
 * has its default is left out. The layout of the values is in directory-format.h. */
#include "config.h"

#include <stdio.h>
#include <string.h>
#include <unistr.h>

#include "directory-format.h"
#include "directory-private.h"
#include "store.h"

static int out_of_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, "out of memory");
}

/* Sets a key to a new value, which it takes also where it fails. */
static bool put(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value) == 0;
}

static bool put_text(json_t *object, const char *key, const char *text, const char *preset)
{
	return strcmp(text, preset) == 0 || put(object, key, json_string(text));
}

/* A string of a value; one that JSON cannot hold is as bad as none. */
static const char *take_text(struct value_reader *value)
{
	size_t length;
	const char *text = value_string(value, &length);

	if (u8_check((const uint8_t *)text, length))
		value->failed = true;
	return text;
}

/* A list of a domain's value as an array, which may be empty. NULL: out of memory, or `failed` is
 * set. */
static json_t *take_list(struct value_reader *value)
{
	json_t *list = json_array();
	bool fine = list != NULL;

	for (uint32_t count = value_u32(value); fine && count > 0; count--) {
		const char *text = take_text(value);

		fine = !value->failed && json_array_append_new(list, json_string(text)) == 0;
	}
	if (fine && !value->failed)
		return list;
	json_decref(list);
	return NULL;
}

static bool put_list(json_t *object, const char *key, json_t *list)
{
	return json_array_size(list) == 0 || json_object_set(object, key, list) == 0;
}

static bool put_unknown(json_t *object, char unknown, const char *reroute)
{
	if (unknown == 't')
		return put(object, "unknown", json_sprintf("reroute:%s", reroute));
	return unknown == 'r' || put(object, "unknown", json_string("discard"));
}

static bool put_delimiter(json_t *object, char delimiter)
{
	const char text[] = {delimiter, '\0'};

	return put_text(object, "subaddress_delimiter", text, "+");
}

enum { LIST_ALIASES, LIST_ADDRESSES, LIST_SERVER_NAMES, LIST_ADMINISTRATORS, LISTS };

/* In the order in which people write them. */
static bool put_rules(json_t *object, enum accounts_mode accounts, char unknown, char delimiter,
		      const char *reroute, json_t *const lists[LISTS])
{
	static const char *const modes[] = {
		[ACCOUNTS_DIRECTORY] = "directory",
		[ACCOUNTS_EXTERNAL] = "external",
		[ACCOUNTS_DOVECOT] = "dovecot",
	};

	return put_list(object, "aliases", lists[LIST_ALIASES]) &&
	       put_list(object, "addresses", lists[LIST_ADDRESSES]) &&
	       put_list(object, "server_names", lists[LIST_SERVER_NAMES]) &&
	       put_text(object, "accounts", modes[accounts], "directory") &&
	       put_unknown(object, unknown, reroute) &&
	       put_list(object, "administrators", lists[LIST_ADMINISTRATORS]) &&
	       put_delimiter(object, delimiter);
}

/* A domain's value as its object. NULL: `failed` is set, or there is no memory. */
static json_t *domain_object(struct value_reader *value)
{
	unsigned accounts = value_u8(value);
	char unknown = (char)value_u8(value), delimiter = (char)value_u8(value);
	const char *reroute = take_text(value);
	json_t *lists[LISTS] = {NULL}, *object = NULL;
	bool fine = true;

	if (accounts > ACCOUNTS_DOVECOT || unknown == '\0' || !strchr("rdt", unknown))
		value->failed = true;
	for (size_t i = 0; i < LISTS && fine; i++) {
		lists[i] = take_list(value);
		fine = lists[i] != NULL;
	}
	if (value->next != value->end)
		value->failed = true;
	if (fine && !value->failed)
		object = json_object();
	if (object && !put_rules(object, (enum accounts_mode)accounts, unknown, delimiter, reroute,
				 lists)) {
		json_decref(object);
		object = NULL;
	}
	for (size_t i = 0; i < LISTS; i++)
		json_decref(lists[i]);
	return object;
}

static struct value_reader value_of(const MDB_val *value)
{
	const unsigned char *start = value->mv_data;

	return (struct value_reader){.next = start, .end = start + value->mv_size};
}

/* One row of a table into the JSON that `into` is. */
typedef int export_row(struct directory_reader *reader, const MDB_val *key, const MDB_val *value,
		       json_t *into, struct error *error);

static int export_domain(struct directory_reader *reader, const MDB_val *key, const MDB_val *value,
			 json_t *into, struct error *error)
{
	struct value_reader rest = value_of(value);
	char name[DOMAIN_SIZE];

	if (key->mv_size == 0 || key->mv_size > DOMAIN_MAX_BYTES ||
	    u8_check(key->mv_data, key->mv_size))
		return directory_corrupt(error, reader, "domains", "?");
	memcpy(name, key->mv_data, key->mv_size);
	name[key->mv_size] = '\0';
	json_t *object = domain_object(&rest);
	if (!object)
		return rest.failed ? directory_corrupt(error, reader, "domains", name)
				   : out_of_memory(error);
	return put(into, name, object) ? 0 : out_of_memory(error);
}

/* Only the rows 'o' are every record in file order; the others are their index. */
static int export_record(struct directory_reader *reader, const MDB_val *key, const MDB_val *value,
			 json_t *into, struct error *error)
{
	struct value_reader rest = value_of(value);

	if (key->mv_size == 0 || *(const char *)key->mv_data != 'o')
		return 0;
	const char *match = take_text(&rest), *to = take_text(&rest);
	if (rest.failed || rest.next != rest.end)
		return directory_corrupt(error, reader, "records", match);
	json_t *record = json_pack("{s:s, s:s}", "match", match, "to", to);
	if (!record || json_array_append_new(into, record) < 0)
		return out_of_memory(error);
	return 0;
}

static int export_table(struct directory_reader *reader, enum directory_table table,
			export_row *row, json_t *into, struct error *error)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int answer = 0;

	if (store_cursor(directory_store_reader(reader), table, &cursor, error) < 0)
		return -1;
	int rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	while (rc == 0 && answer == 0) {
		answer = row(reader, &key, &value, into, error);
		if (answer == 0)
			rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (answer == 0 && rc != MDB_NOTFOUND)
		return store_error(error, rc, "read on", DIRECTORY_FILE);
	return answer;
}

static bool put_header(json_t *config, const struct routing_header *header)
{
	json_t *defaults = json_object();
	bool fine = defaults && put_text(config, "main_domain", header->main_domain, "") &&
		    put_text(defaults, "home", header->home, "") &&
		    put_text(defaults, "uid", header->uid, "") &&
		    put_text(defaults, "gid", header->gid, "");

	if (fine && json_object_size(defaults) > 0)
		fine = json_object_set(config, "account_defaults", defaults) == 0;
	json_decref(defaults);
	return fine;
}

/* The three keys after one another; an empty router is left out. */
static int export_all(struct directory_reader *reader, json_t *config, struct error *error)
{
	const struct routing_header *header = directory_header(reader, error);
	json_t *domains = json_object(), *router = json_array();
	int answer = header ? 0 : -1;

	if (answer == 0 && (!domains || !router || !put_header(config, header)))
		answer = out_of_memory(error);
	if (answer == 0)
		answer = export_table(reader, TABLE_DOMAINS, export_domain, domains, error);
	if (answer == 0)
		answer = export_table(reader, TABLE_RECORDS, export_record, router, error);
	if (answer == 0 && (json_object_set(config, "domains", domains) < 0 ||
			    !put_list(config, "router", router)))
		answer = out_of_memory(error);
	json_decref(domains);
	json_decref(router);
	return answer;
}

json_t *config_export(struct directory_reader *reader, struct error *error)
{
	json_t *config = json_object();

	if (!config) {
		out_of_memory(error);
		return NULL;
	}
	if (export_all(reader, config, error) < 0) {
		json_decref(config);
		return NULL;
	}
	return config;
}
