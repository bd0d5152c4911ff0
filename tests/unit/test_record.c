/* Router records: their canonical form, matching, and what they make of a name. Their order in
 * the directory is in tests/cases. */
#include "record.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

static void records_get_their_canonical_form(void **state)
{
	static const struct {
		const char *match, *to, *canonical_match, *canonical_to;
	} rows[] = {
		{"sales@company.com", "info@client1.com", "sales@company.com", "info@client1.com"},
		{"SALES@Company.COM", "Info@Client1.COM", "sales@company.com", "Info@client1.com"},
		{" a@b ", "  c@d ", "a@b", "c@d"},
		{"old.example", "company.com", "old.example", "company.com"},
		{"*.branch.example", "*%branch.example@company.com", "*.branch.example",
		 "*%branch.example@company.com"},
		{"*-admin@*", "postmaster@company.com", "*-admin@*", "postmaster@company.com"},
		{"b\xc3\xbc\x63her.example", "fa\xc3\x9f.example", "xn--bcher-kva.example",
		 "xn--fa-hia.example"},
		{"*.b\xc3\xbc\x63her.example", "a@b", "*.xn--bcher-kva.example", "a@b"},
		{"B\xc3\x9cRO@a.example", "a@b", "b\xc3\xbcro@a.example", "a@b"},
		{"spamtrap@*", "discard:", "spamtrap@*", "discard:"},
		{"a@b", "error:5.1.6 this address has moved", "a@b", "error:5.1.6 this address has moved"},
		{"a@b", "error:4.2.1 100% * full", "a@b", "error:4.2.1 100% * full"},
		{"*@*", "a@b", "*@*", "a@b"},
		{"*", "a@b", "*", "a@b"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char match[NAME_SIZE], to[NAME_SIZE];
		bool in_to;
		const char *why = record_canonical(rows[i].match, rows[i].to, match, to, &in_to);

		if (why)
			fail_msg("%s -> %s: %s", rows[i].match, rows[i].to, why);
		assert_string_equal(match, rows[i].canonical_match);
		assert_string_equal(to, rows[i].canonical_to);
	}
}

static void mistakes_are_told_and_where(void **state)
{
	static const struct {
		const char *match, *to;
		bool in_to;
	} rows[] = {
		{"", "a@b", false},
		{"@b", "a@b", false},
		{"a@", "a@b", false},
		{"a@b c", "a@b", false},
		{"a@b..c", "a@b", false},
		{"a\tb@c", "a@b", false},
		{"a\n@c", "a@b", false},
		{"a\xff@c", "a@b", false},
		{"*****************@c", "a@b", false},
		{"a@b", "", true},
		{"a@b", "@c", true},
		{"a@b", "c@", true},
		{"a@b", "company.com", true},
		{"a@b", "*@c", true},
		{"*@b", "*@*.c", true},
		{"a@b", "discard: it", true},
		{"a@b", "discard", true},
		{"a@b", "error:", true},
		{"a@b", "error:moved", true},
		{"a@b", "error:2.0.0 fine", true},
		{"a@b", "error:5.1 moved", true},
		{"a@b", "error:5.1.6moved", true},
		{"a@b", "error:5.1.6 ", true},
		{"a@b", "error:5.1.6", true},
		{"a@b", "error:5.1234.6 moved", true},
		{"a@b", "error:6.1.6 moved", true},
		{"a@b", "error:5.1.6 a\r\nb", true},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char match[NAME_SIZE], to[NAME_SIZE];
		bool in_to = !rows[i].in_to;

		if (!record_canonical(rows[i].match, rows[i].to, match, to, &in_to))
			fail_msg("\"%s\" -> \"%s\" is taken", rows[i].match, rows[i].to);
		if (in_to != rows[i].in_to)
			fail_msg("\"%s\" -> \"%s\": the other one is wrong", rows[i].match, rows[i].to);
	}
}

/* local, domain, match, to, the new name; NULL: no match. */
struct rewrite_row {
	const char *local, *domain, *match, *to, *result;
};

static const struct rewrite_row rewrites[] = {
	{"sales", "company.com", "sales@company.com", "info@client1.com", "info@client1.com"},
	{"Sales", "company.com", "sales@company.com", "info@client1.com", "info@client1.com"},
	{"sale", "company.com", "sales@company.com", "x@y", NULL},
	{"saless", "company.com", "sales@company.com", "x@y", NULL},
	{"sales", "company.org", "sales@company.com", "x@y", NULL},
	{"Info", "old.example", "old.example", "company.com", "Info@company.com"},
	{"info", "old.example", "old.example", "a@b", "a@b"},
	{"x", "south.branch.example", "*.branch.example", "*%branch.example@company.com",
	 "south%branch.example@company.com"},
	{"x", "branch.example", "*.branch.example", "a@b", NULL},
	{"x", ".branch.example", "*.branch.example", "*@b", "@b"},
	{"x", "a.b.branch.example", "*.branch.example", "*@b", "a.b@b"},
	{"Anna.Smith", "p", "*.*@p", "*_*@c", "Anna_Smith@c"},
	{"a.b.c", "p", "*.*@p", "*_*@c", "a_b.c@c"},
	{"a.", "p", "*.*@p", "*_*@c", "a_@c"},
	{".a", "p", "*.*@p", "*_*@c", "_a@c"},
	{"ab", "p", "*.*@p", "*_*@c", NULL},
	{"aXbXc", "p", "a*b*c@p", "*-*@c", "X-X@c"},
	{"abc", "p", "a*b*c@p", "*-*@c", "-@c"},
	{"abcbc", "p", "a*b*c@p", "*-*@c", "-cb@c"},
	{"ab", "p", "a*b*c@p", "*-*@c", NULL},
	{"aa", "p", "a*a@p", "x*@c", "x@c"},
	{"a", "p", "a*a@p", "x*@c", NULL},
	{"aba", "p", "*aba*@p", "*-*@c", "-@c"},
	{"abab", "p", "*ab@p", "*@c", "ab@c"},
	{"info", "client2.pairs.example", "*@*.pairs.example", "*@*.com", "info@client2.com"},
	{"one", "two.three", "*@*.*", "*.*@*", "one.two@three"},
	{"old-info", "c", "old-*@c", "*@c", "info@c"},
	{"OLD-Info", "c", "old-*@c", "*@c", "Info@c"},
	{"B\xc3\x9cRO-x", "c", "b\xc3\xbcro-*@c", "*@c", "x@c"},
	{"any", "thing", "*@*", "*@*", "any@thing"},
	{"any", "thing", "*", "a@b", "a@b"},
	{"a*c", "p", "a*c@p", "*@c", "*@c"},
};

static void the_stars_of_match_fill_the_stars_of_to(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof rewrites / sizeof rewrites[0]; i++) {
		const struct rewrite_row *row = &rewrites[i];
		struct record record = {.match = row->match, .to = row->to};
		char folded[LOCAL_SIZE], name[NAME_SIZE];
		enum record_action action;

		assert_true(local_fold(row->local, strlen(row->local), folded) >= 0);
		bool matches = record_matches(&record, row->local, folded, row->domain);
		if (matches != (row->result != NULL))
			fail_msg("%s@%s %s %s", row->local, row->domain,
				 matches ? "matches" : "does not match", row->match);
		if (!matches)
			continue;
		assert_int_equal(record_apply(&record, row->local, folded, row->domain, &action, name),
				 0);
		assert_int_equal(action, RECORD_REWRITE);
		assert_string_equal(name, row->result);
	}
}

