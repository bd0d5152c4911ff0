/* Whatever fails once, memory, the disk or a call of the system, fails the one call that needed it: it says
 * so, the directory is as it was, nothing is lost in memory, and the next call works.
 *
 * Each call here is made again and again. In the first round the first thing that it does to memory, to
 * LMDB or to a file fails, in the second round the second, until a round comes to its end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>

#include "config.h"
#include "directory-write.h"
#include "scarce.h"
#include "sharing-write.h"
#include "sharing.h"
#include "support.h"

/* How many calls still succeed before one fails; negative: all do. */
static long left = -1;

static bool fails(void)
{
	return left >= 0 && left-- == 0;
}

static int no(int reason)
{
	errno = reason;
	return -1;
}

WRAP(int, vasprintf, (char **text, const char *format, va_list list), (text, format, list), -1)
WRAP(int, fsync, (int fd), (fd), no(EIO))
WRAP(int, fstat, (int fd, struct stat *status), (fd, status), no(EIO))
WRAP(ssize_t, read, (int fd, void *bytes, size_t size), (fd, bytes, size), no(EIO))
WRAP(int, mdb_txn_begin, (MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn),
     (env, parent, flags, txn), ENOMEM)
WRAP(int, mdb_get, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value),
     (txn, dbi, key, value), EIO)
WRAP(int, mdb_put, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value, unsigned flags),
     (txn, dbi, key, value, flags), ENOSPC)
WRAP(int, mdb_del, (MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value),
     (txn, dbi, key, value), ENOSPC)
WRAP(int, mdb_drop, (MDB_txn *txn, MDB_dbi dbi, int delete), (txn, dbi, delete), ENOSPC)
WRAP(int, mdb_stat, (MDB_txn *txn, MDB_dbi dbi, MDB_stat *status), (txn, dbi, status), EIO)
WRAP(int, mdb_cursor_open, (MDB_txn *txn, MDB_dbi dbi, MDB_cursor **cursor), (txn, dbi, cursor),
     ENOMEM)
WRAP(int, mdb_cursor_get, (MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op),
     (cursor, key, value, op), EIO)
WRAP(int, mdb_cursor_put, (MDB_cursor *cursor, MDB_val *key, MDB_val *value, unsigned flags),
     (cursor, key, value, flags), ENOSPC)

int __wrap_asprintf(char **text, const char *format, ...) HOMING_PRINTF(2, 3);
int __wrap_asprintf(char **text, const char *format, ...)
{
	va_list list;

	va_start(list, format);
	int length = __wrap_vasprintf(text, format, list);
	va_end(list);
	return length;
}

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn)
{
	if (!fails())
		return __real_mdb_txn_commit(txn);
	mdb_txn_abort(txn);
	return ENOSPC;
}

static const char first_json[] =
	"{\"main_domain\": \"a.example\","
	" \"account_defaults\": {\"home\": \"/var/vmail/%{domain}/%{local}\", \"uid\": \"vmail\"},"
	" \"domains\": {\"a.example\": {\"addresses\": [\"192.0.2.1\"], \"aliases\": [\"mail.a.example\"]},"
	"  \"b.example\": {\"server_names\": [\"*.b.example\"], \"unknown\": \"reroute:u0@a.example\"},"
	"  \"x.example\": {\"accounts\": \"external\"}},"
	" \"router\": [{\"match\": \"*-admin@*\", \"to\": \"u0@a.example\"},"
	"  {\"match\": \"trap@*\", \"to\": \"discard:\"},"
	"  {\"match\": \"*.c.example\", \"to\": \"a.example\"}]}";
static const char second_json[] =
	"{\"main_domain\": \"b.example\", \"domains\": {"
	"  \"a.example\": {\"addresses\": [\"192.0.2.0/24\", \"2001:db8::1\"], \"administrators\": [\"u0\"]},"
	"  \"b.example\": {\"subaddress_delimiter\": \"-\", \"unknown\": \"discard\"},"
	"  \"d.example\": {\"accounts\": \"dovecot\"}},"
	" \"router\": [{\"match\": \"closed@a.example\", \"to\": \"error:5.1.6 gone\"}]}";
