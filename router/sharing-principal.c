/* What becomes of grants, given and received, when an account or a group is renamed or deleted. */
#include "sharing-principal.h"

#include <stdlib.h>
#include <string.h>

#include "sharing-edit.h"

struct principal_event {
	struct grantee who, new; /* new: of a renaming */
	bool note, undo;
	struct renaming *renaming_r;
};

/* One mailbox of somebody, on which a principal received something. */
struct received_item {
	uint64_t owner;
	char *mailbox;
};

struct received_items {
	const struct sharing_view *view;
	struct received_item *items;
	size_t count, size;
};

static int add_item(struct received_items *all, uint64_t owner, const char *mailbox,
		    struct error *error)
{
	if (all->count == all->size) {
		size_t size = all->size ? all->size * 2 : 16;
		struct received_item *grown = realloc(all->items, size * sizeof *grown);

		if (!grown)
			return error_set(error, ERROR_MEMORY, "out of memory");
		all->items = grown;
		all->size = size;
	}
	all->items[all->count] = (struct received_item){.owner = owner, .mailbox = strdup(mailbox)};
	if (!all->items[all->count].mailbox)
		return error_set(error, ERROR_MEMORY, "out of memory");
	all->count++;
	return 0;
}

static void finish_items(struct received_items *all)
{
	for (size_t i = 0; i < all->count; i++)
		free(all->items[i].mailbox);
	free(all->items);
}

static int collect_item(const MDB_val *key, const MDB_val *value, void *context,
			struct error *error)
{
	struct received_items *all = context;
	const char *bytes = key->mv_data;
	char mailbox[MAILBOX_SIZE];
	struct grants_value grants;
	MDB_val grants_key = {.mv_data = (void *)(bytes + RECEIVED_KEY_FRONT),
			      .mv_size = key->mv_size - RECEIVED_KEY_FRONT},
		grants_bytes;

	(void)value;
	if (key->mv_size < RECEIVED_KEY_FRONT + ID_BYTES)
		return view_corrupt(all->view, "received", bytes, key->mv_size, error);
	int found = view_get(all->view, TABLE_GRANTS, grants_key.mv_data, grants_key.mv_size,
			     &grants_bytes, error);
	if (found == 0)
		return view_corrupt(all->view, "received", bytes, key->mv_size, error);
	if (found < 0 || view_parse_grants(all->view, &grants_key, &grants_bytes, &grants, mailbox,
					   error) < 0)
		return -1;
	return add_item(all, id_take(grants_key.mv_data), mailbox, error);
}

/* Takes away all that the principal received as one kind of grantee. */
static int delete_received(struct sharing_edit *edit, int kind, uint64_t id)
{
	struct received_items all = {.view = &edit->view};
	unsigned char front[RECEIVED_KEY_FRONT] = {(unsigned char)kind};
	struct grant_list list = {0};

	id_put(id, front + 1);
	int answer = view_each(&edit->view, TABLE_RECEIVED, front, sizeof front, collect_item, &all,
			       edit->error);
	for (size_t i = 0; answer == 0 && i < all.count; i++) {
		answer = sharing_edit_read(edit, all.items[i].owner, all.items[i].mailbox, &list);
		if (answer < 0)
			break;
		grant_list_remove(&list, kind, id);
		answer = sharing_edit_replace(edit, all.items[i].owner, all.items[i].mailbox, &list);
	}
	grant_list_finish(&list);
	finish_items(&all);
	return answer;
}

static int delete_given(struct sharing_edit *edit, uint64_t id)
{
	static const struct grant_list none = {0};
	struct mailbox_names names = {0};
	int answer = sharing_collect(&edit->view, id, "", &names, edit->error);

	for (size_t i = 0; answer == 0 && i < names.count; i++)
		answer = sharing_edit_replace(edit, id, names.items[i], &none);
	mailbox_names_finish(&names);
	return answer;
}

int sharing_edit_forget(struct sharing_edit *edit, const struct grantee *who)
{
	uint64_t id;
	int found = view_grantee(&edit->view, who, &id, edit->error);

	if (found <= 0 || id == 0)
		return found < 0 ? -1 : 0;
	if (delete_received(edit, who->kind, id) < 0)
		return -1;
	if (who->kind == GRANTEE_GROUP && delete_received(edit, GRANTEE_GROUP_OVERRIDE, id) < 0)
		return -1;
	if (who->kind == GRANTEE_USER && delete_given(edit, id) < 0)
		return -1;
	return sharing_edit_release(edit, id);
}

/* Gives the id another name. */
static int rename_principal(struct sharing_edit *edit, const struct grantee *who,
			    const struct grantee *new)
{
	char key[PRINCIPAL_KEY_SIZE];
	unsigned char bytes[ID_BYTES];
	uint64_t id;

	/* what an account of the new name left must not become another's */
	if (sharing_edit_forget(edit, new) < 0)
		return -1;
	int found = view_grantee(&edit->view, who, &id, edit->error);
	if (found <= 0)
		return found;
	id_put(id, bytes);
	if (sharing_edit_delete(edit, TABLE_PRINCIPALS, key, grantee_key(who, key)) < 0)
		return -1;
	size_t length = grantee_key(new, key);
	if (sharing_edit_put(edit, TABLE_PRINCIPALS, key, length, bytes, sizeof bytes) < 0)
		return -1;
	return sharing_edit_put(edit, TABLE_PRINCIPAL_NAMES, bytes, sizeof bytes, key, length);
}

