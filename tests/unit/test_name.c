/* Names from bytes to values: what may go on, domains, literals, local parts. Names as a whole
 * are in tests/cases. */
#include "name.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

static bool refused(enum name_kind kind, const char *text)
{
	return name_refusal(kind, text, strlen(text)) != NULL;
}

static void names_have_1_to_512_bytes(void **state)
{
	char text[514];

	(void)state;
	memset(text, 'a', sizeof text);
	for (enum name_kind kind = NAME_LOGIN; kind <= NAME_ADDRESS; kind++) {
		assert_non_null(name_refusal(kind, text, 0));
		assert_null(name_refusal(kind, text, 1));
		assert_null(name_refusal(kind, text, 512));
		assert_non_null(name_refusal(kind, text, 513));
		assert_non_null(name_refusal(kind, text, SIZE_MAX));
	}
}

/* UTF-8 of a character below 0x10000; returns its length. */
static size_t utf8(unsigned character, char out[4])
{
	if (character < 0x80) {
		out[0] = (char)character;
		return 1;
	}
	if (character < 0x800) {
		out[0] = (char)(0xc0 | character >> 6);
		out[1] = (char)(0x80 | (character & 0x3f));
		return 2;
	}
	out[0] = (char)(0xe0 | character >> 12);
	out[1] = (char)(0x80 | (character >> 6 & 0x3f));
	out[2] = (char)(0x80 | (character & 0x3f));
	return 3;
}

static void controls_and_line_separators_are_refused_and_nothing_else(void **state)
{
	(void)state;
	for (unsigned character = 0; character < 0x10000; character++) {
		char text[4];
		size_t length = utf8(character, text);
		bool expected = character < 0x20 || (character >= 0x7f && character <= 0x9f) ||
				character == 0x2028 || character == 0x2029 ||
				(character >= 0xd800 && character <= 0xdfff);

		if ((name_refusal(NAME_ADDRESS, text, length) != NULL) != expected)
			fail_msg("U+%04X in an address", character);
	}
}

static void a_login_has_neither_white_space_nor_slash(void **state)
{
	static const unsigned white[] = {0x20,	 0xa0,	 0x1680, 0x2000, 0x2001, 0x2002,
					 0x2003, 0x2004, 0x2005, 0x2006, 0x2007, 0x2008,
					 0x2009, 0x200a, 0x202f, 0x205f, 0x3000, '/'};

	(void)state;
	for (size_t i = 0; i < sizeof white / sizeof white[0]; i++) {
		char text[8] = "a";
		size_t length = utf8(white[i], text + 1);

		assert_null(name_refusal(NAME_ADDRESS, text, 1 + length));
		if (!name_refusal(NAME_LOGIN, text, 1 + length))
			fail_msg("U+%04X in a login", white[i]);
	}
}

