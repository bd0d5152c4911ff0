/* Text from outside made fit for a line. */
#include "printable.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "error.h"

static void what_is_not_printable_is_escaped_or_replaced(void **state)
{
	static const struct {
		const char *text;
		size_t length;
		const char *escaped, *replaced;
	} rows[] = {
		{"", 0, "", ""},
		{"info@company.com", 16, "info@company.com", "info@company.com"},
		{"b\xc3\xbc" "cher", 7, "b\xc3\xbc" "cher", "b\xc3\xbc" "cher"},
		{"\xf0\x9f\x93\xac", 4, "\xf0\x9f\x93\xac", "\xf0\x9f\x93\xac"},
		{"a\nb", 3, "a\\x0ab", "a?b"},
		{"a\0b", 3, "a\\x00b", "a?b"},
		{"\x1b[2J\x7f", 5, "\\x1b[2J\\x7f", "?[2J?"},
		{"\xff\xfe", 2, "\\xff\\xfe", "??"},
		{"\xc3", 1, "\\xc3", "?"},			  /* cut */
		{"\xc3\xbc", 1, "\\xc3", "?"},			  /* the length counts */
		{"\xc0\x8a", 2, "\\xc0\\x8a", "??"},		  /* overlong */
		{"\xed\xa0\x80", 3, "\\xed\\xa0\\x80", "???"},	  /* surrogate */
		{"\xf4\x90\x80\x80", 4, "\\xf4\\x90\\x80\\x80", "????"}, /* above U+10FFFF */
		{"\xc2\x80", 2, "\\xc2\\x80", "??"},
		{"\xc2\x9f", 2, "\\xc2\\x9f", "??"},
		{"\xc2\xa0", 2, "\xc2\xa0", "\xc2\xa0"},
		{"\xe2\x80\xa8", 3, "\\xe2\\x80\\xa8", "???"},
		{"\xe2\x80\xa9", 3, "\\xe2\\x80\\xa9", "???"},
		{"\xd8\x9c", 2, "\\xd8\\x9c", "??"},		  /* directions: U+061C */
		{"\xe2\x80\x8d", 3, "\xe2\x80\x8d", "\xe2\x80\x8d"}, /* none: U+200D joins */
		{"\xe2\x80\x8e", 3, "\\xe2\\x80\\x8e", "???"},
		{"\xe2\x80\xae", 3, "\\xe2\\x80\\xae", "???"},
		{"\xe2\x80\xaf", 3, "\xe2\x80\xaf", "\xe2\x80\xaf"},
		{"\xe2\x81\xa6", 3, "\\xe2\\x81\\xa6", "???"},
		{"\xe2\x81\xaa", 3, "\xe2\x81\xaa", "\xe2\x81\xaa"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char out[40];

		assert_int_equal(printable_escape(out, sizeof out, rows[i].text, rows[i].length),
				 strlen(rows[i].escaped));
		assert_string_equal(out, rows[i].escaped);
		assert_int_equal(printable_replace(out, sizeof out, rows[i].text, rows[i].length),
				 strlen(rows[i].replaced));
		assert_string_equal(out, rows[i].replaced);
	}
}

static void text_is_cut_at_a_whole_character(void **state)
{
	static const struct {
		size_t size;
		const char *escaped, *replaced;
	} rows[] = {
		{1, "", ""},
		{2, "a", "a"},
		{3, "a", "a"},
		{4, "a\xc3\xbc", "a\xc3\xbc"},
		{5, "a\xc3\xbc", "a\xc3\xbc?"},
		{7, "a\xc3\xbc", "a\xc3\xbc?z"},
		{8, "a\xc3\xbc\\x0a", "a\xc3\xbc?z"},
		{9, "a\xc3\xbc\\x0az", "a\xc3\xbc?z"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *out = malloc(rows[i].size);

		assert_non_null(out);
		printable_escape(out, rows[i].size, "a\xc3\xbc\nz", 5);
		assert_string_equal(out, rows[i].escaped);
		printable_replace(out, rows[i].size, "a\xc3\xbc\nz", 5);
		assert_string_equal(out, rows[i].replaced);
		free(out);
	}
}

static void the_text_of_an_error_is_one_line(void **state)
{
	struct error error = {0};

	(void)state;
	assert_int_equal(error_set(&error, ERROR_INVALID, "%s", "a\r\n\xff" "b"), -1);
	assert_string_equal(error.text, "a\\x0d\\x0a\\xffb");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_not_printable_is_escaped_or_replaced),
		cmocka_unit_test(text_is_cut_at_a_whole_character),
		cmocka_unit_test(the_text_of_an_error_is_one_line),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
