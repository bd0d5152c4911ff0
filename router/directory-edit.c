/* Names, targets and references inside a write transaction. Every alias, forwarder and group
 * leaves a reference at each name that it leads to, so that a deletion or a new name costs what it
 * touches and not a walk through the directory. */
#include "directory-edit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MEMBER_MAX_BYTES = 511 }; /* LMDB sorts values of up to 511 bytes */

int edit_answer(const struct edit *edit)
{
	return edit->changed ? 0 : 1;
}

static int failed(struct edit *edit, int rc, const char *doing)
{
	return store_writer_failed(edit->error, edit->txn, rc, doing);
}

static int out_of_memory(struct edit *edit)
{
	return error_set(edit->error, ERROR_MEMORY, "out of memory");
}

int edit_get(struct edit *edit, unsigned table, const void *key, size_t key_length,
	     MDB_val *value_r)
{
	MDB_val mdb_key = {.mv_data = (void *)key, .mv_size = key_length};
	int rc = mdb_get(edit->txn, edit->tables[table], &mdb_key, value_r);

	if (rc == MDB_NOTFOUND)
		return 0;
	return rc == 0 ? 1 : failed(edit, rc, "look up");
}

int edit_put(struct edit *edit, unsigned table, const void *key, size_t key_length,
	     const void *value, size_t value_length)
{
	MDB_val mdb_key = {.mv_data = (void *)key, .mv_size = key_length};
	MDB_val mdb_value = {.mv_data = (void *)value, .mv_size = value_length};
	int rc = mdb_put(edit->txn, edit->tables[table], &mdb_key, &mdb_value, 0);

	if (rc != 0)
		return failed(edit, rc, "put");
	edit->changed = true;
	return 0;
}

int edit_delete(struct edit *edit, unsigned table, const void *key, size_t key_length,
		const MDB_val *value)
{
	MDB_val mdb_key = {.mv_data = (void *)key, .mv_size = key_length};
	int rc = mdb_del(edit->txn, edit->tables[table], &mdb_key, (MDB_val *)value);

	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return failed(edit, rc, "delete");
	edit->changed = true;
	return 1;
}

static void complete_name(struct edit_name *name)
{
	char *end = stpcpy(name->address, name->local);

	*end++ = '@';
	strcpy(end, name->domain);
	name->key_length = name_key(name->local, name->domain, name->key);
}

int edit_name_init(struct edit *edit, const char *local, const char *domain,
		   struct edit_name *name_r)
{
	char canonical[DOMAIN_SIZE];
	size_t domain_length = strnlen(domain, NAME_SIZE);
	const char *why = local_refusal(local, strnlen(local, NAME_SIZE));

	if (why)
		return error_set(edit->error, ERROR_INVALID, "%.255s@%.253s: %s", local, domain, why);
	if (!domain_parse(domain, domain_length, canonical) || strcmp(canonical, domain) != 0)
		return error_set(edit->error, ERROR_INVALID, "%.255s@%.253s: not a domain in canonical "
				 "form behind the `@`", local, domain);
	strcpy(name_r->local, local); /* both were found short enough */
	strcpy(name_r->domain, domain);
	complete_name(name_r);
	return 0;
}

int edit_name_from_key(struct edit *edit, const void *key, size_t length,
		       struct edit_name *name_r)
{
	if (!name_key_split(key, length, name_r->local, name_r->domain))
		return error_set(edit->error, ERROR_CORRUPT, "references: a value is no name key; "
				 "homingctl verify finds where");
	complete_name(name_r);
	return 0;
}

static struct value_reader reader_of(const MDB_val *value)
{
	const unsigned char *start = value->mv_data;

	return (struct value_reader){.next = start, .end = start + value->mv_size};
}

