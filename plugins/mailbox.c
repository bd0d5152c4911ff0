/* Creating, deleting and renaming mailboxes, and who may read them unopened.
 *
 * A mailbox and its grants are in different places, so that no transaction has both. The mailbox
 * comes first, because what is done with it can be refused in many ways; before that, we see that
 * the grants could be written. What a crash in between leaves:
 *
 * - after deletion: grants on a mailbox that is not there. They go before one of that name is made.
 * - after renaming: the same under the old name; the mailbox is with its owner alone.
 * - after creation: a mailbox that is with its owner alone. */
#include "compat.h"

#include "backend.h"
#include "grants.h"
#include "mail.h"
#include "mailbox.h"
#include "naming.h"
#include "session.h"

struct homing_mailbox {
	union mailbox_module_context module_ctx;
	struct homing_session *session;
	bool of_reader; /* open, somebody else's, and was opened with the right to read it */
};

#define HOMING_MAILBOX_CONTEXT(obj) MODULE_CONTEXT_REQUIRE(obj, homing_mailbox_module)

static MODULE_CONTEXT_DEFINE_INIT(homing_mailbox_module, &mail_storage_module_register);

/* A mailbox in our names. `name` NULL: it cannot have grants. */
struct place {
	const char *owner, *name;
};

static struct place place_of(struct mailbox *box)
{
	return (struct place){
		.owner = homing_owner_of(box->list),
		.name = homing_mailbox_of(box->list, box->name),
	};
}

/* 1, 0, -1: logged. */
static int has_grants(struct homing_session *session, const struct place *place, bool below)
{
	const char *why;

	if (place->name == NULL || place->name[0] == '\0')
		return 0;
	if (homing_session_begin(session, &why) < 0)
		return -1;
	int ret = homing_grants_exist(session, place->owner, place->name, below);
	homing_session_end(session);
	return ret;
}

static int change(struct homing_session *session, homing_change_cb *callback, void *context)
{
	struct error error = {0};

	if (homing_session_change(session, callback, context, &error) >= 0)
		return 0;
	homing_session_failed(session, "grants of a mailbox cannot be changed", &error);
	return -1;
}

static int change_nothing(struct sharing_writer *writer ATTR_UNUSED,
			  const struct sharing_actor *actor ATTR_UNUSED,
			  void *context ATTR_UNUSED, struct error *error ATTR_UNUSED)
{
	return 0;
}

/* Could they be written now? -1: logged. */
static int try_writing(struct homing_session *session)
{
	return change(session, change_nothing, NULL);
}

/* Deletion */

static int write_deleted(struct sharing_writer *writer,
			 const struct sharing_actor *actor ATTR_UNUSED, void *context,
			 struct error *error)
{
	const struct place *place = context;

	return sharing_mailbox_deleted(writer, place->owner, place->name, error);
}

static int delete_box(struct mailbox *box)
{
	struct homing_mailbox *ours = HOMING_MAILBOX_CONTEXT(box);
	struct place place = place_of(box);

	int granted = has_grants(ours->session, &place, FALSE);
	if (granted < 0 || (granted > 0 && try_writing(ours->session) < 0)) {
		mail_storage_set_internal_error(box->storage);
		return -1;
	}
	if (ours->module_ctx.super.delete_box(box) < 0)
		return -1;
	if (granted > 0 && change(ours->session, write_deleted, &place) < 0) {
		mail_storage_set_internal_error(box->storage);
		return -1;
	}
	return 0;
}

/* What older mailboxes of a name have left must not count for a new one, not for a moment. */

static bool exists(struct mailbox_list *list, const char *vname)
{
	enum mailbox_existence existence = MAILBOX_EXISTENCE_NONE;
	struct mailbox *box = mailbox_alloc(list, vname, MAILBOX_FLAG_READONLY |
							  MAILBOX_FLAG_IGNORE_ACLS);
	/* if in doubt, its grants stay */
	bool found = mailbox_exists(box, FALSE, &existence) < 0 ||
		     existence == MAILBOX_EXISTENCE_SELECT;

	mailbox_free(&box);
	return found;
}

static int forget_one(struct homing_session *session, struct mailbox_list *list, const char *owner,
		      const char *name)
{
	const char *vname = homing_vname_of(list, name);
	struct place place = {.owner = owner, .name = name};

	if (vname == NULL || exists(list, vname))
		return 0;
	return change(session, write_deleted, &place);
}

/* At the place and below it, as far as no mailbox is there. 0, -1: logged. */
static int forget_leftovers(struct homing_session *session, struct mailbox_list *list,
			    const struct place *place)
{
	ARRAY_TYPE(const_string) left;
	const char *name, *why;

	if (place->name == NULL || place->name[0] == '\0')
		return 0;
	t_array_init(&left, 8);
	if (homing_session_begin(session, &why) < 0)
		return -1;
	int ret = homing_grants_below(session, place->owner, place->name, &left);
	homing_session_end(session);
	array_foreach_elem(&left, name) {
		if (ret == 0)
			ret = forget_one(session, list, place->owner, name);
	}
	return ret;
}

