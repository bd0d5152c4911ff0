/* An account as it is stored: its value, and its place in groups. */
#ifndef HOMING_DIRECTORY_ACCOUNT_H
#define HOMING_DIRECTORY_ACCOUNT_H

#include "directory-edit.h"

/* -1 and ERROR_INVALID if home, uid, gid or the password cannot be stored. */
MUST_CHECK int account_check(const struct account_change *account, struct error *error);

/* Puts the value for `names`. -1: out of memory. */
MUST_CHECK int account_value(const struct account_change *account, struct value_writer *value,
			     struct error *error);

/* Puts the account into groups, which must exist. `only`: and takes it out of all others. */
MUST_CHECK int account_join(struct edit *edit, const struct edit_name *name,
			    const char *const *groups, bool only);

/* The account's own home, or where the default home of account_defaults is for it. "" is none. */
enum { ACCOUNT_HOME_SIZE = sizeof ((struct account *)0)->home };
MUST_CHECK int account_home(struct edit *edit, const struct edit_name *name,
			    char home_r[ACCOUNT_HOME_SIZE]);

/* Stores the account of one name under another, with that home. */
MUST_CHECK int account_copy(struct edit *edit, const struct edit_name *name,
			    const struct edit_name *new_name, const char *home);

#endif
