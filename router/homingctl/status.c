/* status: what is loaded, how large it is, and who reads it. */
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "directory-format.h"
#include "output.h"
#include "session.h"
#include "sharing.h"
#include "store.h"

/* LMDB prints its readers as lines of `pid thread txnid`; this takes pid and transaction out. */
static int take_readers(const char *text, void *context)
{
	json_t *readers = context;

	while (*text) {
		char *end;
		long pid = strtol(text, &end, 10);

		if (end != text && pid > 0 && pid != (long)getpid()) {
			char txnid[24] = "";
			json_t *reader = json_object();

			/* the thread is a hexadecimal number; "-" stands for no transaction */
			sscanf(end, "%*s %20s", txnid);
			json_object_set_new(reader, "pid", json_integer(pid));
			json_object_set_new(reader, "transaction",
					    txnid[0] >= '0' && txnid[0] <= '9'
						    ? json_integer(strtoll(txnid, NULL, 10))
						    : json_null());
			json_array_append_new(readers, reader);
		}
		text += strcspn(text, "\n");
		text += *text == '\n';
	}
	return 0;
}

static void add_command_names(json_t *readers)
{
	size_t i;
	json_t *reader;

	json_array_foreach(readers, i, reader) {
		char path[64], name[64] = "";
		snprintf(path, sizeof path, "/proc/%lld/comm",
			 (long long)json_integer_value(json_object_get(reader, "pid")));
		FILE *file = fopen(path, "re");
		if (file && fgets(name, sizeof name, file))
			name[strcspn(name, "\n")] = '\0';
		if (file)
			fclose(file);
		json_object_set_new(reader, "program", json_text(name[0] ? name : NULL));
	}
}

/* The format number in `meta`, -1 if there is none. */
static long long read_format(MDB_env *env)
{
	MDB_txn *txn;
	MDB_dbi meta;
	MDB_val key = {.mv_data = (void *)"format", .mv_size = 6}, value;
	long long format = -1;

	if (mdb_txn_begin(env, NULL, MDB_RDONLY, &txn) != 0)
		return -1;
	if (mdb_dbi_open(txn, "meta", 0, &meta) == 0 && mdb_get(txn, meta, &key, &value) == 0 &&
	    value.mv_size == 4) {
		const unsigned char *bytes = value.mv_data;
		format = bytes[0] | bytes[1] << 8 | bytes[2] << 16 | (long long)bytes[3] << 24;
	}
	mdb_txn_abort(txn);
	return format;
}

static long long read_sequence(struct store *store)
{
	struct store_reader *reader;
	struct error error = {0};
	uint64_t sequence;
	long long answer = -1;

	if (store_reader_create(store, &reader, &error) < 0)
		return -1;
	if (store_begin(reader, &error) == 0 && store_sequence(reader, &sequence, &error) == 0)
		answer = (long long)sequence;
	store_reader_destroy(&reader);
	return answer;
}

static json_t *describe_store(struct store *store)
{
	MDB_env *env = store_env(store);
	MDB_envinfo info;
	MDB_stat page;
	struct stat file = {0};
	json_t *readers = json_array();
	int stale = 0;

	mdb_env_info(env, &info);
	mdb_env_stat(env, &page);
	if (stat(store_path(store), &file) < 0)
		file.st_size = 0;
	mdb_reader_check(env, &stale);
	mdb_reader_list(env, take_readers, readers);
	add_command_names(readers);
	return json_pack("{s:o,s:I,s:I,s:I,s:I,s:I,s:I,s:i,s:o}", "path", json_text(store_path(store)),
			 "size", (json_int_t)file.st_size, "map", (json_int_t)info.me_mapsize, "used",
			 (json_int_t)(info.me_last_pgno + 1) * page.ms_psize, "format",
			 (json_int_t)read_format(env), "sequence", (json_int_t)read_sequence(store),
			 "transaction", (json_int_t)info.me_last_txnid, "stale_readers_cleared", stale,
			 "readers", readers);
}

