/* Grants on mailboxes: their names, what changes do and who may make them, what becomes of grants when
 * mailboxes, accounts and groups go or get other names, files of an older Homing, damaged files. Many
 * random changes against a model, and killed writers, are in test_sharing_model.c. */
#include "sharing.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "directory-write.h"
#include "sharing-edit.h"
#include "sharing-format.h"
#include "sharing-principal.h"
#include "sharing-write.h"
#include "store-make.h"
#include "support.h"

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof *(array))

static const char directory_json[] =
	"{\"main_domain\": \"company.com\", \"domains\": {"
	" \"company.com\": {\"administrators\": [\"boss\"]}, \"client1.com\": {}, \"client2.com\": {},"
	" \"sqlsite.org\": {\"accounts\": \"external\"}}}";
static const char directory_names[] = "account info@company.com\n"
				      "account boss@company.com\n"
				      "account anna@company.com\n"
				      "account info@client1.com\n"
				      "account bob@client1.com\n"
				      "account info@client2.com\n"
				      "group staff@client1.com bob@client1.com\n"
				      "group all@client1.com bob@client1.com info@client1.com\n";

static int folder_setup(void **state)
{
	return support_setup(state, directory_json, directory_names);
}

/* Short ways to the functions under test, for one owner and one process. */

static struct sharing_writer *open_writer(const char *folder)
{
	struct sharing_writer *writer;
	struct error error = {0};

	if (sharing_writer_open(folder, &writer, &error) < 0)
		fail_msg("%s", error.text);
	return writer;
}

static struct grantee grantee_of(const char *text)
{
	struct grantee who = {.kind = GRANTEE_USER};
	const char *name = text;

	if (strcmp(text, "anyone") == 0)
		who.kind = GRANTEE_ANYONE, name = "";
	else if (strcmp(text, "authenticated") == 0)
		who.kind = GRANTEE_AUTHENTICATED, name = "";
	else if (strcmp(text, "owner") == 0)
		who.kind = GRANTEE_OWNER, name = "";
	else if (strncmp(text, "anyone@", 7) == 0)
		who.kind = GRANTEE_DOMAIN, name = text + 7;
	else if (text[0] == '$')
		who.kind = GRANTEE_GROUP, name = text + 1;
	else if (strncmp(text, "!$", 2) == 0)
		who.kind = GRANTEE_GROUP_OVERRIDE, name = text + 2;
	snprintf(who.name, sizeof who.name, "%s", name);
	return who;
}

static uint16_t letters(const char *text)
{
	uint16_t rights = 0;

	assert_null(rights_parse(text, strlen(text), &rights));
	return rights;
}

static const char *mailbox_of(const char *text, char mailbox[MAILBOX_SIZE])
{
	const char *why = mailbox_parse(text, '/', mailbox);

	if (why)
		fail_msg("%s: %s", text, why);
	return mailbox;
}

/* `RIGHTS` replaces, `+RIGHTS` adds, `-RIGHTS` removes, `!` clears; `n` in front of these means the
 * negative half. */
static struct grant_change change_of(const char *who, const char *what)
{
	struct grant_change change = {.who = grantee_of(who)};
	bool negative = what[0] == 'n';
	enum grant_change_mode mode = GRANT_REPLACE;

	what += negative;
	if (*what == '+')
		mode = GRANT_ADD, what++;
	else if (*what == '-')
		mode = GRANT_REMOVE, what++;
	else if (*what == '!')
		mode = GRANT_CLEAR, what++;
	*(negative ? &change.negative_mode : &change.mode) = mode;
	*(negative ? &change.negative : &change.rights) = letters(what);
	return change;
}

static int change_as(struct sharing_writer *writer, const struct sharing_actor *actor,
		     const char *owner, const char *box, const char *who, const char *what,
		     struct error *error)
{
	const struct grant_change change = change_of(who, what);
	char mailbox[MAILBOX_SIZE];

	return sharing_change(writer, actor, owner, mailbox_of(box, mailbox), &change, error);
}

static const struct sharing_actor administrator = {.me = NULL};

/* Changes as the administrator; fails the test where that fails. */
static int grant(struct sharing_writer *writer, const char *owner, const char *box, const char *who,
		 const char *what)
{
	struct error error = {0};
	int answer = change_as(writer, &administrator, owner, box, who, what, &error);

	if (answer < 0)
		fail_msg("%s %s %s %s: %s", owner, box, who, what, error.text);
	return answer;
}

/* All grants as text: `owner box who rights[ -negative]`, a line each. */
struct listing {
	char text[8192];
	size_t used;
};

static void add_line(struct listing *listing, const char *format, ...)
	__attribute__((format(printf, 2, 3)));
static void add_line(struct listing *listing, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	listing->used += (size_t)vsnprintf(listing->text + listing->used,
					   sizeof listing->text - listing->used, format, args);
	va_end(args);
	assert_true(listing->used < sizeof listing->text);
}

static int list_one(const char *owner, const char *mailbox, const struct grant *one, void *context)
{
	char box[MAILBOX_SIZE], who[GRANTEE_SIZE], rights[RIGHTS_SIZE], negative[RIGHTS_SIZE];

	assert_true(mailbox_format(mailbox, '/', box, sizeof box));
	grantee_format(&one->who, who);
	rights_format(one->rights, rights);
	rights_format(one->negative, negative);
	add_line(context, "%s %s %s%s%s%s%s\n", owner, box, who, one->has_rights ? " " : "", rights,
		 one->has_negative ? " -" : "", negative);
	return 0;
}

static struct sharing *open_reader(const char *folder)
{
	struct sharing *sharing;
	struct error error = {0};

	if (sharing_open(folder, &sharing, &error) < 0 || sharing_begin(sharing, &error) < 0)
		fail_msg("%s", error.text);
	return sharing;
}

static void close_reader(struct sharing **sharing)
{
	sharing_end(*sharing);
	sharing_close(sharing);
}

static int verify(const char *folder, bool mend, sharing_found_cb *found, void *context)
{
	struct sharing_writer *writer = open_writer(folder);
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	struct error error = {0};
	int count = sharing_verify(writer, open.reader, mend, found, context, &error);

	if (count < 0)
		fail_msg("%s", error.text);
	support_close(&open);
	sharing_writer_close(&writer);
	return count;
}

static void print_found(const char *what, void *context)
{
	(void)context;
	print_message("found: %s\n", what);
}

/* What is there, and that index and names agree with it. */
static void expect_grants(const char *folder, const char *expected)
{
	struct sharing *sharing = open_reader(folder);
	struct listing listing = {.used = 0};
	struct error error = {0};
	struct sharing_statistics statistics;
	uint64_t lines = 0;

	if (sharing_each_of_owner(sharing, NULL, list_one, &listing, &error) != 0)
		fail_msg("%s", error.text);
	assert_string_equal(listing.text, expected);
	assert_int_equal(sharing_statistics(sharing, &statistics, &error), 0);
	for (const char *next = listing.text; (next = strchr(next, '\n')); next++)
		lines++;
	assert_int_equal(statistics.grants, lines);
	close_reader(&sharing);
	assert_int_equal(verify(folder, false, print_found, NULL), 0);
}

/* Names. */

