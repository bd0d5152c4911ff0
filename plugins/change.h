/* Changes of the rights on one mailbox, whoever asks for them: SETACL and DELETEACL of IMAP, doveadm acl,
 * dsync. */
#ifndef HOMING_CHANGE_H
#define HOMING_CHANGE_H

#include "router/sharing-write.h"

struct acl_backend;
struct acl_rights;
struct acl_rights_update;
struct mailbox;

struct homing_change {
	const char *identifier; /* as people type it, without the `-` of negative rights */
	enum grant_change_mode mode, negative_mode;
	uint16_t rights, negative;
	/* an owner's client must not take the right to administer from the owner, by accident or
	 * because it thinks of replacing what it was not shown */
	bool protects_owner;
};

enum homing_changed {
	HOMING_CHANGED,	   /* or it was so already */
	HOMING_FORBIDDEN,  /* this user may not; *why_r */
	HOMING_IMPOSSIBLE, /* it makes no sense, as an account that does not exist; *why_r */
	HOMING_FAILED,	   /* it may work later */
};

/* All but the first are logged. *why_r is for the client. *who_r is what the identifier means, its name
 * on the data stack; set if changed. */
HOMING_EXPORT enum homing_changed homing_change(struct acl_backend *backend,
						const char *storage_name,
						const struct homing_change *change,
						struct acl_rights *who_r, const char **why_r);

/* Writes into the mailbox's index that its ACL was changed so, for dsync. 0, -1. */
HOMING_EXPORT int homing_change_note(struct mailbox *box, const struct acl_rights_update *update);

/* The update of an ACL as acl hands it to its backend. */
int homing_change_acl(struct acl_backend *backend, const char *storage_name,
		      const struct acl_rights_update *update);

#endif
