/* LIST of what is shared: from the index, without opening an owner's mailboxes.
 *
 * Dovecot's shared namespace has a root (`shared/`, storage and list "shared"), below which it
 * makes a namespace for each owner whose mailboxes are used ("automatic"). Its own LIST makes one
 * for every owner there is, and lists that. Ours answers on the root, and the automatic ones, where
 * there are some already, say nothing in the same LIST. The names of the whole tree come sorted,
 * once each.
 *
 * listing-owner.c   owners' names, and namespaces for them
 * listing-names.c   the names that are shared, kept until the grants change
 * listing-subscriptions.c   which of them are subscribed
 * listing-walk.c    one LIST
 * listing-real.c    owners whose real mailboxes must be asked for
 * listing-notify.c  NOTIFY on the root */
#ifndef HOMING_LISTING_H
#define HOMING_LISTING_H

struct mailbox_list;

/* The hook, behind acl's: for every list that Dovecot makes. */
void homing_listing_created(struct mailbox_list *list);

#endif