/* Renaming */

struct renaming {
	struct place from, to;
};

static int write_renamed(struct sharing_writer *writer,
			 const struct sharing_actor *actor ATTR_UNUSED, void *context,
			 struct error *error)
{
	const struct renaming *renaming = context;
	const struct place *from = &renaming->from, *to = &renaming->to;

	if (to->name == NULL) /* one that cannot have grants */
		return sharing_mailbox_deleted(writer, from->owner, from->name, error);
	return sharing_mailbox_renamed(writer, from->owner, from->name, to->owner, to->name, error);
}

static int rename_box(struct mailbox *box, struct mailbox *dest)
{
	struct homing_mailbox *ours = HOMING_MAILBOX_CONTEXT(box);
	struct renaming renaming = {.from = place_of(box), .to = place_of(dest)};

	int granted = has_grants(ours->session, &renaming.from, TRUE);
	if (granted < 0 || (granted > 0 && try_writing(ours->session) < 0) ||
	    forget_leftovers(ours->session, dest->list, &renaming.to) < 0) {
		mail_storage_set_internal_error(box->storage);
		return -1;
	}
	if (ours->module_ctx.super.rename_box(box, dest) < 0)
		return -1;
	if (granted > 0 && change(ours->session, write_renamed, &renaming) < 0) {
		mail_storage_set_internal_error(box->storage);
		return -1;
	}
	return 0;
}

/* Creation */

struct creation {
	struct place place;
	const char *parent; /* NULL: none */
};

static int write_created(struct sharing_writer *writer,
			 const struct sharing_actor *actor ATTR_UNUSED, void *context,
			 struct error *error)
{
	const struct creation *creation = context;

	return sharing_mailbox_created(writer, creation->place.owner, creation->place.name,
				       creation->parent, error);
}

static int copy_from_parent(struct mailbox *box, struct homing_session *session,
			    struct creation *creation)
{
	struct acl_backend *backend = homing_backend_of(box->list);
	struct place parent = {.owner = creation->place.owner};

	parent.name = homing_mailbox_of(box->list, homing_parent_of(backend, box->name));
	creation->parent = parent.name;
	/* an INBOX from which the defaults come is no parent of its own */
	if (parent.name != NULL && strcmp(parent.name, creation->place.name) == 0)
		return 0;
	int granted = has_grants(session, &parent, FALSE);
	return granted > 0 ? change(session, write_created, creation) : granted;
}

static int create_box(struct mailbox *box, const struct mailbox_update *update, bool directory)
{
	struct homing_mailbox *ours = HOMING_MAILBOX_CONTEXT(box);
	struct creation creation = {.place = place_of(box)};
	/* what Dovecot makes by itself, as at the first login, does not wait for our files */
	bool must = !mailbox_is_autocreated(box);

	if (forget_leftovers(ours->session, box->list, &creation.place) < 0 && must) {
		mail_storage_set_internal_error(box->storage);
		return -1;
	}
	if (ours->module_ctx.super.create_box(box, update, directory) < 0)
		return -1;
	/* a mere folder of other mailboxes has no ACL, where the format knows such */
	if (creation.place.name == NULL || (directory && !exists(box->list, box->vname)))
		return 0;
	if (copy_from_parent(box, ours->session, &creation) < 0 && must) {
		mail_storage_set_internal_error(box->storage);
		return -1;
	}
	return 0;
}

/* A mailbox that is gone
 *
 * Somebody has taken it out of storage, or a crash has left its grants: LIST shows it to others, from the
 * index, until one opens it. Its grants go then, but only where storage has another mailbox with
 * grants of this owner: else all of it may be away, as a file system that is not mounted. The INBOX
 * proves nothing, because Dovecot and what is delivered make it anew, and its grants never go so. */

static bool is_other_mailbox(struct mailbox_list *list, const struct place *place,
			     const char *name)
{
	const char *vname = homing_vname_of(list, name);
	enum mailbox_existence existence = MAILBOX_EXISTENCE_NONE;

	if (vname == NULL || name[0] == '\0' || strcmp(name, place->name) == 0 ||
	    strcmp(name, "INBOX") == 0)
		return FALSE;
	struct mailbox *box = mailbox_alloc(list, vname, MAILBOX_FLAG_READONLY |
							  MAILBOX_FLAG_IGNORE_ACLS);
	bool found = mailbox_exists(box, FALSE, &existence) == 0 &&
		     existence == MAILBOX_EXISTENCE_SELECT;
	mailbox_free(&box);
	return found;
}

static bool is_storage_there(struct homing_session *session, struct mailbox_list *list,
			     const struct place *place)
{
	ARRAY_TYPE(const_string) granted;
	const char *name, *why;

	t_array_init(&granted, 8);
	if (homing_session_begin(session, &why) < 0)
		return FALSE;
	int ret = homing_grants_below(session, place->owner, "", &granted);
	homing_session_end(session);
	if (ret < 0)
		return FALSE;
	array_foreach_elem(&granted, name) {
		if (is_other_mailbox(list, place, name))
			return TRUE;
	}
	return FALSE;
}

