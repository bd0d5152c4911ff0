/* Lookups in sharing.mdb that both sides make. */
#include "sharing-view.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "printable.h"

int view_get(const struct sharing_view *view, enum sharing_table table, const void *key,
	     size_t key_length, MDB_val *value_r, struct error *error)
{
	MDB_val mdb_key = {.mv_data = (void *)key, .mv_size = key_length};

	if (view->empty)
		return 0;
	if (view->reader)
		return store_get(view->reader, table, key, key_length, value_r, error);
	int rc = mdb_get(view->txn, view->tables[table], &mdb_key, value_r);
	if (rc == MDB_NOTFOUND)
		return 0;
	return rc == 0 ? 1 : store_error(error, rc, "look up", view->path);
}

static int open_cursor(const struct sharing_view *view, enum sharing_table table,
		       MDB_cursor **cursor_r, struct error *error)
{
	if (view->reader)
		return store_cursor(view->reader, table, cursor_r, error);
	int rc = mdb_cursor_open(view->txn, view->tables[table], cursor_r);
	return rc == 0 ? 0 : store_error(error, rc, "look up", view->path);
}

static bool begins_with(const MDB_val *key, const void *front, size_t length)
{
	return length == 0 || (key->mv_size >= length && memcmp(key->mv_data, front, length) == 0);
}

