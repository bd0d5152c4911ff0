/* Which mailboxes of an owner the user can see: acl asks before it lists a namespace in which the user
 * sees nothing by default, to walk no mailbox in vain. */
#ifndef HOMING_NONOWNER_H
#define HOMING_NONOWNER_H

struct acl_backend;
struct acl_mailbox_list_context;

struct acl_mailbox_list_context *homing_nonowner_init(struct acl_backend *backend);
bool homing_nonowner_next(struct acl_mailbox_list_context *context, const char **name_r);
int homing_nonowner_deinit(struct acl_mailbox_list_context *context);
int homing_nonowner_rebuild(struct acl_backend *backend);

#endif
