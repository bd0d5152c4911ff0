/* The socketmap protocol and its netstrings. */
#include "socketmap.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "netstring.h"

enum { OUT_SIZE = SOCKETMAP_MAX + 16 };

/* Frames in a heap block of just that length, so that a sanitizer sees a step too far. Returns
 * where the content starts and how long it is. */
static ssize_t frame(const char *data, size_t length, size_t limit, size_t *offset_r,
		     size_t *length_r, const char **why_r)
{
	char *copy = malloc(length > 0 ? length : 1);
	const char *start = NULL;
	ssize_t framed;

	assert_non_null(copy);
	memcpy(copy, data, length);
	framed = netstring_frame(copy, length, limit, &start, length_r, why_r);
	if (framed > 0)
		*offset_r = (size_t)(start - copy);
	free(copy);
	return framed;
}

static void netstrings_are_framed(void **state)
{
	static const struct {
		const char *text;
		ssize_t framed;
		const char *content;
	} rows[] = {
		{"", 0, NULL},
		{"0", 0, NULL},
		{"0:", 0, NULL},
		{"0:,", 3, ""},
		{"5", 0, NULL},
		{"5:", 0, NULL},
		{"5:hell", 0, NULL},
		{"5:hello", 0, NULL},
		{"5:hello,", 8, "hello"},
		{"5:hello,5:world,", 8, "hello"},
		{"5:hello,rubbish", 8, "hello"},
		{"5:a,b:c,", 8, "a,b:c"},
		{"12:hello, world,", 16, "hello, world"},
		{"50:", 0, NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t offset = 0, length = 0;
		const char *why = NULL;
		ssize_t framed = frame(rows[i].text, strlen(rows[i].text), 50, &offset, &length, &why);

		if (framed != rows[i].framed)
			fail_msg("\"%s\" gives %zd (%s)", rows[i].text, framed, why ? why : "");
		if (framed > 0) {
			assert_int_equal(length, strlen(rows[i].content));
			assert_memory_equal(rows[i].text + offset, rows[i].content, length);
		}
	}
}

static void what_is_no_netstring_is_refused_as_soon_as_it_shows(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{"x", "no length in digits at the start"},
		{":", "no length in digits at the start"},
		{":,", "no length in digits at the start"},
		{",", "no length in digits at the start"},
		{"-1:,", "no length in digits at the start"},
		{"+1:a,", "no length in digits at the start"},
		{" 1:a,", "no length in digits at the start"},
		{"\n", "no length in digits at the start"},
		{"00", "a length with leading zeros"},
		{"00:,", "a length with leading zeros"},
		{"01:a,", "a length with leading zeros"},
		{"0000000005:hello,", "a length with leading zeros"},
		{"5 :hello,", "no colon behind the length"},
		{"5x", "no colon behind the length"},
		{"5,", "no colon behind the length"},
		{"0x5:hello,", "no colon behind the length"},
		{"5.0:hello,", "no colon behind the length"},
		{"5:hello.", "no comma at the end"},
		{"5:hello\n", "no comma at the end"},
		{"0:x", "no comma at the end"},
		{"4:hello,", "no comma at the end"},
		{"51", "longer than allowed"},
		{"51:", "longer than allowed"},
		{"100000:", "longer than allowed"},
		{"4294967296", "longer than allowed"}, /* 2^32, 10 digits */
		{"4294967301:hello,", "longer than allowed"},
		{"9999999999", "longer than allowed"},
		{"10000000000", "longer than allowed"}, /* 11 digits */
		{"99999999999", "longer than allowed"},
		{"18446744073709551621:hello,", "longer than allowed"}, /* 2^64 + 5 */
		{"999999999999999999999999999999999999999999", "longer than allowed"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t offset = 7, length = 7;
		const char *why = NULL;

		if (frame(rows[i].text, strlen(rows[i].text), 50, &offset, &length, &why) != -1)
			fail_msg("\"%s\" is a netstring", rows[i].text);
		assert_string_equal(why, rows[i].why);
		assert_int_equal(length, 7);
		if (strcmp(rows[i].why, "longer than allowed") == 0)
			assert_ptr_equal(why, netstring_too_long);
	}
}

static void lengths_of_ten_digits_are_read_where_the_limit_allows(void **state)
{
	size_t offset, length;
	const char *why = NULL;

	(void)state;
	assert_int_equal(frame("9999999999:", 11, SIZE_MAX, &offset, &length, &why), 0);
	assert_int_equal(frame("9999999999", 10, 9999999998, &offset, &length, &why), -1);
	assert_int_equal(frame("10000000000", 11, SIZE_MAX, &offset, &length, &why), -1);
	assert_ptr_equal(why, netstring_too_long);
}

/* A request of 100,000 bytes and one of one more. */
static void the_limit_is_on_the_content(void **state)
{
	char *data = malloc(OUT_SIZE);
	size_t offset, length;
	const char *why = NULL;

	(void)state;
	assert_non_null(data);
	memset(data, 'k', OUT_SIZE);
	memcpy(data, "100000:", 7);
	data[100007] = ',';
	assert_int_equal(frame(data, 100008, SOCKETMAP_MAX, &offset, &length, &why), 100008);
	assert_int_equal(length, 100000);
	assert_int_equal(offset, 7);
	assert_int_equal(frame(data, 100007, SOCKETMAP_MAX, &offset, &length, &why), 0);

	memcpy(data, "100001:", 7);
	assert_int_equal(frame(data, 6, SOCKETMAP_MAX, &offset, &length, &why), -1);
	assert_ptr_equal(why, netstring_too_long);
	free(data);
}

static void a_netstring_is_written_only_where_it_fits(void **state)
{
	char out[16];

	(void)state;
	for (size_t size = 0; size < 8; size++)
		assert_int_equal(netstring_format("hello", 5, out, size), 0);
	assert_int_equal(netstring_format("hello", 5, out, 8), 8);
	assert_memory_equal(out, "5:hello,", 8);
	assert_int_equal(netstring_format("", 0, out, 2), 0);
	assert_int_equal(netstring_format("", 0, out, 3), 3);
	assert_memory_equal(out, "0:,", 3);
	assert_int_equal(netstring_format("", SIZE_MAX, out, sizeof out), 0);
	memcpy(out, "hello", 5);
	assert_int_equal(netstring_format(out, 5, out, sizeof out), 8);
	assert_memory_equal(out, "5:hello,", 8);
}

static void requests_are_split_at_their_first_blank(void **state)
{
	static const struct {
		const char *content;
		size_t length;
		const char *name, *key;
		size_t key_length;
	} rows[] = {
		{"alias info@company.com", 22, "alias", "info@company.com", 16},
		{"alias ", 6, "alias", "", 0},
		{"alias  x", 8, "alias", " x", 2},
		{"alias \"in fo\"@b", 15, "alias", "\"in fo\"@b", 9},
		{" x", 2, "", "x", 1},
		{" ", 1, "", "", 0},
		{"alias a\0b", 9, "alias", "a\0b", 3},
		{"alias \n\r\t\xff\x01,:", 13, "alias", "\n\r\t\xff\x01,:", 7},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct socketmap_request request;

		if (!socketmap_parse(rows[i].content, rows[i].length, &request))
			fail_msg("row %zu does not parse", i);
		assert_int_equal(request.name_length, strlen(rows[i].name));
		assert_memory_equal(request.name, rows[i].name, request.name_length);
		assert_int_equal(request.key_length, rows[i].key_length);
		assert_memory_equal(request.key, rows[i].key, request.key_length);
	}
}

static void without_a_blank_there_is_no_request(void **state)
{
	static const struct {
		const char *content;
		size_t length;
	} rows[] = {{"", 0}, {"alias", 5}, {"alias\tx", 7}, {"alias\0x", 7}, {"alias ", 5}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct socketmap_request request;

		if (socketmap_parse(rows[i].content, rows[i].length, &request))
			fail_msg("row %zu parses", i);
	}
}

static void every_byte_may_be_in_a_key(void **state)
{
	char content[2 + 256] = "m ";
	struct socketmap_request request;

	(void)state;
	for (int i = 0; i < 256; i++)
		content[2 + i] = (char)i;
	assert_true(socketmap_parse(content, sizeof content, &request));
	assert_int_equal(request.name_length, 1);
	assert_ptr_equal(request.key, content + 2);
	assert_int_equal(request.key_length, 256);
}

static void replies_are_written(void **state)
{
	static const struct {
		enum socketmap_status status;
		const char *value, *reply;
	} rows[] = {
		{SOCKETMAP_OK, "info@company.com", "19:OK info@company.com,"},
		{SOCKETMAP_OK, "", "3:OK ,"},
		{SOCKETMAP_OK, "b\xc3\xbc" "cher", "10:OK b\xc3\xbc" "cher,"},
		{SOCKETMAP_NOTFOUND, "", "9:NOTFOUND ,"},
		{SOCKETMAP_NOTFOUND, "ignored", "9:NOTFOUND ,"},
		{SOCKETMAP_TEMP, "try again", "14:TEMP try again,"},
		{SOCKETMAP_TEMP, "", "5:TEMP ,"},
		{SOCKETMAP_TIMEOUT, "too slow", "16:TIMEOUT too slow,"},
		{SOCKETMAP_PERM, "no such map", "16:PERM no such map,"},
		{SOCKETMAP_TEMP, "a\r\nb\x7f\xff", "11:TEMP a??b??,"},
		{SOCKETMAP_PERM, "x,5:hello,", "15:PERM x,5:hello,,"},
		{SOCKETMAP_OK, "a\nb", "38:PERM the answer has control characters,"},
		{SOCKETMAP_OK, "a\x7f", "38:PERM the answer has control characters,"},
		{SOCKETMAP_OK, "\x1f", "38:PERM the answer has control characters,"},
	};
	char *out = malloc(OUT_SIZE);

	(void)state;
	assert_non_null(out);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		size_t length = socketmap_format(rows[i].status, rows[i].value,
						 strlen(rows[i].value), out, OUT_SIZE);

		if (length != strlen(rows[i].reply) || memcmp(out, rows[i].reply, length) != 0)
			fail_msg("row %zu gives %.*s", i, (int)length, out);
	}
	assert_int_equal(socketmap_format(SOCKETMAP_OK, "a\0b", 3, out, OUT_SIZE), 42);
	assert_int_equal(socketmap_format(SOCKETMAP_NOTFOUND, NULL, 0, out, OUT_SIZE), 12);
	assert_int_equal(socketmap_format(SOCKETMAP_OK, "", 0, out, OUT_SIZE - 1), 0);
	free(out);
}

