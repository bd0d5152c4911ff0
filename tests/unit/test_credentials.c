/* Password hashes. */
#include "credentials.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const char *make(const char *password, size_t length)
{
	static char credential[CREDENTIAL_SIZE];
	struct error error = {0};

	if (credential_make(password, length, credential, &error) < 0)
		fail_msg("%s", error.text);
	return credential;
}

static int verify(const char *credential, const char *password, size_t length)
{
	struct error error = {0};

	return credential_verify(credential, password, length, &error);
}

static void the_right_password_alone_is_right(void **state)
{
	const char *credential = make("horse", 5);

	(void)state;
	assert_int_equal(verify(credential, "horse", 5), 1);
	assert_int_equal(verify(credential, "Horse", 5), 0);
	assert_int_equal(verify(credential, "hors", 4), 0);
	assert_int_equal(verify(credential, "horse ", 6), 0);
	assert_int_equal(verify(credential, "horse\0", 6), 0);
	assert_int_equal(verify(credential, "", 0), 0);
}

static void no_password_is_empty_or_has_a_nul(void **state)
{
	char credential[CREDENTIAL_SIZE];
	struct error error = {0};

	(void)state;
	assert_int_equal(credential_make("", 0, credential, &error), -1);
	assert_int_equal(error.code, ERROR_INVALID);
	error_clear(&error);
	assert_int_equal(credential_make("a\0b", 3, credential, &error), -1);
	assert_int_equal(error.code, ERROR_INVALID);
	assert_int_equal(verify(make("a", 1), "a\0b", 3), 0);
}

static void any_bytes_may_be_a_password_up_to_1024(void **state)
{
	char password[PASSWORD_MAX_BYTES + 1], credential[CREDENTIAL_SIZE];
	struct error error = {0};

	(void)state;
	for (size_t i = 0; i < sizeof password; i++)
		password[i] = (char)(1 + i % 255);
	const char *long_one = make(password, PASSWORD_MAX_BYTES);
	assert_int_equal(verify(long_one, password, PASSWORD_MAX_BYTES), 1);
	assert_int_equal(verify(long_one, password, PASSWORD_MAX_BYTES - 1), 0);
	assert_int_equal(credential_make(password, sizeof password, credential, &error), -1);
	assert_int_equal(error.code, ERROR_INVALID);
}

static void hashes_of_one_password_differ(void **state)
{
	char first[CREDENTIAL_SIZE];

	(void)state;
	strcpy(first, make("horse", 5));
	assert_string_not_equal(first, make("horse", 5));
	assert_int_equal(strncmp(first, "{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$", 41), 0);
	assert_null(strstr(first, "horse"));
	assert_null(credential_refusal(first, strlen(first)));
}

static void an_unknown_scheme_is_a_failure_and_not_wrong(void **state)
{
	static const char *const rows[] = {"{PLAIN}horse", "{SHA512-CRYPT}$6$x$y", "horse", "",
					   "{ARGON2ID", "{}", "$argon2id$v=19$m=65536,t=2,p=1$x$y"};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct error error = {0};

		if (credential_verify(rows[i], "horse", 5, &error) != -1)
			fail_msg("%s is taken", rows[i]);
		assert_int_not_equal(error.code, ERROR_NONE);
		assert_null(strstr(error.text, "horse"));
	}
}

static void a_broken_hash_lets_nobody_in(void **state)
{
	static const char *const rows[] = {
		"{ARGON2ID}",
		"{ARGON2ID}horse",
		"{ARGON2ID}$argon2id$",
		"{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$",
		"{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$c2FsdHNhbHRzYWx0c2E$",
		"{ARGON2ID}$argon2id$v=19$m=4294967295,t=4294967295,p=1$c2FsdHNhbHRzYWx0c2E$aGFzaA",
		"{ARGON2ID}$argon2i$v=19$m=65536,t=2,p=1$c2FsdHNhbHRzYWx0c2E$aGFzaA",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (verify(rows[i], "horse", 5) > 0)
			fail_msg("%s is right", rows[i]);
}

static void what_may_be_stored(void **state)
{
	static const char *const fine[] = {"{PLAIN}x", "{SHA512-CRYPT}$6$rounds=5000$a$b", "{SSHA256.HEX}00",
					   "{CRYPT}*", "{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$a$b"};
	static const char *const bad[] = {"", "x", "{", "}", "{}", "{}x", "{PLAIN}", "PLAIN}x", "{PLAINx",
					  "{PLAIN}a\nb", "{PLAIN}a\tb", "{PLAIN}a\x7f", "{PLAIN}a\xff",
					  "{PL AIN}x", " {PLAIN}x", "{PLAIN}x\r"};
	char text[CREDENTIAL_SIZE + 8];

	(void)state;
	for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
		if (credential_refusal(fine[i], strlen(fine[i])))
			fail_msg("%s: %s", fine[i], credential_refusal(fine[i], strlen(fine[i])));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (!credential_refusal(bad[i], strlen(bad[i])))
			fail_msg("\"%s\" is taken", bad[i]);
	memset(text, 'a', sizeof text);
	memcpy(text, "{PLAIN}", 7);
	assert_null(credential_refusal(text, CREDENTIAL_SIZE - 1));
	assert_non_null(credential_refusal(text, CREDENTIAL_SIZE));
	assert_non_null(credential_refusal("{PLAIN}a\0b", 10));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_right_password_alone_is_right),
		cmocka_unit_test(no_password_is_empty_or_has_a_nul),
		cmocka_unit_test(any_bytes_may_be_a_password_up_to_1024),
		cmocka_unit_test(hashes_of_one_password_differ),
		cmocka_unit_test(an_unknown_scheme_is_a_failure_and_not_wrong),
		cmocka_unit_test(a_broken_hash_lets_nobody_in),
		cmocka_unit_test(what_may_be_stored),
	};

	return cmocka_run_group_tests_name("credentials", tests, NULL, NULL);
}
