/* One LMDB file for writing. See store-write.h for what it promises.
 *
 * The file is kept as long as its map, with holes where nothing was written yet: LMDB may count
 * pages that it never wrote, and store.c refuses a file that is shorter than its last page as cut.
 * Nothing is written through the map (no MDB_WRITEMAP), so that a full disk is an error of
 * write(), told by the commit, and not the end of the process; holes rather than reserved blocks,
 * because a map that doubles would ask for room that nobody may ever need.
 *
 * One writes at a time. LMDB sees to that with a mutex in the lock file; but two of them may have two
 * lock files, when somebody deleted the first. So whoever writes also has the data file itself locked,
 * and looks first whether his lock file is the one that is there.
 *
 * The length only ever grows, and only while the write transaction is open, which keeps other
 * writers out: of two that measure and lengthen, one could cut what the other has gained. */
#include "store-write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store-make.h"
#include "store-write-private.h"

struct store_writer {
	char *path;
	const struct store_kind *kind;
	char *lock_path;
	MDB_env *env; /* NULL after the map could not be grown */
	struct stat locked; /* of the lock file that env has */
	MDB_dbi tables[STORE_MAX_TABLES];
	bool grown;	/* all tables are open, see store_kind.since */
	bool map_full;	/* the change at hand met MDB_MAP_FULL */
	size_t wanted;	/* map size asked for by store_writer_reserve */
};

/* Everything of the reading side's checks, before the file is mapped: a sound header, a format
 * that we know, the tables, rights to its lock file. */
static int check_as_reader(const char *path, const struct store_kind *kind, struct error *error)
{
	struct store *store = NULL;

	if (store_open_grown(path, kind->tables, kind->since, &store, error) < 0)
		return -1;
	store_close(&store);
	return 0;
}

static int check_kind(struct store_writer *writer, MDB_txn *txn, struct error *error)
{
	const char *name = writer->kind->name;
	MDB_val key = {.mv_data = (void *)"kind", .mv_size = 4}, value;
	int rc = mdb_get(txn, writer->tables[STORE_META], &key, &value);

	if (rc != 0)
		return store_error(error, rc, "read its kind", writer->path);
	if (value.mv_size != strlen(name) + 1 || memcmp(value.mv_data, name, value.mv_size) != 0)
		return error_set(error, ERROR_CORRUPT, "%s: a file of another kind: expected \"%s\", "
				 "found \"%.*s\"", writer->path, name,
				 (int)(value.mv_size < 32 ? value.mv_size : 32),
				 (const char *)value.mv_data);
	return 0;
}

/* Opens the handles of the tables. Where those that may be missing are, they are left out, or
 * made with the flag MDB_CREATE. */
static int open_handles(struct store_writer *writer, MDB_txn *txn, unsigned create)
{
	const struct store_kind *kind = writer->kind;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && kind->tables[i]; i++) {
		bool late = kind->since > 0 && i >= kind->since;
		unsigned sorted = create && kind->dupsort & 1u << i ? MDB_DUPSORT : 0;

		rc = mdb_dbi_open(txn, kind->tables[i], late ? create | sorted : 0,
				  &writer->tables[i]);
		if (rc == MDB_NOTFOUND && late && !create)
			return 0;
	}
	writer->grown = rc == 0;
	return rc;
}

static int open_tables(struct store_writer *writer, struct error *error)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(writer->env, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		return store_error(error, rc, "begin reading", writer->path);
	rc = open_handles(writer, txn, 0);
	if (rc != 0 || check_kind(writer, txn, error) < 0) {
		mdb_txn_abort(txn);
		return rc != 0 ? store_error(error, rc, "open its tables", writer->path) : -1;
	}
	rc = mdb_txn_commit(txn); /* keeps the handles */
	return rc == 0 ? 0 : store_error(error, rc, "open its tables", writer->path);
}

static int open_env(struct store_writer *writer, struct error *error)
{
	int stale, rc = stat(writer->lock_path, &writer->locked) < 0 ? errno : 0;

	if (rc == 0)
		rc = store_env_open(writer->path, 0, &writer->env);

	if (rc == 0)
		rc = mdb_env_set_userctx(writer->env, writer);
	/* A reader that died keeps the pages of its snapshot from being used again. */
	if (rc == 0)
		rc = mdb_reader_check(writer->env, &stale);
	if (rc != 0)
		return store_error(error, rc, "open for writing", writer->path);
	return open_tables(writer, error);
}