static void mailboxes_are_named_by_their_parts(void **state)
{
	static const struct {
		const char *text;
		char separator;
		const char *mailbox; /* NULL: refused */
		const char *formatted; /* NULL: as `text` */
	} cases[] = {
		{"INBOX", '/', "INBOX", NULL},
		{"inbox", '/', "INBOX", "INBOX"},
		{"Inbox/Sub", '/', "INBOX\x1fSub", "INBOX/Sub"},
		{"inboxes", '/', "inboxes", NULL},
		{"a/inbox", '/', "a\x1finbox", NULL},
		{"A/b/C", '/', "A\x1f" "b\x1f" "C", NULL},
		{"A.b.C", '.', "A\x1f" "b\x1f" "C", NULL},
		{"A/b", '.', "A/b", NULL},
		{"*", '/', "", NULL},
		{"*/x", '/', "*\x1fx", NULL},
		{"Entw\xc3\xbcrfe", '/', "Entw\xc3\xbcrfe", NULL},
		{"%~&\"'\\ x", '/', "%~&\"'\\ x", NULL},
		{"", '/', NULL, NULL},
		{"/", '/', NULL, NULL},
		{"/a", '/', NULL, NULL},
		{"a/", '/', NULL, NULL},
		{"a//b", '/', NULL, NULL},
		{"a\nb", '/', NULL, NULL},
		{"a\x7f", '/', NULL, NULL},
		{"a\x1f" "b", '/', NULL, NULL},
		{"a\xff", '/', NULL, NULL},
		{"\xed\xa0\x80", '/', NULL, NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		char mailbox[MAILBOX_SIZE], text[MAILBOX_SIZE];
		const char *why = mailbox_parse(cases[i].text, cases[i].separator, mailbox);

		if (!cases[i].mailbox) {
			if (!why)
				fail_msg("%s: not refused", cases[i].text);
			continue;
		}
		assert_null(why);
		assert_string_equal(mailbox, cases[i].mailbox);
		assert_null(mailbox_refusal(mailbox));
		assert_true(mailbox_format(mailbox, cases[i].separator, text, sizeof text));
		assert_string_equal(text, cases[i].formatted ? cases[i].formatted : cases[i].text);
		assert_false(mailbox_format(mailbox, cases[i].separator, text, strlen(text)));
	}
	char text[MAILBOX_SIZE + 1], mailbox[MAILBOX_SIZE];
	/* would be read back as something else */
	assert_false(mailbox_format("a/b", '/', text, sizeof text));
	assert_false(mailbox_format("*", '/', text, sizeof text));
	memset(text, 'x', MAILBOX_SIZE);
	text[MAILBOX_SIZE] = '\0';
	assert_non_null(mailbox_parse(text, '/', mailbox));
	assert_non_null(mailbox_refusal(text));
	text[MAILBOX_MAX_BYTES] = '\0';
	assert_null(mailbox_parse(text, '/', mailbox));
}

static void principals_come_back_from_their_keys(void **state)
{
	static const struct {
		const char *owner; /* or, where kind is set, a grantee's name */
		int kind;
		int type; /* 0: refused */
	} cases[] = {
		{"info@company.com", 0, 'A'},
		{"a@b@company.com", 0, 'A'},
		{"login", 0, 'A'},
		{"public:", 0, 'P'},
		{"public:Shared/", 0, 'P'},
		{"public:x@company.com", 0, 'P'},
		{"", 0, 0},
		{"@company.com", 0, 0},
		{"info@", 0, 0},
		{"info@company.com", GRANTEE_USER, 'A'},
		{"staff@company.com", GRANTEE_GROUP, 'G'},
		{"staff@company.com", GRANTEE_GROUP_OVERRIDE, 'G'},
		{"company.com", GRANTEE_DOMAIN, 'D'},
		{"", GRANTEE_DOMAIN, 0},
		{"", GRANTEE_ANYONE, 0},
		{"", GRANTEE_OWNER, 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct grantee who = {.kind = (enum grantee_kind)cases[i].kind};
		char key[PRINCIPAL_KEY_SIZE], name[OWNER_SIZE];

		snprintf(who.name, sizeof who.name, "%s", cases[i].owner);
		size_t length = cases[i].kind ? grantee_key(&who, key) : owner_key(cases[i].owner, key);
		assert_int_equal(length != 0, cases[i].type != 0);
		if (length == 0)
			continue;
		assert_true(length <= 511);
		assert_int_equal(principal_parse(key, length, name), cases[i].type);
		assert_string_equal(name, cases[i].owner);
	}
	char longest[LOCAL_SIZE + DOMAIN_SIZE + 2], key[PRINCIPAL_KEY_SIZE], name[OWNER_SIZE];
	memset(longest, 'n', sizeof longest);
	longest[LOCAL_MAX_BYTES] = '@';
	longest[LOCAL_MAX_BYTES + 1 + DOMAIN_MAX_BYTES] = '\0';
	size_t length = owner_key(longest, key);
	assert_int_equal(length, 1 + DOMAIN_MAX_BYTES + 1 + LOCAL_MAX_BYTES);
	assert_int_equal(principal_parse(key, length, name), 'A');
	assert_string_equal(name, longest);
	longest[LOCAL_MAX_BYTES + 1 + DOMAIN_MAX_BYTES] = 'n';
	longest[LOCAL_MAX_BYTES + 2 + DOMAIN_MAX_BYTES] = '\0';
	assert_int_equal(owner_key(longest, key), 0);
}

/* Changes. */

static void a_change_does_to_a_half_what_dovecots_modes_do(void **state)
{
	static const struct {
		const char *what;
		int answer;
		const char *after; /* behind the identifier */
	} steps[] = {
		{"-l", 0, NULL},	    {"+", 0, NULL},	     {"!", 0, NULL},
		{"+lr", 1, " lr"},	    {"+r", 0, " lr"},	     {"+i", 1, " lri"},
		{"-rx", 1, " li"},	    {"-x", 0, " li"},	     {"lrw", 1, " lrw"},
		{"lrw", 0, " lrw"},	    {"-lrw", 1, " "},	     {"", 0, " "},
		{"n-l", 0, " "},	    {"n+a", 1, "  -a"},	     {"!", 1, " -a"},
		{"!", 0, " -a"},	    {"n-a", 1, " -"},	     {"+k", 1, " k -"},
		{"nlr", 1, " k -lr"},	    {"n!", 1, " k"},	     {"!", 1, NULL},
		{"", 1, " "},		    {"!", 1, NULL},	     {"n", 1, " -"},
		{"n!", 1, NULL},
	};
	const char *folder = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(steps); i++) {
		struct sharing_writer *writer = open_writer(folder);
		char expected[256] = "";

		int answer = grant(writer, "info@company.com", "Box", "bob@client1.com", steps[i].what);
		sharing_writer_close(&writer);
		if (answer != steps[i].answer)
			fail_msg("step %zu (%s): %d", i, steps[i].what, answer);
		if (steps[i].after)
			snprintf(expected, sizeof expected, "info@company.com Box bob@client1.com%s\n",
				 steps[i].after);
		expect_grants(folder, expected);
	}
}

static void both_halves_change_at_once(void **state)
{
	struct sharing_writer *writer = open_writer(*state);
	struct error error = {0};
	const struct grant_change change = {
		.who = grantee_of("$staff@client1.com"),
		.mode = GRANT_REPLACE,
		.rights = letters("lr"),
		.negative_mode = GRANT_ADD,
		.negative = letters("x"),
	};

	assert_int_equal(sharing_change(writer, &administrator, "info@client2.com", "", &change, &error), 1);
	assert_int_equal(sharing_change(writer, &administrator, "info@client2.com", "", &change, &error), 0);
	sharing_writer_close(&writer);
	expect_grants(*state, "info@client2.com * $staff@client1.com lr -x\n");
}

static void names_that_cannot_be_stored_are_refused(void **state)
{
	static const char *const mailboxes[] = {"a\x1f", "\x1f" "a", "a\x1f\x1f" "b", "\xff", "a\n"};
	static const char *const owners[] = {"", "@company.com", "info@"};
	struct sharing_writer *writer = open_writer(*state);
	const struct grant_change change = change_of("bob@client1.com", "lr");

	for (size_t i = 0; i < ARRAY_LENGTH(mailboxes); i++) {
		struct error error = {0};

		assert_int_equal(sharing_change(writer, &administrator, "info@company.com", mailboxes[i],
						&change, &error), -1);
		assert_int_equal(error.code, ERROR_INVALID);
	}
	for (size_t i = 0; i < ARRAY_LENGTH(owners); i++) {
		struct error error = {0};

		assert_int_equal(sharing_change(writer, &administrator, owners[i], "Box", &change, &error),
				 -1);
		assert_int_equal(error.code, ERROR_INVALID);
	}
	sharing_writer_close(&writer);
	expect_grants(*state, "");
}

static struct rights_user user_of(const char *folder, const char *name)
{
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	struct rights_user user;
	struct error error = {0};

	if (directory_begin(open.reader, &error) < 0 ||
	    rights_user_init(open.reader, name, &user, &error) < 0)
		fail_msg("%s", error.text);
	directory_end(open.reader);
	support_close(&open);
	return user;
}

static void a_user_changes_what_that_user_may_administer(void **state)
{
	static const struct {
		const char *user, *owner, *box, *who, *what;
		int answer; /* -1: ERROR_PERMISSION */
	} steps[] = {
		/* owners, in their own account */
		{"info@company.com", "info@company.com", "Box", "bob@client1.com", "lr", 1},
		{"info@company.com", "info@company.com", "*", "bob@client1.com", "l", 1},
		{"info@company.com", "info@client1.com", "Box", "bob@client1.com", "lr", -1},
		{"info@company.com", "info@client2.com", "*", "info@company.com", "lr", -1},
		{"info@company.com", "public:Shared/", "Box", "info@company.com", "lra", -1},
		{"", "info@company.com", "Box", "bob@client1.com", "lr", -1},
		/* the same again needs the right as well */
		{"bob@client1.com", "info@company.com", "Box", "bob@client1.com", "lr", -1},
		/* the right to administer, by name, by group, by domain */
		{"info@company.com", "info@company.com", "Box", "bob@client1.com", "+a", 1},
		{"bob@client1.com", "info@company.com", "Box", "info@client2.com", "lr", 1},
		{"bob@client1.com", "info@company.com", "Other", "info@client2.com", "lr", -1},
		{"bob@client1.com", "info@company.com", "*", "info@client2.com", "lr", -1},
		{"info@company.com", "info@company.com", "Box", "bob@client1.com", "n+a", 1},
		{"bob@client1.com", "info@company.com", "Box", "info@client2.com", "!", -1},
		{"info@company.com", "info@company.com", "G", "$all@client1.com", "a", 1},
		{"info@client1.com", "info@company.com", "G", "info@client2.com", "l", 1},
		/* of which the user's own on the whole account is stronger */
		{"bob@client1.com", "info@company.com", "G", "info@client2.com", "l", -1},
		/* on the whole account */
		{"info@company.com", "info@company.com", "*", "info@client2.com", "a", 1},
		{"info@client2.com", "info@company.com", "Any", "info@client1.com", "l", 1},
		/* an administrator of the domain, inside it and no further */
		{"boss@company.com", "info@company.com", "Box", "info@client1.com", "lr", 1},
		{"boss@company.com", "info@client1.com", "Box", "info@client2.com", "lr", -1},
		/* everybody */
		{"anna@company.com", "anna@company.com", "Box", "anyone", "l", -1},
		{"anna@company.com", "anna@company.com", "Box", "authenticated", "l", -1},
		{"anna@company.com", "anna@company.com", "Box", "anyone@client1.com", "l", 1},
		{"anna@company.com", "anna@company.com", "Box", "anyone", "n+l", 1},
		{"anna@company.com", "anna@company.com", "Box", "anyone", "", 1},
		{"boss@company.com", "anna@company.com", "Box", "anyone", "lr", 1},
		/* who may not give everybody rights takes them away, or takes up what hid them */
		{"anna@company.com", "anna@company.com", "Box", "anyone", "n-l", -1},
		{"anna@company.com", "anna@company.com", "Box", "anyone", "n!", -1},
		{"anna@company.com", "anna@company.com", "Box", "anyone", "-r", 1},
		{"anna@company.com", "anna@company.com", "Box", "anyone", "+r", -1},
		{"anna@company.com", "anna@company.com", "Box", "anyone", "!", 1},
		{"anna@company.com", "anna@company.com", "Box", "anyone", "n!", 1},
	};
	const char *folder = *state;

	for (size_t i = 0; i < ARRAY_LENGTH(steps); i++) {
		struct rights_user user = user_of(folder, steps[i].user);
		const struct sharing_actor actor = {.me = &user};
		struct sharing_writer *writer = open_writer(folder);
		struct error error = {0};
		int answer = change_as(writer, &actor, steps[i].owner, steps[i].box, steps[i].who,
				       steps[i].what, &error);

		if (answer != steps[i].answer || (answer < 0 && error.code != ERROR_PERMISSION))
			fail_msg("step %zu: %d %s", i, answer, error.text);
		sharing_writer_close(&writer);
		rights_user_finish(&user);
	}
	expect_grants(folder, "anna@company.com Box anyone@client1.com l\n"
			      "info@company.com * bob@client1.com l\n"
			      "info@company.com * info@client2.com a\n"
			      "info@company.com Any info@client1.com l\n"
			      "info@company.com Box bob@client1.com lra -a\n"
			      "info@company.com Box info@client1.com lr\n"
			      "info@company.com Box info@client2.com lr\n"
			      "info@company.com G $all@client1.com a\n"
			      "info@company.com G info@client2.com l\n");
}

static void a_setting_lets_users_give_rights_to_everybody(void **state)
{
	struct rights_user user = user_of(*state, "anna@company.com");
	const struct sharing_actor actor = {.me = &user, .allow_anyone = true};
	struct sharing_writer *writer = open_writer(*state);
	struct error error = {0};

	assert_int_equal(change_as(writer, &actor, "anna@company.com", "Box", "anyone", "lr", &error), 1);
	assert_int_equal(change_as(writer, &actor, "info@company.com", "Box", "anyone", "lr", &error), -1);
	sharing_writer_close(&writer);
	rights_user_finish(&user);
	expect_grants(*state, "anna@company.com Box anyone lr\n");
}

/* The right is looked up in the transaction: what took it away a moment ago counts. */
static void a_right_that_was_just_taken_away_changes_nothing(void **state)
{
	struct rights_user bob = user_of(*state, "bob@client1.com");
	const struct sharing_actor actor = {.me = &bob};
	struct sharing_writer *writer = open_writer(*state);
	struct error error = {0};

	grant(writer, "info@company.com", "Box", "bob@client1.com", "lra");
	assert_int_equal(change_as(writer, &actor, "info@company.com", "Box", "bob@client1.com", "-a",
				   &error), 1);
	assert_int_equal(change_as(writer, &actor, "info@company.com", "Box", "bob@client1.com", "+a",
				   &error), -1);
	sharing_writer_close(&writer);
	rights_user_finish(&bob);
}

/* Imports. */

struct lines {
	const char *const *lines; /* owner, box, who, what; NULL at the end; "fail": a failure */
	size_t next;
	unsigned rewound;
	char mailbox[MAILBOX_SIZE];
};

static int next_line(void *context, const char **owner, const char **mailbox,
		     struct grant_change *change, struct error *error)
{
	struct lines *lines = context;
	const char *const *line = &lines->lines[lines->next];

	if (!line[0])
		return 0;
	if (strcmp(line[0], "fail") == 0)
		return error_set(error, ERROR_INVALID, "line %zu", lines->next / 4);
	*owner = line[0];
	*mailbox = mailbox_of(line[1], lines->mailbox);
	*change = change_of(line[2], line[3]);
	lines->next += 4;
	return 1;
}

static void rewind_lines(void *context)
{
	struct lines *lines = context;

	lines->next = 0;
	lines->rewound++;
}

static void an_import_is_all_or_nothing(void **state)
{
	static const char *const good[] = {"info@company.com", "Box", "bob@client1.com", "lr",
					   "info@company.com", "Box", "bob@client1.com", "+i",
					   "info@company.com", "A/B", "anyone", "l", NULL};
	static const char *const bad[] = {"info@company.com", "Box", "bob@client1.com", "!", "fail"};
	struct lines lines = {.lines = good};
	const struct sharing_source source = {next_line, rewind_lines, &lines};
	struct sharing_writer *writer = open_writer(*state);
	struct error error = {0};

	assert_int_equal(sharing_import(writer, &source, &error), 1);
	assert_int_equal(sharing_import(writer, &source, &error), 1); /* replaces, then adds */
	lines.lines = bad;
	assert_int_equal(sharing_import(writer, &source, &error), -1);
	assert_string_equal(error.text, "line 1");
	sharing_writer_close(&writer);
	expect_grants(*state, "info@company.com A/B anyone l\n"
			      "info@company.com Box bob@client1.com lri\n");
}

static int grant_to_strangers(struct sharing_edit *edit, void *context)
{
	struct grant_list list = {0};
	unsigned count = *(unsigned *)context;
	int answer = 0;

	for (unsigned i = 1; i <= count; i++)
		grant_list_at(&list, GRANTEE_USER, i)->has_rights = true;
	answer = sharing_edit_replace(edit, 1, "Box", &list);
	grant_list_finish(&list);
	return answer;
}

static void too_many_grants_on_one_mailbox_are_refused(void **state)
{
	struct sharing_writer *writer = open_writer(*state);
	struct error error = {0};
	unsigned most = GRANTS_MAX, more = GRANTS_MAX + 1;

	assert_int_equal(sharing_edit_run(writer, grant_to_strangers, &more, &error), -1);
	assert_int_equal(error.code, ERROR_INVALID);
	assert_int_equal(sharing_edit_run(writer, grant_to_strangers, &most, &error), 1);
	sharing_writer_close(&writer);
}

/* More than the first map holds, with names longer than a key: it grows, and readers follow. */
struct bulk {
	unsigned next, count;
	char mailbox[MAILBOX_SIZE];
};

static const char *bulk_mailbox(unsigned number, char mailbox[MAILBOX_SIZE])
{
	memset(mailbox, 'x', MAILBOX_MAX_BYTES);
	snprintf(mailbox + MAILBOX_MAX_BYTES - 6, 7, "%06u", number);
	return mailbox;
}

static int next_bulk(void *context, const char **owner, const char **mailbox,
		     struct grant_change *change, struct error *error)
{
	struct bulk *bulk = context;

	(void)error;
	if (bulk->next == bulk->count)
		return 0;
	*owner = "info@company.com";
	*mailbox = bulk_mailbox(bulk->next++, bulk->mailbox);
	*change = change_of("bob@client1.com", "lr");
	return 1;
}

static void rewind_bulk(void *context)
{
	((struct bulk *)context)->next = 0;
}

static int count_one(const char *owner, const char *mailbox, void *context)
{
	unsigned *count = context;
	char expected[MAILBOX_SIZE];

	assert_string_equal(owner, "info@company.com");
	assert_string_equal(mailbox, bulk_mailbox(*count, expected));
	++*count;
	return 0;
}

static void the_map_grows_under_a_reader(void **state)
{
	enum { MANY = 6000 };
	const char *folder = *state;
	struct sharing *sharing = open_reader(folder);
	struct error error = {0};
	unsigned count = 0;

	sharing_end(sharing);
	pid_t child = fork();
	if (child == 0) {
		struct bulk bulk = {.count = MANY};
		const struct sharing_source source = {next_bulk, rewind_bulk, &bulk};
		struct sharing_writer *writer = open_writer(folder);

		_exit(sharing_import(writer, &source, &error) == 1 ? 0 : 1);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	const struct grantee bob = grantee_of("bob@client1.com");
	assert_int_equal(sharing_begin(sharing, &error), 0);
	assert_int_equal(sharing_each_received(sharing, &bob, count_one, &count, &error), 0);
	assert_int_equal(count, MANY);
	close_reader(&sharing);
	assert_int_equal(verify(folder, false, print_found, NULL), 0);
}

/* Mailboxes. */

typedef int mailbox_event(struct sharing_writer *writer, struct error *error);

static void grant_lines(const char *folder, const char *const *lines)
{
	struct sharing_writer *writer = open_writer(folder);

	for (; *lines; lines += 4)
		grant(writer, lines[0], lines[1], lines[2], lines[3]);
	sharing_writer_close(&writer);
}

static const char *const family[] = {
	"info@company.com", "A", "bob@client1.com", "lr",
	"info@company.com", "A", "$staff@client1.com", "nx",
	"info@company.com", "A/B", "bob@client1.com", "l",
	"info@company.com", "A/B/C", "anyone@client2.com", "lri",
	"info@company.com", "AB", "bob@client1.com", "lra",
	"info@company.com", "*", "boss@company.com", "lrwstipekxa",
	NULL,
};
#define WHOLE "info@company.com * boss@company.com lrwstipekxa\n"
#define FAMILY_A                                                                                \
	"info@company.com A $staff@client1.com -x\ninfo@company.com A bob@client1.com lr\n"
#define FAMILY_B                                                                                \
	"info@company.com A/B bob@client1.com l\ninfo@company.com A/B/C anyone@client2.com lri\n"
#define FAMILY_AB "info@company.com AB bob@client1.com lra\n"

static void a_new_mailbox_takes_what_its_parent_has(void **state)
{
	struct sharing_writer *writer;
	struct error error = {0};

	grant_lines(*state, family);
	writer = open_writer(*state);
	assert_int_equal(sharing_mailbox_created(writer, "info@company.com", "A\x1fNew", "A", &error), 1);
	assert_int_equal(sharing_mailbox_created(writer, "info@company.com", "A\x1fNew", "A", &error), 0);
	assert_int_equal(sharing_mailbox_created(writer, "info@company.com", "Top", NULL, &error), 0);
	/* the whole account's count anyway */
	assert_int_equal(sharing_mailbox_created(writer, "info@company.com", "Top", "", &error), 0);
	assert_int_equal(sharing_mailbox_created(writer, "boss@company.com", "Top", "A", &error), 0);
	/* under an old name */
	assert_int_equal(sharing_mailbox_created(writer, "info@company.com", "AB", NULL, &error), 1);
	assert_int_equal(sharing_mailbox_created(writer, "info@company.com", "A\x1f" "B\x1f" "C", "AB", &error), 1);
	assert_int_equal(sharing_mailbox_created(writer, "info@company.com", "", NULL, &error), -1);
	assert_int_equal(error.code, ERROR_INVALID);
	sharing_writer_close(&writer);
	expect_grants(*state, WHOLE FAMILY_A "info@company.com A/B bob@client1.com l\n"
			      "info@company.com A/New $staff@client1.com -x\n"
			      "info@company.com A/New bob@client1.com lr\n");
}

static void a_deleted_mailbox_loses_its_grants_and_no_others(void **state)
{
	struct sharing_writer *writer;
	struct error error = {0};

	grant_lines(*state, family);
	writer = open_writer(*state);
	assert_int_equal(sharing_mailbox_deleted(writer, "info@company.com", "A", &error), 1);
	assert_int_equal(sharing_mailbox_deleted(writer, "info@company.com", "A", &error), 0);
	assert_int_equal(sharing_mailbox_deleted(writer, "info@client1.com", "AB", &error), 0);
	assert_int_equal(sharing_mailbox_deleted(writer, "nobody@client1.com", "AB", &error), 0);
	assert_int_equal(sharing_mailbox_deleted(writer, "info@company.com", "", &error), -1);
	sharing_writer_close(&writer);
	expect_grants(*state, WHOLE FAMILY_B FAMILY_AB);
}

static void a_renamed_mailbox_keeps_its_grants_and_its_childrens(void **state)
{
	static const struct {
		const char *from, *new_owner, *to, *expected;
		int answer;
	} cases[] = {
		{"A", "info@company.com", "Z",
		 WHOLE FAMILY_AB "info@company.com Z $staff@client1.com -x\n"
		 "info@company.com Z bob@client1.com lr\n"
		 "info@company.com Z/B bob@client1.com l\n"
		 "info@company.com Z/B/C anyone@client2.com lri\n", 1},
		/* below itself, and up */
		{"A", "info@company.com", "A/B",
		 WHOLE "info@company.com A/B $staff@client1.com -x\n"
		 "info@company.com A/B bob@client1.com lr\n"
		 "info@company.com A/B/B bob@client1.com l\n"
		 "info@company.com A/B/B/C anyone@client2.com lri\n" FAMILY_AB, 1},
		{"A/B", "info@company.com", "A",
		 WHOLE "info@company.com A bob@client1.com l\n"
		 "info@company.com A/C anyone@client2.com lri\n" FAMILY_AB, 1},
		/* what stood there goes */
		{"A/B", "info@company.com", "AB",
		 WHOLE FAMILY_A "info@company.com AB bob@client1.com l\n"
		 "info@company.com AB/C anyone@client2.com lri\n", 1},
		{"Other", "info@company.com", "AB", WHOLE FAMILY_A FAMILY_B, 1},
		/* to somebody else */
		{"A/B", "bob@client1.com", "Mine/B",
		 "bob@client1.com Mine/B bob@client1.com l\n"
		 "bob@client1.com Mine/B/C anyone@client2.com lri\n" WHOLE FAMILY_A FAMILY_AB, 1},
		{"Other", "info@company.com", "Else", WHOLE FAMILY_A FAMILY_B FAMILY_AB, 0},
		{"A", "info@company.com", "A", WHOLE FAMILY_A FAMILY_B FAMILY_AB, 0},
		{"A/B/C/D", "nobody@client1.com", "E", WHOLE FAMILY_A FAMILY_B FAMILY_AB, 0},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		void *fresh = NULL;
		char from[MAILBOX_SIZE], to[MAILBOX_SIZE];
		struct error error = {0};

		folder_setup(&fresh);
		grant_lines(fresh, family);
		struct sharing_writer *writer = open_writer(fresh);
		assert_int_equal(sharing_mailbox_renamed(writer, "info@company.com",
							 mailbox_of(cases[i].from, from),
							 cases[i].new_owner, mailbox_of(cases[i].to, to),
							 &error), cases[i].answer);
		sharing_writer_close(&writer);
		expect_grants(fresh, cases[i].expected);
		support_teardown(&fresh);
	}
	(void)state;
}

/* Names that are longer than a key and differ behind its end alone, as parents and children. */
static void long_names_are_kept_apart(void **state)
{
	char one[600], two[600], child[700], moved[700];
	struct sharing_writer *writer;
	struct error error = {0};
	const struct grant_change change = change_of("bob@client1.com", "l");
	struct rights_user bob = user_of(*state, "bob@client1.com");
	uint16_t rights;

	for (size_t length = 370; length <= 410; length++) {
		void *fresh = NULL;

		folder_setup(&fresh);
		memset(one, 'n', length);
		snprintf(one + length, sizeof one - length, "1");
		memset(two, 'n', length);
		snprintf(two + length, sizeof two - length, "2");
		snprintf(child, sizeof child, "%s\x1f" "child", one);
		writer = open_writer(fresh);
		assert_int_equal(sharing_change(writer, &administrator, "info@company.com", one, &change,
						&error), 1);
		assert_int_equal(sharing_change(writer, &administrator, "info@company.com", child,
						&change, &error), 1);
		assert_int_equal(sharing_mailbox_deleted(writer, "info@company.com", two, &error), 0);
		assert_int_equal(sharing_mailbox_renamed(writer, "info@company.com", two,
							 "info@company.com", "T", &error), 0);
		assert_int_equal(sharing_mailbox_renamed(writer, "info@company.com", one,
							 "info@company.com", two, &error), 1);
		sharing_writer_close(&writer);
		snprintf(moved, sizeof moved, "%s\x1f" "child", two);
		struct sharing *sharing = open_reader(fresh);
		const char *const gone[] = {one, child}, *const there[] = {two, moved};
		for (size_t i = 0; i < 2; i++) {
			assert_int_equal(sharing_rights(sharing, &bob, "info@company.com", gone[i],
							&rights, &error), 0);
			assert_int_equal(rights, 0);
			assert_int_equal(sharing_rights(sharing, &bob, "info@company.com", there[i],
							&rights, &error), 0);
			assert_int_equal(rights, RIGHT_LOOKUP);
		}
		assert_int_equal(sharing_has_grants(sharing, "info@company.com", two, &error), 1);
		assert_int_equal(sharing_has_grants(sharing, "info@company.com", one, &error), 0);
		close_reader(&sharing);
		assert_int_equal(verify(fresh, false, print_found, NULL), 0);
		support_teardown(&fresh);
	}
	rights_user_finish(&bob);
}

/* Accounts and groups, by the commands that change the directory. */

static struct directory_writer *open_directory(const char *folder)
{
	struct directory_writer *writer;
	struct error error = {0};

	if (directory_writer_open(folder, false, &writer, &error) < 0)
		fail_msg("%s", error.text);
	return writer;
}

static const char *const given_and_received[] = {
	"info@company.com", "Box", "bob@client1.com", "lr",
	"info@company.com", "Box", "$staff@client1.com", "l",
	"info@company.com", "Box", "!$staff@client1.com", "nx",
	"bob@client1.com", "Mine", "info@company.com", "lrs",
	"bob@client1.com", "*", "bob@client1.com", "lrwstipekx",
	NULL,
};

static void a_deleted_account_takes_all_it_gave_and_received(void **state)
{
	struct error error = {0};

	grant_lines(*state, given_and_received);
	struct directory_writer *writer = open_directory(*state);
	assert_int_equal(directory_account_delete(writer, "bob", "client1.com", false, &error), 0);
	directory_writer_close(&writer);
	expect_grants(*state, "info@company.com Box $staff@client1.com l\n"
			      "info@company.com Box !$staff@client1.com -x\n");
}

static void a_renamed_account_keeps_all_it_gave_and_received(void **state)
{
	struct error error = {0};

	grant_lines(*state, given_and_received);
	struct directory_writer *writer = open_directory(*state);
	assert_int_equal(directory_account_rename(writer, "bob", "client1.com", "robert", "client2.com",
						  &error), 0);
	directory_writer_close(&writer);
	expect_grants(*state, "robert@client2.com * robert@client2.com lrwstipekx\n"
			      "robert@client2.com Mine info@company.com lrs\n"
			      "info@company.com Box $staff@client1.com l\n"
			      "info@company.com Box robert@client2.com lr\n"
			      "info@company.com Box !$staff@client1.com -x\n");
}

static void a_deleted_group_loses_what_it_received(void **state)
{
	struct error error = {0};

	grant_lines(*state, given_and_received);
	struct directory_writer *writer = open_directory(*state);
	assert_int_equal(directory_name_delete(writer, ENTRY_GROUP, "staff", "client1.com", &error), 0);
	directory_writer_close(&writer);
	expect_grants(*state, "bob@client1.com * bob@client1.com lrwstipekx\n"
			      "bob@client1.com Mine info@company.com lrs\n"
			      "info@company.com Box bob@client1.com lr\n");
}

/* As a mail process may leave it, which looked a name up just before it was deleted. */
static const char *const left_over[] = {
	"info@company.com", "Box", "new@client1.com", "lr",
	"info@company.com", "Box", "$team@client1.com", "lr",
	"info@company.com", "Box", "!$team@client1.com", "lr",
	"new@client1.com", "Box", "info@company.com", "lr",
	"info@company.com", "Box", "info@client1.com", "l",
	NULL,
};

static int next_account(void *context, struct account_change *account, struct error *error)
{
	bool *done = context;

	(void)error;
	if (*done)
		return 0;
	*done = true;
	*account = (struct account_change){.local = "new", .domain = "client1.com"};
	return 1;
}

static void rewind_accounts(void *context)
{
	*(bool *)context = false;
}

/* By each way to make an account or a group. */
static void nobody_new_has_what_an_older_one_of_the_name_had(void **state)
{
	static const char team_alone[] = "info@company.com Box $team@client1.com lr\n"
					 "info@company.com Box info@client1.com l\n"
					 "info@company.com Box !$team@client1.com lr\n";
	static const char new_alone[] = "new@client1.com Box info@company.com lr\n"
					"info@company.com Box info@client1.com l\n"
					"info@company.com Box new@client1.com lr\n";

	for (int way = 0; way < 4; way++) {
		const struct account_change account = {.local = "new", .domain = "client1.com"};
		bool done = false;
		const struct account_source source = {next_account, rewind_accounts, &done, false};
		struct error error = {0};
		void *fresh = NULL;
		int answer;

		folder_setup(&fresh);
		grant_lines(fresh, left_over);
		struct directory_writer *writer = open_directory(fresh);
		if (way == 0)
			answer = directory_account_add(writer, &account, &error);
		else if (way == 1)
			answer = directory_account_import(writer, &source, &error);
		else if (way == 2)
			answer = directory_account_rename(writer, "bob", "client1.com", "new",
							  "client1.com", &error);
		else
			answer = directory_group_add(writer, "team", "client1.com", NULL, 0, &error);
		directory_writer_close(&writer);
		if (answer < 0)
			fail_msg("%s", error.text);
		struct sharing *sharing = open_reader(fresh);
		struct listing listing = {.used = 0};
		assert_int_equal(sharing_each_of_owner(sharing, NULL, list_one, &listing, &error), 0);
		assert_string_equal(listing.text, way == 3 ? new_alone : team_alone);
		close_reader(&sharing);
		support_teardown(&fresh);
	}
	(void)state;
}

static void an_import_that_replaces_leaves_grants_alone(void **state)
{
	bool done = false;
	const struct account_source source = {next_account, rewind_accounts, &done, true};
	const struct account_change account = {.local = "new", .domain = "client1.com"};
	static const char *const lines[] = {"info@company.com", "Box", "new@client1.com", "lr", NULL};
	struct error error = {0};

	struct directory_writer *writer = open_directory(*state);
	assert_int_equal(directory_account_add(writer, &account, &error), 0);
	directory_writer_close(&writer);
	grant_lines(*state, lines);
	writer = open_directory(*state);
	assert_int_equal(directory_account_import(writer, &source, &error), 0);
	directory_writer_close(&writer);
	expect_grants(*state, "info@company.com Box new@client1.com lr\n");
}

/* A renaming, cut short before the directory had the new name: what was given under the old name
 * since is newer, and stays. */
static void a_renaming_that_was_cut_short_is_taken_back(void **state)
{
	static const char *const since[] = {
		"bob@client1.com", "Mine", "info@client2.com", "l",
		"info@company.com", "Box", "bob@client1.com", "lrw",
		NULL};
	struct error error = {0};

	for (int newer = 0; newer < 2; newer++) {
		void *fresh = NULL;

		folder_setup(&fresh);
		grant_lines(fresh, given_and_received);
		struct sharing_writer *sharing = open_writer(fresh);
		assert_int_equal(sharing_rename_start(sharing, GRANTEE_USER, "bob@client1.com",
						      "robert@client1.com", &error), 0);
		sharing_writer_close(&sharing);
		if (newer)
			grant_lines(fresh, since);
		assert_int_equal(verify(fresh, true, NULL, NULL), 1); /* leaves it alone, and says so */
		struct directory_writer *writer = open_directory(fresh);
		directory_writer_close(&writer);
		expect_grants(fresh, newer ? "bob@client1.com * bob@client1.com lrwstipekx\n"
					     "bob@client1.com Mine info@client2.com l\n"
					     "info@company.com Box $staff@client1.com l\n"
					     "info@company.com Box bob@client1.com lrw\n"
					     "info@company.com Box !$staff@client1.com -x\n"
					   : "bob@client1.com * bob@client1.com lrwstipekx\n"
					     "bob@client1.com Mine info@company.com lrs\n"
					     "info@company.com Box $staff@client1.com l\n"
					     "info@company.com Box bob@client1.com lr\n"
					     "info@company.com Box !$staff@client1.com -x\n");
		support_teardown(&fresh);
	}
	(void)state;
}

/* As where the map of directory.mdb has to grow, and the same is done again. */
static void a_renaming_that_is_begun_twice_is_one(void **state)
{
	struct error error = {0};

	grant_lines(*state, given_and_received);
	struct sharing_writer *writer = open_writer(*state);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sharing_rename_start(writer, GRANTEE_USER, "bob@client1.com",
						      "boss@company.com", &error), 0);
	assert_int_equal(sharing_rename_end(writer, false, &error), 0);
	assert_int_equal(sharing_rename_end(writer, true, &error), 0); /* no note, nothing to undo */
	sharing_writer_close(&writer);
	expect_grants(*state, "boss@company.com * boss@company.com lrwstipekx\n"
			      "boss@company.com Mine info@company.com lrs\n"
			      "info@company.com Box $staff@client1.com l\n"
			      "info@company.com Box boss@company.com lr\n"
			      "info@company.com Box !$staff@client1.com -x\n");
}

static void a_directory_without_a_file_of_grants_works_as_before(void **state)
{
	char *file = support_path(*state, "sharing.mdb");
	struct error error = {0};

	assert_int_equal(unlink(file), 0);
	free(file);
	struct directory_writer *writer = open_directory(*state);
	assert_int_equal(directory_account_rename(writer, "bob", "client1.com", "robert", "client1.com",
						  &error), 0);
	assert_int_equal(directory_account_delete(writer, "robert", "client1.com", true, &error), 0);
	assert_int_equal(directory_group_add(writer, "new", "client1.com", NULL, 0, &error), 0);
	assert_int_equal(directory_name_delete(writer, ENTRY_GROUP, "new", "client1.com", &error), 0);
	directory_writer_close(&writer);
	struct sharing *sharing;
	assert_int_equal(sharing_open(*state, &sharing, &error), -1);
	assert_int_equal(error.code, ERROR_MISSING);
}

/* Reading. */

static int list_visible(const char *owner, const char *mailbox, uint16_t rights, void *context)
{
	char box[MAILBOX_SIZE], text[RIGHTS_SIZE];

	assert_true(mailbox_format(mailbox, '/', box, sizeof box));
	rights_format(rights, text);
	add_line(context, "%s %s %s\n", owner, box, text);
	return 0;
}

static void what_is_visible_comes_by_owner_and_mailbox(void **state)
{
	static const char *const lines[] = {
		"info@company.com", "Box", "bob@client1.com", "lr",
		"info@company.com", "Box/Below", "$staff@client1.com", "l",
		"info@company.com", "Box/Below", "anyone@client1.com", "r",
		"info@company.com", "A", "anyone", "l",
		"info@company.com", "Hidden", "bob@client1.com", "r",
		"info@company.com", "Taken", "anyone", "l",
		"info@company.com", "Taken", "bob@client1.com", "",
		"info@client2.com", "*", "anyone@client1.com", "lr",
		"info@client2.com", "Not", "bob@client1.com", "nl",
		"info@client2.com", "More", "bob@client1.com", "lri",
		"info@client2.com", "Others", "info@client1.com", "lri",
		"bob@client1.com", "Own", "anyone", "l",
		"bob@client1.com", "*", "owner", "lra",
		"info@client1.com", "Box", "info@company.com", "l",
		"public:Public/", "News", "authenticated", "lr",
		NULL};
	static const struct {
		const char *user, *visible;
	} cases[] = {
		{"bob@client1.com", "info@client2.com * lr\n"
				    "info@client2.com More lri\n"
				    "info@company.com A l\n"
				    "info@company.com Box lr\n"
				    "info@company.com Box/Below l\n"
				    "public:Public/ News lr\n"},
		{"info@client1.com", "bob@client1.com Own l\n"
				     "info@client2.com * lr\n"
				     "info@client2.com Others lri\n"
				     "info@company.com A l\n"
				     "info@company.com Taken l\n"
				     "public:Public/ News lr\n"},
		/* an administrator sees what was granted, with all rights */
		{"boss@company.com", "bob@client1.com Own l\n"
				     "info@company.com A lrwstipekxa\n"
				     "info@company.com Taken lrwstipekxa\n"
				     "public:Public/ News lr\n"},
		{"", "bob@client1.com Own l\n"
		     "info@company.com A l\n"
		     "info@company.com Taken l\n"},
	};

	grant_lines(*state, lines);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct rights_user user = user_of(*state, cases[i].user);
		struct sharing *sharing = open_reader(*state);
		struct listing listing = {.used = 0};
		struct error error = {0};

		if (sharing_each_visible(sharing, &user, list_visible, &listing, &error) != 0)
			fail_msg("%s", error.text);
		assert_string_equal(listing.text, cases[i].visible);
		close_reader(&sharing);
		rights_user_finish(&user);
	}
}

