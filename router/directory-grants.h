/* The grants of an account or a group, changed together with its name: written while the transaction on
 * directory.mdb is open and committed before it.
 *
 * A process may be killed between the two commits. Then
 *   add: there may have been grants that somebody of this name left; they are gone;
 *   delete: there is an account or a group without grants, which can be deleted again;
 *   rename: the grants are under a name that is none yet, with a note of it, see
 *     sharing-principal.h; the next command puts them back.
 * No grant is ever left for a name that somebody else gets later. */
#ifndef HOMING_DIRECTORY_GRANTS_H
#define HOMING_DIRECTORY_GRANTS_H

#include "directory-edit.h"

/* All of these: `sharing` NULL is an older directory without the file: nothing to do. For use inside
 * store_write on directory.mdb, as its last step, may be called again. */

/* All that a name gave and received goes: it is deleted, or made for somebody new. */
MUST_CHECK int grants_forget(struct sharing_writer *sharing, enum entry_kind kind,
			     const struct edit_name *name, struct error *error);

/* Did anybody give or receive anything? 1, 0, -1. */
MUST_CHECK int grants_any(struct sharing_writer *sharing, struct error *error);

MUST_CHECK int grants_rename_start(struct sharing_writer *sharing, const struct edit_name *old,
				   const struct edit_name *new, struct error *error);
/* After store_write: `failed` takes the renaming back. What fails here the next command does. */
void grants_rename_end(struct sharing_writer *sharing, bool failed);

/* Ends a renaming in whose midst homingctl was killed. Outside of transactions; waits for one that is
 * going on. */
MUST_CHECK int grants_recover(struct directory_writer *writer, struct error *error);

#endif
