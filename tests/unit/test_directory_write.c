/* The write side of the directory: files and their rights, names and what leads to them,
 * passwords, imports, homing.json, and what accidents leave. Readers and writers take turns: a
 * process must not open a file twice. */
#include "directory-write.h"

#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
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

#include "config.h"
#include "directory-format.h"
#include "store-write.h"
#include "store.h"
#include "support.h"

#define STORY \
	"{\"main_domain\":\"a.com\"," \
	"\"account_defaults\":{\"home\":\"/mail/%{domain}/%{local}\",\"uid\":\"vmail\"}," \
	"\"domains\":{\"a.com\":{\"aliases\":[\"mail.a.com\"],\"addresses\":[\"192.0.2.1\"]}," \
	"\"b.com\":{\"subaddress_delimiter\":\"-\"},\"x.org\":{\"accounts\":\"external\"}}}"

static char *folder;

static int setup(void **state)
{
	(void)state;
	folder = support_folder();
	support_apply(folder, STORY);
	return 0;
}

static int setup_empty(void **state)
{
	(void)state;
	folder = support_folder();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	support_folder_remove(&folder);
	return 0;
}

static struct directory_writer *open_writer(void)
{
	struct directory_writer *writer;
	struct error error = {0};

	if (directory_writer_open(folder, false, &writer, &error) < 0)
		fail_msg("%s", error.text);
	return writer;
}

/* One change by a writer of its own; `call` uses `writer` and `error`. */
#define WRITE(code_wanted, call) \
	do { \
		struct directory_writer *writer = open_writer(); \
		struct error error = {0}; \
		int answer_ = (call); \
		directory_writer_close(&writer); \
		if ((int)error.code != (int)(code_wanted) || (answer_ < 0) != (error.code != 0)) \
			fail_msg("%s:%d: code %d: %s", __FILE__, __LINE__, (int)error.code, \
				 error.text); \
	} while (0)

static int add(struct directory_writer *writer, const char *local, const char *domain,
	       const char *credential, struct error *error)
{
	struct account_change account = {.local = local, .domain = domain, .credential = credential};

	return directory_account_add(writer, &account, error);
}

static void expect_success(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	if (status != 0)
		fail_msg("the child ended with status %#x", (unsigned)status);
}

/* Everything in the directory, as one text: `A info@a.com`, `L sales@a.com info@a.com`... */
struct listing {
	struct directory_reader *reader;
	char *text;
	size_t used, size;
};

static void list_text(struct listing *listing, const char *text)
{
	size_t length = strlen(text);

	if (listing->used + length >= listing->size) {
		listing->size = (listing->size + length) * 2 + 64;
		listing->text = realloc(listing->text, listing->size);
	}
	memcpy(listing->text + listing->used, text, length + 1);
	listing->used += length;
}

static int list_target(const char *address, void *context)
{
	list_text(context, " ");
	list_text(context, address);
	return 0;
}

static int list_entry(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	struct listing *listing = context;
	char line[ADDRESS_SIZE + 8];
	struct error error = {0};

	snprintf(line, sizeof line, "%s%c %s@%s", listing->used ? "\n" : "", (char)kind, local, domain);
	list_text(listing, line);
	return directory_each_target(listing->reader, kind, local, domain, list_target, listing, &error);
}

static void expect_entries(const char *wanted)
{
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	struct listing listing = {.reader = open.reader};
	struct error error = {0};

	list_text(&listing, "");
	assert_int_equal(directory_begin(open.reader, &error), 0);
	assert_int_equal(directory_each_entry(open.reader, NULL, 0, list_entry, &listing, &error), 0);
	directory_end(open.reader);
	support_close(&open);
	assert_string_equal(listing.text, wanted);
	free(listing.text);
}

/* "" is none. */
static void expect_credential(const char *local, const char *domain, const char *wanted)
{
	struct support_open open = support_open(folder, DIRECTORY_CREDENTIALS);
	char credential[CREDENTIAL_SIZE] = "";
	struct error error = {0};

	assert_int_equal(directory_begin(open.reader, &error), 0);
	int found = credential_lookup(open.reader, local, domain, credential, &error);
	directory_end(open.reader);
	support_close(&open);
	assert_int_equal(found, wanted[0] ? 1 : 0);
	assert_string_equal(found ? credential : "", wanted);
}

static void expect_home(const char *local, const char *domain, const char *wanted)
{
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	struct account account;
	struct error error = {0};

	assert_int_equal(directory_begin(open.reader, &error), 0);
	assert_int_equal(account_lookup(open.reader, local, domain, &account, &error), 1);
	directory_end(open.reader);
	support_close(&open);
	assert_string_equal(account.home, wanted);
}

static struct directory_statistics statistics(void)
{
	struct support_open open = support_open(folder, DIRECTORY_CREDENTIALS);
	struct directory_statistics counts;
	struct error error = {0};

	assert_int_equal(directory_begin(open.reader, &error), 0);
	assert_int_equal(directory_statistics(open.reader, &counts, &error), 0);
	directory_end(open.reader);
	support_close(&open);
	return counts;
}

/* How many entries a table has, seen without the reading side. */
static size_t count_table(const char *file, const char *table)
{
	char *path = support_path(folder, file);
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_stat counts;

	assert_int_equal(mdb_env_create(&env), 0);
	mdb_env_set_maxdbs(env, 8);
	assert_int_equal(mdb_env_open(env, path, MDB_RDONLY | MDB_NOSUBDIR | MDB_NOLOCK, 0), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
	assert_int_equal(mdb_stat(txn, dbi, &counts), 0);
	mdb_txn_abort(txn);
	mdb_env_close(env);
	free(path);
	return counts.ms_entries;
}

/* Files and their rights */

static unsigned mode_of(const char *name)
{
	char *path = support_path(folder, name);
	struct stat status;

	if (stat(path, &status) < 0)
		fail_msg("%s: %s", path, strerror(errno));
	free(path);
	return status.st_mode & 07777;
}

static const struct {
	const char *name;
	unsigned mode;
} files[] = {
	{".", 0750},
	{"directory.mdb", 0640},
	{"credentials.mdb", 0640},
	{"sharing.mdb", 0660},
	{"directory.mdb-lock", 0660},
	{"credentials.mdb-lock", 0660},
	{"sharing.mdb-lock", 0660},
};

static void new_files_have_their_rights_whatever_the_umask(void **state)
{
	static const mode_t masks[] = {0, 022, 077, 0777};
	char *parent = folder;

	(void)state;
	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
		struct directory_writer *writer;
		struct error error = {0};

		if (masks[i] == 0777 && geteuid() != 0)
			continue; /* with the last one only root can open what it has made */
		folder = support_path(parent, "new");
		mode_t old = umask(masks[i]);
		int answer = directory_writer_open(folder, true, &writer, &error);
		umask(old);
		if (answer < 0)
			fail_msg("umask %o: %s", (unsigned)masks[i], error.text);
		directory_writer_close(&writer);
		for (size_t n = 0; n < sizeof files / sizeof *files; n++)
			assert_int_equal(mode_of(files[n].name), files[n].mode);
		support_folder_remove(&folder);
	}
	folder = parent;
}

static void what_is_missing_is_not_made_unasked(void **state)
{
	struct directory_writer *writer = NULL;
	struct error error = {0};

	(void)state;
	assert_int_equal(directory_writer_open(folder, false, &writer, &error), -1);
	assert_int_equal(error.code, ERROR_MISSING);
	assert_non_null(strstr(error.text, "directory.mdb"));
	assert_null(writer);
	assert_int_equal(rmdir(folder), 0); /* empty */
	error_clear(&error);
	assert_int_equal(directory_writer_open(folder, false, &writer, &error), -1);
	assert_int_equal(error.code, ERROR_MISSING);
	assert_int_equal(access(folder, F_OK), -1);
}

