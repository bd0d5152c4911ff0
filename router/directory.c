/* The read side of the directory: what directory.h and directory-private.h promise, on stores. */
#include "directory-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "printable.h"
#include "store.h"

struct directory {
	struct store *names;	   /* NULL with DIRECTORY_CREDENTIALS_ALONE */
	struct store *credentials; /* NULL unless asked for */
};

struct directory_reader {
	struct directory *directory;
	struct store_reader *names;
	struct store_reader *credentials;
	bool header_known;
	uint64_t header_snapshot;
	struct routing_header header;
};

static int open_part(const char *path, const char *file, const char *const *tables,
		     struct store **store_r, struct error *error)
{
	char *full;

	if (asprintf(&full, "%s/%s", path, file) < 0)
		return error_set(error, ERROR_MEMORY, "%s: out of memory", path);
	int answer = store_open(full, tables, store_r, error);
	free(full);
	return answer;
}

int directory_open(const char *path, unsigned parts, struct directory **directory_r,
		   struct error *error)
{
	struct directory *directory = calloc(1, sizeof *directory);

	if (!directory)
		return error_set(error, ERROR_MEMORY, "%s: out of memory", path);
	int answer = 0;
	if (!(parts & DIRECTORY_CREDENTIALS_ALONE))
		answer = open_part(path, DIRECTORY_FILE, directory_tables, &directory->names, error);
	if (answer == 0 && (parts & (DIRECTORY_CREDENTIALS | DIRECTORY_CREDENTIALS_ALONE)))
		answer = open_part(path, CREDENTIALS_FILE, credentials_tables,
				   &directory->credentials, error);
	if (answer < 0)
		directory_close(&directory);
	else
		*directory_r = directory;
	return answer;
}

void directory_close(struct directory **directory)
{
	if (!*directory)
		return;
	store_close(&(*directory)->names);
	store_close(&(*directory)->credentials);
	free(*directory);
	*directory = NULL;
}

uint64_t directory_version(struct directory *directory)
{
	return store_version(directory->names);
}

int directory_check(struct directory *directory, struct error *error)
{
	if (directory->names && store_check(directory->names, error) < 0)
		return -1;
	return directory->credentials ? store_check(directory->credentials, error) : 0;
}

struct store *directory_store(struct directory *directory, const char *which)
{
	return strcmp(which, "credentials") == 0 ? directory->credentials : directory->names;
}

struct store_reader *directory_store_reader(struct directory_reader *reader)
{
	return reader->names;
}

int directory_reader_create(struct directory *directory, struct directory_reader **reader_r,
			    struct error *error)
{
	struct directory_reader *reader = calloc(1, sizeof *reader);

	if (!reader)
		return error_set(error, ERROR_MEMORY, "out of memory");
	reader->directory = directory;
	int answer = 0;
	if (directory->names)
		answer = store_reader_create(directory->names, &reader->names, error);
	if (answer == 0 && directory->credentials)
		answer = store_reader_create(directory->credentials, &reader->credentials, error);
	if (answer < 0)
		directory_reader_destroy(&reader);
	else
		*reader_r = reader;
	return answer;
}

void directory_reader_destroy(struct directory_reader **reader)
{
	if (!*reader)
		return;
	store_reader_destroy(&(*reader)->names);
	store_reader_destroy(&(*reader)->credentials);
	free(*reader);
	*reader = NULL;
}

int directory_begin(struct directory_reader *reader, struct error *error)
{
	if (reader->names && store_begin(reader->names, error) < 0)
		return -1;
	if (reader->credentials && store_begin(reader->credentials, error) < 0) {
		if (reader->names)
			store_end(reader->names);
		return -1;
	}
	return 0;
}

void directory_end(struct directory_reader *reader)
{
	if (reader->credentials)
		store_end(reader->credentials);
	if (reader->names)
		store_end(reader->names);
}

