/* What becomes of grants when a mailbox is made, deleted or renamed. Most mailboxes have none: that
 * is found out without the writer's lock. */
#include "sharing-write.h"

#include <stdlib.h>
#include <string.h>

#include "sharing-edit.h"

struct mailbox_event {
	const char *owner, *mailbox;
	const char *parent; /* created: NULL none */
	const char *new_owner, *new_mailbox; /* renamed */
};

static int check_name(const char *mailbox, struct error *error)
{
	const char *why = *mailbox ? mailbox_refusal(mailbox) : "it is the whole account";

	return why ? error_set(error, ERROR_INVALID, "a mailbox of this name has no grants: %s", why) : 0;
}

/* Has it grants of its own? */
static int has_own(const struct sharing_view *view, const char *owner, const char *mailbox,
		   struct error *error)
{
	struct grants_value value;
	uint64_t id;
	int found = view_owner(view, owner, &id, error);

	return found > 0 ? view_grants(view, id, mailbox, &value, error) : found;
}

/* `look` finds out whether `change` has anything to do. */
static int run(struct sharing_writer *writer, sharing_look_cb *look, sharing_edit_cb *change,
	       struct mailbox_event *event, struct error *error)
{
	int answer = sharing_look(writer, look, event, error);

	return answer > 0 ? sharing_edit_run(writer, change, event, error) : answer;
}

static int look_created(const struct sharing_view *view, void *context, struct error *error)
{
	const struct mailbox_event *event = context;
	int found = has_own(view, event->owner, event->mailbox, error);

	return found == 0 && event->parent ? has_own(view, event->owner, event->parent, error) : found;
}

/* Puts the grants of the parent, or none, in place of what is there. */
static int take_parents(struct sharing_edit *edit, void *context)
{
	const struct mailbox_event *event = context;
	struct grant_list list = {0};
	uint64_t owner;
	int found = view_owner(&edit->view, event->owner, &owner, edit->error);

	if (found <= 0)
		return found;
	int answer = event->parent ? sharing_edit_read(edit, owner, event->parent, &list) : 0;
	if (answer == 0)
		answer = sharing_edit_replace(edit, owner, event->mailbox, &list);
	grant_list_finish(&list);
	return answer;
}

int sharing_mailbox_created(struct sharing_writer *writer, const char *owner, const char *mailbox,
			    const char *parent, struct error *error)
{
	/* what the account as a whole has counts anyway */
	struct mailbox_event event = {
		.owner = owner, .mailbox = mailbox, .parent = parent && *parent ? parent : NULL};

	if (check_name(mailbox, error) < 0)
		return -1;
	return run(writer, look_created, take_parents, &event, error);
}

static int look_deleted(const struct sharing_view *view, void *context, struct error *error)
{
	const struct mailbox_event *event = context;

	return has_own(view, event->owner, event->mailbox, error);
}

int sharing_mailbox_deleted(struct sharing_writer *writer, const char *owner, const char *mailbox,
			    struct error *error)
{
	struct mailbox_event event = {.owner = owner, .mailbox = mailbox};

	if (check_name(mailbox, error) < 0)
		return -1;
	return run(writer, look_deleted, take_parents, &event, error);
}

static int look_renamed(const struct sharing_view *view, void *context, struct error *error)
{
	const struct mailbox_event *event = context;
	struct mailbox_names names = {0};
	uint64_t owner;

	int found = has_own(view, event->new_owner, event->new_mailbox, error);
	if (found != 0)
		return found;
	found = view_owner(view, event->owner, &owner, error);
	if (found <= 0)
		return found;
	int answer = sharing_collect(view, owner, event->mailbox, &names, error);
	found = answer < 0 ? -1 : names.count > 0;
	mailbox_names_finish(&names);
	return found;
}

/* A mailbox on its way, with its grants in memory: all are taken away before any is put, because the new
 * name may lie below the old one. */
struct moving {
	struct mailbox_names names;
	struct grant_list *lists;
};

