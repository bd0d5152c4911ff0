/* The policy protocol: bytes to a request, an action to bytes. */
#include "policy.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* What Postfix 3.10 sends, with its names in its order. */
static const char postfix_3_10[] =
	"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
	"client_address=192.0.2.77\nclient_name=mail.example.net\nclient_port=34567\n"
	"reverse_client_name=mail.example.net\nserver_address=192.0.2.1\nserver_port=25\n"
	"helo_name=mail.example.net\nsender=bob@example.net\nrecipient=info@company.com\n"
	"recipient_count=0\nqueue_id=4Xq\ninstance=1a2b.6743.0\nsize=12345\netrn_domain=\n"
	"stress=\nsasl_method=PLAIN\nsasl_username=info%client2.com\nsasl_sender=\n"
	"ccert_subject=\nccert_issuer=\nccert_fingerprint=\nccert_pubkey_fingerprint=\n"
	"encryption_protocol=TLSv1.3\nencryption_cipher=TLS_AES_256_GCM_SHA384\n"
	"encryption_keysize=256\npolicy_context=\ncompatibility_level=3.10\nmail_version=3.10.5\n\n";

/* What Postfix 2.1 sends. */
static const char postfix_2_1[] =
	"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=SMTP\n"
	"client_address=192.0.2.77\nclient_name=unknown\nhelo_name=x\nsender=\n"
	"recipient=info@company.com\nqueue_id=\ninstance=1.2.3\nsize=0\nsasl_method=\n"
	"sasl_username=\nsasl_sender=\n\n";

#define REQUEST "request=smtpd_access_policy\n"

static void assert_value(const struct policy_value *value, const char *expected)
{
	if (!expected) {
		assert_null(value->text);
		assert_int_equal(value->length, 0);
		return;
	}
	assert_non_null(value->text);
	assert_int_equal(value->length, strlen(expected));
	assert_memory_equal(value->text, expected, value->length);
}

/* Frames in a heap block of just that length, so that a sanitizer sees a step too far. */
static ssize_t frame(const char *data, size_t length, const char **why_r)
{
	char *copy = malloc(length > 0 ? length : 1);
	size_t seen = 0;
	ssize_t framed;

	assert_non_null(copy);
	memcpy(copy, data, length);
	framed = policy_frame(copy, length, &seen, why_r);
	if (framed > 0)
		assert_int_equal(seen, 0);
	free(copy);
	return framed;
}

/* The same bytes, `step` more at a time. */
static ssize_t frame_in_pieces(const char *data, size_t length, size_t step, const char **why_r)
{
	size_t seen = 0;

	for (size_t have = 0;; have = have + step < length ? have + step : length) {
		ssize_t framed = policy_frame(data, have, &seen, why_r);

		if (framed != 0 || have == length)
			return framed;
	}
}

static bool parse(const char *text, struct policy_request *request_r)
{
	const char *why = NULL;
	bool parsed = policy_parse(text, strlen(text), request_r, &why);

	assert_true(parsed || why);
	return parsed;
}

static void postfix_3_10_is_understood(void **state)
{
	struct policy_request request;

	(void)state;
	assert_true(parse(postfix_3_10, &request));
	assert_value(&request.request, "smtpd_access_policy");
	assert_value(&request.protocol_state, "RCPT");
	assert_value(&request.protocol_name, "ESMTP");
	assert_value(&request.helo_name, "mail.example.net");
	assert_value(&request.queue_id, "4Xq");
	assert_value(&request.instance, "1a2b.6743.0");
	assert_value(&request.sender, "bob@example.net");
	assert_value(&request.recipient, "info@company.com");
	assert_value(&request.client_name, "mail.example.net");
	assert_value(&request.client_address, "192.0.2.77");
	assert_value(&request.sasl_username, "info%client2.com");
}

static void postfix_2_1_is_understood(void **state)
{
	struct policy_request request;

	(void)state;
	assert_true(parse(postfix_2_1, &request));
	assert_value(&request.sender, "");
	assert_value(&request.queue_id, "");
	assert_value(&request.sasl_username, "");
	assert_value(&request.recipient, "info@company.com");
}

static void what_is_not_there_is_null_and_what_is_empty_is_not(void **state)
{
	struct policy_request request;

	(void)state;
	assert_true(parse(REQUEST "sender=\n\n", &request));
	assert_value(&request.sender, "");
	assert_value(&request.recipient, NULL);
	assert_value(&request.sasl_username, NULL);
}