static void rights_of_existing_files_are_left_alone(void **state)
{
	(void)state;
	for (size_t n = 0; n < sizeof files / sizeof *files; n++) {
		char *path = support_path(folder, files[n].name);
		assert_int_equal(chmod(path, n == 0 ? 0700 : 0600), 0);
		free(path);
	}
	support_apply(folder, STORY);
	WRITE(0, add(writer, "info", "a.com", NULL, &error));
	for (size_t n = 0; n < sizeof files / sizeof *files; n++)
		assert_int_equal(mode_of(files[n].name), n == 0 ? 0700 : 0600);
}

static void a_missing_lock_file_is_made_again(void **state)
{
	static const char *const names[] = {"directory.mdb-lock", "credentials.mdb-lock",
					    "sharing.mdb-lock"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char *path = support_path(folder, names[i]);
		assert_int_equal(unlink(path), 0);
		free(path);
	}
	WRITE(0, add(writer, "info", "a.com", NULL, &error));
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(mode_of(names[i]), 0660);
	expect_entries("A info@a.com");
}

static void a_lock_file_has_room_for_all_readers_before_they_come(void **state)
{
	char *path = support_path(folder, "directory.mdb-lock");
	struct stat status;

	(void)state;
	assert_int_equal(stat(path, &status), 0);
	assert_true(status.st_size >= STORE_MAX_READERS * 64);
	assert_true(status.st_blocks * 512 >= STORE_MAX_READERS * 64);
	free(path);
}

static void what_an_interrupted_creation_left_is_in_nobodys_way(void **state)
{
	static const char *const names[] = {"directory.mdb.new", "directory.mdb-lock.new",
					    "directory.mdb-lock"};

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		char *path = support_path(folder, names[i]);
		support_write_file(path, "half", 4);
		free(path);
	}
	support_apply(folder, STORY);
	WRITE(0, add(writer, "info", "a.com", NULL, &error));
	expect_entries("A info@a.com");
	for (size_t i = 0; i < 2; i++) {
		char *path = support_path(folder, names[i]);
		assert_int_equal(access(path, F_OK), -1);
		free(path);
	}
}

static void a_creation_that_is_killed_leaves_nothing_half_made(void **state)
{
	(void)state;
	for (unsigned round = 0; round < 60; round++) {
		struct directory_writer *writer;
		struct error error = {0};
		pid_t child = fork();

		if (child == 0) {
			if (directory_writer_open(folder, true, &writer, &error) < 0)
				support_die("%s", error.text);
			directory_writer_close(&writer);
			_exit(0);
		}
		usleep(round * 100);
		kill(child, SIGKILL);
		waitpid(child, NULL, 0);
		if (directory_writer_open(folder, true, &writer, &error) < 0)
			fail_msg("round %u: %s", round, error.text);
		directory_writer_close(&writer);
		for (size_t n = 1; n < sizeof files / sizeof *files; n++) {
			assert_int_equal(mode_of(files[n].name), files[n].mode);
			char *path = support_path(folder, files[n].name);
			unlink(path);
			free(path);
		}
	}
}

static void put_format_3(const char *path)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val key = {.mv_data = (void *)"format", .mv_size = 6};
	MDB_val value = {.mv_data = (void *)"\3\0\0", .mv_size = 4};

	assert_int_equal(mdb_env_create(&env), 0);
	mdb_env_set_maxdbs(env, 8);
	assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "meta", 0, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static void damaged_foreign_and_newer_files_are_refused(void **state)
{
	static const struct {
		const char *how;
		enum error_code code;
	} cases[] = {
		{"empty", ERROR_CORRUPT},     {"cut", ERROR_CORRUPT},  {"garbage", ERROR_CORRUPT},
		{"other kind", ERROR_CORRUPT}, {"newer", ERROR_FORMAT}, {"folder", ERROR_CORRUPT},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char *path = support_path(folder, "credentials.mdb");
		char *other = support_path(folder, "sharing.mdb");
		struct directory_writer *writer = NULL;
		struct error error = {0};
		char garbage[16384];

		memset(garbage, 'x', sizeof garbage);
		switch (i) {
		case 0:
			support_write_file(path, "", 0);
			break;
		case 1:
			assert_int_equal(truncate(path, 4096), 0);
			break;
		case 2:
			support_write_file(path, garbage, sizeof garbage);
			break;
		case 3:
			assert_int_equal(rename(other, path), 0);
			break;
		case 4:
			put_format_3(path);
			break;
		default:
			unlink(path);
			assert_int_equal(mkdir(path, 0700), 0);
		}
		assert_int_equal(directory_writer_open(folder, true, &writer, &error), -1);
		if (error.code != cases[i].code)
			fail_msg("%s: code %d: %s", cases[i].how, (int)error.code, error.text);
		assert_non_null(strstr(error.text, "credentials.mdb"));
		if (i == 5)
			rmdir(path);
		unlink(path);
		support_apply(folder, STORY); /* makes it again */
		free(path);
		free(other);
	}
}

static void a_file_of_another_kind_with_the_same_tables_is_refused(void **state)
{
	static const char *const tables[] = {"meta", NULL};
	static const struct store_kind kind = {.name = "other", .tables = tables, .mode = 0600};
	char *path = support_path(folder, "sharing.mdb");
	struct store_writer *writer = NULL;
	struct error error = {0};

	(void)state;
	assert_int_equal(store_writer_open(path, &kind, false, &writer, &error), -1);
	assert_int_equal(error.code, ERROR_CORRUPT);
	assert_non_null(strstr(error.text, "\"sharing\""));
	free(path);
}

/* Names */

static void a_name_is_unique_across_the_four_kinds(void **state)
{
	static const char *const target[] = {"info@a.com"};
	static const char kinds[] = {ENTRY_ACCOUNT, ENTRY_ALIAS, ENTRY_FORWARDER, ENTRY_GROUP};

	(void)state;
	WRITE(0, add(writer, "info", "a.com", NULL, &error));
	for (size_t first = 0; first < 4; first++)
		for (size_t second = 0; second < 4; second++) {
			char local[8];
			bool same_group = first == 3 && second == 3; /* adds members */

			snprintf(local, sizeof local, "n%zu%zu", first, second);
			for (size_t i = 0; i < 2; i++) {
				char kind = kinds[i == 0 ? first : second];
				int code = i == 1 && !same_group ? ERROR_EXISTS : 0;

				if (kind == ENTRY_ACCOUNT)
					WRITE(code, add(writer, local, "a.com", NULL, &error));
				else if (kind == ENTRY_ALIAS)
					WRITE(code, directory_alias_add(writer, local, "a.com", target[0],
									&error));
				else if (kind == ENTRY_FORWARDER)
					WRITE(code, directory_forwarder_add(writer, local, "a.com", target, 1,
									    &error));
				else
					WRITE(code, directory_group_add(writer, local, "a.com", target, 1,
									&error));
			}
		}
}

