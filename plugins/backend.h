/* The ACL backend: what Dovecot's acl plugin asks about rights. */
#ifndef HOMING_BACKEND_H
#define HOMING_BACKEND_H

struct acl_backend;
struct mailbox_list;

void homing_backend_register(void);
void homing_backend_unregister(void);

/* NULL: the mailboxes of this list have no ACLs, or from elsewhere. */
HOMING_EXPORT struct acl_backend *homing_backend_of(struct mailbox_list *list);

/* The nearest parent of a mailbox that exists, as a storage name; where there is none, the name of
 * the mailbox from which acl takes the defaults, "" being the root. On the data stack. */
const char *homing_parent_of(struct acl_backend *backend, const char *storage_name);

/* What the user may do with the mailbox of this storage name. 0, -1: logged. */
int homing_backend_rights(struct acl_backend *backend, const char *storage_name,
			  uint16_t *rights_r);

#endif
