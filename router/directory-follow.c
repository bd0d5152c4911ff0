/* What leads to a name, through the references that every alias, forwarder and group leaves. */
#include "directory-follow.h"

#include <stdio.h>
#include <string.h>

static int out_of_memory(struct edit *edit)
{
	return error_set(edit->error, ERROR_MEMORY, "out of memory");
}

/* The subaddress delimiter of a domain: 1, 0 if the domain is not the directory's now, -1. */
static int domain_delimiter(struct edit *edit, const char *domain, char *delimiter_r)
{
	MDB_val value;
	int found = edit_get(edit, TABLE_DOMAINS, domain, strlen(domain), &value);

	if (found <= 0)
		return found;
	if (value.mv_size < 3)
		return error_set(edit->error, ERROR_CORRUPT, "domains \"%s\": the value does not parse",
				 domain);
	*delimiter_r = ((const char *)value.mv_data)[2];
	return 1;
}

/* Does `name+detail` lead to the name? Not where it, or more of it, is a name of its own. 1, 0,
 * -1. */
static int detail_leads(struct edit *edit, const struct edit_name *detailed,
			const struct edit_name *name, char delimiter)
{
	struct edit_name shorter = *detailed;
	size_t cut = strlen(shorter.local);

	while (cut > strlen(name->local)) {
		shorter.local[cut] = '\0';
		shorter.key_length = name_key(shorter.local, shorter.domain, shorter.key);
		int kind = edit_kind(edit, &shorter);
		if (kind != 0)
			return kind < 0 ? -1 : 0;
		do
			cut--;
		while (cut > strlen(name->local) && shorter.local[cut] != delimiter);
	}
	return 1;
}

/* The keys in `references` that begin as the name with a delimiter. */
static int collect_detailed(struct edit *edit, const struct edit_name *name, char delimiter,
			    MDB_cursor *cursor, struct string_set *keys)
{
	char start[NAME_KEY_SIZE + 1];
	size_t length = name->key_length + 1;
	MDB_val key = {.mv_data = start, .mv_size = length}, value;

	memcpy(start, name->key, name->key_length);
	start[name->key_length] = delimiter;
	int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	while (rc == 0 && key.mv_size >= length && memcmp(key.mv_data, start, length) == 0) {
		struct edit_name detailed;

		if (edit_name_from_key(edit, key.mv_data, key.mv_size, &detailed) < 0)
			return -1;
		int leads = detail_leads(edit, &detailed, name, delimiter);
		if (leads < 0)
			return -1;
		if (leads > 0 && string_set_add(keys, key.mv_data, key.mv_size) < 0)
			return out_of_memory(edit);
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT_NODUP);
	}
	return rc == 0 || rc == MDB_NOTFOUND
		       ? 0
		       : store_writer_failed(edit->error, edit->txn, rc, "look up");
}

/* The name's own key and those with a detail. */
static int collect_keys(struct edit *edit, const struct edit_name *name, struct string_set *keys)
{
	char delimiter;
	MDB_cursor *cursor;

	if (string_set_add(keys, name->key, name->key_length) < 0)
		return out_of_memory(edit);
	int found = domain_delimiter(edit, name->domain, &delimiter);
	/* Behind the longest of names there is no room for a detail. */
	if (found <= 0 || strlen(name->local) == LOCAL_MAX_BYTES)
		return found < 0 ? -1 : 0;
	int rc = mdb_cursor_open(edit->txn, edit->tables[TABLE_REFERENCES], &cursor);
	if (rc != 0)
		return store_writer_failed(edit->error, edit->txn, rc, "look up");
	int answer = collect_detailed(edit, name, delimiter, cursor, keys);
	mdb_cursor_close(cursor);
	return answer;
}

/* Calls `each` for everything that leads to the name: `at` is the name as it stands there. */
typedef int follow_cb(struct edit *edit, const struct edit_name *at, enum entry_kind kind,
		      const struct edit_name *holder, void *context);

static int each_holder(struct edit *edit, const struct edit_name *at, follow_cb *each,
		       void *context)
{
	struct string_set values = {0};
	int answer = edit_references(edit, at, &values);

	for (size_t i = 0; answer == 0 && i < values.count; i++) {
		const struct string_set_item *item = &values.items[i];
		struct edit_name holder;

		answer = item->length < 1
				 ? edit_name_from_key(edit, "", 0, &holder)
				 : edit_name_from_key(edit, item->bytes + 1, item->length - 1, &holder);
		if (answer == 0)
			answer = each(edit, at, (enum entry_kind)item->bytes[0], &holder, context);
	}
	string_set_finish(&values);
	return answer;
}

static int follow(struct edit *edit, const struct edit_name *name, follow_cb *each, void *context)
{
	struct string_set keys = {0};
	int answer = collect_keys(edit, name, &keys);

	for (size_t i = 0; answer == 0 && i < keys.count; i++) {
		struct edit_name at;

		answer = edit_name_from_key(edit, keys.items[i].bytes, keys.items[i].length, &at);
		if (answer == 0)
			answer = each_holder(edit, &at, each, context);
	}
	string_set_finish(&keys);
	return answer;
}

enum { MAX_NAMED = 5 };

/* The first of those that are in the way, for the error. */
struct holders {
	char text[400];
	size_t count;
};

