/* Grants where memory or the disk runs out: each call fails with a word for it, changes nothing, and
 * works as soon as there is enough again. */
#include "sharing.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "scarce.h"
#include "sharing-write.h"
#include "support.h"

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof *(array))

/* Negative: as many as are asked for. Only our own calls are counted, not LMDB's. */
static long allocations_left = -1;

static bool fails(void)
{
	if (allocations_left > 0)
		allocations_left--;
	else if (allocations_left == 0)
		return true;
	return false;
}

static const char directory_json[] =
	"{\"main_domain\": \"a.example\", \"domains\": {"
	" \"a.example\": {\"administrators\": [\"u0\"]}, \"b.example\": {\"administrators\":"
	" [\"u0@a.example\"]}, \"x.example\": {\"accounts\": \"external\"}}}";
static const char directory_names[] = "account u0@a.example\naccount u1@a.example\n"
				      "account u2@b.example\n"
				      "group g0@a.example u0@a.example u2@b.example\n"
				      "group g1@b.example g0@a.example\n";

static int folder_setup(void **state)
{
	return support_setup(state, directory_json, directory_names);
}

static const struct sharing_actor administrator = {.me = NULL};

static int give(struct sharing_writer *writer, const char *mailbox, const char *who, enum grantee_kind kind,
		struct error *error)
{
	struct grant_change change = {.who = {.kind = kind}, .mode = GRANT_REPLACE, .rights = 3};

	snprintf(change.who.name, sizeof change.who.name, "%s", who);
	return sharing_change(writer, &administrator, "u1@a.example", mailbox, &change, error);
}

static void give_some(const char *folder)
{
	struct sharing_writer *writer;
	struct error error = {0};
	char who[64];

	if (sharing_writer_open(folder, &writer, &error) < 0)
		fail_msg("%s", error.text);
	for (int i = 0; i < 20; i++) {
		snprintf(who, sizeof who, "s%d@x.example", i);
		assert_int_equal(give(writer, "Box\x1f" "Below", who, GRANTEE_USER, &error), 1);
	}
	assert_int_equal(give(writer, "Box", "g1@b.example", GRANTEE_GROUP, &error), 1);
	assert_int_equal(give(writer, "Box", "u2@b.example", GRANTEE_USER, &error), 1);
	assert_int_equal(give(writer, "", "b.example", GRANTEE_DOMAIN, &error), 1);
	sharing_writer_close(&writer);
}

/* The calls, on what is open. `made` says how often something reached the callback. */
struct open_all {
	struct sharing *sharing;
	struct sharing_writer *writer;
	struct support_open directory;
	const struct rights_user *me;
	unsigned made;
};

static int see_grant(const struct grant *grant, void *context)
{
	(void)grant;
	++*(unsigned *)context;
	return 0;
}

static int see_mailbox(const char *owner, const char *mailbox, const struct grant *grant,
		       void *context)
{
	(void)owner, (void)mailbox, (void)grant;
	++*(unsigned *)context;
	return 0;
}

static int see_received(const char *owner, const char *mailbox, void *context)
{
	(void)owner, (void)mailbox;
	++*(unsigned *)context;
	return 0;
}

static int see_visible(const char *owner, const char *mailbox, uint16_t rights, void *context)
{
	(void)owner, (void)mailbox, (void)rights;
	++*(unsigned *)context;
	return 0;
}

static int read_grants(struct open_all *all, struct error *error)
{
	return sharing_each_grant(all->sharing, "u1@a.example", "Box", see_grant, &all->made, error);
}

static int read_owner(struct open_all *all, struct error *error)
{
	return sharing_each_of_owner(all->sharing, NULL, see_mailbox, &all->made, error);
}

static int read_received(struct open_all *all, struct error *error)
{
	const struct grantee who = {GRANTEE_USER, "u2@b.example"};

	return sharing_each_received(all->sharing, &who, see_received, &all->made, error);
}

static int read_visible(struct open_all *all, struct error *error)
{
	return sharing_each_visible(all->sharing, all->me, see_visible, &all->made, error);
}

static int read_rights(struct open_all *all, struct error *error)
{
	uint16_t rights;

	return sharing_rights(all->sharing, all->me, "u1@a.example", "Box", &rights, error);
}

static int read_user(struct open_all *all, struct error *error)
{
	struct rights_user user;
	int answer = rights_user_init(all->directory.reader, "u0@a.example", &user, error);

	rights_user_finish(&user);
	return answer;
}

static int write_change(struct open_all *all, struct error *error)
{
	return give(all->writer, "Other", "u2@b.example", GRANTEE_USER, error);
}

static int write_created(struct open_all *all, struct error *error)
{
	return sharing_mailbox_created(all->writer, "u1@a.example", "Box\x1f" "New", "Box", error);
}

static int write_renamed(struct open_all *all, struct error *error)
{
	return sharing_mailbox_renamed(all->writer, "u1@a.example", "Box", "u2@b.example", "Moved", error);
}

static int write_account(struct open_all *all, struct error *error)
{
	return sharing_renamed(all->writer, GRANTEE_USER, "u2@b.example", "u0@a.example", error);
}

static int write_deleted(struct open_all *all, struct error *error)
{
	return sharing_deleted(all->writer, GRANTEE_USER, "u0@a.example", error);
}

static int write_verify(struct open_all *all, struct error *error)
{
	return sharing_verify(all->writer, all->directory.reader, true, NULL, NULL, error);
}