static void accounts_that_cannot_be_are_refused(void **state)
{
	static char long_text[1100], long_home[1100];
	static const char *const no_group[] = {"staff@a.com", NULL};

	memset(long_text, 'x', sizeof long_text - 1);
	long_home[0] = '/';
	memset(long_home + 1, 'h', 1030);
	const struct {
		struct account_change account;
		enum error_code code;
	} cases[] = {
		{{.local = "", .domain = "a.com"}, ERROR_INVALID},
		{{.local = "INFO", .domain = "a.com"}, ERROR_INVALID},
		{{.local = "a/b", .domain = "a.com"}, ERROR_INVALID},
		{{.local = "..", .domain = "a.com"}, ERROR_INVALID},
		{{.local = "a@b", .domain = "a.com"}, ERROR_INVALID},
		{{.local = "\xff", .domain = "a.com"}, ERROR_INVALID},
		{{.local = long_text, .domain = "a.com"}, ERROR_INVALID},
		{{.local = "a", .domain = "A.com"}, ERROR_INVALID},
		{{.local = "a", .domain = ""}, ERROR_INVALID},
		{{.local = "a", .domain = long_text}, ERROR_INVALID},
		{{.local = "a", .domain = "nowhere.net"}, ERROR_MISSING},
		{{.local = "a", .domain = "mail.a.com"}, ERROR_INVALID},
		{{.local = "a", .domain = "x.org"}, ERROR_INVALID},
		{{.local = "a", .domain = "a.com", .home = "srv"}, ERROR_INVALID},
		{{.local = "a", .domain = "a.com", .home = "/a\nb"}, ERROR_INVALID},
		{{.local = "a", .domain = "a.com", .home = long_home}, ERROR_INVALID},
		{{.local = "a", .domain = "a.com", .uid = "a b"}, ERROR_INVALID},
		{{.local = "a", .domain = "a.com", .gid = long_text}, ERROR_INVALID},
		{{.local = "a", .domain = "a.com", .credential = ""}, ERROR_INVALID},
		{{.local = "a", .domain = "a.com", .credential = "plain"}, ERROR_INVALID},
		{{.local = "a", .domain = "a.com", .credential = "{}x"}, ERROR_INVALID},
		{{.local = "a", .domain = "a.com", .credential = "{X}a\nb"}, ERROR_INVALID},
		{{.local = "a", .domain = "a.com", .groups = no_group}, ERROR_MISSING},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		WRITE(cases[i].code, directory_account_add(writer, &cases[i].account, &error));
	expect_entries("");
	assert_int_equal(count_table("credentials.mdb", "credentials"), 0);
}

static void targets_are_stored_in_canonical_form(void **state)
{
	static const struct {
		const char *typed, *stored; /* NULL: refused */
	} cases[] = {
		{"info@a.com", "info@a.com"},
		{"INFO@A.com.", "info@a.com"},
		{"info@mail.a.com", "info@a.com"},
		{"info+x@b.com", "info+x@b.com"},
		{"Some.One@Elsewhere.NET", "Some.One@elsewhere.net"},
		{"\"a b\"@elsewhere.net", "\"a b\"@elsewhere.net"},
		{"x@[192.0.2.7]", "x@[192.0.2.7]"},
		{"a b@elsewhere.net", NULL},
		{"a,b@elsewhere.net", NULL},
		{"a@b@elsewhere.net", NULL},
		{"a b@a.com", NULL},
		{"a/b@a.com", NULL},
		{"bare", NULL},
		{"@a.com", NULL},
		{"@elsewhere.net", NULL},
		{"info@", NULL},
		{"info@a..com", NULL},
		{"in\nfo@a.com", NULL},
		{"", NULL},
		{"self@a.com", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const char *const target[] = {cases[i].typed};
		char wanted[200];

		WRITE(cases[i].stored ? 0 : ERROR_INVALID,
		      directory_forwarder_add(writer, "self", "a.com", target, 1, &error));
		if (!cases[i].stored)
			continue;
		snprintf(wanted, sizeof wanted, "F self@a.com %s", cases[i].stored);
		expect_entries(wanted);
		WRITE(0, directory_name_delete(writer, ENTRY_FORWARDER, "self", "a.com", &error));
		assert_int_equal(count_table("directory.mdb", "references"), 0);
	}
}

static void aliases_that_lead_back_are_refused(void **state)
{
	(void)state;
	WRITE(0, directory_alias_add(writer, "a1", "a.com", "a2@a.com", &error));
	WRITE(0, directory_alias_add(writer, "a2", "a.com", "a3@a.com", &error));
	WRITE(ERROR_INVALID, directory_alias_add(writer, "a3", "a.com", "a1@a.com", &error));
	WRITE(ERROR_INVALID, directory_alias_add(writer, "a3", "a.com", "a3@a.com", &error));
	WRITE(0, directory_alias_add(writer, "a3", "a.com", "b1@b.com", &error));
	expect_entries("L a1@a.com a2@a.com\nL a2@a.com a3@a.com\nL a3@a.com b1@b.com");
}

static void a_group_gains_and_loses_members(void **state)
{
	static const char *const two[] = {"info@a.com", "Else@where.net"};
	static const char *const odd[] = {"info@a.com", "nobody@a.com"};

	(void)state;
	WRITE(0, directory_group_add(writer, "staff", "a.com", NULL, 0, &error));
	uint64_t sequence = statistics().sequence;
	WRITE(0, directory_group_add(writer, "staff", "a.com", NULL, 0, &error));
	assert_int_equal(statistics().sequence, sequence); /* nothing to do: nothing is written */
	WRITE(0, directory_group_add(writer, "staff", "a.com", two, 2, &error));
	expect_entries("G staff@a.com Else@where.net info@a.com");
	WRITE(ERROR_MISSING, directory_group_remove(writer, "staff", "a.com", odd, 2, &error));
	expect_entries("G staff@a.com Else@where.net info@a.com");
	WRITE(0, directory_group_remove(writer, "staff", "a.com", two + 1, 1, &error));
	WRITE(ERROR_MISSING, directory_group_remove(writer, "other", "a.com", two, 1, &error));
	expect_entries("G staff@a.com info@a.com");
	WRITE(ERROR_MISSING, directory_name_delete(writer, ENTRY_ALIAS, "staff", "a.com", &error));
	WRITE(0, directory_name_delete(writer, ENTRY_GROUP, "staff", "a.com", &error));
	assert_int_equal(count_table("directory.mdb", "references"), 0);
	assert_int_equal(count_table("directory.mdb", "members"), 0);
}

/* What leads to info@a.com in every way there is. */
static const char leads[] = "account info@a.com\n"
			    "account info+own@a.com\n"
			    "account other@b.com\n"
			    "alias l1@a.com info@a.com\n"
			    "alias l2@a.com l1@a.com\n"
			    "alias l3@b.com info+lists@a.com\n"
			    "forwarder f1@a.com info@a.com other@b.com info+f@a.com\n"
			    "forwarder f2@a.com info+own@a.com info+own+x@a.com l2@a.com\n"
			    "group g1@a.com info@a.com other@b.com l1@a.com\n";

static void an_account_that_something_leads_to_is_deleted_with_force_alone(void **state)
{
	(void)state;
	support_add_names(folder, leads);
	struct directory_writer *unforced = open_writer();
	struct error refusal = {0};
	assert_int_equal(directory_account_delete(unforced, "info", "a.com", false, &refusal), -1);
	assert_int_equal(refusal.code, ERROR_EXISTS);
	assert_non_null(strstr(refusal.text, "l1@a.com"));
	assert_non_null(strstr(refusal.text, "f1@a.com"));
	directory_writer_close(&unforced);
	WRITE(0, directory_account_delete(writer, "info", "a.com", true, &error));
	expect_entries("F f1@a.com other@b.com\n"
		       "F f2@a.com info+own@a.com info+own+x@a.com\n"
		       "G g1@a.com other@b.com\n"
		       "A info+own@a.com\n"
		       "A other@b.com");
	assert_int_equal(count_table("directory.mdb", "references"), 4);
	WRITE(ERROR_MISSING, directory_account_delete(writer, "info", "a.com", true, &error));
	WRITE(ERROR_MISSING, directory_account_delete(writer, "g1", "a.com", true, &error));
}

static void an_account_leaves_its_groups_when_it_is_deleted(void **state)
{
	(void)state;
	support_add_names(folder, "account info@a.com\ngroup g@a.com info@a.com\n");
	WRITE(0, directory_password_set(writer, "info", "a.com", "{X}1", &error));
	WRITE(0, directory_account_delete(writer, "info", "a.com", false, &error));
	expect_entries("G g@a.com");
	assert_int_equal(count_table("directory.mdb", "references"), 0);
	assert_int_equal(count_table("credentials.mdb", "credentials"), 0);
}

static void a_renamed_account_takes_everything_along(void **state)
{
	(void)state;
	support_add_names(folder, leads);
	WRITE(0, directory_password_set(writer, "info", "a.com", "{X}1", &error));
	WRITE(0, directory_account_rename(writer, "info", "a.com", "office", "b.com", &error));
	/* the delimiter of b.com is another */
	expect_entries("F f1@a.com office@b.com other@b.com office-f@b.com\n"
		       "F f2@a.com info+own@a.com info+own+x@a.com l2@a.com\n"
		       "G g1@a.com l1@a.com office@b.com other@b.com\n"
		       "A info+own@a.com\n"
		       "L l1@a.com office@b.com\n"
		       "L l2@a.com l1@a.com\n"
		       "L l3@b.com office-lists@b.com\n"
		       "A office@b.com\n"
		       "A other@b.com");
	expect_home("office", "b.com", "/mail/a.com/info");
	expect_home("info+own", "a.com", "/mail/a.com/info+own");
	expect_credential("office", "b.com", "{X}1");
	expect_credential("info", "a.com", "");
	WRITE(ERROR_EXISTS, directory_account_rename(writer, "office", "b.com", "l1", "a.com", &error));
	WRITE(ERROR_INVALID, directory_account_rename(writer, "office", "b.com", "o", "x.org", &error));
	WRITE(ERROR_MISSING, directory_account_rename(writer, "info", "a.com", "o", "a.com", &error));
	expect_credential("office", "b.com", "{X}1");
}

/* Passwords */

static void passwords_belong_to_accounts_alone(void **state)
{
	(void)state;
	support_add_names(folder, "account info@a.com\nalias sales@a.com info@a.com\n");
	WRITE(0, directory_password_set(writer, "info", "a.com", "{X}1", &error));
	uint64_t sequence = statistics().sequence;
	WRITE(0, directory_password_set(writer, "info", "a.com", "{X}2", &error));
	expect_credential("info", "a.com", "{X}2");
	assert_int_equal(statistics().sequence, sequence); /* directory.mdb is as it was */
	WRITE(ERROR_INVALID, directory_password_set(writer, "info", "a.com", "bare", &error));
	WRITE(ERROR_INVALID, directory_password_set(writer, "info", "a.com", "{A SCHEME}x", &error));
	WRITE(ERROR_MISSING, directory_password_set(writer, "sales", "a.com", "{X}3", &error));
	WRITE(ERROR_MISSING, directory_password_set(writer, "nobody", "a.com", "{X}3", &error));
	WRITE(0, directory_password_set(writer, "info", "a.com", NULL, &error));
	expect_credential("info", "a.com", "");
	assert_int_equal(count_table("credentials.mdb", "credentials"), 0);
}

static uint64_t orphans(void)
{
	struct support_open open = support_open(folder, DIRECTORY_CREDENTIALS);
	struct error error = {0};
	uint64_t count = 0;

	assert_int_equal(directory_begin(open.reader, &error), 0);
	if (directory_count_orphans(open.reader, &count, &error) < 0)
		fail_msg("%s", error.text);
	directory_end(open.reader);
	support_close(&open);
	return count;
}

/* A value of a name that nobody here would write. */
static void put_value(const char *file, const char *table, const char *local, const char *domain,
		      const char *text, size_t length)
{
	char *path = support_path(folder, file);
	char key_bytes[NAME_KEY_SIZE];
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;
	MDB_val key = {.mv_data = key_bytes, .mv_size = name_key(local, domain, key_bytes)};
	MDB_val value = {.mv_data = (void *)text, .mv_size = length};

	assert_int_equal(mdb_env_create(&env), 0);
	mdb_env_set_maxdbs(env, 8);
	assert_int_equal(mdb_env_open(env, path, MDB_NOSUBDIR, 0), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, table, 0, &dbi), 0);
	assert_int_equal(mdb_put(txn, dbi, &key, &value, 0), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
	free(path);
}

/* As a command does that is killed between its two commits. */
static void leave_password(const char *local, const char *domain)
{
	put_value("credentials.mdb", "credentials", local, domain, "{X}old", 7);
}

static int take_any(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	(void)kind, (void)local, (void)domain, (void)context;
	return 0;
}

/* One of a kind that there is not, and one without any. */
static void a_walk_ends_at_an_entry_that_does_not_parse(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} values[] = {{"Z", 1}, {"", 0}, {"D\0\0+\0", 5}};

	(void)state;
	for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
		put_value("directory.mdb", "names", "odd", "b.com", values[i].bytes,
			  values[i].length);
		struct support_open open = support_open(folder, DIRECTORY_NAMES);
		struct error error = {0};
		assert_int_equal(directory_begin(open.reader, &error), 0);
		for (int kind = 0; kind <= ENTRY_ACCOUNT; kind += ENTRY_ACCOUNT) {
			error_clear(&error);
			assert_int_equal(directory_each_entry(open.reader, NULL, kind, take_any, NULL,
							      &error), -1);
			assert_int_equal(error.code, ERROR_CORRUPT);
			assert_non_null(strstr(error.text, "names \"b.com\\x00odd\": "));
		}
		directory_end(open.reader);
		support_close(&open);
	}
}