static void forget_gone(struct homing_session *session, struct mailbox *box)
{
	struct place place = place_of(box);

	mail_storage_last_error_push(box->storage);
	if (has_grants(session, &place, FALSE) > 0 && strcmp(place.name, "INBOX") != 0 &&
	    is_storage_there(session, box->list, &place))
		(void)forget_one(session, box->list, place.owner, place.name);
	mail_storage_last_error_pop(box->storage);
}

static int open_box(struct mailbox *box)
{
	struct homing_mailbox *ours = HOMING_MAILBOX_CONTEXT(box);

	int ret = ours->module_ctx.super.open(box);
	ours->of_reader = ret == 0 && homing_mail_is_of_others(box) &&
			  acl_mailbox_right_lookup(box, ACL_STORAGE_RIGHT_READ) > 0;
	if (ret < 0 && !box->creating && !box->deleting && !mailbox_is_autocreated(box) &&
	    mailbox_get_last_mail_error(box) == MAIL_ERROR_NOTFOUND)
		forget_gone(ours->session, box);
	return ret;
}

/* Reading without opening */

/* Dovecot answers for a mailbox that nobody opened from its index of mailboxes (STATUS of dbox mailboxes,
 * say), and asks no ACL then: how many messages somebody has would be known to all. */
static bool may_read(struct mailbox *box)
{
	if (box->opened || (box->flags & MAILBOX_FLAG_IGNORE_ACLS) != 0 ||
	    acl_mailbox_right_lookup(box, ACL_STORAGE_RIGHT_READ) > 0)
		return TRUE;
	if (acl_mailbox_right_lookup(box, ACL_STORAGE_RIGHT_LOOKUP) == 0)
		mail_storage_set_error(box->storage, MAIL_ERROR_NOTFOUND,
				       T_MAIL_ERR_MAILBOX_NOT_FOUND(box->vname));
	return FALSE;
}

static int get_status(struct mailbox *box, enum mailbox_status_items items,
		      struct mailbox_status *status_r)
{
	struct homing_mailbox *ours = HOMING_MAILBOX_CONTEXT(box);

	return may_read(box) ? ours->module_ctx.super.get_status(box, items, status_r) : -1;
}

static int get_metadata(struct mailbox *box, enum mailbox_metadata_items items,
			struct mailbox_metadata *metadata_r)
{
	struct homing_mailbox *ours = HOMING_MAILBOX_CONTEXT(box);

	return may_read(box) ? ours->module_ctx.super.get_metadata(box, items, metadata_r) : -1;
}

/* The next look at a mailbox that is open. Who has lost the right to read it sees nothing new in it, and brings
 * nothing of an old state into it: it may be another mailbox by now (mail.c), and a session that takes its
 * index for that of the old one can harm it. */
static struct mailbox_sync_context *sync_init(struct mailbox *box, enum mailbox_sync_flags flags)
{
	struct homing_mailbox *ours = HOMING_MAILBOX_CONTEXT(box);
	struct mailbox_sync_context *refused;

	if (!ours->of_reader || !box->opened || acl_mailbox_right_lookup(box, ACL_STORAGE_RIGHT_READ) > 0)
		return ours->module_ctx.super.sync_init(box, flags);
	/* as mailbox_sync_init() does where a mailbox does not open; mailbox_sync_deinit() frees it */
	refused = i_new(struct mailbox_sync_context, 1);
	refused->box = box;
	refused->flags = flags;
	refused->open_failed = TRUE;
	return refused;
}

/* Copying into it */

static int copy(struct mail_save_context *context, struct mail *mail)
{
	struct homing_mailbox *ours = HOMING_MAILBOX_CONTEXT(context->transaction->box);

	if (ours->module_ctx.super.copy(context, mail) < 0)
		return -1;
	if (homing_mail_copied(mail) == 0)
		return 0;
	mail_storage_set_error(context->transaction->box->storage, MAIL_ERROR_PERM, MAIL_ERRSTR_NO_PERMISSION);
	return -1;
}

bool homing_mailbox_is_served(struct mailbox *box)
{
	return MODULE_CONTEXT(box, homing_mailbox_module) != NULL;
}

void homing_mailbox_allocated(struct mailbox *box)
{
	struct homing_session *session = homing_session_of(box->storage->user);
	struct mailbox_vfuncs *v = box->vlast;
	struct homing_mailbox *ours;

	if (session == NULL || homing_backend_of(box->list) == NULL ||
	    mail_namespace_is_shared_user_root(box->list->ns))
		return;
	ours = p_new(box->pool, struct homing_mailbox, 1);
	ours->session = session;
	ours->module_ctx.super = *v;
	box->vlast = &ours->module_ctx.super;
	if (!homing_session_is_copy(session)) {
		v->open = open_box;
		v->create_box = create_box;
		v->delete_box = delete_box;
		v->rename_box = rename_box;
	}
	v->sync_init = sync_init;
	v->copy = copy;
	v->get_status = get_status;
	v->get_metadata = get_metadata;
	MODULE_CONTEXT_SET(box, homing_mailbox_module, ours);
}
