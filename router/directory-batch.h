/* Many keys and values for one table, written in the order of their keys: LMDB takes them many
 * times faster so. */
#ifndef HOMING_DIRECTORY_BATCH_H
#define HOMING_DIRECTORY_BATCH_H

#include <stddef.h>
#include <stdint.h>

#include "directory-edit.h"

/* Zero it before its first use. */
struct batch {
	struct value_writer bytes; /* keys and values after one another */
	struct batch_item {
		size_t offset;
		uint32_t key_length, value_length;
	} *items;
	size_t count, size;
};

void batch_add(struct batch *batch, const void *key, size_t key_length, const void *value,
	       size_t value_length);

enum batch_rule {
	BATCH_REPLACE, /* what the table has of a key goes */
	BATCH_FIRST,   /* of a key that was added several times, the first counts */
	BATCH_ONCE,    /* a key that was added twice, or that the table has, is ERROR_EXISTS */
};

/* Writes all of it and forgets it. `what` names a key in an error: "a host name". */
MUST_CHECK int batch_write(struct batch *batch, struct edit *edit, unsigned table,
			   enum batch_rule rule, const char *what);
void batch_finish(struct batch *batch);

#endif