static const char names[] =
	"account u0@a.example\naccount u1@a.example\naccount u2@b.example\n"
	"alias l0@a.example u0@a.example\nforwarder f0@a.example u2@b.example out@remote.example\n"
	"group g0@a.example u0@a.example u2@b.example\ngroup g1@b.example g0@a.example\n";
static const char hash[] = "{ARGON2ID}$argon2id$v=19$m=8,t=1,p=1$AAAAAAAAAAAAAAAAAAAAAA$"
			   "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

static const struct sharing_actor administrator = {.me = NULL};

static int give(struct sharing_writer *writer, const char *mailbox, const char *who, enum grantee_kind kind,
		struct error *error)
{
	struct grant_change change = {.who = {.kind = kind}, .mode = GRANT_REPLACE, .rights = 3};

	snprintf(change.who.name, sizeof change.who.name, "%s", who);
	return sharing_change(writer, &administrator, "u1@a.example", mailbox, &change, error);
}

static int setup(void **state)
{
	struct sharing_writer *writer;
	struct error error = {0};

	support_setup(state, first_json, names);
	if (sharing_writer_open(*state, &writer, &error) < 0 ||
	    give(writer, "Box", "g0@a.example", GRANTEE_GROUP, &error) < 0 ||
	    give(writer, "Box\x1f" "Below", "u2@b.example", GRANTEE_USER, &error) < 0 ||
	    give(writer, "Box\x1f" "Below", "nobody@b.example", GRANTEE_USER, &error) < 0 ||
	    give(writer, "", "b.example", GRANTEE_DOMAIN, &error) < 0)
		support_die("%s", error.text);
	sharing_writer_close(&writer);
	return 0;
}

/* What somebody who reads finds, as text. */

struct text {
	char bytes[8192];
	size_t used;
};

struct found {
	struct text directory, others; /* directory.mdb, and the files beside it */
	struct directory_reader *reader;
	struct error *error;
};

static void note(struct text *text, const char *format, ...) HOMING_PRINTF(2, 3);
static void note(struct text *text, const char *format, ...)
{
	size_t room = sizeof text->bytes - text->used;
	va_list list;

	va_start(list, format);
	int length = vsnprintf(text->bytes + text->used, room, format, list);
	va_end(list);
	assert_true(length >= 0 && (size_t)length < room);
	text->used += (size_t)length;
}

static int see_address(const char *address, void *context)
{
	struct found *found = context;

	note(&found->directory, " %s", address);
	return 0;
}

static int see_entry(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	struct found *found = context;
	struct account account;
	char credential[CREDENTIAL_SIZE] = "";
	int answer = 0;

	note(&found->directory, "\n%c %s@%s", kind, local, domain);
	if (kind != ENTRY_ACCOUNT)
		return directory_each_target(found->reader, kind, local, domain, see_address, found,
					     found->error);
	answer = account_lookup(found->reader, local, domain, &account, found->error);
	if (answer > 0)
		note(&found->directory, " %s %s %s", account.home, account.uid, account.gid);
	if (answer >= 0)
		answer = credential_lookup(found->reader, local, domain, credential, found->error);
	note(&found->others, "\n%s %.10s", local, credential);
	return answer < 0 ? -1
			  : account_groups(found->reader, local, domain, see_address, found,
					   found->error);
}

static int see_domain(const char *domain, void *context)
{
	struct found *found = context;
	struct domain_rules rules;

	note(&found->directory, "\ndomain %s", domain);
	return domain_lookup(found->reader, domain, &rules, found->error) < 0 ? -1 : 0;
}

static int see_route(struct found *found, enum name_kind kind, const char *name)
{
	struct route_question question = {.kind = kind, .name = name, .name_length = strlen(name)};
	struct route_answer answer;
	struct route_trace trace = {0};
	int result = route(found->reader, &question, &answer, &trace, found->error);

	if (result == 0) {
		note(&found->directory, "\n%s: %d %s %zu", name, answer.result, answer.address, answer.target_count);
		if (trace.failed)
			result = error_set(found->error, ERROR_MEMORY, "the trace has no memory");
	}
	route_trace_finish(&trace);
	route_answer_finish(&answer);
	return result;
}