/* The content of a reply, which must be one whole netstring that Postfix takes. */
static const char *content_of(const char *out, size_t length, size_t *length_r)
{
	const char *start = NULL, *why = NULL;

	assert_int_equal(netstring_frame(out, length, SOCKETMAP_MAX, &start, length_r, &why), length);
	return start;
}

static void an_answer_may_have_99997_bytes_and_no_more(void **state)
{
	char *out = malloc(OUT_SIZE), *value = malloc(200000);
	size_t length;

	(void)state;
	assert_true(out && value);
	memset(value, 'v', 200000);
	for (size_t size = 99996; size <= 99997; size++) {
		const char *content = content_of(out, socketmap_format(SOCKETMAP_OK, value, size, out,
						 OUT_SIZE), &length);

		assert_int_equal(length, size + 3);
		assert_memory_equal(content, "OK vvv", 6);
	}
	static const size_t too_long[] = {99998, 99999, 100000, 100001, 200000};
	for (size_t i = 0; i < sizeof too_long / sizeof too_long[0]; i++) {
		const char *content = content_of(out, socketmap_format(SOCKETMAP_OK, value,
						 too_long[i], out, OUT_SIZE), &length);

		assert_true(length < 200);
		assert_memory_equal(content, "PERM the answer is longer than", 30);
	}
	free(out);
	free(value);
}