struct accounts {
	const struct account_change *items;
	size_t count, next, rewinds;
	size_t kill_at; /* SIGKILL when this one is asked for; 0: never */
	/* with `items` NULL: made up */
	char local[32], credential[300];
	struct account_change made;
};

static int next_account(void *context, struct account_change *account, struct error *error)
{
	struct accounts *accounts = context;

	(void)error;
	if (accounts->next == accounts->count)
		return 0;
	if (accounts->kill_at && accounts->next == accounts->kill_at)
		raise(SIGKILL);
	if (accounts->items) {
		*account = accounts->items[accounts->next++];
		return 1;
	}
	snprintf(accounts->local, sizeof accounts->local, "user%07zu", accounts->next++);
	snprintf(accounts->credential, sizeof accounts->credential, "{X}%0200zu", accounts->next);
	*account = (struct account_change){
		.local = accounts->local, .domain = "b.com", .credential = accounts->credential};
	return 1;
}

static void rewind_accounts(void *context)
{
	struct accounts *accounts = context;

	accounts->next = 0;
	accounts->rewinds++;
}

static int import(struct directory_writer *writer, struct accounts *accounts, bool replace,
		  struct error *error)
{
	struct account_source source = {
		.next = next_account, .rewind = rewind_accounts, .context = accounts, .replace = replace};

	return directory_account_import(writer, &source, error);
}

static void a_password_left_by_an_accident_is_nobodys(void **state)
{
	static const struct account_change two[] = {{.local = "one", .domain = "b.com"},
						    {.local = "two", .domain = "b.com"}};
	struct accounts accounts = {.items = two, .count = 2};

	(void)state;
	leave_password("info", "a.com");
	leave_password("two", "b.com");
	leave_password("third", "b.com");
	assert_int_equal(orphans(), 3);
	WRITE(0, add(writer, "info", "a.com", NULL, &error));
	WRITE(0, import(writer, &accounts, false, &error));
	WRITE(0, directory_account_rename(writer, "info", "a.com", "third", "b.com", &error));
	assert_int_equal(count_table("credentials.mdb", "credentials"), 0);
}

/* In front of libc's: LMDB calls it before each commit counts, and once after. */
static int syncs_left = -1; /* SIGKILL at the call that finds 0; -1: never */

int fdatasync(int fd)
{
	if (syncs_left == 0)
		raise(SIGKILL);
	if (syncs_left > 0)
		syncs_left--;
	return fsync(fd);
}

/* Does the account exist, and with this password (NULL: any)? */
static bool is_open_to(const char *local, const char *password)
{
	struct support_open open = support_open(folder, DIRECTORY_CREDENTIALS);
	struct error error = {0};
	char credential[CREDENTIAL_SIZE];

	assert_int_equal(directory_begin(open.reader, &error), 0);
	bool answer = directory_kind(open.reader, local, "a.com", &error) == ENTRY_ACCOUNT &&
		      credential_lookup(open.reader, local, "a.com", credential, &error) == 1 &&
		      strcmp(credential, password) == 0;
	directory_end(open.reader);
	support_close(&open);
	return answer;
}