static void requests_are_framed(void **state)
{
	static const struct {
		const char *text;
		ssize_t framed;
	} rows[] = {
		{"", 0},
		{"\n", 1},
		{"\r\n", 2},
		{"\r", 0},
		{"a", 0},
		{"a=", 0},
		{"a=b\n", 0},
		{"a=b\n\n", 5},
		{"a=b\n\r", 0},
		{"a=b\n\r\n", 6},
		{"a=b\r\n\r\n", 7},
		{"a=b\r\n\n", 6},
		{"a=b\n\nc=d\n\n", 5},	 /* two requests: the first */
		{"a=b\n\nrubbish\n\n", 5}, /* what is behind it is not looked at */
		{"=\n\n", 3},
		{"=b\n\n", 4},
		{"a==\n\n", 5},
		{"a\n", -1},
		{"a\n\n", -1},
		{"a=b\nc\n\n", -1},
		{" \n", -1},
		{"\r\r\n", -1},
		{"a=b\nGET / HTTP/1.1\r\n", -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *why = NULL;
		ssize_t framed = frame(rows[i].text, strlen(rows[i].text), &why);

		if (framed != rows[i].framed || (framed < 0) != (why != NULL))
			fail_msg("row %zu gives %zd (%s)", i, framed, why ? why : "");
		for (size_t step = 1; step < 4; step++)
			assert_int_equal(frame_in_pieces(rows[i].text, strlen(rows[i].text), step,
					 &why), rows[i].framed);
	}
}

static void a_nul_is_refused_wherever_it_is(void **state)
{
	static const struct {
		const char *bytes;
		size_t length;
	} rows[] = {
		{"\0", 1},
		{"\0\n\n", 3},
		{"a=\0", 3},
		{"a\0=b\n\n", 6},
		{"a=b\0\n\n", 6},
		{"a=b\n\0\n\n", 7},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct policy_request request;
		const char *why = NULL;

		assert_int_equal(frame(rows[i].bytes, rows[i].length, &why), -1);
		assert_string_equal(why, "a NUL");
		assert_int_equal(frame_in_pieces(rows[i].bytes, rows[i].length, 1, &why), -1);
		assert_string_equal(why, "a NUL");
		assert_false(policy_parse(rows[i].bytes, rows[i].length, &request, &why));
	}
	const char *why;
	assert_int_equal(frame("a=b\n\n\0", 6, &why), 5); /* of the next request */
}

/* REQUEST, then `x=yyyy` so that all of it has this length. */
static char *request_of(size_t length)
{
	char *text = malloc(length + 1);
	size_t head = strlen(REQUEST);

	assert_non_null(text);
	memset(text, 'y', length);
	memcpy(text, REQUEST "x=", head + 2);
	memcpy(text + length - 2, "\n\n", 3);
	return text;
}

static void a_request_may_have_65536_bytes_and_no_more(void **state)
{
	struct policy_request request;
	const char *why = NULL;
	char *most = request_of(POLICY_MAX_REQUEST), *more = request_of(POLICY_MAX_REQUEST + 1);

	(void)state;
	assert_int_equal(frame(most, POLICY_MAX_REQUEST, &why), POLICY_MAX_REQUEST);
	assert_int_equal(frame(most, POLICY_MAX_REQUEST - 1, &why), 0);
	assert_true(policy_parse(most, POLICY_MAX_REQUEST, &request, &why));

	assert_int_equal(frame(more, POLICY_MAX_REQUEST - 1, &why), 0);
	assert_int_equal(frame(more, POLICY_MAX_REQUEST, &why), -1);
	assert_ptr_equal(why, policy_too_long);
	assert_int_equal(frame(more, POLICY_MAX_REQUEST + 1, &why), -1);
	assert_int_equal(frame_in_pieces(more, POLICY_MAX_REQUEST + 1, 1000, &why), -1);
	assert_ptr_equal(why, policy_too_long);
	assert_false(policy_parse(more, POLICY_MAX_REQUEST + 1, &request, &why));
	assert_ptr_equal(why, policy_too_long);
	free(most);
	free(more);
}

/* REQUEST and `count` - 1 more attributes. */
static char *request_with(unsigned count)
{
	size_t used = strlen(REQUEST);
	char *text = malloc(used + (size_t)count * 2 + 2);

	if (!text)
		abort();
	memcpy(text, REQUEST, used);
	for (unsigned i = 1; i < count; i++, used += 2)
		memcpy(text + used, "=\n", 2);
	memcpy(text + used, "\n", 2);
	return text;
}

static void a_request_may_have_1000_attributes_and_no_more(void **state)
{
	static const struct {
		unsigned count;
		bool allowed;
	} rows[] = {{1, true}, {31, true}, {1000, true}, {1001, false}, {30000, false}};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct policy_request request;
		const char *why = NULL;
		char *text = request_with(rows[i].count);

		assert_int_equal(frame(text, strlen(text), &why), strlen(text));
		assert_int_equal(policy_parse(text, strlen(text), &request, &why), rows[i].allowed);
		if (!rows[i].allowed)
			assert_string_equal(why, "more than 1000 attributes");
		free(text);
	}
}