static int stop_at_once(const char *owner, const char *mailbox, uint16_t rights, void *context)
{
	(void)owner, (void)mailbox, (void)rights;
	++*(int *)context;
	return 7;
}

static void a_callback_ends_the_walk(void **state)
{
	static const char *const lines[] = {"info@company.com", "A", "anyone", "l",
					    "info@company.com", "B", "anyone", "l", NULL};
	struct rights_user user = user_of(*state, "bob@client1.com");
	struct error error = {0};
	int calls = 0;

	grant_lines(*state, lines);
	struct sharing *sharing = open_reader(*state);
	assert_int_equal(sharing_each_visible(sharing, &user, stop_at_once, &calls, &error), 7);
	assert_int_equal(calls, 1);
	close_reader(&sharing);
	rights_user_finish(&user);
}

static void only_grants_to_others_make_a_mailbox_shared(void **state)
{
	static const char *const lines[] = {
		"info@company.com", "A/B/C", "bob@client1.com", "l",
		"info@company.com", "Own", "info@company.com", "l",
		"info@company.com", "Own/Too", "owner", "l",
		"info@company.com", "AB", "info@company.com", "l",
		"info@client1.com", "*", "bob@client1.com", "nl",
		NULL};
	static const struct {
		const char *owner, *box;
		int has;
	} cases[] = {
		{"info@company.com", "*", 1},	  {"info@company.com", "A", 1},
		{"info@company.com", "A/B", 1},	  {"info@company.com", "A/B/C", 1},
		{"info@company.com", "A/B/C/D", 0}, {"info@company.com", "Own", 0},
		{"info@company.com", "Own/Too", 0}, {"info@company.com", "AB", 0},
		{"info@client1.com", "*", 1},	  {"info@client1.com", "A", 0},
		{"info@client2.com", "*", 0},	  {"nobody@client2.com", "A", 0},
	};
	struct error error = {0};
	char mailbox[MAILBOX_SIZE];

	grant_lines(*state, lines);
	struct sharing *sharing = open_reader(*state);
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++)
		assert_int_equal(sharing_has_grants(sharing, cases[i].owner,
						    mailbox_of(cases[i].box, mailbox), &error),
				 cases[i].has);
	close_reader(&sharing);
}

