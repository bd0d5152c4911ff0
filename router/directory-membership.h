/* What an account belongs to, found from the account: groups it is a member of, directly or through
 * other groups and its aliases, as mail to the group would reach it; and the domains that it
 * administers. */
#ifndef HOMING_DIRECTORY_MEMBERSHIP_H
#define HOMING_DIRECTORY_MEMBERSHIP_H

#include "directory.h"

/* 0 to go on. */
typedef int membership_cb(const char *name, void *context);

/* Calls `each` once with every group as "name@domain", in no order. Stops at the first answer that is
 * not 0 and returns it; 0 at the end; -1 failed. Inside a snapshot, as the other. */
MUST_CHECK int membership_each_group(struct directory_reader *reader, const char *local,
				     const char *domain, membership_cb *each, void *context,
				     struct error *error);

/* Likewise with every domain that has the account, as `local@domain`, among its administrators. Looks
 * at each domain. */
MUST_CHECK int membership_each_administered(struct directory_reader *reader, const char *account,
					    membership_cb *each, void *context,
					    struct error *error);

#endif
