/* What a line of acl_shared_dict says: who shares something at all. It is a file dictionary, or what a
 * database printed of its tables `user_shares` and `anyone_shares` (iRedMail: `share_folder`): a dump of SQLite, MySQL or
 * PostgreSQL, or CSV. */
#ifndef HOMINGCTL_SHARED_DICT_H
#define HOMINGCTL_SHARED_DICT_H

#include <stdbool.h>
#include <stddef.h>

/* Between lines. Begin with zeroes. */
struct shared_dict {
	bool is_value;	   /* of the key in the line before */
	bool is_statement; /* of SQL, that goes on */
	bool is_copy;	   /* rows of COPY ... FROM stdin */
	bool is_other;	   /* ... of another table */
	unsigned column;   /* where the owner stands in a row */
};

/* Calls `each` with every owner in the line, which is overwritten. False if the line is neither of these
 * forms nor one without an owner. */
typedef void shared_dict_owner_cb(const char *owner, void *context);
bool shared_dict_line(struct shared_dict *state, char *line, shared_dict_owner_cb *each,
		      void *context);

#endif
