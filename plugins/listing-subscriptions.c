/* Which shared mailboxes are subscribed.
 *
 * They stand in the subscription file of the namespace that has one, the user's own, as the prefix
 * of the owner's namespace and the mailbox's name in the owner's storage
 * (`shared/bob@client1.com/Box.Sub` with Maildir++). Dovecot reads them for each namespace apart,
 * those for the root with the root's separator, which takes a domain's dots for it; and makes a
 * namespace for each owner meanwhile. Here the file is read once for all that is below a root, as
 * it was written. */
#include "compat.h"
#include "compat-listing.h"

#include <ctype.h>
#include <imap-utf7.h>
#include <mailbox-list-subscriptions.h>
#include <mailbox-tree.h>
#include <subscription-file.h>
#include <sys/stat.h>

#include "listing-private.h"
#include "session.h"

/* Only storage can tell how it writes a name with these in it: any one of the namespaces, since all
 * owners' are alike. */
static struct mail_namespace *any_automatic(struct shared_root *root)
{
	struct mail_namespace *ns;

	for (ns = root->list->ns->user->namespaces; ns != NULL; ns = ns->next) {
		const struct homing_list *list = homing_list_of(ns->list);
		if (list != NULL && list->automatic && list->root == root)
			return ns;
	}
	return NULL;
}

static struct mail_namespace *some_namespace(struct shared_root *root)
{
	struct mail_namespace *ns = any_automatic(root);
	struct names *names;
	struct shared_owner owner;

	if (ns != NULL || (names = shared_names(root)) == NULL)
		return ns;
	for (unsigned i = 0; i < names->count && ns == NULL; i = names->list[i].end) {
		const struct name *name = &names->list[i];
		/* where a domain stands above its owners, go down to one */
		while (!name->is_owner && names_has_below(names, names_position(names, name)))
			name++;
		const char *vname = t_strdup_printf("%s%c", name->vname, names->separator);
		if (name->is_owner && shared_owner_find(root, vname, &owner) > 0)
			ns = shared_owner_open(root, &owner);
	}
	names_unref(&names);
	return ns;
}

static bool is_plain(const char *name)
{
	for (; *name != '\0'; name++) {
		if (!i_isalnum(*name) && *name != ' ' && *name != '_' && *name != '-')
			return FALSE;
	}
	return TRUE;
}

/* A guess, where nobody can be asked. */
static const char *plain_vname(struct shared_root *root, const char *prefix,
			       const char *storage_name)
{
	string_t *name = t_str_new(128);

	if (imap_utf7_to_utf8(storage_name, name) < 0) {
		str_truncate(name, 0);
		str_append(name, storage_name);
	}
	char *copy = t_strdup_noconst(str_c(name));
	for (char *p = copy; *p != '\0'; p++) {
		if (*p == '/')
			*p = shared_separator(root);
	}
	return t_strconcat(prefix, copy, NULL);
}

/* As clients see it; NULL if they cannot. */
static const char *mailbox_vname(struct shared_root *root, const char *prefix,
				 const char *storage_name)
{
	const char *top = t_strndup(prefix, strlen(prefix) - 1);

	if (storage_name[0] == '\0')
		return top;
	if (is_plain(storage_name) && strcmp(storage_name, "INBOX") != 0)
		return t_strconcat(prefix, storage_name, NULL);
	struct mail_namespace *ns = shared_owner_opened(root, prefix);
	if (ns == NULL)
		ns = some_namespace(root);
	if (ns == NULL)
		return plain_vname(root, prefix, storage_name);
	const char *vname = mailbox_list_get_vname(ns->list, storage_name);
	return strlen(vname) < ns->prefix_len
		       ? top
		       : t_strconcat(prefix, vname + ns->prefix_len, NULL);
}

/* Namespaces that are configured below the root are not the root's. */
static bool is_elsewhere(struct shared_root *root, const char *name)
{
	const struct mail_namespace *ns, *own = root->list->ns;

	for (ns = own->user->namespaces; ns != NULL; ns = ns->next) {
		if ((ns->flags & NAMESPACE_FLAG_AUTOCREATED) == 0 &&
		    ns->prefix_len > own->prefix_len &&
		    strncmp(ns->prefix, name, ns->prefix_len) == 0)
			return TRUE;
	}
	return FALSE;
}

static void add_subscribed(struct names_builder *builder, const char *prefix, const char *vname)
{
	struct name subscribed = {.vname = vname, .named = TRUE};
	struct name top = {.vname = t_strndup(prefix, strlen(prefix) - 1), .is_owner = TRUE};

	names_builder_add(builder, &subscribed);
	names_builder_add(builder, &top);
}

