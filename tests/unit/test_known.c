/* Statements kept from before: what was added is known, nothing else is, and nothing is
 * after the directory changed. */
#include "known.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static uint64_t statement_of(struct known *known, unsigned kind, unsigned number)
{
	char text[40];
	int length = snprintf(text, sizeof text, "user%u@company.com", number);

	return known_statement(known, kind, text, (size_t)length);
}

static void hashes_are_those_of_siphash(void **state)
{
	/* From the paper's appendix A: key 00..0f, message 00..0e. */
	const uint64_t key[2] = {0x0706050403020100, 0x0f0e0d0c0b0a0908};
	unsigned char message[15];

	(void)state;
	for (unsigned char i = 0; i < sizeof message; i++)
		message[i] = i;
	assert_true(known_hash(key, message, sizeof message) == 0xa129ca6149be45e5);
}

/* So few that no set is full, whatever the key is: odds of 10^-9. */
static void only_what_was_added_is_known(void **state)
{
	struct known *known = known_create();

	(void)state;
	assert_non_null(known);
	known_at(known, 1);
	for (unsigned i = 0; i < 100; i++)
		known_add(known, statement_of(known, 1, i));
	for (unsigned i = 0; i < 100; i++) {
		assert_true(known_has(known, statement_of(known, 1, i)));
		assert_false(known_has(known, statement_of(known, 2, i)));
		assert_false(known_has(known, statement_of(known, 1, 1000 + i)));
	}
	known_destroy(&known);
	assert_null(known);
}

static void nothing_is_known_of_another_version(void **state)
{
	struct known *known = known_create();

	(void)state;
	for (unsigned many = 10; many <= 100000; many *= 10) {
		known_at(known, many);
		for (unsigned i = 0; i < many; i++)
			known_add(known, statement_of(known, 1, i));
		known_at(known, many);
		assert_true(known_has(known, statement_of(known, 1, many - 1)));
		known_at(known, many + 1);
		for (unsigned i = 0; i < many; i++)
			assert_false(known_has(known, statement_of(known, 1, i)));
	}
	known_destroy(&known);
}

/* It grows: of half a million names nearly all are known. */
static void many_names_fit(void **state)
{
	struct known *known = known_create();
	unsigned found = 0;

	(void)state;
	known_at(known, 1);
	for (unsigned i = 0; i < 500000; i++)
		known_add(known, statement_of(known, 1, i));
	for (unsigned i = 0; i < 500000; i++)
		found += known_has(known, statement_of(known, 1, i));
	assert_in_range(found, 485000, 500000);
	known_destroy(&known);
}

static void long_texts_are_not_kept(void **state)
{
	struct known *known = known_create();
	char text[300];

	(void)state;
	memset(text, 'x', sizeof text);
	assert_true(known_statement(known, 1, text, 255) != 0);
	assert_true(known_statement(known, 1, text, 256) == 0);
	known_add(known, 0);
	assert_false(known_has(known, 0));
	known_destroy(&known);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hashes_are_those_of_siphash),
		cmocka_unit_test(only_what_was_added_is_known),
		cmocka_unit_test(nothing_is_known_of_another_version),
		cmocka_unit_test(many_names_fit),
		cmocka_unit_test(long_texts_are_not_kept),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