static int see_config(struct found *found)
{
	json_t *config = config_export(found->reader, found->error);
	char *text = config ? json_dumps(config, JSON_COMPACT) : NULL;

	if (text)
		note(&found->directory, "\n%s", text);
	free(text);
	json_decref(config);
	return text ? 0 : -1;
}

static int see_all(struct found *found)
{
	static const char *const addresses[] = {"u0@a.example",	   "g1@b.example", "L0+x%mail.a.example",
						"x-admin@b.example", "trap@a.example", "closed@a.example",
						"f0@a.example",	   "a@i.c.example", "nobody@b.example"};
	struct directory_statistics statistics;
	uint64_t orphans;
	int answer = see_config(found);

	for (size_t i = 0; answer == 0 && i < sizeof addresses / sizeof *addresses; i++)
		answer = see_route(found, NAME_ADDRESS, addresses[i]);
	if (answer == 0)
		answer = see_route(found, NAME_LOGIN, "u0");
	if (answer == 0)
		answer = directory_each_domain(found->reader, see_domain, found, found->error);
	if (answer == 0)
		answer = directory_each_entry(found->reader, NULL, 0, see_entry, found, found->error);
	if (answer == 0)
		answer = directory_each_after(found->reader, "u0", "a.example", ENTRY_ACCOUNT, see_entry,
					      found, found->error);
	if (answer == 0)
		answer = directory_statistics(found->reader, &statistics, found->error);
	if (answer == 0)
		answer = directory_count_orphans(found->reader, &orphans, found->error);
	if (answer == 0)
		note(&found->others, "\n%ju orphans", (uintmax_t)orphans);
	return answer;
}

static int see_grant(const char *owner, const char *mailbox, const struct grant *grant, void *context)
{
	struct found *found = context;

	note(&found->others, "\n%s %s %s %x", owner, mailbox, grant->who.name, grant->rights);
	return 0;
}

static int see_received(const char *owner, const char *mailbox, void *context)
{
	struct found *found = context;

	note(&found->others, "\nreceived %s %s", owner, mailbox);
	return 0;
}

static int see_visible(const char *owner, const char *mailbox, uint16_t rights, void *context)
{
	struct found *found = context;

	note(&found->others, "\nvisible %s %s %x", owner, mailbox, rights);
	return 0;
}

static int see_shared(struct found *found, struct sharing *sharing)
{
	const struct grantee who = {GRANTEE_USER, "u2@b.example"};
	struct sharing_statistics statistics;
	struct rights_user me;
	uint16_t rights = 0;
	int answer = rights_user_init(found->reader, "u2@b.example", &me, found->error);

	if (answer >= 0)
		answer = sharing_each_of_owner(sharing, NULL, see_grant, found, found->error);
	if (answer == 0)
		answer = sharing_each_received(sharing, &who, see_received, found, found->error);
	if (answer == 0)
		answer = sharing_each_visible(sharing, &me, see_visible, found, found->error);
	if (answer == 0)
		answer = sharing_rights(sharing, &me, "u1@a.example", "Box", &rights, found->error);
	if (answer == 0)
		answer = sharing_has_grants(sharing, "u1@a.example", "Box", found->error);
	if (answer >= 0)
		answer = sharing_statistics(sharing, &statistics, found->error);
	if (answer == 0)
		note(&found->others, "\n%x %ju", rights, (uintmax_t)statistics.grants);
	rights_user_finish(&me);
	return answer;
}

/* Likewise the grants. */
static int look_at_shared(const char *folder, struct found *found)
{
	struct sharing *sharing;

	if (sharing_open(folder, &sharing, found->error) < 0)
		return -1;
	int answer = sharing_check(sharing, found->error);
	if (answer == 0)
		answer = sharing_begin(sharing, found->error);
	if (answer == 0) {
		answer = see_shared(found, sharing);
		sharing_end(sharing);
	}
	sharing_close(&sharing);
	return answer;
}

