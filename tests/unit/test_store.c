/* One LMDB file for reading: files that are missing, cut, foreign, replaced or grown; forks,
 * threads, killed writers. Writers are always in a child: a process must not open a file twice. */
#include "store.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "store-write.h"
#include "support.h"

enum { TABLE_NUMBERS = 1, KEYS = 64 };
static const char *const tables[] = {"meta", "numbers", NULL};
static const char *const other_tables[] = {"meta", "letters", NULL};
static const struct store_kind kind = {.name = "directory", .tables = tables, .mode = 0640};
static const struct store_kind other_kind = {
	.name = "credentials", .tables = other_tables, .mode = 0640};

/* In front of libc's: how often a snapshot costs a system call. */
static _Atomic unsigned fstat_calls;

int fstat(int fd, struct stat *status)
{
	fstat_calls++;
	return fstatat(fd, "", status, AT_EMPTY_PATH);
}

/* A folder with a file in it. */
struct place {
	char *folder, *file, *lock;
};

static int place_setup(void **state)
{
	struct place *place = calloc(1, sizeof *place);

	place->folder = support_folder();
	place->file = support_path(place->folder, "directory.mdb");
	place->lock = support_path(place->folder, "directory.mdb-lock");
	*state = place;
	return 0;
}

static int place_teardown(void **state)
{
	struct place *place = *state;

	free(place->file);
	free(place->lock);
	support_folder_remove(&place->folder);
	free(place);
	return 0;
}

/* Waits for a child that must end with 0. */
static void expect_success(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	if (status != 0)
		fail_msg("the child ended with status %#x", (unsigned)status);
}

struct change {
	uint32_t number;
	size_t keys, size; /* how many keys get the number, and how long their values are */
};

static int put_numbers(MDB_txn *txn, const MDB_dbi *dbi, void *context, struct error *error)
{
	const struct change *change = context;
	unsigned char *bytes = calloc(1, change->size);

	for (uint32_t n = 0; n < change->keys; n++) {
		unsigned char key_bytes[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16),
					      (unsigned char)(n >> 8), (unsigned char)n};
		MDB_val key = {.mv_data = key_bytes, .mv_size = 4};
		MDB_val value = {.mv_data = bytes, .mv_size = change->size};

		memcpy(bytes, &change->number, sizeof change->number);
		int rc = mdb_put(txn, dbi[TABLE_NUMBERS], &key, &value, 0);
		if (rc != 0) {
			free(bytes);
			return store_writer_failed(error, txn, rc, "put");
		}
	}
	free(bytes);
	return 0;
}

/* Runs the changes in a child, one transaction each. */
static void write_numbers(const char *file, uint32_t first, uint32_t last, size_t keys, size_t size)
{
	pid_t child = fork();

	if (child == 0) {
		struct store_writer *writer;
		struct error error = {0};

		if (store_writer_open(file, &kind, true, &writer, &error) < 0)
			support_die("%s", error.text);
		for (uint32_t number = first; number <= last; number++) {
			struct change change = {.number = number, .keys = keys, .size = size};

			if (store_write(writer, put_numbers, &change, &error) < 0)
				support_die("%s", error.text);
		}
		store_writer_close(&writer);
		_exit(0);
	}
	expect_success(child);
}

static struct store *open_store(const char *file)
{
	struct store *store;
	struct error error = {0};

	if (store_open(file, tables, &store, &error) < 0)
		fail_msg("%s", error.text);
	return store;
}

static struct store_reader *create_reader(struct store *store)
{
	struct store_reader *reader;
	struct error error = {0};

	if (store_reader_create(store, &reader, &error) < 0)
		fail_msg("%s", error.text);
	return reader;
}

/* The number under a key within a snapshot; -1 none, -2 failed. */
static long number_in(struct store_reader *reader, uint32_t n, struct error *error)
{
	unsigned char key[4] = {(unsigned char)(n >> 24), (unsigned char)(n >> 16),
				(unsigned char)(n >> 8), (unsigned char)n};
	MDB_val value;
	uint32_t number;
	int found = store_get(reader, TABLE_NUMBERS, key, sizeof key, &value, error);

	if (found <= 0)
		return found - 1;
	memcpy(&number, value.mv_data, sizeof number);
	return number;
}

/* The number under the first key in a snapshot of its own; -1 none, -2 failed. */
static long number_now(struct store_reader *reader, struct error *error)
{
	if (store_begin(reader, error) < 0)
		return -2;
	long number = number_in(reader, 0, error);
	store_end(reader);
	return number;
}

