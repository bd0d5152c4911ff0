/* An LMDB file as a program wrote it, with some of its entries changed to whatever the input says. LMDB
 * itself is used as it should be, so the pages are whole: it trusts them, and nothing above it can
 * help that. */
#ifndef HOMING_FUZZ_STORED_H
#define HOMING_FUZZ_STORED_H

#include "input.h"

struct stored {
	char *path;
	char *bytes; /* of the file as it was */
	size_t length, used; /* behind `used` there is nothing but NULs */
	const char *const *tables; /* ended by NULL */
	unsigned dupsort;
};
/* Keeps the file as it is now. */
void stored_keep(struct stored *stored, const char *folder, const char *file,
		 const char *const *tables, unsigned dupsort);
void stored_finish(struct stored *stored);

/* Makes the file what it was, but for changes that are read from the input: at most `most`, each
 *
 *	u8 what, u8 table, then
 *	0 value   u16 entry, u8 length, bytes: the entry's value is these bytes
 *	1 edit    u16 entry, u16 offset, u8 removed, u8 length, bytes: so many bytes of the value give
 *	          way to these
 *	2 entry   u8 length, key, u8 length, value: a new one, or in place of what has that key
 *	3 gone    u16 entry
 *	4 end
 *
 * Numbers are big-endian and taken modulo what there is. */
void stored_change(const struct stored *stored, struct input *input, unsigned most);

/* Keys and values that LMDB gave are copies of their own length in these targets; this frees them, at the
 * end of an input. */
void stored_forget(void);

#endif
