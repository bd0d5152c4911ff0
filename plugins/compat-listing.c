/* What differs between the versions of Dovecot in their lists of mailboxes. */
#include "compat.h"
#include "compat-listing.h"

#include <mailbox-tree.h>

#include "listing-private.h"

static compat_find_list *find_list;

#ifdef DOVECOT_LIST_VNAME_POINTER
static int get_storage(struct mailbox_list **list, const char **vname,
		       enum mailbox_list_get_storage_flags flags, struct mail_storage **storage_r)
{
	const struct mailbox_list_vfuncs *super = &homing_list_hooked(*list)->module_ctx.super;
	int ret = find_list(list, *vname);

	if (ret > 0)
		return mailbox_list_get_storage(list, vname, flags, storage_r);
	return ret < 0 ? -1 : super->get_storage(list, vname, flags, storage_r);
}
#else
static int get_storage(struct mailbox_list **list, const char *vname,
		       struct mail_storage **storage_r)
{
	const struct mailbox_list_vfuncs *super = &homing_list_hooked(*list)->module_ctx.super;
	int ret = find_list(list, vname);

	if (ret > 0)
		return mailbox_list_get_storage(list, vname, storage_r);
	return ret < 0 ? -1 : super->get_storage(list, vname, storage_r);
}
#endif

void compat_get_storage_hook(struct mailbox_list_vfuncs *v, compat_find_list *find)
{
	find_list = find;
	v->get_storage = get_storage;
}

#ifdef DOVECOT_LIST_SETTINGS
static bool has_control_dir(struct mailbox_list *list)
{
	return list->mail_set->mail_control_path[0] != '\0';
}

static const char *subscriptions_name(struct mailbox_list *list)
{
	return list->mail_set->mailbox_subscriptions_filename;
}
#else
static bool has_control_dir(struct mailbox_list *list)
{
	return list->set.control_dir != NULL;
}

static const char *subscriptions_name(struct mailbox_list *list)
{
	return list->set.subscription_fname != NULL ? list->set.subscription_fname : "";
}
#endif

const char *compat_subscriptions_path(struct mailbox_list *list)
{
	enum mailbox_list_path_type type = has_control_dir(list) ? MAILBOX_LIST_PATH_TYPE_CONTROL
								 : MAILBOX_LIST_PATH_TYPE_DIR;
	const char *path, *name = subscriptions_name(list);

	if (name[0] == '\0' || !mailbox_list_get_root_path(list, type, &path))
		return NULL;
	return t_strdup_printf("%s/%s", path, name);
}

void compat_own_subscriptions(struct mailbox_list_iterate_context *context ATTR_UNUSED)
{
#ifdef DOVECOT_LIST_SUBSCRIPTIONS
	mailbox_tree_deinit(&context->subscriptions);
#endif
}

void compat_no_shared_namespaces(struct mailbox_list *list)
{
	struct acl_mailbox_list *acl = ACL_LIST_CONTEXT(list);
	const time_t never = (time_t)1 << 40;

	/* it looks once an hour */
	if (acl != NULL)
		acl->last_shared_add_check = never;
}