static void expect_number(struct store_reader *reader, long expected)
{
	struct error error = {0};
	long number = number_now(reader, &error);

	if (number == -2)
		fail_msg("%s", error.text);
	assert_int_equal(number, expected);
}

static void expect_refused(const char *file, enum error_code code)
{
	struct store *store = NULL;
	struct error error = {0};

	assert_int_equal(store_open(file, tables, &store, &error), -1);
	if (error.code != code)
		fail_msg("code %d, expected %d: %s", error.code, code, error.text);
	assert_non_null(strstr(error.text, file));
}

static void a_missing_file_or_lock_file_is_told(void **state)
{
	struct place *place = *state;

	expect_refused(place->file, ERROR_MISSING);
	assert_int_equal(access(place->lock, F_OK), -1); /* nothing was made */
	write_numbers(place->file, 1, 1, 1, 4);
	unlink(place->lock);
	expect_refused(place->file, ERROR_MISSING);
	assert_int_equal(access(place->lock, F_OK), -1);
	write_numbers(place->file, 2, 2, 1, 4); /* a writer makes the lock file again */
	struct store *store = open_store(place->file);
	store_close(&store);
	assert_null(store);
	store_close(&store);
}

static void an_unreadable_file_or_lock_file_is_told(void **state)
{
	struct place *place = *state;
	const char *const paths[] = {place->file, place->lock};

	if (geteuid() != 0)
		skip();
	write_numbers(place->file, 1, 1, 1, 4);
	assert_int_equal(chmod(place->folder, 0755), 0);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(chmod(place->file, 0666), 0);
		assert_int_equal(chmod(place->lock, 0666), 0);
		assert_int_equal(chmod(paths[i], 0600), 0);
		pid_t child = fork();
		if (child == 0) {
			struct store *store;
			struct error error = {0};

			if (setgid(65534) < 0 || setuid(65534) < 0)
				_exit(2);
			if (store_open(place->file, tables, &store, &error) == 0)
				_exit(3);
			_exit(error.code != ERROR_PERMISSION || !strstr(error.text, paths[i]) ? 4 : 0);
		}
		expect_success(child);
	}
}

static void what_is_no_regular_file_is_refused_without_waiting(void **state)
{
	struct place *place = *state;
	char *link = support_path(place->folder, "link.mdb");

	assert_int_equal(mkfifo(place->file, 0600), 0);
	expect_refused(place->file, ERROR_CORRUPT);
	assert_int_equal(symlink("/dev/zero", link), 0);
	expect_refused(link, ERROR_CORRUPT);
	unlink(link);
	assert_int_equal(symlink(place->folder, link), 0);
	expect_refused(link, ERROR_CORRUPT);
	free(link);
}

static void what_is_no_lmdb_file_is_refused(void **state)
{
	struct place *place = *state;
	enum { SIZE = 65536 };
	char *bytes = calloc(1, SIZE);
	uint64_t seed = 3;

	write_numbers(place->file, 1, 1, 1, 4);
	support_write_file(place->file, bytes, 0);
	expect_refused(place->file, ERROR_CORRUPT);
	support_write_file(place->file, bytes, SIZE);
	expect_refused(place->file, ERROR_CORRUPT);
	for (int n = 0; n < 300; n++) {
		for (size_t i = 0; i < SIZE; i += 8) {
			uint64_t random = support_random(&seed);

			memcpy(bytes + i, &random, 8);
		}
		if (n % 3) /* LMDB's magic number and version, where it has them */
			memcpy(bytes + 16, "\xde\xc0\xef\xbe\x01\0\0\0", 8);
		if (n % 3 == 2)
			memcpy(bytes + 4096 + 16, "\xde\xc0\xef\xbe\x01\0\0\0", 8);
		support_write_file(place->file, bytes, SIZE);
		expect_refused(place->file, ERROR_CORRUPT);
	}
	free(bytes);
}

/* Opens the file if that is possible, and reads all of it. */
static bool reads_whole(const char *file, uint32_t keys, long expected)
{
	struct store *store = NULL;
	struct error error = {0};

	if (store_open(file, tables, &store, &error) < 0) {
		assert_int_equal(error.code, ERROR_CORRUPT);
		return false;
	}
	struct store_reader *reader = create_reader(store);
	assert_int_equal(store_begin(reader, &error), 0);
	for (uint32_t n = 0; n < keys; n++)
		assert_int_equal(number_in(reader, n, &error), expected);
	store_end(reader);
	store_reader_destroy(&reader);
	store_close(&store);
	return true;
}