static int note_holder(struct edit *edit, const struct edit_name *at, enum entry_kind kind,
		       const struct edit_name *holder, void *context)
{
	struct holders *holders = context;
	size_t used = strlen(holders->text);

	(void)edit, (void)at;
	if (kind != ENTRY_GROUP && holders->count++ < MAX_NAMED)
		snprintf(holders->text + used, sizeof holders->text - used, "%s%s %s",
			 used > 0 ? ", " : "", kind == ENTRY_ALIAS ? "alias" : "forwarder",
			 holder->address);
	return 0;
}

int follow_expect_none(struct edit *edit, const struct edit_name *name)
{
	struct holders holders = {.count = 0};
	char more[32] = "";

	if (follow(edit, name, note_holder, &holders) < 0)
		return -1;
	if (holders.count == 0)
		return 0;
	if (holders.count > MAX_NAMED)
		snprintf(more, sizeof more, " and %zu more", holders.count - MAX_NAMED);
	return error_set(edit->error, ERROR_EXISTS, "%s: %s%s lead to it: --force deletes such aliases "
			 "and takes it out of forwarders", name->address, holders.text, more);
}

/* A member may be stored in the letters that somebody typed; see edit_target. */
static int retarget_member(struct edit *edit, const struct edit_name *group, const char *old,
			   const char *new)
{
	struct string_set members = {0};
	int answer = edit_member_remove(edit, group, old);

	if (answer == 0)
		answer = edit_targets(edit, group, ENTRY_GROUP, &members);
	for (size_t i = 0; answer == 0 && i < members.count; i++)
		if (address_is(members.items[i].bytes, old))
			answer = edit_member_remove(edit, group, members.items[i].bytes);
	string_set_finish(&members);
	if (answer < 0 || !new)
		return answer < 0 ? -1 : 0;
	return edit_member_add(edit, group, new) < 0 ? -1 : 0;
}

/* Puts the new address, if any, where the old one stood in an alias or a forwarder. */
static int retarget_entry(struct edit *edit, const struct edit_name *holder, enum entry_kind kind,
			  const char *old, const char *new)
{
	struct string_set before = {0}, after = {0};
	int answer = edit_targets(edit, holder, kind, &before);

	for (size_t i = 0; answer == 0 && i < before.count; i++) {
		const char *target = before.items[i].bytes;
		bool replaced = address_is(target, old);

		if (replaced)
			target = new;
		if (target && string_set_add(&after, target, strlen(target)) < 0)
			answer = out_of_memory(edit);
		if (answer == 0 && replaced)
			answer = edit_reference(edit, REFERENCE_REMOVE, old, kind, holder);
		if (answer == 0 && replaced && new)
			answer = edit_reference(edit, REFERENCE_ADD, new, kind, holder);
	}
	if (answer == 0)
		answer = edit_put_targets(edit, holder, kind, &after);
	string_set_finish(&before);
	string_set_finish(&after);
	return answer;
}

/* `context` is the set of names that are on their way out: an alias that goes joins them. */
static int forget_name(struct edit *edit, const struct edit_name *at, enum entry_kind kind,
		       const struct edit_name *holder, void *context)
{
	struct string_set *leaving = context;

	if (kind == ENTRY_GROUP)
		return retarget_member(edit, holder, at->address, NULL);
	if (kind == ENTRY_FORWARDER)
		return retarget_entry(edit, holder, kind, at->address, NULL);
	if (string_set_add(leaving, holder->key, holder->key_length) < 0)
		return out_of_memory(edit);
	return edit_remove_entry(edit, holder, ENTRY_ALIAS);
}

int follow_remove(struct edit *edit, const struct edit_name *name)
{
	struct string_set leaving = {0};
	struct edit_name next;
	int answer = string_set_add(&leaving, name->key, name->key_length) < 0 ? out_of_memory(edit) : 0;

	for (size_t i = 0; answer == 0 && i < leaving.count; i++) {
		answer = edit_name_from_key(edit, leaving.items[i].bytes, leaving.items[i].length, &next);
		if (answer == 0)
			answer = follow(edit, &next, forget_name, &leaving);
	}
	string_set_finish(&leaving);
	return answer;
}

struct renaming {
	const struct edit_name *old, *new;
	char delimiter; /* of the new domain */
};

static int lead_to_new(struct edit *edit, const struct edit_name *at, enum entry_kind kind,
		       const struct edit_name *holder, void *context)
{
	const struct renaming *renaming = context;
	const char *detail = at->local + strlen(renaming->old->local);
	char address[NAME_SIZE];
	int length = *detail ? snprintf(address, sizeof address, "%s%c%s@%s", renaming->new->local,
					renaming->delimiter, detail + 1, renaming->new->domain)
			     : snprintf(address, sizeof address, "%s", renaming->new->address);

	if (length >= (int)sizeof address)
		return error_set(edit->error, ERROR_INVALID, "%s: with the new name, the address that "
				 "it leads to is longer than 512 bytes", holder->address);
	if (kind == ENTRY_GROUP)
		return retarget_member(edit, holder, at->address, address);
	return retarget_entry(edit, holder, kind, at->address, address);
}

int follow_rename(struct edit *edit, const struct edit_name *name,
		  const struct edit_name *new_name)
{
	struct renaming renaming = {.old = name, .new = new_name, .delimiter = '+'};

	if (domain_delimiter(edit, new_name->domain, &renaming.delimiter) < 0)
		return -1;
	return follow(edit, name, lead_to_new, &renaming);
}