/* Moves what one id received in one kind to another id, where that has nothing of its own. */
static int merge_received(struct sharing_edit *edit, int kind, uint64_t from, uint64_t to)
{
	struct received_items all = {.view = &edit->view};
	unsigned char front[RECEIVED_KEY_FRONT] = {(unsigned char)kind};
	struct grant_list list = {0};

	id_put(from, front + 1);
	int answer = view_each(&edit->view, TABLE_RECEIVED, front, sizeof front, collect_item, &all,
			       edit->error);
	for (size_t i = 0; answer == 0 && i < all.count; i++) {
		const struct received_item *item = &all.items[i];

		answer = sharing_edit_read(edit, item->owner, item->mailbox, &list);
		if (answer == 0 && !grant_list_move(&list, kind, from, to))
			answer = error_set(edit->error, ERROR_MEMORY, "out of memory");
		if (answer == 0)
			answer = sharing_edit_replace(edit, item->owner, item->mailbox, &list);
	}
	grant_list_finish(&list);
	finish_items(&all);
	return answer;
}

static int merge_given(struct sharing_edit *edit, uint64_t from, uint64_t to)
{
	static const struct grant_list none = {0};
	struct mailbox_names names = {0};
	struct grant_list list = {0};
	int answer = sharing_collect(&edit->view, from, "", &names, edit->error);

	for (size_t i = 0; answer == 0 && i < names.count; i++) {
		answer = sharing_edit_read(edit, to, names.items[i], &list);
		if (answer == 0 && list.count == 0) {
			answer = sharing_edit_read(edit, from, names.items[i], &list);
			if (answer == 0)
				answer = sharing_edit_replace(edit, to, names.items[i], &list);
		}
		if (answer == 0)
			answer = sharing_edit_replace(edit, from, names.items[i], &none);
	}
	grant_list_finish(&list);
	mailbox_names_finish(&names);
	return answer;
}

/* Gives the old name back what it had. While the note was there, sessions may have given and received
 * under it; that is newer, and stays. */
static int return_principal(struct sharing_edit *edit, const struct grantee *from,
			    const struct grantee *to)
{
	uint64_t from_id, to_id;
	int found_from = view_grantee(&edit->view, from, &from_id, edit->error);
	int found_to = view_grantee(&edit->view, to, &to_id, edit->error);

	if (found_from <= 0 || found_to < 0)
		return found_from < 0 || found_to < 0 ? -1 : 0;
	if (found_to == 0)
		return rename_principal(edit, from, to);
	edit->keep_principals = true;
	int answer = from->kind == GRANTEE_USER ? merge_given(edit, from_id, to_id) : 0;
	if (answer == 0)
		answer = merge_received(edit, from->kind, from_id, to_id);
	if (answer == 0 && from->kind == GRANTEE_GROUP)
		answer = merge_received(edit, GRANTEE_GROUP_OVERRIDE, from_id, to_id);
	edit->keep_principals = false;
	return answer == 0 ? sharing_edit_release(edit, from_id) : answer;
}

/* The note. */

int sharing_read_note(const struct sharing_view *view, struct renaming *renaming_r,
		      struct error *error)
{
	MDB_val value;
	size_t old_length, new_length;
	int found = view_get(view, (enum sharing_table)STORE_META, SHARING_RENAMING,
			     strlen(SHARING_RENAMING), &value, error);

	if (found <= 0)
		return found;
	const unsigned char *start = value.mv_data;
	struct value_reader rest = {.next = start, .end = start + value.mv_size};
	unsigned kind = value_u8(&rest);
	const char *old_name = value_string(&rest, &old_length);
	const char *new_name = value_string(&rest, &new_length);
	if (rest.failed || rest.next != rest.end || (kind != GRANTEE_USER && kind != GRANTEE_GROUP) ||
	    old_length >= ADDRESS_SIZE || new_length >= ADDRESS_SIZE)
		return view_corrupt(view, "meta", SHARING_RENAMING, strlen(SHARING_RENAMING), error);
	renaming_r->kind = (enum grantee_kind)kind;
	memcpy(renaming_r->old_name, old_name, old_length + 1);
	memcpy(renaming_r->new_name, new_name, new_length + 1);
	return 1;
}

static int write_note(struct sharing_edit *edit, const struct principal_event *event)
{
	struct value_writer value = {0};

	value_put_u8(&value, (uint8_t)event->who.kind);
	value_put_string(&value, event->who.name);
	value_put_string(&value, event->new.name);
	int answer = value.failed ? error_set(edit->error, ERROR_MEMORY, "out of memory")
				  : sharing_edit_put(edit, (enum sharing_table)STORE_META,
						     SHARING_RENAMING, strlen(SHARING_RENAMING),
						     value.data, value.length);
	free(value.data);
	return answer;
}