static void a_truncated_file_is_refused_at_any_length(void **state)
{
	struct place *place = *state;
	size_t length, refused = 0, whole = 0;

	write_numbers(place->file, 1, 3, 2000, 64);
	char *bytes = support_read_file(place->file, &length);
	for (size_t cut = 0; cut < length; cut += cut < 16384 ? 509 : length / 199) {
		support_write_file(place->file, bytes, cut);
		if (reads_whole(place->file, 2000, 3))
			whole++; /* only holes behind the last page are missing */
		else
			refused++;
	}
	support_write_file(place->file, bytes, length);
	assert_true(reads_whole(place->file, 2000, 3));
	assert_true(refused > 30);
	print_message("refused %zu, whole %zu of %zu bytes\n", refused, whole, length);
	free(bytes);
}

static void a_file_cut_while_it_is_open_is_a_failure_and_not_the_end(void **state)
{
	struct place *place = *state;
	size_t length;
	struct error error = {0};

	write_numbers(place->file, 7, 7, 2000, 64);
	char *bytes = support_read_file(place->file, &length);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store);
	expect_number(reader, 7);
	for (off_t cut = 20000; cut >= 0; cut -= 4000) {
		assert_int_equal(truncate(place->file, cut), 0);
		error_clear(&error);
		assert_int_equal(store_check(store, &error), -1);
		assert_int_equal(error.code, ERROR_CORRUPT);
		error_clear(&error);
		assert_int_equal(number_now(reader, &error), -2);
		assert_int_equal(error.code, ERROR_CORRUPT);
	}
	support_write_file(place->file, bytes, length);
	error_clear(&error);
	assert_int_equal(store_check(store, &error), 0);
	expect_number(reader, 7);
	store_reader_destroy(&reader);
	store_close(&store);
	free(bytes);
}

static void a_file_that_is_shorter_than_a_commit_says_is_a_failure(void **state)
{
	struct place *place = *state;
	struct error error = {0};

	write_numbers(place->file, 7, 7, 2000, 64);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store);
	expect_number(reader, 7);
	write_numbers(place->file, 8, 8, 2000, 64);
	assert_int_equal(truncate(place->file, 20000), 0);
	assert_int_equal(number_now(reader, &error), -2); /* nobody asked store_check */
	assert_int_equal(error.code, ERROR_CORRUPT);
	assert_non_null(strstr(error.text, "truncated"));
	store_reader_destroy(&reader);
	store_close(&store);
}

static void a_snapshot_costs_no_system_call_unless_something_was_committed(void **state)
{
	struct place *place = *state;

	write_numbers(place->file, 1, 1, KEYS, 4);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store);
	for (uint32_t number = 1; number < 4; number++) {
		expect_number(reader, number);
		unsigned before = fstat_calls;
		for (int n = 0; n < 100; n++)
			expect_number(reader, number);
		assert_int_equal(fstat_calls, before);
		write_numbers(place->file, number + 1, number + 1, KEYS, 4); /* in a child */
		expect_number(reader, number + 1);
		assert_int_equal(fstat_calls, before + 1);
	}
	store_reader_destroy(&reader);
	store_close(&store);
}

static int put_format(MDB_txn *txn, const MDB_dbi *dbi, void *context, struct error *error)
{
	MDB_val key = {.mv_data = (void *)"format", .mv_size = 6}, *value = context;
	int rc = value ? mdb_put(txn, dbi[STORE_META], &key, value, 0)
		       : mdb_del(txn, dbi[STORE_META], &key, NULL);

	return rc == 0 ? 0 : store_writer_failed(error, txn, rc, "put");
}

static void write_format(const char *file, const char *bytes, size_t length)
{
	pid_t child = fork();

	if (child == 0) {
		MDB_val value = {.mv_data = (void *)bytes, .mv_size = length};
		struct store_writer *writer;
		struct error error = {0};

		if (store_writer_open(file, &kind, true, &writer, &error) < 0 ||
		    store_write(writer, put_format, bytes ? &value : NULL, &error) < 0)
			support_die("%s", error.text);
		_exit(0);
	}
	expect_success(child);
}

static void another_format_is_refused(void **state)
{
	static const struct {
		const char *bytes; /* NULL: none */
		size_t length;
		enum error_code code;
	} rows[] = {
		{"\1\0\0\0", 4, ERROR_FORMAT}, {"\3\0\0\0", 4, ERROR_FORMAT}, {"\377\377\377\377", 4, ERROR_FORMAT},
		{"\0\0\0\0", 4, ERROR_CORRUPT}, {"\2", 1, ERROR_CORRUPT}, {"", 0, ERROR_CORRUPT},
		{"\2\0\0\0\0", 5, ERROR_CORRUPT}, {NULL, 0, ERROR_CORRUPT},
	};
	struct place *place = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		write_numbers(place->file, 1, 1, 1, 4);
		write_format(place->file, rows[i].bytes, rows[i].length);
		expect_refused(place->file, rows[i].code);
		unlink(place->file);
		unlink(place->lock);
	}
}

