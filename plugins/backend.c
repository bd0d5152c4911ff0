/* The functions of the ACL backend.
 *
 * acl asks refresh() before each look into its cache of rights by mailbox name. We put one mask
 * there, which is already what all grants add up to for this user, and keep with it the session's
 * version: while that is the same, nothing that the mask was made of has changed. */
#include "compat.h"

#include "backend.h"
#include "change.h"
#include "grants.h"
#include "naming.h"
#include "nonowner.h"
#include "session.h"
#include "words.h"

struct homing_object {
	struct acl_object object;
	bool is_parent; /* of a mailbox that is about to be made */
};

static struct homing_session *session_of(const struct acl_backend *backend)
{
	return homing_session_of(mailbox_list_get_user(backend->list));
}

static void backend_deinit(struct acl_backend *backend)
{
	pool_unref(&backend->pool);
}

static struct acl_object *make_object(struct acl_backend *backend, const char *name, bool is_parent)
{
	struct homing_object *object = i_new(struct homing_object, 1);

	object->object.backend = backend;
	object->object.name = i_strdup(name);
	object->is_parent = is_parent;
	return &object->object;
}

static struct acl_object *object_init(struct acl_backend *backend, const char *name)
{
	return make_object(backend, name, FALSE);
}

static bool exists(struct mailbox_list *list, const char *storage_name)
{
	enum mailbox_existence existence = MAILBOX_EXISTENCE_NONE;
	const char *error;

	if (!mailbox_list_is_valid_name(list, storage_name, &error))
		return FALSE;
	struct mailbox *box = mailbox_alloc(list, mailbox_list_get_vname(list, storage_name),
					    MAILBOX_FLAG_READONLY | MAILBOX_FLAG_IGNORE_ACLS);
	/* one that cannot be looked at keeps its grants from being passed over */
	bool found = mailbox_exists(box, TRUE, &existence) < 0 ||
		     existence == MAILBOX_EXISTENCE_SELECT;
	mailbox_free(&box);
	return found;
}

const char *homing_parent_of(struct acl_backend *backend, const char *storage_name)
{
	char separator = mailbox_list_get_hierarchy_sep(backend->list);
	const char *end;

	while ((end = strrchr(storage_name, separator)) != NULL) {
		storage_name = t_strdup_until(storage_name, end);
		if (exists(backend->list, storage_name))
			return storage_name;
	}
	return acl_backend_get_default_object(backend)->name;
}

static struct acl_object *object_init_parent(struct acl_backend *backend, const char *child_name)
{
	struct acl_object *object;

	T_BEGIN {
		object = make_object(backend, homing_parent_of(backend, child_name), TRUE);
	} T_END;
	return object;
}

static void object_deinit(struct acl_object *object)
{
	i_free(object->name);
	i_free(object);
}

/* The namespace that Dovecot makes for the owner of mailboxes that somebody else uses, to look at them
 * with the owner's eyes (for quota and the like). Nobody gets at mail through it. */
static bool is_owners_own(const struct acl_backend *backend)
{
	return mailbox_list_get_user(backend->list)->autocreated &&
	       backend->list->ns->type == MAIL_NAMESPACE_TYPE_PRIVATE;
}

/* Is it the owner who uses them? Without a look at any file. */
static bool is_owner(const struct acl_backend *backend, struct homing_session *session)
{
	return backend->owner && strcmp(homing_session_actor(session),
					mailbox_list_get_user(backend->list)->username) == 0;
}

static bool delivers(const struct mail_user *user)
{
	return strcmp(user->service, "lmtp") == 0 || strcmp(user->service, "lda") == 0;
}

static int read_rights(struct acl_backend *backend, struct homing_session *session,
		       const char *storage_name, uint16_t *rights_r)
{
	const char *mailbox = homing_mailbox_of(backend->list, storage_name);
	const char *owner = homing_owner_of(backend->list);
	struct error error = {0};
	const char *why;

	if (homing_session_begin(session, &why) < 0)
		return -1;
	/* a mailbox that cannot have grants of its own still has those of the whole account */
	int ret = sharing_rights(homing_session_sharing(session), homing_session_me(session), owner,
				 mailbox == NULL ? "" : mailbox, rights_r, &error);
	homing_session_end(session);
	if (ret < 0)
		homing_session_failed(session, "rights on mailboxes cannot be read", &error);
	return ret;
}

int homing_backend_rights(struct acl_backend *backend, const char *storage_name,
			  uint16_t *rights_r)
{
	struct homing_session *session = session_of(backend);
	int ret;

	if (is_owners_own(backend)) {
		*rights_r = RIGHTS_ALL;
		return 0;
	}
	if (session == NULL)
		return -1;
	T_BEGIN {
		ret = read_rights(backend, session, storage_name, rights_r);
	} T_END;
	/* While grants cannot be read, owners go on with their mail. Making, deleting and renaming
	 * mailboxes and sharing them wait: all that has to write looks at the files itself. */
	if (ret < 0 && is_owner(backend, session)) {
		*rights_r = RIGHTS_ALL;
		ret = 0;
	}
	/* who may put a message there by IMAP may have it delivered there */
	if ((*rights_r & RIGHT_INSERT) != 0 && delivers(mailbox_list_get_user(backend->list)))
		*rights_r |= RIGHT_POST;
	return ret;
}