static void what_is_too_long_to_fold_matches_whole_parts_alone(void **state)
{
	char local[301];
	static const struct {
		const char *match;
		bool matches;
	} rows[] = {{"*@c", true}, {"c", true}, {"*@*", true}, {"a*@c", false}, {"*a@c", false}};

	(void)state;
	memset(local, 'a', 300);
	local[300] = '\0';
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct record record = {.match = rows[i].match, .to = "x@y"};

		assert_int_equal(record_matches(&record, local, NULL, "c"), rows[i].matches);
	}
}

static void a_name_that_gets_too_long_is_told(void **state)
{
	char local[301], to[300], name[NAME_SIZE];
	struct record record = {.match = "*@c", .to = to};
	enum record_action action;

	(void)state;
	memset(local, 'a', 300);
	local[300] = '\0';
	for (int extra = 0; extra < 2; extra++) { /* 300 + 1 + 211 is 512 */
		snprintf(to, sizeof to, "*@%0*d", 211 + extra, 0);
		assert_int_equal(record_apply(&record, local, NULL, "c", &action, name), -extra);
	}
}

static void errors_have_a_status_and_a_code_of_their_class(void **state)
{
	int smtp;
	char status[12];
	const char *text;

	(void)state;
	assert_true(record_error("error:5.1.6 this address has moved", &smtp, status, &text));
	assert_int_equal(smtp, 550);
	assert_string_equal(status, "5.1.6");
	assert_string_equal(text, "this address has moved");
	assert_true(record_error("error:4.999.999 x", &smtp, status, &text));
	assert_int_equal(smtp, 450);
	assert_string_equal(status, "4.999.999");
	assert_false(record_error("discard:", &smtp, status, &text));
	assert_false(record_error("error:", &smtp, status, &text));
	assert_false(record_error("", &smtp, status, &text));
}

