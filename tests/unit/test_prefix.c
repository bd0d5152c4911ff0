/* Prefixes of shared namespaces: which owner a name means, and how an owner is named. */
#include "plugins/prefix.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static void a_name_names_its_owner(void **state)
{
	static const struct {
		const char *pattern;
		char separator;
		const char *name, *typed, *rest, *tail;
	} rows[] = {
		{"%u/", '/', "bob@client1.com/Box", "bob@client1.com", "Box", ""},
		{"%u/", '/', "bob@client1.com/Box/Sub", "bob@client1.com", "Box/Sub", ""},
		{"%u/", '/', "bob@client1.com/", "bob@client1.com", "", ""},
		{"%u/", '/', "bob@client1.com", "bob@client1.com", "", "/"},
		{"%u/", '/', "bob/Box", "bob", "Box", ""},
		{"%u/", '/', "a^b@x.org/Box", "a^b@x.org", "Box", ""},
		{"$user/", '/', "bob@client1.com/Box", "bob@client1.com", "Box", ""},
		{"%n/", '/', "bob/Box", "bob", "Box", ""},
		{"%n/", '/', "bob@client1.com/Box", "bob@client1.com", "Box", ""},
		{"$username/", '/', "bob@client1.com/Box", "bob@client1.com", "Box", ""},
		{"%d/%n/", '/', "client1.com/bob/Box", "bob@client1.com", "Box", ""},
		{"$domain/$username/", '/', "client1.com/bob", "bob@client1.com", "", "/"},
		{"%n@%d/", '/', "bob@client1.com/Box", "bob@client1.com", "Box", ""},
		{"%u/mail/", '/', "bob@client1.com", "bob@client1.com", "", "/mail/"},
		{"%u.", '.', "bob@client1^com.Box", "bob@client1.com", "Box", ""},
		{"%u.", '.', "bob@client1^com", "bob@client1.com", "", "."},
		{"%u.", '.', "bob@client1.com.Box", "bob@client1", "com.Box", ""},
		{"$domain.$username.", '.', "client1^com.b^ob.Box", "b.ob@client1.com", "Box", ""},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct prefix_owner owner;

		if (!prefix_parse(rows[i].pattern, rows[i].separator, rows[i].name, &owner))
			fail_msg("%s in %s names nobody", rows[i].name, rows[i].pattern);
		assert_string_equal(owner.typed, rows[i].typed);
		assert_string_equal(rows[i].name + owner.length, rows[i].rest);
		assert_string_equal(owner.tail, rows[i].tail);
	}
}

static void a_name_that_ends_too_early_names_nobody(void **state)
{
	static const char *const rows[][2] = {
		{"%u/", ""},		  {"%u/", "/"},		   {"%u/", "/Box"},
		{"%d/%n/", "client1.com"}, {"%d/%n/", "client1.com/"}, {"%d/%n/", "/bob/Box"},
		{"%d/%n/", "client1.com//Box"}, {"%n@%d/", "bob/Box"}, {"%n@%d/", "bob@/Box"},
		{"%u/mail/", "bob/other/Box"},
	};
	char longest[NAME_SIZE + 10];
	struct prefix_owner owner;

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (prefix_parse(rows[i][0], '/', rows[i][1], &owner))
			fail_msg("%s in %s names %s", rows[i][1], rows[i][0], owner.typed);
	}
	memset(longest, 'a', sizeof(longest));
	longest[sizeof(longest) - 1] = '\0';
	assert_false(prefix_parse("%u/", '/', longest, &owner));
	longest[NAME_MAX_BYTES] = '\0';
	assert_true(prefix_parse("%u/", '/', longest, &owner));
}

static void an_owner_is_named_so_that_the_name_means_it(void **state)
{
	static const struct {
		const char *pattern;
		char separator;
		const char *owner, *text;
	} rows[] = {
		{"%u/", '/', "bob@client1.com", "bob@client1.com/"},
		{"$user/", '/', "bob@client1.com", "bob@client1.com/"},
		{"%u/", '/', "bob", "bob/"},
		{"%n/", '/', "bob@client1.com", "bob@client1.com/"},
		{"%n/", '/', "bob@own.org", "bob/"},
		{"%d/%n/", '/', "bob@client1.com", "client1.com/bob/"},
		{"%d/%n/", '/', "bob", NULL},
		{"%u.", '.', "bob@client1.com", "bob@client1^com."},
		{"%d.%n.", '.', "b.ob@client1.com", "client1^com.b^ob."},
		/* would be read as a.b@x.org */
		{"%u.", '.', "a^b@x.org", NULL},
		{"%u/", '/', "a^b@x.org", "a^b@x.org/"},
		{"%n@%d/", '/', "bob@client1.com", "bob@client1.com/"},
		/* would end at its own slash */
		{"%u/", '/', "b/ob@x.org", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[PREFIX_TEXT_SIZE];
		bool named = prefix_format(rows[i].pattern, rows[i].separator, rows[i].owner,
					   "own.org", text);

		if (rows[i].text == NULL && named)
			fail_msg("%s in %s is %s", rows[i].owner, rows[i].pattern, text);
		if (rows[i].text != NULL) {
			assert_true(named);
			assert_string_equal(text, rows[i].text);
		}
	}
}

static void what_is_shown_is_read_back(void **state)
{
	static const char *const patterns[] = {"%u/", "$user/", "%n/", "%d/%n/", "%u/mail/"};
	static const char separators[] = "/.-_|";
	char owner[64], text[PREFIX_TEXT_SIZE];
	struct prefix_owner read;
	unsigned seed = 1;

	(void)state;
	for (unsigned i = 0; i < 20000; i++) {
		const char *pattern = patterns[i % 5];
		char separator = separators[i % (sizeof(separators) - 1)];

		for (unsigned k = 0; k < 8; k++) {
			seed = seed * 1103515245 + 12345;
			owner[k] = "abc.-_^|"[(seed >> 16) % 8];
		}
		snprintf(owner + 8, sizeof(owner) - 8, "@%s", i % 3 ? "x-y.org" : "own.org");
		if (!prefix_format(pattern, separator, owner, "own.org", text))
			continue;
		assert_true(prefix_parse(pattern, separator, text, &read));
		if (strchr(read.typed, '@') == NULL)
			assert_int_equal(strncmp(read.typed, owner, 8), 0);
		else
			assert_string_equal(read.typed, owner);
		assert_string_equal(text + read.length, "");
	}
}

static void the_literal_part_of_a_pattern_ends_before_its_wildcards(void **state)
{
	static const struct {
		const char *pattern;
		size_t length;
	} rows[] = {
		{"", 0},	   {"*", 0},	      {"%", 0},
		{"shared/%", 6},   {"shared/bob/*", 10}, {"shared/bo*", 6},
		{"shared/bob", 10}, {"shared/bob/", 11}, {"a/b%c/d", 1},
		{"/%", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		assert_int_equal(prefix_literal_length(rows[i].pattern, '/'), rows[i].length);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_name_names_its_owner),
		cmocka_unit_test(a_name_that_ends_too_early_names_nobody),
		cmocka_unit_test(an_owner_is_named_so_that_the_name_means_it),
		cmocka_unit_test(what_is_shown_is_read_back),
		cmocka_unit_test(the_literal_part_of_a_pattern_ends_before_its_wildcards),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
