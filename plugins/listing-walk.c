/* One LIST below the shared root.
 *
 * What is shown follows what Dovecot shows, so that clients see no difference:
 * - a mailbox of which the user may know ('l'), if its name matches a pattern;
 * - an owner's prefix, if it matches: selectable where the owner's INBOX is shared, which it stands
 *   for;
 * - any other parent only where none of the mailboxes below it that are shown matches (`%`);
 * - LSUB and LIST (SUBSCRIBED): what the file says, whether it exists or not. */
#include "compat.h"
#include "compat-listing.h"

#include <imap-match.h>

#include "listing-private.h"
#include "session.h"

struct walk {
	struct mailbox_list_iterate_context ctx;
	struct shared_root *root;
	const char *const *patterns;

	struct names *shared;	  /* what is there */
	struct names *subscribed; /* where they are asked for */
	struct names *shown;	  /* the one of the two that is gone through */
	unsigned next;
	struct mailbox_info info;

	/* of an owner whose real mailboxes are listed, read ahead */
	pool_t real_pool;
	ARRAY_TYPE(real_mailbox) real;
	unsigned real_next;
};

/* --- Owners that a pattern names, in another way than they are listed, or who are not listed */

struct guest {
	struct shared_owner owner;
	bool real;
};

static void add_guest_names(struct names_builder *builder, const struct names *shared,
			    const struct name *listed, const struct shared_owner *owner)
{
	const char *top = t_strndup(owner->prefix, strlen(owner->prefix) - 1);
	size_t length = strlen(listed->vname);
	unsigned position = names_position(shared, listed);

	for (unsigned i = position; i < listed->end; i++) {
		struct name name = shared->list[i];
		if (!name.named && !name.is_owner)
			continue;
		name.vname = t_strconcat(top, name.vname + length, NULL);
		names_builder_add(builder, &name);
	}
}

static const struct name *find_listed(struct walk *walk, const char *owner)
{
	struct shared_root *root = walk->root;
	char text[PREFIX_TEXT_SIZE];
	const char *domain;

	if (shared_own_domain(root, &domain) < 0 ||
	    !prefix_format(shared_pattern(root), shared_separator(root), owner, domain, text))
		return NULL;
	text[strlen(text) - 1] = '\0';
	return names_find(walk->shared, t_strconcat(root->list->ns->prefix, text, NULL));
}

/* Of one pattern. 1 it was added, 0 there is nothing to add, -1 failed. */
static int add_guest(struct walk *walk, struct names_builder *builder, const char *pattern)
{
	struct shared_root *root = walk->root;
	struct shared_owner owner;
	const char *literal =
		t_strndup(pattern, prefix_literal_length(pattern, shared_separator(root)));

	int ret = shared_owner_find(root, literal, &owner);
	if (ret <= 0)
		return ret;
	const char *top = t_strndup(owner.prefix, strlen(owner.prefix) - 1);
	const struct name *there = names_find(walk->shared, top);
	const struct name *listed = there != NULL ? there : find_listed(walk, owner.owner);
	int administers = shared_administers(root, owner.owner);
	if (administers < 0)
		return -1;
	bool own = strcmp(root->list->ns->user->username, owner.owner) == 0;
	if (administers > 0 && !own && (listed == NULL || !listed->real)) {
		struct name name = {
			.vname = top, .is_owner = TRUE, .real = TRUE, .owner = owner.owner};
		names_builder_add(builder, &name);
		return 1;
	}
	if (there != NULL || listed == NULL)
		return 0;
	add_guest_names(builder, walk->shared, listed, &owner);
	return 1;
}

static void add_all(struct names_builder *builder, const struct names *names)
{
	for (unsigned i = 0; i < names->count; i++) {
		if (names->list[i].named || names->list[i].is_owner)
			names_builder_add(builder, &names->list[i]);
	}
}