uint64_t directory_snapshot(const struct directory_reader *reader)
{
	return store_snapshot(reader->names);
}

int directory_sequence(struct directory_reader *reader, uint64_t *sequence_r, struct error *error)
{
	return store_sequence(reader->names, sequence_r, error);
}

int directory_corrupt(struct error *error, struct directory_reader *reader, const char *table,
		      const char *key)
{
	return error_set(error, ERROR_CORRUPT, "%s: %s \"%.300s\": the value does not parse",
			 store_path(reader->directory->names), table, key);
}

static struct value_reader value_of(const MDB_val *value)
{
	const unsigned char *start = value->mv_data;

	return (struct value_reader){.next = start, .end = start + value->mv_size};
}

/* Copies a string of a value where it fits. */
static bool take_string(struct value_reader *value, char *out, size_t size)
{
	size_t length;
	const char *text = value_string(value, &length);

	if (length >= size)
		value->failed = true;
	if (value->failed)
		return false;
	memcpy(out, text, length + 1);
	return true;
}

/* A value that is one domain name. */
static bool take_domain(const MDB_val *value, char domain_r[DOMAIN_SIZE])
{
	struct value_reader rest = value_of(value);

	return take_string(&rest, domain_r, DOMAIN_SIZE) && rest.next == rest.end &&
	       domain_r[0] != '\0';
}

/* Half of what a page holds, in short names. */
enum { FEW_NAMES = 50 };

static int count_names(struct directory_reader *reader, bool *few_r, struct error *error)
{
	uint64_t domains, names;

	if (store_count(reader->names, TABLE_DOMAINS, &domains, error) < 0 ||
	    store_count(reader->names, TABLE_NAMES, &names, error) < 0)
		return -1;
	*few_r = names / FEW_NAMES < domains;
	return 0;
}

static int read_header(struct directory_reader *reader, struct error *error)
{
	struct routing_header *header = &reader->header;
	MDB_val value;
	int found = store_get(reader->names, TABLE_META, "routing", 7, &value, error);

	if (found < 0)
		return -1;
	*header = (struct routing_header){0};
	if (found == 0)
		return 0; /* before the first apply */
	struct value_reader rest = value_of(&value);
	take_string(&rest, header->main_domain, sizeof header->main_domain);
	take_string(&rest, header->home, sizeof header->home);
	take_string(&rest, header->uid, sizeof header->uid);
	take_string(&rest, header->gid, sizeof header->gid);
	for (unsigned i = 0; i < RECORD_CLASSES; i++)
		header->records[i] = value_u32(&rest);
	for (unsigned i = 0; i < sizeof header->prefix_lengths; i++)
		header->prefix_lengths[i] = value_u8(&rest);
	if (rest.failed || rest.next != rest.end)
		return directory_corrupt(error, reader, "meta", "routing");
	return count_names(reader, &header->few_names, error);
}

const struct routing_header *directory_header(struct directory_reader *reader,
					      struct error *error)
{
	uint64_t snapshot = directory_snapshot(reader);

	if (!reader->header_known || reader->header_snapshot != snapshot) {
		reader->header_known = false;
		if (read_header(reader, error) < 0)
			return NULL;
		reader->header_known = true;
		reader->header_snapshot = snapshot;
	}
	return &reader->header;
}

const char *directory_main_domain(struct directory_reader *reader, struct error *error)
{
	const struct routing_header *header = directory_header(reader, error);

	return header ? header->main_domain : NULL;
}

/* The rules of a domain, from where fewer pages are touched: from in front of its names, or, where
 * these fill pages of their own, from the table of the domains, which is small then. */
static int get_rules(struct directory_reader *reader, const char *domain,
		     struct value_reader *value_r, struct error *error)
{
	const struct routing_header *header = directory_header(reader, error);
	char key[NAME_KEY_SIZE];
	MDB_val value;

