/* The tables `hosts` and `networks`: what aliases, server names and addresses of a domain make
 * there. */
#ifndef HOMING_DIRECTORY_DERIVED_H
#define HOMING_DIRECTORY_DERIVED_H

#include "config.h"
#include "directory-batch.h"
#include "directory-edit.h"

/* Adds a domain's keys, to be written to the two tables. */
void derived_add(const struct config_domain *domain, struct batch *hosts, struct batch *networks);

/* Takes away what a domain that had this value in `domains` has there. */
MUST_CHECK int derived_remove(struct edit *edit, const struct string_set_item *item);

#endif
