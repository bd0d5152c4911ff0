/* The names that are shared with the user. */
#include "compat.h"

#include <hash.h>

#include "listing-private.h"
#include "naming.h"
#include "session.h"

/* --- What LIST shows */

struct collecting {
	struct shared_root *root;
	struct names_builder *builder;
	const char *own_domain;
	bool explicit_inbox;

	char owner[OWNER_SIZE]; /* the last one; mailboxes come owner by owner */
	char prefix[PREFIX_TEXT_SIZE];
	bool nameable; /* it can be named below this root */
};

static void begin_owner(struct collecting *collecting, const char *owner)
{
	struct shared_root *root = collecting->root;

	i_strocpy(collecting->owner, owner, sizeof(collecting->owner));
	/* public namespaces are listed by themselves */
	collecting->nameable = strncmp(owner, "public:", 7) != 0 &&
		prefix_format(shared_pattern(root), shared_separator(root), owner,
			      collecting->own_domain, collecting->prefix);
}

/* A mailbox below the owner's prefix; NULL if it cannot be named, or is in none of the namespaces
 * that others see. */
static const char *mailbox_name(struct shared_root *root, const char *mailbox)
{
	char separator = shared_separator(root);

	if (homing_mailbox_is_apart(mailbox) || strchr(mailbox, separator) != NULL ||
	    !uni_utf8_str_is_valid(mailbox))
		return NULL;
	char *name = t_strdup_noconst(mailbox);
	for (char *p = name; *p != '\0'; p++) {
		if (*p == MAILBOX_SEPARATOR)
			*p = separator;
	}
	return name;
}

static void add(struct collecting *collecting, const char *mailbox)
{
	struct names_builder *builder = collecting->builder;
	const char *prefix = t_strconcat(collecting->root->list->ns->prefix, collecting->prefix,
					 NULL);
	struct name top = {
		.vname = t_strndup(prefix, strlen(prefix) - 1),
		.is_owner = TRUE,
		.owner = collecting->owner,
	};

	if (mailbox[0] == '\0') {
		top.real = TRUE;
	} else if (strcmp(mailbox, "INBOX") == 0 && !collecting->explicit_inbox) {
		top.named = TRUE;
	} else {
		const char *name = mailbox_name(collecting->root, mailbox);
		if (name == NULL)
			return;
		struct name below = {.vname = t_strconcat(prefix, name, NULL), .named = TRUE};
		names_builder_add(builder, &below);
	}
	names_builder_add(builder, &top);
}

static int add_visible(const char *owner, const char *mailbox, uint16_t rights ATTR_UNUSED,
		       void *context)
{
	struct collecting *collecting = context;

	if (strcmp(owner, collecting->owner) != 0)
		begin_owner(collecting, owner);
	if (collecting->nameable) T_BEGIN {
		add(collecting, mailbox);
	} T_END;
	return 0;
}

static int begin(struct shared_root *root)
{
	const char *error;

	if (homing_session_begin(root->session, &error) == 0)
		return 0;
	mailbox_list_set_error(root->list, MAIL_ERROR_TEMP, error);
	return -1;
}

static int failed(struct shared_root *root, const struct error *error)
{
	homing_session_failed(root->session, "shared mailboxes cannot be listed", error);
	mailbox_list_set_internal_error(root->list);
	return -1;
}

static int collect(struct shared_root *root, struct names_builder *builder)
{
	struct collecting collecting = {
		.root = root,
		.builder = builder,
		.explicit_inbox = root->list->mail_set->mail_shared_explicit_inbox,
	};
	struct error error = {0};

	if (begin(root) < 0)
		return -1;
	const struct rights_user *me = homing_session_me(root->session);
	collecting.own_domain = me->domain;
	int ret = sharing_each_visible(homing_session_sharing(root->session), me, add_visible,
				       &collecting, &error);
	homing_session_end(root->session);
	return ret < 0 ? failed(root, &error) : 0;
}

struct names *shared_names(struct shared_root *root)
{
	uint64_t version = homing_session_version(root->session);

	if (root->shared == NULL || root->shared_version != version) {
		struct names_builder *builder = names_builder_create(
			shared_separator(root), root->list->ns->prefix_len);
		if (collect(root, builder) < 0) {
			names_builder_destroy(&builder);
			return NULL;
		}
		names_unref(&root->shared);
		root->shared = names_build(&builder);
		root->shared_version = version;
	}
	names_ref(root->shared);
	return root->shared;
}

bool shared_is_known(struct shared_root *root, const char *prefix)
{
	return root->shared != NULL &&
	       root->shared_version == homing_session_version(root->session) &&
	       names_find(root->shared, t_strndup(prefix, strlen(prefix) - 1)) != NULL;
}

/* --- Who has granted anything */

static int add_owner(const char *owner, const char *mailbox ATTR_UNUSED, void *context)
{
	struct shared_root *root = context;

	if (hash_table_lookup(root->owners, owner) == NULL) {
		const char *copy = p_strdup(root->owners_pool, owner);
		hash_table_insert(root->owners, copy, copy);
	}
	return 0;
}

static int add_owners_of(struct shared_root *root, enum grantee_kind kind, const char *name,
			 struct error *error)
{
	struct grantee who = {.kind = kind};

	i_strocpy(who.name, name, sizeof(who.name));
	return sharing_each_received(homing_session_sharing(root->session), &who, add_owner, root,
				     error);
}

static int add_owners(struct shared_root *root, const struct rights_user *me, struct error *error)
{
	if (add_owners_of(root, GRANTEE_ANYONE, "", error) < 0)
		return -1;
	if (me->user[0] == '\0')
		return 0;
	if (add_owners_of(root, GRANTEE_AUTHENTICATED, "", error) < 0 ||
	    add_owners_of(root, GRANTEE_USER, me->user, error) < 0 ||
	    (me->domain[0] != '\0' &&
	     add_owners_of(root, GRANTEE_DOMAIN, me->domain, error) < 0))
		return -1;
	for (size_t i = 0; i < me->group_count; i++) {
		if (add_owners_of(root, GRANTEE_GROUP, me->groups[i], error) < 0 ||
		    add_owners_of(root, GRANTEE_GROUP_OVERRIDE, me->groups[i], error) < 0)
			return -1;
	}
	return 0;
}

static void clear_owners(struct shared_root *root)
{
	if (root->owners_pool == NULL)
		root->owners_pool = pool_alloconly_create(MEMPOOL_GROWING "homing owners", 1024);
	else {
		hash_table_destroy(&root->owners);
		p_clear(root->owners_pool);
	}
	hash_table_create(&root->owners, root->owners_pool, 0, str_hash, strcmp);
	root->owners_version = 0;
}

int shared_has_granted(struct shared_root *root, const char *owner)
{
	uint64_t version = homing_session_version(root->session);
	struct error error = {0};
	int ret = 0;

	if (begin(root) < 0)
		return -1;
	const struct rights_user *me = homing_session_me(root->session);
	if (root->owners_version != version) {
		clear_owners(root);
		ret = add_owners(root, me, &error);
		if (ret >= 0)
			root->owners_version = version;
	}
	bool granted = hash_table_lookup(root->owners, owner) != NULL ||
		       rights_user_administers(me, owner) || strcmp(me->user, owner) == 0;
	homing_session_end(root->session);
	if (ret < 0)
		return failed(root, &error);
	return granted ? 1 : 0;
}