int store_writer_open(const char *file, const struct store_kind *kind, bool create,
		      struct store_writer **writer_r, struct error *error)
{
	if (store_make(file, kind, create, error) < 0 || check_as_reader(file, kind, error) < 0)
		return -1;
	struct store_writer *writer = calloc(1, sizeof *writer);
	if (!writer)
		return store_error(error, ENOMEM, "open", file);
	writer->kind = kind;
	writer->path = strdup(file);
	if (asprintf(&writer->lock_path, "%s-lock", file) < 0)
		writer->lock_path = NULL;
	int answer = writer->path && writer->lock_path ? open_env(writer, error)
						       : store_error(error, ENOMEM, "open", file);
	if (answer < 0)
		store_writer_close(&writer);
	else
		*writer_r = writer;
	return answer;
}

void store_writer_close(struct store_writer **writer)
{
	if (!*writer)
		return;
	mdb_env_close((*writer)->env);
	free((*writer)->path);
	free((*writer)->lock_path);
	free(*writer);
	*writer = NULL;
}

MDB_env *store_writer_env(struct store_writer *writer)
{
	return writer->env;
}

static size_t map_size(struct store_writer *writer)
{
	MDB_envinfo info;

	mdb_env_info(writer->env, &info);
	return info.me_mapsize;
}

void store_writer_reserve(struct store_writer *writer, size_t bytes)
{
	MDB_envinfo info;
	MDB_stat page;

	if (!writer->env)
		return;
	mdb_env_info(writer->env, &info);
	mdb_env_stat(writer->env, &page);
	size_t used = (info.me_last_pgno + 1) * page.ms_psize;
	if (bytes < SIZE_MAX / 4 - used)
		writer->wanted = used + bytes;
}

/* Maps `size` bytes, or what another writer made of it for 0. LMDB has no map at all after it
 * could not get one, so the writer is of no use then. */
static int set_map_size(struct store_writer *writer, size_t size, struct error *error)
{
	int rc = mdb_env_set_mapsize(writer->env, size);

	if (rc == 0)
		return 0;
	mdb_env_close(writer->env);
	writer->env = NULL;
	return store_error(error, rc, "grow its map", writer->path);
}

static int grow(struct store_writer *writer, struct error *error)
{
	size_t now = map_size(writer), size = now;

	do {
		if (size > SIZE_MAX / 4)
			return store_error(error, EFBIG, "grow its map", writer->path);
		size *= 2;
	} while (size < writer->wanted);
	writer->wanted = 0;
	return set_map_size(writer, size, error);
}

/* Inside a write transaction, see above. */
static int lengthen_file(struct store_writer *writer, struct error *error)
{
	struct stat status;
	mdb_filehandle_t fd;
	off_t wanted = (off_t)map_size(writer);

	mdb_env_get_fd(writer->env, &fd);
	if (fstat(fd, &status) < 0)
		return store_error(error, errno, "read status", writer->path);
	if (status.st_size < wanted && ftruncate(fd, wanted) < 0)
		return store_error(error, errno, "lengthen", writer->path);
	return 0;
}

static bool is_same_file(const char *path, const struct stat *then)
{
	struct stat now;

	return stat(path, &now) == 0 && now.st_dev == then->st_dev && now.st_ino == then->st_ino;
}

/* Are the files those that are at their paths? */
static bool is_current(struct store_writer *writer)
{
	struct stat data;
	mdb_filehandle_t fd;

	mdb_env_get_fd(writer->env, &fd);
	return fstat(fd, &data) == 0 && is_same_file(writer->path, &data) &&
	       is_same_file(writer->lock_path, &writer->locked);
}

static int open_again(struct store_writer *writer, struct error *error)
{
	mdb_env_close(writer->env);
	writer->env = NULL;
	if (store_make(writer->path, writer->kind, false, error) < 0 ||
	    check_as_reader(writer->path, writer->kind, error) < 0)
		return -1;
	return open_env(writer, error);
}

/* Waits for the lock on the data file; it ends with the descriptor at the latest. */
static int take_turn(struct store_writer *writer, struct error *error)
{
	mdb_filehandle_t fd;

	for (int tries = 0; tries < 10; tries++) {
		mdb_env_get_fd(writer->env, &fd);
		while (flock(fd, LOCK_EX) < 0)
			if (errno != EINTR)
				return store_error(error, errno, "lock", writer->path);
		if (is_current(writer))
			return 0;
		if (open_again(writer, error) < 0)
			return -1;
	}
	return store_error(error, EAGAIN, "lock", writer->path);
}

static void end_turn(struct store_writer *writer)
{
	mdb_filehandle_t fd;

	if (!writer->env)
		return;
	mdb_env_get_fd(writer->env, &fd);
	flock(fd, LOCK_UN);
}

