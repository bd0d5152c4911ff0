/* What an account belongs to. Groups are found from below, through `references`: each name that a
 * group or an alias leads to has a value there for it. */
#include "directory-membership.h"

#include <string.h>

#include "directory-private.h"
#include "store.h"
#include "string-set.h"

static int out_of_memory(struct error *error)
{
	return error_set(error, ERROR_MEMORY, "out of memory");
}

/* Puts the keys of the groups and aliases that lead to one name into the set, each with its kind
 * in front. */
static int add_references(struct directory_reader *reader, MDB_cursor *cursor, const char *name,
			  size_t length, struct string_set *set, struct error *error)
{
	MDB_val key = {.mv_data = (void *)name, .mv_size = length}, value;
	int found = directory_step(cursor, &key, &value, MDB_SET, reader, error);

	if (found == 1)
		found = directory_step(cursor, &key, &value, MDB_FIRST_DUP, reader, error);
	while (found == 1) {
		const char *bytes = value.mv_data;
		char kind = value.mv_size > 0 ? bytes[0] : '\0';

		if (kind != ENTRY_GROUP && kind != ENTRY_ALIAS && kind != ENTRY_FORWARDER)
			return directory_corrupt(error, reader, "references", name);
		if (kind != ENTRY_FORWARDER && string_set_add(set, bytes, value.mv_size) < 0)
			return out_of_memory(error);
		found = directory_step(cursor, &key, &value, MDB_NEXT_DUP, reader, error);
	}
	return found;
}

static int tell_group(struct directory_reader *reader, const struct string_set_item *item,
		      membership_cb *each, void *context, struct error *error)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE], address[ADDRESS_SIZE];

	if (!name_key_split(item->bytes + 1, item->length - 1, local, domain))
		return directory_corrupt(error, reader, "references", item->bytes + 1);
	if (item->bytes[0] != ENTRY_GROUP)
		return 0;
	char *end = stpcpy(address, local);
	*end = '@';
	strcpy(end + 1, domain);
	return each(address, context);
}

int membership_each_group(struct directory_reader *reader, const char *local, const char *domain,
			  membership_cb *each, void *context, struct error *error)
{
	struct string_set found = {0};
	char key[NAME_KEY_SIZE];
	MDB_cursor *cursor;

	if (store_cursor(directory_store_reader(reader), TABLE_REFERENCES, &cursor, error) < 0)
		return -1;
	int answer = add_references(reader, cursor, key, name_key(local, domain, key), &found, error);
	/* The set grows meanwhile; a loop of groups ends where all were seen. */
	for (size_t i = 0; answer == 0 && i < found.count; i++) {
		const struct string_set_item *item = &found.items[i];

		answer = add_references(reader, cursor, item->bytes + 1, item->length - 1, &found, error);
	}
	mdb_cursor_close(cursor);
	for (size_t i = 0; answer == 0 && i < found.count; i++)
		answer = tell_group(reader, &found.items[i], each, context, error);
	string_set_finish(&found);
	return answer;
}

/* Is the text among the administrators of a domain with this value? 1, 0, -1 does not parse. */
static int lists_administrator(const MDB_val *value, const char *account)
{
	enum { LISTS_BEFORE = 3 }; /* aliases, addresses, server names */
	const unsigned char *start = value->mv_data;
	struct value_reader rest = {.next = start, .end = start + value->mv_size};
	bool listed = false;

	/* nearly every domain: what it has is looked at without seeing through it */
	if (!memmem(value->mv_data, value->mv_size, account, strlen(account) + 1))
		return 0;
	value_u8(&rest); /* accounts, unknown, delimiter, reroute */
	value_u8(&rest);
	value_u8(&rest);
	value_string(&rest, NULL);
	for (int list = 0; list <= LISTS_BEFORE; list++)
		for (uint32_t count = value_u32(&rest); count > 0 && !rest.failed; count--) {
			const char *text = value_string(&rest, NULL);

			if (list == LISTS_BEFORE && !listed)
				listed = strcmp(text, account) == 0;
		}
	return rest.failed ? -1 : listed;
}

int membership_each_administered(struct directory_reader *reader, const char *account,
				 membership_cb *each, void *context, struct error *error)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int answer = 0;

	if (store_cursor(directory_store_reader(reader), TABLE_DOMAINS, &cursor, error) < 0)
		return -1;
	int found = directory_step(cursor, &key, &value, MDB_FIRST, reader, error);
	while (found == 1 && answer == 0) {
		char domain[DOMAIN_SIZE];
		size_t length = key.mv_size <= DOMAIN_MAX_BYTES ? key.mv_size : 0;

		memcpy(domain, key.mv_data, length);
		domain[length] = '\0';
		int listed = length > 0 ? lists_administrator(&value, account) : -1;
		if (listed < 0)
			answer = directory_corrupt(error, reader, "domains", domain);
		else if (listed > 0)
			answer = each(domain, context);
		found = directory_step(cursor, &key, &value, MDB_NEXT, reader, error);
	}
	mdb_cursor_close(cursor);
	return found < 0 ? -1 : answer;
}
