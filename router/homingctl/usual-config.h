/* Where the configuration is when no FILE is named: HOMING_CONFIG/homing.json and the *.json of
 * HOMING_CONFIG/homing.d. */
#ifndef HOMINGCTL_USUAL_CONFIG_H
#define HOMINGCTL_USUAL_CONFIG_H

#include <stddef.h>

#include "error.h"

struct usual_config {
	const char *paths[2]; /* static strings */
	size_t count;	      /* at least 1 */
};

/* Those of the two that are there, for config_load. -1: neither is (ERROR_MISSING), or the place
 * cannot be read. */
MUST_CHECK int usual_config_find(struct usual_config *found, struct error *error);

#endif
