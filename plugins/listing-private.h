/* What the parts of the listing share. */
#ifndef HOMING_LISTING_PRIVATE_H
#define HOMING_LISTING_PRIVATE_H

#include "names.h"
#include "prefix.h"

struct homing_session;

/* The root of a shared namespace. On its list's pool. */
struct shared_root {
	struct mailbox_list *list;
	struct homing_session *session;

	/* what is shared with the user, as of a version of the grants */
	struct names *shared;
	uint64_t shared_version;
	/* the owners who have granted anything at all, also what LIST does not show */
	pool_t owners_pool;
	HASH_TABLE(const char *, const char *) owners;
	uint64_t owners_version;

	/* what is subscribed below it, as of a state of the file */
	struct names *subscribed;
	time_t subscribed_mtime, subscribed_read;
	unsigned subscribed_number; /* another one whenever it was read anew */

	/* the LIST that the root has answered last: automatic namespaces have no part in it */
	unsigned walk_number;
	pool_t walk_pool;
	const char *const *walk_patterns;
	enum mailbox_list_iter_flags walk_flags;
};

/* Of each list of a user who has the plugin. */
struct homing_list {
	union mailbox_list_module_context module_ctx;

	/* of the root, and of the automatic namespaces below it; else NULL */
	struct shared_root *root;
	bool automatic;
	/* of an automatic one: */
	bool asked;			/* we ask for its real mailboxes now */
	unsigned silent_walk;		/* the root's walk in which it has been silent */
	unsigned subscribed_number;	/* of the root's subscriptions that it has */
};

/* NULL where the list is of nobody with the plugin. */
struct homing_list *homing_list_of(struct mailbox_list *list);
/* In functions that a list has from us, and so has it. */
struct homing_list *homing_list_hooked(struct mailbox_list *list);

/* --- listing-owner.c */

/* The pattern of the prefix: `%u/` or `$user/`. */
const char *shared_pattern(struct shared_root *root);
char shared_separator(struct shared_root *root);
/* The domain of the user, "" none. -1: logged, and the list's error is set. */
int shared_own_domain(struct shared_root *root, const char **domain_r);

/* The owner that a name below the root names: `owner` canonical, `prefix` as it is typed, with the
 * separator behind it; both on the data stack. 1; 0 it names no owner; -1 failed. */
struct shared_owner {
	const char *owner, *prefix;
};
int shared_owner_find(struct shared_root *root, const char *vname, struct shared_owner *owner_r);
/* The namespace with this prefix, made if there is none. NULL: the list's error is set. */
struct mail_namespace *shared_owner_open(struct shared_root *root,
					 const struct shared_owner *owner);
/* One that is there already, or NULL. */
struct mail_namespace *shared_owner_opened(struct shared_root *root, const char *prefix);
/* Does the user administer this owner's domain? -1: the list's error is set. */
int shared_administers(struct shared_root *root, const char *owner);

/* The root's function: what storage is a mailbox in? */
int shared_get_storage_namespace(struct shared_root *root, const char *vname,
				 struct mail_namespace **ns_r);

/* Can a LIST that does not name its prefix show it? `list = no` is for `~%u/`, which ends in no
 * separator. */
bool shared_root_is_listed(const struct shared_root *root);
/* Dovecot does not ask a root like `~` about `~bob@client1.com/%`, but the namespace
 * `~bob@client1.com/` where there is one: makes it. */
void shared_open_named(struct mail_user *user, const char *const *patterns);

/* --- listing-names.c */

/* All names that are shared with the user; the caller's reference. NULL: the list's error is set. */
struct names *shared_names(struct shared_root *root);
/* Is the owner with this prefix among the names that LIST has read already, and still has? */
bool shared_is_known(struct shared_root *root, const char *prefix);
/* Has this owner granted the user anything? -1: the list's error is set. */
int shared_has_granted(struct shared_root *root, const char *owner);

/* --- listing-subscriptions.c */

/* Reads the file of the namespace with subscriptions again if it changed. -1: the error is set. */
int shared_subscriptions_read(struct shared_root *root, struct mailbox_list *source);
/* What has been read of them, for the list of a new namespace. */
void shared_subscriptions_fill(struct shared_root *root, struct mailbox_list *automatic);
/* For a list's subscriptions_refresh; of any list. */
int homing_subscriptions_refresh(struct mailbox_list *source, struct mailbox_list *dest);
/* For a list's set_subscribed; of any list. */
int homing_set_subscribed(struct mailbox_list *list, const char *name, bool set);
void shared_subscriptions_free(struct shared_root *root);

/* --- listing-walk.c */

struct mailbox_list_iterate_context *shared_walk_init(struct mailbox_list *list,
						      const char *const *patterns,
						      enum mailbox_list_iter_flags flags);
const struct mailbox_info *shared_walk_next(struct mailbox_list_iterate_context *context);
int shared_walk_deinit(struct mailbox_list_iterate_context *context);

/* --- listing-real.c */

/* Real mailboxes of one owner that LIST is to show, sorted; on the pool. */
struct real_mailbox {
	const char *vname, *special_use;
	enum mailbox_info_flags flags;
};
ARRAY_DEFINE_TYPE(real_mailbox, struct real_mailbox);
struct real_question {
	struct shared_root *root;
	const char *prefix; /* with the separator at its end */
	const char *owner;
	const char *const *patterns;
	struct imap_match_glob *glob;
	enum mailbox_list_iter_flags flags;
};
int shared_real_mailboxes(const struct real_question *question, pool_t pool,
			  ARRAY_TYPE(real_mailbox) *mailboxes);

/* --- listing-notify.c */

void shared_notify_hook(struct mailbox_list_vfuncs *v);

#endif