/* A file of an older Homing, with `meta` alone. */

static void make_older(const char *folder)
{
	static const char *const meta[] = {"meta", NULL};
	static const struct store_kind older = {.name = "sharing", .tables = meta, .mode = 0660};
	char *file = support_path(folder, "sharing.mdb"), *lock = support_path(folder, "sharing.mdb-lock");
	struct error error = {0};

	assert_int_equal(unlink(file), 0);
	assert_int_equal(unlink(lock), 0);
	if (store_make(file, &older, true, &error) < 0)
		fail_msg("%s", error.text);
	free(file);
	free(lock);
}

static void an_older_file_is_empty_until_the_first_change(void **state)
{
	const char *folder = *state;
	struct rights_user bob = user_of(folder, "bob@client1.com");
	struct error error = {0};
	uint16_t rights = 1;

	make_older(folder);
	expect_grants(folder, "");
	struct sharing *sharing = open_reader(folder);
	struct listing listing = {.used = 0};
	assert_int_equal(sharing_rights(sharing, &bob, "info@company.com", "Box", &rights, &error), 0);
	assert_int_equal(rights, 0);
	assert_int_equal(sharing_each_visible(sharing, &bob, list_visible, &listing, &error), 0);
	assert_int_equal(sharing_has_grants(sharing, "info@company.com", "", &error), 0);
	uint64_t before = sharing_snapshot(sharing);
	sharing_end(sharing);
	pid_t child = fork(); /* another process makes the tables, under an open reader */
	if (child == 0) {
		struct sharing_writer *writer = open_writer(folder);

		if (sharing_mailbox_deleted(writer, "info@company.com", "Box", &error) != 0 ||
		    sharing_deleted(writer, GRANTEE_USER, "bob@client1.com", &error) != 0)
			_exit(1);
		grant(writer, "info@company.com", "Box", "bob@client1.com", "lr");
		sharing_writer_close(&writer);
		_exit(0);
	}
	int status;
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_int_not_equal(sharing_version(sharing), before);
	assert_int_equal(sharing_begin(sharing, &error), 0);
	assert_int_equal(sharing_rights(sharing, &bob, "info@company.com", "Box", &rights, &error), 0);
	assert_int_equal(rights, letters("lr"));
	close_reader(&sharing);
	rights_user_finish(&bob);
	expect_grants(folder, "info@company.com Box bob@client1.com lr\n");
}