static void a_reason_that_is_too_long_is_cut_at_a_character(void **state)
{
	char *out = malloc(OUT_SIZE), *reason = malloc(200000);
	size_t length;

	(void)state;
	assert_true(out && reason);
	memset(reason, 'r', 200000);
	for (size_t size = 99994; size <= 99996; size++) {
		content_of(out, socketmap_format(SOCKETMAP_TEMP, reason, size, out, OUT_SIZE), &length);
		assert_int_equal(length, 5 + (size < 99995 ? size : 99995));
	}
	memcpy(reason + 99994, "\xc3\xbc", 2);
	const char *content = content_of(out, socketmap_format(SOCKETMAP_TEMP, reason, 200000, out,
					 OUT_SIZE), &length);
	assert_int_equal(length, 99999);
	assert_int_equal(content[length - 1], 'r');
	free(out);
	free(reason);
}

static void statuses_have_names(void **state)
{
	(void)state;
	assert_string_equal(socketmap_status_name(SOCKETMAP_OK), "ok");
	assert_string_equal(socketmap_status_name(SOCKETMAP_NOTFOUND), "notfound");
	assert_string_equal(socketmap_status_name(SOCKETMAP_TEMP), "temp");
	assert_string_equal(socketmap_status_name(SOCKETMAP_TIMEOUT), "timeout");
	assert_string_equal(socketmap_status_name(SOCKETMAP_PERM), "perm");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(netstrings_are_framed),
		cmocka_unit_test(what_is_no_netstring_is_refused_as_soon_as_it_shows),
		cmocka_unit_test(lengths_of_ten_digits_are_read_where_the_limit_allows),
		cmocka_unit_test(the_limit_is_on_the_content),
		cmocka_unit_test(a_netstring_is_written_only_where_it_fits),
		cmocka_unit_test(requests_are_split_at_their_first_blank),
		cmocka_unit_test(without_a_blank_there_is_no_request),
		cmocka_unit_test(every_byte_may_be_in_a_key),
		cmocka_unit_test(replies_are_written),
		cmocka_unit_test(an_answer_may_have_99997_bytes_and_no_more),
		cmocka_unit_test(a_reason_that_is_too_long_is_cut_at_a_character),
		cmocka_unit_test(statuses_have_names),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