static void a_file_of_another_kind_is_refused(void **state)
{
	struct place *place = *state;
	pid_t child = fork();

	if (child == 0) {
		struct store_writer *writer;
		struct error error = {0};

		if (store_writer_open(place->file, &other_kind, true, &writer, &error) < 0)
			support_die("%s", error.text);
		_exit(0);
	}
	expect_success(child);
	expect_refused(place->file, ERROR_CORRUPT);
}

static void a_replaced_file_is_opened_at_the_next_check(void **state)
{
	struct place *place = *state;
	char *new = support_path(place->folder, "new.mdb");
	struct error error = {0};

	write_numbers(place->file, 1, 1, 1, 4);
	write_numbers(new, 1, 2, 1, 4);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store);
	expect_number(reader, 1);
	uint64_t version = store_version(store);
	assert_int_equal(store_check(store, &error), 0);
	assert_true(store_version(store) == version);
	assert_int_equal(rename(new, place->file), 0);
	expect_number(reader, 1); /* still the old one, whole */
	assert_int_equal(store_check(store, &error), 0);
	assert_true(store_version(store) != version);
	expect_number(reader, 2);
	unlink(place->file);
	assert_int_equal(store_check(store, &error), -1);
	assert_int_equal(error.code, ERROR_MISSING);
	error_clear(&error);
	assert_int_equal(number_now(reader, &error), -2);
	write_numbers(place->file, 5, 5, 1, 4);
	expect_number(reader, 5); /* begin tries again by itself */
	store_reader_destroy(&reader);
	store_close(&store);
	free(new);
}

static void a_lock_file_that_is_made_again_is_taken_at_the_next_check(void **state)
{
	struct place *place = *state;
	struct error error = {0};

	write_numbers(place->file, 1, 1, 1, 4);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store);
	expect_number(reader, 1);
	uint64_t version = store_version(store);
	unlink(place->lock);
	assert_int_equal(store_check(store, &error), 0); /* who has it goes on with it */
	assert_true(store_version(store) == version);
	expect_number(reader, 1);
	write_numbers(place->file, 2, 2, 1, 4);
	assert_int_equal(store_check(store, &error), 0);
	assert_true(store_version(store) != version);
	expect_number(reader, 2);
	write_numbers(place->file, 3, 3, 1, 4);
	expect_number(reader, 3);
	store_reader_destroy(&reader);
	store_close(&store);
}

/* A change that waits in its middle until it may go on. */
struct slow_change {
	struct change change;
	int begun, go_on; /* pipes */
};

static void tell(int fd)
{
	assert_int_equal(write(fd, "x", 1), 1);
}

static void wait_for(int fd)
{
	char byte;

	assert_int_equal(read(fd, &byte, 1), 1);
}

static int put_slowly(MDB_txn *txn, const MDB_dbi *dbi, void *context, struct error *error)
{
	struct slow_change *slow = context;

	tell(slow->begun);
	wait_for(slow->go_on);
	return put_numbers(txn, dbi, &slow->change, error);
}

static uint64_t sequence_of(const char *file)
{
	struct store *store = open_store(file);
	struct store_reader *reader = create_reader(store);
	struct error error = {0};
	uint64_t sequence = 0;

	assert_int_equal(store_begin(reader, &error), 0);
	assert_int_equal(store_sequence(reader, &sequence, &error), 0);
	store_end(reader);
	store_reader_destroy(&reader);
	store_close(&store);
	return sequence;
}