static int take_away(struct sharing_edit *edit, uint64_t owner, struct moving *moving)
{
	static const struct grant_list none = {0};

	for (size_t i = 0; i < moving->names.count; i++)
		if (sharing_edit_read(edit, owner, moving->names.items[i], &moving->lists[i]) < 0)
			return -1;
	for (size_t i = 0; i < moving->names.count; i++)
		if (sharing_edit_replace(edit, owner, moving->names.items[i], &none) < 0)
			return -1;
	return 0;
}

static int put_there(struct sharing_edit *edit, const struct mailbox_event *event, uint64_t owner,
		     struct moving *moving)
{
	size_t front = strlen(event->mailbox);

	for (size_t i = 0; i < moving->names.count; i++) {
		char mailbox[2 * MAILBOX_SIZE];

		stpcpy(stpcpy(mailbox, event->new_mailbox), moving->names.items[i] + front);
		const char *why = mailbox_refusal(mailbox);
		if (why)
			return error_set(edit->error, ERROR_INVALID, "the rights on a mailbox cannot go "
					 "along with it: its new name: %s", why);
		if (sharing_edit_replace(edit, owner, mailbox, &moving->lists[i]) < 0)
			return -1;
	}
	return 0;
}

/* Whatever stands at the new name goes, also where nothing comes in its place. */
static int clear_target(struct sharing_edit *edit, const struct mailbox_event *event)
{
	static const struct grant_list none = {0};
	uint64_t owner;
	int found = view_owner(&edit->view, event->new_owner, &owner, edit->error);

	return found > 0 ? sharing_edit_replace(edit, owner, event->new_mailbox, &none) : found;
}

/* Principals are not forgotten on the way, when the last that they have is in memory alone. */
static int move(struct sharing_edit *edit, const struct mailbox_event *event, uint64_t owner,
		struct moving *moving)
{
	uint64_t new_owner;

	edit->keep_principals = true;
	int answer = take_away(edit, owner, moving);
	if (answer == 0)
		answer = clear_target(edit, event);
	if (answer == 0)
		answer = sharing_edit_owner(edit, event->new_owner, &new_owner);
	if (answer == 0)
		answer = put_there(edit, event, new_owner, moving);
	edit->keep_principals = false;
	return answer == 0 ? sharing_edit_release(edit, owner) : answer;
}

static int change_renamed(struct sharing_edit *edit, void *context)
{
	const struct mailbox_event *event = context;
	struct moving moving = {.lists = NULL};
	uint64_t owner;

	int found = view_owner(&edit->view, event->owner, &owner, edit->error);
	if (found > 0 &&
	    sharing_collect(&edit->view, owner, event->mailbox, &moving.names, edit->error) < 0)
		found = -1;
	if (found > 0 && moving.names.count > 0) {
		moving.lists = calloc(moving.names.count, sizeof *moving.lists);
		found = moving.lists ? move(edit, event, owner, &moving)
				     : error_set(edit->error, ERROR_MEMORY, "out of memory");
	} else if (found >= 0) {
		found = clear_target(edit, event);
	}
	for (size_t i = 0; moving.lists && i < moving.names.count; i++)
		grant_list_finish(&moving.lists[i]);
	free(moving.lists);
	mailbox_names_finish(&moving.names);
	return found;
}

int sharing_mailbox_renamed(struct sharing_writer *writer, const char *owner, const char *mailbox,
			    const char *new_owner, const char *new_mailbox, struct error *error)
{
	struct mailbox_event event = {
		.owner = owner,
		.mailbox = mailbox,
		.new_owner = new_owner,
		.new_mailbox = new_mailbox,
	};

	if (check_name(mailbox, error) < 0 || check_name(new_mailbox, error) < 0)
		return -1;
	if (strcmp(owner, new_owner) == 0 && strcmp(mailbox, new_mailbox) == 0)
		return 0;
	return run(writer, look_renamed, change_renamed, &event, error);
}
