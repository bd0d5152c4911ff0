/* Many accounts at once: one transaction a file.
 *
 * LMDB appends a key behind the last one of a table without looking for its place and fills its
 * pages to the brim, so accounts that come sorted go to the end of an empty table, or of one that
 * ends before them, at the speed of writing. Whatever comes in another order is put where it
 * belongs, one by one. A table that holds the rules of domains and no names yet, as after the first
 * apply, is emptied and written anew with the accounts between them. */
#include "directory-edit.h"

#include <stdlib.h>
#include <string.h>

#include "directory-account.h"
#include "directory-credential.h"
#include "directory-derived.h"
#include "directory-grants.h"
#include "store-write-private.h"

/* The end of a table, to know what may be appended. */
struct table_end {
	MDB_cursor *cursor;
	char key[NAME_KEY_SIZE];
	size_t length; /* 0: the table is empty */
};

/* The rules of domains that are still to be written between the accounts. */
struct rules_walk {
	MDB_cursor *domains; /* NULL: all of them are in the table */
	MDB_val name, value; /* of the next domain */
	struct value_writer rules;
};

struct import {
	struct directory_writer *writer;
	const struct account_source *source;
	size_t names_bytes, credentials_bytes; /* of what was asked for so far */
	bool measured; /* the whole source was asked for once */
	bool has_grants; /* somebody gave or received rights */
	struct value_writer value; /* used again for each account */
	char domain[DOMAIN_SIZE];  /* the last one that was found to keep accounts */
};

/* What a key and a value take in a page: LMDB's head of a node, its place in the index, padding;
 * and a twentieth for pages that are not quite full and for the tree above them. */
static size_t node_size(size_t key, size_t value)
{
	size_t size = key + value + 8 + 2 + 1;

	return size + size / 20;
}

static void measure(struct import *import, const struct account_change *account)
{
	size_t key = strlen(account->local) + 1 + strlen(account->domain);
	size_t value = 4;

	if (import->measured)
		return;
	value += account->home ? strlen(account->home) : 0;
	value += account->uid ? strlen(account->uid) : 0;
	value += account->gid ? strlen(account->gid) : 0;
	import->names_bytes += node_size(key, value);
	for (const char *const *group = account->groups; group && *group; group++)
		import->names_bytes += 2 * node_size(key, 2 * NAME_KEY_SIZE / 4);
	if (account->credential)
		import->credentials_bytes += node_size(key, strlen(account->credential) + 1);
}

/* The map was too small: asks for the rest, so that it can grow in one step. */
static int measure_rest(struct import *import, struct error *error)
{
	struct account_change account;
	int got = 0;

	while (!import->measured && (got = import->source->next(import->source->context, &account, error)) > 0)
		measure(import, &account);
	import->measured = true;
	return got;
}

static int end_open(struct table_end *end, struct edit *edit, unsigned table)
{
	MDB_val key, value;
	int rc = mdb_cursor_open(edit->txn, edit->tables[table], &end->cursor);

	if (rc == 0)
		rc = mdb_cursor_get(end->cursor, &key, &value, MDB_LAST);
	if (rc == 0 && key.mv_size <= sizeof end->key) {
		memcpy(end->key, key.mv_data, key.mv_size);
		end->length = key.mv_size;
	}
	if (rc == 0 || rc == MDB_NOTFOUND)
		return 0;
	return store_writer_failed(edit->error, edit->txn, rc, "read on");
}

/* As LMDB compares keys: is the first one greater? */
static bool is_greater(const void *key, size_t length, const void *other, size_t other_length)
{
	int order = memcmp(key, other, length < other_length ? length : other_length);

	return order > 0 || (order == 0 && length > other_length);
}

static bool is_behind(const struct table_end *end, const struct edit_name *name)
{
	return is_greater(name->key, name->key_length, end->key, end->length);
}

