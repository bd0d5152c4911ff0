/* One LMDB file for reading. See store.h for what it promises and directory-format.h for what
 * is in the files.
 *
 * Files on disk are checked before they are mapped: LMDB trusts the numbers in its header, and
 * reading behind the end of a truncated file would end the process with SIGBUS. store-write.c
 * keeps the file as long as its map, so a file that is shorter than its last page was cut. */
#include "store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "disk.h"

struct store_reader {
	struct store *store;
	struct store_reader *next; /* in store->readers */
	MDB_txn *txn;		   /* NULL until the first begin and after a reopening */
	/* Of store_get: a cursor that stays where the last key was finds one nearby without going
	 * down the tree again. Each is made when its table is first asked. */
	MDB_cursor *cursors[STORE_MAX_TABLES];
	unsigned renewed; /* bit N: cursor N belongs to the snapshot at hand */
	bool open;	  /* between begin and end */
	bool grown;	  /* of the snapshot: it has all tables */
	uint64_t snapshot;
	uint64_t whole; /* the snapshot at which the file was last found long enough */
};

struct store {
	char *path, *lock_path;
	const char *const *tables;
	unsigned table_count;
	unsigned since; /* tables from here on may be missing; 0: none may */
	bool grown;	/* they are there */
	uint64_t young; /* while they are not: the version that was looked at */
	/* Held for reading while a snapshot is open, for writing while env changes. */
	pthread_rwlock_t lock;
	pthread_mutex_t readers_lock;
	struct store_reader *readers;
	MDB_env *env; /* NULL after a failed reopening */
	MDB_dbi dbi[STORE_MAX_TABLES];
	struct stat checked; /* of the file, when it was last found whole */
	struct stat locked;  /* of the lock file that env has */
	bool lockless;	     /* it has none: nobody can write to the disk */
	unsigned page_size;
	uint64_t generation; /* grows with each reopening, in the upper bits of versions */
	/* A page that the kernel clears in a child: 1 here, 0 after a fork. Cheaper than getpid. */
	volatile char *same_process;
};

enum { GENERATION_SHIFT = 48 };

/* The start of an LMDB data file (format of LMDB 0.9: lmdb's MDB_page and MDB_meta). */
struct lmdb_head {
	struct {
		uint64_t page_number;
		uint16_t pad, flags;
		uint32_t bounds;
	} page;
	struct {
		uint32_t magic, version;
		uint64_t address, map_size;
		struct {
			uint32_t pad; /* of the first one: the page size */
			uint16_t flags, depth;
			uint64_t branch_pages, leaf_pages, overflow_pages, entries, root;
		} tables[2];
		uint64_t last_page, transaction;
	} meta;
};

int store_error(struct error *error, int rc, const char *doing, const char *path)
{
	switch (rc) {
	case ENOENT:
		return error_set(error, ERROR_MISSING, "%s: %s: no such file: `homingctl apply FILE` makes "
				 "a directory; or choose another --directory", path, doing);
	case ENOTDIR:
		return error_set(error, ERROR_IO, "%s: %s: a file stands where a folder should be: choose "
				 "another --directory", path, doing);
	case EACCES:
	case EPERM:
	case EROFS:
		return error_set(error, ERROR_PERMISSION, "%s: %s: %s", path, doing, strerror(rc));
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return error_set(error, ERROR_FULL, "%s: %s: %s: make room and try again; the old data "
				 "is as it was", path, doing, strerror(rc));
	case MDB_READERS_FULL:
	case MDB_BAD_RSLOT:
	case EAGAIN:
	case EINTR:
		return error_set(error, ERROR_BUSY, "%s: %s: %s", path, doing, mdb_strerror(rc));
	case ENOMEM:
		return error_set(error, ERROR_MEMORY, "%s: %s: the file does not fit the address-space "
				 "limit of this process (Dovecot: raise vsz_limit of the service)",
				 path, doing);
	case MDB_INVALID:
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_PANIC:
	case MDB_VERSION_MISMATCH:
	case MDB_NOTFOUND:
	case MDB_INCOMPATIBLE:
	case MDB_BAD_TXN:
		return error_set(error, ERROR_CORRUPT, "%s: %s: %s: the file is damaged or not one of "
				 "Homing's; restore it or apply again to a new place", path, doing,
				 mdb_strerror(rc));
	default:
		return error_set(error, ERROR_IO, "%s: %s: %s", path, doing, mdb_strerror(rc));
	}
}