	if (!header)
		return -1;
	int found = header->few_names ? store_get(reader->names, TABLE_NAMES, key,
						  name_domain_key(domain, key), &value, error)
				      : store_get(reader->names, TABLE_DOMAINS, domain,
						  strlen(domain), &value, error);
	if (found <= 0)
		return found;
	*value_r = value_of(&value);
	if (header->few_names && value_u8(value_r) != NAME_DOMAIN)
		return directory_corrupt(error, reader, "names", domain);
	return 1;
}

int domain_lookup(struct directory_reader *reader, const char *domain, struct domain_rules *rules_r,
		  struct error *error)
{
	struct value_reader rest;
	int found = get_rules(reader, domain, &rest, error);

	if (found <= 0)
		return found;
	unsigned accounts = value_u8(&rest);
	char unknown = (char)value_u8(&rest);
	char delimiter = (char)value_u8(&rest);
	if (!take_string(&rest, rules_r->reroute, sizeof rules_r->reroute) ||
	    accounts > ACCOUNTS_DOVECOT || unknown == '\0' || !strchr("rdt", unknown) ||
	    delimiter < '!' || delimiter > '~')
		return directory_corrupt(error, reader, "domains", domain);
	rules_r->accounts = (enum accounts_mode)accounts;
	rules_r->unknown = unknown;
	rules_r->delimiter = delimiter;
	return 1;
}

static int host_lookup(struct directory_reader *reader, char kind, const char *name,
		       char domain_r[DOMAIN_SIZE], struct error *error)
{
	char key[1 + DOMAIN_SIZE];
	size_t length = strnlen(name, DOMAIN_MAX_BYTES);
	MDB_val value;

	key[0] = kind;
	memcpy(key + 1, name, length);
	int found = store_get(reader->names, TABLE_HOSTS, key, 1 + length, &value, error);
	if (found == 1 && !take_domain(&value, domain_r))
		return directory_corrupt(error, reader, "hosts", name);
	return found;
}

int domain_alias_lookup(struct directory_reader *reader, const char *alias,
			char domain_r[DOMAIN_SIZE], struct error *error)
{
	return host_lookup(reader, 'a', alias, domain_r, error);
}

int server_name_lookup(struct directory_reader *reader, const char *name,
		       char domain_r[DOMAIN_SIZE], struct error *error)
{
	struct domain_rules rules;
	int found = domain_lookup(reader, name, &rules, error);

	if (found == 1)
		memcpy(domain_r, name, strlen(name) + 1);
	if (found == 0)
		found = host_lookup(reader, 'a', name, domain_r, error);
	if (found == 0)
		found = host_lookup(reader, 's', name, domain_r, error);
	const char *dot = strchr(name, '.');
	if (found == 0 && dot)
		found = host_lookup(reader, 'w', dot + 1, domain_r, error);
	return found;
}

static int network_corrupt(struct directory_reader *reader, const struct ip *network,
			   struct error *error)
{
	char text[IP_TEXT_SIZE];

	return directory_corrupt(error, reader, "networks", ip_format(network, text));
}

int network_lookup(struct directory_reader *reader, const struct ip *ip,
		   char domain_r[DOMAIN_SIZE], unsigned *length_r, struct error *error)
{
	const struct routing_header *header = directory_header(reader, error);

	if (!header)
		return -1;
	for (unsigned length = 129; length-- > 0;) {
		if (!(header->prefix_lengths[length / 8] & 1u << length % 8))
			continue;
		struct ip masked = ip_mask(ip, length);
		unsigned char key[17] = {(unsigned char)length};
		memcpy(key + 1, masked.bytes, sizeof masked.bytes);
		MDB_val value;
		int found = store_get(reader->names, TABLE_NETWORKS, key, sizeof key, &value, error);
		if (found < 0)
			return -1;
		if (found) {
			*length_r = length;
			return take_domain(&value, domain_r) ? 1 : network_corrupt(reader, &masked, error);
		}
	}
	return 0;
}