/* Two writers that have two lock files would each write over what the other has written. */
static void a_lock_file_deleted_under_a_writer_parts_it_from_no_other(void **state)
{
	struct place *place = *state;
	int begun[2], go_on[2];

	assert_int_equal(pipe(begun) | pipe(go_on), 0);
	write_numbers(place->file, 1, 1, 1, 4);
	uint64_t sequence = sequence_of(place->file);
	pid_t slow = fork();
	if (slow == 0) {
		struct slow_change change = {{2, 1, 4}, begun[1], go_on[0]};
		struct store_writer *writer;
		struct error error = {0};

		if (store_writer_open(place->file, &kind, false, &writer, &error) < 0 ||
		    store_write(writer, put_slowly, &change, &error) < 0)
			support_die("%s", error.text);
		tell(change.begun);
		wait_for(change.go_on);
		/* A second one, with the lock file that is no more. */
		if (store_write(writer, put_numbers, &(struct change){4, 1, 4}, &error) < 0)
			support_die("%s", error.text);
		store_writer_close(&writer);
		_exit(0);
	}
	wait_for(begun[0]);
	unlink(place->lock);
	pid_t other = fork();
	if (other == 0) {
		write_numbers(place->file, 3, 3, 1, 4);
		_exit(0);
	}
	usleep(200000);
	assert_int_equal(waitpid(other, NULL, WNOHANG), 0); /* it waits for its turn */
	tell(go_on[1]);
	wait_for(begun[0]);
	expect_success(other);
	assert_int_equal(sequence_of(place->file), sequence + 2);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store);
	expect_number(reader, 3);
	tell(go_on[1]);
	expect_success(slow);
	expect_number(reader, 4);
	store_reader_destroy(&reader);
	store_close(&store);
	assert_int_equal(sequence_of(place->file), sequence + 3);
	for (size_t i = 0; i < 2; i++) {
		close(begun[i]);
		close(go_on[i]);
	}
}

static void the_version_changes_with_every_change(void **state)
{
	struct place *place = *state;
	uint64_t sequence, before;
	struct error error = {0};

	write_numbers(place->file, 1, 1, 1, 4);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store);
	for (uint32_t number = 2; number < 10; number++) {
		assert_int_equal(store_begin(reader, &error), 0);
		assert_true(store_snapshot(reader) == store_version(store));
		assert_int_equal(store_sequence(reader, &before, &error), 0);
		write_numbers(place->file, number, number, 1, 4);
		assert_true(store_snapshot(reader) != store_version(store));
		assert_int_equal(number_in(reader, 0, &error), number - 1); /* one state */
		store_end(reader);
		assert_int_equal(store_begin(reader, &error), 0);
		assert_int_equal(store_sequence(reader, &sequence, &error), 0);
		assert_int_equal(sequence, before + 1);
		store_end(reader);
	}
	assert_true(store_version(store) != 0);
	store_reader_destroy(&reader);
	store_close(&store);
}

static void growth_is_seen_by_readers_that_were_there_before(void **state)
{
	struct place *place = *state;
	struct error error = {0};
	struct stat before, after;

	write_numbers(place->file, 1, 1, 1, 4);
	struct store *store = open_store(place->file);
	struct store_reader *one = create_reader(store), *two = create_reader(store);
	expect_number(one, 1);
	assert_int_equal(stat(place->file, &before), 0);
	write_numbers(place->file, 2, 2, 20000, 1000);
	assert_int_equal(stat(place->file, &after), 0);
	assert_true(after.st_size > before.st_size);
	expect_number(one, 2);
	assert_int_equal(store_begin(two, &error), 0);
	for (uint32_t n = 0; n < 20000; n++)
		assert_int_equal(number_in(two, n, &error), 2);
	store_end(two);
	store_reader_destroy(&one);
	store_reader_destroy(&two);
	store_close(&store);
}

static int get_die(MDB_txn *txn, const MDB_dbi *dbi, void *context, struct error *error)
{
	put_numbers(txn, dbi, context, error);
	raise(SIGKILL);
	return 0;
}

/* Sets the soft limit of address space, as it may be for Dovecot's processes. */
static void limit_memory(rlim_t bytes)
{
	struct rlimit limit;

	getrlimit(RLIMIT_AS, &limit);
	limit.rlim_cur = bytes;
	assert_int_equal(setrlimit(RLIMIT_AS, &limit), 0);
}

static void growth_that_does_not_fit_the_memory_is_a_failure_and_not_the_end(void **state)
{
	struct place *place = *state;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	skip(); /* takes what it needs, or ends */
#endif
	write_numbers(place->file, 1, 1, 1, 4);
	pid_t child = fork();
	if (child == 0) {
		struct store *store = open_store(place->file);
		struct store_reader *reader = create_reader(store);
		struct error error = {0};

		expect_number(reader, 1);
		write_numbers(place->file, 2, 2, 20000, 3000);
		limit_memory(1 << 20); /* less than it has: no map fits */
		for (int tries = 0; tries < 3; tries++) {
			error_clear(&error);
			if (store_begin(reader, &error) == 0 || error.code != ERROR_MEMORY)
				_exit(2);
			(void)store_version(store);
			if (store_check(store, &error) == 0)
				_exit(3);
		}
		limit_memory(RLIM_INFINITY);
		_exit(number_now(reader, &error) == 2 ? 0 : 4);
	}
	expect_success(child);
}