static int begin_txn(struct store_writer *writer, MDB_txn **txn_r, struct error *error)
{
	if (writer->wanted > map_size(writer) && grow(writer, error) < 0)
		return -1;
	int rc = mdb_txn_begin(writer->env, NULL, 0, txn_r);
	for (int tries = 0; rc == MDB_MAP_RESIZED && tries < 10; tries++) {
		if (set_map_size(writer, 0, error) < 0)
			return -1;
		rc = mdb_txn_begin(writer->env, NULL, 0, txn_r);
	}
	if (rc != 0)
		return store_error(error, rc, "begin writing", writer->path);
	if (lengthen_file(writer, error) == 0)
		return 0;
	mdb_txn_abort(*txn_r);
	/* Back to the map that the file has room for: a smaller change may still fit. The first
	 * error stays. */
	set_map_size(writer, 0, error);
	return -1;
}

static int begin(struct store_writer *writer, MDB_txn **txn_r, struct error *error)
{
	if (!writer->env)
		return store_error(error, ENOMEM, "begin writing", writer->path);
	if (take_turn(writer, error) < 0)
		return -1;
	int answer = begin_txn(writer, txn_r, error);
	if (answer < 0)
		end_turn(writer);
	return answer;
}

int store_writer_failed(struct error *error, MDB_txn *txn, int rc, const char *doing)
{
	struct store_writer *writer = mdb_env_get_userctx(mdb_txn_env(txn));

	if (rc != MDB_MAP_FULL)
		return store_error(error, rc, doing, writer->path);
	writer->map_full = true;
	return error_set(error, ERROR_FULL, "%s: %s: its map is full", writer->path, doing);
}

static int count_change(struct store_writer *writer, MDB_txn *txn, struct error *error)
{
	MDB_val key = {.mv_data = (void *)"sequence", .mv_size = 8}, value;
	unsigned char bytes[8];
	int rc = mdb_get(txn, writer->tables[STORE_META], &key, &value);

	if (rc == 0 && value.mv_size != sizeof bytes)
		return error_set(error, ERROR_CORRUPT, "%s: meta \"sequence\": not a number",
				 writer->path);
	if (rc == 0) {
		memcpy(bytes, value.mv_data, sizeof bytes);
		for (size_t i = 0; i < sizeof bytes && ++bytes[i] == 0; i++)
			; /* carries into the next byte */
		value.mv_data = bytes;
		rc = mdb_put(txn, writer->tables[STORE_META], &key, &value, 0);
	}
	return rc == 0 ? 0 : store_writer_failed(error, txn, rc, "count the change");
}

static int commit(struct store_writer *writer, MDB_txn *txn, struct error *error)
{
	if (count_change(writer, txn, error) < 0) {
		mdb_txn_abort(txn);
		return -1;
	}
	int rc = mdb_txn_commit(txn);
	writer->map_full = rc == MDB_MAP_FULL;
	return rc == 0 ? 0 : store_error(error, rc, "write", writer->path);
}

/* Runs the change in a transaction, and ends that. */
static int try_change(struct store_writer *writer, MDB_txn *txn, store_change_cb *change,
		      void *context, struct error *error)
{
	bool grown = writer->grown;
	int rc = grown ? 0 : open_handles(writer, txn, MDB_CREATE);

	writer->map_full = false;
	int answer = rc == 0 ? change(txn, writer->tables, context, error)
			     : store_writer_failed(error, txn, rc, "make its tables");
	if (answer == 0)
		answer = commit(writer, txn, error);
	else
		mdb_txn_abort(txn);
	if (answer != 0)
		writer->grown = grown; /* handles from a transaction that is undone are no more */
	return answer;
}

int store_writer_read(struct store_writer *writer, store_change_cb *read, void *context,
		      struct error *error)
{
	MDB_txn *txn;

	if (!writer->env)
		return store_error(error, ENOMEM, "begin reading", writer->path);
	int rc = mdb_txn_begin(writer->env, NULL, MDB_RDONLY, &txn);
	for (int tries = 0; rc == MDB_MAP_RESIZED && tries < 10; tries++) {
		if (set_map_size(writer, 0, error) < 0)
			return -1;
		rc = mdb_txn_begin(writer->env, NULL, MDB_RDONLY, &txn);
	}
	if (rc != 0)
		return store_error(error, rc, "begin reading", writer->path);
	if (!writer->grown && (rc = open_handles(writer, txn, 0)) != 0) {
		mdb_txn_abort(txn);
		return store_error(error, rc, "open its tables", writer->path);
	}
	int answer = read(txn, writer->grown ? writer->tables : NULL, context, error);
	mdb_txn_commit(txn); /* keeps the handles */
	return answer;
}

int store_write(struct store_writer *writer, store_change_cb *change, void *context,
		struct error *error)
{
	for (;;) {
		struct error failure = {0};
		MDB_txn *txn = NULL;

		if (begin(writer, &txn, error) < 0)
			return -1;
		int answer = try_change(writer, txn, change, context, &failure);
		end_turn(writer);
		if (answer >= 0)
			return answer;
		if (!writer->map_full)
			return error_set(error, failure.code, "%s", failure.text);
		if (grow(writer, error) < 0)
			return -1;
	}
}