static int end_append(struct table_end *end, struct edit *edit, const char *key, size_t key_length,
		      const void *bytes, size_t length)
{
	MDB_val mdb_key = {.mv_data = (void *)key, .mv_size = key_length};
	MDB_val value = {.mv_data = (void *)bytes, .mv_size = length};
	int rc = mdb_cursor_put(end->cursor, &mdb_key, &value, MDB_APPEND);

	if (rc != 0)
		return store_writer_failed(edit->error, edit->txn, rc, "append");
	memcpy(end->key, key, key_length);
	end->length = key_length;
	edit->changed = true;
	return 0;
}

/* The value of a name that is not behind the end: 1, 0, -1. */
static int end_find(struct table_end *end, struct edit *edit, const struct edit_name *name,
		    MDB_val *value_r)
{
	MDB_val key = {.mv_data = (void *)name->key, .mv_size = name->key_length};
	int rc = mdb_cursor_get(end->cursor, &key, value_r, MDB_SET_KEY);

	if (rc == MDB_NOTFOUND)
		return 0;
	return rc == 0 ? 1 : store_writer_failed(edit->error, edit->txn, rc, "look up");
}

static int end_put(struct table_end *end, struct edit *edit, const struct edit_name *name,
		   const void *bytes, size_t length)
{
	MDB_val key = {.mv_data = (void *)name->key, .mv_size = name->key_length};
	MDB_val value = {.mv_data = (void *)bytes, .mv_size = length};
	int rc = mdb_cursor_put(end->cursor, &key, &value, 0);

	if (rc != 0)
		return store_writer_failed(edit->error, edit->txn, rc, "put");
	edit->changed = true;
	return 0;
}

static bool is_same(const MDB_val *value, const void *bytes, size_t length)
{
	return value->mv_size == length && memcmp(value->mv_data, bytes, length) == 0;
}

/* 1: there is an account of this name, to be replaced; 0: nobody has it. */
static int find_account(struct import *import, struct edit *edit, struct table_end *end,
			const struct edit_name *name, MDB_val *value_r)
{
	int found = end_find(end, edit, name, value_r);

	if (found <= 0)
		return found;
	if (!import->source->replace || value_r->mv_size == 0 ||
	    *(unsigned char *)value_r->mv_data != ENTRY_ACCOUNT)
		return edit_expect_free(edit, name) < 0 ? -1 : 0;
	return 1;
}

/* A new account must not have what another of its name was granted. Most installations that import
 * many have no grants at all. */
static int forget_grants(struct import *import, struct edit *edit, const struct edit_name *name)
{
	return import->has_grants
		       ? grants_forget(import->writer->sharing, ENTRY_ACCOUNT, name, edit->error)
		       : 0;
}

static int import_name(struct import *import, struct edit *edit, struct table_end *end,
		       const struct edit_name *name, const struct account_change *account)
{
	MDB_val stored;
	struct value_writer *value = &import->value;

	value->length = 0;
	if (account_value(account, value, edit->error) < 0)
		return -1;
	if (is_behind(end, name))
		return forget_grants(import, edit, name) < 0 ||
				       end_append(end, edit, name->key, name->key_length, value->data,
						  value->length) < 0
			       ? -1
			       : account_join(edit, name, account->groups, false);
	int found = find_account(import, edit, end, name, &stored);
	if (found < 0 || (found == 0 && forget_grants(import, edit, name) < 0))
		return -1;
	if ((found == 0 || !is_same(&stored, value->data, value->length)) &&
	    end_put(end, edit, name, value->data, value->length) < 0)
		return -1;
	return account_join(edit, name, account->groups, found > 0);
}

/* The next account, checked. 1, 0 at the end, -1. */
static int next_account(struct import *import, struct edit *edit, struct account_change *account,
			struct edit_name *name)
{
	*account = (struct account_change){0};
	int got = import->source->next(import->source->context, account, edit->error);