/* A refused first change leaves an older file as it is, and the writer usable. */
static void a_refused_first_change_makes_no_tables(void **state)
{
	struct rights_user bob = user_of(*state, "bob@client1.com");
	const struct sharing_actor actor = {.me = &bob};
	struct error error = {0};

	make_older(*state);
	struct sharing_writer *writer = open_writer(*state);
	assert_int_equal(change_as(writer, &actor, "info@company.com", "Box", "bob@client1.com", "lr",
				   &error), -1);
	assert_int_equal(error.code, ERROR_PERMISSION);
	assert_int_equal(grant(writer, "info@company.com", "Box", "bob@client1.com", "!"), 0);
	assert_int_equal(grant(writer, "info@company.com", "Box", "bob@client1.com", "lr"), 1);
	assert_int_equal(grant(writer, "info@company.com", "Box", "bob@client1.com", "+i"), 1);
	sharing_writer_close(&writer);
	rights_user_finish(&bob);
	expect_grants(*state, "info@company.com Box bob@client1.com lri\n");
}

/* Damaged files. */

static int drop_index(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	int rc = mdb_drop(txn, tables[TABLE_RECEIVED], 1);

	(void)context;
	return rc == 0 ? 0 : store_writer_failed(error, txn, rc, "drop");
}

static const struct store_kind raw_kind = {
	.name = "sharing", .tables = sharing_tables, .mode = 0660, .since = SHARING_SINCE};

