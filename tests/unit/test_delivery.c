/* Answers as addresses: what leads to an account leads to the same one when its address is routed
 * again, or has no address; internal and external forms; whose domains are ours. */
#include "delivery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <lmdb.h>

#include "cases.h"
#include "store.h"
#include "support.h"

/* Lookups that fail: the linker leads these calls here (see meson.build). */
static long lookups_left = -1;

int __real_store_get(struct store_reader *reader, unsigned table, const void *key, size_t length,
		     MDB_val *value_r, struct error *error);
int __wrap_store_get(struct store_reader *reader, unsigned table, const void *key, size_t length,
		     MDB_val *value_r, struct error *error);

int __wrap_store_get(struct store_reader *reader, unsigned table, const void *key, size_t length,
		     MDB_val *value_r, struct error *error)
{
	if (lookups_left > 0)
		lookups_left--;
	else if (lookups_left == 0)
		return error_set(error, ERROR_IO, "broken by the test");
	return __real_store_get(reader, table, key, length, value_r, error);
}

struct fixture {
	char *folder;
	struct support_open open;
};

static const char more_names[] = "account info+box@client2.com\n"
				 "alias info+news@client2.com kurt@client2.com\n"
				 "alias info+same@client2.com info@client2.com\n"
				 "alias info+twist@client2.com info+turned@client2.com\n"
				 "account a..b@client2.com\n"
				 "account .dot@client2.com\n"
				 "account info-box@dash.example\n"
				 "alias ext+x@sqlsite.org info@client2.com\n"
				 "forwarder parts@client2.com kurt+a@client2.com sales@client2.com "
				 "out@remote.example\n";

static int setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);
	struct error error = {0};

	fixture->folder = support_folder();
	support_golden(fixture->folder);
	support_add_names(fixture->folder, more_names);
	fixture->open = support_open(fixture->folder, DIRECTORY_NAMES);
	if (directory_begin(fixture->open.reader, &error) < 0)
		support_die("%s", error.text);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	directory_end(fixture->open.reader);
	support_close(&fixture->open);
	support_folder_remove(&fixture->folder);
	free(fixture);
	return 0;
}

static void ask(struct fixture *fixture, const char *name, struct route_answer *answer_r)
{
	struct route_question question = {
		.kind = NAME_ADDRESS, .name = name, .name_length = strlen(name)};
	struct error error = {0};

	if (route(fixture->open.reader, &question, answer_r, NULL, &error) < 0)
		fail_msg("%s: %s", name, error.text);
}

