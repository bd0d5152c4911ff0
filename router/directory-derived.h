/* What a domain makes outside of `domains`: its aliases and server names in `hosts`, its addresses
 * in `networks`, its rules in `names`. */
#ifndef HOMING_DIRECTORY_DERIVED_H
#define HOMING_DIRECTORY_DERIVED_H

#include "config.h"
#include "directory-batch.h"
#include "directory-edit.h"

/* Adds a domain's keys, to be written to `hosts` and `networks`. */
void derived_add(const struct config_domain *domain, struct batch *hosts, struct batch *networks);

/* Takes away what a domain that had this value in `domains` has in those two. */
MUST_CHECK int derived_remove(struct edit *edit, const struct string_set_item *item);

/* The rules of a domain as `names` has them: the front of its value in `domains`. False if that
 * does not parse. */
bool derived_rules(const MDB_val *value, struct value_writer *rules);

#endif