enum command { RENAME, DELETE, ADD };

/* Runs the command and kills it at a commit: false if it went through. */
static bool is_killed_at(enum command command, int commit)
{
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct directory_writer *writer;
		struct error error = {0};
		int answer;

		if (directory_writer_open(folder, false, &writer, &error) < 0)
			support_die("%s", error.text);
		syncs_left = commit;
		if (command == RENAME)
			answer = directory_account_rename(writer, "old", "a.com", "new", "a.com", &error);
		else if (command == DELETE)
			answer = directory_account_delete(writer, "old", "a.com", false, &error);
		else
			answer = add(writer, "new", "a.com", "{X}new", &error);
		_exit(answer < 0 ? 1 : 0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) || status == 0);
	return WIFSIGNALED(status);
}

static void make_account_again(const char *local)
{
	struct directory_writer *writer = open_writer();
	struct error ignored = {0};

	(void)!directory_account_delete(writer, local, "a.com", true, &ignored);
	error_clear(&ignored);
	assert_int_equal(add(writer, local, "a.com", NULL, &ignored), 0);
	directory_writer_close(&writer);
	expect_credential(local, "a.com", "");
}

static void a_command_killed_at_any_commit_keeps_passwords_with_their_accounts(void **state)
{
	(void)state;
	for (enum command command = RENAME; command <= ADD; command++) {
		int commit = 0;

		for (bool killed = true; killed; commit++) {
			struct directory_writer *writer = open_writer();
			struct error ignored = {0};

			(void)!directory_account_delete(writer, "old", "a.com", true, &ignored);
			(void)!directory_account_delete(writer, "new", "a.com", true, &ignored);
			error_clear(&ignored);
			assert_int_equal(add(writer, "old", "a.com", "{X}old", &ignored), 0);
			directory_writer_close(&writer);
			killed = is_killed_at(command, commit);
			if (command == RENAME)
				assert_true(is_open_to("old", "{X}old") != is_open_to("new", "{X}old"));
			if (command == ADD)
				assert_true(is_open_to("old", "{X}old"));
			if (!killed)
				assert_int_equal(orphans(), 0);
			/* whoever gets one of the names has not got its password */
			make_account_again("old");
			make_account_again("new");
			assert_int_equal(orphans(), 0);
		}
		assert_true(commit > 2);
	}
}

/* Imports */

static void an_import_takes_any_order_and_adds_to_what_is_there(void **state)
{
	static const char *const staff[] = {"staff@a.com", NULL};
	static const struct account_change first[] = {
		{.local = "m", .domain = "b.com", .credential = "{X}m", .groups = staff},
		{.local = "z", .domain = "b.com", .home = "/z", .uid = "7"},
	};
	static const struct account_change second[] = {
		{.local = "zz", .domain = "b.com", .credential = "{X}zz"},
		{.local = "a", .domain = "b.com", .credential = "{X}a"},
		{.local = "n", .domain = "a.com"},
		{.local = "zzz", .domain = "b.com", .credential = "{X}zzz"},
	};
	struct accounts one = {.items = first, .count = 2}, two = {.items = second, .count = 4};

	(void)state;
	support_add_names(folder, "group staff@a.com\n");
	WRITE(0, import(writer, &one, false, &error));
	WRITE(0, import(writer, &two, false, &error));
	expect_entries("A n@a.com\nG staff@a.com m@b.com\nA a@b.com\nA m@b.com\nA z@b.com\n"
		       "A zz@b.com\nA zzz@b.com");
	expect_credential("m", "b.com", "{X}m");
	expect_credential("a", "b.com", "{X}a");
	expect_credential("zzz", "b.com", "{X}zzz");
	expect_home("z", "b.com", "/z");
}

static void an_import_is_all_or_nothing(void **state)
{
	static const struct account_change taken[] = {
		{.local = "a", .domain = "a.com", .credential = "{X}new"},
		{.local = "info", .domain = "a.com", .credential = "{X}new"},
	};
	static const struct account_change twice[] = {
		{.local = "a", .domain = "a.com"}, {.local = "a", .domain = "a.com"}};
	static const struct account_change bad[] = {
		{.local = "a", .domain = "a.com"}, {.local = "b", .domain = "x.org"}};
	static const struct account_change alias[] = {{.local = "sales", .domain = "a.com"}};
	const struct {
		const struct account_change *items;
		size_t count;
		bool replace;
		enum error_code code;
	} cases[] = {
		{taken, 2, false, ERROR_EXISTS},
		{twice, 2, false, ERROR_EXISTS},
		{bad, 2, true, ERROR_INVALID},
		{alias, 1, true, ERROR_EXISTS},
	};

	(void)state;
	support_add_names(folder, "account info@a.com\nalias sales@a.com info@a.com\n");
	WRITE(0, directory_password_set(writer, "info", "a.com", "{X}old", &error));
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct accounts accounts = {.items = cases[i].items, .count = cases[i].count};

		WRITE(cases[i].code, import(writer, &accounts, cases[i].replace, &error));
		expect_entries("A info@a.com\nL sales@a.com info@a.com");
		expect_credential("info", "a.com", "{X}old");
		assert_int_equal(count_table("credentials.mdb", "credentials"), 1);
	}
}

static void a_replaced_account_has_what_the_import_says_and_no_more(void **state)
{
	static const char *const second[] = {"g2@a.com", NULL};
	static const struct account_change new[] = {
		{.local = "info", .domain = "a.com", .home = "/new", .groups = second}};
	struct accounts accounts = {.items = new, .count = 1}, again = accounts;

	(void)state;
	support_add_names(folder, "account info@a.com\nalias sales@a.com info@a.com\n"
				  "group g1@a.com info@a.com\ngroup g2@a.com\n");
	WRITE(0, directory_password_set(writer, "info", "a.com", "{X}old", &error));
	WRITE(0, import(writer, &accounts, true, &error));
	expect_entries("G g1@a.com\nG g2@a.com info@a.com\nA info@a.com\nL sales@a.com info@a.com");
	expect_credential("info", "a.com", "");
	expect_home("info", "a.com", "/new");
	uint64_t sequence = statistics().sequence;
	WRITE(0, import(writer, &again, true, &error));
	assert_int_equal(statistics().sequence, sequence); /* the same again is no change */
}

static void the_map_grows_by_itself_and_the_import_starts_again(void **state)
{
	struct accounts accounts = {.count = 200000};

	(void)state;
	WRITE(0, import(writer, &accounts, false, &error));
	assert_true(accounts.rewinds >= 2);
	struct directory_statistics counts = statistics();
	assert_int_equal(counts.names, 200000);
	assert_int_equal(counts.credentials, 200000);
	for (size_t i = 0; i < 2; i++) {
		char *path = support_path(folder, i == 0 ? "directory.mdb" : "credentials.mdb");
		struct stat status;

		assert_int_equal(stat(path, &status), 0);
		assert_true(status.st_size >= 16 << 20);
		assert_true(status.st_blocks * 512 <= status.st_size);
		free(path);
	}
}

/* Where the file cannot grow. In a child: a limit stays for the life of the process. */
static void import_without_room(rlim_t limit)
{
	struct rlimit size = {.rlim_cur = limit, .rlim_max = limit};
	struct accounts accounts = {.count = 200000};
	struct directory_writer *writer;
	struct error error = {0};

	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &size);
	if (directory_writer_open(folder, false, &writer, &error) < 0)
		support_die("%s", error.text);
	if (import(writer, &accounts, false, &error) == 0 || error.code != ERROR_FULL)
		support_die("code %d: %s", (int)error.code, error.text);
	error_clear(&error);
	if (add(writer, "after", "a.com", "{X}1", &error) < 0)
		support_die("a small change does not fit: %s", error.text);
	directory_writer_close(&writer);
	_exit(0);
}

