/* Changing the tables of sharing.mdb inside a write transaction. */
#include "sharing-edit.h"

#include <stdlib.h>
#include <string.h>

/* Store transactions. */

struct run {
	const char *path;
	sharing_edit_cb *change;
	sharing_look_cb *look;
	void *context;
};

static int run_change(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	const struct run *run = context;
	struct sharing_edit edit = {
		.view = {.txn = txn, .tables = tables, .path = run->path},
		.txn = txn,
		.tables = tables,
		.error = error,
	};

	if (run->change(&edit, run->context) < 0)
		return -1;
	return edit.changed ? 0 : 1;
}

int sharing_edit_run(struct sharing_writer *writer, sharing_edit_cb *change, void *context,
		     struct error *error)
{
	struct run run = {.path = writer->path, .change = change, .context = context};
	int answer = store_write(writer->store, run_change, &run, error);

	return answer < 0 ? -1 : answer == 0;
}

static int run_look(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	const struct run *run = context;
	const struct sharing_view view = {
		.txn = txn, .tables = tables, .path = run->path, .empty = !tables};

	return run->look(&view, run->context, error);
}

int sharing_look(struct sharing_writer *writer, sharing_look_cb *look, void *context,
		 struct error *error)
{
	struct run run = {.path = writer->path, .look = look, .context = context};

	return store_writer_read(writer->store, run_look, &run, error);
}

/* Lists in memory. */

void grant_list_finish(struct grant_list *list)
{
	free(list->items);
	*list = (struct grant_list){0};
}

/* Where it is, or would be. */
static size_t find_place(const struct grant_list *list, int kind, uint64_t id, bool *found_r)
{
	const struct stored_grant wanted = {.kind = (uint8_t)kind, .id = id};
	size_t low = 0, high = list->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (stored_grant_compare(&list->items[middle], &wanted) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found_r = low < list->count && stored_grant_compare(&list->items[low], &wanted) == 0;
	return low;
}

static bool make_room(struct grant_list *list, size_t count)
{
	if (count <= list->size)
		return true;
	size_t size = count < 8 ? 8 : count * 2;
	struct stored_grant *grown = realloc(list->items, size * sizeof *grown);
	if (!grown)
		return false;
	list->items = grown;
	list->size = size;
	return true;
}

struct stored_grant *grant_list_at(struct grant_list *list, int kind, uint64_t id)
{
	bool found;
	size_t place = find_place(list, kind, id, &found);

	if (found)
		return &list->items[place];
	if (!make_room(list, list->count + 1))
		return NULL;
	memmove(&list->items[place + 1], &list->items[place],
		(list->count - place) * sizeof *list->items);
	list->count++;
	list->items[place] = (struct stored_grant){.kind = (uint8_t)kind, .id = id};
	return &list->items[place];
}

void grant_list_remove(struct grant_list *list, int kind, uint64_t id)
{
	bool found;
	size_t place = find_place(list, kind, id, &found);

	if (!found)
		return;
	list->count--;
	memmove(&list->items[place], &list->items[place + 1],
		(list->count - place) * sizeof *list->items);
}

bool grant_list_move(struct grant_list *list, int kind, uint64_t from, uint64_t to)
{
	bool found;
	size_t place = find_place(list, kind, from, &found);

	if (!found)
		return true;
	struct stored_grant grant = list->items[place];
	struct stored_grant *target = grant_list_at(list, kind, to);
	if (!target)
		return false;
	if (!target->has_rights && !target->has_negative) {
		*target = grant;
		target->id = to;
	}
	grant_list_remove(list, kind, from);
	return true;
}

/* Tables. */

static int out_of_memory(struct sharing_edit *edit)
{
	return error_set(edit->error, ERROR_MEMORY, "out of memory");
}

int sharing_edit_put(struct sharing_edit *edit, enum sharing_table table, const void *key,
		     size_t key_length, const void *value, size_t value_length)
{
	MDB_val mdb_key = {.mv_data = (void *)key, .mv_size = key_length};
	MDB_val mdb_value = {.mv_data = (void *)value, .mv_size = value_length};
	int rc = mdb_put(edit->txn, edit->tables[table], &mdb_key, &mdb_value, 0);

	if (rc != 0)
		return store_writer_failed(edit->error, edit->txn, rc, "put");
	edit->changed = true;
	return 0;
}

int sharing_edit_delete(struct sharing_edit *edit, enum sharing_table table, const void *key,
			size_t key_length)
{
	MDB_val mdb_key = {.mv_data = (void *)key, .mv_size = key_length};
	int rc = mdb_del(edit->txn, edit->tables[table], &mdb_key, NULL);

	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc != 0)
		return store_writer_failed(edit->error, edit->txn, rc, "delete");
	edit->changed = true;
	return 1;
}

