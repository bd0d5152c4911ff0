/* What an apply changes, in the words of homing.json. */
#ifndef HOMING_DIRECTORY_DIFF_H
#define HOMING_DIRECTORY_DIFF_H

#include <lmdb.h>
#include <stddef.h>

#include "directory-write.h"
#include "error.h"

struct diff {
	config_change_cb *change; /* NULL: nobody asks */
	void *context;
	struct error *error;
};

/* A key whose value is a string; "" is none. Nothing is told of two that are the same. */
MUST_CHECK int diff_text(struct diff *diff, const char *key, const char *old_text,
			 const char *new_text);

/* A domain by its values in `domains`; NULL is none. Of two that differ, each key that does. */
MUST_CHECK int diff_domain(struct diff *diff, const char *name, const MDB_val *old_value,
			   const MDB_val *new_value);

/* A router record by its values in `records`. */
MUST_CHECK int diff_record(struct diff *diff, size_t number, const MDB_val *old_value,
			   const MDB_val *new_value);

#endif