	if (got <= 0)
		return got;
	if (edit_name_init(edit, account->local, account->domain, name) < 0 ||
	    account_check(account, edit->error) < 0)
		return -1;
	measure(import, account);
	if (strcmp(import->domain, name->domain) == 0)
		return 1;
	if (edit_check_domain(edit, name->domain, true) < 0)
		return -1;
	memcpy(import->domain, name->domain, sizeof name->domain);
	return 1;
}

static int rules_next(struct rules_walk *walk, struct edit *edit, MDB_cursor_op operation)
{
	int rc = mdb_cursor_get(walk->domains, &walk->name, &walk->value, operation);

	if (rc == 0)
		return 0;
	mdb_cursor_close(walk->domains);
	walk->domains = NULL;
	return rc == MDB_NOTFOUND ? 0
				  : store_writer_failed(edit->error, edit->txn, rc, "read on");
}

/* 1: the table holds rules of domains alone; 0: names too, -1. */
static int has_rules_alone(struct edit *edit)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int rc = mdb_cursor_open(edit->txn, edit->tables[TABLE_NAMES], &cursor);

	if (rc != 0)
		return store_writer_failed(edit->error, edit->txn, rc, "read on");
	rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	while (rc == 0 && is_name_domain_key(key.mv_data, key.mv_size))
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	mdb_cursor_close(cursor);
	if (rc == 0 || rc == MDB_NOTFOUND)
		return rc == 0 ? 0 : 1;
	return store_writer_failed(edit->error, edit->txn, rc, "read on");
}

/* Empties `names` where it holds nothing but what can be made again. */
static int rules_open(struct rules_walk *walk, struct import *import, struct edit *edit)
{
	MDB_stat domains, names;
	int rc = mdb_stat(edit->txn, edit->tables[TABLE_DOMAINS], &domains);

	if (rc == 0)
		rc = mdb_stat(edit->txn, edit->tables[TABLE_NAMES], &names);
	if (rc == 0 && names.ms_entries != domains.ms_entries)
		return 0; /* the count tells most of the time, and without a walk */
	int alone = rc == 0 ? has_rules_alone(edit) : 1;
	if (alone <= 0)
		return alone;
	if (rc == 0)
		rc = mdb_drop(edit->txn, edit->tables[TABLE_NAMES], 0);
	if (rc == 0)
		rc = mdb_cursor_open(edit->txn, edit->tables[TABLE_DOMAINS], &walk->domains);
	if (rc != 0)
		return store_writer_failed(edit->error, edit->txn, rc, "write the names anew");
	if (!import->measured) /* its pages are free at the next transaction only */
		import->names_bytes += (names.ms_leaf_pages + names.ms_branch_pages) * names.ms_psize;
	return rules_next(walk, edit, MDB_FIRST);
}

/* Appends the rules of the domains up to this one; NULL: of all that remain. */
static int rules_append(struct rules_walk *walk, struct edit *edit, struct table_end *end,
			const char *domain)
{
	char key[NAME_KEY_SIZE];
	int answer = 0;

	while (answer == 0 && walk->domains) {
		size_t length = walk->name.mv_size;

		if (domain && is_greater(walk->name.mv_data, length, domain, strlen(domain)))
			break;
		if (length > DOMAIN_MAX_BYTES || !derived_rules(&walk->value, &walk->rules))
			return error_set(edit->error, ERROR_CORRUPT, "domains: a value does not parse");
		if (walk->rules.failed)
			return error_set(edit->error, ERROR_MEMORY, "out of memory");
		memcpy(key, walk->name.mv_data, length);
		key[length] = '\0';
		answer = end_append(end, edit, key, length + 1, walk->rules.data, walk->rules.length);
		if (answer == 0)
			answer = rules_next(walk, edit, MDB_NEXT);
	}
	return answer;
}

/* From the first account, which is there, to the last. */
static int import_each(struct import *import, struct edit *edit, struct account_change *account,
		       struct edit_name *name)
{
	struct rules_walk walk = {0};
	struct table_end end = {0};
	int got = 1, answer = rules_open(&walk, import, edit);