/* Opens, looks, closes. */
static int look(const char *folder, struct found *found, struct error *error)
{
	struct directory *directory;

	found->directory.used = found->others.used = 0;
	found->directory.bytes[0] = found->others.bytes[0] = '\0';
	found->error = error;
	found->reader = NULL;
	if (directory_open(folder, DIRECTORY_NAMES | DIRECTORY_CREDENTIALS, &directory, error) < 0)
		return -1;
	int answer = directory_reader_create(directory, &found->reader, error);
	if (answer == 0)
		answer = directory_check(directory, error);
	if (answer == 0)
		answer = directory_begin(found->reader, error);
	if (answer == 0) {
		answer = see_all(found);
		if (answer == 0)
			answer = look_at_shared(folder, found);
		directory_end(found->reader);
	}
	directory_reader_destroy(&found->reader);
	directory_close(&directory);
	return answer;
}

static void look_well(const char *folder, struct found *found)
{
	struct error error = {0};

	if (look(folder, found, &error) != 0)
		fail_msg("it cannot be read any more: %s", error.text);
}

static void expect_words(long round, const struct error *error)
{
	if (error->code == ERROR_NONE || error->text[0] == '\0')
		fail_msg("round %ld failed without a word", round);
}

static void expect_same(const struct found *found, const struct found *expected)
{
	assert_string_equal(found->directory.bytes, expected->directory.bytes);
	assert_string_equal(found->others.bytes, expected->others.bytes);
}

static void what_is_read_is_whole_or_an_error(void **state)
{
	struct found expected, found;
	long round = 0;

	look_well(*state, &expected);
	for (bool whole = false; !whole; round++) {
		struct error error = {0};

		left = round;
		int answer = look(*state, &found, &error);
		whole = left >= 0;
		left = -1;
		if (answer < 0)
			expect_words(round, &error);
		else
			expect_same(&found, &expected);
	}
	print_message("%ld things can fail\n", round - 1);
	assert_true(round > 200);
	look_well(*state, &found);
	expect_same(&found, &expected);
}

/* The changes, one after the other. */

typedef int change(struct directory_writer *writer, struct error *error);

static void no_mistake(const char *line, void *context)
{
	(void)context;
	fail_msg("%s", line);
}

static const char *config_path;

static int apply(struct directory_writer *writer, struct error *error)
{
	const char *paths[] = {config_path};
	struct config *config = NULL;
	int answer = config_load(paths, 1, &config, no_mistake, NULL, error);

	if (answer == 0)
		answer = directory_apply(writer, config, false, NULL, NULL, error);
	config_free(&config);
	return answer;
}

static int add(struct directory_writer *writer, struct error *error)
{
	static const char *const groups[] = {"g0@a.example", "g1@b.example", NULL};
	const struct account_change account = {
		.local = "new", .domain = "a.example", .home = "/h", .credential = hash, .groups = groups};

	return directory_account_add(writer, &account, error);
}

static int set_password(struct directory_writer *writer, struct error *error)
{
	return directory_password_set(writer, "u0", "a.example", hash, error);
}

static int rename_account(struct directory_writer *writer, struct error *error)
{
	return directory_account_rename(writer, "new", "a.example", "newer", "b.example", error);
}

static int delete_account(struct directory_writer *writer, struct error *error)
{
	return directory_account_delete(writer, "u2", "b.example", true, error);
}

static int add_alias(struct directory_writer *writer, struct error *error)
{
	return directory_alias_add(writer, "l1", "b.example", "u1@a.example", error);
}

static const char *const two[] = {"u0@a.example", "u1@a.example"};

static int add_forwarder(struct directory_writer *writer, struct error *error)
{
	return directory_forwarder_add(writer, "f1", "b.example", two, 2, error);
}