/* Principals. */

static int next_id(struct sharing_edit *edit, uint64_t *id_r)
{
	static const char key[] = SHARING_NEXT;
	unsigned char bytes[ID_BYTES];
	MDB_val value;
	uint64_t id = 1;

	int found = view_get(&edit->view, (enum sharing_table)STORE_META, key, strlen(key), &value,
			     edit->error);
	if (found < 0)
		return -1;
	if (found > 0) {
		id = value.mv_size == ID_BYTES ? id_take(value.mv_data) : 0;
		if (id == 0 || id == UINT64_MAX)
			return view_corrupt(&edit->view, "meta", key, strlen(key), edit->error);
	}
	/* An id that is in use although it should be the next would give one name's grants to
	 * another. */
	id_put(id, bytes);
	found = view_get(&edit->view, TABLE_PRINCIPAL_NAMES, bytes, sizeof bytes, &value, edit->error);
	if (found != 0)
		return found < 0 ? -1 : view_corrupt(&edit->view, "meta", key, strlen(key), edit->error);
	id_put(id + 1, bytes);
	*id_r = id;
	return sharing_edit_put(edit, (enum sharing_table)STORE_META, key, strlen(key), bytes,
				sizeof bytes);
}

static int make_principal(struct sharing_edit *edit, const char *key, size_t length, uint64_t *id_r)
{
	unsigned char bytes[ID_BYTES];
	int found = view_principal(&edit->view, key, length, id_r, edit->error);

	if (found != 0)
		return found < 0 ? -1 : 0;
	if (next_id(edit, id_r) < 0)
		return -1;
	id_put(*id_r, bytes);
	if (sharing_edit_put(edit, TABLE_PRINCIPALS, key, length, bytes, sizeof bytes) < 0)
		return -1;
	return sharing_edit_put(edit, TABLE_PRINCIPAL_NAMES, bytes, sizeof bytes, key, length);
}

int sharing_edit_owner(struct sharing_edit *edit, const char *owner, uint64_t *id_r)
{
	char key[PRINCIPAL_KEY_SIZE];
	size_t length = owner_key(owner, key);

	if (length == 0)
		return error_set(edit->error, ERROR_INVALID, "%.512s: no name of an account", owner);
	return make_principal(edit, key, length, id_r);
}

int sharing_edit_grantee(struct sharing_edit *edit, const struct grantee *who, uint64_t *id_r)
{
	char key[PRINCIPAL_KEY_SIZE];
	size_t length = grantee_key(who, key);

	*id_r = 0;
	if (grantee_principal_type(who->kind) == 0 && who->kind >= GRANTEE_ANYONE &&
	    who->kind <= GRANTEE_GROUP_OVERRIDE)
		return 0;
	if (length == 0)
		return error_set(edit->error, ERROR_INVALID, "%.512s: nobody whom rights can be given",
				 who->name);
	return make_principal(edit, key, length, id_r);
}

/* Does anything refer to it? 1, 0, -1. */
static int is_used(struct sharing_edit *edit, uint64_t id)
{
	static const unsigned char kinds[] = {GRANTEE_USER, GRANTEE_GROUP, GRANTEE_DOMAIN,
					      GRANTEE_GROUP_OVERRIDE};
	unsigned char front[RECEIVED_KEY_FRONT];

	id_put(id, front + 1);
	int found = view_has(&edit->view, TABLE_GRANTS, front + 1, ID_BYTES, edit->error);
	for (size_t i = 0; found == 0 && i < sizeof kinds; i++) {
		front[0] = kinds[i];
		found = view_has(&edit->view, TABLE_RECEIVED, front, sizeof front, edit->error);
	}
	return found;
}

