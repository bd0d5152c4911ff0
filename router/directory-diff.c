/* What an apply changes, in the words of homing.json: `domains."client1.com".aliases`, with the
 * old and the new value as JSON. */
#include "directory-diff.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory-format.h"

static int out_of_memory(struct diff *diff)
{
	return error_set(diff->error, ERROR_MEMORY, "out of memory");
}

static char *to_text(const json_t *value)
{
	return json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_PRESERVE_ORDER);
}

/* NULL stands for no value. */
static int tell(struct diff *diff, const char *key, const json_t *old_value,
		const json_t *new_value)
{
	char *old_text = old_value ? to_text(old_value) : NULL;
	char *new_text = new_value ? to_text(new_value) : NULL;
	int answer = 0;

	if ((old_value && !old_text) || (new_value && !new_text)) {
		answer = out_of_memory(diff);
	} else {
		struct config_change change = {
			.what = !old_value ? "add" : new_value ? "change" : "remove",
			.key = key,
			.old_text = old_text,
			.new_text = new_text,
		};
		diff->change(&change, diff->context);
	}
	free(old_text);
	free(new_text);
	return answer;
}

int diff_text(struct diff *diff, const char *key, const char *old_text, const char *new_text)
{
	if (!diff->change || strcmp(old_text, new_text) == 0)
		return 0;
	json_t *old_value = *old_text ? json_string(old_text) : NULL;
	json_t *new_value = *new_text ? json_string(new_text) : NULL;
	int answer = tell(diff, key, old_value, new_value);
	json_decref(old_value);
	json_decref(new_value);
	return answer;
}

static struct value_reader reader_of(const MDB_val *value)
{
	const unsigned char *start = value->mv_data;

	return (struct value_reader){.next = start, .end = start + value->mv_size};
}

static void put_list(json_t *object, const char *key, struct value_reader *value)
{
	json_t *list = json_array();

	for (uint32_t count = value_u32(value); count > 0 && !value->failed; count--) {
		const char *text = value_string(value, NULL);

		if (!value->failed && json_array_append_new(list, json_string(text)) < 0)
			value->failed = true;
	}
	if (json_array_size(list) > 0)
		json_object_set(object, key, list);
	json_decref(list);
}

static void put_unknown(json_t *object, char unknown, const char *reroute)
{
	if (unknown == 't')
		json_object_set_new(object, "unknown", json_sprintf("reroute:%s", reroute));
	else if (unknown == 'd')
		json_object_set_new(object, "unknown", json_string("discard"));
}

/* A domain's value without what is the default; NULL if it does not parse. */
static json_t *domain_object(const MDB_val *value)
{
	static const char *const modes[] = {[ACCOUNTS_EXTERNAL] = "external",
					    [ACCOUNTS_DOVECOT] = "dovecot"};
	struct value_reader rest = reader_of(value);
	unsigned accounts = value_u8(&rest);
	char unknown = (char)value_u8(&rest), delimiter = (char)value_u8(&rest);
	const char *reroute = value_string(&rest, NULL);
	json_t *object = json_object();

	put_list(object, "aliases", &rest);
	put_list(object, "addresses", &rest);
	put_list(object, "server_names", &rest);
	if (accounts > ACCOUNTS_DIRECTORY && accounts <= ACCOUNTS_DOVECOT)
		json_object_set_new(object, "accounts", json_string(modes[accounts]));
	put_unknown(object, unknown, reroute);
	put_list(object, "administrators", &rest);
	if (delimiter != '+')
		json_object_set_new(object, "subaddress_delimiter", json_stringn(&delimiter, 1));
	if (!rest.failed && rest.next == rest.end && accounts <= ACCOUNTS_DOVECOT)
		return object;
	json_decref(object);
	return NULL;
}

/* The keys that differ: those of the old object, then those that only the new one has. */
static int tell_keys(struct diff *diff, const char *name, json_t *old_object, json_t *new_object)
{
	const char *key;
	json_t *value;
	char path[DOMAIN_SIZE + 64];
	int answer = 0;

	json_object_foreach(old_object, key, value) {
		const json_t *other = json_object_get(new_object, key);

		snprintf(path, sizeof path, "domains.\"%s\".%s", name, key);
		if (answer == 0 && !json_equal(value, other))
			answer = tell(diff, path, value, other);
	}
	json_object_foreach(new_object, key, value) {
		snprintf(path, sizeof path, "domains.\"%s\".%s", name, key);
		if (answer == 0 && !json_object_get(old_object, key))
			answer = tell(diff, path, NULL, value);
	}
	return answer;
}

int diff_domain(struct diff *diff, const char *name, const MDB_val *old_value,
		const MDB_val *new_value)
{
	char path[DOMAIN_SIZE + 16];
	int answer;

	if (!diff->change)
		return 0;
	json_t *old_object = old_value ? domain_object(old_value) : NULL;
	json_t *new_object = new_value ? domain_object(new_value) : NULL;
	snprintf(path, sizeof path, "domains.\"%s\"", name);
	if ((old_value && !old_object) || (new_value && !new_object))
		answer = error_set(diff->error, ERROR_CORRUPT, "domains \"%s\": the value does not parse",
				   name);
	else if (old_object && new_object)
		answer = tell_keys(diff, name, old_object, new_object);
	else
		answer = tell(diff, path, old_object, new_object);
	json_decref(old_object);
	json_decref(new_object);
	return answer;
}

static json_t *record_object(const MDB_val *value)
{
	struct value_reader rest = reader_of(value);
	const char *match = value_string(&rest, NULL), *to = value_string(&rest, NULL);

	return rest.failed ? NULL : json_pack("{s:s,s:s}", "match", match, "to", to);
}

int diff_record(struct diff *diff, size_t number, const MDB_val *old_value,
		const MDB_val *new_value)
{
	char path[32];
	int answer;

	if (!diff->change)
		return 0;
	json_t *old_object = old_value ? record_object(old_value) : NULL;
	json_t *new_object = new_value ? record_object(new_value) : NULL;
	snprintf(path, sizeof path, "router[%zu]", number);
	if ((old_value && !old_object) || (new_value && !new_object))
		answer = error_set(diff->error, ERROR_CORRUPT, "records: %s: the value does not parse",
				   path);
	else
		answer = tell(diff, path, old_object, new_object);
	json_decref(old_object);
	json_decref(new_object);
	return answer;
}