static void an_account_becomes_its_address(void **state)
{
	static const struct {
		const char *name, *address; /* NULL: none leads there */
	} rows[] = {
		{"info@client2.com", "info@client2.com"},
		{"INFO@Client2.COM.", "info@client2.com"},
		{"sales@client2.com", "info@client2.com"},
		{"info%client2.com@company.com", "info@client2.com"},
		{"info@[192.0.2.2]", "info@client1.com"},
		{"info@b\xc3\xbc\x63her.example", "info@xn--bcher-kva.example"},
		{"info+Lists@client2.com", "info+Lists@client2.com"},
		{"info+@client2.com", "info+@client2.com"},
		{"lists@client2.com", "info+lists@client2.com"},
		{"info+Gr\xc3\xb6\xc3\x9f\x65@client2.com",
		 "info+Gr\xc3\xb6\xc3\x9f\x65@client2.com"},
		{"team+a@client1.com", "team+a@client1.com"},
		{"team+a+b@client1.com", "team+a+b@client1.com"},
		{"info-x@dash.example", "info-x@dash.example"},
		{"kontakt-x@dash.example", "info+x@company.com"},
		{"Archive#info@client2.com", "info+Archive@client2.com"},
		{"Archive#info+x@client2.com", "info+Archive@client2.com"},
		{"Archive/2024#info@client2.com", "info+Archive/2024@client2.com"},
		{"a+b#info@client2.com", "info+a+b@client2.com"},
		{"more#info@dash.example", "info-more@dash.example"},
		/* another name is in the way */
		{"box#info@client2.com", NULL},
		{"Box#info@client2.com", NULL},
		{"news#info@client2.com", NULL},
		{"same#info@client2.com", NULL},
		{"twist#info@client2.com", NULL},
		{"box#info@dash.example", NULL},
		{"web-admin#info@client2.com", NULL}, /* a record takes info+web-admin */
		{"box+x#info@client2.com", NULL},     /* info+box with a detail */
		/* what no external form leads to */
		{"a..b@client2.com", NULL},
		{".dot@client2.com", NULL},
		{"info+a..b@client2.com", NULL},
		{"info+a.@client2.com", NULL},
		{"a b#info@client2.com", NULL},
		{"a,b@sqlsite.org", NULL},
		{"a#b#info@client2.com", NULL}, /* its `#` is read again */
		/* where nobody here knows the accounts */
		{"anybody@sqlsite.org", "anybody@sqlsite.org"},
		{"Anybody+x@sqlsite.org", "anybody+x@sqlsite.org"},
		{"boss+X@sqlsite.org", "carol+X@sqlsite.org"},
		{"Archive#dora@sqlsite.org", "dora+Archive@sqlsite.org"},
		{"x#ext@sqlsite.org", NULL},
		{"anybody+x@dovesite.org", "anybody+x@dovesite.org"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char address[DELIVERY_SIZE] = "";
		struct route_answer answer;
		struct error error = {0};

		ask(fixture, rows[i].name, &answer);
		if (answer.result != ROUTE_ACCOUNT)
			fail_msg("%s: not an account: %s", rows[i].name, answer.text);
		int result = delivery_address(fixture->open.reader, &answer, address, &error);
		if (result != (rows[i].address != NULL) ||
		    (result == 1 && strcmp(address, rows[i].address) != 0))
			fail_msg("%s: %d, \"%s\"", rows[i].name, result, address);
	}
}

static void a_name_that_is_too_long_with_its_mailbox_has_no_address(void **state)
{
	struct fixture *fixture = *state;
	struct route_answer answer;
	char address[DELIVERY_SIZE], name[NAME_SIZE];
	struct error error = {0};

	memset(name, 'n', 255);
	strcpy(name + 255, "+x@client1.com");
	ask(fixture, name, &answer);
	assert_int_equal(delivery_address(fixture->open.reader, &answer, address, &error), 1);
	assert_string_equal(address, name);
	memset(answer.detail, 'x', sizeof answer.detail - 1);
	answer.detail[sizeof answer.detail - 1] = '\0';
	assert_int_equal(delivery_address(fixture->open.reader, &answer, address, &error), 0);
	answer.detail[512 - 255 - 1 - 12] = '\0'; /* 512 bytes in all, @client1.com and all */
	assert_int_equal(delivery_address(fixture->open.reader, &answer, address, &error), 1);
	answer.detail[512 - 255 - 1 - 12] = 'x';
	answer.detail[512 - 255 - 12] = '\0';
	assert_int_equal(delivery_address(fixture->open.reader, &answer, address, &error), 0);
	assert_int_equal(error.code, ERROR_NONE);
}

static void targets_become_addresses(void **state)
{
	static const char *const expected[] = {"kurt+a@client2.com", "info@client2.com",
					       "out@remote.example"};
	struct fixture *fixture = *state;
	struct route_answer answer;
	struct error error = {0};

	ask(fixture, "parts@client2.com", &answer);
	assert_int_equal(answer.target_count, 3);
	for (size_t i = 0; i < answer.target_count; i++) {
		char address[DELIVERY_SIZE];
		bool found = false;

		assert_int_equal(
			delivery_target(fixture->open.reader, &answer.targets[i], address, &error),
			1);
		for (size_t n = 0; n < 3; n++)
			found = found || strcmp(address, expected[n]) == 0;
		if (!found)
			fail_msg("unexpected: %s", address);
	}
	route_answer_finish(&answer);
	char address[DELIVERY_SIZE];
	struct route_target boxed = {.address = (char[]){"kurt@client2.com"},
				     .detail = (char[]){"x"},
				     .mailbox = (char[]){"Box"}};
	assert_int_equal(delivery_target(fixture->open.reader, &boxed, address, &error), 1);
	assert_string_equal(address, "kurt+Box@client2.com");
	struct route_target taken = {.address = (char[]){"info@client2.com"},
				     .mailbox = (char[]){"box"}};
	assert_int_equal(delivery_target(fixture->open.reader, &taken, address, &error), 0);
}

static void remote_addresses_get_the_quotes_they_need(void **state)
{
	static const char *const rows[][2] = {
		{"user@remote.example", "user@remote.example"},
		{"a%b!c#d@remote.example", "a%b!c#d@remote.example"},
		{"\"in fo\"@remote.example", "\"in fo\"@remote.example"},
		{"in fo@remote.example", "\"in fo\"@remote.example"},
		{"a,b@remote.example", "\"a,b\"@remote.example"},
		{"a..b@remote.example", "\"a..b\"@remote.example"},
		{".a@remote.example", "\".a\"@remote.example"},
		{"a.@remote.example", "\"a.\"@remote.example"},
		{"a\\b@remote.example", "\"a\\\\b\"@remote.example"},
		{"a(b)<c>;:[]@[203.0.113.9]", "\"a(b)<c>;:[]\"@[203.0.113.9]"},
		{"m\xc3\xbcller@remote.example", "m\xc3\xbcller@remote.example"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char address[DELIVERY_SIZE];

		assert_true(delivery_remote(rows[i][0], address));
		assert_string_equal(address, rows[i][1]);
	}
	char longest[NAME_SIZE], address[DELIVERY_SIZE];
	memset(longest, '(', NAME_MAX_BYTES);
	memcpy(longest + NAME_MAX_BYTES - 4, "@a.b", 5);
	assert_false(delivery_remote(longest, address));
}

static void internal_forms_become_external_ones(void **state)
{
	static const char *const rows[][2] = {
		{"info@client2.com", "info@client2.com"},
		{"info", "info"},
		{"", ""},
		{"@", "@"},
		{"@client2.com", "@client2.com"},
		{"info@", "info@"},
		{"in fo@client2.com", "\"in fo\"@client2.com"},
		{"in fo", "\"in fo\""},
		{"info%client1.com@company.com", "info%client1.com@company.com"},
		{"a@b@company.com", "\"a@b\"@company.com"},
		{"@b@company.com", "\"@b\"@company.com"},
		{"\"a%b\"@company.com", "\"\\\"a%b\\\"\"@company.com"},
		{"a\\b@company.com", "\"a\\\\b\"@company.com"},
		{"a..b@company.com", "\"a..b\"@company.com"},
		{"a.b.@company.com", "\"a.b.\"@company.com"},
		{"info%client2.com.", "\"info%client2.com.\""},
		{"m\xc3\xbcller@client2.com", "m\xc3\xbcller@client2.com"},
		/* source routes */
		{"@a.example:info@client2.com", "@a.example:info@client2.com"},
		{"@a,@b:in fo@client2.com", "@a,@b:\"in fo\"@client2.com"},
		{"@a:@b:in fo@client2.com", "@a:@b:\"in fo\"@client2.com"},
		{"@[192.0.2.1],@b:in fo@client2.com", "@[192.0.2.1],@b:\"in fo\"@client2.com"},
		{"@[IPv6:::1]:info@client2.com", "@[IPv6:\"::1]:info\"@client2.com"},
		{"@a:", "@a:"},
		{"x@a:b@c", "\"x@a:b\"@c"},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char name[NAME_SIZE];
		int length = delivery_name(rows[i][0], strlen(rows[i][0]), name);

		assert_string_equal(name, rows[i][1]);
		assert_int_equal(length, (int)strlen(rows[i][1]));
	}
	char longest[NAME_SIZE + 1], name[NAME_SIZE];
	memset(longest, 'a', sizeof longest);
	assert_int_equal(delivery_name(longest, 512, name), 512);
	assert_int_equal(delivery_name(longest, 513, name), -1);
	longest[0] = ' ';
	assert_int_equal(delivery_name(longest, 510, name), 512);
	assert_int_equal(delivery_name(longest, 511, name), -1);
	assert_int_equal(delivery_name("a\0b@c", 5, name), 7); /* for the router to refuse */
	assert_memory_equal(name, "\"a\0b\"@c", 7);
}

static void an_external_form_has_the_quotes_it_needs_and_no_others(void **state)
{
	static const char *const external[] = {
		"info@client2.com",
		"info%client1.com@company.com",
		"a!b#c@d",
		"\"in fo\"@client2.com",
		"\"a@b\"@c",
		"\"\\\"a%b\\\"\"@c",
		"\"a\\\\b\"@c",
		"\"a..b\"@c",
		"\".\"@c",
		"info@[192.0.2.1]",
		"info@",
		"m\xc3\xbcller@client2.com",
		"info@client2.com.",
	};
	static const char *const others[] = {
		"",
		"@",
		"info",
		"@client2.com",
		"info%client2.com",
		"a!b",
		"*",
		"in fo",
		"in fo@client2.com",
		"a@b@c",
		"a..b@c",
		".a@c",
		"a.@c",
		"a,b@c",
		"a\\b@c",
		"\"info\"@c",
		"\"a%b\"@c",
		"\"in\\ fo\"@c",
		"\"a\"b\"@c",
		"\"a\"@b@c",
		"\"in fo@c",
		"in\"fo@c",
		"\"in fo\\\"@c",
		"@a:info@c",
		"@a,@b:in fo@c",
		"\"@a:info\"@c",
		"\"@a\"@c",
		"\"\"@c",
		"\"\xc3\xbc\"@c",
	};

	(void)state;
	for (size_t i = 0; i < sizeof external / sizeof external[0]; i++)
		if (!delivery_is_external(external[i], strlen(external[i])))
			fail_msg("not external: %s", external[i]);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (delivery_is_external(others[i], strlen(others[i])))
			fail_msg("external: %s", others[i]);
	char longest[2 * NAME_SIZE];
	memset(longest, 'a', sizeof longest);
	longest[5] = '@';
	assert_true(delivery_is_external(longest, 512));
	assert_false(delivery_is_external(longest, 513));
	assert_false(delivery_is_external(longest, sizeof longest));
	assert_false(delivery_is_external("a\0b@c", 5));
}

/* Folders of their own, because records for all names would change every other test. */
static const char domains[] =
	"{\"main_domain\": \"a.example\", \"domains\": {"
	"\"a.example\": {\"aliases\": [\"aka.example\"], \"addresses\": [\"192.0.2.0/24\"]},"
	"\"b\xc3\xbc.example\": {}, \"out.example\": {\"unknown\": \"reroute:x@remote.example\"}},"
	"\"router\": ["
	"{\"match\": \"first@late.example\", \"to\": \"info@a.example\"},"
	"{\"match\": \"old.example\", \"to\": \"a.example\"},"
	"{\"match\": \"older.example\", \"to\": \"old.example\"},"
	"{\"match\": \"to-alias.example\", \"to\": \"aka.example\"},"
	"{\"match\": \"gone.example\", \"to\": \"elsewhere.example\"},"
	"{\"match\": \"closed.example\", \"to\": \"error:5.1.2 closed\"},"
	"{\"match\": \"junk.example\", \"to\": \"discard:\"},"
	"{\"match\": \"*.ring.example\", \"to\": \"*.x.ring.example\"},"
	"{\"match\": \"one.example\", \"to\": \"info@a.example\"},"
	"{\"match\": \"one-nobody.example\", \"to\": \"nobody@a.example\"},"
	"{\"match\": \"one-remote.example\", \"to\": \"info@remote.example\"},"
	"{\"match\": \"one-out.example\", \"to\": \"nobody@out.example\"},"
	"{\"match\": \"*@all.example\", \"to\": \"*@a.example\"},"
	"{\"match\": \"*@all-one.example\", \"to\": \"info@a.example\"},"
	"{\"match\": \"*@all-remote.example\", \"to\": \"*@remote.example\"},"
	"{\"match\": \"*@all-relay.example\", \"to\": \"*%remote.example@a.example\"},"
	"{\"match\": \"*.sub.example\", \"to\": \"*%a.example@a.example\"},"
	"{\"match\": \"*.any.example\", \"to\": \"*.example\"},"
	"{\"match\": \"*.relay.example\", \"to\": \"user%*@a.example\"},"
	"{\"match\": \"*@*.pairs.example\", \"to\": \"*@*.example\"},"
	"{\"match\": \"some*@some.example\", \"to\": \"info@a.example\"},"
	"{\"match\": \"postmaster@*\", \"to\": \"info@a.example\"},"
	"{\"match\": \"a*y@*\", \"to\": \"info@a.example\"}"
	"]}";

static void domains_are_ours_by_name_alias_or_record(void **state)
{
	static const char *const ours[] = {
		"a.example",
		"A.Example.",
		"aka.example",
		"b\xc3\xbc.example",
		"xn--b-eha.example",
		"out.example",
		"old.example",
		"older.example",
		"to-alias.example",
		"junk.example",
		"one.example",
		"one-nobody.example",
		"one-out.example",
		"all.example",
		"all-one.example",
		"x.sub.example",
		"nobody.sub.example",
		"a.any.example",
		"aka.any.example",
		"old.any.example",
		"a.pairs.example",
		"[192.0.2.7]",
		"[IPv6:::ffff:192.0.2.7]",
	};
	static const char *const others[] = {
		"remote.example",
		"gone.example",
		"closed.example",
		"a.ring.example",
		"one-remote.example",
		"all-remote.example",
		"all-relay.example",
		"remote.any.example",
		"closed.any.example",
		"a.relay.example.remote",
		"remote.relay.example",
		"remote.pairs.example",
		"some.example",
		"late.example",
		"sub.a.example",
		"example",
		"",
		".",
		".a.example",
		"a..example",
		"a.example..",
		"*",
		"*.a.example",
		"a.example:25",
		"a b",
		"info@a.example",
		"@a.example",
		"192.0.2.7",
		"[203.0.113.9]",
		"[192.0.2.7",
		"[]",
		"[192.0.2.7].",
		"a%a.example",
		"\xff.example",
	};
	char *folder = support_folder();
	struct error error = {0};

	(void)state;
	support_apply(folder, domains);
	support_add_names(folder, "account info@a.example\n");
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	assert_int_equal(directory_begin(open.reader, &error), 0);
	for (size_t i = 0; i < sizeof ours / sizeof ours[0]; i++)
		if (delivery_domain(open.reader, ours[i], strlen(ours[i]), &error) != 1)
			fail_msg("not ours: %s %s", ours[i], error.text);
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (delivery_domain(open.reader, others[i], strlen(others[i]), &error) != 0)
			fail_msg("ours: %s %s", others[i], error.text);
	assert_int_equal(delivery_domain(open.reader, "a.example\0.remote", 17, &error), 0);
	char longest[400];
	memset(longest, 'a', sizeof longest);
	assert_int_equal(delivery_domain(open.reader, longest, sizeof longest, &error), 0);
	for (size_t i = 40; i < sizeof longest; i += 40)
		longest[i] = '.';
	memcpy(longest + 253 - 12, ".any.example", 12);
	assert_int_equal(delivery_domain(open.reader, longest, 253, &error), 0);
	directory_end(open.reader);
	support_close(&open);
	support_folder_remove(&folder);
}

/* Whatever the golden rows lead to. */
static void an_address_of_an_account_is_final(void **state)
{
	struct fixture *fixture = *state;
	struct cases cases = cases_read(HOMING_CASES "/routes");
	size_t written = 0;

	for (size_t i = 0; i < cases.count; i++) {
		struct route_question question = cases.rows[i].question;
		struct route_answer answer, again;
		char address[DELIVERY_SIZE], second[DELIVERY_SIZE];
		struct error error = {0};

		question.kind = NAME_ADDRESS;
		assert_int_equal(route(fixture->open.reader, &question, &answer, NULL, &error), 0);
		if (answer.result == ROUTE_ACCOUNT &&
		    delivery_address(fixture->open.reader, &answer, address, &error) == 1) {
			written++;
			ask(fixture, address, &again);
			assert_true(delivery_is_external(address, strlen(address)));
			assert_int_equal(again.result, ROUTE_ACCOUNT);
			if (!(answer.flags & ROUTE_EXTERNAL))
				assert_string_equal(again.address, answer.address);
			assert_int_equal(
				delivery_address(fixture->open.reader, &again, second, &error), 1);
			if (strcmp(second, address) != 0 && !(answer.flags & ROUTE_EXTERNAL))
				fail_msg("%s: %s", address, second);
		}
		route_answer_finish(&answer);
	}
	assert_true(written > 100);
	cases_free(&cases);
}

static void a_failed_lookup_is_a_failure(void **state)
{
	static const char *const names[] = {"info+x@client2.com", "Archive#info@client2.com",
					    "boss+x@sqlsite.org", "team+a+b@client1.com"};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		struct route_answer answer;
		char address[DELIVERY_SIZE];
		int result = -1;

		ask(fixture, names[i], &answer);
		for (long allowed = 0; result < 0; allowed++) {
			struct error error = {0};

			lookups_left = allowed;
			result = delivery_address(fixture->open.reader, &answer, address, &error);
			bool failed = lookups_left == 0 && error.code == ERROR_IO;
			lookups_left = -1;
			assert_int_equal(result < 0, failed);
			assert_true(allowed < 100);
		}
		assert_int_equal(result, 1);
	}
	static const char *const domains_of_rows[] = {"company.com",	  "remote.example",
						      "x.branch.example", "order.example",
						      "[192.0.2.2]",	  "old.example"};
	for (size_t i = 0; i < sizeof domains_of_rows / sizeof domains_of_rows[0]; i++) {
		int result = -1;

		for (long allowed = 0; result < 0; allowed++) {
			struct error error = {0};

			lookups_left = allowed;
			result = delivery_domain(fixture->open.reader, domains_of_rows[i],
						 strlen(domains_of_rows[i]), &error);
			lookups_left = -1;
			assert_int_equal(result < 0, error.code == ERROR_IO);
			assert_true(allowed < 100);
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_account_becomes_its_address),
		cmocka_unit_test(a_name_that_is_too_long_with_its_mailbox_has_no_address),
		cmocka_unit_test(targets_become_addresses),
		cmocka_unit_test(remote_addresses_get_the_quotes_they_need),
		cmocka_unit_test(internal_forms_become_external_ones),
		cmocka_unit_test(an_external_form_has_the_quotes_it_needs_and_no_others),
		cmocka_unit_test(domains_are_ours_by_name_alias_or_record),
		cmocka_unit_test(an_address_of_an_account_is_final),
		cmocka_unit_test(a_failed_lookup_is_a_failure),
	};

	return cmocka_run_group_tests_name("delivery", tests, setup, teardown);
}