static void a_full_disk_is_told_and_the_old_data_stays(void **state)
{
	(void)state;
	support_add_names(folder, "account info@a.com\n");
	pid_t child = fork();
	if (child == 0)
		import_without_room(16 << 20);
	expect_success(child);
	expect_entries("A after@a.com\nA info@a.com");
	expect_credential("after", "a.com", "{X}1");
}

/* homing.json */

struct changes {
	char text[4000];
};

static void note_change(const struct config_change *change, void *context)
{
	struct changes *changes = context;
	size_t used = strlen(changes->text);

	snprintf(changes->text + used, sizeof changes->text - used, "%s%s %s: %s -> %s",
		 used ? "\n" : "", change->what, change->key, change->old_text ? change->old_text : "-",
		 change->new_text ? change->new_text : "-");
}

static void apply_json(const char *json, bool dry_run, struct changes *changes)
{
	char *path = support_path(folder, "homing.json");
	const char *const paths[] = {path};
	struct config *config = NULL;
	struct error error = {0};

	changes->text[0] = '\0';
	support_write_file(path, json, strlen(json));
	if (config_load(paths, 1, &config, NULL, NULL, &error) != 0)
		fail_msg("%s: %s", json, error.text);
	struct directory_writer *writer = open_writer();
	if (directory_apply(writer, config, dry_run, note_change, changes, &error) < 0)
		fail_msg("%s: %s", json, error.text);
	directory_writer_close(&writer);
	config_free(&config);
	free(path);
}

static void an_apply_tells_each_difference(void **state)
{
	static const struct {
		const char *json, *changes;
	} cases[] = {
		{STORY, ""},
		{"{\"main_domain\":\"b.com\",\"domains\":{\"a.com\":{},\"b.com\":{},\"c.com\":{\"aliases\":"
		 "[\"mail.a.com\"],\"unknown\":\"discard\"}},\"router\":[{\"match\":\"old.com\",\"to\":"
		 "\"a.com\"},{\"match\":\"x@*\",\"to\":\"discard:\"}]}",
		 "change main_domain: \"a.com\" -> \"b.com\"\n"
		 "remove account_defaults.home: \"/mail/%{domain}/%{local}\" -> -\n"
		 "remove account_defaults.uid: \"vmail\" -> -\n"
		 "remove domains.\"a.com\".aliases: [\"mail.a.com\"] -> -\n"
		 "remove domains.\"a.com\".addresses: [\"192.0.2.1\"] -> -\n"
		 "remove domains.\"b.com\".subaddress_delimiter: \"-\" -> -\n"
		 "add domains.\"c.com\": - -> {\"aliases\":[\"mail.a.com\"],\"unknown\":\"discard\"}\n"
		 "remove domains.\"x.org\": {\"accounts\":\"external\"} -> -\n"
		 "add router[0]: - -> {\"match\":\"old.com\",\"to\":\"a.com\"}\n"
		 "add router[1]: - -> {\"match\":\"x@*\",\"to\":\"discard:\"}"},
		{"{\"main_domain\":\"b.com\",\"domains\":{\"a.com\":{\"addresses\":[\"192.0.2.0/24\"]},"
		 "\"b.com\":{},\"c.com\":{\"aliases\":[\"mail.c.com\"],\"unknown\":\"discard\"}},\"router\":"
		 "[{\"match\":\"new.com\",\"to\":\"a.com\"},{\"match\":\"old.com\",\"to\":\"a.com\"},"
		 "{\"match\":\"x@*\",\"to\":\"discard:\"}]}",
		 "add domains.\"a.com\".addresses: - -> [\"192.0.2.0/24\"]\n"
		 "change domains.\"c.com\".aliases: [\"mail.a.com\"] -> [\"mail.c.com\"]\n"
		 "add router[0]: - -> {\"match\":\"new.com\",\"to\":\"a.com\"}"},
		{STORY,
		 "change main_domain: \"b.com\" -> \"a.com\"\n"
		 "add account_defaults.home: - -> \"/mail/%{domain}/%{local}\"\n"
		 "add account_defaults.uid: - -> \"vmail\"\n"
		 "change domains.\"a.com\".addresses: [\"192.0.2.0/24\"] -> [\"192.0.2.1\"]\n"
		 "add domains.\"a.com\".aliases: - -> [\"mail.a.com\"]\n"
		 "add domains.\"b.com\".subaddress_delimiter: - -> \"-\"\n"
		 "remove domains.\"c.com\": {\"aliases\":[\"mail.c.com\"],\"unknown\":\"discard\"} -> -\n"
		 "add domains.\"x.org\": - -> {\"accounts\":\"external\"}\n"
		 "remove router[0]: {\"match\":\"new.com\",\"to\":\"a.com\"} -> -\n"
		 "remove router[1]: {\"match\":\"old.com\",\"to\":\"a.com\"} -> -\n"
		 "remove router[2]: {\"match\":\"x@*\",\"to\":\"discard:\"} -> -"},
	};
	struct changes changes;

	(void)state;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		uint64_t before = statistics().sequence;

		apply_json(cases[i].json, true, &changes);
		assert_string_equal(changes.text, cases[i].changes);
		assert_int_equal(statistics().sequence, before); /* a dry run */
		apply_json(cases[i].json, false, &changes);
		assert_string_equal(changes.text, cases[i].changes);
		assert_int_equal(statistics().sequence, before + (cases[i].changes[0] ? 1 : 0));
		apply_json(cases[i].json, false, &changes);
		assert_string_equal(changes.text, "");
	}
	assert_int_equal(count_table("directory.mdb", "hosts"), 1);
	assert_int_equal(count_table("directory.mdb", "networks"), 1);
	assert_int_equal(count_table("directory.mdb", "records"), 0);
}

static void an_apply_leaves_names_and_passwords_alone(void **state)
{
	struct changes changes;

	(void)state;
	support_add_names(folder, leads);
	WRITE(0, directory_password_set(writer, "other", "b.com", "{X}1", &error));
	apply_json("{\"main_domain\":\"a.com\",\"domains\":{\"a.com\":{}}}", false, &changes);
	expect_credential("other", "b.com", "{X}1");
	assert_int_equal(statistics().names, 9);
	/* names out of reach can still be deleted */
	WRITE(0, directory_account_delete(writer, "other", "b.com", true, &error));
	WRITE(0, directory_name_delete(writer, ENTRY_ALIAS, "l3", "b.com", &error));
}

static void a_name_may_move_from_one_domain_to_another(void **state)
{
	static const char *const jsons[] = {
		"{\"main_domain\":\"a.com\",\"domains\":{\"a.com\":{\"aliases\":[\"m.com\"],\"addresses\":"
		"[\"::1\"]},\"z.com\":{\"server_names\":[\"*.s.com\"]}}}",
		"{\"main_domain\":\"a.com\",\"domains\":{\"a.com\":{\"server_names\":[\"*.s.com\"]},"
		"\"z.com\":{\"aliases\":[\"m.com\"],\"addresses\":[\"::1\"]}}}",
	};
	struct changes changes;

	(void)state;
	for (size_t i = 0; i < 4; i++) {
		apply_json(jsons[i % 2], false, &changes);
		assert_int_equal(count_table("directory.mdb", "hosts"), 2);
		assert_int_equal(count_table("directory.mdb", "networks"), 1);
	}
}

