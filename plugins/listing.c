/* LIST of what is shared: the functions of Dovecot's lists. */
#include "compat.h"
#include "compat-listing.h"

#include <hash.h>
#include <imap-match.h>
#include <mailbox-tree.h>
#include <shared-storage.h>

#include "listing.h"
#include "listing-private.h"
#include "session.h"

#define HOMING_LIST_CONTEXT(obj) MODULE_CONTEXT(obj, homing_list_module)

static MODULE_CONTEXT_DEFINE_INIT(homing_list_module, &mailbox_list_module_register);

struct homing_list *homing_list_of(struct mailbox_list *list)
{
	return HOMING_LIST_CONTEXT(list);
}

struct homing_list *homing_list_hooked(struct mailbox_list *list)
{
	return MODULE_CONTEXT_REQUIRE(list, homing_list_module);
}

/* --- The root */

/* Whoever leaves the separator at the end of the prefix out (`~%u`, which Dovecot takes where the
 * namespace is not listed) cannot name anything below an owner. */
static bool is_served(struct shared_root *root)
{
	const char *pattern = shared_pattern(root);
	size_t length = strlen(pattern);

	return length > 0 && pattern[length - 1] == shared_separator(root);
}

/* Dovecot's would make a namespace for the owner that the reference names. */
static const char *root_join_refpattern(struct mailbox_list *list ATTR_UNUSED, const char *ref,
					const char *pattern)
{
	return ref[0] == '\0' ? pattern : t_strconcat(ref, pattern, NULL);
}

/* 1 *list is where the mailbox is; 0 Dovecot is to find it; -1 the list's error is set */
static int root_find_list(struct mailbox_list **list, const char *vname)
{
	struct shared_root *root = homing_list_hooked(*list)->root;
	struct mail_namespace *ns = (*list)->ns;

	/* the prefix itself is in no owner's storage */
	if (strlen(vname) <= ns->prefix_len || !is_served(root))
		return 0;
	if (shared_get_storage_namespace(root, vname, &ns) < 0)
		return -1;
	*list = ns->list;
	return 1;
}

/* What is with an owner has its path from the owner's list. What was not found stays here, and
 * Dovecot's function would look for its owner once more, which takes longer where there is none. */
static int root_get_path(struct mailbox_list *list, const char *name,
			 enum mailbox_list_path_type type, const char **path_r)
{
	struct homing_list *homing = homing_list_hooked(list);

	if (name == NULL || !is_served(homing->root))
		return homing->module_ctx.super.get_path(list, name, type, path_r);
	*path_r = NULL;
	return 0;
}

static void root_deinit(struct mailbox_list *list)
{
	struct homing_list *homing = homing_list_hooked(list);
	struct shared_root *root = homing->root;

	names_unref(&root->shared);
	shared_subscriptions_free(root);
	if (root->owners_pool != NULL) {
		hash_table_destroy(&root->owners);
		pool_unref(&root->owners_pool);
	}
	pool_unref(&root->walk_pool);
	homing->module_ctx.super.deinit(list);
}

static void hook_root(struct mailbox_list *list, struct homing_list *homing,
		      struct homing_session *session, struct mailbox_list_vfuncs *v)
{
	struct shared_root *root = p_new(list->pool, struct shared_root, 1);

	root->list = list;
	root->session = session;
	homing->root = root;
	v->deinit = root_deinit;
	compat_get_storage_hook(v, root_find_list);
	v->get_path = root_get_path;
	v->join_refpattern = root_join_refpattern;
	v->iter_init = shared_walk_init;
	v->iter_next = shared_walk_next;
	v->iter_deinit = shared_walk_deinit;
	shared_notify_hook(v);
	compat_no_shared_namespaces(list);
}

/* --- Automatic namespaces */

/* A LIST that names an automatic namespace's prefix comes to it too, after the root, which has
 * answered already. It is known by its patterns and flags, which are the same, and comes once. */
static bool root_has_answered(struct homing_list *homing, struct mailbox_list *list,
			      const char *const *patterns, enum mailbox_list_iter_flags flags)
{
	const struct shared_root *root = homing->root;
	bool names_prefix = FALSE;
	unsigned i;

	if (homing->asked || root->walk_patterns == NULL || root->walk_flags != flags ||
	    homing->silent_walk == root->walk_number)
		return FALSE;
	for (i = 0; patterns[i] != NULL && root->walk_patterns[i] != NULL; i++) {
		if (strcmp(patterns[i], root->walk_patterns[i]) != 0)
			return FALSE;
		if (strncmp(patterns[i], list->ns->prefix, list->ns->prefix_len) == 0)
			names_prefix = TRUE;
	}
	return names_prefix && patterns[i] == NULL && root->walk_patterns[i] == NULL;
}

static struct mailbox_list_iterate_context *nothing(struct mailbox_list *list,
						    const char *const *patterns,
						    enum mailbox_list_iter_flags flags)
{
	pool_t pool = pool_alloconly_create("homing list of nothing", 512);
	struct mailbox_list_iterate_context *context =
		p_new(pool, struct mailbox_list_iterate_context, 1);
	union mailbox_list_iterate_module_context *mark =
		p_new(pool, union mailbox_list_iterate_module_context, 1);

