/* Changing grants: one transaction each. Mail processes (for their user) and homingctl (for the
 * administrator) come through here, and here alone it is decided whether they may. A refusal
 * leaves everything as it was. */
#ifndef HOMING_SHARING_WRITE_H
#define HOMING_SHARING_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "rights.h"
#include "sharing.h"

struct sharing_writer;

/* sharing.mdb under `path`, which must exist (`homingctl apply` makes it). A process must have
 * closed its struct sharing of the same file before. Tables that an older Homing did not make are
 * made by the first change. */
MUST_CHECK int sharing_writer_open(const char *path, struct sharing_writer **writer_r,
				   struct error *error);
void sharing_writer_close(struct sharing_writer **writer);

/* For whom a change is made. `me` NULL: the administrator of the server (homingctl, as root), who may
 * do everything. Else a mail process's user, whose rights on the mailbox are looked up inside the
 * same transaction. */
struct sharing_actor {
	const struct rights_user *me;
	bool allow_anyone; /* `anyone` and `authenticated` may be granted by users (a setting) */
};

/* What a change does to each half of a grant, as in Dovecot's enum acl_modify_mode: NONE leaves it,
 * REPLACE with no right leaves an empty half, CLEAR takes the half away. A grant without halves is
 * gone. */
enum grant_change_mode { GRANT_NONE, GRANT_ADD, GRANT_REMOVE, GRANT_REPLACE, GRANT_CLEAR };
struct grant_change {
	struct grantee who; /* checked and canonical: from grantee_parse() */
	enum grant_change_mode mode, negative_mode;
	uint16_t rights, negative;
};
/* 1 changed, 0 it was so already; -1 failed, with ERROR_PERMISSION where the actor may not (no
 * RIGHT_ADMINISTER on the mailbox, or `anyone` without being allowed), ERROR_INVALID for a mailbox's
 * name that cannot be stored. */
MUST_CHECK int sharing_change(struct sharing_writer *writer, const struct sharing_actor *actor,
			      const char *owner, const char *mailbox,
			      const struct grant_change *change, struct error *error);

/* Many changes as one transaction, for homingctl's imports: `next` fills *owner, *mailbox and *change and
 * returns 1, 0 at the end, -1 failed; `rewind` starts again when the map had to grow. */
struct sharing_source {
	int (*next)(void *context, const char **owner, const char **mailbox,
		    struct grant_change *change, struct error *error);
	void (*rewind)(void *context);
	void *context;
};
MUST_CHECK int sharing_import(struct sharing_writer *writer, const struct sharing_source *source,
			      struct error *error);

/* What happened to a mailbox; Dovecot has done it, or is about to, and has checked its rights.
 * created: grants left over from an older mailbox of this name go, and those on `parent` (NULL: none)
 *   are copied to it, without those on the whole account, which count anyway.
 * deleted: its grants go; those of its children stay with them.
 * renamed: its grants and those of all below it go along, to another owner too; whatever stood at the
 *   new name is replaced.
 * All: 1 something changed, 0 nothing to do (found out by reading alone, without the writer's lock),
 * -1 failed. */
MUST_CHECK int sharing_mailbox_created(struct sharing_writer *writer, const char *owner,
				       const char *mailbox, const char *parent,
				       struct error *error);
MUST_CHECK int sharing_mailbox_deleted(struct sharing_writer *writer, const char *owner,
				       const char *mailbox, struct error *error);
MUST_CHECK int sharing_mailbox_renamed(struct sharing_writer *writer, const char *owner,
				       const char *mailbox, const char *new_owner,
				       const char *new_mailbox, struct error *error);

/* What happened to an account, a group or a domain: homingctl. A renamed one keeps all that it gave and
 * received, at the cost of two entries, however many grants there are; a deleted one takes all with
 * it. `kind` is GRANTEE_USER (and the owner of that name) or GRANTEE_GROUP (both group kinds). */
MUST_CHECK int sharing_renamed(struct sharing_writer *writer, enum grantee_kind kind,
			       const char *name, const char *new_name, struct error *error);
MUST_CHECK int sharing_deleted(struct sharing_writer *writer, enum grantee_kind kind,
			       const char *name, struct error *error);

/* Looks through everything: index entries without a grant and grants without an index entry (which a
 * crash cannot leave, a damaged file can), and owners, users, groups and domains that the directory does
 * not know (any more). `found` is told each, in words. With `mend`, all of it is put right in
 * the same transaction. Returns how many were found, or -1. A snapshot of `directory` is begun and ended
 * inside the transaction, so that nobody who has just been made is taken for unknown; one that is open
 * is ended. A renaming in whose midst homingctl was killed is told, and ended by the next
 * directory_writer_open(). */
typedef void sharing_found_cb(const char *what, void *context);
MUST_CHECK int sharing_verify(struct sharing_writer *writer, struct directory_reader *directory,
			      bool mend, sharing_found_cb *found, void *context,
			      struct error *error);

#endif