/* The domain behind a domain's alias: 1, 0, -1. */
static int alias_domain(struct edit *edit, const char *alias, char domain_r[DOMAIN_SIZE])
{
	char key[1 + DOMAIN_SIZE] = "a";
	MDB_val value;
	size_t length;

	memcpy(key + 1, alias, strlen(alias));
	int found = edit_get(edit, TABLE_HOSTS, key, 1 + strlen(alias), &value);
	if (found <= 0)
		return found;
	struct value_reader reader = reader_of(&value);
	const char *domain = value_string(&reader, &length);
	if (reader.failed || length == 0 || length > DOMAIN_MAX_BYTES)
		return error_set(edit->error, ERROR_CORRUPT, "hosts \"%s\": the value does not parse",
				 alias);
	memcpy(domain_r, domain, length + 1);
	return 1;
}

int edit_check_domain(struct edit *edit, const char *domain, bool accounts)
{
	MDB_val value;
	char real[DOMAIN_SIZE];
	int found = edit_get(edit, TABLE_DOMAINS, domain, strlen(domain), &value);

	if (found < 0)
		return -1;
	if (found == 0) {
		found = alias_domain(edit, domain, real);
		if (found > 0)
			return error_set(edit->error, ERROR_INVALID, "%s is another name of %s: names "
					 "belong to %s", domain, real, real);
		return found < 0 ? -1
				 : error_set(edit->error, ERROR_MISSING, "%s: none of the directory's "
					     "domains (homingctl apply makes one)", domain);
	}
	struct value_reader reader = reader_of(&value);
	unsigned mode = value_u8(&reader);
	if (reader.failed || mode > ACCOUNTS_DOVECOT)
		return error_set(edit->error, ERROR_CORRUPT, "domains \"%s\": the value does not parse",
				 domain);
	if (accounts && mode != ACCOUNTS_DIRECTORY)
		return error_set(edit->error, ERROR_INVALID, "%s: the accounts of this domain are kept "
				 "outside the directory", domain);
	return 0;
}

int edit_kind(struct edit *edit, const struct edit_name *name)
{
	MDB_val value;
	int found = edit_get(edit, TABLE_NAMES, name->key, name->key_length, &value);

	if (found <= 0)
		return found;
	unsigned char kind = value.mv_size > 0 ? *(unsigned char *)value.mv_data : 0;
	if (kind == ENTRY_ACCOUNT || kind == ENTRY_ALIAS || kind == ENTRY_FORWARDER ||
	    kind == ENTRY_GROUP)
		return kind;
	return error_set(edit->error, ERROR_CORRUPT, "names \"%s\": the value does not parse",
			 name->address);
}

const char *edit_kind_words(int kind)
{
	switch (kind) {
	case ENTRY_ACCOUNT:
		return "an account";
	case ENTRY_ALIAS:
		return "an alias";
	case ENTRY_FORWARDER:
		return "a forwarder";
	default:
		return "a group";
	}
}

int edit_expect(struct edit *edit, const struct edit_name *name, enum entry_kind kind)
{
	const char *wanted = strchr(edit_kind_words(kind), ' ') + 1;
	int found = edit_kind(edit, name);

	if (found == (int)kind || found < 0)
		return found < 0 ? -1 : 0;
	if (found == 0)
		return error_set(edit->error, ERROR_MISSING, "%s: no such %s", name->address, wanted);
	return error_set(edit->error, ERROR_MISSING, "%s: no such %s: it is %s", name->address, wanted,
			 edit_kind_words(found));
}

int edit_expect_free(struct edit *edit, const struct edit_name *name)
{
	int found = edit_kind(edit, name);

	if (found <= 0)
		return found;
	return error_set(edit->error, ERROR_EXISTS, "%s: the name is taken: there is %s of this name",
			 name->address, edit_kind_words(found));
}

/* An unquoted local part with one of these would be two addresses, or none, to who reads it
 * from a list (RFC 5322: specials). */
static const char *remote_refusal(const char *local, size_t length)
{
	if (length == 0)
		return "nothing before the `@`";
	if (length >= 2 && local[0] == '"' && local[length - 1] == '"')
		return NULL;
	for (size_t i = 0; i < length; i++)
		if (strchr(" ()<>[]:;@\\,\"", local[i]))
			return "a character that needs double quotes in an address: space ( ) < > [ ] : "
			       "; @ \\ , \"";
	return NULL;
}