/* From no allocation at all to enough of them. */
static void starve(int (*call)(struct open_all *, struct error *), struct open_all *all, int expected)
{
	for (long allowed = 0; allowed < 10000; allowed++) {
		struct error error = {0};

		all->made = 0;
		allocations_left = allowed;
		int answer = call(all, &error);
		allocations_left = -1;
		if (answer >= 0) {
			assert_int_equal(answer, expected);
			return;
		}
		if (error.code != ERROR_MEMORY)
			fail_msg("%ld allocations: %s", allowed, error.text);
		assert_int_equal(all->made, 0);
	}
	fail_msg("never enough");
}

static void memory_that_runs_out_fails_one_call(void **state)
{
	struct rights_user me;
	struct open_all all = {.me = &me};
	struct error error = {0};

	give_some(*state);
	all.directory = support_open(*state, DIRECTORY_NAMES);
	assert_int_equal(directory_begin(all.directory.reader, &error), 0);
	assert_int_equal(rights_user_init(all.directory.reader, "u2@b.example", &me, &error), 0);
	starve(read_user, &all, 0);
	directory_end(all.directory.reader);
	assert_int_equal(sharing_open(*state, &all.sharing, &error), 0);
	assert_int_equal(sharing_begin(all.sharing, &error), 0);
	starve(read_grants, &all, 0);
	starve(read_received, &all, 0);
	starve(read_visible, &all, 0);
	starve(read_rights, &all, 0);
	assert_int_equal(sharing_each_of_owner(all.sharing, NULL, see_mailbox, &all.made, &error), 0);
	sharing_end(all.sharing);
	sharing_close(&all.sharing);
	assert_int_equal(sharing_writer_open(*state, &all.writer, &error), 0);
	starve(write_change, &all, 1);
	starve(write_created, &all, 1);
	starve(write_renamed, &all, 1);
	starve(write_account, &all, 1);
	starve(write_verify, &all, 0);
	starve(write_deleted, &all, 1);
	starve(write_verify, &all, 0);
	sharing_writer_close(&all.writer);
	rights_user_finish(&me);
	support_close(&all.directory);
}

/* Some of an owner's grants may have been told before memory ran out. */
static void an_owner_is_read_again_after_memory_ran_out(void **state)
{
	struct open_all all = {.made = 0};
	struct error error = {0};

	give_some(*state);
	assert_int_equal(sharing_open(*state, &all.sharing, &error), 0);
	assert_int_equal(sharing_begin(all.sharing, &error), 0);
	for (long allowed = 0; allowed < 3; allowed++) {
		allocations_left = allowed;
		assert_int_equal(read_owner(&all, &error), -1);
		allocations_left = -1;
		assert_int_equal(error.code, ERROR_MEMORY);
		error_clear(&error);
	}
	all.made = 0;
	assert_int_equal(read_owner(&all, &error), 0);
	assert_int_equal(all.made, 23);
	sharing_end(all.sharing);
	sharing_close(&all.sharing);
}

/* The disk: a limit on the size of files, in a child. */

static int next_long(void *context, const char **owner, const char **mailbox,
		     struct grant_change *change, struct error *error)
{
	static char name[MAILBOX_SIZE];
	unsigned *next = context;

	(void)error;
	if (*next == 6000)
		return 0;
	memset(name, 'x', MAILBOX_MAX_BYTES);
	snprintf(name + MAILBOX_MAX_BYTES - 6, 7, "%06u", (*next)++);
	*owner = "u1@a.example";
	*mailbox = name;
	*change = (struct grant_change){
		.who = {GRANTEE_USER, "u2@b.example"}, .mode = GRANT_REPLACE, .rights = 3};
	return 1;
}

static void rewind_long(void *context)
{
	*(unsigned *)context = 0;
}

static void fill_disk(const char *folder)
{
	const struct rlimit limit = {16 << 20, 16 << 20}; /* what the file has already */
	struct sharing_writer *writer;
	unsigned next = 0;
	const struct sharing_source source = {next_long, rewind_long, &next};
	struct error error = {0};

	signal(SIGXFSZ, SIG_IGN);
	if (setrlimit(RLIMIT_FSIZE, &limit) < 0 || sharing_writer_open(folder, &writer, &error) < 0)
		support_die("%s", error.text);
	if (sharing_import(writer, &source, &error) != -1 || error.code != ERROR_FULL)
		support_die("the disk is not full: %s", error.text);
	error_clear(&error);
	/* what there is room for still works, with the same writer and with a new one */
	if (give(writer, "Small", "u2@b.example", GRANTEE_USER, &error) != 1)
		support_die("%s", error.text);
	sharing_writer_close(&writer);
	if (sharing_writer_open(folder, &writer, &error) < 0 ||
	    give(writer, "Smaller", "u2@b.example", GRANTEE_USER, &error) != 1)
		support_die("%s", error.text);
	sharing_writer_close(&writer);
	_exit(0);
}

static void a_full_disk_leaves_what_was_there(void **state)
{
	struct open_all all = {.made = 0};
	struct error error = {0};
	int status;

	give_some(*state);
	pid_t child = fork();
	if (child == 0)
		fill_disk(*state);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_equal(sharing_open(*state, &all.sharing, &error), 0);
	assert_int_equal(sharing_begin(all.sharing, &error), 0);
	assert_int_equal(read_owner(&all, &error), 0);
	assert_int_equal(all.made, 25);
	sharing_end(all.sharing);
	sharing_close(&all.sharing);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, support_teardown)
	const struct CMUnitTest tests[] = {
		TEST(memory_that_runs_out_fails_one_call),
		TEST(an_owner_is_read_again_after_memory_ran_out),
		TEST(a_full_disk_leaves_what_was_there),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