static void a_configuration_that_is_not_sound_is_refused(void **state)
{
	static char *m_com[] = {(char *)"m.com"}, *a_com[] = {(char *)"a.com"};
	static struct config_domain domains[][2] = {
		{{.name = (char *)"b.com", .unknown = 'r', .delimiter = '+'},
		 {.name = (char *)"a.com", .unknown = 'r', .delimiter = '+'}},
		{{.name = (char *)"a.com", .unknown = 'r', .delimiter = '+'},
		 {.name = (char *)"A.com", .unknown = 'r', .delimiter = '+'}},
		{{.name = (char *)"a.com", .unknown = 'r', .delimiter = '+', .aliases = {m_com, 1}},
		 {.name = (char *)"b.com", .unknown = 'r', .delimiter = '+', .aliases = {m_com, 1}}},
		{{.name = (char *)"a.com", .unknown = 'r', .delimiter = '+'},
		 {.name = (char *)"b.com", .unknown = 'r', .delimiter = '+', .aliases = {a_com, 1}}},
		{{.name = (char *)"a.com", .unknown = 't', .delimiter = '+'},
		 {.name = (char *)"b.com", .unknown = 'r', .delimiter = '+'}},
		{{.name = (char *)"c.com", .unknown = 'r', .delimiter = '+'},
		 {.name = (char *)"d.com", .unknown = 'r', .delimiter = '+'}},
	};

	(void)state;
	uint64_t before = statistics().sequence;
	for (size_t i = 0; i < sizeof domains / sizeof *domains; i++) {
		struct config config = {.main_domain = (char *)"a.com",
					.home = (char *)"",
					.uid = (char *)"",
					.gid = (char *)"",
					.domains = domains[i],
					.domain_count = 2};
		struct directory_writer *writer = open_writer();
		struct error error = {0};

		assert_int_equal(directory_apply(writer, &config, false, NULL, NULL, &error), -1);
		assert_true(error.code == ERROR_INVALID || error.code == ERROR_EXISTS);
		directory_writer_close(&writer);
	}
	assert_int_equal(statistics().sequence, before);
}

static void differences_are_told_once_however_often_the_map_grows(void **state)
{
	enum { DOMAINS = 150000 };
	struct config_domain *domains = calloc(DOMAINS, sizeof *domains);
	struct config config = {.main_domain = (char *)"d000000.example.with.a.long.name.example",
				.home = (char *)"",
				.uid = (char *)"",
				.gid = (char *)"",
				.domains = domains,
				.domain_count = DOMAINS};
	struct directory_writer *writer = open_writer();
	struct error error = {0};
	char *names = malloc(DOMAINS * 64);

	(void)state;
	for (size_t i = 0; i < DOMAINS; i++) {
		snprintf(names + i * 64, 64, "d%06zu.example.with.a.long.name.example", i);
		domains[i] = (struct config_domain){
			.name = names + i * 64,
			.unknown = 't',
			.delimiter = '+',
			.reroute = (char *)"postmaster-of-a-long-name-for-a-long-value@elsewhere.example"};
	}
	struct changes *changes = calloc(1, sizeof *changes);
	if (directory_apply(writer, &config, false, note_change, changes, &error) < 0)
		fail_msg("%s", error.text);
	directory_writer_close(&writer);
	assert_non_null(strstr(changes->text, "change main_domain"));
	assert_null(strstr(strstr(changes->text, "change main_domain") + 1, "change main_domain"));
	assert_int_equal(statistics().domains, DOMAINS);
	free(changes);
	free(domains);
	free(names);
}

/* What routing reads in front of the names of each domain. */

/* Every domain's rules, and no others, are in `names` too, as in `domains`. Returns how many. */
static size_t expect_rules(void)
{
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	struct error error = {0};
	MDB_cursor *cursor;
	MDB_val key, value, in_domains;
	size_t count = 0;

	assert_int_equal(directory_begin(open.reader, &error), 0);
	struct store_reader *store = directory_store_reader(open.reader);
	assert_int_equal(store_cursor(store, TABLE_NAMES, &cursor, &error), 0);
	while (mdb_cursor_get(cursor, &key, &value, MDB_NEXT) == 0) {
		if (!is_name_domain_key(key.mv_data, key.mv_size))
			continue;
		count++;
		assert_int_equal(store_get(store, TABLE_DOMAINS, key.mv_data, key.mv_size - 1, &in_domains,
					   &error), 1);
		assert_true(value.mv_size >= 5 && value.mv_size - 1 <= in_domains.mv_size);
		assert_int_equal(*(char *)value.mv_data, NAME_DOMAIN);
		assert_memory_equal((char *)value.mv_data + 1, in_domains.mv_data, value.mv_size - 1);
	}
	mdb_cursor_close(cursor);
	directory_end(open.reader);
	support_close(&open);
	assert_int_equal(count, statistics().domains);
	return count;
}

static void the_rules_in_front_of_names_follow_the_domains(void **state)
{
	static const struct account_change rows[] = {
		{.local = "z", .domain = "z.com"},
		{.local = "b", .domain = "a.com"},
		{.local = "a", .domain = "a.com"},
	};
	static const char *const jsons[] = {
		"{\"main_domain\":\"a.com\",\"domains\":{\"a.com\":{},\"m.com\":{\"unknown\":"
		"\"discard\"},\"z.com\":{}}}",
		"{\"main_domain\":\"a.com\",\"domains\":{\"a.com\":{\"subaddress_delimiter\":\"-\","
		"\"unknown\":\"reroute:a@a.com\"},\"z.com\":{}}}",
		"{\"main_domain\":\"a.com\",\"domains\":{\"a.com\":{\"unknown\":\"reroute:b@a.com\"},"
		"\"n.com\":{},\"z.com\":{\"accounts\":\"external\"}}}",
	};
	struct accounts accounts = {.items = rows, .count = 3};
	struct changes changes;

	(void)state;
	assert_int_equal(expect_rules(), 3);
	apply_json(jsons[0], false, &changes);
	assert_int_equal(expect_rules(), 3);
	WRITE(0, import(writer, &accounts, false, &error)); /* writes the table anew */
	assert_int_equal(expect_rules(), 3);
	expect_entries("A a@a.com\nA b@a.com\nA z@z.com");
	WRITE(ERROR_EXISTS, import(writer, &accounts, false, &error));
	apply_json(jsons[1], false, &changes);
	assert_int_equal(expect_rules(), 2);
	apply_json(jsons[2], false, &changes);
	assert_int_equal(expect_rules(), 3);
	expect_entries("A a@a.com\nA b@a.com\nA z@z.com");
	assert_int_equal(statistics().names, 3);
}

/* A domain with many names has its rules read from elsewhere. */
static void expect_story_rules(void)
{
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	struct error error = {0};
	struct domain_rules rules;

	assert_int_equal(directory_begin(open.reader, &error), 0);
	assert_int_equal(domain_lookup(open.reader, "b.com", &rules, &error), 1);
	assert_int_equal(rules.delimiter, '-');
	assert_int_equal(domain_lookup(open.reader, "x.org", &rules, &error), 1);
	assert_int_equal(rules.accounts, ACCOUNTS_EXTERNAL);
	assert_int_equal(domain_lookup(open.reader, "mail.a.com", &rules, &error), 0);
	assert_int_equal(domain_lookup(open.reader, "c.com", &rules, &error), 0);
	directory_end(open.reader);
	support_close(&open);
}

static void the_rules_are_the_same_wherever_they_are_read(void **state)
{
	struct accounts accounts = {.count = 1000};

	(void)state;
	expect_story_rules();
	WRITE(0, import(writer, &accounts, false, &error));
	expect_story_rules();
	assert_int_equal(statistics().names, 1000);
}

static void a_first_import_fills_its_pages_between_the_rules(void **state)
{
	struct accounts accounts = {.count = 100000};
	MDB_stat names;

	(void)state;
	WRITE(0, import(writer, &accounts, false, &error));
	assert_int_equal(expect_rules(), 3);
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	MDB_env *env = store_env(directory_store(open.directory, "directory"));
	MDB_txn *txn;
	MDB_dbi dbi;
	assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, "names", 0, &dbi), 0);
	assert_int_equal(mdb_stat(txn, dbi, &names), 0);
	mdb_txn_abort(txn);
	support_close(&open);
	/* a node takes 32 bytes: half-full pages would be twice as many */
	assert_in_range(names.ms_leaf_pages, 700, 900);
}