/* A file that is missing or closed to us is told as such: {"path", "error"}. */
static json_t *describe_file(const struct call *call, const char *name, const char *const *tables,
			     int *code)
{
	struct store *store = NULL;
	struct error error = {0};
	json_t *file;
	char *path;

	if (asprintf(&path, "%s/%s", call->directory, name) < 0)
		return NULL;
	if (store_open(path, tables, &store, &error) == 0) {
		file = describe_store(store);
	} else {
		file = json_pack("{s:o,s:o}", "path", json_text(path), "error", json_text(error.text));
		if (*code == EX_OK || tables == directory_tables)
			*code = fail(&error, EX_NOINPUT);
		else
			fail(&error, EX_NOINPUT);
	}
	store_close(&store);
	free(path);
	return file;
}

/* More are not looked through: ten million, from the disk, take a quarter of a minute. */
enum { MAX_PASSWORDS_WALKED = 200000 };

/* Passwords that no account has, null if there are too many to see. NULL: failed. */
static json_t *count_orphans(struct directory_reader *reader, uint64_t passwords)
{
	struct error ignored = {0};
	uint64_t orphans;

	if (passwords > MAX_PASSWORDS_WALKED)
		return json_null();
	return directory_count_orphans(reader, &orphans, &ignored) == 0
		       ? json_integer((json_int_t)orphans)
		       : NULL;
}

/* They are left out where we may not read them, which the file's own entry tells. */
static void count_passwords(const struct call *call, json_t *counts)
{
	struct directory *directory = NULL;
	struct directory_reader *reader = NULL;
	struct directory_statistics statistics;
	struct error ignored = {0};

	if (directory_open(call->directory, DIRECTORY_CREDENTIALS, &directory, &ignored) == 0 &&
	    directory_reader_create(directory, &reader, &ignored) == 0 &&
	    directory_begin(reader, &ignored) == 0) {
		if (directory_statistics(reader, &statistics, &ignored) == 0) {
			json_object_set_new(counts, "passwords",
					    json_integer((json_int_t)statistics.credentials));
			json_object_set_new(counts, "passwords_without_account",
					    count_orphans(reader, statistics.credentials));
		}
		directory_end(reader);
	}
	directory_reader_destroy(&reader);
	directory_close(&directory);
}

static bool is_missing(const struct call *call, const char *name)
{
	char *path;
	struct stat status;

	if (asprintf(&path, "%s/%s", call->directory, name) < 0)
		return false;
	bool missing = stat(path, &status) < 0 && errno == ENOENT;
	free(path);
	return missing;
}

/* Nothing where there is no such file, or where it cannot be read: describe_file says that. */
static void count_grants(const struct call *call, json_t *object)
{
	struct sharing *sharing = NULL;
	struct sharing_statistics counts;
	struct error ignored = {0};

	if (is_missing(call, SHARING_FILE) || sharing_open(call->directory, &sharing, &ignored) < 0)
		return;
	if (sharing_begin(sharing, &ignored) == 0) {
		if (sharing_statistics(sharing, &counts, &ignored) == 0)
			json_object_set_new(object, "sharing",
					    json_pack("{s:I,s:I,s:I}", "owners",
						      (json_int_t)counts.owners, "mailboxes",
						      (json_int_t)counts.mailboxes, "grants",
						      (json_int_t)counts.grants));
		sharing_end(sharing);
	}
	sharing_close(&sharing);
}

static json_t *describe_counts(const struct call *call)
{
	struct directory_statistics counts;
	struct session session;
	struct error error = {0};
	json_t *object = NULL;

	if (session_open(call, DIRECTORY_NAMES, &session) != 0)
		return NULL;
	const char *domain = directory_main_domain(session.reader, &error);
	if (domain && directory_statistics(session.reader, &counts, &error) == 0)
		object = json_pack("{s:o,s:I,s:I,s:I}", "main_domain",
				   json_text(domain[0] ? domain : NULL), "domains",
				   (json_int_t)counts.domains, "records", (json_int_t)counts.records,
				   "names", (json_int_t)counts.names);
	session_close(&session);
	if (object) {
		count_passwords(call, object);
		count_grants(call, object);
	}
	return object;
}

static long long number(const json_t *object, const char *key)
{
	return (long long)json_integer_value(json_object_get(object, key));
}

