/* The real mailboxes of an owner: whose whole account is shared with the user, or whom a pattern
 * names and whose domain the user administers. A namespace is made for the owner, and Dovecot's own
 * LIST with acl's rights is asked in it. */
#include "compat.h"

#include <imap-match.h>
#include <mailbox-list-subscriptions.h>

#include "listing-private.h"
#include "session.h"

/* Goes through the namespace's list, which for once is not silent. */
static struct mailbox_list_iterate_context *ask(struct mailbox_list *list,
						const char *const *patterns,
						enum mailbox_list_iter_flags flags)
{
	struct homing_list *homing = homing_list_hooked(list);

	if (homing != NULL)
		homing->asked = TRUE;
	struct mailbox_list_iterate_context *iterator =
		mailbox_list_iter_init_multiple(list, patterns, flags);
	if (homing != NULL)
		homing->asked = FALSE;
	return iterator;
}

static int end(struct shared_root *root, struct mailbox_list *list,
	       struct mailbox_list_iterate_context **iterator)
{
	enum mail_error error;

	if (mailbox_list_iter_deinit(iterator) == 0)
		return 0;
	const char *text = mailbox_list_get_last_error(list, &error);
	mailbox_list_set_error(root->list, error, text);
	return -1;
}

/* What the iteration says of the prefix itself, and whether there was anything else. */
struct top {
	enum mailbox_info_flags flags;
	bool there, below;
};

static int read_mailboxes(const struct real_question *question, struct mailbox_list *list,
			  const char *vname, pool_t pool, ARRAY_TYPE(real_mailbox) *mailboxes,
			  struct top *top_r)
{
	const struct mailbox_info *info;

	struct mailbox_list_iterate_context *iterator =
		ask(list, question->patterns, question->flags);
	while ((info = mailbox_list_iter_next(iterator)) != NULL) {
		if (strcmp(info->vname, vname) == 0) {
			top_r->there = TRUE;
			top_r->flags = info->flags;
			continue;
		}
		top_r->below = TRUE;
		struct real_mailbox *mailbox = array_append_space(mailboxes);
		mailbox->vname = p_strdup(pool, info->vname);
		mailbox->special_use = p_strdup(pool, info->special_use);
		mailbox->flags = info->flags;
	}
	return end(question->root, list, &iterator);
}

/* Is there any mailbox below the prefix that the user may know of? */
static int has_below(const struct real_question *question, struct mailbox_list *list,
		     const char *vname)
{
	const char *patterns[] = {t_strconcat(question->prefix, "%", NULL), NULL};
	const struct mailbox_info *info;
	bool found = FALSE;

	struct mailbox_list_iterate_context *iterator =
		ask(list, patterns, MAILBOX_LIST_ITER_RETURN_NO_FLAGS);
	while (!found && (info = mailbox_list_iter_next(iterator)) != NULL)
		found = strcmp(info->vname, vname) != 0;
	return end(question->root, list, &iterator) < 0 ? -1 : found ? 1 : 0;
}

/* Not every layout lists the owner's INBOX under the name that stands for it. */
static bool is_mailbox(struct mailbox_list *list, const char *vname)
{
	enum mailbox_existence existence;
	struct mailbox *box = mailbox_alloc(list, vname, MAILBOX_FLAG_READONLY);
	bool found = mailbox_exists(box, FALSE, &existence) == 0 &&
		     existence == MAILBOX_EXISTENCE_SELECT;

	mailbox_free(&box);
	return found;
}

static enum mailbox_info_flags subscribed_flags(const struct real_question *question,
						const char *vname)
{
	const struct names *names = question->root->subscribed;
	const struct name *name = names == NULL ? NULL : names_find(names, vname);
	enum mailbox_info_flags flags = 0;

	if ((question->flags & MAILBOX_LIST_ITER_RETURN_SUBSCRIBED) == 0 &&
	    (question->flags & MAILBOX_LIST_ITER_SELECT_SUBSCRIBED) == 0)
		return 0;
	if (name != NULL && name->named)
		flags |= MAILBOX_SUBSCRIBED;
	if (name != NULL && names_has_below(names, names_position(names, name)))
		flags |= MAILBOX_CHILD_SUBSCRIBED;
	return flags;
}

static bool is_selected(const struct real_question *question, enum mailbox_info_flags flags)
{
	if ((question->flags & MAILBOX_LIST_ITER_SELECT_SUBSCRIBED) == 0)
		return TRUE;
	return (flags & MAILBOX_SUBSCRIBED) != 0 ||
	       ((flags & MAILBOX_CHILD_SUBSCRIBED) != 0 &&
		(question->flags & MAILBOX_LIST_ITER_SELECT_RECURSIVEMATCH) != 0);
}

/* The prefix stands for the owner's INBOX where the user may know of that. */
static int add_top(const struct real_question *question, struct mailbox_list *list,
		   const char *vname, const struct top *top, pool_t pool,
		   ARRAY_TYPE(real_mailbox) *mailboxes)
{
	const enum mailbox_info_flags of_children = MAILBOX_CHILDREN | MAILBOX_NOCHILDREN |
						    MAILBOX_NOINFERIORS;

	if (imap_match(question->glob, vname) != IMAP_MATCH_YES)
		return 0;
	int below = top->below ? 1 : has_below(question, list, vname);
	if (below < 0)
		return -1;
	bool there = (top->there && (top->flags & MAILBOX_NONEXISTENT) == 0) ||
		     is_mailbox(list, vname);
	enum mailbox_info_flags flags = there ? top->flags & ~(of_children | MAILBOX_NONEXISTENT)
					      : MAILBOX_NONEXISTENT;
	flags |= below > 0 ? MAILBOX_CHILDREN : MAILBOX_NOCHILDREN;
	flags |= subscribed_flags(question, vname);
	if ((!there && below == 0) || !is_selected(question, flags))
		return 0;
	struct real_mailbox *mailbox = array_append_space(mailboxes);
	mailbox->vname = p_strdup(pool, vname);
	mailbox->special_use = NULL;
	mailbox->flags = flags;
	return 0;
}

static int compare(const void *a, const void *b, void *separator)
{
	const struct real_mailbox *one = a, *two = b;

	return names_compare(one->vname, two->vname, *(const char *)separator);
}

int shared_real_mailboxes(const struct real_question *question, pool_t pool,
			  ARRAY_TYPE(real_mailbox) *mailboxes)
{
	struct shared_owner owner = {.owner = question->owner, .prefix = question->prefix};
	const char *vname = t_strndup(owner.prefix, strlen(owner.prefix) - 1);
	char separator = shared_separator(question->root);
	struct top top = {0};

	struct mail_namespace *ns = shared_owner_open(question->root, &owner);
	if (ns == NULL)
		return -1;
	if ((ns->flags & NAMESPACE_FLAG_UNUSABLE) != 0)
		return 0;
	if (read_mailboxes(question, ns->list, vname, pool, mailboxes, &top) < 0 ||
	    add_top(question, ns->list, vname, &top, pool, mailboxes) < 0)
		return -1;
	if (array_count(mailboxes) > 1)
		qsort_r(array_front_modifiable(mailboxes), array_count(mailboxes),
			sizeof(struct real_mailbox), compare, &separator);
	return 0;
}
