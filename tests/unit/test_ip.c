/* IP addresses and prefixes. */
#include "ip.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct ip ip(const char *text)
{
	struct ip parsed;

	if (!ip_parse(text, strlen(text), &parsed))
		fail_msg("%s does not parse", text);
	return parsed;
}

static void addresses_are_printed_in_their_canonical_form(void **state)
{
	static const char *const rows[][2] = {
		{"192.0.2.1", "192.0.2.1"},
		{"0.0.0.0", "0.0.0.0"},
		{"255.255.255.255", "255.255.255.255"},
		{"2001:DB8:0:0:0:0:0:1", "2001:db8::1"},
		{"2001:db8:0:1:0:0:0:1", "2001:db8:0:1::1"},
		{"::", "::"},
		{"::1", "::1"},
		{"::ffff:192.0.2.1", "192.0.2.1"},
		{"::FFFF:C000:0201", "192.0.2.1"},
		{"ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char text[IP_TEXT_SIZE];
		struct ip parsed = ip(rows[i][0]);

		assert_string_equal(ip_format(&parsed, text), rows[i][1]);
	}
}

static void what_is_no_address_does_not_parse(void **state)
{
	static const char *const rows[] = {
		"", " ", "192.0.2", "192.0.2.1.1", "192.0.2.256", "192.0.2.01", "192.0.2.1 ",
		" 192.0.2.1", "192.0.2.-1", "0x7f.0.0.1", "2130706433", "192.0.2.1/24", "1:2:3:4:5:6:7",
		"1:2:3:4:5:6:7:8:9", "1::2::3", "12345::", "fe80::1%eth0", "[::1]", "::g", ":", ":::",
		"localhost", "192.0.2.1\n", "::ffff:192.0.2.256",
		"0000000000000000000000000000000000000000000000000000000000000000000000000000000001",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ip parsed;

		if (ip_parse(rows[i], strlen(rows[i]), &parsed))
			fail_msg("\"%s\" parses", rows[i]);
	}
}

static void the_length_is_the_end_and_a_nul_is_not(void **state)
{
	struct ip parsed, expected = ip("192.0.2.1");

	(void)state;
	assert_true(ip_parse("192.0.2.1]", 9, &parsed));
	assert_memory_equal(&parsed, &expected, sizeof parsed);
	assert_false(ip_parse("192.0.2.1\0", 10, &parsed));
	assert_false(ip_parse("192.0.2.1\0x", 11, &parsed));
	assert_false(ip_parse("", 0, &parsed));
}

static void bytes_of_both_families_give_the_same_address(void **state)
{
	static const unsigned char v4[4] = {192, 0, 2, 1};
	static const unsigned char v6[16] = {[10] = 0xff, 0xff, 192, 0, 2, 1};
	struct ip parsed = ip("192.0.2.1"), from_v4 = ip_from_v4(v4), from_v6 = ip_from_v6(v6);

	(void)state;
	assert_memory_equal(&from_v4, &parsed, sizeof parsed);
	assert_memory_equal(&from_v6, &parsed, sizeof parsed);
}

static void prefixes_are_printed_in_their_canonical_form(void **state)
{
	static const struct {
		const char *text, *canonical;
		unsigned length;
	} rows[] = {
		{"192.0.2.1", "192.0.2.1", 128},
		{"192.0.2.1/32", "192.0.2.1", 128},
		{"192.0.2.0/24", "192.0.2.0/24", 120},
		{"0.0.0.0/0", "0.0.0.0/0", 96},
		{"128.0.0.0/1", "128.0.0.0/1", 97},
		{"::ffff:192.0.2.0/120", "192.0.2.0/24", 120},
		{"::ffff:0.0.0.0/96", "0.0.0.0/0", 96},
		{"::/0", "::/0", 0},
		{"::1", "::1", 128},
		{"2001:DB8::/32", "2001:db8::/32", 32},
		{"2001:db8:8000::/33", "2001:db8:8000::/33", 33},
		{"::/95", "::/95", 95},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ip_prefix prefix;
		char text[IP_TEXT_SIZE];

		if (!ip_prefix_parse(rows[i].text, strlen(rows[i].text), &prefix))
			fail_msg("%s does not parse", rows[i].text);
		assert_int_equal(prefix.length, rows[i].length);
		assert_string_equal(ip_prefix_format(&prefix, text), rows[i].canonical);
	}
}

static void what_is_no_prefix_does_not_parse(void **state)
{
	static const char *const rows[] = {
		"", "/", "/24", "192.0.2.0/", "192.0.2.0/33", "192.0.2.0/-1", "192.0.2.0/+24",
		"192.0.2.0/ 24", "192.0.2.0/24 ", "192.0.2.0/024", "192.0.2.0/00", "192.0.2.0/24/24",
		"192.0.2.0/255.255.255.0", "192.0.2.1/24", "192.0.2.128/24", "::1/127", "::/129",
		"2001:db8::1/64", "::/1000", "::/99999999999999999999", "*", "192.0.2.*",
		"::ffff:192.0.2.1/120",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct ip_prefix prefix;

		if (ip_prefix_parse(rows[i], strlen(rows[i]), &prefix))
			fail_msg("\"%s\" parses", rows[i]);
	}
}

static void a_mask_keeps_the_first_bits_alone(void **state)
{
	struct ip all = ip("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");

	(void)state;
	for (unsigned length = 0; length <= 128; length++) {
		struct ip masked = ip_mask(&all, length);

		for (unsigned bit = 0; bit < 128; bit++)
			assert_int_equal(masked.bytes[bit / 8] >> (7 - bit % 8) & 1, bit < length);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_printed_in_their_canonical_form),
		cmocka_unit_test(what_is_no_address_does_not_parse),
		cmocka_unit_test(the_length_is_the_end_and_a_nul_is_not),
		cmocka_unit_test(bytes_of_both_families_give_the_same_address),
		cmocka_unit_test(prefixes_are_printed_in_their_canonical_form),
		cmocka_unit_test(what_is_no_prefix_does_not_parse),
		cmocka_unit_test(a_mask_keeps_the_first_bits_alone),
	};

	return cmocka_run_group_tests_name("ip", tests, NULL, NULL);
}