static int change_renamed(struct sharing_edit *edit, void *context)
{
	const struct principal_event *event = context;
	struct renaming noted = {0};

	if (event->note) {
		int found = sharing_read_note(&edit->view, &noted, edit->error);

		if (found < 0)
			return -1;
		if (found > 0 && noted.kind == event->who.kind &&
		    strcmp(noted.old_name, event->who.name) == 0 &&
		    strcmp(noted.new_name, event->new.name) == 0)
			return 0; /* the map of directory.mdb had to grow: we were here before */
	}
	if (rename_principal(edit, &event->who, &event->new) < 0)
		return -1;
	return event->note && edit->changed ? write_note(edit, event) : 0;
}

/* Is there anything under one of the two names? */
static int look_names(const struct sharing_view *view, void *context, struct error *error)
{
	const struct principal_event *event = context;
	uint64_t id;
	int found = view_grantee(view, &event->who, &id, error);

	return found == 0 && event->new.kind != 0 ? view_grantee(view, &event->new, &id, error) : found;
}

static int take_name(enum grantee_kind kind, const char *name, struct grantee *who_r,
		     struct error *error)
{
	char key[PRINCIPAL_KEY_SIZE];

	*who_r = (struct grantee){.kind = kind};
	if ((kind != GRANTEE_USER && kind != GRANTEE_GROUP && kind != GRANTEE_DOMAIN) ||
	    strlen(name) >= sizeof who_r->name)
		return error_set(error, ERROR_INVALID, "%.512s: no name of an account or a group", name);
	memcpy(who_r->name, name, strlen(name) + 1);
	if (grantee_key(who_r, key) == 0)
		return error_set(error, ERROR_INVALID, "%.512s: no name of an account or a group", name);
	return 0;
}

static int rename_names(struct sharing_writer *writer, enum grantee_kind kind, const char *name,
			const char *new_name, bool note, struct error *error)
{
	struct principal_event event = {.note = note};

	if (take_name(kind, name, &event.who, error) < 0 ||
	    take_name(kind, new_name, &event.new, error) < 0)
		return -1;
	if (strcmp(name, new_name) == 0)
		return 0;
	int found = sharing_look(writer, look_names, &event, error);
	return found > 0 ? sharing_edit_run(writer, change_renamed, &event, error) : found;
}

int sharing_renamed(struct sharing_writer *writer, enum grantee_kind kind, const char *name,
		    const char *new_name, struct error *error)
{
	return rename_names(writer, kind, name, new_name, false, error);
}

int sharing_rename_start(struct sharing_writer *writer, enum grantee_kind kind,
			 const char *old_name, const char *new_name, struct error *error)
{
	return rename_names(writer, kind, old_name, new_name, true, error) < 0 ? -1 : 0;
}

static int look_note(const struct sharing_view *view, void *context, struct error *error)
{
	const struct principal_event *event = context;

	return sharing_read_note(view, event->renaming_r, error);
}

int sharing_rename_note(struct sharing_writer *writer, struct renaming *renaming_r,
			struct error *error)
{
	struct principal_event event = {.renaming_r = renaming_r};

	return sharing_look(writer, look_note, &event, error);
}

static int change_end(struct sharing_edit *edit, void *context)
{
	const struct principal_event *event = context;
	struct renaming noted = {0};
	struct grantee old, new;
	int found = sharing_read_note(&edit->view, &noted, edit->error);

	if (found <= 0)
		return found;
	if (event->undo && (take_name(noted.kind, noted.old_name, &old, edit->error) < 0 ||
			    take_name(noted.kind, noted.new_name, &new, edit->error) < 0 ||
			    return_principal(edit, &new, &old) < 0))
		return -1;
	return sharing_edit_delete(edit, (enum sharing_table)STORE_META, SHARING_RENAMING,
				   strlen(SHARING_RENAMING)) < 0
		       ? -1
		       : 0;
}

int sharing_rename_end(struct sharing_writer *writer, bool undo, struct error *error)
{
	struct renaming noted = {0};
	struct principal_event event = {.undo = undo};
	int found = sharing_rename_note(writer, &noted, error);

	if (found > 0)
		found = sharing_edit_run(writer, change_end, &event, error);
	return found < 0 ? -1 : 0;
}

static int change_deleted(struct sharing_edit *edit, void *context)
{
	const struct principal_event *event = context;

	return sharing_edit_forget(edit, &event->who);
}

int sharing_deleted(struct sharing_writer *writer, enum grantee_kind kind, const char *name,
		    struct error *error)
{
	struct principal_event event = {.note = false};

	if (take_name(kind, name, &event.who, error) < 0)
		return -1;
	int found = sharing_look(writer, look_names, &event, error);
	return found > 0 ? sharing_edit_run(writer, change_deleted, &event, error) : found;
}