static int add_guests(struct walk *walk)
{
	struct names_builder *builder = names_builder_create(
		shared_separator(walk->root), walk->root->list->ns->prefix_len);
	int found = 0;

	for (unsigned i = 0; walk->patterns[i] != NULL && found >= 0; i++) {
		int ret = add_guest(walk, builder, walk->patterns[i]);
		found = ret < 0 ? -1 : found + ret;
	}
	if (found <= 0) {
		names_builder_destroy(&builder);
		return found;
	}
	add_all(builder, walk->shared);
	names_unref(&walk->shared);
	walk->shared = names_build(&builder);
	return 0;
}

/* --- Beginning */

static bool wants_subscribed(const struct walk *walk)
{
	return (walk->ctx.flags & MAILBOX_LIST_ITER_SELECT_SUBSCRIBED) != 0;
}

static bool looks_at_subscribed(const struct walk *walk)
{
	return (walk->ctx.flags & (MAILBOX_LIST_ITER_SELECT_SUBSCRIBED |
				   MAILBOX_LIST_ITER_RETURN_SUBSCRIBED)) != 0;
}

/* With `subscriptions = yes` on the shared namespace each owner has a file of subscriptions. */
static bool owners_have_subscriptions(const struct walk *walk)
{
	return (walk->root->list->ns->flags & NAMESPACE_FLAG_SUBSCRIPTIONS) != 0;
}

/* NOTIFY asks so for the mailboxes that it sends a STATUS of, and would then open every one that it
 * is told to see whether it is subscribed. */
static bool is_for_notify(const char *const *patterns, enum mailbox_list_iter_flags flags)
{
	return flags == (MAILBOX_LIST_ITER_RETURN_SUBSCRIBED | MAILBOX_LIST_ITER_RETURN_NO_FLAGS) &&
	       strcmp(patterns[0], "*") == 0 && patterns[1] == NULL;
}

static int begin(struct walk *walk)
{
	struct shared_root *root = walk->root;

	walk->shared = shared_names(root);
	if (walk->shared == NULL || add_guests(walk) < 0)
		return -1;
	if (looks_at_subscribed(walk) && root->subscribed != NULL) {
		names_ref(root->subscribed);
		walk->subscribed = root->subscribed;
	}
	walk->shown = walk->shared;
	if (wants_subscribed(walk) && !owners_have_subscriptions(walk))
		walk->shown = walk->subscribed;
	return 0;
}

static void remember(struct shared_root *root, const char *const *patterns,
		     enum mailbox_list_iter_flags flags)
{
	if (root->walk_pool == NULL)
		root->walk_pool = pool_alloconly_create("homing walk", 256);
	p_clear(root->walk_pool);
	root->walk_patterns = p_strarray_dup(root->walk_pool, patterns);
	root->walk_flags = flags;
	root->walk_number++;
}

struct mailbox_list_iterate_context *shared_walk_init(struct mailbox_list *list,
						      const char *const *patterns,
						      enum mailbox_list_iter_flags flags)
{
	pool_t pool = pool_alloconly_create("homing list", 1024);
	struct walk *walk = p_new(pool, struct walk, 1);

	walk->root = homing_list_hooked(list)->root;
	walk->ctx.pool = pool;
	walk->ctx.list = list;
	walk->ctx.flags = flags;
	if (is_for_notify(patterns, flags))
		walk->ctx.flags |= MAILBOX_LIST_ITER_SELECT_SUBSCRIBED;
	walk->ctx.glob =
		imap_match_init_multiple(pool, patterns, FALSE, shared_separator(walk->root));
	array_create(&walk->ctx.module_contexts, pool, sizeof(void *), 5);
	walk->patterns = p_strarray_dup(pool, patterns);
	walk->info.ns = list->ns;
	remember(walk->root, patterns, flags);
	T_BEGIN {
		if (begin(walk) < 0)
			walk->ctx.failed = TRUE;
	} T_END;
	return &walk->ctx;
}

/* --- Going through */