static bool is_entry_kind(uint8_t kind)
{
	return kind == ENTRY_ACCOUNT || kind == ENTRY_ALIAS || kind == ENTRY_FORWARDER ||
	       kind == ENTRY_GROUP;
}

int name_lookup(struct directory_reader *reader, const char *local, const char *domain,
		enum entry_kind *kind_r, struct value_reader *value_r, struct error *error)
{
	char key[NAME_KEY_SIZE];
	size_t length = name_key(local, domain, key);
	MDB_val value;

	if (*local == '\0') /* the domain's rules have that key */
		return 0;
	int found = store_get(reader->names, TABLE_NAMES, key, length, &value, error);
	if (found <= 0)
		return found;
	*value_r = value_of(&value);
	uint8_t kind = value_u8(value_r);
	if (!is_entry_kind(kind)) {
		char address[ADDRESS_SIZE];

		snprintf(address, sizeof address, "%s@%s", local, domain);
		return directory_corrupt(error, reader, "names", address);
	}
	*kind_r = (enum entry_kind)kind;
	return 1;
}

int directory_kind(struct directory_reader *reader, const char *local, const char *domain,
		   struct error *error)
{
	enum entry_kind kind;
	struct value_reader value;
	int found = name_lookup(reader, local, domain, &kind, &value, error);

	return found == 1 ? (int)kind : found;
}

static bool take_or_default(struct value_reader *value, char *out, size_t size,
			    const char *preset, bool *is_default_r)
{
	if (!take_string(value, out, size))
		return false;
	*is_default_r = out[0] == '\0';
	if (*is_default_r)
		snprintf(out, size, "%s", preset);
	return true;
}

int account_lookup(struct directory_reader *reader, const char *local, const char *domain,
		   struct account *account_r, struct error *error)
{
	const struct routing_header *header = directory_header(reader, error);
	enum entry_kind kind;
	struct value_reader value;
	char home[sizeof account_r->home];

	if (!header)
		return -1;
	int found = name_lookup(reader, local, domain, &kind, &value, error);
	if (found <= 0 || kind != ENTRY_ACCOUNT)
		return found < 0 ? -1 : 0;
	snprintf(account_r->local, sizeof account_r->local, "%s", local);
	snprintf(account_r->domain, sizeof account_r->domain, "%s", domain);
	bool fine = take_or_default(&value, home, sizeof home, header->home,
				    &account_r->home_is_default) &&
		    take_or_default(&value, account_r->uid, sizeof account_r->uid, header->uid,
				    &account_r->uid_is_default) &&
		    take_or_default(&value, account_r->gid, sizeof account_r->gid, header->gid,
				    &account_r->gid_is_default) &&
		    value.next == value.end;
	if (fine && account_r->home_is_default)
		fine = home_expand(home, local, domain, account_r->home, sizeof account_r->home);
	else if (fine)
		memcpy(account_r->home, home, sizeof home);
	if (!fine) {
		char address[ADDRESS_SIZE];

		snprintf(address, sizeof address, "%s@%s", local, domain);
		return directory_corrupt(error, reader, "names", address);
	}
	return 1;
}

int directory_step(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op operation,
		   struct directory_reader *reader, struct error *error)
{
	int rc = mdb_cursor_get(cursor, key, value, operation);

	if (rc == 0)
		return 1;
	if (rc == MDB_NOTFOUND)
		return 0;
	return store_error(error, rc, "read on", store_path(reader->directory->names));
}

