/* New data and lock files. Each is made under another name, given its content and its rights, and
 * renamed when it is whole and on the disk: whoever dies on the way leaves only `NAME.new`, which
 * the next one replaces. A lock on the folder keeps two makers apart.
 *
 * The data file is a sparse file as long as its map, see store-write.c. The lock file gets its
 * blocks at once: every process writes to it through a map, and a disk without room for one more
 * block would end that process with SIGBUS. */
#include "store-make.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "store-write-private.h"

enum {
	/* Address space that every reader takes; Dovecot's processes have little (vsz_limit). */
	FIRST_MAP_SIZE = 16 << 20,
	/* 64 bytes a reader, and LMDB's head of it. */
	LOCK_FILE_SIZE = (STORE_MAX_READERS + 16) * 64,
	LOCK_FILE_MODE = 0660,
};

struct maker {
	const char *path; /* of the data file */
	const struct store_kind *kind;
	char *lock, *new_data, *new_lock;
	int data, folder; /* locked while open */
	struct error *error;
};

gid_t store_group_id(const char *group)
{
	struct group entry, *found = NULL;
	size_t size = 1024;
	char *buffer = NULL;
	int rc = ERANGE;

	if (!group || geteuid() != 0)
		return (gid_t)-1;
	for (; rc == ERANGE && size <= 16 << 20; size *= 4) {
		free(buffer);
		buffer = malloc(size);
		rc = buffer ? getgrnam_r(group, &entry, buffer, size, &found) : ENOMEM;
	}
	gid_t gid = rc == 0 && found ? entry.gr_gid : (gid_t)-1;
	free(buffer);
	return gid;
}

static bool is_missing(const char *path)
{
	struct stat status;

	return stat(path, &status) < 0 && errno == ENOENT;
}

/* An empty file of nobody else's, with its rights whatever the umask. -1 with errno. */
static int create_file(const char *path, mode_t mode, uid_t uid, gid_t gid)
{
	if (unlink(path) < 0 && errno != ENOENT)
		return -1;
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	bool give = uid != (uid_t)-1 || gid != (gid_t)-1;
	if ((give && fchown(fd, uid, gid) < 0) || fchmod(fd, mode) < 0) {
		int cause = errno;

		close(fd);
		unlink(path);
		errno = cause;
		return -1;
	}
	return fd;
}

static int put_meta(MDB_txn *txn, MDB_dbi meta, const char *name, const void *bytes, size_t length)
{
	MDB_val key = {.mv_data = (void *)name, .mv_size = strlen(name)};
	MDB_val value = {.mv_data = (void *)bytes, .mv_size = length};

	return mdb_put(txn, meta, &key, &value, 0);
}

static int fill_tables(MDB_txn *txn, const struct store_kind *kind)
{
	static const unsigned char format[4] = {STORE_FORMAT}, sequence[8] = {0};
	int rc = 0;

	for (unsigned i = 0; rc == 0 && kind->tables[i]; i++) {
		MDB_dbi table;
		unsigned flags = MDB_CREATE | (kind->dupsort & 1u << i ? MDB_DUPSORT : 0);

		rc = mdb_dbi_open(txn, kind->tables[i], flags, &table);
		if (rc != 0 || i != STORE_META)
			continue;
		rc = put_meta(txn, table, "kind", kind->name, strlen(kind->name) + 1);
		if (rc == 0)
			rc = put_meta(txn, table, "format", format, sizeof format);
		if (rc == 0)
			rc = put_meta(txn, table, "sequence", sequence, sizeof sequence);
	}
	return rc;
}

/* Nobody else knows the file yet: no lock file, and one fsync at the end. */
static int fill_data(const char *path, const struct store_kind *kind)
{
	MDB_env *env = NULL;
	MDB_txn *txn = NULL;
	int rc = mdb_env_create(&env);

	if (rc == 0)
		rc = mdb_env_set_maxdbs(env, STORE_MAX_TABLES);
	if (rc == 0)
		rc = mdb_env_set_mapsize(env, FIRST_MAP_SIZE);
	if (rc == 0)
		rc = mdb_env_open(env, path, MDB_NOSUBDIR | MDB_NOLOCK | MDB_NOSYNC, 0600);
	if (rc == 0)
		rc = mdb_txn_begin(env, NULL, 0, &txn);
	if (rc == 0)
		rc = fill_tables(txn, kind);
	if (rc == 0) {
		rc = mdb_txn_commit(txn);
		txn = NULL;
	}
	mdb_txn_abort(txn);
	mdb_env_close(env);
	return rc;
}

static int put_in_place(const struct maker *maker, int fd, const char *from, const char *to)
{
	if (fsync(fd) < 0 || rename(from, to) < 0 || fsync(maker->folder) < 0)
		return store_error(maker->error, errno, "create", to);
	return 0;
}