static void a_hundred_thousand_attributes_are_too_long(void **state)
{
	const char *why = NULL;
	char *text = request_with(100000);

	(void)state;
	assert_int_equal(frame(text, strlen(text), &why), -1);
	assert_ptr_equal(why, policy_too_long);
	free(text);
}

/* What would be quadratic takes minutes here. */
static void one_byte_at_a_time_costs_no_more(void **state)
{
	const char *why = NULL;
	char *line = request_of(POLICY_MAX_REQUEST), *lines = request_with(30000);

	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		assert_int_equal(frame_in_pieces(line, POLICY_MAX_REQUEST, 1, &why),
				 POLICY_MAX_REQUEST);
		assert_int_equal(frame_in_pieces(lines, strlen(lines), 1, &why), strlen(lines));
	}
	free(line);
	free(lines);
}

static void what_is_no_request_is_refused(void **state)
{
	static const struct {
		const char *text, *why;
	} rows[] = {
		{"", "no empty line at the end"},
		{REQUEST, "no empty line at the end"},
		{REQUEST "a=b", "no empty line at the end"},
		{REQUEST "a=b\n", "no empty line at the end"},
		{REQUEST "a=b\n\r", "no empty line at the end"},
		{REQUEST "a\n\n", "a line without `=`"},
		{REQUEST "\nx", "something behind the empty line"},
		{REQUEST "\n\n", "something behind the empty line"},
		{REQUEST "\n" REQUEST "\n", "something behind the empty line"},
		{"\n", "no request=smtpd_access_policy"},
		{"recipient=info@company.com\n\n", "no request=smtpd_access_policy"},
		{"request=\n\n", "no request=smtpd_access_policy"},
		{"request=smtpd_access_polic\n\n", "no request=smtpd_access_policy"},
		{"request=smtpd_access_policy2\n\n", "no request=smtpd_access_policy"},
		{"request=junk\n\n", "no request=smtpd_access_policy"},
		{"Request=smtpd_access_policy\n\n", "no request=smtpd_access_policy"},
		{" " REQUEST "\n", "no request=smtpd_access_policy"},
		{REQUEST "request=junk\n\n", "no request=smtpd_access_policy"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct policy_request request = {.helo_name = {"untouched", 9}};
		const char *why = NULL;

		if (policy_parse(rows[i].text, strlen(rows[i].text), &request, &why))
			fail_msg("row %zu parses", i);
		assert_string_equal(why, rows[i].why);
		assert_value(&request.helo_name, "untouched");
		assert_value(&request.recipient, NULL);
	}
}

static void values_are_taken_as_they_are(void **state)
{
	static const struct {
		const char *line, *recipient;
	} rows[] = {
		{"recipient=a@b\n", "a@b"},
		{"recipient=a@b\r\n", "a@b"},
		{"recipient=a@b\r\r\n", "a@b\r"},
		{"recipient=\r\n", ""},
		{"recipient=\n", ""},
		{"recipient==\n", "="},
		{"recipient=a=b@c\n", "a=b@c"},
		{"recipient= a@b \n", " a@b "},
		{"recipient=\xff\x01\t\n", "\xff\x01\t"},
		{"recipient=in fo@b\n", "in fo@b"},
		/* names that nobody asked for */
		{"recipient =a@b\n", NULL},
		{" recipient=a@b\n", NULL},
		{"RECIPIENT=a@b\n", NULL},
		{"recipien=a@b\n", NULL},
		{"recipients=a@b\n", NULL},
		{"recipienx=a@b\n", NULL},
		{"=recipient=a@b\n", NULL},
		{"=\n", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct policy_request request;
		char text[200];

		snprintf(text, sizeof text, REQUEST "%s\n", rows[i].line);
		if (!parse(text, &request))
			fail_msg("row %zu does not parse", i);
		assert_value(&request.recipient, rows[i].recipient);
	}
}

static void the_last_of_the_same_attributes_counts(void **state)
{
	struct policy_request request;

	(void)state;
	assert_true(parse("request=junk\nsender=a@b\nrecipient=1@b\n" REQUEST
			  "recipient=2@b\nsender=\nrecipient=3@b\n\n", &request));
	assert_value(&request.request, "smtpd_access_policy");
	assert_value(&request.recipient, "3@b");
	assert_value(&request.sender, "");
}

static void every_name_is_told_from_its_neighbours(void **state)
{
	static const char *const names[] = {
		"protocol_state", "protocol_name", "helo_name", "queue_id", "instance", "sender",
		"recipient", "client_name", "client_address", "sasl_username",
	};

	(void)state;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		char text[200];
		struct policy_request request;
		snprintf(text, sizeof text, REQUEST "%s=only\n\n", names[i]);

		assert_true(parse(text, &request));
		const struct policy_value *const values[] = {
			&request.protocol_state, &request.protocol_name, &request.helo_name,
			&request.queue_id, &request.instance, &request.sender, &request.recipient,
			&request.client_name, &request.client_address, &request.sasl_username,
		};
		for (size_t j = 0; j < sizeof values / sizeof values[0]; j++)
			assert_value(values[j], i == j ? "only" : NULL);
	}
}

static void an_action_cannot_end_its_reply(void **state)
{
	static const char *const rows[][2] = {
		{"DUNNO", "action=DUNNO\n\n"},
		{"", "action=\n\n"},
		{"550 5.1.1 <a@b>: no", "action=550 5.1.1 <a@b>: no\n\n"},
		{"DUNNO\n\naction=OK", "action=DUNNO??action=OK\n\n"},
		{"DUNNO\r\n", "action=DUNNO??\n\n"},
		{"a\tb\x7f\x1b[0m", "action=a?b??[0m\n\n"},
		{"info@b\xc3\xbc" "cher.example", "action=info@b\xc3\xbc" "cher.example\n\n"},
		{"\xff\xc3", "action=??\n\n"},
		{"\xc3", "action=?\n\n"},
		{"\xc0\x8a", "action=??\n\n"},	       /* an overlong line feed */
		{"\xed\xa0\x80", "action=???\n\n"},    /* a surrogate */
		{"\xc2\x85", "action=??\n\n"},	       /* NEL */
		{"\xe2\x80\xa8x", "action=???x\n\n"}, /* LINE SEPARATOR */
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char out[1024];
		size_t length = policy_format(rows[i][0], out, sizeof out);

		assert_int_equal(length, strlen(rows[i][1]));
		assert_memory_equal(out, rows[i][1], length);
	}
}

static void an_action_that_is_too_long_is_cut_at_a_character(void **state)
{
	enum { ROOM = 1024 - 7 /* action= */ - 2 /* line ends */ - 1 /* NUL */ };
	char *out = malloc(1024), action[2000];

	(void)state;
	assert_non_null(out);
	for (size_t length = ROOM - 3; length < ROOM + 3; length++) {
		size_t expected = length < ROOM ? length : ROOM;

		memset(action, 'a', length);
		action[length] = '\0';
		assert_int_equal(policy_format(action, out, 1024), 7 + expected + 2);
		assert_memory_equal(out + 7 + expected, "\n\n", 2);
	}
	memcpy(action + ROOM - 1, "\xc3\xbc", 2);
	assert_int_equal(policy_format(action, out, 1024), 7 + ROOM - 1 + 2);
	assert_memory_equal(out + 7 + ROOM - 2, "a\n\n", 3);
	free(out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(postfix_3_10_is_understood),
		cmocka_unit_test(postfix_2_1_is_understood),
		cmocka_unit_test(what_is_not_there_is_null_and_what_is_empty_is_not),
		cmocka_unit_test(requests_are_framed),
		cmocka_unit_test(a_nul_is_refused_wherever_it_is),
		cmocka_unit_test(a_request_may_have_65536_bytes_and_no_more),
		cmocka_unit_test(a_request_may_have_1000_attributes_and_no_more),
		cmocka_unit_test(a_hundred_thousand_attributes_are_too_long),
		cmocka_unit_test(one_byte_at_a_time_costs_no_more),
		cmocka_unit_test(what_is_no_request_is_refused),
		cmocka_unit_test(values_are_taken_as_they_are),
		cmocka_unit_test(the_last_of_the_same_attributes_counts),
		cmocka_unit_test(every_name_is_told_from_its_neighbours),
		cmocka_unit_test(an_action_cannot_end_its_reply),
		cmocka_unit_test(an_action_that_is_too_long_is_cut_at_a_character),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