static bool head_is_sound(const struct lmdb_head *head, unsigned page_size, off_t size)
{
	return head->meta.magic == 0xBEEFC0DE && head->meta.version == 1 &&
	       head->meta.tables[0].pad == page_size &&
	       head->meta.last_page < (uint64_t)size / page_size &&
	       (head->meta.tables[1].root == UINT64_MAX ||
		head->meta.tables[1].root <= head->meta.last_page) &&
	       (head->meta.tables[0].root == UINT64_MAX ||
		head->meta.tables[0].root <= head->meta.last_page);
}

/* Reads both header pages of an open file and compares them with its size. */
static int check_file(int fd, const char *path, const struct stat *status, unsigned *page_size_r,
		      struct error *error)
{
	struct lmdb_head head[2];

	if (!S_ISREG(status->st_mode))
		return error_set(error, ERROR_CORRUPT, "%s: not a regular file", path);
	if (status->st_size == 0)
		return error_set(error, ERROR_CORRUPT, "%s: the file is empty", path);
	if (pread(fd, &head[0], sizeof head[0], 0) != sizeof head[0])
		return error_set(error, ERROR_CORRUPT, "%s: the file is truncated: not even its header "
				 "is there", path);
	unsigned page_size = head[0].meta.tables[0].pad;
	if (head[0].meta.magic != 0xBEEFC0DE || page_size < 512 || page_size > 65536 ||
	    (page_size & (page_size - 1)) != 0)
		return error_set(error, ERROR_CORRUPT, "%s: not an LMDB file: its header is damaged",
				 path);
	if (pread(fd, &head[1], sizeof head[1], page_size) != sizeof head[1])
		return error_set(error, ERROR_CORRUPT, "%s: the file is truncated: its second header is "
				 "missing", path);
	/* The writer may be replacing the older of the two right now; the newer one counts. */
	const struct lmdb_head *newer =
		&head[head[1].meta.transaction > head[0].meta.transaction ? 1 : 0];
	if (!head_is_sound(newer, page_size, status->st_size))
		return error_set(error, ERROR_CORRUPT, "%s: the file is truncated or its header is damaged "
				 "(%lld bytes)", path, (long long)status->st_size);
	*page_size_r = page_size;
	return 0;
}

static int check_path(const char *path, struct stat *status_r, unsigned *page_size_r,
		      struct error *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

	if (fd < 0)
		return store_error(error, errno, "open", path);
	int answer = fstat(fd, status_r) < 0
			     ? store_error(error, errno, "read status", path)
			     : check_file(fd, path, status_r, page_size_r, error);
	close(fd);
	return answer;
}

/* A reader needs a slot in the lock file. It must not make the file: it would belong to the
 * wrong user, and the writer could not know the reader. On a disk that has become read-only there can be
 * no writer, so no slot is needed, and LMDB takes none. */
static int check_lock_file(struct store *store, struct error *error)
{
	int fd = open(store->lock_path, O_RDWR | O_CLOEXEC | O_NOCTTY);
	int cause = fd < 0 ? errno : 0;

	store->lockless = cause == EROFS && disk_is_read_only(store->path);
	if (fd < 0 && store->lockless)
		return 0;
	if (fd < 0 && cause == ENOENT)
		return error_set(error, ERROR_MISSING, "%s: the lock file is missing: run `homingctl "
				 "status` as root, which makes it again", store->lock_path);
	if (fd < 0)
		return store_error(error, cause, "open for a reader's place (is this process in the "
				   "file's group?)", store->lock_path);
	if (fstat(fd, &store->locked) < 0)
		cause = errno;
	close(fd);
	return cause == 0 ? 0 : store_error(error, cause, "read status", store->lock_path);
}