static bool matches(const struct walk *walk, const char *vname)
{
	return imap_match(walk->ctx.glob, vname) == IMAP_MATCH_YES;
}

static bool is_recursive(const struct walk *walk)
{
	return (walk->ctx.flags & MAILBOX_LIST_ITER_SELECT_RECURSIVEMATCH) != 0;
}

static bool wants_no_flags(const struct walk *walk)
{
	return (walk->ctx.flags & (MAILBOX_LIST_ITER_RETURN_NO_FLAGS |
				   MAILBOX_LIST_ITER_RETURN_CHILDREN)) ==
	       MAILBOX_LIST_ITER_RETURN_NO_FLAGS;
}

static enum mailbox_info_flags flags_there(const struct names *shared, const struct name *name)
{
	enum mailbox_info_flags flags = name->named ? 0 : MAILBOX_NONEXISTENT;

	return flags | (names_has_below(shared, names_position(shared, name))
				? MAILBOX_CHILDREN
				: MAILBOX_NOCHILDREN);
}

static enum mailbox_info_flags flags_subscribed(const struct walk *walk, const char *vname)
{
	enum mailbox_info_flags flags = 0;

	if (walk->subscribed == NULL ||
	    (walk->ctx.flags & MAILBOX_LIST_ITER_RETURN_SUBSCRIBED) == 0)
		return 0;
	const struct name *name = names_find(walk->subscribed, vname);
	if (name == NULL)
		return 0;
	if (name->named)
		flags |= MAILBOX_SUBSCRIBED;
	if (names_has_below(walk->subscribed, names_position(walk->subscribed, name)))
		flags |= MAILBOX_CHILD_SUBSCRIBED;
	return flags;
}

/* A name of those shared. */
static bool show_shared(struct walk *walk, const struct name *name)
{
	if (!matches(walk, name->vname))
		return FALSE;
	if (!name->named && !name->is_owner &&
	    names_match_below(walk->shared, names_position(walk->shared, name), walk->ctx.glob))
		return FALSE;
	walk->info.vname = name->vname;
	walk->info.flags =
		flags_there(walk->shared, name) | flags_subscribed(walk, name->vname);
	return TRUE;
}

/* What was subscribed by another name of its owner is there if it is there by that. */
static const struct name *find_there(struct walk *walk, const char *vname)
{
	const struct name *name = names_find(walk->shared, vname);
	struct shared_owner owner;

	if (name != NULL || shared_owner_find(walk->root, vname, &owner) <= 0)
		return name;
	const char *top = t_strndup(owner.prefix, strlen(owner.prefix) - 1);
	if (names_find(walk->shared, top) != NULL)
		return NULL;
	const struct name *listed = find_listed(walk, owner.owner);
	return listed == NULL ? NULL
			      : names_find(walk->shared, t_strconcat(listed->vname,
							   vname + strlen(top), NULL));
}

/* A name of those subscribed. */
static bool show_subscribed(struct walk *walk, const struct name *name)
{
	unsigned position = names_position(walk->subscribed, name);
	enum mailbox_info_flags flags = 0;

	if (!matches(walk, name->vname))
		return FALSE;
	if (name->named)
		flags |= MAILBOX_SUBSCRIBED;
	else if (!is_recursive(walk) ||
		 (!name->is_owner &&
		  !names_uncovered_below(walk->subscribed, position, walk->ctx.glob)))
		return FALSE;
	if (is_recursive(walk) && names_has_below(walk->subscribed, position))
		flags |= MAILBOX_CHILD_SUBSCRIBED;
	if (!wants_no_flags(walk)) {
		const struct name *there = find_there(walk, name->vname);
		flags |= there == NULL ? MAILBOX_NONEXISTENT : flags_there(walk->shared, there);
	}
	walk->info.vname = name->vname;
	walk->info.flags = flags;
	return TRUE;
}

/* --- Owners whose real mailboxes are listed */