/* With the owner and the group of the data file, so that who reads the one can lock the other. */
static int make_lock(const struct maker *maker, const struct stat *data)
{
	bool root = geteuid() == 0;
	int fd = create_file(maker->new_lock, LOCK_FILE_MODE, root ? data->st_uid : (uid_t)-1,
			     root ? data->st_gid : (gid_t)-1);

	if (fd < 0)
		return store_error(maker->error, errno, "create", maker->lock);
	int rc = posix_fallocate(fd, 0, LOCK_FILE_SIZE);
	int answer = rc == 0 ? put_in_place(maker, fd, maker->new_lock, maker->lock)
			     : store_error(maker->error, rc, "create", maker->lock);
	close(fd);
	if (answer < 0)
		unlink(maker->new_lock);
	return answer;
}

/* The lock file comes first: a reader must never find the data file without it. One that is left
 * of an earlier data file is replaced, because its readers and numbers are of that file. */
static int make_data(const struct maker *maker)
{
	struct stat status = {0};
	gid_t gid = store_group_id(maker->kind->group);
	int fd = create_file(maker->new_data, maker->kind->mode, (uid_t)-1, gid);

	if (fd < 0)
		return store_error(maker->error, errno, "create", maker->path);
	int rc = fill_data(maker->new_data, maker->kind);
	if (rc == 0 && (ftruncate(fd, FIRST_MAP_SIZE) < 0 || fstat(fd, &status) < 0))
		rc = errno;
	int answer = rc == 0 ? make_lock(maker, &status)
			     : store_error(maker->error, rc, "create", maker->path);
	if (answer == 0)
		answer = put_in_place(maker, fd, maker->new_data, maker->path);
	close(fd);
	if (answer < 0)
		unlink(maker->new_data);
	return answer;
}

/* -1 with errno. */
static int open_and_lock(const char *path, int flags)
{
	int fd = open(path, flags | O_RDONLY | O_CLOEXEC);

	while (fd >= 0 && flock(fd, LOCK_EX) < 0)
		if (errno != EINTR) {
			int cause = errno;

			close(fd);
			errno = cause;
			return -1;
		}
	return fd;
}

/* Whoever writes has the data file locked (store-write.c), and may be at it with a lock file that was
 * deleted: the new one must begin with what he leaves. The folder is locked after it, because who
 * writes one file may have to make the lock file of another. */
static int lock_places(struct maker *maker)
{
	maker->data = open_and_lock(maker->path, O_NONBLOCK | O_NOCTTY);
	if (maker->data < 0 && errno != ENOENT)
		return store_error(maker->error, errno, "lock", maker->path);
	char *copy = strdup(maker->path);
	if (copy)
		maker->folder = open_and_lock(dirname(copy), O_DIRECTORY);
	free(copy);
	return maker->folder < 0 ? store_error(maker->error, errno, "open its folder", maker->path) : 0;
}

/* What was missing may have been made by another process while we waited for the lock. */
static int make_missing(const struct maker *maker, bool create)
{
	struct stat status;

	if (stat(maker->path, &status) == 0)
		return is_missing(maker->lock) ? make_lock(maker, &status) : 0;
	if (errno != ENOENT || !create)
		return store_error(maker->error, errno, "open", maker->path);
	return make_data(maker);
}

static void maker_finish(struct maker *maker)
{
	free(maker->lock);
	free(maker->new_data);
	free(maker->new_lock);
	if (maker->folder >= 0)
		close(maker->folder);
	if (maker->data >= 0)
		close(maker->data);
}

static bool maker_init(struct maker *maker, const char *path, const struct store_kind *kind,
		       struct error *error)
{
	*maker = (struct maker){.path = path, .kind = kind, .data = -1, .folder = -1, .error = error};
	if (asprintf(&maker->lock, "%s-lock", path) < 0)
		maker->lock = NULL;
	if (asprintf(&maker->new_data, "%s.new", path) < 0)
		maker->new_data = NULL;
	if (asprintf(&maker->new_lock, "%s-lock.new", path) < 0)
		maker->new_lock = NULL;
	return maker->lock && maker->new_data && maker->new_lock;
}

int store_make(const char *path, const struct store_kind *kind, bool create, struct error *error)
{
	struct maker maker;
	int answer = 0;

	if (!maker_init(&maker, path, kind, error)) {
		answer = store_error(error, ENOMEM, "open", path);
	} else if (is_missing(path) && !create) {
		answer = store_error(error, ENOENT, "open", path);
	} else if (is_missing(path) || is_missing(maker.lock)) {
		answer = lock_places(&maker);
		if (answer == 0)
			answer = make_missing(&maker, create);
	}
	maker_finish(&maker);
	return answer;
}