static int add_group(struct directory_writer *writer, struct error *error)
{
	return directory_group_add(writer, "g2", "b.example", two, 2, error);
}

static int remove_member(struct directory_writer *writer, struct error *error)
{
	return directory_group_remove(writer, "g2", "b.example", two, 1, error);
}

static int delete_group(struct directory_writer *writer, struct error *error)
{
	return directory_name_delete(writer, ENTRY_GROUP, "g0", "a.example", error);
}

static int next_account(void *context, struct account_change *account, struct error *error)
{
	static const char *const locals[] = {"i0", "i1", "u1"};
	unsigned *next = context;

	(void)error;
	if (*next == 3)
		return 0;
	*account = (struct account_change){
		.local = locals[*next], .domain = "a.example", .uid = "1000", .credential = hash};
	++*next;
	return 1;
}

static void first_account(void *context)
{
	*(unsigned *)context = 0;
}

static int import(struct directory_writer *writer, struct error *error)
{
	unsigned next = 0;
	const struct account_source source = {next_account, first_account, &next, true};

	return directory_account_import(writer, &source, error);
}

/* Of grants. */

static int give_more(struct sharing_writer *writer, const char *folder, struct error *error)
{
	(void)folder;
	return give(writer, "Other", "u0@a.example", GRANTEE_USER, error);
}

static int create_mailbox(struct sharing_writer *writer, const char *folder, struct error *error)
{
	(void)folder;
	return sharing_mailbox_created(writer, "u1@a.example", "Box\x1f" "New", "Box", error);
}

static int rename_mailbox(struct sharing_writer *writer, const char *folder, struct error *error)
{
	(void)folder;
	return sharing_mailbox_renamed(writer, "u1@a.example", "Box", "u0@a.example", "Moved", error);
}

static int delete_mailbox(struct sharing_writer *writer, const char *folder, struct error *error)
{
	(void)folder;
	return sharing_mailbox_deleted(writer, "u0@a.example", "Moved", error);
}

static int mend_grants(struct sharing_writer *writer, const char *folder, struct error *error)
{
	struct support_open open = {NULL, NULL};
	int answer = directory_open(folder, DIRECTORY_NAMES, &open.directory, error);

	if (answer == 0)
		answer = directory_reader_create(open.directory, &open.reader, error);
	if (answer == 0)
		answer = sharing_verify(writer, open.reader, true, NULL, NULL, error);
	directory_reader_destroy(&open.reader);
	directory_close(&open.directory);
	return answer;
}

typedef int grant_change_call(struct sharing_writer *writer, const char *folder, struct error *error);

static grant_change_call *share;

/* `share`, as a change of the directory. */
static int make_share(const char *folder, struct error *error)
{
	struct sharing_writer *writer = NULL;
	int answer = sharing_writer_open(folder, &writer, error);

	if (answer == 0)
		answer = share(writer, folder, error);
	sharing_writer_close(&writer);
	return answer < 0 ? -1 : 0;
}

static int make_change(const char *folder, change *make, struct error *error)
{
	struct directory_writer *writer = NULL;

	if (!make)
		return make_share(folder, error);
	int answer = directory_writer_open(folder, true, &writer, error);

	if (answer == 0)
		answer = make(writer, error);
	directory_writer_close(&writer);
	return answer;
}

/* Files of a directory are sparse, and belong to nobody while this copies them. */
static void copy_folder(const char *from, const char *to)
{
	char command[1024];

	snprintf(command, sizeof command, "rm -rf '%s' && cp -a --sparse=always '%s' '%s'", to, from, to);
	if (system(command) != 0) // NOLINT(cert-env33-c)
		support_die("%s", command);
}

/* What concerns several files is a transaction in each. Passwords and grants go first, so that none is left
 * for a name that somebody else gets: directory-credential.h, directory-grants.h. The last step of a
 * renaming is one of its own, and its failure says what is done. */
static bool may_be_half(change *make, bool in_directory, const struct error *error)
{
	return in_directory ? strstr(error->text, " now, but the password under the old name ") != NULL
			    : make == import || make == delete_account || make == delete_group ||
				      make == rename_account;
}