/* An older file has none of the tables; one that has some is damaged, and is not taken for empty. */
static void a_file_that_lacks_a_table_is_not_an_older_one(void **state)
{
	static const char *const one[] = {"info@company.com", "Box", "bob@client1.com", "lr", NULL};
	char *file = support_path(*state, "sharing.mdb");
	struct store_writer *writer;
	struct sharing *sharing;
	struct sharing_writer *sharing_writer;
	struct error error = {0};

	grant_lines(*state, one);
	assert_int_equal(store_writer_open(file, &raw_kind, false, &writer, &error), 0);
	assert_int_equal(store_write(writer, drop_index, NULL, &error), 0);
	store_writer_close(&writer);
	assert_int_equal(sharing_open(*state, &sharing, &error), -1);
	assert_int_equal(error.code, ERROR_CORRUPT);
	error_clear(&error);
	assert_int_equal(sharing_writer_open(*state, &sharing_writer, &error), -1);
	assert_int_equal(error.code, ERROR_CORRUPT);
	free(file);
}

struct damage {
	enum sharing_table table;
	const void *key;
	size_t key_length;
	const void *value;
	size_t value_length;
	bool delete;
};

#define DAMAGE_PUT(in, key_text, value_text)                                                   \
	{.table = in, .key = key_text, .key_length = sizeof key_text - 1, .value = value_text, \
	 .value_length = sizeof value_text - 1}