	context->pool = pool;
	context->list = list;
	context->flags = flags;
	context->glob = imap_match_init_multiple(pool, patterns, TRUE,
						 mail_namespace_get_sep(list->ns));
	array_create(&context->module_contexts, pool, sizeof(void *), 5);
	MODULE_CONTEXT_SET_SELF(context, homing_list_module, mark);
	return context;
}

static bool is_nothing(struct mailbox_list_iterate_context *context)
{
	return MODULE_CONTEXT(context, homing_list_module) != NULL;
}

static struct mailbox_list_iterate_context *
automatic_iter_init(struct mailbox_list *list, const char *const *patterns,
		    enum mailbox_list_iter_flags flags)
{
	struct homing_list *homing = homing_list_hooked(list);

	if (!root_has_answered(homing, list, patterns, flags))
		return homing->module_ctx.super.iter_init(list, patterns, flags);
	homing->silent_walk = homing->root->walk_number;
	return nothing(list, patterns, flags);
}

static const struct mailbox_info *
automatic_iter_next(struct mailbox_list_iterate_context *context)
{
	if (!is_nothing(context))
		return homing_list_hooked(context->list)->module_ctx.super.iter_next(context);
	compat_own_subscriptions(context);
	return NULL;
}

static int automatic_iter_deinit(struct mailbox_list_iterate_context *context)
{
	if (!is_nothing(context))
		return homing_list_hooked(context->list)->module_ctx.super.iter_deinit(context);
	pool_unref(&context->pool);
	return 0;
}

static struct shared_root *find_root(const struct mail_namespace *automatic)
{
	struct shared_root *found = NULL;
	struct mail_namespace *ns;

	for (ns = automatic->user->namespaces; ns != NULL; ns = ns->next) {
		struct homing_list *homing = ns->list == NULL ? NULL : homing_list_of(ns->list);
		if (homing == NULL || homing->root == NULL || homing->automatic ||
		    strncmp(ns->prefix, automatic->prefix, ns->prefix_len) != 0)
			continue;
		if (found == NULL || found->list->ns->prefix_len < ns->prefix_len)
			found = homing->root;
	}
	return found;
}

static void hook_automatic(struct mailbox_list *list, struct homing_list *homing,
			   struct mailbox_list_vfuncs *v)
{
	homing->root = find_root(list->ns);
	if (homing->root == NULL)
		return;
	homing->automatic = TRUE;
	/* a LIST that does not name the prefix does not come here */
	list->ns->flags &= ~(NAMESPACE_FLAG_LIST_PREFIX | NAMESPACE_FLAG_LIST_CHILDREN);
	list->subscriptions = mailbox_tree_init(mail_namespace_get_sep(list->ns));
	v->iter_init = automatic_iter_init;
	v->iter_next = automatic_iter_next;
	v->iter_deinit = automatic_iter_deinit;
}

/* --- The user's own namespace without a prefix, to which every LIST comes */

static struct mailbox_list_iterate_context *
own_iter_init(struct mailbox_list *list, const char *const *patterns,
	      enum mailbox_list_iter_flags flags)
{
	T_BEGIN {
		shared_open_named(list->ns->user, patterns);
	} T_END;
	return homing_list_hooked(list)->module_ctx.super.iter_init(list, patterns, flags);
}

static bool is_own(const struct mailbox_list *list)
{
	return list->ns->type == MAIL_NAMESPACE_TYPE_PRIVATE && list->ns->prefix[0] == '\0' &&
	       !list->ns->user->autocreated;
}

/* --- The hook */

static bool is_root(const struct mailbox_list *list)
{
	return list->ns->type == MAIL_NAMESPACE_TYPE_SHARED &&
	       (list->ns->flags & NAMESPACE_FLAG_NOACL) != 0 &&
	       strcmp(list->name, MAIL_SHARED_STORAGE_NAME) == 0;
}

static bool is_automatic(const struct mailbox_list *list)
{
	return list->ns->type == MAIL_NAMESPACE_TYPE_SHARED &&
	       (list->ns->flags & NAMESPACE_FLAG_AUTOCREATED) != 0;
}

void homing_listing_created(struct mailbox_list *list)
{
	struct homing_session *session = homing_session_of(list->ns->user);
	struct mailbox_list_vfuncs *v = list->vlast;

	if (session == NULL)
		return;
	struct homing_list *homing = p_new(list->pool, struct homing_list, 1);
	homing->module_ctx.super = *v;
	list->vlast = &homing->module_ctx.super;
	v->subscriptions_refresh = homing_subscriptions_refresh;
	v->set_subscribed = homing_set_subscribed;
	if (is_root(list))
		hook_root(list, homing, session, v);
	else if (is_automatic(list))
		hook_automatic(list, homing, v);
	else if (is_own(list))
		v->iter_init = own_iter_init;
	MODULE_CONTEXT_SET(list, homing_list_module, homing);
}