static void take_all_places_and_die(const char *file)
{
	struct store *store = open_store(file);
	struct error error = {0};
	int begun = 0;

	while (store_begin(create_reader(store), &error) == 0)
		begun++;
	if (error.code != ERROR_BUSY || begun < STORE_MAX_READERS - 8)
		support_die("%d readers: %s", begun, error.text);
	raise(SIGKILL);
}

static void places_of_readers_who_died_are_taken_back(void **state)
{
	struct place *place = *state;

	write_numbers(place->file, 1, 1, 1, 4);
	struct store *before = open_store(place->file);
	struct store_reader *reader = create_reader(before);
	for (int round = 0; round < 2; round++) {
		int status;
		pid_t child = fork();
		if (child == 0) {
			store_close(&before);
			take_all_places_and_die(place->file);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		if (round == 0) {
			expect_number(reader, 1); /* who had the file open, and had no place */
			continue;
		}
		child = fork();
		if (child == 0) { /* who opens it */
			struct error error = {0};
			struct store *store = open_store(place->file);
			struct store_reader *other = create_reader(store);
			_exit(number_now(other, &error) == 1 ? 0 : 1);
		}
		expect_success(child);
	}
	store_reader_destroy(&reader);
	store_close(&before);
}

static void a_killed_writer_leaves_the_old_data(void **state)
{
	struct place *place = *state;

	write_numbers(place->file, 1, 1, KEYS, 100);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store);
	for (int n = 0; n < 5; n++) {
		pid_t child = fork();
		int status;

		if (child == 0) {
			struct change change = {.number = 9, .keys = 5000, .size = 1000};
			struct store_writer *writer;
			struct error error = {0};

			if (store_writer_open(place->file, &kind, false, &writer, &error) == 0 &&
			    store_write(writer, get_die, &change, &error) < 0)
				support_die("%s", error.text);
			_exit(1);
		}
		assert_int_equal(waitpid(child, &status, 0), child);
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		expect_number(reader, 1 + n);
		write_numbers(place->file, 2 + (uint32_t)n, 2 + (uint32_t)n, KEYS, 100);
		expect_number(reader, 2 + n);
	}
	store_reader_destroy(&reader);
	store_close(&store);
}

static void a_reader_works_in_a_child_and_in_its_parent(void **state)
{
	struct place *place = *state;
	struct error error = {0};

	write_numbers(place->file, 1, 1, KEYS, 4);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store);
	expect_number(reader, 1);
	for (uint32_t round = 2; round < 6; round++) {
		uint64_t version = store_version(store);
		int ready[2], go[2];
		char byte;

		assert_int_equal(pipe(ready) + pipe(go), 0);
		pid_t child = fork();
		if (child == 0) {
			if (store_version(store) == version) /* an answer kept from before is stale */
				_exit(2);
			if (number_now(reader, &error) != round - 1)
				_exit(3);
			if (write(ready[1], "", 1) != 1 || read(go[0], &byte, 1) != 1)
				_exit(4);
			if (number_now(reader, &error) != round || store_check(store, &error) < 0)
				_exit(5);
			store_reader_destroy(&reader);
			store_close(&store);
			_exit(0);
		}
		close(ready[1]); /* now a child that ends is the end of what can be read */
		assert_int_equal(read(ready[0], &byte, 1), 1);
		expect_number(reader, round - 1);
		write_numbers(place->file, round, round, KEYS, 4);
		assert_int_equal(write(go[1], "", 1), 1);
		expect_success(child);
		expect_number(reader, round);
		close(ready[0]);
		close(go[0]);
		close(go[1]);
	}
	store_reader_destroy(&reader);
	store_close(&store);
}

/* The parent's snapshot must stay its own: a writer may not use its pages again. */
static void a_child_that_ends_leaves_the_parents_snapshot_alone(void **state)
{
	struct place *place = *state;
	struct error error = {0};

	write_numbers(place->file, 1, 1, KEYS, 200);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store), *other = create_reader(store);
	assert_int_equal(store_begin(reader, &error), 0);
	pid_t child = fork();
	if (child == 0) {
		if (number_now(other, &error) != 1)
			_exit(3);
		store_reader_destroy(&other);
		_exit(0);
	}
	expect_success(child);
	for (uint32_t number = 2; number < 12; number++)
		write_numbers(place->file, number, number, KEYS, 200);
	for (uint32_t n = 0; n < KEYS; n++)
		assert_int_equal(number_in(reader, n, &error), 1);
	store_end(reader);
	store_reader_destroy(&reader);
	store_reader_destroy(&other);
	store_close(&store);
}

