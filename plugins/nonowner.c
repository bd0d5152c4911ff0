/* Which mailboxes of an owner the user can see, from the grants on them. */
#include "compat.h"

#include "backend.h"
#include "naming.h"
#include "nonowner.h"
#include "session.h"

struct nonowner {
	struct acl_mailbox_list_context context;
	pool_t pool;
	ARRAY_TYPE(const_string) names; /* of storage */
	unsigned int next;
	const char *last; /* mailbox that was looked at */
};

static bool can_see(struct nonowner *nonowner, const char *storage_name)
{
	uint16_t rights = 0;

	if (homing_backend_rights(nonowner->context.backend, storage_name, &rights) < 0) {
		nonowner->context.failed = TRUE;
		return FALSE;
	}
	return (rights & RIGHT_LOOKUP) != 0;
}

static void add_visible(struct nonowner *nonowner, const char *storage_name)
{
	if (!can_see(nonowner, storage_name))
		return;
	const char *name = p_strdup(nonowner->pool, storage_name);
	array_push_back(&nonowner->names, &name);
}

/* The callback of a walk over grants: one call for each grant, by mailbox. */
static int add_mailbox(const char *owner ATTR_UNUSED, const char *mailbox,
		       const struct grant *grant ATTR_UNUSED, void *context)
{
	struct nonowner *nonowner = context;
	struct mailbox_list *list = nonowner->context.backend->list;

	if (mailbox[0] == '\0' ||
	    (nonowner->last != NULL && strcmp(nonowner->last, mailbox) == 0))
		return 0;
	nonowner->last = p_strdup(nonowner->pool, mailbox);
	T_BEGIN {
		const char *vname = homing_vname_of(list, mailbox);

		if (vname != NULL)
			add_visible(nonowner, mailbox_list_get_storage_name(list, vname));
	} T_END;
	return nonowner->context.failed ? 1 : 0;
}

static void add_granted(struct nonowner *nonowner, struct homing_session *session)
{
	const char *owner = homing_owner_of(nonowner->context.backend->list);
	struct error error = {0};
	const char *why;

	if (homing_session_begin(session, &why) < 0) {
		nonowner->context.failed = TRUE;
		return;
	}
	if (sharing_each_of_owner(homing_session_sharing(session), owner, add_mailbox, nonowner,
				  &error) < 0) {
		homing_session_failed(session, "grants cannot be read", &error);
		nonowner->context.failed = TRUE;
	}
	homing_session_end(session);
}

/* Where a grant on the whole account lets the user see what has no grant of its own. */
static void add_all(struct nonowner *nonowner)
{
	struct mailbox_list *list = nonowner->context.backend->list;
	const struct mailbox_info *info;
	struct mailbox_list_iterate_context *iterator =
		mailbox_list_iter_init(list, "*", MAILBOX_LIST_ITER_RAW_LIST |
						  MAILBOX_LIST_ITER_RETURN_NO_FLAGS);

	while ((info = mailbox_list_iter_next(iterator)) != NULL) {
		T_BEGIN {
			add_visible(nonowner, mailbox_list_get_storage_name(list, info->vname));
		} T_END;
	}
	if (mailbox_list_iter_deinit(&iterator) < 0)
		nonowner->context.failed = TRUE;
}

struct acl_mailbox_list_context *homing_nonowner_init(struct acl_backend *backend)
{
	struct homing_session *session = homing_session_of(mailbox_list_get_user(backend->list));
	pool_t pool = pool_alloconly_create("homing visible mailboxes", 1024);
	struct nonowner *nonowner = p_new(pool, struct nonowner, 1);

	nonowner->context.backend = backend;
	nonowner->pool = pool;
	p_array_init(&nonowner->names, pool, 16);
	if (session == NULL)
		nonowner->context.failed = TRUE;
	else if (can_see(nonowner, ""))
		add_all(nonowner);
	else if (!nonowner->context.failed)
		add_granted(nonowner, session);
	nonowner->context.empty = array_count(&nonowner->names) == 0;
	return &nonowner->context;
}

bool homing_nonowner_next(struct acl_mailbox_list_context *context, const char **name_r)
{
	struct nonowner *nonowner = container_of(context, struct nonowner, context);

	if (context->failed || nonowner->next == array_count(&nonowner->names))
		return FALSE;
	*name_r = array_idx_elem(&nonowner->names, nonowner->next++);
	return TRUE;
}

int homing_nonowner_deinit(struct acl_mailbox_list_context *context)
{
	struct nonowner *nonowner = container_of(context, struct nonowner, context);
	int ret = context->failed ? -1 : context->empty ? 0 : 1;

	pool_unref(&nonowner->pool);
	return ret;
}

/* The index is always up to date. */
int homing_nonowner_rebuild(struct acl_backend *backend ATTR_UNUSED)
{
	return 0;
}