static void remember(struct acl_backend *backend, const char *name, uint16_t rights,
		     uint64_t version)
{
	struct acl_rights_update update = {
		.modify_mode = ACL_MODIFY_MODE_REPLACE,
		.neg_modify_mode = ACL_MODIFY_MODE_REPLACE,
	};

	T_BEGIN {
		update.rights.id_type = ACL_ID_ANYONE;
		update.rights.rights = homing_right_names(pool_datastack_create(), rights);
		acl_cache_update(backend->cache, name, &update);
	} T_END;
	acl_cache_set_validity(backend->cache, name, &version);
}

static bool is_remembered(struct acl_backend *backend, const char *name, uint64_t version)
{
	const void *kept = acl_cache_get_validity(backend->cache, name);

	return kept != NULL && memcmp(kept, &version, sizeof(version)) == 0;
}

static int object_refresh(struct acl_object *object)
{
	struct acl_backend *backend = object->backend;
	struct homing_session *session = session_of(backend);
	uint16_t rights = 0;

	/* before anything is read: what changes meanwhile counts the next time */
	uint64_t version = session == NULL ? 1 : homing_session_version(session);
	if (is_remembered(backend, object->name, version))
		return 0;
	if (homing_backend_rights(backend, object->name, &rights) < 0)
		return -1;
	remember(backend, object->name, rights, version);
	return 0;
}

static int object_update(struct acl_object *object, const struct acl_rights_update *update)
{
	int ret;

	T_BEGIN {
		ret = homing_change_acl(object->backend, object->name, update);
	} T_END;
	return ret;
}

/* dsync asks, to know which side's ACL is newer. We do not keep it. */
static int last_changed(struct acl_object *object ATTR_UNUSED, time_t *last_changed_r)
{
	*last_changed_r = 0;
	return 0;
}

static int read_list(struct acl_backend *backend, struct homing_session *session,
		     const char *storage_name, ARRAY_TYPE(homing_grant) *grants)
{
	const char *mailbox = homing_mailbox_of(backend->list, storage_name);
	const char *owner = homing_owner_of(backend->list);
	const char *why;

	if (mailbox == NULL)
		mailbox = "";
	if (homing_session_begin(session, &why) < 0)
		return -1;
	/* to another server goes what was given on the mailbox itself */
	int ret = mailbox_list_get_user(backend->list)->dsyncing
			  ? homing_grants_of(session, owner, mailbox, grants)
			  : homing_grants_counting(session, owner, mailbox, grants);
	homing_session_end(session);
	return ret;
}

static void fill_list(struct acl_object_list_iter *iterator)
{
	struct acl_object *object = iterator->aclobj;
	struct homing_session *session = session_of(object->backend);
	ARRAY_TYPE(homing_grant) grants;
	const struct grant *grant;
	unsigned int count = 0;

	t_array_init(&grants, 8);
	if (session == NULL || read_list(object->backend, session, object->name, &grants) < 0) {
		iterator->failed = TRUE;
		return;
	}
	iterator->rights = p_new(iterator->pool, struct acl_rights, array_count(&grants) + 1);
	array_foreach(&grants, grant)
		homing_acl_rights(iterator->pool, grant, &iterator->rights[count++]);
	iterator->count = count;
	iterator->empty = count == 0;
}

/* acl copies the list of a parent to a new mailbox, one by one; mailbox.c has done it already. */
static struct acl_object_list_iter *list_init(struct acl_object *object)
{
	const struct homing_object *ours = container_of(object, struct homing_object, object);
	pool_t pool = pool_alloconly_create("homing acl list", 1024);
	struct acl_object_list_iter *iterator = p_new(pool, struct acl_object_list_iter, 1);

	iterator->pool = pool;
	iterator->aclobj = object;
	if (ours->is_parent) {
		iterator->empty = TRUE;
		return iterator;
	}
	T_BEGIN {
		fill_list(iterator);
	} T_END;
	return iterator;
}

static const struct compat_backend functions = {
	.deinit = backend_deinit,
	.nonowner_init = homing_nonowner_init,
	.nonowner_next = homing_nonowner_next,
	.nonowner_deinit = homing_nonowner_deinit,
	.nonowner_rebuild = homing_nonowner_rebuild,
	.object_init = object_init,
	.object_init_parent = object_init_parent,
	.object_deinit = object_deinit,
	.object_refresh = object_refresh,
	.object_update = object_update,
	.last_changed = last_changed,
	.list_init = list_init,
	.list_next = acl_default_object_list_next,
	.list_deinit = acl_default_object_list_deinit,
	.validity_size = sizeof(uint64_t),
};

void homing_backend_register(void)
{
	compat_backend_register(&functions);
}

void homing_backend_unregister(void)
{
	compat_backend_unregister();
}

struct acl_backend *homing_backend_of(struct mailbox_list *list)
{
	struct acl_mailbox_list *acl = ACL_LIST_CONTEXT(list);

	if (acl == NULL || acl->rights.backend == NULL ||
	    !compat_backend_is_ours(acl->rights.backend))
		return NULL;
	return acl->rights.backend;
}