static void what_is_not_utf8_is_refused(void **state)
{
	static const char *const rows[] = {
		"\x80", "\xbf", "\xc0\x80", "\xc1\xbf", "\xc2", "\xc2x", "\xe0\x80\x80", "\xe0\x9f\xbf",
		"\xe2\x82", "\xe2\x28\xa1", "\xed\xa0\x80", "\xed\xbf\xbf", "\xf0\x80\x80\x80",
		"\xf0\x8f\xbf\xbf", "\xf0\x9f\x98", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80",
		"\xf8\x88\x80\x80\x80", "\xfe", "\xff", "a\xffz",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (!refused(NAME_LOGIN, rows[i]) || !refused(NAME_ADDRESS, rows[i]))
			fail_msg("row %zu is taken", i);
	assert_false(refused(NAME_LOGIN, "\xf0\x9f\x98\x80"));
	assert_false(refused(NAME_LOGIN, "\xf4\x8f\xbf\xbf"));
}

static long find(const char *text, char wanted, bool last)
{
	const char *found = name_find(text, strlen(text), wanted, last);

	return found ? found - text : -1;
}

static void what_stands_in_quotes_is_not_found(void **state)
{
	(void)state;
	assert_int_equal(find("a@b@c", '@', true), 3);
	assert_int_equal(find("a@b@c", '@', false), 1);
	assert_int_equal(find("\"a@b\"@c", '@', false), 5);
	assert_int_equal(find("\"a@b\"", '@', true), -1);
	assert_int_equal(find("\"a\\\"@b\"@c", '@', false), 7);
	assert_int_equal(find("\"a\\\\\"@c", '@', false), 5);
	assert_int_equal(find("\"a@c", '@', true), -1);
	assert_int_equal(find("\"a\\", '@', true), -1);
	assert_int_equal(find("a\\@c", '@', true), 2);
	assert_int_equal(find("", '@', true), -1);
	assert_int_equal(find("@", '@', true), 0);
	assert_int_equal(find("a%b%c", '%', true), 3);
}

static void expect_domain(const char *text, const char *canonical)
{
	char domain[DOMAIN_SIZE];

	if (!domain_parse(text, strlen(text), domain)) {
		if (canonical)
			fail_msg("%s is no domain", text);
		return;
	}
	if (!canonical)
		fail_msg("\"%s\" is taken for the domain %s", text, domain);
	assert_string_equal(domain, canonical);
	char again[DOMAIN_SIZE];
	assert_true(domain_parse(domain, strlen(domain), again));
	assert_string_equal(again, domain);
}

static void domains_get_their_canonical_form(void **state)
{
	(void)state;
	expect_domain("client2.com", "client2.com");
	expect_domain("CLIENT2.Com.", "client2.com");
	expect_domain("com", "com");
	expect_domain("a", "a");
	expect_domain("1", "1");
	expect_domain("192.0.2.1", "192.0.2.1");
	expect_domain("_dmarc.client2.com", "_dmarc.client2.com");
	expect_domain("xn--bcher-kva.example", "xn--bcher-kva.example");
	expect_domain("b\xc3\xbc\x63her.example", "xn--bcher-kva.example");
	expect_domain("B\xc3\x9c\x43HER.EXAMPLE.", "xn--bcher-kva.example");
	expect_domain("bu\xcc\x88\x63her.example", "xn--bcher-kva.example");
	expect_domain("fa\xc3\x9f.example", "xn--fa-hia.example");
	expect_domain("\xe4\xbe\x8b\xe3\x80\x82\xe6\xb5\x8b\xe8\xaf\x95", "xn--fsq.xn--0zwm56d");
	expect_domain("cli\xc2\xad\x65nt2.com", "client2.com");
}

static void what_is_no_domain_does_not_parse(void **state)
{
	static const char *const rows[] = {
		"", ".", "..", "a..", ".a", "a..b", "a b", " a", "a ", "a@b", "a/b", "a%b", "a!b", "a*b",
		"*", "a:b", "[192.0.2.1]", "a,b", "a\\b", "a\"b", "a\tb", "a\nb", "a\x7f", "#", "a#b",
		"\xe2\x98\x83.example", "\xff.example", "\xe2\x80\x8b", "b\xc3\xbc\x63her..example",
		"b\xc3\xbc\x63her.ex ample", "b\xc3\xbc\x63her.ex\xef\xbc\xa0\x61mple",
		"\xc3\xbc\xef\xbc\x8f.example",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		expect_domain(rows[i], NULL);
	char domain[DOMAIN_SIZE];
	assert_false(domain_parse("client2.com\0", 12, domain));
	assert_false(domain_parse("client2.com\0.org", 16, domain));
}

static void labels_end_at_63_and_domains_at_253_bytes(void **state)
{
	char text[512];

	(void)state;
	memset(text, 'a', sizeof text);
	text[63] = '\0';
	expect_domain(text, text);
	text[63] = 'a';
	text[64] = '\0';
	expect_domain(text, NULL);
	for (size_t i = 0; i < sizeof text; i++)
		text[i] = i % 2 ? '.' : 'a';
	text[253] = '\0';
	expect_domain(text, text);
	text[253] = '.';
	text[254] = '\0';
	char domain[DOMAIN_SIZE];
	assert_true(domain_parse(text, 254, domain)); /* the dot at the end does not count */
	text[254] = 'a';
	text[255] = '\0';
	expect_domain(text, NULL);
}

static void literals_are_tagged_where_they_are_ipv6(void **state)
{
	static const struct {
		const char *text, *ip; /* NULL: none */
	} rows[] = {
		{"[192.0.2.2]", "192.0.2.2"},
		{"[IPv6:2001:db8::1]", "2001:db8::1"},
		{"[ipv6:::1]", "::1"},
		{"[IPv6:::ffff:192.0.2.2]", "192.0.2.2"},
		{"[2001:db8::1]", NULL},
		{"[IPv6:192.0.2.2]", NULL},
		{"[IPv6:]", NULL},
		{"[]", NULL},
		{"[", NULL},
		{"]", NULL},
		{"192.0.2.2", NULL},
		{"[192.0.2.2", NULL},
		{"192.0.2.2]", NULL},
		{"[[192.0.2.2]]", NULL},
		{"[192.0.2.2]]", NULL},
		{"[ 192.0.2.2]", NULL},
		{"[IPv6: ::1]", NULL},
		{"[IPv4:192.0.2.2]", NULL},
		{"[IPv6:fe80::1%lo]", NULL},
		{"[client2.com]", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ip ip;
		char text[IP_TEXT_SIZE];
		bool parsed = domain_literal_parse(rows[i].text, strlen(rows[i].text), &ip);

		if (parsed != (rows[i].ip != NULL))
			fail_msg("%s: %s", rows[i].text, parsed ? "parses" : "does not parse");
		if (parsed)
			assert_string_equal(ip_format(&ip, text), rows[i].ip);
	}
}

static void expect_fold(const char *text, const char *folded)
{
	char out[LOCAL_SIZE], again[LOCAL_SIZE];

	assert_int_equal(local_fold(text, strlen(text), out), strlen(folded));
	assert_string_equal(out, folded);
	assert_int_equal(local_fold(out, strlen(out), again), strlen(out));
	assert_string_equal(again, out);
}

static void local_parts_are_compared_in_lower_case_and_nfc(void **state)
{
	(void)state;
	expect_fold("Info", "info");
	expect_fold("INFO+Lists", "info+lists");
	expect_fold("", "");
	expect_fold("M\xc3\x9cLLER", "m\xc3\xbcller");
	expect_fold("mu\xcc\x88ller", "m\xc3\xbcller");
	expect_fold("MU\xcc\x88LLER", "m\xc3\xbcller");
	expect_fold("\xc3\x9f", "\xc3\x9f");
	expect_fold("\xe1\xba\x9e", "\xc3\x9f");
	expect_fold("\xd0\x9f\xd0\x81", "\xd0\xbf\xd1\x91");
	expect_fold("\xc4\xb0", "i\xcc\x87");
	expect_fold("\xe2\x84\xaa", "k");
	expect_fold("\xe2\x84\xab", "\xc3\xa5");
	expect_fold("\xce\xa3\xce\xa3", "\xcf\x83\xcf\x82");
}

static void what_does_not_fit_is_not_folded(void **state)
{
	char text[300], out[LOCAL_SIZE];

	(void)state;
	memset(text, 'A', sizeof text);
	assert_int_equal(local_fold(text, 255, out), 255);
	assert_int_equal(local_fold(text, 256, out), -1);
	assert_int_equal(local_fold("\xff", 1, out), -1);
	assert_int_equal(local_fold("a\0b", 3, out), -1);
	/* U+0130 grows from two bytes to three. */
	for (size_t i = 0; i < 252; i += 2)
		memcpy(text + i, "\xc4\xb0", 2);
	assert_int_equal(local_fold(text, 170, out), 255);
	assert_int_equal(local_fold(text, 172, out), -1);
}

/* Whatever the characters and their neighbours: canonical is canonical. */
static void folding_twice_changes_nothing(void **state)
{
	uint64_t seed = 20;

	(void)state;
	for (unsigned long n = support_number("HOMING_TEST_NAMES", 200000) / 4; n > 0; n--) {
		char text[64], once[LOCAL_SIZE], twice[LOCAL_SIZE];
		size_t length = 0;

		for (uint64_t left = 1 + support_random(&seed) % 8; left > 0; left--) {
			static const unsigned starts[] = {0x20, 0xa0, 0x300, 0x380, 0x400, 0x1e00, 0x1f00,
							  0x2100, 0xa640, 0xfb00, 0x10a0, 0xff20};
			unsigned start = starts[support_random(&seed) % 12];
			unsigned character = start + (unsigned)(support_random(&seed) % 0x60);

			length += utf8(character, text + length);
		}
		int first = local_fold(text, length, once);
		if (first < 0)
			continue;
		assert_int_equal(local_fold(once, (size_t)first, twice), first);
		assert_string_equal(once, twice);
	}
}

static void names_that_an_account_may_have(void **state)
{
	static const char *const fine[] = {"info", "a", "info+x", "a.b", "...", "0", "a-b", "a~",
					   "a=b", "a'b", "{a}", "a^b", "a?", "m\xc3\xbcller", "_"};
	static const char *const bad[] = {
		"", ".", "..", "a/b", "/", "a b", "a@b", "a%b", "a!b", "a#b", "a\"b", "a`b", "a\\b", "a*",
		"*", "a,b", "a:b", "a;b", "a<b", "a>b", "(a)", "[a]", "a|b", "a&b", "$a", "-a", "~a", "A",
		"aB", "M\xc3\xbcller", "mu\xcc\x88ller", "a\tb", "a\n", "a\x7f", "a\xff", "a\xc2\xa0",
		"\xe2\x84\xaa", "a\xe2\x80\xa8",
	};
	char text[256];

	(void)state;
	for (size_t i = 0; i < sizeof fine / sizeof fine[0]; i++)
		if (local_refusal(fine[i], strlen(fine[i])))
			fail_msg("%s: %s", fine[i], local_refusal(fine[i], strlen(fine[i])));
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (!local_refusal(bad[i], strlen(bad[i])))
			fail_msg("\"%s\" is allowed", bad[i]);
	memset(text, 'a', sizeof text);
	assert_null(local_refusal(text, 255));
	assert_non_null(local_refusal(text, 256));
	assert_non_null(local_refusal("a\0b", 3));
}

static void addresses_that_an_administrator_writes(void **state)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];
	static const char *const bad[] = {"info", "@client2.com", "info@", "info@.", "a@b@c.example",
					  "a%b@c.example", "a b@c.example", "a/b@c.example", "",
					  "info@[192.0.2.2]", "\"info\"@client2.com"};

	(void)state;
	assert_null(address_parse("Info@Client2.COM.", 17, local, domain));
	assert_string_equal(local, "info");
	assert_string_equal(domain, "client2.com");
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (!address_parse(bad[i], strlen(bad[i]), local, domain))
			fail_msg("\"%s\" is taken", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_have_1_to_512_bytes),
		cmocka_unit_test(controls_and_line_separators_are_refused_and_nothing_else),
		cmocka_unit_test(a_login_has_neither_white_space_nor_slash),
		cmocka_unit_test(what_is_not_utf8_is_refused),
		cmocka_unit_test(what_stands_in_quotes_is_not_found),
		cmocka_unit_test(domains_get_their_canonical_form),
		cmocka_unit_test(what_is_no_domain_does_not_parse),
		cmocka_unit_test(labels_end_at_63_and_domains_at_253_bytes),
		cmocka_unit_test(literals_are_tagged_where_they_are_ipv6),
		cmocka_unit_test(local_parts_are_compared_in_lower_case_and_nfc),
		cmocka_unit_test(what_does_not_fit_is_not_folded),
		cmocka_unit_test(folding_twice_changes_nothing),
		cmocka_unit_test(names_that_an_account_may_have),
		cmocka_unit_test(addresses_that_an_administrator_writes),
	};

	return cmocka_run_group_tests_name("name", tests, NULL, NULL);
}