static void add_subscription(struct shared_root *root, struct names_builder *builder,
			     const char *name)
{
	const struct mail_namespace *ns = root->list->ns;
	char separator = shared_separator(root);
	struct prefix_owner read;

	size_t length = strlen(name);
	/* other programs have written names with a separator at the end */
	if (length > 0 && name[length - 1] == separator)
		name = t_strndup(name, length - 1);
	if (strncmp(name, ns->prefix, ns->prefix_len) != 0 || is_elsewhere(root, name) ||
	    !prefix_parse(shared_pattern(root), separator, name + ns->prefix_len, &read))
		return;
	const char *prefix = t_strconcat(t_strndup(name, ns->prefix_len + read.length), read.tail,
					 NULL);
	const char *vname =
		mailbox_vname(root, prefix, name + ns->prefix_len + read.length);
	if (uni_utf8_str_is_valid(vname))
		add_subscribed(builder, prefix, vname);
}

static int read_file(struct shared_root *root, struct mailbox_list *source, const char *path,
		     struct names_builder *builder)
{
	struct subsfile_list_context *file = subsfile_list_init(source, path);
	struct stat st;
	const char *name;

	root->subscribed_mtime = subsfile_list_fstat(file, &st) == 0 ? st.st_mtime : (time_t)-1;
	while ((name = subsfile_list_next(file)) != NULL) T_BEGIN {
		add_subscription(root, builder, t_strconcat(source->ns->prefix, name, NULL));
	} T_END;
	if (subsfile_list_deinit(&file) == 0)
		return 0;
	root->subscribed_mtime = (time_t)-1;
	return -1;
}

/* --- Two names of the same mailboxes
 *
 * `~bob@client1.com/Box` is a second name of `shared/bob@client1.com/Box`, and a LIST or LSUB of
 * everything shows the second alone. So that LSUB shows what was subscribed by the first name, it
 * is written by the second. */

static struct shared_root *find_listed_root(struct shared_root *other)
{
	struct mail_namespace *ns;

	for (ns = other->list->ns->user->namespaces; ns != NULL; ns = ns->next) {
		const struct homing_list *list = homing_list_of(ns->list);
		if (list != NULL && list->root != NULL && !list->automatic &&
		    list->root != other && shared_root_is_listed(list->root) &&
		    shared_separator(list->root) == shared_separator(other))
			return list->root;
	}
	return NULL;
}

/* The prefix that the owner has below another root; NULL none. */
static const char *prefix_below(struct shared_root *from, const char *prefix,
				struct shared_root *to)
{
	struct shared_owner owner;
	char text[PREFIX_TEXT_SIZE];
	const char *domain;

	if (shared_owner_find(from, prefix, &owner) <= 0 ||
	    shared_own_domain(to, &domain) < 0 ||
	    !prefix_format(shared_pattern(to), shared_separator(to), owner.owner, domain, text))
		return NULL;
	return t_strconcat(to->list->ns->prefix, text, NULL);
}

static void add_by_other_name(struct shared_root *root, struct names_builder *builder,
			      struct shared_root *listed, const struct name *owner)
{
	const struct names *names = listed->subscribed;
	size_t length = strlen(owner->vname) + 1;
	const char *prefix = prefix_below(
		listed, t_strdup_printf("%s%c", owner->vname, names->separator), root);

	if (prefix == NULL)
		return;
	for (unsigned i = names_position(names, owner); i < owner->end; i++) {
		const struct name *name = &names->list[i];
		if (name->named && name == owner)
			add_subscribed(builder, prefix, t_strndup(prefix, strlen(prefix) - 1));
		else if (name->named)
			add_subscribed(builder, prefix,
				       t_strconcat(prefix, name->vname + length, NULL));
	}
}

static int add_of_listed_root(struct shared_root *root, struct mailbox_list *source,
			      struct names_builder *builder)
{
	struct shared_root *listed = shared_root_is_listed(root) ? NULL : find_listed_root(root);

	if (listed == NULL)
		return 0;
	if (shared_subscriptions_read(listed, source) < 0)
		return -1;
	for (unsigned i = 0; i < listed->subscribed->count; i++) {
		if (listed->subscribed->list[i].is_owner) T_BEGIN {
			add_by_other_name(root, builder, listed, &listed->subscribed->list[i]);
		} T_END;
	}
	return 0;
}

/* What is written for the name below an unlisted root. */
static const char *name_to_write(struct mailbox_list *list, const char *name)
{
	const char *full = t_strconcat(list->ns->prefix, name, NULL);
	struct mail_namespace *ns;
	struct prefix_owner read;

	for (ns = list->ns->user->namespaces; ns != NULL; ns = ns->next) {
		const struct homing_list *homing = homing_list_of(ns->list);
		if (homing == NULL || homing->root == NULL || homing->automatic ||
		    shared_root_is_listed(homing->root) ||
		    strncmp(full, ns->prefix, ns->prefix_len) != 0)
			continue;
		struct shared_root *listed = find_listed_root(homing->root);
		if (listed == NULL ||
		    !prefix_parse(shared_pattern(homing->root), shared_separator(homing->root),
				  full + ns->prefix_len, &read))
			continue;
		const char *prefix = prefix_below(homing->root, full, listed);
		if (prefix != NULL && strncmp(prefix, list->ns->prefix, list->ns->prefix_len) == 0)
			return t_strconcat(prefix + list->ns->prefix_len,
					   full + ns->prefix_len + read.length, NULL);
	}
	return name;
}

