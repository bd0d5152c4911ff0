/* What leads to a name, when the name goes or gets another one: aliases, forwarders and groups
 * that name it, as itself or with a detail behind its domain's delimiter. */
#ifndef HOMING_DIRECTORY_FOLLOW_H
#define HOMING_DIRECTORY_FOLLOW_H

#include "directory-edit.h"

/* -1 and ERROR_EXISTS, with the first of them, if aliases or forwarders lead to the name; groups
 * do not count. 0: none. */
MUST_CHECK int follow_expect_none(struct edit *edit, const struct edit_name *name);

/* Deletes the aliases, and the aliases of these, and takes the address out of forwarders and
 * groups. */
MUST_CHECK int follow_remove(struct edit *edit, const struct edit_name *name);

/* Makes all of them lead to the new name. The old one must still be there. */
MUST_CHECK int follow_rename(struct edit *edit, const struct edit_name *name,
			     const struct edit_name *new_name);

#endif
