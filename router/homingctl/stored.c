/* Accounts as they are stored. */
#include "stored.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "directory-format.h"
#include "output.h"
#include "store.h"

int stored_account_get(struct directory_reader *reader, const char *local, const char *domain,
		       struct stored_account *account_r, struct error *error)
{
	struct store_reader *store = directory_store_reader(reader);
	char key[NAME_KEY_SIZE];
	MDB_val value;
	int found = store_get(store, TABLE_NAMES, key, name_key(local, domain, key), &value, error);

	if (found <= 0)
		return found;
	struct value_reader bytes = {
		.next = value.mv_data,
		.end = (const unsigned char *)value.mv_data + value.mv_size,
	};
	if (value_u8(&bytes) != ENTRY_ACCOUNT)
		return 0;
	account_r->home = value_string(&bytes, NULL);
	account_r->uid = value_string(&bytes, NULL);
	account_r->gid = value_string(&bytes, NULL);
	if (bytes.failed)
		return error_set(error, ERROR_CORRUPT, "%s@%s: the stored account does not parse", local,
				 domain);
	return 1;
}

static int append_group(const char *group, void *context)
{
	return json_array_append_new(context, json_text(group)) == 0 ? 0 : 1;
}

json_t *stored_groups(struct directory_reader *reader, const char *local, const char *domain,
		      struct error *error)
{
	json_t *groups = json_array();
	int answer =
		groups ? account_groups(reader, local, domain, append_group, groups, error) : 1;

	if (answer == 0)
		return groups;
	if (answer > 0)
		error_set(error, ERROR_MEMORY, "out of memory");
	json_decref(groups);
	return NULL;
}

/* The value of a reference: u8 kind, then the name key of what refers. */
static int call_reference(const MDB_val *value, stored_reference_cb *each, void *context,
			  struct error *error)
{
	const char *bytes = value->mv_data;
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE], address[ADDRESS_SIZE];

	if (value->mv_size < 1 || !name_key_split(bytes + 1, value->mv_size - 1, local, domain))
		return error_set(error, ERROR_CORRUPT, "references: a value does not parse");
	snprintf(address, sizeof address, "%s@%s", local, domain);
	return each(bytes[0], address, context);
}

int stored_references(struct directory_reader *reader, const char *local, const char *domain,
		      stored_reference_cb *each, void *context, struct error *error)
{
	struct store_reader *store = directory_store_reader(reader);
	char name[NAME_KEY_SIZE];
	MDB_val key = {.mv_data = name, .mv_size = name_key(local, domain, name)}, value;
	MDB_cursor *cursor;
	int answer = 0;

	if (store_cursor(store, TABLE_REFERENCES, &cursor, error) < 0)
		return -1;
	int rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_KEY);
	while (rc == 0 && answer == 0) {
		answer = call_reference(&value, each, context, error);
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT_DUP);
	}
	mdb_cursor_close(cursor);
	if (answer == 0 && rc != MDB_NOTFOUND)
		return error_set(error, ERROR_IO, "references: %s", mdb_strerror(rc));
	return answer;
}

struct export {
	struct directory_reader *reader;
	bool passwords;
	struct error error;
};

static int add_password(struct export *export, json_t *object, const char *local,
			const char *domain)
{
	char credential[CREDENTIAL_SIZE];
	int found = credential_lookup(export->reader, local, domain, credential, &export->error);

	if (found > 0)
		json_object_set_new(object, "password", json_text(credential));
	sodium_memzero(credential, sizeof credential);
	return found < 0 ? -1 : 0;
}

static void add_own(json_t *object, const char *key, const char *text)
{
	if (text[0] != '\0')
		json_object_set_new(object, key, json_text(text));
}

static int export_account(enum entry_kind kind, const char *local, const char *domain,
			  void *context)
{
	struct export *export = context;
	struct stored_account account;
	char address[ADDRESS_SIZE];

	(void)kind;
	if (stored_account_get(export->reader, local, domain, &account, &export->error) <= 0)
		return error_set(&export->error, ERROR_CORRUPT, "%s@%s: not an account", local, domain);
	json_t *groups = stored_groups(export->reader, local, domain, &export->error);
	if (!groups)
		return -1;
	json_t *object = json_object();
	snprintf(address, sizeof address, "%s@%s", local, domain);
	json_object_set_new(object, "account", json_text(address));
	int answer = export->passwords ? add_password(export, object, local, domain) : 0;
	add_own(object, "home", account.home);
	add_own(object, "uid", account.uid);
	add_own(object, "gid", account.gid);
	if (json_array_size(groups) > 0)
		json_object_set(object, "groups", groups);
	json_decref(groups);
	if (answer < 0) {
		json_decref(object);
		return -1;
	}
	return print_json(object) == EX_OK ? 0 : 1;
}

int export_accounts(struct directory_reader *reader, bool passwords)
{
	struct export export = {.reader = reader, .passwords = passwords};
	int answer = directory_each_entry(reader, NULL, ENTRY_ACCOUNT, export_account, &export,
					  &export.error);

	if (answer == 0)
		return EX_OK;
	return answer < 0 ? fail(&export.error, EX_NOINPUT) : EX_IOERR;
}