int account_groups(struct directory_reader *reader, const char *local, const char *domain,
		   account_group_cb *group, void *context, struct error *error)
{
	char key_bytes[NAME_KEY_SIZE];
	MDB_cursor *cursor;
	MDB_val key = {.mv_data = key_bytes, .mv_size = name_key(local, domain, key_bytes)}, value;

	if (store_cursor(reader->names, TABLE_REFERENCES, &cursor, error) < 0)
		return -1;
	int answer = 0;
	int found = directory_step(cursor, &key, &value, MDB_SET, reader, error);
	if (found == 1)
		found = directory_step(cursor, &key, &value, MDB_FIRST_DUP, reader, error);
	while (found == 1 && answer == 0) {
		const unsigned char *bytes = value.mv_data;
		char group_local[LOCAL_SIZE], group_domain[DOMAIN_SIZE], address[ADDRESS_SIZE];

		if (value.mv_size < 1 || !name_key_split(bytes + 1, value.mv_size - 1, group_local,
							 group_domain)) {
			found = directory_corrupt(error, reader, "references", local);
			break;
		}
		if (bytes[0] == ENTRY_GROUP) {
			snprintf(address, sizeof address, "%s@%s", group_local, group_domain);
			answer = group(address, context);
		}
		found = directory_step(cursor, &key, &value, MDB_NEXT_DUP, reader, error);
	}
	mdb_cursor_close(cursor);
	return found < 0 ? -1 : answer;
}

/* A walk through `names` from a key on. */
struct entry_walk {
	const char *prefix; /* the keys that count begin so; NULL: all */
	size_t prefix_length;
	bool skip_first; /* the key to begin at was seen before */
	int kind;	 /* 0: all */
	directory_entry_cb *entry;
	void *context;
};

static int entry_corrupt(struct directory_reader *reader, const MDB_val *key, struct error *error)
{
	char shown[300];

	printable_escape(shown, sizeof shown, key->mv_data, key->mv_size);
	return directory_corrupt(error, reader, "names", shown);
}

static bool has_prefix(const struct entry_walk *walk, const MDB_val *key)
{
	return !walk->prefix || (key->mv_size >= walk->prefix_length &&
				 memcmp(key->mv_data, walk->prefix, walk->prefix_length) == 0);
}

static int walk_entry(struct directory_reader *reader, const struct entry_walk *walk,
		      const MDB_val *key, const MDB_val *value, struct error *error)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];

	uint8_t kind = value->mv_size > 0 ? *(const uint8_t *)value->mv_data : 0;
	if (!is_entry_kind(kind) || !name_key_split(key->mv_data, key->mv_size, local, domain))
		return entry_corrupt(reader, key, error);
	return walk->kind == 0 || walk->kind == kind
		       ? walk->entry((enum entry_kind)kind, local, domain, walk->context)
		       : 0;
}

static int walk_entries(struct directory_reader *reader, const struct entry_walk *walk,
			const char *start, size_t start_length, struct error *error)
{
	MDB_cursor *cursor;
	MDB_val key = {.mv_data = (void *)start, .mv_size = start_length}, value;

	if (store_cursor(reader->names, TABLE_NAMES, &cursor, error) < 0)
		return -1;
	int answer = 0;
	int found = directory_step(cursor, &key, &value, start_length ? MDB_SET_RANGE : MDB_FIRST, reader, error);
	if (found == 1 && walk->skip_first && key.mv_size == start_length &&
	    memcmp(key.mv_data, start, start_length) == 0)
		found = directory_step(cursor, &key, &value, MDB_NEXT, reader, error);
	while (found == 1 && answer == 0 && has_prefix(walk, &key)) {
		if (!is_name_domain_key(key.mv_data, key.mv_size))
			answer = walk_entry(reader, walk, &key, &value, error);
		found = directory_step(cursor, &key, &value, MDB_NEXT, reader, error);
	}
	mdb_cursor_close(cursor);
	return found < 0 ? -1 : answer;
}

int directory_each_entry(struct directory_reader *reader, const char *domain, int kind,
			 directory_entry_cb *entry, void *context, struct error *error)
{
	char start[DOMAIN_SIZE];
	size_t length = 0;

	if (domain) {
		snprintf(start, sizeof start, "%s", domain);
		length = strlen(start) + 1;
	}
	const struct entry_walk walk = {
		.prefix = domain ? start : NULL,
		.prefix_length = length,
		.kind = kind,
		.entry = entry,
		.context = context,
	};
	return walk_entries(reader, &walk, start, length, error);
}

