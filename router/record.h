/* Router records: `match` and `to` with `*` wildcards.
 *
 * match is `local@domain` or `domain`; to is `local@domain`, or `domain` where match is one,
 * or `discard:`, or `error:D.S.N text` (RFC 3463). `*` stands for any number of bytes, the
 * leftmost as short as it can be. A match without `@` leaves the local part out of it: with
 * a `to` that is a domain, the local part stays as it was typed; with a `to` that has `@`,
 * the whole name becomes `to`. What the n-th `*` matched replaces the n-th `*` of `to`.
 * Comparison is without case, on folded names. */
#ifndef HOMING_RECORD_H
#define HOMING_RECORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "directory-format.h"
#include "error.h"
#include "name.h"

struct record {
	const char *match, *to; /* canonical, as in the directory */
};

/* Checks a record as written in homing.json and writes its canonical form: domains lower-case
 * in A-labels, local part of match folded, one space normalised away around. Returns NULL, or what
 * is wrong with it; *in_to_r tells which of the two. */
const char *record_canonical(const char *match, const char *to, char match_r[NAME_SIZE],
			     char to_r[NAME_SIZE], bool *in_to_r);

/* Which index serves a canonical record, and its key there (without the class byte). */
enum record_class record_class(const char *match, char key_r[NAME_KEY_SIZE], size_t *key_length_r);

enum { RECORD_MAX_WILDCARDS = 16 }; /* `*`s in a match */

enum record_action { RECORD_REWRITE, RECORD_DISCARD, RECORD_ERROR };

/* Does a canonical record match? `local` as typed, `folded` its folded form (NULL if it cannot be
 * folded: then only `*` and a match without `@` do), `domain` canonical. */
bool record_matches(const struct record *record, const char *local, const char *folded,
		    const char *domain);

/* Applies a record that matches. 0: *action_r, and for a rewrite the new name. -1: the new name
 * would be longer than NAME_MAX_BYTES. */
int record_apply(const struct record *record, const char *local, const char *folded,
		 const char *domain, enum record_action *action_r, char name_r[NAME_SIZE]);

/* `error:5.1.6 text`: the SMTP code, the status and the text (points into `to`). */
bool record_error(const char *to, int *smtp_r, char status_r[12], const char **text_r);

#endif