static void each_record_is_found_by_the_index_that_serves_it(void **state)
{
	static const struct {
		const char *match;
		enum record_class class;
		const char *key;
		size_t length;
	} rows[] = {
		{"sales@company.com", RECORD_X, "sales\0company.com", 17},
		{"abuse@*", RECORD_U, "abuse", 5},
		{"old.example", RECORD_D, "old.example", 11},
		{"*@old.example", RECORD_D, "old.example", 11},
		{"*.branch.example", RECORD_S, "branch.example", 14},
		{"*@*.branch.example", RECORD_S, "branch.example", 14},
		{"a@*.branch.example", RECORD_G, "", 0},
		{"a*@b", RECORD_G, "", 0},
		{"*", RECORD_G, "", 0},
		{"*@*", RECORD_G, "", 0},
		{"*branch.example", RECORD_G, "", 0},
		{"a.*.example", RECORD_G, "", 0},
		{"*.*.example", RECORD_G, "", 0},
		{"*.", RECORD_G, "", 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char key[NAME_KEY_SIZE];
		size_t length;

		if (record_class(rows[i].match, key, &length) != rows[i].class)
			fail_msg("%s: another class", rows[i].match);
		if (rows[i].class != RECORD_G) {
			assert_int_equal(length, rows[i].length);
			assert_memory_equal(key, rows[i].key, length);
		}
	}
}

/* What the wildcards mean, as slow and as plain as can be. */
static bool plain_match(const char *pattern, const char *text)
{
	if (*pattern == '*')
		return plain_match(pattern + 1, text) || (*text && plain_match(pattern, text + 1));
	return *pattern == *text && (!*pattern || plain_match(pattern + 1, text + 1));
}

static void matching_agrees_with_its_plain_definition(void **state)
{
	uint64_t seed = 5;
	unsigned long matched = 0;

	(void)state;
	for (int n = 0; n < 200000; n++) {
		char pattern[16], text[16], match[20];
		size_t pattern_length = 1 + support_random(&seed) % 7;
		size_t text_length = 1 + support_random(&seed) % 7;

		for (size_t i = 0; i < pattern_length; i++)
			pattern[i] = "ab**"[support_random(&seed) % 4];
		for (size_t i = 0; i < text_length; i++)
			text[i] = "ab"[support_random(&seed) % 2];
		pattern[pattern_length] = text[text_length] = '\0';
		snprintf(match, sizeof match, "%s@c", pattern);
		struct record record = {.match = match, .to = "x@y"};
		bool expected = plain_match(pattern, text);
		if (record_matches(&record, text, text, "c") != expected)
			fail_msg("%s and %s", pattern, text);
		matched += expected;
	}
	assert_in_range(matched, 20000, 180000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(records_get_their_canonical_form),
		cmocka_unit_test(mistakes_are_told_and_where),
		cmocka_unit_test(the_stars_of_match_fill_the_stars_of_to),
		cmocka_unit_test(what_is_too_long_to_fold_matches_whole_parts_alone),
		cmocka_unit_test(a_name_that_gets_too_long_is_told),
		cmocka_unit_test(errors_have_a_status_and_a_code_of_their_class),
		cmocka_unit_test(each_record_is_found_by_the_index_that_serves_it),
		cmocka_unit_test(matching_agrees_with_its_plain_definition),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