/* Whoever deleted the lock file and let it be made again parted the readers who have the old one from
 * the writers who have the new one: they would take the pages that are being read. Without any lock
 * file there is nobody new, so the old one does. */
static bool is_lock_replaced(const struct store *store)
{
	struct stat now;

	if (store->lockless) {
		int fd = open(store->lock_path, O_RDWR | O_CLOEXEC | O_NOCTTY);
		if (fd >= 0)
			close(fd);
		return fd >= 0; /* there may be writers again */
	}
	return stat(store->lock_path, &now) == 0 && (now.st_dev != store->locked.st_dev ||
						     now.st_ino != store->locked.st_ino);
}

static int read_meta(MDB_txn *txn, MDB_dbi meta, const char *path, struct error *error)
{
	MDB_val key = {.mv_data = (void *)"format", .mv_size = 6}, value;
	unsigned char number[4];
	int rc = mdb_get(txn, meta, &key, &value);

	if (rc != 0)
		return store_error(error, rc, "read the format version", path);
	if (value.mv_size != sizeof number)
		return error_set(error, ERROR_CORRUPT, "%s: meta \"format\": not a number", path);
	memcpy(number, value.mv_data, sizeof number);
	uint32_t format = number[0] | (uint32_t)number[1] << 8 | (uint32_t)number[2] << 16 |
			  (uint32_t)number[3] << 24;
	if (format > STORE_FORMAT)
		return error_set(error, ERROR_FORMAT, "%s: format %u was written by a newer Homing; this "
				 "one reads up to %d: upgrade it", path, format, STORE_FORMAT);
	if (format == 0)
		return error_set(error, ERROR_CORRUPT, "%s: format 0 does not exist", path);
	if (format < STORE_FORMAT)
		return error_set(error, ERROR_FORMAT, "%s: format %u was written by an older Homing; this "
				 "one reads format %d alone: apply homing.json to a new place (homingctl "
				 "--directory) and import the accounts there", path, format, STORE_FORMAT);
	return 0;
}

/* Is the file as an older Homing left it: none of the tables from store->since on is there? */
static bool is_young(struct store *store, MDB_txn *txn)
{
	MDB_dbi table;

	for (unsigned i = store->since; i < store->table_count; i++)
		if (mdb_dbi_open(txn, store->tables[i], 0, &table) != MDB_NOTFOUND)
			return false;
	return store->since > 0;
}

/* Opens the table handles, and with them looks at the format. */
static int open_tables(struct store *store, struct error *error)
{
	MDB_txn *txn;
	int rc = mdb_txn_begin(store->env, NULL, MDB_RDONLY, &txn);

	if (rc != 0)
		return store_error(error, rc, "begin reading", store->path);
	unsigned count = is_young(store, txn) ? store->since : store->table_count;
	for (unsigned i = 0; rc == 0 && i < count; i++) {
		rc = mdb_dbi_open(txn, store->tables[i], 0, &store->dbi[i]);
		if (rc == 0 && i == STORE_META && read_meta(txn, store->dbi[i], store->path, error) < 0) {
			mdb_txn_abort(txn);
			return -1;
		}
	}
	store->grown = count == store->table_count;
	store->young = mdb_txn_id(txn);
	if (rc == 0)
		rc = mdb_txn_commit(txn); /* keeps the handles */
	else
		mdb_txn_abort(txn);
	return rc == 0 ? 0 : store_error(error, rc, "open its tables", store->path);
}

/* Whoever is killed leaves his place in the lock file taken. Writers give such places back when they
 * open a file; where none comes for long, the last place may be gone. */
static int begin_reading(MDB_env *env, MDB_txn **txn_r)
{
	int dead = 0;
	int rc = mdb_txn_begin(env, NULL, MDB_RDONLY, txn_r);

	if (rc == MDB_READERS_FULL && mdb_reader_check(env, &dead) == 0 && dead > 0)
		rc = mdb_txn_begin(env, NULL, MDB_RDONLY, txn_r);
	return rc;
}