static bool is_real(struct walk *walk, const struct name *name)
{
	if (!name->is_owner)
		return FALSE;
	if (looks_at_subscribed(walk) && owners_have_subscriptions(walk))
		return TRUE;
	/* with many owners, looking each one up would be a fifth of a LIST */
	const struct name *there = walk->shown == walk->shared
					   ? name
					   : names_find(walk->shared, name->vname);
	return there != NULL && there->real;
}

/* Can any pattern match the prefix, or something below it? */
static bool may_match_below(struct walk *walk, const char *prefix)
{
	const char *top = t_strndup(prefix, strlen(prefix) - 1);

	return (imap_match(walk->ctx.glob, prefix) &
		(IMAP_MATCH_YES | IMAP_MATCH_CHILDREN)) != 0 ||
	       (imap_match(walk->ctx.glob, top) & (IMAP_MATCH_YES | IMAP_MATCH_CHILDREN)) != 0;
}

static int read_real(struct walk *walk, const struct name *name)
{
	const struct name *there = names_find(walk->shared, name->vname);
	const char *prefix =
		t_strdup_printf("%s%c", name->vname, shared_separator(walk->root));
	struct shared_owner owner;

	if (walk->real_pool == NULL)
		walk->real_pool = pool_alloconly_create(MEMPOOL_GROWING "homing real", 2048);
	p_clear(walk->real_pool);
	p_array_init(&walk->real, walk->real_pool, 32);
	walk->real_next = 0;
	if (!may_match_below(walk, prefix))
		return 0;
	int ret = shared_owner_find(walk->root, prefix, &owner);
	if (ret <= 0)
		return ret;
	struct real_question question = {
		.root = walk->root,
		.prefix = prefix,
		.owner = there != NULL && there->owner != NULL ? there->owner : owner.owner,
		.patterns = walk->patterns,
		.glob = walk->ctx.glob,
		.flags = walk->ctx.flags,
	};
	return shared_real_mailboxes(&question, walk->real_pool, &walk->real);
}

static bool next_real(struct walk *walk)
{
	if (!array_is_created(&walk->real) || walk->real_next >= array_count(&walk->real))
		return FALSE;
	const struct real_mailbox *mailbox = array_idx(&walk->real, walk->real_next++);
	walk->info.vname = mailbox->vname;
	walk->info.flags = mailbox->flags;
	walk->info.special_use = mailbox->special_use;
	return TRUE;
}

/* --- The functions of the list */

static bool show(struct walk *walk, const struct name *name)
{
	if (walk->shown == walk->subscribed)
		return show_subscribed(walk, name);
	/* where each owner has a file, real ones are asked */
	return !wants_subscribed(walk) && show_shared(walk, name);
}

static bool next(struct walk *walk)
{
	walk->info.special_use = NULL;
	while (!walk->ctx.failed) {
		if (next_real(walk))
			return TRUE;
		if (walk->shown == NULL || walk->next >= walk->shown->count)
			return FALSE;
		const struct name *name = &walk->shown->list[walk->next++];
		if (is_real(walk, name)) {
			walk->next = name->end;
			if (read_real(walk, name) < 0)
				walk->ctx.failed = TRUE;
		} else if (show(walk, name)) {
			return TRUE;
		}
	}
	return FALSE;
}

const struct mailbox_info *shared_walk_next(struct mailbox_list_iterate_context *context)
{
	struct walk *walk = (struct walk *)context;
	bool found;

	compat_own_subscriptions(context);
	T_BEGIN {
		found = next(walk);
	} T_END;
	return found ? &walk->info : NULL;
}

int shared_walk_deinit(struct mailbox_list_iterate_context *context)
{
	struct walk *walk = (struct walk *)context;
	int ret = context->failed ? -1 : 0;

	names_unref(&walk->shared);
	names_unref(&walk->subscribed);
	pool_unref(&walk->real_pool);
	pool_unref(&context->pool);
	return ret;
}
