/* The password of one account, changed together with its name: written while the transaction on
 * directory.mdb is open and committed before it.
 *
 * Why that order. A process may be killed between the two commits. Then
 *   add, import: there is a password without an account. It opens nothing, and whoever makes the
 *     account later writes its password, or deletes what is there, in the same step;
 *   delete: there is an account without a password, which nobody can log in to, and which can be
 *     deleted again;
 *   rename: the new name has a copy of the password, and is no account yet. Once it is one, the
 *     old name's password goes in a step of its own; until then that is one without an account.
 *     So one of the two names works with its password at every moment.
 * No password is ever left for a name that somebody else gets later, and verify and status tell
 * those without an account. As the transaction on directory.mdb is open all the time, no other
 * writer comes between. */
#ifndef HOMING_DIRECTORY_CREDENTIAL_H
#define HOMING_DIRECTORY_CREDENTIAL_H

#include "directory-edit.h"

/* What was stored before, to be able to put it back. Secret. */
struct credential_before {
	char text[CREDENTIAL_SIZE]; /* "" is none */
	bool known;
};

struct credential_change {
	struct store_writer *store;
	const struct edit_name *name;
	const char *credential;	     /* NULL: none from now on; used where `from` is NULL */
	const struct edit_name *from; /* it gets the password of that name */
	struct credential_before name_before, from_before;
	bool committed;
};

/* For use inside store_write on directory.mdb, as its last step. May be called again. */
MUST_CHECK int credential_change_write(struct credential_change *change, struct error *error);

/* Deletes the password of a name. Inside store_write on directory.mdb, too. */
MUST_CHECK int credential_delete(struct store_writer *store, const struct edit_name *name,
				 struct error *error);

/* Wipes the secrets; before that, where the commit on directory.mdb `failed` after ours, puts
 * back what was there. */
void credential_change_finish(struct credential_change *change, bool failed);

#endif