int view_each(const struct sharing_view *view, enum sharing_table table, const void *front,
	      size_t front_length, view_cb *each, void *context, struct error *error)
{
	MDB_cursor *cursor;
	MDB_val key = {.mv_data = (void *)front, .mv_size = front_length}, value;

	if (view->empty)
		return 0;
	if (open_cursor(view, table, &cursor, error) < 0)
		return -1;
	int answer = 0;
	int rc = mdb_cursor_get(cursor, &key, &value, front_length ? MDB_SET_RANGE : MDB_FIRST);
	while (rc == 0 && answer == 0 && begins_with(&key, front, front_length)) {
		answer = each(&key, &value, context, error);
		if (answer == 0)
			rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (rc != 0 && rc != MDB_NOTFOUND)
		return store_error(error, rc, "read on", view->path);
	return answer;
}

static int stop(const MDB_val *key, const MDB_val *value, void *context, struct error *error)
{
	(void)key, (void)value, (void)context, (void)error;
	return 1;
}

int view_has(const struct sharing_view *view, enum sharing_table table, const void *front,
	     size_t front_length, struct error *error)
{
	return view_each(view, table, front, front_length, stop, NULL, error);
}

int view_corrupt(const struct sharing_view *view, const char *table, const void *key,
		 size_t key_length, struct error *error)
{
	char shown[300];

	printable_escape(shown, sizeof shown, key, key_length);
	return error_set(error, ERROR_CORRUPT, "%s: %s \"%s\": the value does not parse; `homingctl "
			 "share verify` looks for more", view->path, table, shown);
}

int view_principal(const struct sharing_view *view, const char *key, size_t length, uint64_t *id_r,
		   struct error *error)
{
	MDB_val value;
	int found = view_get(view, TABLE_PRINCIPALS, key, length, &value, error);

	if (found <= 0)
		return found;
	if (value.mv_size != ID_BYTES || id_take(value.mv_data) == 0)
		return view_corrupt(view, "principals", key, length, error);
	*id_r = id_take(value.mv_data);
	return 1;
}

int view_owner(const struct sharing_view *view, const char *owner, uint64_t *id_r,
	       struct error *error)
{
	char key[PRINCIPAL_KEY_SIZE];
	size_t length = owner_key(owner, key);

	return length > 0 ? view_principal(view, key, length, id_r, error) : 0;
}

int view_grantee(const struct sharing_view *view, const struct grantee *who, uint64_t *id_r,
		 struct error *error)
{
	char key[PRINCIPAL_KEY_SIZE];
	size_t length = grantee_key(who, key);

	if (length > 0)
		return view_principal(view, key, length, id_r, error);
	*id_r = 0;
	return grantee_principal_type(who->kind) == 0;
}

/* The principal behind an id: its type, or -1. */
static int read_name(const struct sharing_view *view, uint64_t id, char name_r[OWNER_SIZE],
		     struct error *error)
{
	unsigned char key[ID_BYTES];
	MDB_val value;

	id_put(id, key);
	int found = view_get(view, TABLE_PRINCIPAL_NAMES, key, sizeof key, &value, error);
	if (found < 0)
		return -1;
	int type = found > 0 ? principal_parse(value.mv_data, value.mv_size, name_r) : 0;
	return type > 0 ? type : view_corrupt(view, "names", key, sizeof key, error);
}

int view_owner_name(const struct sharing_view *view, uint64_t id, char name_r[OWNER_SIZE],
		    struct error *error)
{
	unsigned char key[ID_BYTES];
	int type = read_name(view, id, name_r, error);

	if (type < 0 || type == PRINCIPAL_ACCOUNT || type == PRINCIPAL_PUBLIC)
		return type < 0 ? -1 : 1;
	id_put(id, key);
	return view_corrupt(view, "names", key, sizeof key, error);
}

int view_grantee_name(const struct sharing_view *view, const struct stored_grant *grant,
		      struct grantee *who_r, struct error *error)
{
	char name[OWNER_SIZE] = "";
	unsigned char key[ID_BYTES];

	if (grant->id != 0) {
		int type = read_name(view, grant->id, name, error);

		if (type < 0)
			return -1;
		id_put(grant->id, key);
		if (type != grantee_principal_type(grant->kind) || strlen(name) >= sizeof who_r->name)
			return view_corrupt(view, "names", key, sizeof key, error);
	}
	who_r->kind = (enum grantee_kind)grant->kind;
	memcpy(who_r->name, name, strlen(name) + 1);
	return 1;
}

int view_grants(const struct sharing_view *view, uint64_t owner, const char *mailbox,
		struct grants_value *value_r, struct error *error)
{
	unsigned char key[GRANTS_KEY_SIZE];
	MDB_val value;

	if (strlen(mailbox) > MAILBOX_MAX_BYTES)
		return 0;
	size_t length = grants_key(owner, mailbox, key);
	int found = view_get(view, TABLE_GRANTS, key, length, &value, error);
	if (found <= 0)
		return found;
	if (!grants_value_parse(value.mv_data, value.mv_size, value_r))
		return view_corrupt(view, "grants", key, length, error);
	bool cut = mailbox_key_is_cut(key + ID_BYTES, length - ID_BYTES);
	if (cut != (value_r->mailbox[0] != '\0'))
		return view_corrupt(view, "grants", key, length, error);
	return !cut || strcmp(value_r->mailbox, mailbox) == 0;
}

int view_parse_grants(const struct sharing_view *view, const MDB_val *key, const MDB_val *value,
		      struct grants_value *value_r, char mailbox_r[MAILBOX_SIZE],
		      struct error *error)
{
	const char *bytes = key->mv_data;
	size_t length = key->mv_size - ID_BYTES;

	if (key->mv_size < ID_BYTES || length > MAILBOX_KEY_PLAIN || id_take(bytes) == 0 ||
	    !grants_value_parse(value->mv_data, value->mv_size, value_r))
		return view_corrupt(view, "grants", bytes, key->mv_size, error);
	bool cut = mailbox_key_is_cut(bytes + ID_BYTES, length);
	if (cut != (value_r->mailbox[0] != '\0') ||
	    (!cut && memchr(bytes + ID_BYTES, '\0', length)))
		return view_corrupt(view, "grants", bytes, key->mv_size, error);
	if (cut) {
		char again[MAILBOX_KEY_SIZE];

		if (mailbox_key(value_r->mailbox, again) != length ||
		    memcmp(again, bytes + ID_BYTES, length) != 0)
			return view_corrupt(view, "grants", bytes, key->mv_size, error);
		memcpy(mailbox_r, value_r->mailbox, strlen(value_r->mailbox) + 1);
	} else {
		memcpy(mailbox_r, bytes + ID_BYTES, length);
		mailbox_r[length] = '\0';
	}
	if (mailbox_refusal(mailbox_r))
		return view_corrupt(view, "grants", bytes, key->mv_size, error);
	return 1;
}

static int compare_grants(const void *left, const void *right)
{
	const struct grant *a = left, *b = right;

	return grantee_compare(&a->who, &b->who);
}

int view_name_grants(const struct sharing_view *view, const struct grants_value *value,
		     struct grant **grants_r, struct error *error)
{
	struct grant *grants = calloc(value->count, sizeof *grants);

	if (!grants)
		return error_set(error, ERROR_MEMORY, "out of memory");
	for (size_t i = 0; i < value->count; i++) {
		struct stored_grant stored;

		stored_grant_take(value, i, &stored);
		grants[i].has_rights = stored.has_rights;
		grants[i].has_negative = stored.has_negative;
		grants[i].rights = stored.rights;
		grants[i].negative = stored.negative;
		if (view_grantee_name(view, &stored, &grants[i].who, error) < 0) {
			free(grants);
			return -1;
		}
	}
	qsort(grants, value->count, sizeof *grants, compare_grants);
	*grants_r = grants;
	return 1;
}
