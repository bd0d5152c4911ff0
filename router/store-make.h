/* New data and lock files: whole and with their rights, or not there at all. */
#ifndef HOMING_STORE_MAKE_H
#define HOMING_STORE_MAKE_H

#include "error.h"
#include "store-write.h"

/* Makes the data file with all tables of its kind, and its lock file, unless the data file is
 * there; makes the lock file alone if only that is missing. Without `create` a missing data file
 * is ERROR_MISSING. Blocks while another process makes files in the same folder. */
MUST_CHECK int store_make(const char *path, const struct store_kind *kind, bool create,
			  struct error *error);

#endif