#define DAMAGE_DELETE(in, key_text)                                                            \
	{.table = in, .key = key_text, .key_length = sizeof key_text - 1, .delete = true}

static int do_damage(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	const struct damage *damage = context;
	MDB_val key = {.mv_data = (void *)damage->key, .mv_size = damage->key_length};
	MDB_val value = {.mv_data = (void *)damage->value, .mv_size = damage->value_length};
	int rc = damage->delete ? mdb_del(txn, tables[damage->table], &key, NULL)
				: mdb_put(txn, tables[damage->table], &key, &value, 0);

	return rc == 0 ? 0 : store_writer_failed(error, txn, rc, "damage");
}

static void damage_file(const char *folder, const struct damage *damage)
{
	char *file = support_path(folder, "sharing.mdb");
	struct store_writer *writer;
	struct error error = {0};

	if (store_writer_open(file, &raw_kind, false, &writer, &error) < 0 ||
	    store_write(writer, do_damage, (void *)damage, &error) != 0)
		fail_msg("%s", error.text);
	store_writer_close(&writer);
	free(file);
}

static const char *const one_grant[] = {"info@company.com", "Box", "bob@client1.com", "lr", NULL};
/* In the order of one_grant: the owner's id is 1, the grantee's 2. */
#define OWNER_ID "\0\0\0\0\0\0\0\1"
#define BOB_ID "\0\0\0\0\0\0\0\2"
#define UNKNOWN_ID "\0\0\0\0\0\0\0\7"
#define BYTES(text) text, sizeof text - 1

static void damaged_values_are_refused_with_their_key(void **state)
{
	static const struct {
		struct {
			const char *bytes;
			size_t length;
		} value;
	} cases[] = {
		{{BYTES("")}},
		{{BYTES("\0")}},
		{{BYTES("no end")}},
		{{BYTES("\0\6" BOB_ID "\1\3\0\0")}},
		{{BYTES("\0\6" BOB_ID "\1\3\0\0\0\0")}},
		/* a kind, halves and rights that do not exist; an id that does not belong to the kind */
		{{BYTES("\0\0" BOB_ID "\1\3\0\0\0")}},
		{{BYTES("\0\x8" BOB_ID "\1\3\0\0\0")}},
		{{BYTES("\0\6" BOB_ID "\0\0\0\0\0")}},
		{{BYTES("\0\6" BOB_ID "\4\3\0\0\0")}},
		{{BYTES("\0\6" BOB_ID "\1\0\x8\0\0")}},
		{{BYTES("\0\6" BOB_ID "\2\3\0\0\0")}},
		{{BYTES("\0\6" BOB_ID "\1\3\0\1\0")}},
		{{BYTES("\0\6\0\0\0\0\0\0\0\0\1\3\0\0\0")}},
		{{BYTES("\0\1" BOB_ID "\1\3\0\0\0")}},
		/* twice, and not sorted */
		{{BYTES("\0\6" BOB_ID "\1\3\0\0\0\6" BOB_ID "\1\3\0\0\0")}},
		{{BYTES("\0\6" BOB_ID "\1\3\0\0\0\6" OWNER_ID "\1\3\0\0\0")}},
		/* a name where the key has it */
		{{BYTES("Box\0\6" BOB_ID "\1\3\0\0\0")}},
	};
	struct rights_user bob = user_of(*state, "bob@client1.com");

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct damage with_value = DAMAGE_PUT(TABLE_GRANTS, OWNER_ID "Box", "");
		void *fresh = NULL;
		uint16_t rights = 0x5555;

		with_value.value = cases[i].value.bytes;
		with_value.value_length = cases[i].value.length;
		folder_setup(&fresh);
		grant_lines(fresh, one_grant);
		damage_file(fresh, &with_value);
		struct sharing *sharing = open_reader(fresh);
		struct listing listing = {.used = 0};
		for (int call = 0; call < 3; call++) {
			struct error error = {0};
			int answer = call == 0 ? sharing_rights(sharing, &bob, "info@company.com", "Box",
								&rights, &error)
				     : call == 1 ? sharing_each_visible(sharing, &bob, list_visible,
									&listing, &error)
						 : sharing_each_of_owner(sharing, "info@company.com",
									 list_one, &listing, &error);
			if (answer != -1 || error.code != ERROR_CORRUPT || !strstr(error.text, "Box") ||
			    !strstr(error.text, "sharing.mdb"))
				fail_msg("case %zu, call %d: %d %s", i, call, answer, error.text);
		}
		assert_int_equal(rights, 0x5555);
		close_reader(&sharing);
		struct sharing_writer *writer = open_writer(fresh);
		struct error error = {0};
		assert_int_equal(change_as(writer, &administrator, "info@company.com", "Box",
					   "bob@client1.com", "l", &error), -1);
		assert_int_equal(error.code, ERROR_CORRUPT);
		sharing_writer_close(&writer);
		/* found, mended, and then whole and usable */
		assert_true(verify(fresh, false, NULL, NULL) > 0);
		assert_true(verify(fresh, true, NULL, NULL) > 0);
		expect_grants(fresh, "");
		grant_lines(fresh, one_grant);
		expect_grants(fresh, "info@company.com Box bob@client1.com lr\n");
		support_teardown(&fresh);
	}
	rights_user_finish(&bob);
}

static int take_received(const char *owner, const char *mailbox, void *context)
{
	(void)owner, (void)mailbox, (void)context;
	return 0;
}

/* No name that a mailbox cannot have is handed on, least of all one that would be taken for another. */
static void a_mailbox_that_cannot_be_is_not_another(void **state)
{
	static const struct {
		struct {
			const char *bytes;
			size_t length;
		} grants, received;
	} cases[] = {
		/* as a C string the whole account, and Box */
		{{BYTES(OWNER_ID "\0x")}, {BYTES("\6" BOB_ID OWNER_ID "\0x")}},
		{{BYTES(OWNER_ID "Box\0x")}, {BYTES("\6" BOB_ID OWNER_ID "Box\0x")}},
		{{BYTES(OWNER_ID "a\nb")}, {BYTES("\6" BOB_ID OWNER_ID "a\nb")}},
		{{BYTES(OWNER_ID "\xff")}, {BYTES("\6" BOB_ID OWNER_ID "\xff")}},
		{{BYTES(OWNER_ID "a\x1f")}, {BYTES("\6" BOB_ID OWNER_ID "a\x1f")}},
	};
	const struct grantee who = {.kind = GRANTEE_USER, .name = "bob@client1.com"};
	struct rights_user bob = user_of(*state, "bob@client1.com");

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct damage grants = DAMAGE_PUT(TABLE_GRANTS, "", "\0\6" BOB_ID "\1\3\0\0\0");
		struct damage received = DAMAGE_PUT(TABLE_RECEIVED, "", "");
		void *fresh = NULL;

		grants.key = cases[i].grants.bytes;
		grants.key_length = cases[i].grants.length;
		received.key = cases[i].received.bytes;
		received.key_length = cases[i].received.length;
		folder_setup(&fresh);
		grant_lines(fresh, one_grant);
		damage_file(fresh, &grants);
		damage_file(fresh, &received);
		struct sharing *sharing = open_reader(fresh);
		struct listing listing = {.used = 0};
		for (int call = 0; call < 3; call++) {
			struct error error = {0};
			int answer = call == 0 ? sharing_each_visible(sharing, &bob, list_visible,
								      &listing, &error)
				     : call == 1 ? sharing_each_received(sharing, &who, take_received,
									 NULL, &error)
						 : sharing_each_of_owner(sharing, "info@company.com",
									 list_one, &listing, &error);
			if (answer != -1 || error.code != ERROR_CORRUPT)
				fail_msg("case %zu, call %d: %d %s", i, call, answer, error.text);
		}
		close_reader(&sharing);
		assert_true(verify(fresh, true, NULL, NULL) > 0);
		expect_grants(fresh, "info@company.com Box bob@client1.com lr\n");
		support_teardown(&fresh);
	}
	rights_user_finish(&bob);
}

static void keep_found(const char *what, void *context)
{
	add_line(context, "%s\n", what);
}