/* Is the domain ours, under which name? 1, 0, -1. */
static int our_domain(struct edit *edit, const char *domain, char real_r[DOMAIN_SIZE])
{
	MDB_val value;
	int found = edit_get(edit, TABLE_DOMAINS, domain, strlen(domain), &value);

	if (found == 0)
		return alias_domain(edit, domain, real_r);
	if (found > 0)
		memcpy(real_r, domain, strlen(domain) + 1);
	return found;
}

static int bad_target(struct edit *edit, const char *text, const char *why)
{
	return error_set(edit->error, ERROR_INVALID, "%.512s: %s", text, why);
}

int edit_target(struct edit *edit, const char *text, char target_r[NAME_SIZE])
{
	char domain[DOMAIN_SIZE], real[DOMAIN_SIZE], local[LOCAL_SIZE];
	struct ip ip;
	size_t length = strnlen(text, NAME_SIZE);
	const char *why = name_refusal(NAME_ADDRESS, text, length);
	const char *at = why ? NULL : name_find_at(text, length);

	if (why || !at)
		return bad_target(edit, text, why ? why : "no `@`: expected name@domain");
	size_t local_length = (size_t)(at - text), domain_length = length - local_length - 1;
	bool literal = domain_literal_parse(at + 1, domain_length, &ip);
	if (!literal && !domain_parse(at + 1, domain_length, domain))
		return bad_target(edit, text, "not a domain name behind the `@`");
	int ours = literal ? 0 : our_domain(edit, domain, real);
	if (ours < 0)
		return -1;
	why = ours ? address_parse(text, length, local, domain) : remote_refusal(text, local_length);
	if (why)
		return bad_target(edit, text, why);
	int used = ours ? snprintf(target_r, NAME_SIZE, "%s@%s", local, real)
			: snprintf(target_r, NAME_SIZE, "%.*s@%s", (int)local_length, text,
				   literal ? at + 1 : domain);
	return used < NAME_SIZE ? 0 : bad_target(edit, text, "longer than 512 bytes");
}

/* The name key of a target, 0 if it is no name of the directory's form. */
static size_t target_key(const char *target, char key_r[NAME_KEY_SIZE])
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];

	if (address_parse(target, strlen(target), local, domain) != NULL)
		return 0;
	return name_key(local, domain, key_r);
}

int edit_reference(struct edit *edit, enum edit_reference what, const char *target,
		   enum entry_kind kind, const struct edit_name *name)
{
	char key[NAME_KEY_SIZE], bytes[1 + NAME_KEY_SIZE];
	MDB_val value = {.mv_data = bytes, .mv_size = 1 + name->key_length};
	size_t length = target_key(target, key);

	if (length == 0)
		return 0;
	bytes[0] = (char)kind;
	memcpy(bytes + 1, name->key, name->key_length);
	if (what == REFERENCE_ADD)
		return edit_put(edit, TABLE_REFERENCES, key, length, bytes, value.mv_size);
	return edit_delete(edit, TABLE_REFERENCES, key, length, &value) < 0 ? -1 : 0;
}

/* The sorted values of a key, each into the set. */
static int collect_values(struct edit *edit, unsigned table, const struct edit_name *name,
			  struct string_set *set)
{
	MDB_val key = {.mv_data = (void *)name->key, .mv_size = name->key_length}, value;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(edit->txn, edit->tables[table], &cursor);

	if (rc != 0)
		return failed(edit, rc, "look up");
	int added = 0;
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_KEY);
	while (rc == 0 && added >= 0) {
		added = string_set_add(set, value.mv_data, value.mv_size);
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT_DUP);
	}
	mdb_cursor_close(cursor);
	if (added < 0)
		return out_of_memory(edit);
	return rc == MDB_NOTFOUND ? 0 : failed(edit, rc, "look up");
}

int edit_references(struct edit *edit, const struct edit_name *name, struct string_set *values)
{
	return collect_values(edit, TABLE_REFERENCES, name, values);
}