	if (answer == 0)
		answer = end_open(&end, edit, TABLE_NAMES);
	while (answer == 0 && got > 0) {
		answer = rules_append(&walk, edit, &end, name->domain);
		if (answer == 0)
			answer = import_name(import, edit, &end, name, account);
		if (answer == 0)
			got = next_account(import, edit, account, name);
	}
	if (answer == 0 && got == 0)
		answer = rules_append(&walk, edit, &end, NULL);
	mdb_cursor_close(walk.domains);
	mdb_cursor_close(end.cursor);
	free(walk.rules.data);
	return answer < 0 ? -1 : got;
}

static int import_names(struct import *import, struct edit *edit)
{
	struct account_change account;
	struct edit_name name;
	int got = next_account(import, edit, &account, &name);

	if (got > 0)
		got = import_each(import, edit, &account, &name);
	if (got == 0)
		import->measured = true;
	return got;
}

/* An account without a password must not find the one of somebody who had its name before. */
static int import_credential(struct edit *edit, struct table_end *end,
			     const struct edit_name *name, const char *credential)
{
	MDB_val stored;
	size_t size = credential ? strlen(credential) + 1 : 0;

	if (is_behind(end, name))
		return credential ? end_append(end, edit, name->key, name->key_length, credential, size)
				  : 0;
	int found = end_find(end, edit, name, &stored);
	if (found < 0)
		return -1;
	if (!credential)
		return found && edit_delete(edit, TABLE_CREDENTIALS, name->key, name->key_length, NULL) < 0
			       ? -1
			       : 0;
	if (found && is_same(&stored, credential, size))
		return 0;
	return end_put(end, edit, name, credential, size);
}

static int import_credentials(MDB_txn *txn, const MDB_dbi *tables, void *context,
			      struct error *error)
{
	struct import *import = context;
	struct edit edit = {.txn = txn, .tables = tables, .error = error};
	struct account_change account = {0};
	struct edit_name name;
	struct table_end end = {0};
	int got = -1, answer = end_open(&end, &edit, TABLE_CREDENTIALS);

	import->source->rewind(import->source->context);
	while (answer == 0 &&
	       (got = import->source->next(import->source->context, &account, error)) > 0) {
		answer = edit_name_init(&edit, account.local, account.domain, &name);
		if (answer == 0)
			answer = account_check(&account, error);
		if (answer == 0)
			answer = import_credential(&edit, &end, &name, account.credential);
	}
	mdb_cursor_close(end.cursor);
	return answer < 0 || got < 0 ? -1 : edit_answer(&edit);
}

/* The names first, because only they can show that the import is not to be; then the passwords,
 * committed before the names (directory-credential.h says why). */
static int change_import(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	struct import *import = context;
	struct edit edit = {.txn = txn, .tables = tables, .error = error};

	int has_grants = grants_any(import->writer->sharing, error);
	if (has_grants < 0)
		return -1;
	import->has_grants = has_grants > 0;
	import->domain[0] = '\0';
	if (!import->measured)
		import->names_bytes = import->credentials_bytes = 0;
	import->source->rewind(import->source->context);
	if (import_names(import, &edit) < 0) {
		/* After any other failure than a full map this is in vain, and harmless. */
		struct error ignored = {0};

		if (error->code == ERROR_FULL && measure_rest(import, &ignored) == 0)
			store_writer_reserve(import->writer->names, import->names_bytes);
		return -1;
	}
	store_writer_reserve(import->writer->credentials, import->credentials_bytes);
	if (store_write(import->writer->credentials, import_credentials, import, error) < 0)
		return -1;
	return edit_answer(&edit);
}

int directory_account_import(struct directory_writer *writer, const struct account_source *source,
			     struct error *error)
{
	struct import import = {.writer = writer, .source = source};
	int answer = store_write(writer->names, change_import, &import, error);

	free(import.value.data);
	return answer < 0 ? -1 : 0;
}
