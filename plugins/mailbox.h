/* What happens to a mailbox happens to its grants. */
#ifndef HOMING_MAILBOX_H
#define HOMING_MAILBOX_H

struct mailbox;

/* The hook. It runs behind acl's, so that acl has checked the user's rights before ours is called. */
void homing_mailbox_allocated(struct mailbox *box);

/* Has the hook found that our ACL backend serves it? */
bool homing_mailbox_is_served(struct mailbox *box);

#endif
