/* Rights: letters, what several grants add up to, and whom an identifier means. */
#include "rights.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof *(array))

static void letters_are_those_of_rfc_4314(void **state)
{
	static const struct {
		const char *text, *formatted; /* NULL: refused */
	} cases[] = {
		{"", ""},	   {"l", "l"},	     {"lrwstipekxa", "lrwstipekxa"},
		{"axkepitswrl", "lrwstipekxa"}, {"rrl", "lr"}, {"c", "kx"},
		{"d", "te"},	   {"lrcd", "lrtekx"}, {"L", NULL},
		{"lz", NULL},	   {"l r", NULL},      {"-l", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		uint16_t rights = 0x5555;
		char formatted[RIGHTS_SIZE];
		const char *why = rights_parse(cases[i].text, strlen(cases[i].text), &rights);

		if (!cases[i].formatted) {
			assert_non_null(why);
			assert_int_equal(rights, 0x5555);
			continue;
		}
		assert_null(why);
		rights_format(rights, formatted);
		assert_string_equal(formatted, cases[i].formatted);
	}
	uint16_t rights;
	assert_non_null(rights_parse("l\0r", 3, &rights));
}

/* `identifier letters` or `identifier -letters`, several apart by commas; a bare identifier with
 * nothing behind it has an empty half. Identifiers as grantee_format() writes them. */
static size_t read_grants(const char *text, struct grant *grants)
{
	size_t count = 0;
	char copy[512], *rest = copy, *piece;

	snprintf(copy, sizeof copy, "%s", text);
	while ((piece = strsep(&rest, ",")) && *piece) {
		char *letters = strchr(piece, ' ');
		struct grantee who = {.kind = GRANTEE_USER};

		assert_non_null(letters);
		*letters++ = '\0';
		if (strcmp(piece, "anyone") == 0)
			who.kind = GRANTEE_ANYONE;
		else if (strcmp(piece, "authenticated") == 0)
			who.kind = GRANTEE_AUTHENTICATED;
		else if (strcmp(piece, "owner") == 0)
			who.kind = GRANTEE_OWNER;
		else if (strncmp(piece, "anyone@", 7) == 0)
			who.kind = GRANTEE_DOMAIN, piece += 7;
		else if (piece[0] == '$')
			who.kind = GRANTEE_GROUP, piece++;
		else if (strncmp(piece, "!$", 2) == 0)
			who.kind = GRANTEE_GROUP_OVERRIDE, piece += 2;
		if (strchr("aouv", *piece) == NULL || strchr(piece, '@') || strchr(piece, '.'))
			snprintf(who.name, sizeof who.name, "%s", piece);
		struct grant *grant = NULL;
		for (size_t i = 0; i < count; i++)
			if (grantee_compare(&grants[i].who, &who) == 0)
				grant = &grants[i];
		if (!grant) {
			grant = &grants[count++];
			*grant = (struct grant){.who = who};
		}
		bool negative = *letters == '-';
		uint16_t *half = negative ? &grant->negative : &grant->rights;
		*(negative ? &grant->has_negative : &grant->has_rights) = true;
		letters += negative;
		assert_null(rights_parse(letters, strlen(letters), half));
	}
	for (size_t i = 1; i < count; i++)
		assert_true(grantee_compare(&grants[i - 1].who, &grants[i].who) < 0);
	return count;
}

static char bob_group_a[] = "a@client1.com", bob_group_b[] = "b@client1.com";
static char bob_domain[] = "client2.com";
static char *bob_groups[] = {bob_group_a, bob_group_b}, *bob_administers[] = {bob_domain};
static const struct rights_user bob = {
	.user = "bob@client1.com",
	.domain = "client1.com",
	.groups = bob_groups,
	.group_count = 2,
	.administers = bob_administers,
	.administers_count = 1,
};
static const struct rights_user nobody = {.user = ""};

static void grants_add_up_from_the_weakest_kind_to_the_strongest(void **state)
{
	static const struct {
		const char *owner, *own, *whole, *rights;
		const struct rights_user *me; /* NULL: bob */
	} cases[] = {
		{"info@company.com", "", "", "", NULL},
		{"bob@client1.com", "", "", "lrwstipekxa", NULL},
		/* a kind replaces what weaker ones gave */
		{"info@company.com", "anyone lr,bob@client1.com l", "", "l", NULL},
		{"info@company.com", "anyone lr,authenticated w", "", "w", NULL},
		{"info@company.com", "anyone lr,authenticated w", "", "lr", &nobody},
		{"info@company.com", "authenticated lr,anyone@client1.com l", "", "l", NULL},
		{"info@company.com", "anyone@client1.com lr,$a@client1.com i", "", "i", NULL},
		{"info@company.com", "anyone@client2.com lr", "", "", NULL},
		{"info@company.com", "anyone@client1.com lr", "", "", &nobody},
		/* groups add up */
		{"info@company.com", "$a@client1.com lr,$b@client1.com ip", "", "lrip", NULL},
		{"info@company.com", "$a@client1.com lr,$b@client1.com -r", "", "l", NULL},
		{"info@company.com", "$a@client1.com lr,$c@client1.com ip", "", "lr", NULL},
		/* each half by itself: what a group takes away says nothing about what weaker kinds gave,
		 * whichever group's name comes first */
		{"info@company.com", "anyone rw,$a@client1.com -x,$b@client1.com lx", "", "l", NULL},
		{"info@company.com", "anyone rw,$a@client1.com lx,$b@client1.com -x", "", "l", NULL},
		{"info@company.com", "anyone rw,$a@client1.com -x", "", "rw", NULL},
		{"info@company.com", "anyone -l,$a@client1.com lr,$b@client1.com -x", "", "lr", NULL},
		/* an override is stronger than the user's own */
		{"info@company.com", "bob@client1.com lrw,!$a@client1.com l", "", "l", NULL},
		{"info@company.com", "bob@client1.com lrw,!$a@client1.com ,!$b@client1.com s", "", "s", NULL},
		/* negative rights: stay until a stronger kind says something of its own */
		{"info@company.com", "anyone -r,bob@client1.com lr", "", "l", NULL},
		{"info@company.com", "anyone -r,bob@client1.com lr,bob@client1.com -", "", "lr", NULL},
		{"info@company.com", "anyone lr,bob@client1.com -r", "", "l", NULL},
		/* a half that is there and empty takes away */
		{"info@company.com", "anyone lr,bob@client1.com ", "", "", NULL},
		/* the owner: weaker kinds say nothing */
		{"bob@client1.com", "anyone l,authenticated r,anyone@client1.com i,$a@client1.com p", "",
		 "lrwstipekxa", NULL},
		{"bob@client1.com", "anyone -lrwstipekxa", "", "lrwstipekxa", NULL},
		{"bob@client1.com", "owner lr", "", "lr", NULL},
		{"bob@client1.com", "owner lr,bob@client1.com lrw", "", "lrw", NULL},
		{"bob@client1.com", "owner -xa", "", "lrwstipek", NULL},
		{"bob@client1.com", "!$b@client1.com l", "", "l", NULL},
		{"info@company.com", "owner lr", "", "", NULL},
		{"", "owner lr", "", "", &nobody},
		/* the whole account, where the mailbox has none for the same identifier */
		{"info@company.com", "", "bob@client1.com lr", "lr", NULL},
		{"info@company.com", "bob@client1.com l", "bob@client1.com lrw", "l", NULL},
		{"info@company.com", "bob@client1.com -r", "bob@client1.com lrw", "", NULL},
		{"info@company.com", "anyone i", "bob@client1.com lr", "lr", NULL},
		{"info@company.com", "$a@client1.com i", "anyone lr", "i", NULL},
		{"info@company.com", "$a@client1.com i", "$b@client1.com lr", "lri", NULL},
		{"info@company.com", "$b@client1.com -i", "$a@client1.com lri", "lr", NULL},
		/* administrators of the owner's domain */
		{"info@client2.com", "", "", "lrwstipekxa", NULL},
		{"info@client2.com", "bob@client1.com -lrwstipekxa", "", "lrwstipekxa", NULL},
		{"info@client2.com", "", "", "", &nobody},
		{"public:info@client2.com", "", "", "", NULL},
		{"public:Shared/", "anyone lr", "", "lr", NULL},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct grant own[8], whole[8];
		size_t own_count = read_grants(cases[i].own, own);
		size_t whole_count = read_grants(cases[i].whole, whole);
		char letters[RIGHTS_SIZE];
		const struct rights_user *me = cases[i].me ? cases[i].me : &bob;

		rights_format(rights_of(me, cases[i].owner, own, own_count, whole, whole_count), letters);
		if (strcmp(letters, cases[i].rights) != 0)
			fail_msg("%s / %s / %s: %s, expected %s", cases[i].owner, cases[i].own,
				 cases[i].whole, letters, cases[i].rights);
	}
}

static const char directory_json[] =
	"{\"main_domain\": \"company.com\", \"domains\": {"
	" \"company.com\": {\"administrators\": [\"boss\"]},"
	" \"client1.com\": {\"aliases\": [\"mail.client1.com\"],"
	"   \"administrators\": [\"bob\", \"boss@company.com\"]},"
	" \"client2.com\": {},"
	" \"sqlsite.org\": {\"accounts\": \"external\"}},"
	" \"router\": [{\"match\": \"old@client1.com\", \"to\": \"bob@client1.com\"}]}";
static const char directory_names[] = "account info@company.com\n"
				      "account boss@company.com\n"
				      "account info@client1.com\n"
				      "account bob@client1.com\n"
				      "account info@client2.com\n"
				      "account owner@client1.com\n"
				      "alias robert@client1.com bob@client1.com\n"
				      "alias rob@client1.com robert@client1.com\n"
				      "forwarder away@client1.com x@elsewhere.example\n"
				      "group staff@client1.com bob@client1.com info@client2.com\n"
				      "group all@company.com staff@client1.com\n"
				      "group friends@client2.com rob@client1.com user@sqlsite.org\n"
				      "group loop1@client2.com loop2@client2.com info@client2.com\n"
				      "group loop2@client2.com loop1@client2.com\n";
static char *folder;
static struct support_open opened;

static int directory_setup(void **state)
{
	struct error error = {0};

	(void)state;
	folder = support_folder();
	support_apply(folder, directory_json);
	support_add_names(folder, directory_names);
	opened = support_open(folder, DIRECTORY_NAMES);
	return directory_begin(opened.reader, &error);
}

static int directory_teardown(void **state)
{
	(void)state;
	directory_end(opened.reader);
	support_close(&opened);
	support_folder_remove(&folder);
	return 0;
}

static void an_identifier_means_what_a_login_would_open(void **state)
{
	static const struct {
		const char *text, *domain;
		const char *formatted; /* "": refused */
		enum grantee_kind kind;
	} cases[] = {
		{"anyone", "client1.com", "anyone", GRANTEE_ANYONE},
		{"ANYONE", "client1.com", "anyone", GRANTEE_ANYONE},
		{"authenticated", "", "authenticated", GRANTEE_AUTHENTICATED},
		{"owner", "", "owner", GRANTEE_OWNER},
		{"anyone@", "client1.com", "anyone@client1.com", GRANTEE_DOMAIN},
		{"anyone@client2.com", "client1.com", "anyone@client2.com", GRANTEE_DOMAIN},
		{"anyone@CLIENT2.com.", "client1.com", "anyone@client2.com", GRANTEE_DOMAIN},
		{"anyone%client2.com", "client1.com", "anyone@client2.com", GRANTEE_DOMAIN},
		{"anyone@mail.client1.com", "", "anyone@client1.com", GRANTEE_DOMAIN},
		{"anyone@", "", "", 0},
		{"anyone@elsewhere.example", "client1.com", "", 0},
		{"anyone@@", "client1.com", "", 0},
		{"bob", "client1.com", "bob@client1.com", GRANTEE_USER},
		{"Bob", "client1.com", "bob@client1.com", GRANTEE_USER},
		{"bob", "company.com", "", 0},
		{"bob", "", "", 0},
		{"info", "company.com", "info@company.com", GRANTEE_USER},
		{"info%client2.com", "client1.com", "info@client2.com", GRANTEE_USER},
		{"info@client2.com", "client1.com", "info@client2.com", GRANTEE_USER},
		{"info@mail.client1.com", "company.com", "info@client1.com", GRANTEE_USER},
		{"robert", "client1.com", "bob@client1.com", GRANTEE_USER},
		{"rob%client1.com", "", "bob@client1.com", GRANTEE_USER},
		{"old@client1.com", "", "bob@client1.com", GRANTEE_USER},
		{"owner@client1.com", "", "owner@client1.com", GRANTEE_USER},
		{"user@sqlsite.org", "", "user@sqlsite.org", GRANTEE_USER},
		{"$x@sqlsite.org", "", "", 0},
		{"away", "client1.com", "", 0},
		{"staff", "client1.com", "", 0},
		{"nobody", "client1.com", "", 0},
		{"info@elsewhere.example", "client1.com", "", 0},
		{"$staff", "client1.com", "$staff@client1.com", GRANTEE_GROUP},
		{"$Staff@Client1.com", "", "$staff@client1.com", GRANTEE_GROUP},
		{"$staff%client1.com", "", "$staff@client1.com", GRANTEE_GROUP},
		{"$staff@mail.client1.com", "", "$staff@client1.com", GRANTEE_GROUP},
		{"!$staff", "client1.com", "!$staff@client1.com", GRANTEE_GROUP_OVERRIDE},
		{"$!staff", "client1.com", "", 0},
		{"$staff", "company.com", "", 0},
		{"$bob", "client1.com", "", 0},
		{"$", "client1.com", "", 0},
		{"$@client1.com", "client1.com", "", 0},
		{"", "client1.com", "", 0},
		{"-bob", "client1.com", "", 0},
		{"#staff", "client1.com", "", 0},
		{"Sent#bob", "client1.com", "", 0},
		{"sp ace", "client1.com", "", 0},
		{"-x@sqlsite.org", "", "", 0},
		{"bob\n@client1.com", "", "", 0},
		{"\xff@client1.com", "", "", 0},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct grantee who = {.kind = 0}, again;
		char why[GRANTEE_WHY_SIZE], text[GRANTEE_SIZE];
		struct error error = {0};
		int found = grantee_parse(opened.reader, cases[i].text, cases[i].domain, &who, why, &error);

		if (found < 0)
			fail_msg("%s: %s", cases[i].text, error.text);
		if (!*cases[i].formatted) {
			if (found != 0 || why[0] == '\0')
				fail_msg("%s: not refused, or not with words", cases[i].text);
			continue;
		}
		if (found != 1)
			fail_msg("%s: refused: %s", cases[i].text, why);
		grantee_format(&who, text);
		assert_string_equal(text, cases[i].formatted);
		assert_int_equal(who.kind, cases[i].kind);
		/* what is shown is taken back as it is, whatever the mailbox's domain */
		assert_int_equal(grantee_parse(opened.reader, text, "company.com", &again, why, &error), 1);
		assert_int_equal(grantee_compare(&who, &again), 0);
	}
}

static void refusals_say_what_is_wrong(void **state)
{
	static const struct {
		const char *text, *domain, *why;
	} cases[] = {
		{"staff", "client1.com", "it is a group: write it with a $ in front"},
		{"$bob", "client1.com", "it is an account: write it without the $"},
		{"nobody", "client1.com", "there is no such account"},
		{"info@elsewhere.example", "", "there is no such domain here"},
		{"bob", "", "name the account's domain: user@domain"},
		{"$staff", "", "name the group's domain: $group@domain"},
		{"anyone@", "", "name the domain: anyone@domain"},
		/* the front of a domain's names is no name */
		{"@client1.com", "", "not the name of an account"},
		{"%client1.com", "", "not the name of an account"},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct grantee who;
		char why[GRANTEE_WHY_SIZE];
		struct error error = {0};

		assert_int_equal(grantee_parse(opened.reader, cases[i].text, cases[i].domain, &who, why,
					       &error), 0);
		assert_string_equal(why, cases[i].why);
	}
}

static void join(char *const *names, size_t count, char *text)
{
	*text = '\0';
	for (size_t i = 0; i < count; i++) {
		strcat(text, i > 0 ? " " : "");
		strcat(text, names[i]);
	}
}

/* Groups reach as far as their mail: through groups in groups, and aliases. */
static void a_user_is_known_by_groups_and_domains(void **state)
{
	static const struct {
		const char *user, *domain, *groups, *administers;
	} cases[] = {
		{"bob@client1.com", "client1.com",
		 "all@company.com friends@client2.com staff@client1.com", "client1.com"},
		{"info@client2.com", "client2.com",
		 "all@company.com loop1@client2.com loop2@client2.com staff@client1.com", ""},
		{"boss@company.com", "company.com", "", "client1.com company.com"},
		{"user@sqlsite.org", "sqlsite.org", "friends@client2.com", ""},
		{"info@company.com", "company.com", "", ""},
		{"bob@company.com", "company.com", "", ""},
		{"login", "", "", ""},
		{"", "", "", ""},
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_LENGTH(cases); i++) {
		struct rights_user user;
		struct error error = {0};
		char text[512];

		if (rights_user_init(opened.reader, cases[i].user, &user, &error) < 0)
			fail_msg("%s: %s", cases[i].user, error.text);
		assert_string_equal(user.user, cases[i].user);
		assert_string_equal(user.domain, cases[i].domain);
		join(user.groups, user.group_count, text);
		assert_string_equal(text, cases[i].groups);
		join(user.administers, user.administers_count, text);
		assert_string_equal(text, cases[i].administers);
		rights_user_finish(&user);
		rights_user_finish(&user);
	}
	struct rights_user user;
	struct error error = {0};
	char longest[ADDRESS_SIZE + 1];
	memset(longest, 'x', sizeof longest - 1);
	longest[sizeof longest - 1] = '\0';
	assert_int_equal(rights_user_init(opened.reader, longest, &user, &error), -1);
	assert_int_equal(error.code, ERROR_INVALID);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(letters_are_those_of_rfc_4314),
		cmocka_unit_test(grants_add_up_from_the_weakest_kind_to_the_strongest),
		cmocka_unit_test(an_identifier_means_what_a_login_would_open),
		cmocka_unit_test(refusals_say_what_is_wrong),
		cmocka_unit_test(a_user_is_known_by_groups_and_domains),
	};

	return cmocka_run_group_tests(tests, directory_setup, directory_teardown);
}
