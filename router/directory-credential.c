/* The password of one account, changed together with its name. */
#include "directory-credential.h"

#include <string.h>

static int corrupt(struct edit *edit, const struct edit_name *name)
{
	return error_set(edit->error, ERROR_CORRUPT, "credentials \"%s\": the value does not parse",
			 name->address);
}

/* "" where there is none. */
static int read_credential(struct edit *edit, const struct edit_name *name,
			   char credential_r[CREDENTIAL_SIZE])
{
	MDB_val value;
	int found = edit_get(edit, TABLE_CREDENTIALS, name->key, name->key_length, &value);

	credential_r[0] = '\0';
	if (found <= 0)
		return found;
	if (value.mv_size == 0 || value.mv_size > CREDENTIAL_SIZE ||
	    memchr(value.mv_data, '\0', value.mv_size) !=
		    (const char *)value.mv_data + value.mv_size - 1)
		return corrupt(edit, name);
	memcpy(credential_r, value.mv_data, value.mv_size);
	return 0;
}

static int remember(struct edit *edit, const struct edit_name *name,
		    struct credential_before *before)
{
	if (before->known)
		return 0; /* of the first time: later times see our own change */
	if (read_credential(edit, name, before->text) < 0)
		return -1;
	before->known = true;
	return 0;
}

/* Stores it, or deletes it where it is "". */
static int store_credential(struct edit *edit, const struct edit_name *name,
			    const char *credential)
{
	MDB_val value;
	size_t size = strlen(credential) + 1;

	if (credential[0] == '\0')
		return edit_delete(edit, TABLE_CREDENTIALS, name->key, name->key_length, NULL) < 0 ? -1
												   : 0;
	int found = edit_get(edit, TABLE_CREDENTIALS, name->key, name->key_length, &value);
	if (found < 0 ||
	    (found > 0 && value.mv_size == size && memcmp(value.mv_data, credential, size) == 0))
		return found < 0 ? -1 : 0;
	return edit_put(edit, TABLE_CREDENTIALS, name->key, name->key_length, credential, size);
}

static int change_credential(MDB_txn *txn, const MDB_dbi *tables, void *context,
			     struct error *error)
{
	struct credential_change *change = context;
	struct edit edit = {.txn = txn, .tables = tables, .error = error};
	const char *credential = change->credential ? change->credential : "";

	if (remember(&edit, change->name, &change->name_before) < 0)
		return -1;
	if (change->from) {
		if (remember(&edit, change->from, &change->from_before) < 0)
			return -1;
		credential = change->from_before.text;
	}
	return store_credential(&edit, change->name, credential) < 0 ? -1 : edit_answer(&edit);
}

int credential_change_write(struct credential_change *change, struct error *error)
{
	int answer = store_write(change->store, change_credential, change, error);

	if (answer == 0)
		change->committed = true;
	return answer < 0 ? -1 : 0;
}

static int restore_credential(MDB_txn *txn, const MDB_dbi *tables, void *context,
			      struct error *error)
{
	struct credential_change *change = context;
	struct edit edit = {.txn = txn, .tables = tables, .error = error};

	return store_credential(&edit, change->name, change->name_before.text) < 0 ? -1
										   : edit_answer(&edit);
}

static int delete_credential(MDB_txn *txn, const MDB_dbi *tables, void *context,
			     struct error *error)
{
	struct edit edit = {.txn = txn, .tables = tables, .error = error};

	return store_credential(&edit, context, "") < 0 ? -1 : edit_answer(&edit);
}

int credential_delete(struct store_writer *store, const struct edit_name *name,
		      struct error *error)
{
	return store_write(store, delete_credential, (void *)name, error) < 0 ? -1 : 0;
}

void credential_change_finish(struct credential_change *change, bool failed)
{
	struct error ignored = {0};

	/* If this fails too, as on a full disk, it is as if we had been killed here. */
	if (failed && change->committed &&
	    store_write(change->store, restore_credential, change, &ignored) < 0)
		change->committed = false;
	explicit_bzero(&change->name_before, sizeof change->name_before);
	explicit_bzero(&change->from_before, sizeof change->from_before);
}