/* What a child may do with a snapshot that its parent has open. */
static void end_inherited(struct store *store, struct store_reader *reader,
			  struct store_reader *other, int how)
{
	struct error error = {0};

	if (how == 1 && number_now(other, &error) < 0) /* opens the file for this process */
		support_die("%s", error.text);
	if (how == 2)
		store_reader_destroy(&reader);
	else
		store_end(reader);
	/* and goes on as if nothing had been */
	if (number_now(other, &error) < 0 || store_check(store, &error) < 0 ||
	    (how < 2 && number_now(reader, &error) < 0))
		support_die("%s", error.text);
	store_reader_destroy(&reader);
	store_reader_destroy(&other);
	store_close(&store);
	_exit(0);
}

static void a_snapshot_that_a_child_ends_stays_the_parents(void **state)
{
	struct place *place = *state;
	struct error error = {0};

	write_numbers(place->file, 1, 1, KEYS, 200);
	struct store *store = open_store(place->file);
	struct store_reader *reader = create_reader(store), *other = create_reader(store);
	for (int how = 0; how < 3; how++) {
		assert_int_equal(store_begin(reader, &error), 0);
		long number = number_in(reader, 0, &error);
		pid_t child = fork();
		if (child == 0)
			end_inherited(store, reader, other, how);
		expect_success(child);
		for (uint32_t n = 1; n <= 10; n++)
			write_numbers(place->file, (uint32_t)number + n, (uint32_t)number + n, KEYS, 200);
		for (uint32_t n = 0; n < KEYS; n++)
			assert_int_equal(number_in(reader, n, &error), number);
		store_end(reader);
		expect_number(reader, number + 10);
	}
	store_reader_destroy(&reader);
	store_reader_destroy(&other);
	store_close(&store);
}

struct watcher {
	pthread_t thread;
	struct store *store;
	const int *stop;
	unsigned long snapshots, torn, backwards, failed;
	long last;
};

static void *watch(void *context)
{
	struct watcher *watcher = context;
	struct store_reader *reader;
	struct error error = {0};

	if (store_reader_create(watcher->store, &reader, &error) < 0)
		support_die("%s", error.text);
	while (!__atomic_load_n(watcher->stop, __ATOMIC_RELAXED)) {
		if (store_begin(reader, &error) < 0) {
			watcher->failed++;
			error_clear(&error);
			continue;
		}
		long first = number_in(reader, 0, &error);
		for (uint32_t n = 1; n < KEYS; n++)
			watcher->torn += number_in(reader, n, &error) != first;
		store_end(reader);
		/* Who is interrupted while LMDB begins a snapshot may get the state whose commit is on its
		 * way, under the number of the one before the last, and then the last one. */
		watcher->backwards += first < watcher->last - 1;
		watcher->last = first;
		watcher->snapshots++;
		if (watcher->snapshots % 500 == 0 && store_check(watcher->store, &error) < 0)
			watcher->failed++;
	}
	store_reader_destroy(&reader);
	return NULL;
}

static void threads_see_whole_snapshots_while_a_writer_writes(void **state)
{
	struct place *place = *state;
	struct watcher watchers[2] = {0};
	int stop = 0;

	write_numbers(place->file, 1, 1, KEYS, 100);
	struct store *store = open_store(place->file);
	for (size_t i = 0; i < 2; i++) {
		watchers[i].store = store;
		watchers[i].stop = &stop;
		assert_int_equal(pthread_create(&watchers[i].thread, NULL, watch, &watchers[i]), 0);
	}
	write_numbers(place->file, 2, 200, KEYS, 100);
	write_numbers(place->file, 201, 210, 5000, 1000); /* the map grows meanwhile */
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (size_t i = 0; i < 2; i++) {
		pthread_join(watchers[i].thread, NULL);
		assert_int_equal(watchers[i].torn, 0);
		assert_int_equal(watchers[i].backwards, 0);
		assert_int_equal(watchers[i].failed, 0);
		assert_true(watchers[i].snapshots > 10);
	}
	store_close(&store);
}

/* Another file comes in place of the one that is open, or none is there for a moment, while threads read
 * it, look at it and come and go. What it finds is for a build with ThreadSanitizer to say. */
static void *follow(void *context)
{
	struct watcher *watcher = context;
	struct store_reader *reader;
	struct error error = {0};

	while (!__atomic_load_n(watcher->stop, __ATOMIC_RELAXED)) {
		if (store_reader_create(watcher->store, &reader, &error) < 0)
			support_die("%s", error.text);
		for (unsigned i = 0; i < 5; i++) {
			error_clear(&error);
			(void)store_version(watcher->store);
			if (store_check(watcher->store, &error) < 0 ||
			    store_begin(reader, &error) < 0) {
				watcher->failed++;
				continue;
			}
			long number = number_in(reader, 0, &error);
			watcher->torn += number_in(reader, 1, &error) != number;
			watcher->snapshots++;
			watcher->last = number;
			store_end(reader);
		}
		store_reader_destroy(&reader);
	}
	return NULL;
}