int homing_set_subscribed(struct mailbox_list *list, const char *name, bool set)
{
	struct homing_list *homing = homing_list_hooked(list);
	const char *other = homing->root == NULL ? name_to_write(list, name) : name;

	/* it may have been written by the first name before there was the second */
	if (!set && other != name)
		(void)homing->module_ctx.super.set_subscribed(list, name, FALSE);
	return homing->module_ctx.super.set_subscribed(list, other, set);
}

/* --- Reading */

static void keep(struct shared_root *root, struct names_builder **builder)
{
	names_unref(&root->subscribed);
	root->subscribed = names_build(builder);
	root->subscribed_number++;
}

static int fail(struct shared_root *root, struct mailbox_list *source)
{
	enum mail_error error;
	const char *text = mailbox_list_get_last_error(source, &error);

	mailbox_list_set_error(root->list, error, text);
	return -1;
}

int shared_subscriptions_read(struct shared_root *root, struct mailbox_list *source)
{
	const char *path = compat_subscriptions_path(source);
	struct stat st;

	if (path == NULL || (stat(path, &st) < 0 && errno == ENOENT)) {
		if (root->subscribed == NULL || root->subscribed_mtime != 0) {
			struct names_builder *none = names_builder_create(
				shared_separator(root), root->list->ns->prefix_len);
			keep(root, &none);
			root->subscribed_mtime = 0;
		}
		return 0;
	}
	/* as Dovecot does: a file of this very second may change without its time showing it */
	if (root->subscribed != NULL && root->subscribed_mtime == st.st_mtime &&
	    st.st_mtime < root->subscribed_read - 1)
		return 0;
	struct names_builder *builder = names_builder_create(shared_separator(root),
							     root->list->ns->prefix_len);
	root->subscribed_read = ioloop_time;
	int ret = read_file(root, source, path, builder);
	if (ret == 0)
		ret = add_of_listed_root(root, source, builder);
	keep(root, &builder);
	return ret < 0 ? fail(root, source) : 0;
}

static void clear_tree(struct mailbox_list *list)
{
	if (list->subscriptions == NULL)
		list->subscriptions = mailbox_tree_init(mail_namespace_get_sep(list->ns));
	else
		mailbox_tree_clear(list->subscriptions);
}

static void add_to_tree(struct mailbox_list *list, const char *vname)
{
	bool created;

	mailbox_tree_get(list->subscriptions, vname, &created)->flags = MAILBOX_SUBSCRIBED;
}

/* Dovecot looks in the root's tree whether anything is subscribed below the prefix, and searches it
 * name by name; so one name stands there for all. */
static void fill_root(struct shared_root *root)
{
	const struct names *names = root->subscribed;

	clear_tree(root->list);
	for (unsigned i = 0; i < names->count; i++) {
		if (names->list[i].named) {
			add_to_tree(root->list, names->list[i].vname);
			break;
		}
	}
}

static void fill_from(struct mailbox_list *list, const struct names *names, const char *prefix)
{
	const char *top = t_strndup(list->ns->prefix, list->ns->prefix_len - 1);
	size_t length = strlen(prefix) - 1;
	const struct name *owner = names_find(names, t_strndup(prefix, length));

	if (owner == NULL)
		return;
	for (unsigned i = names_position(names, owner); i < owner->end; i++) {
		if (names->list[i].named)
			add_to_tree(list, t_strconcat(top, names->list[i].vname + length, NULL));
	}
}

static void fill_automatic(struct shared_root *root, struct mailbox_list *list)
{
	const char *prefix = prefix_below(root, list->ns->prefix, root);

	clear_tree(list);
	fill_from(list, root->subscribed, list->ns->prefix);
	/* the owner may have been named otherwise then */
	if (prefix != NULL && strcmp(prefix, list->ns->prefix) != 0)
		fill_from(list, root->subscribed, prefix);
}

void shared_subscriptions_fill(struct shared_root *root, struct mailbox_list *automatic)
{
	struct homing_list *homing = homing_list_of(automatic);

	if (homing == NULL || root->subscribed == NULL ||
	    (automatic->ns->flags & NAMESPACE_FLAG_SUBSCRIPTIONS) != 0)
		return;
	T_BEGIN {
		fill_automatic(root, automatic);
	} T_END;
	homing->subscribed_number = root->subscribed_number;
}

int homing_subscriptions_refresh(struct mailbox_list *source, struct mailbox_list *dest)
{
	struct homing_list *from = homing_list_hooked(source), *to = homing_list_of(dest);

	if (to == NULL || to->root == NULL || source == dest ||
	    from->module_ctx.super.subscriptions_refresh != mailbox_list_subscriptions_refresh)
		return from->module_ctx.super.subscriptions_refresh(source, dest);
	struct shared_root *root = to->root;
	int ret = shared_subscriptions_read(root, source);
	if (!to->automatic)
		fill_root(root);
	else if (to->subscribed_number != root->subscribed_number)
		shared_subscriptions_fill(root, dest);
	return ret;
}

void shared_subscriptions_free(struct shared_root *root)
{
	names_unref(&root->subscribed);
}