/* Each round on the same folder; one that succeeds although something failed is undone. */
static long try_change(const char *folder, const char *copy, const char *name, change *make)
{
	struct found before, after;
	long round = 0;

	look_well(folder, &before);
	copy_folder(folder, copy);
	for (bool whole = false; !whole; round++) {
		struct error error = {0};

		left = round;
		int answer = make_change(folder, make, &error);
		whole = left >= 0;
		left = -1;
		look_well(folder, &after);
		bool in_directory = strcmp(before.directory.bytes, after.directory.bytes) != 0;
		bool made = in_directory || strcmp(before.others.bytes, after.others.bytes) != 0;
		if (answer < 0)
			expect_words(round, &error);
		if (answer < 0 && made && !may_be_half(make, in_directory, &error))
			fail_msg("%s: round %ld says \"%s\", and made it%s%s\n---%s%s", name, round,
				 error.text, before.directory.bytes, before.others.bytes,
				 after.directory.bytes, after.others.bytes);
		if (answer == 0 && !made)
			fail_msg("%s: round %ld made nothing", name, round);
		if (made && !whole)
			copy_folder(copy, folder);
	}
	return round - 1;
}

static void a_change_is_made_or_an_error(void **state)
{
	static const struct {
		const char *name;
		change *make;
	} changes[] = {
		{"add", add}, {"password", set_password}, {"rename", rename_account},
		{"delete", delete_account}, {"alias", add_alias}, {"forwarder", add_forwarder},
		{"group", add_group}, {"remove", remove_member}, {"delete group", delete_group},
		{"import", import}, {"apply", apply},
	};
	const char *folder = *state;
	char *path = support_path(folder, "second.json"), *copy = support_folder();

	support_write_file(path, second_json, strlen(second_json));
	config_path = path;
	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		long count = try_change(folder, copy, changes[i].name, changes[i].make);

		print_message("%s: %ld things can fail\n", changes[i].name, count);
		assert_true(count > 50);
	}
	free(path);
	support_folder_remove(&copy);
}

static void remove_folder(const char *folder)
{
	char *path = strdup(folder);

	support_folder_remove(&path);
}

static void a_change_of_grants_is_made_or_an_error(void **state)
{
	static const struct {
		const char *name;
		grant_change_call *make;
	} changes[] = {
		{"grant", give_more}, {"create", create_mailbox}, {"rename", rename_mailbox},
		{"delete", delete_mailbox}, {"mend", mend_grants},
	};
	char *copy = support_folder();

	for (size_t i = 0; i < sizeof changes / sizeof *changes; i++) {
		share = changes[i].make;
		long count = try_change(*state, copy, changes[i].name, NULL);

		print_message("%s: %ld things can fail\n", changes[i].name, count);
		assert_true(count > 30);
	}
	support_folder_remove(&copy);
}

/* The files of a directory that is not there yet. */
static void it_is_made_whole_or_not_at_all(void **state)
{
	const char *parent = *state;
	char *path = support_path(parent, "homing.json"), *folder = support_folder();
	struct found found;
	long round = 0;

	support_write_file(path, first_json, strlen(first_json));
	config_path = path;
	for (bool whole = false; !whole; round++) {
		struct error error = {0};

		left = round;
		int answer = make_change(folder, apply, &error);
		whole = left >= 0;
		left = -1;
		if (answer < 0)
			expect_words(round, &error);
		else
			look_well(folder, &found);
		if (answer == 0 && !whole)
			remove_folder(folder);
	}
	assert_true(round > 100);
	print_message("%ld things can fail\n", round - 1);
	look_well(folder, &found);
	free(path);
	support_folder_remove(&folder);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, support_teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_is_read_is_whole_or_an_error),
		TEST(a_change_is_made_or_an_error),
		TEST(a_change_of_grants_is_made_or_an_error),
		TEST(it_is_made_whole_or_not_at_all),
	};

	return cmocka_run_group_tests_name("scarce", tests, NULL, NULL);
}
