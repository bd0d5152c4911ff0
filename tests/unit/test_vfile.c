/* What homingctl share import-vfile reads: lines of dovecot-acl, names of folders, acl_shared_dict. */
#include "vfile-line.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "shared-dict.h"
#include "vfile-tree.h"

static void lines_are_read_as_dovecot_reads_them(void **state)
{
	static const struct {
		const char *line, *who, *letters;
		bool negative;
	} rows[] = {
		{"", "", "", false},
		{"# user=bob lr", "", "", false},
		{"user=bob@a.example lr", "bob@a.example", "lr", false},
		{"user=bob@a.example", "bob@a.example", "", false},
		{"user=bob@a.example ", "bob@a.example", "", false},
		{"user=bob@a.example \tlr\t ", "bob@a.example", "lr", false},
		{"-user=bob@a.example x", "bob@a.example", "x", true},
		{"group=staff lri", "$staff", "lri", false},
		{"-group=staff lri", "$staff", "lri", true},
		{"group-override=staff@b.example a", "!$staff@b.example", "a", false},
		{"owner lrwstipekxa", "owner", "lrwstipekxa", false},
		{"anyone l", "anyone", "l", false},
		{"anonymous l", "anyone", "l", false},
		{"authenticated lp", "authenticated", "lp", false},
		{"user=x lr:write-seen", "x", "lrs", false},
		{"user=x :lookup, read\tadmin", "x", "lra", false},
		{"user=x l : post", "x", "lp", false},
		{"\"user=two words\" lr", "two words", "lr", false},
		{"\"-user=two words\" lr", "two words", "lr", true},
		{"\"user=a\\\"b\\\\c\" l", "a\"b\\c", "l", false},
		{"\"user=x\"", "x", "", false},
		{"user=info%client2.com l", "info%client2.com", "l", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char letters[RIGHTS_SIZE];
		struct vfile_line line;

		assert_null(vfile_line_parse(rows[i].line, strlen(rows[i].line), &line));
		assert_string_equal(line.who, rows[i].who);
		rights_format(line.rights, letters);
		assert_string_equal(letters, rows[i].letters);
		assert_int_equal(line.negative, rows[i].negative);
	}
}

static void lines_that_would_mean_something_else_are_refused(void **state)
{
	/* the lines of users are of names that, here, would mean many */
	static const char *const rows[] = {
		"bob lr", " user=bob lr", "USER=bob lr", "user=bob lrq", "user=bob lr foo", "user=bob l :foo",
		"user=anyone lr", "user=authenticated lr", "user=owner lr", "user=anyone@a.example lr",
		"user=anyone%a.example lr", "user=Anyone lr", "user=ANYONE@a.example lr", "user=aNyOnE%a.example lr",
		"user=Authenticated lr", "user=OWNER lr", "user=$staff lr", "user=!$staff lr", "user=-bob lr",
		"\"user=bob lr", "\"user=bob\"lr", "\"user=bob\\", "\"", "-", "--user=bob l", "owner@x l",
	};
	struct vfile_line line;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (!vfile_line_parse(rows[i], strlen(rows[i]), &line))
			fail_msg("taken: %s", rows[i]);
		assert_string_equal(line.who, "");
	}
	assert_non_null(vfile_line_parse("user=a\0b lr", 11, &line));
	char *long_one = malloc(20000);
	memset(long_one, 'x', 20000);
	memcpy(long_one, "user=", 5);
	assert_non_null(vfile_line_parse(long_one, 20000, &line));
	long_one[0] = '"';
	assert_non_null(vfile_line_parse(long_one, 20000, &line));
	free(long_one);
}

