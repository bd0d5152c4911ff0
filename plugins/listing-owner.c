/* Owners: what their part of a name means, and namespaces for them.
 *
 * Dovecot would take `bob` in `shared/bob/Box` to the userdb as it is, where it is the main
 * domain's bob; `info%client2.com`, an alias, or `bob@client1^com` (prefix.h) it would keep as the
 * owner's name. Here the name is made canonical first, a bare one in the user's own domain, and the
 * namespace is made for the account. To Dovecot's function for it the owner is given with a mark
 * behind it, so that it takes the name as one piece whatever is in it; the prefix that clients see
 * is put in afterwards. */
#include "compat.h"

#include <shared-storage.h>

#include "listing-private.h"
#include "session.h"

#define MARK "\x1f"

const char *shared_pattern(struct shared_root *root)
{
	const struct shared_storage *storage = SHARED_STORAGE(root->list->ns->storage);

	return storage->ns_prefix_pattern;
}

char shared_separator(struct shared_root *root)
{
	return mail_namespace_get_sep(root->list->ns);
}

static int begin(struct shared_root *root)
{
	const char *error;

	if (homing_session_begin(root->session, &error) == 0)
		return 0;
	mailbox_list_set_error(root->list, MAIL_ERROR_TEMP, error);
	return -1;
}

int shared_own_domain(struct shared_root *root, const char **domain_r)
{
	if (begin(root) < 0)
		return -1;
	*domain_r = t_strdup(homing_session_me(root->session)->domain);
	homing_session_end(root->session);
	return 0;
}

int shared_administers(struct shared_root *root, const char *owner)
{
	if (begin(root) < 0)
		return -1;
	bool administers = rights_user_administers(homing_session_me(root->session), owner);
	homing_session_end(root->session);
	return administers ? 1 : 0;
}

int shared_owner_find(struct shared_root *root, const char *vname, struct shared_owner *owner_r)
{
	const struct mail_namespace *ns = root->list->ns;
	struct prefix_owner read;
	const char *domain;

	if (strncmp(vname, ns->prefix, ns->prefix_len) != 0 ||
	    strpbrk(vname + ns->prefix_len, MARK) != NULL ||
	    !prefix_parse(shared_pattern(root), shared_separator(root), vname + ns->prefix_len,
			  &read))
		return 0;
	const char *typed = read.typed;
	if (strchr(typed, '@') == NULL) {
		if (shared_own_domain(root, &domain) < 0)
			return -1;
		if (domain[0] != '\0')
			typed = t_strdup_printf("%s@%s", typed, domain);
	}
	owner_r->owner = homing_session_account(root->session, typed);
	owner_r->prefix = t_strconcat(t_strndup(vname, ns->prefix_len + read.length), read.tail,
				      NULL);
	return 1;
}

struct mail_namespace *shared_owner_opened(struct shared_root *root, const char *prefix)
{
	return mail_namespace_find_prefix(root->list->ns->user->namespaces, prefix);
}

/* Dovecot keeps namespaces sorted by the length of their prefixes. */
static void set_prefix(struct mail_namespace *ns, const char *prefix)
{
	struct mail_namespace **link = &ns->user->namespaces;
	struct mail_namespace_settings *set = (struct mail_namespace_settings *)ns->set;

	while (*link != ns)
		link = &(*link)->next;
	*link = ns->next;
	i_free(ns->prefix);
	ns->prefix = i_strdup(prefix);
	ns->prefix_len = strlen(prefix);
	set->prefix = ns->prefix;
	link = &ns->user->namespaces;
	while (*link != NULL && strlen((*link)->prefix) <= ns->prefix_len)
		link = &(*link)->next;
	ns->next = *link;
	*link = ns;
}

static struct mail_namespace *make(struct shared_root *root, const char *owner)
{
	struct mail_namespace *ns = root->list->ns;
	struct shared_storage *storage = SHARED_STORAGE(ns->storage);
	const char *pattern = storage->ns_prefix_pattern;
	const char *name = t_strconcat(owner, MARK, NULL);

