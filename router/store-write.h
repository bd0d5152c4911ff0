/* One LMDB file for writing: made with its permissions, grown when full. Used by homingctl. */
#ifndef HOMING_STORE_WRITE_H
#define HOMING_STORE_WRITE_H

#include <lmdb.h>
#include <stdbool.h>
#include <sys/types.h>

#include "error.h"
#include "store.h"

struct store_writer;

struct store_kind {
	const char *name;	   /* "directory", "credentials", "sharing": in meta under "kind" */
	const char *const *tables; /* "meta" first, NULL last */
	unsigned dupsort;	   /* bit N: table N holds several sorted values for a key */
	mode_t mode;		   /* of a new file; its lock file gets 0660 */
	const char *group;	   /* of a new file, where we are root and the group exists */
	unsigned since; /* tables from this number on are made by the first change of a file that
			 * an older Homing made; 0: a file has all tables from the beginning */
};

/* Opens FILE for writing; `create` makes it if it is missing. The permissions of an existing
 * file are left alone. `kind` must outlive the writer. */
MUST_CHECK int store_writer_open(const char *file, const struct store_kind *kind, bool create,
				 struct store_writer **writer_r, struct error *error);
void store_writer_close(struct store_writer **writer);

/* A transaction as a function: `change` is called with a write transaction and the tables'
 * handles; 0 commits, 1 leaves everything as it was (nothing to do, or a dry run), -1 leaves
 * everything as it was and is a failure. LMDB results are handed back through
 * store_writer_failed(). If the map was too small, the transaction is undone, the map grown and
 * `change` called again from the start, so it must not depend on having run only once. The
 * sequence number grows by one with each commit. */
typedef int store_change_cb(MDB_txn *txn, const MDB_dbi *tables, void *context,
			    struct error *error);
MUST_CHECK int store_write(struct store_writer *writer, store_change_cb *change, void *context,
			   struct error *error);

/* The same for reading alone, without the writer's lock. `change` must write nothing; `tables` is
 * NULL where the file does not have all of them yet. Its answer. */
MUST_CHECK int store_writer_read(struct store_writer *writer, store_change_cb *read, void *context,
				 struct error *error);

/* For use inside `change`: turns an LMDB result that is not 0 into the failure to return. Keeps
 * MDB_MAP_FULL apart, so that store_write can grow the map. Always -1. */
int store_writer_failed(struct error *error, MDB_txn *txn, int rc, const char *doing);

MDB_env *store_writer_env(struct store_writer *writer);

#endif