/* The targets in the value of an alias or a forwarder. */
static int parse_targets(struct edit *edit, const struct edit_name *name, const MDB_val *value,
			 struct string_set *targets)
{
	struct value_reader reader = reader_of(value);
	uint32_t count = value_u8(&reader) == ENTRY_FORWARDER ? value_u32(&reader) : 1;

	for (uint32_t i = 0; i < count && !reader.failed; i++) {
		size_t length;
		const char *target = value_string(&reader, &length);

		if (!reader.failed && string_set_add(targets, target, length) < 0)
			return out_of_memory(edit);
	}
	if (reader.failed || reader.next != reader.end)
		return error_set(edit->error, ERROR_CORRUPT, "names \"%s\": the value does not parse",
				 name->address);
	return 0;
}

int edit_targets(struct edit *edit, const struct edit_name *name, enum entry_kind kind,
		 struct string_set *targets)
{
	MDB_val value;

	if (kind == ENTRY_GROUP)
		return collect_values(edit, TABLE_MEMBERS, name, targets);
	int found = edit_get(edit, TABLE_NAMES, name->key, name->key_length, &value);
	return found <= 0 ? found : parse_targets(edit, name, &value, targets);
}

int edit_put_targets(struct edit *edit, const struct edit_name *name, enum entry_kind kind,
		     const struct string_set *targets)
{
	struct value_writer value = {0};

	value_put_u8(&value, (uint8_t)kind);
	if (kind == ENTRY_FORWARDER)
		value_put_u32(&value, (uint32_t)targets->count);
	for (size_t i = 0; i < targets->count; i++)
		value_put_string(&value, targets->items[i].bytes);
	int answer = value.failed ? out_of_memory(edit)
				  : edit_put(edit, TABLE_NAMES, name->key, name->key_length, value.data,
					     value.length);
	free(value.data);
	return answer;
}

int edit_member_add(struct edit *edit, const struct edit_name *group, const char *member)
{
	MDB_val key = {.mv_data = (void *)group->key, .mv_size = group->key_length};
	MDB_val value = {.mv_data = (void *)member, .mv_size = strlen(member)};

	if (value.mv_size > MEMBER_MAX_BYTES)
		return bad_target(edit, member, "longer than 511 bytes, the most for a member");
	int rc = mdb_put(edit->txn, edit->tables[TABLE_MEMBERS], &key, &value, MDB_NODUPDATA);
	if (rc == MDB_KEYEXIST)
		return 0;
	if (rc != 0)
		return failed(edit, rc, "put");
	edit->changed = true;
	return edit_reference(edit, REFERENCE_ADD, member, ENTRY_GROUP, group) < 0 ? -1 : 1;
}

int edit_member_remove(struct edit *edit, const struct edit_name *group, const char *member)
{
	MDB_val value = {.mv_data = (void *)member, .mv_size = strlen(member)};

	if (value.mv_size > MEMBER_MAX_BYTES)
		return 0;
	int found = edit_delete(edit, TABLE_MEMBERS, group->key, group->key_length, &value);
	if (found <= 0)
		return found;
	return edit_reference(edit, REFERENCE_REMOVE, member, ENTRY_GROUP, group) < 0 ? -1 : 1;
}

int edit_remove_entry(struct edit *edit, const struct edit_name *name, enum entry_kind kind)
{
	struct string_set targets = {0};
	int answer = edit_targets(edit, name, kind, &targets);

	for (size_t i = 0; answer == 0 && i < targets.count; i++)
		answer = edit_reference(edit, REFERENCE_REMOVE, targets.items[i].bytes, kind, name);
	if (answer == 0 && kind == ENTRY_GROUP)
		answer = edit_delete(edit, TABLE_MEMBERS, name->key, name->key_length, NULL) < 0 ? -1 : 0;
	if (answer == 0)
		answer = edit_delete(edit, TABLE_NAMES, name->key, name->key_length, NULL) < 0 ? -1 : 0;
	string_set_finish(&targets);
	return answer;
}