int directory_each_after(struct directory_reader *reader, const char *local, const char *domain,
			 int kind, directory_entry_cb *entry, void *context, struct error *error)
{
	char start[NAME_KEY_SIZE];
	size_t length = domain ? name_key(local, domain, start) : 0;
	const struct entry_walk walk = {
		.skip_first = true,
		.kind = kind,
		.entry = entry,
		.context = context,
	};

	return walk_entries(reader, &walk, start, length, error);
}

static int each_member(struct directory_reader *reader, const char *local, const char *domain,
		       directory_target_cb *target, void *context, struct error *error)
{
	char key_bytes[NAME_KEY_SIZE];
	MDB_cursor *cursor;
	MDB_val key = {.mv_data = key_bytes, .mv_size = name_key(local, domain, key_bytes)}, value;

	if (store_cursor(reader->names, TABLE_MEMBERS, &cursor, error) < 0)
		return -1;
	int answer = 0;
	int found = directory_step(cursor, &key, &value, MDB_SET, reader, error);
	if (found == 1)
		found = directory_step(cursor, &key, &value, MDB_FIRST_DUP, reader, error);
	while (found == 1 && answer == 0) {
		char address[NAME_SIZE];

		if (value.mv_size == 0 || value.mv_size >= sizeof address ||
		    memchr(value.mv_data, '\0', value.mv_size)) {
			found = directory_corrupt(error, reader, "members", local);
			break;
		}
		memcpy(address, value.mv_data, value.mv_size);
		address[value.mv_size] = '\0';
		answer = target(address, context);
		found = directory_step(cursor, &key, &value, MDB_NEXT_DUP, reader, error);
	}
	mdb_cursor_close(cursor);
	return found < 0 ? -1 : answer;
}

int directory_each_target(struct directory_reader *reader, enum entry_kind kind, const char *local,
			  const char *domain, directory_target_cb *target, void *context,
			  struct error *error)
{
	enum entry_kind found_kind;
	struct value_reader value;

	if (kind == ENTRY_GROUP)
		return each_member(reader, local, domain, target, context, error);
	int found = name_lookup(reader, local, domain, &found_kind, &value, error);
	if (found <= 0 || found_kind != kind || kind == ENTRY_ACCOUNT)
		return found < 0 ? -1 : 0;
	uint32_t count = kind == ENTRY_FORWARDER ? value_u32(&value) : 1;
	int answer = 0;
	for (uint32_t i = 0; i < count && answer == 0; i++) {
		size_t length;
		const char *address = value_string(&value, &length);

		if (value.failed || length == 0 || length > NAME_MAX_BYTES)
			return directory_corrupt(error, reader, "names", local);
		answer = target(address, context);
	}
	return answer;
}

int directory_each_domain(struct directory_reader *reader, directory_domain_cb *each, void *context,
			  struct error *error)
{
	MDB_cursor *cursor;
	MDB_val key, value;

	if (store_cursor(reader->names, TABLE_DOMAINS, &cursor, error) < 0)
		return -1;
	int answer = 0;
	int found = directory_step(cursor, &key, &value, MDB_FIRST, reader, error);
	while (found == 1 && answer == 0) {
		char domain[DOMAIN_SIZE];

		if (key.mv_size == 0 || key.mv_size > DOMAIN_MAX_BYTES) {
			found = directory_corrupt(error, reader, "domains", "?");
			break;
		}
		memcpy(domain, key.mv_data, key.mv_size);
		domain[key.mv_size] = '\0';
		answer = each(domain, context);
		found = directory_step(cursor, &key, &value, MDB_NEXT, reader, error);
	}
	mdb_cursor_close(cursor);
	return found < 0 ? -1 : answer;
}

