/* For the administrator: where somebody's rights on a mailbox come from. */
#ifndef HOMING_EXPLAIN_H
#define HOMING_EXPLAIN_H

struct acl_rights;
struct mailbox;

struct homing_explained {
	bool ours;		   /* the mailbox's ACL; else nothing else is filled */
	const char *owner;	   /* an account, or `public:PREFIX` */
	const char *const *rights; /* what the user may do, as Dovecot's words; ended by NULL */
	const char *const *why;	   /* in words, a line for each grant that counts; ended by NULL */
	bool listed;		   /* it is in a LIST of everything */
};
/* On the data stack. 0, -1: logged. */
HOMING_EXPORT int homing_explain(struct mailbox *box, struct homing_explained *explained_r);

/* The mailbox's ACL: calls `each` for each identifier, or with `mine` for those alone that mean the
 * user. 0, -1: logged. */
typedef void homing_acl_cb(const struct acl_rights *rights, bool whole_account, void *context);
HOMING_EXPORT int homing_acl_each(struct mailbox *box, bool mine, homing_acl_cb *each,
				  void *context);

#endif
