/* Lookups in sharing.mdb that both sides make: in a reader's snapshot, or in a writer's transaction,
 * where they see its own changes. */
#ifndef HOMING_SHARING_VIEW_H
#define HOMING_SHARING_VIEW_H

#include <lmdb.h>

#include "sharing-format.h"
#include "store.h"

struct sharing_view {
	struct store_reader *reader; /* or NULL, and these two: */
	MDB_txn *txn;
	const MDB_dbi *tables;
	const char *path; /* for errors */
	bool empty;	  /* a file of an older Homing: no tables to ask */
};

/* 1 found, 0 none, -1 failed, as everything here. Values are valid until the next change, or the end
 * of the snapshot. */
MUST_CHECK int view_get(const struct sharing_view *view, enum sharing_table table, const void *key,
			size_t key_length, MDB_val *value_r, struct error *error);

/* Calls `each` for every key that begins with `front`. Stops at the first answer that is not 0 and
 * returns it; 0 at the end. `each` must change nothing. */
typedef int view_cb(const MDB_val *key, const MDB_val *value, void *context, struct error *error);
MUST_CHECK int view_each(const struct sharing_view *view, enum sharing_table table,
			 const void *front, size_t front_length, view_cb *each, void *context,
			 struct error *error);

/* From names to ids. */
MUST_CHECK int view_principal(const struct sharing_view *view, const char *key, size_t length,
			      uint64_t *id_r, struct error *error);
MUST_CHECK int view_owner(const struct sharing_view *view, const char *owner, uint64_t *id_r,
			  struct error *error);
/* A kind without names has the id 0, and is found. */
MUST_CHECK int view_grantee(const struct sharing_view *view, const struct grantee *who,
			    uint64_t *id_r, struct error *error);

/* And back. An id without a name is a damaged file: -1. */
MUST_CHECK int view_owner_name(const struct sharing_view *view, uint64_t id,
			       char name_r[OWNER_SIZE], struct error *error);
MUST_CHECK int view_grantee_name(const struct sharing_view *view, const struct stored_grant *grant,
				 struct grantee *who_r, struct error *error);

/* The grants on a mailbox. 0 too where another mailbox has this one's key. */
MUST_CHECK int view_grants(const struct sharing_view *view, uint64_t owner, const char *mailbox,
			   struct grants_value *value_r, struct error *error);

/* Sees through a key and a value of `grants`. mailbox_r: its name, ended by NUL. */
MUST_CHECK int view_parse_grants(const struct sharing_view *view, const MDB_val *key,
				 const MDB_val *value, struct grants_value *value_r,
				 char mailbox_r[MAILBOX_SIZE], struct error *error);

/* A value with names, sorted by grantee_compare(). *grants_r is the caller's to free(). */
MUST_CHECK int view_name_grants(const struct sharing_view *view, const struct grants_value *value,
				struct grant **grants_r, struct error *error);

/* Is there a key that begins so? */
MUST_CHECK int view_has(const struct sharing_view *view, enum sharing_table table,
			const void *front, size_t front_length, struct error *error);

/* A value that does not parse, with the table and the key in words. Always -1. */
int view_corrupt(const struct sharing_view *view, const char *table, const void *key,
		 size_t key_length, struct error *error);

#endif