int sharing_edit_release(struct sharing_edit *edit, uint64_t id)
{
	unsigned char bytes[ID_BYTES];
	MDB_val value;
	char key[PRINCIPAL_KEY_SIZE];

	if (id == 0 || edit->keep_principals)
		return 0;
	int used = is_used(edit, id);
	if (used != 0)
		return used < 0 ? -1 : 0;
	id_put(id, bytes);
	int found = view_get(&edit->view, TABLE_PRINCIPAL_NAMES, bytes, sizeof bytes, &value,
			     edit->error);
	if (found <= 0)
		return found;
	size_t length = value.mv_size;
	if (length == 0 || length > sizeof key)
		return view_corrupt(&edit->view, "names", bytes, sizeof bytes, edit->error);
	memcpy(key, value.mv_data, length);
	if (sharing_edit_delete(edit, TABLE_PRINCIPALS, key, length) < 0 ||
	    sharing_edit_delete(edit, TABLE_PRINCIPAL_NAMES, bytes, sizeof bytes) < 0)
		return -1;
	return 0;
}

/* Grants. */

int sharing_edit_read(struct sharing_edit *edit, uint64_t owner, const char *mailbox,
		      struct grant_list *list)
{
	struct grants_value value;
	int found = view_grants(&edit->view, owner, mailbox, &value, edit->error);

	list->count = 0;
	if (found <= 0)
		return found;
	if (!make_room(list, value.count))
		return out_of_memory(edit);
	for (size_t i = 0; i < value.count; i++)
		stored_grant_take(&value, i, &list->items[i]);
	list->count = value.count;
	return 0;
}

static int change_index(struct sharing_edit *edit, uint64_t owner, const char *mailbox,
			const struct stored_grant *grant, bool add)
{
	unsigned char key[RECEIVED_KEY_SIZE];
	size_t length = received_key(grant->kind, grant->id, owner, mailbox, key);

	if (add)
		return sharing_edit_put(edit, TABLE_RECEIVED, key, length, "", 0);
	return sharing_edit_delete(edit, TABLE_RECEIVED, key, length) < 0 ? -1 : 0;
}

/* Both lists are sorted: one walk along the two changes the index where they differ. */
static int replace_index(struct sharing_edit *edit, uint64_t owner, const char *mailbox,
			 const struct grant_list *old, const struct grant_list *new)
{
	size_t i = 0, j = 0;
	int answer = 0;

	while (answer == 0 && (i < old->count || j < new->count)) {
		int order = i == old->count   ? 1
			    : j == new->count ? -1
					      : stored_grant_compare(&old->items[i], &new->items[j]);

		if (order != 0)
			answer = change_index(edit, owner, mailbox,
					      order < 0 ? &old->items[i] : &new->items[j], order > 0);
		i += order <= 0;
		j += order >= 0;
	}
	return answer;
}

/* Whoever lost a grant may be nobody now. */
static int release_old(struct sharing_edit *edit, uint64_t owner, const struct grant_list *old,
		       const struct grant_list *new)
{
	for (size_t i = 0; i < old->count; i++) {
		bool kept;

		find_place(new, old->items[i].kind, old->items[i].id, &kept);
		if (!kept && sharing_edit_release(edit, old->items[i].id) < 0)
			return -1;
	}
	return new->count == 0 ? sharing_edit_release(edit, owner) : 0;
}

static bool same_lists(const struct grant_list *a, const struct grant_list *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct stored_grant *x = &a->items[i], *y = &b->items[i];

		if (stored_grant_compare(x, y) != 0 || x->has_rights != y->has_rights ||
		    x->has_negative != y->has_negative || x->rights != y->rights ||
		    x->negative != y->negative)
			return false;
	}
	return true;
}

static int put_list(struct sharing_edit *edit, uint64_t owner, const char *mailbox,
		    const struct grant_list *list)
{
	unsigned char key[GRANTS_KEY_SIZE];
	size_t length = grants_key(owner, mailbox, key);
	struct value_writer value = {0};
	MDB_val there;

	/* A key that another mailbox has: 128 bits of hash say that somebody wanted it so. */
	int found = view_get(&edit->view, TABLE_GRANTS, key, length, &there, edit->error);
	if (found > 0) {
		struct grants_value old;

		found = view_grants(&edit->view, owner, mailbox, &old, edit->error);
		if (found == 0)
			return list->count == 0 ? 0
						: error_set(edit->error, ERROR_INVALID,
							    "another mailbox has the key of this one");
	}
	if (found < 0)
		return -1;
	if (list->count == 0)
		return sharing_edit_delete(edit, TABLE_GRANTS, key, length) < 0 ? -1 : 0;
	grants_value_format(mailbox, list->items, list->count, &value);
	int answer = value.failed ? out_of_memory(edit)
				  : sharing_edit_put(edit, TABLE_GRANTS, key, length, value.data,
						     value.length);
	free(value.data);
	return answer;
}