static int open_env_once(const char *path, unsigned flags, MDB_env **env_r)
{
	MDB_env *env;
	MDB_txn *txn;
	int rc = mdb_env_create(&env);

	if (rc != 0)
		return rc;
	rc = mdb_env_set_maxdbs(env, STORE_MAX_TABLES);
	if (rc == 0)
		rc = mdb_env_set_maxreaders(env, STORE_MAX_READERS);
	if (rc == 0)
		rc = mdb_env_open(env, path, flags | MDB_NOSUBDIR | MDB_NORDAHEAD, 0660);
	if (rc == 0)
		rc = begin_reading(env, &txn);
	if (rc == 0)
		mdb_txn_abort(txn);
	else
		mdb_env_close(env);
	if (rc == 0)
		*env_r = env;
	return rc;
}

/* The last process to close a file destroys the mutexes in its lock file (mdb_env_close0, from
 * LMDB 0.9.25 on), and one that opens it at that very moment is left with them: EINVAL. It has to
 * close too; whoever is alone then makes them anew. */
int store_env_open(const char *path, unsigned flags, MDB_env **env_r)
{
	int rc = EINVAL;

	for (unsigned tries = 0; rc == EINVAL && tries < 50; tries++) {
		if (tries > 0)
			usleep(1000 + (unsigned)getpid() * 7919u % 97u * 100u);
		rc = open_env_once(path, flags, env_r);
	}
	return rc;
}

/* Called with the lock held for writing, or before anybody else knows the store. */
static int open_env(struct store *store, struct error *error)
{
	struct stat status;

	if (check_path(store->path, &status, &store->page_size, error) < 0 ||
	    check_lock_file(store, error) < 0)
		return -1;
	int rc = store_env_open(store->path, MDB_RDONLY | MDB_NOTLS, &store->env);
	if (rc != 0)
		return store_error(error, rc, "open", store->path);
	if (open_tables(store, error) < 0) {
		mdb_env_close(store->env);
		store->env = NULL;
		return -1;
	}
	store->checked = status;
	store->generation++;
	if (!*store->same_process) /* which other threads read without the lock */
		*store->same_process = 1;
	return 0;
}