	/* 2.3 has %u, 2.4 $user */
	storage->ns_prefix_pattern = strchr(pattern, '$') != NULL ? "$user" MARK : "%u" MARK;
	int ret = shared_storage_get_namespace(&ns, &name);
	storage->ns_prefix_pattern = pattern;
	return ret < 0 ? NULL : ns;
}

struct mail_namespace *shared_owner_open(struct shared_root *root,
					 const struct shared_owner *owner)
{
	struct mail_namespace *ns = shared_owner_opened(root, owner->prefix);

	if (ns != NULL)
		return ns;
	ns = make(root, owner->owner);
	if (ns == NULL)
		return NULL;
	set_prefix(ns, owner->prefix);
	/* NOTIFY asks what is subscribed in it before anything else */
	shared_subscriptions_fill(root, ns->list);
	/* else NOTIFY takes no interest in it: Dovecot's LIST would have marked it so */
	if ((ns->flags & NAMESPACE_FLAG_UNUSABLE) == 0)
		ns->flags |= NAMESPACE_FLAG_USABLE;
	return ns;
}

static int set_not_found(struct mailbox_list *list, const char *vname)
{
	mailbox_list_set_error(list, MAIL_ERROR_NOTFOUND, T_MAIL_ERR_MAILBOX_NOT_FOUND(vname));
	return -1;
}

/* UNSUBSCRIBE must find what is subscribed, also when the grant is gone. */
static bool has_subscribed(struct shared_root *root, const char *prefix)
{
	if (mailbox_list_iter_subscriptions_refresh(root->list) < 0 || root->subscribed == NULL)
		return FALSE;
	return names_find(root->subscribed, t_strndup(prefix, strlen(prefix) - 1)) != NULL;
}

/* Whoever has been granted nothing by this owner cannot tell an owner from nobody: neither is
 * looked for. */
static int may_open(struct shared_root *root, const struct shared_owner *owner)
{
	struct mail_user *user = root->list->ns->user;

	/* whoever runs it may know all */
	if (strcmp(user->service, "doveadm") == 0 || shared_is_known(root, owner->prefix))
		return 1;
	int ret = shared_has_granted(root, owner->owner);
	if (ret != 0)
		return ret;
	return has_subscribed(root, owner->prefix) ? 1 : 0;
}

int shared_get_storage_namespace(struct shared_root *root, const char *vname,
				 struct mail_namespace **ns_r)
{
	struct shared_owner owner;

	int ret = shared_owner_find(root, vname, &owner);
	if (ret == 0)
		return set_not_found(root->list, vname);
	if (ret < 0)
		return -1;
	*ns_r = shared_owner_opened(root, owner.prefix);
	if (*ns_r == NULL) {
		ret = may_open(root, &owner);
		if (ret == 0)
			return set_not_found(root->list, vname);
		*ns_r = ret < 0 ? NULL : shared_owner_open(root, &owner);
	}
	return *ns_r == NULL ? -1 : 0;
}

bool shared_root_is_listed(const struct shared_root *root)
{
	return (root->list->ns->flags &
		(NAMESPACE_FLAG_LIST_PREFIX | NAMESPACE_FLAG_LIST_CHILDREN)) != 0;
}

static void open_named(struct shared_root *root, const char *pattern)
{
	struct shared_owner owner;
	const char *literal =
		t_strndup(pattern, prefix_literal_length(pattern, shared_separator(root)));

	if (strlen(literal) > root->list->ns->prefix_len &&
	    shared_owner_find(root, literal, &owner) > 0 &&
	    shared_owner_opened(root, owner.prefix) == NULL && may_open(root, &owner) > 0)
		(void)shared_owner_open(root, &owner);
}

void shared_open_named(struct mail_user *user, const char *const *patterns)
{
	struct mail_namespace *ns;

	for (ns = user->namespaces; ns != NULL; ns = ns->next) {
		const struct homing_list *list = homing_list_of(ns->list);
		if (list == NULL || list->root == NULL || list->automatic || ns->prefix_len == 0 ||
		    ns->prefix[ns->prefix_len - 1] == mail_namespace_get_sep(ns))
			continue;
		for (unsigned i = 0; patterns[i] != NULL; i++)
			open_named(list->root, patterns[i]);
	}
}