static void a_dry_run_needs_no_directory(void **state)
{
	char *path = support_path(folder, "homing.json");
	const char *const paths[] = {path};
	struct config *config = NULL;
	struct error error = {0};
	struct changes changes = {.text = ""};

	(void)state;
	support_write_file(path, STORY, strlen(STORY));
	assert_int_equal(config_load(paths, 1, &config, NULL, NULL, &error), 0);
	assert_int_equal(directory_apply(NULL, config, true, note_change, &changes, &error), 0);
	assert_non_null(strstr(changes.text, "add main_domain: - -> \"a.com\""));
	assert_non_null(strstr(changes.text, "add domains.\"b.com\": - -> {\"subaddress_delimiter\""));
	assert_int_equal(directory_apply(NULL, config, false, NULL, NULL, &error), -1);
	config_free(&config);
	free(path);
}

/* Accidents and company */

static void a_killed_writer_leaves_the_old_data_and_no_lock(void **state)
{
	(void)state;
	support_add_names(folder, "account info@a.com\n");
	uint64_t sequence = statistics().sequence;
	for (size_t at = 1; at < 100000; at *= 7) {
		pid_t child = fork();

		if (child == 0) {
			struct accounts accounts = {.count = 100000, .kill_at = at};
			struct directory_writer *writer;
			struct error error = {0};

			if (directory_writer_open(folder, false, &writer, &error) == 0)
				import(writer, &accounts, false, &error);
			_exit(1);
		}
		int status;
		waitpid(child, &status, 0);
		assert_true(WIFSIGNALED(status));
		expect_entries("A info@a.com");
	}
	WRITE(0, add(writer, "after", "a.com", NULL, &error));
	assert_int_equal(statistics().sequence, sequence + 1);
	expect_entries("A after@a.com\nA info@a.com");
}

static void writers_of_several_processes_take_turns(void **state)
{
	enum { PROCESSES = 4, EACH = 25 };
	pid_t children[PROCESSES];

	(void)state;
	uint64_t sequence = statistics().sequence;
	for (size_t i = 0; i < PROCESSES; i++) {
		children[i] = fork();
		if (children[i] == 0) {
			for (size_t n = 0; n < EACH; n++) {
				struct directory_writer *writer;
				struct error error = {0};
				char local[32];

				snprintf(local, sizeof local, "p%zu-%zu", i, n);
				if (directory_writer_open(folder, false, &writer, &error) < 0 ||
				    add(writer, local, "a.com", "{X}1", &error) < 0)
					support_die("%s", error.text);
				directory_writer_close(&writer);
			}
			_exit(0);
		}
	}
	for (size_t i = 0; i < PROCESSES; i++)
		expect_success(children[i]);
	struct directory_statistics counts = statistics();
	assert_int_equal(counts.names, PROCESSES * EACH);
	assert_int_equal(counts.credentials, PROCESSES * EACH);
	assert_int_equal(counts.sequence, sequence + PROCESSES * EACH);
}

static void readers_and_their_children_follow_a_growing_writer(void **state)
{
	struct support_open open = support_open(folder, DIRECTORY_CREDENTIALS);
	struct error error = {0};
	char credential[CREDENTIAL_SIZE];

	(void)state;
	assert_int_equal(directory_begin(open.reader, &error), 0); /* an old snapshot */
	pid_t child = fork();
	if (child == 0) {
		struct accounts accounts = {.count = 100000};
		struct directory_writer *writer;

		/* the parent's copies are not touched: this process opens the files anew */
		if (directory_writer_open(folder, false, &writer, &error) < 0 ||
		    import(writer, &accounts, false, &error) < 0)
			support_die("%s", error.text);
		directory_writer_close(&writer);
		_exit(0);
	}
	expect_success(child);
	assert_int_equal(directory_kind(open.reader, "user0000001", "b.com", &error), 0);
	assert_int_equal(credential_lookup(open.reader, "user0000001", "b.com", credential, &error), 0);
	directory_end(open.reader);
	child = fork();
	if (child == 0) {
		if (directory_begin(open.reader, &error) < 0 ||
		    credential_lookup(open.reader, "user0099999", "b.com", credential, &error) != 1)
			support_die("in the child: %s", error.text);
		directory_end(open.reader);
		_exit(0);
	}
	expect_success(child);
	if (directory_begin(open.reader, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(credential_lookup(open.reader, "user0099999", "b.com", credential, &error), 1);
	directory_end(open.reader);
	support_close(&open);
}

static void readers_that_died_are_cleared(void **state)
{
	(void)state;
	for (size_t i = 0; i < 3; i++) {
		pid_t child = fork();

		if (child == 0) {
			struct support_open open = support_open(folder, DIRECTORY_NAMES);
			struct error error = {0};

			if (directory_begin(open.reader, &error) == 0)
				raise(SIGKILL);
			_exit(1);
		}
		waitpid(child, NULL, 0);
	}
	struct directory_writer *writer = open_writer();
	directory_writer_close(&writer);
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	int dead = -1;
	assert_int_equal(
		mdb_reader_check(store_env(directory_store(open.directory, "directory")), &dead), 0);
	assert_int_equal(dead, 0);
	support_close(&open);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
#define TEST_EMPTY(name) cmocka_unit_test_setup_teardown(name, setup_empty, teardown)

int main(void)
{
	static const struct CMUnitTest tests[] = {
		TEST_EMPTY(new_files_have_their_rights_whatever_the_umask),
		TEST_EMPTY(what_is_missing_is_not_made_unasked),
		TEST(rights_of_existing_files_are_left_alone),
		TEST(a_missing_lock_file_is_made_again),
		TEST(a_lock_file_has_room_for_all_readers_before_they_come),
		TEST_EMPTY(what_an_interrupted_creation_left_is_in_nobodys_way),
		TEST_EMPTY(a_creation_that_is_killed_leaves_nothing_half_made),
		TEST(damaged_foreign_and_newer_files_are_refused),
		TEST(a_file_of_another_kind_with_the_same_tables_is_refused),
		TEST(a_name_is_unique_across_the_four_kinds),
		TEST(accounts_that_cannot_be_are_refused),
		TEST(targets_are_stored_in_canonical_form),
		TEST(aliases_that_lead_back_are_refused),
		TEST(a_group_gains_and_loses_members),
		TEST(an_account_that_something_leads_to_is_deleted_with_force_alone),
		TEST(an_account_leaves_its_groups_when_it_is_deleted),
		TEST(a_renamed_account_takes_everything_along),
		TEST(passwords_belong_to_accounts_alone),
		TEST(a_password_left_by_an_accident_is_nobodys),
		TEST(a_command_killed_at_any_commit_keeps_passwords_with_their_accounts),
		TEST(an_import_takes_any_order_and_adds_to_what_is_there),
		TEST(an_import_is_all_or_nothing),
		TEST(a_replaced_account_has_what_the_import_says_and_no_more),
		TEST(the_map_grows_by_itself_and_the_import_starts_again),
		TEST(a_full_disk_is_told_and_the_old_data_stays),
		TEST(an_apply_tells_each_difference),
		TEST(an_apply_leaves_names_and_passwords_alone),
		TEST(a_name_may_move_from_one_domain_to_another),
		TEST(a_configuration_that_is_not_sound_is_refused),
		TEST(differences_are_told_once_however_often_the_map_grows),
		TEST(the_rules_in_front_of_names_follow_the_domains),
		TEST(the_rules_are_the_same_wherever_they_are_read),
		TEST(a_first_import_fills_its_pages_between_the_rules),
		TEST_EMPTY(a_dry_run_needs_no_directory),
		TEST(a_killed_writer_leaves_the_old_data_and_no_lock),
		TEST(writers_of_several_processes_take_turns),
		TEST(readers_and_their_children_follow_a_growing_writer),
		TEST(a_walk_ends_at_an_entry_that_does_not_parse),
		TEST(readers_that_died_are_cleared),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
