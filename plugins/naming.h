/* From Dovecot's mailboxes to ours: an owner and a mailbox as router/sharing.h names them.
 *
 * - A private namespace that has the INBOX, and a shared user's namespace: the owner's address and the
 *   mailbox below the namespace's prefix, so that both lead to the same grants.
 * - Any other private namespace: the same owner, with `#ns:` and the namespace's prefix (without the
 *   separator at its end) as a first component in front of the mailbox: `Box` there must never be
 *   taken for `Box` beside the INBOX.
 * - A public namespace: the owner is `public:PREFIX`, the prefix as it is configured.
 * A namespace that is an alias of another (alias_for) counts as the other. */
#ifndef HOMING_NAMING_H
#define HOMING_NAMING_H

struct mailbox_list;

/* The owner, on the data stack. Whatever name of an account the namespace was opened by, it is the
 * canonical one. */
const char *homing_owner_of(struct mailbox_list *list);
/* Of a storage name, as acl's objects have them; "" and the root are "". On the data stack. NULL: no
 * mailbox of that name can have grants of its own (see mailbox_refusal()). */
const char *homing_mailbox_of(struct mailbox_list *list, const char *storage_name);

/* The other way: what a mailbox of our form is called in this namespace, as clients see it (vname).
 * NULL if it is in no mailbox of it. On the data stack. */
const char *homing_vname_of(struct mailbox_list *list, const char *mailbox);

/* Is a mailbox of our form in a private namespace other than the INBOX's? Nobody else sees those. */
bool homing_mailbox_is_apart(const char *mailbox);

#endif