static void print_size(const char *title, long long bytes)
{
	if (bytes >= 10ll << 20)
		print("  %-12s %lld MiB\n", title, bytes >> 20);
	else
		print("  %-12s %lld KiB\n", title, bytes >> 10);
}

static void print_file(const json_t *file)
{
	const json_t *readers = json_object_get(file, "readers");
	const char *failure = json_string_value(json_object_get(file, "error"));
	size_t i;
	json_t *reader;

	print("%s\n", json_string_value(json_object_get(file, "path")));
	if (failure) {
		print("  cannot be read\n");
		return;
	}
	print_size("size", number(file, "size"));
	print_size("used", number(file, "used"));
	print_size("map", number(file, "map"));
	print("  %-12s %lld\n", "format", number(file, "format"));
	print("  %-12s %lld\n", "sequence", number(file, "sequence"));
	print("  %-12s %lld\n", "transaction", number(file, "transaction"));
	print("  %-12s %zu\n", "readers", json_array_size(readers));
	json_array_foreach(readers, i, reader) {
		const char *program = json_string_value(json_object_get(reader, "program"));
		print("    pid %lld %s\n", number(reader, "pid"), program ? program : "");
	}
	if (number(file, "stale_readers_cleared") > 0)
		print("  %lld readers that had died were cleared\n", number(file, "stale_readers_cleared"));
}

static void print_counts(const json_t *counts)
{
	const char *domain = json_string_value(json_object_get(counts, "main_domain"));

	print("main domain %s; %lld domains, %lld router records, %lld names\n",
	      domain ? domain : "(none yet)", number(counts, "domains"), number(counts, "records"),
	      number(counts, "names"));
	if (json_object_get(counts, "passwords"))
		print("%lld passwords\n", number(counts, "passwords"));
	const json_t *sharing = json_object_get(counts, "sharing");
	if (sharing)
		print("%lld grants on %lld mailboxes of %lld owners\n", number(sharing, "grants"),
		      number(sharing, "mailboxes"), number(sharing, "owners"));
	if (number(counts, "passwords_without_account") > 0)
		print("%lld passwords belong to no account: homingctl verify names them\n",
		      number(counts, "passwords_without_account"));
}

/* A lock file that somebody deleted: opening for writing makes it again, with its rights. */
static void mend_lock_file(const struct call *call)
{
	struct directory_writer *writer = NULL;
	struct error ignored = {0};

	bool sharing = !is_missing(call, SHARING_FILE) && is_missing(call, SHARING_FILE "-lock");
	if (is_missing(call, DIRECTORY_FILE) ||
	    (!sharing && !is_missing(call, DIRECTORY_FILE "-lock") &&
	     !is_missing(call, CREDENTIALS_FILE "-lock")))
		return;
	if (directory_writer_open(call->directory, false, &writer, &ignored) == 0)
		directory_writer_close(&writer);
}

static int run_status(const struct call *call)
{
	static const char *const meta_alone[] = {"meta", NULL}; /* an older file has no other table */
	json_t *files = json_array();
	int code = EX_OK;

	mend_lock_file(call);
	json_array_append_new(files, describe_file(call, DIRECTORY_FILE, directory_tables, &code));
	json_t *counts = code == EX_OK ? describe_counts(call) : NULL;
	json_array_append_new(files, describe_file(call, CREDENTIALS_FILE, credentials_tables, &code));
	if (!is_missing(call, SHARING_FILE))
		json_array_append_new(files, describe_file(call, SHARING_FILE, meta_alone, &code));
	if (has_option(call, OPTION_JSON)) {
		print_json(json_pack("{s:o,s:o,s:o}", "directory", json_text(call->directory), "files",
				     files, "holds", counts ? counts : json_null()));
		return code;
	}
	size_t i;
	json_t *file;
	json_array_foreach(files, i, file)
		print_file(file);
	if (counts)
		print_counts(counts);
	json_decref(files);
	json_decref(counts);
	return code;
}

const struct command status_command = {
	.name = "status",
	.usage = "[--json]",
	.summary = "Show what is loaded: files, sizes, sequence numbers, readers",
	.help = "Clears the places of readers that died. Makes a lock file that is missing again.\n"
		"Counts the passwords that no account has, where there are not more than 200000 in all;\n"
		"verify names them.\n",
	.run = run_status,
};
