/* Accounts as they are stored: with what is their own, and nothing where the default counts. */
#ifndef HOMINGCTL_STORED_H
#define HOMINGCTL_STORED_H

#include <jansson.h>
#include <stdbool.h>

#include "directory.h"

/* What the account itself says; "" where the default of homing.json counts. Strings point into
 * the snapshot. 1 found, 0 none, -1 failed. */
struct stored_account {
	const char *home, *uid, *gid;
};
int stored_account_get(struct directory_reader *reader, const char *local, const char *domain,
		       struct stored_account *account_r, struct error *error);

/* The account's groups, as a JSON array (new reference). NULL: failed. */
json_t *stored_groups(struct directory_reader *reader, const char *local, const char *domain,
		      struct error *error);

/* Aliases, forwarders and groups that lead to a name: calls `each` with the kind and the address
 * of each. Stops at the first answer that is not 0 and returns it; 0 at the end, -1 failed. */
typedef int stored_reference_cb(int kind, const char *address, void *context);
int stored_references(struct directory_reader *reader, const char *local, const char *domain,
		      stored_reference_cb *each, void *context, struct error *error);

/* Prints every account as a line that `account import` takes. An exit code. */
int export_accounts(struct directory_reader *reader, bool passwords);

#endif
