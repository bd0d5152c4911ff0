/* Is a configuration one that the directory can hold? */
#ifndef HOMING_DIRECTORY_APPLY_CHECK_H
#define HOMING_DIRECTORY_APPLY_CHECK_H

#include "config.h"
#include "error.h"

/* 0, or -1 and ERROR_INVALID with the key. Names that two domains have show when they are
 * written. */
MUST_CHECK int apply_check(const struct config *config, struct error *error);

#endif