/* What disagrees is found in words; mending takes away what cannot be told, and no more. */
static void verify_finds_and_mends_what_disagrees(void **state)
{
	static const struct {
		struct damage damage;
		const char *found, *after;
	} cases[] = {
		{DAMAGE_DELETE(TABLE_RECEIVED, "\6" BOB_ID OWNER_ID "Box"),
		 "info@company.com, Box: a grant to bob@client1.com that the index does not have\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_PUT(TABLE_RECEIVED, "\6" BOB_ID OWNER_ID "Other", ""),
		 "received \"\\x06\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01Other\": "
		 "the index has a grant that does not exist\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_PUT(TABLE_RECEIVED, "x", ""),
		 "received \"x\": the index has a grant that does not exist\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_DELETE(TABLE_GRANTS, OWNER_ID "Box"),
		 "received \"\\x06\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x02\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x01" "Box\": "
		 "the index has a grant that does not exist\n",
		 ""},
		{DAMAGE_DELETE(TABLE_PRINCIPAL_NAMES, BOB_ID),
		 "bob@client1.com: its id has no name\n"
		 "info@company.com, Box: a grant to nobody who has a name\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_DELETE(TABLE_PRINCIPALS, "Aclient1.com\0bob"),
		 "bob@client1.com: its id cannot be found from the name\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_PUT(TABLE_PRINCIPALS, "Aclient1.com\0info", BOB_ID),
		 "info@client1.com: its id is another's\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_PUT(TABLE_PRINCIPAL_NAMES, UNKNOWN_ID, "Aclient1.com\0bob"),
		 "bob@client1.com: it has two ids\nthe next id is one that is in use\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_PUT(TABLE_GRANTS, UNKNOWN_ID "Box", "\0\6" BOB_ID "\1\3\0\0\0"),
		 "grants \"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x07" "Box\": the owner has no name\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_PUT(TABLE_GRANTS, OWNER_ID "Box", "\0\6" BOB_ID "\1\3\0\0\0\6" UNKNOWN_ID "\1\3\0\0\0"),
		 "info@company.com, Box: a grant to nobody who has a name\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_PUT(TABLE_PRINCIPALS, "Zx", BOB_ID),
		 "principals \"Zx\": does not parse\n",
		 "info@company.com Box bob@client1.com lr\n"},
		/* keys that nobody looks up under the name that they would have */
		{DAMAGE_PUT(TABLE_PRINCIPALS, "Aa@b\0x", UNKNOWN_ID),
		 "principals \"Aa@b\\x00x\": does not parse\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_PUT(TABLE_PRINCIPAL_NAMES, UNKNOWN_ID, "A\0bob@client1.com"),
		 "names \"\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x07\": does not parse\n",
		 "info@company.com Box bob@client1.com lr\n"},
		{DAMAGE_PUT((enum sharing_table)STORE_META, SHARING_NEXT, BOB_ID),
		 "the next id is one that is in use\n",
		 "info@company.com Box bob@client1.com lr\n"},
	};

	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		for (int mend = 0; mend < 2; mend++) {
			struct listing listing = {.used = 0};
			void *fresh = NULL;
			int lines = 0;

			folder_setup(&fresh);
			grant_lines(fresh, one_grant);
			damage_file(fresh, &cases[i].damage);
			int count = verify(fresh, mend, keep_found, &listing);
			for (const char *next = listing.text; (next = strchr(next, '\n')); next++)
				lines++;
			assert_int_equal(count, lines);
			if (!mend)
				assert_string_equal(listing.text, cases[i].found);
			else
				expect_grants(fresh, cases[i].after);
			support_teardown(&fresh);
		}
	}
	(void)state;
}

static void verify_finds_whom_the_directory_does_not_know(void **state)
{
	static const char *const lines[] = {
		"info@company.com", "Box", "gone@client1.com", "lr",
		"info@company.com", "Box", "$gone@client1.com", "lr",
		"info@company.com", "Box", "anyone@gone.example", "lr",
		"info@company.com", "Box", "any@sqlsite.org", "lr",
		"info@company.com", "Box", "bob@client1.com", "lr",
		"info@company.com", "Box", "anyone", "l",
		"gone@client2.com", "Box", "bob@client1.com", "lr",
		"any@gone.example", "*", "bob@client1.com", "lr",
		"public:Public/", "Box", "bob@client1.com", "lr",
		"login", "Box", "bob@client1.com", "lr",
		NULL};
	struct listing listing = {.used = 0};

	grant_lines(*state, lines);
	assert_int_equal(verify(*state, false, keep_found, &listing), 5);
	assert_string_equal(listing.text,
			    "gone@client1.com: the directory has no such account (any more)\n"
			    "gone@client2.com: the directory has no such account (any more)\n"
			    "any@gone.example: the directory has no such account (any more)\n"
			    "gone.example: the directory has no such domain (any more)\n"
			    "gone@client1.com: the directory has no such group (any more)\n");
	assert_int_equal(verify(*state, true, NULL, NULL), 5);
	expect_grants(*state, "login Box bob@client1.com lr\n"
			      "info@company.com Box anyone l\n"
			      "info@company.com Box any@sqlsite.org lr\n"
			      "info@company.com Box bob@client1.com lr\n"
			      "public:Public/ Box bob@client1.com lr\n");
}

static void verify_needs_no_snapshot_and_ends_one(void **state)
{
	struct support_open open = support_open(*state, DIRECTORY_NAMES);
	struct sharing_writer *writer;
	struct error error = {0};

	grant_lines(*state, one_grant);
	writer = open_writer(*state);
	assert_int_equal(directory_begin(open.reader, &error), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(sharing_verify(writer, open.reader, i == 0, print_found, NULL, &error), 0);
	directory_end(open.reader);
	sharing_writer_close(&writer);
	support_close(&open);
}

/* Names that nobody refers to any more would be kept, looked through and verified for ever. */
static void nothing_stays_of_who_neither_gives_nor_has(void **state)
{
	char *file = support_path(*state, "sharing.mdb");
	struct sharing_writer *writer;
	struct store *store;
	struct store_reader *reader;
	struct error error = {0};
	char mailbox[MAILBOX_SIZE];

	grant_lines(*state, given_and_received);
	writer = open_writer(*state);
	for (const char *const *line = given_and_received; *line; line += 4) {
		struct grant_change change = change_of(line[2], "!");

		change.negative_mode = GRANT_CLEAR;
		assert_int_equal(sharing_change(writer, &administrator, line[0],
						mailbox_of(line[1], mailbox), &change, &error), 1);
	}
	grant(writer, "info@company.com", "A", "bob@client1.com", "lr");
	assert_int_equal(sharing_mailbox_renamed(writer, "info@company.com", "A", "info@client1.com",
						 "B", &error), 1);
	assert_int_equal(sharing_mailbox_deleted(writer, "info@client1.com", "B", &error), 1);
	grant(writer, "info@company.com", "A", "$staff@client1.com", "lr");
	assert_int_equal(sharing_deleted(writer, GRANTEE_GROUP, "staff@client1.com", &error), 1);
	sharing_writer_close(&writer);
	assert_int_equal(store_open(file, sharing_tables, &store, &error), 0);
	assert_int_equal(store_reader_create(store, &reader, &error), 0);
	assert_int_equal(store_begin(reader, &error), 0);
	for (unsigned table = TABLE_PRINCIPALS; table < SHARING_TABLE_COUNT; table++) {
		uint64_t count = 1;

		assert_int_equal(store_count(reader, table, &count, &error), 0);
		assert_int_equal(count, 0);
	}
	store_end(reader);
	store_reader_destroy(&reader);
	store_close(&store);
	free(file);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_setup, support_teardown)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mailboxes_are_named_by_their_parts),
		cmocka_unit_test(principals_come_back_from_their_keys),
		TEST(a_change_does_to_a_half_what_dovecots_modes_do),
		TEST(both_halves_change_at_once),
		TEST(names_that_cannot_be_stored_are_refused),
		TEST(a_user_changes_what_that_user_may_administer),
		TEST(a_setting_lets_users_give_rights_to_everybody),
		TEST(a_right_that_was_just_taken_away_changes_nothing),
		TEST(too_many_grants_on_one_mailbox_are_refused),
		TEST(an_import_is_all_or_nothing),
		TEST(the_map_grows_under_a_reader),
		TEST(a_new_mailbox_takes_what_its_parent_has),
		TEST(a_deleted_mailbox_loses_its_grants_and_no_others),
		cmocka_unit_test(a_renamed_mailbox_keeps_its_grants_and_its_childrens),
		TEST(long_names_are_kept_apart),
		TEST(a_deleted_account_takes_all_it_gave_and_received),
		TEST(a_renamed_account_keeps_all_it_gave_and_received),
		TEST(a_deleted_group_loses_what_it_received),
		cmocka_unit_test(nobody_new_has_what_an_older_one_of_the_name_had),
		TEST(an_import_that_replaces_leaves_grants_alone),
		cmocka_unit_test(a_renaming_that_was_cut_short_is_taken_back),
		TEST(a_renaming_that_is_begun_twice_is_one),
		TEST(a_directory_without_a_file_of_grants_works_as_before),
		TEST(what_is_visible_comes_by_owner_and_mailbox),
		TEST(a_callback_ends_the_walk),
		TEST(only_grants_to_others_make_a_mailbox_shared),
		TEST(an_older_file_is_empty_until_the_first_change),
		TEST(a_refused_first_change_makes_no_tables),
		TEST(a_file_that_lacks_a_table_is_not_an_older_one),
		TEST(damaged_values_are_refused_with_their_key),
		TEST(a_mailbox_that_cannot_be_is_not_another),
		cmocka_unit_test(verify_finds_and_mends_what_disagrees),
		TEST(verify_finds_whom_the_directory_does_not_know),
		TEST(verify_needs_no_snapshot_and_ends_one),
		TEST(nothing_stays_of_who_neither_gives_nor_has),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