static void threads_follow_a_file_that_is_replaced(void **state)
{
	struct place *place = *state;
	char *new = support_path(place->folder, "new.mdb");
	char *new_lock = support_path(place->folder, "new.mdb-lock");
	struct watcher watchers[3] = {0};
	struct error error = {0};
	int stop = 0;

	write_numbers(place->file, 1, 1, 2, 4);
	struct store *store = open_store(place->file);
	for (size_t i = 0; i < 3; i++) {
		watchers[i].store = store;
		watchers[i].stop = &stop;
		assert_int_equal(pthread_create(&watchers[i].thread, NULL, follow, &watchers[i]), 0);
	}
	for (uint32_t number = 2; number <= 30; number++) {
		write_numbers(new, number, number, 2, 4);
		if (number % 5 == 0)
			unlink(place->file);
		usleep(2000);
		assert_int_equal(rename(new, place->file), 0);
		unlink(new_lock);
	}
	usleep(20000);
	__atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
	for (size_t i = 0; i < 3; i++) {
		pthread_join(watchers[i].thread, NULL);
		assert_int_equal(watchers[i].torn, 0);
		assert_true(watchers[i].snapshots > 10);
	}
	struct store_reader *reader = create_reader(store);
	assert_int_equal(store_check(store, &error), 0);
	expect_number(reader, 30);
	store_reader_destroy(&reader);
	store_close(&store);
	free(new);
	free(new_lock);
}

/* Pages that opening and one lookup touch: they do not depend on the clock. */
static long pages_touched(const char *file)
{
	struct rusage before, after;

	getrusage(RUSAGE_SELF, &before);
	struct store *store = open_store(file);
	struct store_reader *reader = create_reader(store);
	expect_number(reader, 1);
	getrusage(RUSAGE_SELF, &after);
	store_reader_destroy(&reader);
	store_close(&store);
	return after.ru_minflt + after.ru_majflt - before.ru_minflt - before.ru_majflt;
}

static void opening_costs_the_same_for_any_size(void **state)
{
	struct place *place = *state;
	char *large = support_path(place->folder, "large.mdb");

	write_numbers(place->file, 1, 1, 10, 4);
	write_numbers(large, 1, 1, 100000, 500);
	pages_touched(place->file); /* what a first time costs */
	long small_pages = pages_touched(place->file), large_pages = pages_touched(large);
	print_message("pages: %ld for 10 keys, %ld for 100000\n", small_pages, large_pages);
	assert_true(large_pages <= small_pages + 64);
	free(large);
}

#define test(function) cmocka_unit_test_setup_teardown(function, place_setup, place_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_missing_file_or_lock_file_is_told),
		test(an_unreadable_file_or_lock_file_is_told),
		test(what_is_no_regular_file_is_refused_without_waiting),
		test(what_is_no_lmdb_file_is_refused),
		test(a_truncated_file_is_refused_at_any_length),
		test(a_file_cut_while_it_is_open_is_a_failure_and_not_the_end),
		test(a_file_that_is_shorter_than_a_commit_says_is_a_failure),
		test(a_snapshot_costs_no_system_call_unless_something_was_committed),
		test(another_format_is_refused),
		test(a_file_of_another_kind_is_refused),
		test(a_replaced_file_is_opened_at_the_next_check),
		test(a_lock_file_that_is_made_again_is_taken_at_the_next_check),
		test(a_lock_file_deleted_under_a_writer_parts_it_from_no_other),
		test(the_version_changes_with_every_change),
		test(growth_is_seen_by_readers_that_were_there_before),
		test(growth_that_does_not_fit_the_memory_is_a_failure_and_not_the_end),
		test(places_of_readers_who_died_are_taken_back),
		test(a_killed_writer_leaves_the_old_data),
		test(a_reader_works_in_a_child_and_in_its_parent),
		test(a_child_that_ends_leaves_the_parents_snapshot_alone),
		test(a_snapshot_that_a_child_ends_stays_the_parents),
		test(threads_see_whole_snapshots_while_a_writer_writes),
		test(threads_follow_a_file_that_is_replaced),
		test(opening_costs_the_same_for_any_size),
	};

	return cmocka_run_group_tests_name("store", tests, NULL, NULL);
}
