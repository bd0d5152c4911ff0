/* One LMDB file for reading: opened, checked, mapped again when it grew, opened again after a
 * fork or when another file took its place. directory.mdb, credentials.mdb and sharing.mdb are
 * each a store. The writing side is store-write.h.
 *
 * Safe to share between threads; a reader belongs to one thread at a time. A process must not
 * open the same file twice (LMDB's rule: closing one descriptor drops the locks of the other). */
#ifndef HOMING_STORE_H
#define HOMING_STORE_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"

struct store;
struct store_reader;

enum {
	STORE_FORMAT = 2,	  /* the format this code reads and writes */
	STORE_MAX_READERS = 8192, /* reader slots in the lock file */
	STORE_MAX_TABLES = 8,
	STORE_META = 0, /* table number of "meta" in every store */
};

/* Opens FILE (a path ending in .mdb) read-only. `tables` names the tables that must exist,
 * "meta" first, ended by NULL, and stays the caller's for the life of the store; a table is then
 * known by its position. Fails if the file or its lock file is missing, unreadable, truncated,
 * not LMDB, of another kind or of another format. Costs the same for any size. */
MUST_CHECK int store_open(const char *file, const char *const *tables, struct store **store_r,
			  struct error *error);

/* The same for a kind of file that an older Homing made with fewer tables: those from position
 * `since` on may be missing, all of them together, until a writer has made them. store_is_grown:
 * does the snapshot at hand have them? Where it has not, they must not be asked. */
MUST_CHECK int store_open_grown(const char *file, const char *const *tables, unsigned since,
				struct store **store_r, struct error *error);
bool store_is_grown(const struct store_reader *reader);

/* Closes and sets *store to NULL. All its readers must be destroyed before. NULL inside is fine. */
void store_close(struct store **store);

/* A number that changes with every committed change, and when another file is opened. Reads
 * two words of the mapped file: no system call, no transaction. Never 0.
 *
 * An answer is kept under the number of the snapshot that it is from, store_snapshot(); it holds while that
 * equals this one. Never keep it under this one: while a commit is on its way to the disk, this is
 * that of the new state already, and a snapshot that begins now still shows the old one. */
uint64_t store_version(struct store *store);

/* Is the path still the file that is open, with the same lock file, and is the file whole? Two system
 * calls where nothing changed since the last time, else a handful: call it now and then, as once for
 * each round of an event loop, between transactions of the calling thread. Opens a replaced file, and
 * opens it again with a lock file that was made again. Only this call
 * sees that a file was cut short from outside; whoever begins or reads a snapshot of such a file
 * without it may be ended by SIGBUS.
 * Returns -1 if there is no usable file now; a later call may succeed. */
MUST_CHECK int store_check(struct store *store, struct error *error);

/* A reader holds a snapshot between begin and end: all lookups see one state of the file.
 * Values point into the map and are valid until end. Beginning costs no system call unless
 * something was committed since the last time; then it looks that the file is as long as the
 * commit says. A snapshot is its process's: a child of fork() may end it, which leaves the parent's
 * as it was, and then begin one of its own. */
MUST_CHECK int store_reader_create(struct store *store, struct store_reader **reader_r,
				   struct error *error);
void store_reader_destroy(struct store_reader **reader);
MUST_CHECK int store_begin(struct store_reader *reader, struct error *error);
void store_end(struct store_reader *reader);

/* Of the snapshot: its version (see store_version), valid between begin and end. */
uint64_t store_snapshot(const struct store_reader *reader);

/* 1 found, 0 none, -1 failed. */
MUST_CHECK int store_get(struct store_reader *reader, unsigned table, const void *key,
			 size_t key_length, MDB_val *value_r, struct error *error);

/* A cursor over a table; between begin and end. Close it before end. */
MUST_CHECK int store_cursor(struct store_reader *reader, unsigned table, MDB_cursor **cursor_r,
			    struct error *error);

/* How many entries a table has. Between begin and end. */
MUST_CHECK int store_count(struct store_reader *reader, unsigned table, uint64_t *count_r,
			   struct error *error);

/* The sequence number in `meta`: grows by one with each change made by homingctl. Between begin
 * and end. */
MUST_CHECK int store_sequence(struct store_reader *reader, uint64_t *sequence_r,
			      struct error *error);

/* For status and for messages. */
const char *store_path(const struct store *store);
MDB_env *store_env(struct store *store);

/* Opens an LMDB environment with the flags, MDB_NOSUBDIR and our limits, and sees that its locks
 * work. An LMDB result; may wait some milliseconds. For the two sides of a store. */
MUST_CHECK int store_env_open(const char *path, unsigned flags, MDB_env **env_r);

/* Turns an LMDB or errno result into an error with the path in it. */
int store_error(struct error *error, int rc, const char *doing, const char *path);

#endif
