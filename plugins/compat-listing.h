/* What differs between the versions of Dovecot in their lists of mailboxes, and nothing else; as
 * compat.h, which comes before. meson probes:
 *
 * DOVECOT_LIST_VNAME_POINTER  get_storage() may change the name, and has flags (2.4)
 * DOVECOT_LIST_SUBSCRIPTIONS  what is subscribed is picked outside of the lists (2.4.4)
 * DOVECOT_LIST_SETTINGS       a list's settings are those of its storage (2.4), else its own */
#ifndef HOMING_COMPAT_LISTING_H
#define HOMING_COMPAT_LISTING_H

/* Makes get_storage() ask `find` first where a mailbox is. 1: *list is the list it is in; 0:
 * Dovecot is to find it; -1: the list's error is set. One `find` for the process. */
typedef int compat_find_list(struct mailbox_list **list, const char *vname);
void compat_get_storage_hook(struct mailbox_list_vfuncs *v, compat_find_list *find);

/* The file in which a list's subscriptions are, on the data stack; NULL: it has none. */
const char *compat_subscriptions_path(struct mailbox_list *list);

/* The iteration picks subscribed mailboxes by itself: Dovecot must not do it again. To be called
 * before anything is returned. */
void compat_own_subscriptions(struct mailbox_list_iterate_context *context);

/* acl's own LIST on a shared root makes namespaces for the owners in acl_shared_dict: not this
 * one's. */
void compat_no_shared_namespaces(struct mailbox_list *list);

#endif
