/* Renaming an account or a group in two files. homingctl renames in sharing.mdb while its transaction on
 * directory.mdb is open, before that is committed, and leaves a note there. Whoever finds the note
 * later, with the directory's transaction open, knows that homingctl was killed on the way, and
 * whether the directory has the new name yet: if not, the old name gets its grants back.
 *
 * In no case has anybody rights who should not: between the two commits the grants belong to the new
 * name, which is no account yet, and whoever makes an account of it takes them away first. */
#ifndef HOMING_SHARING_PRINCIPAL_H
#define HOMING_SHARING_PRINCIPAL_H

#include "sharing-edit.h"
#include "sharing-view.h"

struct renaming {
	enum grantee_kind kind;
	char old_name[ADDRESS_SIZE], new_name[ADDRESS_SIZE];
};

/* As sharing_renamed(), with the note. Again with the same names: nothing. 0, -1. */
MUST_CHECK int sharing_rename_start(struct sharing_writer *writer, enum grantee_kind kind,
				    const char *old_name, const char *new_name,
				    struct error *error);
/* Deletes the note, after taking the renaming back where `undo`. Nothing to do without a note. */
MUST_CHECK int sharing_rename_end(struct sharing_writer *writer, bool undo, struct error *error);
/* 1: there is a note; 0, -1. */
MUST_CHECK int sharing_rename_note(struct sharing_writer *writer, struct renaming *renaming_r,
				   struct error *error);
MUST_CHECK int sharing_read_note(const struct sharing_view *view, struct renaming *renaming_r,
				 struct error *error);

/* Takes away all that somebody received, as a group in both its forms, and all that a user gave. */
MUST_CHECK int sharing_edit_forget(struct sharing_edit *edit, const struct grantee *who);

#endif
