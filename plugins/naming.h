/* From Dovecot's mailboxes to ours: an owner and a mailbox as router/sharing.h names them.
 *
 * - A private namespace that has the INBOX, and a shared user's namespace: the owner's address and the
 *   mailbox below the namespace's prefix, so that both lead to the same grants.
 * - Any other private namespace: the same owner, with the namespace's prefix, marked, in front of the
 *   mailbox: `Box` there must never be taken for `Box` beside the INBOX.
 * - A public namespace: the owner is `public:PREFIX`.
 * A namespace that is an alias of another (alias_for) counts as the other. */
#ifndef HOMING_NAMING_H
#define HOMING_NAMING_H

struct mailbox_list;

/* The owner, on the data stack. */
const char *homing_owner_of(struct mailbox_list *list);
/* Of a storage name, as acl's objects have them; "" and the root are "". On the data stack. NULL: no
 * mailbox of that name can have grants (see mailbox_refusal()). */
const char *homing_mailbox_of(struct mailbox_list *list, const char *storage_name);

#endif