static void what_is_written_is_read_as_the_same(void **state)
{
	static const struct grantee all[] = {
		{GRANTEE_ANYONE, ""},		  {GRANTEE_AUTHENTICATED, ""},
		{GRANTEE_GROUP, "staff@a.example"}, {GRANTEE_OWNER, ""},
		{GRANTEE_USER, "bob@a.example"},  {GRANTEE_GROUP_OVERRIDE, "staff@a.example"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof all / sizeof all[0]; i++)
		for (unsigned rights = 0; rights <= RIGHTS_ALL; rights++)
			for (int negative = 0; negative < 2; negative++) {
				char text[ADDRESS_SIZE + 64], who[GRANTEE_SIZE];
				struct vfile_line line;

				assert_true(vfile_line_format(&all[i], negative, (uint16_t)rights, text,
							      sizeof text));
				assert_null(vfile_line_parse(text, strlen(text) - 1, &line));
				grantee_format(&all[i], who);
				assert_string_equal(line.who, who);
				assert_int_equal(line.rights, rights);
				assert_int_equal(line.negative, negative);
			}
}

static void a_domain_has_no_line(void **state)
{
	struct grantee who = {GRANTEE_DOMAIN, "a.example"};
	char text[100];

	(void)state;
	assert_false(vfile_line_format(&who, false, RIGHTS_ALL, text, sizeof text));
}

static void stored_names_become_mailboxes(void **state)
{
	static const struct {
		const char *stored;
		char separator;
		const char *mailbox; /* NULL: refused */
	} rows[] = {
		{"Box", '.', "Box"},
		{"Box.Sub", '.', "Box\x1fSub"},
		{"Box/Sub", '/', "Box\x1fSub"},
		{"a.b/c", '/', "a.b\x1f" "c"},
		{"a/b.c", '.', "a/b\x1f" "c"},
		{"inbox.Sub", '.', "INBOX\x1fSub"},
		{"Drafts &- more", '.', "Drafts & more"},
		{"gr&APwA3w-", '.', "gr\xc3\xbc\xc3\x9f"},
		{"&2D3crA-", '/', "\xf0\x9f\x92\xac"},
		{"gr\xc3\xbc\xc3\x9f", '.', "gr\xc3\xbc\xc3\x9f"}, /* mailbox_list_utf8 */
		{"100%", '.', "100%"},
		{"~x", '.', "~x"},
		{"a\\zb", '.', "a\\zb"},
		{"a\\b", '.', "a\\b"},
		/* a mailbox that is called so: the whole account is "" */
		{"*", '.', "*"},
		{"*", '/', "*"},
		{"*.*", '.', "*\x1f*"},
		{"&bad", '.', NULL},
		{"&AGE-", '.', NULL}, /* `a`, as Dovecot never writes it */
		{"a..b", '.', NULL},
		{"", '.', NULL},
		{"a\\2eb", '.', NULL},
		{"\xff", '.', NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char mailbox[MAILBOX_SIZE];
		const char *why = vfile_name_parse(rows[i].stored, rows[i].separator, mailbox);

		if ((why == NULL) != (rows[i].mailbox != NULL))
			fail_msg("%s: %s", rows[i].stored, why ? why : "taken");
		if (rows[i].mailbox)
			assert_string_equal(mailbox, rows[i].mailbox);
	}
}

static void add_owner(const char *owner, void *context)
{
	char *all = context;

	strcat(strcat(all, owner), " ");
}

static void owners_are_found_in_every_form_of_acl_shared_dict(void **state)
{
	static const struct {
		const char *text, *owners;
		int wrong; /* lines that are no such thing */
	} rows[] = {
		{"shared/shared-boxes/user/b@x/a@x\n1\nshared/shared-boxes/anyone/c@x\n1\n", "a@x c@x ", 0},
		{"shared/shared-boxes/group/g/a\n1\n", "a ", 0},
		{"shared/other/x\nshared/shared-boxes/user/b/a\nshared/shared-boxes/user/b/a\n1\n", "a ", 0},
		{"shared/shared-boxes/\n1\n", "", 1},
		/* SQLite: .dump */
		{"PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"
		 "CREATE TABLE user_shares (\n  from_user varchar(100) not null,\n  to_user x\n);\n"
		 "INSERT INTO user_shares VALUES('a@x','b@x','1');\n"
		 "INSERT INTO anyone_shares VALUES('c''d@x','1');\n"
		 "INSERT INTO quota VALUES('q@x',1);\nCOMMIT;\n", "a@x c'd@x ", 0},
		/* mysqldump */
		{"-- MySQL dump\n/*!40101 SET x */;\nLOCK TABLES `user_shares` WRITE;\n"
		 "INSERT INTO `user_shares` VALUES ('a@x','b)@x','1'),('c@x','d@x','1');\nUNLOCK TABLES;\n",
		 "a@x c@x ", 0},
		{"INSERT INTO `user_shares` (`to_user`, `from_user`) VALUES ('a@x','b@x'), ('c','d');\n",
		 "b@x d ", 0},
		{"INSERT INTO `mine` (`to_user`, `from_user`) VALUES ('a@x','b@x');\n", "b@x ", 0},
		{"INSERT INTO user_shares VALUES\n('a@x','b@x','1'),\n('c@x','d@x','1');\n", "a@x c@x ", 0},
		{"INSERT OR REPLACE INTO main.\"user_shares\" VALUES('a@x','b@x','1');\n", "a@x ", 0},
		{"INSERT INTO quota VALUES\n('q@x',1),\n('r@x',1);\nINSERT INTO anyone_shares VALUES('a',1);\n",
		 "a ", 0},
		/* pg_dump */
		{"COPY public.anyone_shares (dummy, from_user) FROM stdin;\n1\ta@x\n1\tb@x\n\\.\n"
		 "COPY public.quota (u) FROM stdin;\nq@x\n\\.\n", "a@x b@x ", 0},
		/* CSV, and as programs print tables */
		{"a@x,b@x,1\n\"c@x\",\"d@x\",1\n", "a@x c@x ", 0},
		{"to_user,from_user\na@x,b@x\n", "b@x ", 0},
		{"a@x|b@x|1\n", "a@x ", 0},
		{"a@x\tb@x\t1\n", "a@x ", 0},
		{"+-----+-----+\n| from_user | to_user |\n+---+\n| a@x | b@x |\n", "a@x ", 0},
		{"alice,bob\r\n\r\n", "alice ", 0},
		{"what is this\n,b@x\n\"open\n", "", 3},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[1000], owners[1000] = "";
		struct shared_dict dict = {0};
		int wrong = 0;

		snprintf(text, sizeof text, "%s", rows[i].text);
		for (char *line = text; *line;) {
			char *next = line + strcspn(line, "\n") + 1;

			next[-1] = '\0';
			wrong += !shared_dict_line(&dict, line, add_owner, owners);
			line = next;
		}
		if (strcmp(owners, rows[i].owners) != 0 || wrong != rows[i].wrong)
			fail_msg("%s\ngave `%s` and %d wrong lines", rows[i].text, owners, wrong);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_are_read_as_dovecot_reads_them),
		cmocka_unit_test(lines_that_would_mean_something_else_are_refused),
		cmocka_unit_test(what_is_written_is_read_as_the_same),
		cmocka_unit_test(a_domain_has_no_line),
		cmocka_unit_test(stored_names_become_mailboxes),
		cmocka_unit_test(owners_are_found_in_every_form_of_acl_shared_dict),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