int credential_lookup(struct directory_reader *reader, const char *local, const char *domain,
		      char credential_r[CREDENTIAL_SIZE], struct error *error)
{
	char key[NAME_KEY_SIZE];
	MDB_val value;

	if (!reader->credentials)
		return error_set(error, ERROR_INVALID, "credentials.mdb is not open");
	int found = store_get(reader->credentials, TABLE_CREDENTIALS, key,
			      name_key(local, domain, key), &value, error);
	if (found <= 0)
		return found;
	struct value_reader rest = value_of(&value);
	if (!take_string(&rest, credential_r, CREDENTIAL_SIZE) || rest.next != rest.end ||
	    credential_r[0] != '{')
		return error_set(error, ERROR_CORRUPT, "%s: \"%s@%s\": the value does not parse",
				 store_path(reader->directory->credentials), local, domain);
	return 1;
}

int directory_statistics(struct directory_reader *reader, struct directory_statistics *statistics_r,
			 struct error *error)
{
	const struct routing_header *header = directory_header(reader, error);
	struct directory_statistics statistics = {0};

	if (!header || directory_sequence(reader, &statistics.sequence, error) < 0 ||
	    store_count(reader->names, TABLE_DOMAINS, &statistics.domains, error) < 0 ||
	    store_count(reader->names, TABLE_NAMES, &statistics.names, error) < 0)
		return -1;
	statistics.names -= statistics.domains; /* each has its rules there */
	for (unsigned i = 0; i < RECORD_CLASSES; i++)
		statistics.records += header->records[i];
	if (reader->credentials && store_count(reader->credentials, TABLE_CREDENTIALS,
					       &statistics.credentials, error) < 0)
		return -1;
	*statistics_r = statistics;
	return 0;
}

static int compare_keys(const MDB_val *a, const MDB_val *b)
{
	size_t common = a->mv_size < b->mv_size ? a->mv_size : b->mv_size;
	int order = memcmp(a->mv_data, b->mv_data, common);

	return order != 0 ? order : a->mv_size < b->mv_size ? -1 : a->mv_size > b->mv_size;
}

/* Both tables are sorted by name key: one walk along the two. */
static int count_orphans(struct directory_reader *reader, MDB_cursor *names,
			 MDB_cursor *credentials, uint64_t *count_r, struct error *error)
{
	MDB_val name, name_value, key, value;
	int has_name = directory_step(names, &name, &name_value, MDB_FIRST, reader, error);
	int found = directory_step(credentials, &key, &value, MDB_FIRST, reader, error);

	while (found == 1 && has_name >= 0) {
		int order = has_name ? compare_keys(&name, &key) : 1;

		if (order >= 0) {
			bool account = order == 0 && name_value.mv_size > 0 &&
				       *(const char *)name_value.mv_data == ENTRY_ACCOUNT;
			*count_r += !account;
			found = directory_step(credentials, &key, &value, MDB_NEXT, reader, error);
		}
		if (order <= 0)
			has_name = directory_step(names, &name, &name_value, MDB_NEXT, reader, error);
	}
	return found < 0 || has_name < 0 ? -1 : 0;
}

int directory_count_orphans(struct directory_reader *reader, uint64_t *count_r,
			    struct error *error)
{
	MDB_cursor *names, *credentials;
	uint64_t count = 0;

	if (!reader->credentials || !reader->names)
		return error_set(error, ERROR_INVALID, "credentials.mdb is not open");
	if (store_cursor(reader->names, TABLE_NAMES, &names, error) < 0)
		return -1;
	int answer = store_cursor(reader->credentials, TABLE_CREDENTIALS, &credentials, error);
	if (answer == 0) {
		answer = count_orphans(reader, names, credentials, &count, error);
		mdb_cursor_close(credentials);
	}
	mdb_cursor_close(names);
	if (answer == 0)
		*count_r = count;
	return answer;
}