static volatile char *fork_mark_create(void)
{
	void *page = mmap(NULL, (size_t)sysconf(_SC_PAGESIZE), PROT_READ | PROT_WRITE,
			  MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (page == MAP_FAILED)
		return NULL;
	if (madvise(page, (size_t)sysconf(_SC_PAGESIZE), MADV_WIPEONFORK) < 0) {
		munmap(page, (size_t)sysconf(_SC_PAGESIZE));
		return NULL;
	}
	return page;
}

static void store_free(struct store *store)
{
	if (store->env && store->same_process && *store->same_process)
		mdb_env_close(store->env);
	if (store->same_process)
		munmap((void *)store->same_process, (size_t)sysconf(_SC_PAGESIZE));
	pthread_rwlock_destroy(&store->lock);
	pthread_mutex_destroy(&store->readers_lock);
	free(store->path);
	free(store->lock_path);
	free(store);
}

int store_open(const char *file, const char *const *tables, struct store **store_r,
	       struct error *error)
{
	return store_open_grown(file, tables, 0, store_r, error);
}

int store_open_grown(const char *file, const char *const *tables, unsigned since,
		     struct store **store_r, struct error *error)
{
	struct store *store = calloc(1, sizeof *store);

	if (!store)
		return store_error(error, ENOMEM, "open", file);
	pthread_rwlock_init(&store->lock, NULL);
	pthread_mutex_init(&store->readers_lock, NULL);
	store->path = strdup(file);
	if (asprintf(&store->lock_path, "%s-lock", file) < 0)
		store->lock_path = NULL;
	store->tables = tables;
	store->since = since;
	while (tables[store->table_count])
		store->table_count++;
	store->same_process = fork_mark_create();
	if (!store->path || !store->lock_path || !store->same_process || store->table_count > STORE_MAX_TABLES) {
		store_free(store);
		return store_error(error, ENOMEM, "open", file);
	}
	if (open_env(store, error) < 0) {
		store_free(store);
		return -1;
	}
	*store_r = store;
	return 0;
}

void store_close(struct store **store)
{
	if (!*store)
		return;
	store_free(*store);
	*store = NULL;
}

const char *store_path(const struct store *store)
{
	return store->path;
}

MDB_env *store_env(struct store *store)
{
	return store->env;
}

/* In a child of fork() nothing of the parent's may be touched: ending its transactions would free
 * the parent's reader slots, so they are left where they are. A cursor is memory alone. */
static void drop(struct store_reader *reader, bool ours)
{
	for (size_t i = 0; i < STORE_MAX_TABLES; i++) {
		mdb_cursor_close(reader->cursors[i]);
		reader->cursors[i] = NULL;
	}
	if (ours)
		mdb_txn_abort(reader->txn);
	reader->txn = NULL;
}

/* Forgets an environment that cannot be used any more. A child's copy of its parent's costs it
 * address space and two descriptors. */
static void abandon_env(struct store *store)
{
	bool ours = *store->same_process;

	pthread_mutex_lock(&store->readers_lock);
	for (struct store_reader *reader = store->readers; reader; reader = reader->next) {
		drop(reader, ours);
		if (!ours)
			reader->open = false; /* the parent's snapshot; of ours none is open now */
	}
	pthread_mutex_unlock(&store->readers_lock);
	if (store->env && ours)
		mdb_env_close(store->env);
	store->env = NULL;
}

static int reopen(struct store *store, struct error *error)
{
	if (!*store->same_process) {
		/* The parent's threads may have held the locks; here is one thread. */
		pthread_rwlock_init(&store->lock, NULL);
		pthread_mutex_init(&store->readers_lock, NULL);
	}
	pthread_rwlock_wrlock(&store->lock);
	int answer = 0;
	if (!store->env || !*store->same_process) {
		abandon_env(store);
		answer = open_env(store, error);
	}
	pthread_rwlock_unlock(&store->lock);
	return answer;
}

static uint64_t version(const struct store *store, uint64_t transaction)
{
	return store->generation << GENERATION_SHIFT | transaction;
}

uint64_t store_version(struct store *store)
{
	uint64_t answer = UINT64_MAX; /* no snapshot has it: every kept answer is stale */
	MDB_envinfo info;

	if (!*store->same_process)
		return answer;
	pthread_rwlock_rdlock(&store->lock);
	if (store->env) {
		mdb_env_info(store->env, &info);
		answer = version(store, info.me_last_txnid);
	}
	pthread_rwlock_unlock(&store->lock);
	return answer;
}

/* Whatever happens to a file changes its time of status change: written, cut, other permissions. */
static bool is_unchanged(const struct stat *now, const struct stat *then)
{
	return now->st_dev == then->st_dev && now->st_ino == then->st_ino &&
	       now->st_size == then->st_size && now->st_ctim.tv_sec == then->st_ctim.tv_sec &&
	       now->st_ctim.tv_nsec == then->st_ctim.tv_nsec;
}

int store_check(struct store *store, struct error *error)
{
	struct stat status;
	unsigned page_size;

	if (!*store->same_process)
		return reopen(store, error);
	pthread_rwlock_rdlock(&store->lock);
	bool open = store->env != NULL;
	bool unchanged = open && stat(store->path, &status) == 0 &&
			 is_unchanged(&status, &store->checked) && !is_lock_replaced(store);
	pthread_rwlock_unlock(&store->lock);
	if (!open)
		return reopen(store, error);
	if (unchanged)
		return 0;
	bool sound = check_path(store->path, &status, &page_size, error) == 0;
	pthread_rwlock_wrlock(&store->lock);
	bool same = sound && status.st_dev == store->checked.st_dev &&
		    status.st_ino == store->checked.st_ino && !is_lock_replaced(store);
	int answer = 0;
	if (same) {
		store->checked = status;
	} else {
		abandon_env(store);
		answer = sound ? open_env(store, error) : -1;
	}
	pthread_rwlock_unlock(&store->lock);
	return answer;
}

int store_reader_create(struct store *store, struct store_reader **reader_r, struct error *error)
{
	struct store_reader *reader = calloc(1, sizeof *reader);

	if (!reader)
		return store_error(error, ENOMEM, "open", store->path);
	reader->store = store;
	pthread_mutex_lock(&store->readers_lock);
	reader->next = store->readers;
	store->readers = reader;
	pthread_mutex_unlock(&store->readers_lock);
	*reader_r = reader;
	return 0;
}

void store_reader_destroy(struct store_reader **reader_p)
{
	struct store_reader *reader = *reader_p;

	if (!reader)
		return;
	struct store *store = reader->store;
	if (reader->open)
		store_end(reader);
	bool ours = *store->same_process;
	if (ours)
		pthread_rwlock_rdlock(&store->lock); /* keeps the env that the transaction is of */
	pthread_mutex_lock(&store->readers_lock);
	for (struct store_reader **link = &store->readers; *link; link = &(*link)->next)
		if (*link == reader) {
			*link = reader->next;
			break;
		}
	pthread_mutex_unlock(&store->readers_lock);
	drop(reader, ours);
	if (ours)
		pthread_rwlock_unlock(&store->lock);
	free(reader);
	*reader_p = NULL;
}

static int renew(struct store_reader *reader)
{
	if (reader->txn)
		return mdb_txn_renew(reader->txn);
	return begin_reading(reader->store->env, &reader->txn);
}

/* Takes the size that the writer gave the map. Only possible while nobody reads. Where the address
 * space does not allow it there is no map at all then, and not even the header may be looked at. */
static int follow_growth(struct store *store)
{
	pthread_rwlock_wrlock(&store->lock);
	int rc = store->env ? mdb_env_set_mapsize(store->env, 0) : 0;
	if (rc != 0)
		abandon_env(store);
	pthread_rwlock_unlock(&store->lock);
	return rc;
}

/* Looks again whether the tables that were missing are there. Only possible while nobody reads. */
static int look_for_tables(struct store *store, struct error *error)
{
	pthread_rwlock_wrlock(&store->lock);
	int answer = store->env && !store->grown ? open_tables(store, error) : 0;
	pthread_rwlock_unlock(&store->lock);
	return answer;
}

/* Reading a page behind the end of the file would be the end of the process. Each commit is looked
 * at once, without a system call where there was none; store_check is for what else cuts a file. */
static int check_size(struct store_reader *reader, struct error *error)
{
	struct store *store = reader->store;
	MDB_envinfo info;
	struct stat status;
	mdb_filehandle_t fd;

	mdb_env_info(store->env, &info); /* reads the two header pages */
	uint64_t newest = version(store, info.me_last_txnid);
	if (newest == reader->whole)
		return 0;
	mdb_env_get_fd(store->env, &fd);
	if (fstat(fd, &status) < 0)
		return store_error(error, errno, "read status", store->path);
	if ((uint64_t)status.st_size / store->page_size <= info.me_last_pgno)
		return error_set(error, ERROR_CORRUPT, "%s: the file is truncated (%lld bytes)",
				 store->path, (long long)status.st_size);
	reader->whole = newest;
	return 0;
}

int store_begin(struct store_reader *reader, struct error *error)
{
	struct store *store = reader->store;
	int rc = 0;

	for (int tries = 0; tries < 10; tries++) {
		if (!*store->same_process && reopen(store, error) < 0)
			return -1;
		pthread_rwlock_rdlock(&store->lock);
		if (!store->env) {
			pthread_rwlock_unlock(&store->lock);
			if (reopen(store, error) < 0)
				return -1;
			pthread_rwlock_rdlock(&store->lock);
		}
		if (store->env) {
			if (check_size(reader, error) < 0) {
				pthread_rwlock_unlock(&store->lock);
				return -1;
			}
			rc = renew(reader);
			bool known = store->grown ||
				     (rc == 0 && mdb_txn_id(reader->txn) == store->young);
			if (rc == 0 && known) {
				reader->open = true;
				reader->renewed = 0;
				reader->grown = store->grown;
				reader->snapshot = version(store, mdb_txn_id(reader->txn));
				return 0; /* the lock stays until store_end */
			}
			drop(reader, true);
			if (rc == 0) {
				pthread_rwlock_unlock(&store->lock);
				if (look_for_tables(store, error) < 0)
					return -1;
				continue;
			}
		}
		pthread_rwlock_unlock(&store->lock);
		if (rc == MDB_MAP_RESIZED)
			rc = follow_growth(store);
		if (rc != 0)
			return store_error(error, rc, "begin reading", store->path);
	}
	return store_error(error, EAGAIN, "begin reading", store->path);
}

void store_end(struct store_reader *reader)
{
	if (!reader->open)
		return;
	reader->open = false;
	if (!*reader->store->same_process)
		return; /* the slot and the lock are the parent's */
	mdb_txn_reset(reader->txn);
	pthread_rwlock_unlock(&reader->store->lock);
}

bool store_is_grown(const struct store_reader *reader)
{
	return reader->grown;
}

uint64_t store_snapshot(const struct store_reader *reader)
{
	return reader->snapshot;
}

/* The table's own cursor, in the snapshot at hand. */
static int renew_cursor(struct store_reader *reader, unsigned table)
{
	MDB_cursor **cursor = &reader->cursors[table];

	if (reader->renewed & 1u << table)
		return 0;
	int rc = *cursor ? mdb_cursor_renew(reader->txn, *cursor)
			 : mdb_cursor_open(reader->txn, reader->store->dbi[table], cursor);
	if (rc == 0)
		reader->renewed |= 1u << table;
	return rc;
}

int store_get(struct store_reader *reader, unsigned table, const void *key, size_t key_length,
	      MDB_val *value_r, struct error *error)
{
	MDB_val mdb_key = {.mv_data = (void *)key, .mv_size = key_length};
	int rc = renew_cursor(reader, table);

	if (rc == 0)
		rc = mdb_cursor_get(reader->cursors[table], &mdb_key, value_r, MDB_SET);
	if (rc == 0)
		return 1;
	if (rc == MDB_NOTFOUND)
		return 0;
	return store_error(error, rc, "look up", reader->store->path);
}

int store_cursor(struct store_reader *reader, unsigned table, MDB_cursor **cursor_r,
		 struct error *error)
{
	int rc = mdb_cursor_open(reader->txn, reader->store->dbi[table], cursor_r);

	return rc == 0 ? 0 : store_error(error, rc, "look up", reader->store->path);
}

int store_count(struct store_reader *reader, unsigned table, uint64_t *count_r,
		struct error *error)
{
	MDB_stat statistics;
	int rc = mdb_stat(reader->txn, reader->store->dbi[table], &statistics);

	if (rc != 0)
		return store_error(error, rc, "count", reader->store->path);
	*count_r = statistics.ms_entries;
	return 0;
}

int store_sequence(struct store_reader *reader, uint64_t *sequence_r, struct error *error)
{
	MDB_val value;
	int found = store_get(reader, STORE_META, "sequence", 8, &value, error);

	if (found < 0)
		return -1;
	if (found == 0 || value.mv_size != 8)
		return error_set(error, ERROR_CORRUPT, "%s: meta \"sequence\": not a number",
				 reader->store->path);
	const unsigned char *bytes = value.mv_data;
	uint64_t sequence = 0;
	for (unsigned i = 8; i-- > 0;)
		sequence = sequence << 8 | bytes[i];
	*sequence_r = sequence;
	return 0;
}
