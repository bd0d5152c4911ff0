/* Reading and changing the tables of directory.mdb inside a write transaction: what the commands
 * of directory-write.h are made of. Used by router/directory-*.c alone. */
#ifndef HOMING_DIRECTORY_EDIT_H
#define HOMING_DIRECTORY_EDIT_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>

#include "directory-format.h"
#include "directory-write.h"
#include "sharing-write.h"
#include "store-write.h"
#include "string-set.h"

struct directory_writer {
	struct store_writer *names, *credentials;
	struct sharing_writer *sharing; /* NULL: an older directory without it */
};

struct edit {
	MDB_txn *txn;
	const MDB_dbi *tables;
	struct error *error;
	bool changed; /* something was put or deleted */
};

/* A name of ours, with its key in `names`. */
struct edit_name {
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];
	char address[ADDRESS_SIZE];
	char key[NAME_KEY_SIZE];
	size_t key_length;
};

/* What store_write's callback returns: 0 to commit, 1 where nothing was changed. */
int edit_answer(const struct edit *edit);

/* 1 found, 0 none, -1 failed. The value is valid until the next change. */
MUST_CHECK int edit_get(struct edit *edit, unsigned table, const void *key, size_t key_length,
			MDB_val *value_r);
MUST_CHECK int edit_put(struct edit *edit, unsigned table, const void *key, size_t key_length,
			const void *value, size_t value_length);
/* 1 deleted, 0 was not there. `value` NULL: all values of the key. */
MUST_CHECK int edit_delete(struct edit *edit, unsigned table, const void *key, size_t key_length,
			   const MDB_val *value);

/* Fills name_r. -1 and ERROR_INVALID if they are not a canonical local part and domain. */
MUST_CHECK int edit_name_init(struct edit *edit, const char *local, const char *domain,
			      struct edit_name *name_r);
/* The same from a name key in a table. */
MUST_CHECK int edit_name_from_key(struct edit *edit, const void *key, size_t length,
				  struct edit_name *name_r);

/* Is the domain one of the directory's, and (`accounts`) one that keeps its accounts here? 0, or
 * -1 with ERROR_MISSING or ERROR_INVALID. */
MUST_CHECK int edit_check_domain(struct edit *edit, const char *domain, bool accounts);

/* The enum entry_kind of a name, 0 none, -1 failed. */
MUST_CHECK int edit_kind(struct edit *edit, const struct edit_name *name);
/* 0 if the name is that, else -1 and ERROR_MISSING. */
MUST_CHECK int edit_expect(struct edit *edit, const struct edit_name *name, enum entry_kind kind);
/* 0 if nobody has it, else -1 and ERROR_EXISTS. */
MUST_CHECK int edit_expect_free(struct edit *edit, const struct edit_name *name);
/* "an account", "an alias"... */
const char *edit_kind_words(int kind);

/* A target or a member as it is stored: an address of ours in canonical form, aliases of our
 * domains replaced by the domain; one elsewhere as typed, with its domain in canonical form. */
MUST_CHECK int edit_target(struct edit *edit, const char *text, char target_r[NAME_SIZE]);

/* Where an alias, a forwarder or a group leads, in the order that is stored. */
MUST_CHECK int edit_targets(struct edit *edit, const struct edit_name *name, enum entry_kind kind,
			    struct string_set *targets);
/* Stores a forwarder or an alias (its first target). */
MUST_CHECK int edit_put_targets(struct edit *edit, const struct edit_name *name,
				enum entry_kind kind, const struct string_set *targets);

/* One entry of `references`: NAME, of this kind, leads to the target. A target that is no name
 * for the directory has none. */
enum edit_reference { REFERENCE_ADD, REFERENCE_REMOVE };
MUST_CHECK int edit_reference(struct edit *edit, enum edit_reference what, const char *target,
			      enum entry_kind kind, const struct edit_name *name);

/* A member of a group, with its reference. 1 changed, 0 it was so already, -1 failed. */
MUST_CHECK int edit_member_add(struct edit *edit, const struct edit_name *group,
			       const char *member);
MUST_CHECK int edit_member_remove(struct edit *edit, const struct edit_name *group,
				  const char *member);

/* The values of a name key in `references`, each u8 kind and name key. */
MUST_CHECK int edit_references(struct edit *edit, const struct edit_name *name,
			       struct string_set *values);

/* Deletes an alias, a forwarder or a group with its references. */
MUST_CHECK int edit_remove_entry(struct edit *edit, const struct edit_name *name,
				 enum entry_kind kind);

#endif