static int copy_without_empty(struct sharing_edit *edit, const struct grant_list *list,
			      struct grant_list *copy_r)
{
	if (!make_room(copy_r, list->count))
		return out_of_memory(edit);
	/* without items where there is nothing to copy */
	for (size_t i = 0; copy_r->items && i < list->count; i++)
		if (list->items[i].has_rights || list->items[i].has_negative)
			copy_r->items[copy_r->count++] = list->items[i];
	if (copy_r->count > GRANTS_MAX)
		return error_set(edit->error, ERROR_INVALID, "more than %d grants on one mailbox: give "
				 "the rights to a group", GRANTS_MAX);
	return 0;
}

int sharing_edit_replace(struct sharing_edit *edit, uint64_t owner, const char *mailbox,
			 const struct grant_list *list)
{
	struct grant_list old = {0}, new = {0};
	int answer = sharing_edit_read(edit, owner, mailbox, &old);

	if (answer == 0)
		answer = copy_without_empty(edit, list, &new);
	if (answer == 0 && !same_lists(&old, &new)) {
		answer = put_list(edit, owner, mailbox, &new);
		if (answer == 0)
			answer = replace_index(edit, owner, mailbox, &old, &new);
		if (answer == 0)
			answer = release_old(edit, owner, &old, &new);
	}
	grant_list_finish(&old);
	grant_list_finish(&new);
	return answer;
}

/* Collecting names. */

int mailbox_names_add(struct mailbox_names *names, const char *mailbox, struct error *error)
{
	if (names->count == names->size) {
		size_t size = names->size ? names->size * 2 : 16;
		char **grown = realloc(names->items, size * sizeof *grown);

		if (!grown)
			return error_set(error, ERROR_MEMORY, "out of memory");
		names->items = grown;
		names->size = size;
	}
	names->items[names->count] = strdup(mailbox);
	if (!names->items[names->count])
		return error_set(error, ERROR_MEMORY, "out of memory");
	names->count++;
	return 0;
}

void mailbox_names_finish(struct mailbox_names *names)
{
	for (size_t i = 0; i < names->count; i++)
		free(names->items[i]);
	free(names->items);
	*names = (struct mailbox_names){0};
}

struct collecting {
	const struct sharing_view *view;
	const char *mailbox;
	struct mailbox_names *names;
};

static int collect_one(const MDB_val *key, const MDB_val *mdb_value, void *context,
		       struct error *error)
{
	const struct collecting *collecting = context;
	struct grants_value value;
	char mailbox[MAILBOX_SIZE];
	size_t length = strlen(collecting->mailbox);

	if (view_parse_grants(collecting->view, key, mdb_value, &value, mailbox, error) < 0)
		return -1;
	if (length > 0 && (strncmp(mailbox, collecting->mailbox, length) != 0 ||
			   mailbox[length] != MAILBOX_SEPARATOR))
		return 0;
	return mailbox_names_add(collecting->names, mailbox, error);
}

int sharing_collect(const struct sharing_view *view, uint64_t owner, const char *mailbox,
		    struct mailbox_names *names, struct error *error)
{
	struct collecting collecting = {.view = view, .mailbox = mailbox, .names = names};
	unsigned char front[GRANTS_KEY_SIZE];
	struct grants_value value;

	int found = *mailbox ? view_grants(view, owner, mailbox, &value, error) : 0;
	if (found < 0 || (found > 0 && mailbox_names_add(names, mailbox, error) < 0))
		return -1;
	id_put(owner, front);
	size_t length = ID_BYTES + mailbox_key_below(mailbox, (char *)front + ID_BYTES);
	return view_each(view, TABLE_GRANTS, front, length, collect_one, &collecting, error);
}
