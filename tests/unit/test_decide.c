/* The policy and the maps: every golden row, the rules one by one, and that nobody can relay. What
 * Postfix would ask about a recipient is modelled here (postfix_keys); it is written from Postfix's
 * documented behaviour and knows nothing of how delivery.c does the same. */
#include "decide.h"

#include <ctype.h>
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
#include "hostile.h"
#include "router/delivery.h"
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

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { NAMES = 50000 };
#else
enum { NAMES = 200000 };
#endif

struct fixture {
	char *folder;
	struct support_open open;
	struct cases cases;
};

static void fixture_begin(struct fixture *fixture)
{
	struct error error = {0};

	fixture->open = support_open(fixture->folder, DIRECTORY_NAMES);
	if (directory_begin(fixture->open.reader, &error) < 0)
		support_die("%s", error.text);
}

static int golden_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);

	fixture->folder = support_folder();
	support_golden(fixture->folder);
	support_add_names(fixture->folder, "account info+box@client2.com\n");
	fixture->cases = cases_read(HOMING_CASES "/routes");
	fixture_begin(fixture);
	*state = fixture;
	return 0;
}

/* A directory in which whatever can go wrong with relaying has a chance to. */
static const char hostile_json[] =
	"{\"main_domain\": \"a.example\", \"domains\": {"
	"\"a.example\": {\"addresses\": [\"192.0.2.1\"], \"aliases\": [\"aka.example\"]},"
	"\"drop.example\": {\"addresses\": [\"192.0.2.2\"], \"unknown\": \"discard\"},"
	"\"all.example\": {\"addresses\": [\"192.0.2.3\"], \"unknown\": "
	"\"reroute:info@a.example\"},"
	"\"out.example\": {\"addresses\": [\"192.0.2.4\"], \"unknown\": "
	"\"reroute:x@remote.example\"},"
	"\"ext.example\": {\"addresses\": [\"192.0.2.5\"], \"accounts\": \"external\"},"
	"\"dove.example\": {\"accounts\": \"dovecot\"},"
	"\"label\": {}},"
	"\"router\": ["
	"{\"match\": \"spam*@*\", \"to\": \"discard:\"},"
	"{\"match\": \"*trap@*\", \"to\": \"info%all.example@a.example\"},"
	"{\"match\": \"comma@a.example\", \"to\": \"info,bob@ext.example\"},"
	"{\"match\": \"*-list@*\", \"to\": \"*@all.example\"},"
	"{\"match\": \"*.branch.example\", \"to\": \"*%a.example@a.example\"},"
	"{\"match\": \"*.relay.example\", \"to\": \"user%*@a.example\"},"
	"{\"match\": \"*.fwd.example\", \"to\": \"*.example\"},"
	"{\"match\": \"*@*.pairs.example\", \"to\": \"*@*.example\"},"
	"{\"match\": \"*@people.example\", \"to\": \"*%remote.example@a.example\"},"
	"{\"match\": \"*@mine.example\", \"to\": \"*%a.example@a.example\"}"
	"]}";

static const char hostile_names[] = "account info@a.example\naccount bob@a.example\n"
				    "account info@all.example\naccount info@drop.example\n"
				    "account info@out.example\naccount info@label\n"
				    "account a..b@a.example\n"
				    "alias both@out.example info@a.example\n"
				    "forwarder out@a.example x@remote.example\n"
				    "group team@a.example info@a.example bob@a.example\n";

static int hostile_setup(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);

	fixture->folder = support_folder();
	support_apply(fixture->folder, hostile_json);
	support_add_names(fixture->folder, hostile_names);
	fixture_begin(fixture);
	*state = fixture;
	return 0;
}

static int teardown(void **state)
{
	struct fixture *fixture = *state;

	directory_end(fixture->open.reader);
	support_close(&fixture->open);
	support_folder_remove(&fixture->folder);
	cases_free(&fixture->cases);
	free(fixture);
	return 0;
}

static struct policy_value value(const char *text)
{
	return (struct policy_value){text, text ? strlen(text) : 0};
}

static struct policy_request rcpt(const char *recipient, size_t length)
{
	return (struct policy_request){
		.request = value("smtpd_access_policy"),
		.protocol_state = value("RCPT"),
		.recipient = {recipient, length},
		.client_address = value("203.0.113.5"),
		.sasl_username = value(""),
	};
}

static struct policy_decision decide(struct fixture *fixture, const char *recipient, size_t length)
{
	struct policy_request request = rcpt(recipient, length);
	struct policy_decision decision;
	struct error error = {0};

	policy_decide(fixture->open.reader, &request, NULL, &decision, &error);
	return decision;
}

static struct map_decision look_up(struct fixture *fixture, enum map map, const char *key,
				   size_t length)
{
	struct map_decision decision;
	struct error error = {0};

	map_decide(fixture->open.reader, map, key, length, &decision, &error);
	if (decision.value && strlen(decision.value) != decision.value_length)
		fail_msg("%s: a value with a NUL, or a length that is none", key);
	return decision;
}

/* The status and the value, in words, until the next call. */
static const char *words(struct fixture *fixture, enum map map, const char *key)
{
	static char text[2 * NAME_SIZE];
	struct map_decision decision = look_up(fixture, map, key, strlen(key));

	snprintf(text, sizeof text, "%s%s%s%s", socketmap_status_name(decision.status),
		 decision.value ? " " : "", decision.value ? decision.value : "",
		 decision.must_ask ? " ?" : "");
	map_decision_finish(&decision);
	return text;
}

static void route_name(struct fixture *fixture, const char *name, size_t length,
		       struct route_answer *answer_r)
{
	struct route_question question = {
		.kind = NAME_ADDRESS, .name = name, .name_length = length};
	struct error error = {0};

	if (route(fixture->open.reader, &question, answer_r, NULL, &error) < 0)
		support_die("%s", error.text);
}

/* ---- What Postfix asks ---- */

struct keys {
	char text[4][3 * HOSTILE_SIZE];
	size_t count;
};

static bool is_dot_string(const char *local, size_t length)
{
	if (length == 0 || local[0] == '.' || local[length - 1] == '.')
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)local[i];

		if (byte <= ' ' || byte == 0x7f || strchr("()<>@,;:\\\"[]", byte) ||
		    (byte == '.' && i + 1 < length && local[i + 1] == '.'))
			return false;
	}
	return true;
}

/* The external form as Postfix writes it; a source route is skipped up to the first colon. */
static void postfix_quote(const char *internal, char *out)
{
	const char *colon = internal[0] == '@' ? strchr(internal, ':') : NULL;
	const char *start = colon ? colon + 1 : internal;
	const char *end = strrchr(start, '@');

	if (!end)
		end = start + strlen(start);
	if (is_dot_string(start, (size_t)(end - start))) {
		strcpy(out, internal);
		return;
	}
	memcpy(out, internal, (size_t)(start - internal));
	out += start - internal;
	*out++ = '"';
	for (; start < end; start++) {
		if (*start == '"' || *start == '\\')
			*out++ = '\\';
		*out++ = *start;
	}
	*out++ = '"';
	strcpy(out, end);
}

static void add_key(struct keys *keys, const char *text)
{
	for (size_t i = 0; i < keys->count; i++)
		if (strcmp(keys->text[i], text) == 0)
			return;
	strcpy(keys->text[keys->count++], text);
}

/* External form, internal form, and both in lower case; of an address with an `@`, without its
 * source route and without a trailing dot, as the rewriting in front leaves it. */
static struct keys postfix_keys(const char *internal)
{
	struct keys keys = {.count = 0};
	char rest[HOSTILE_SIZE], quoted[3 * HOSTILE_SIZE];
	const char *colon;

	while (internal[0] == '@' && (colon = strchr(internal, ':')) && colon[1])
		internal = colon + 1;
	snprintf(rest, sizeof rest, "%s", internal);
	size_t length = strlen(rest);
	if (length > 1 && strchr(rest, '@') && rest[length - 1] == '.' &&
	    !strchr(".@", rest[length - 2]))
		rest[length - 1] = '\0';
	postfix_quote(rest, quoted);
	add_key(&keys, quoted);
	add_key(&keys, rest);
	for (size_t i = 0, count = keys.count; i < count; i++) {
		char lower[3 * HOSTILE_SIZE];

		strcpy(lower, keys.text[i]);
		for (char *byte = lower; *byte; byte++)
			*byte = (char)((unsigned char)*byte < 0x80 ? tolower(*byte) : *byte);
		add_key(&keys, lower);
	}
	return keys;
}

/* ---- What must hold of any recipient ---- */

struct counts {
	unsigned long ok, dunno, refused, quoted, relays;
};

static const char *whole(const char *format, ...) HOMING_PRINTF(1, 2);

static const char *whole(const char *format, ...)
{
	static char text[8 * HOSTILE_SIZE];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	return text;
}

/* One address of an alias map's value: it is not rewritten again, and is ours or, where a forwarder
 * or a domain's own rule says so, elsewhere, but never by an explicit route. */
static const char *check_final(struct fixture *fixture, const char *address)
{
	struct map_decision again = look_up(fixture, MAP_ALIAS, address, strlen(address));
	struct route_answer answer;
	const char *why = NULL;

	if (again.status != SOCKETMAP_NOTFOUND)
		why = whole("%s is rewritten again: %s", address, again.value);
	map_decision_finish(&again);
	if (why)
		return why;
	route_name(fixture, address, strlen(address), &answer);
	if (answer.result != ROUTE_ACCOUNT && answer.result != ROUTE_REMOTE)
		why = whole("%s is no account and not remote", address);
	else if (answer.relay)
		why = whole("%s is a relay", address);
	route_answer_finish(&answer);
	return why;
}

static const char *check_value(struct fixture *fixture, const char *addresses)
{
	char copy[16 * HOSTILE_SIZE];
	const char *why = NULL;
	char *next = copy;

	snprintf(copy, sizeof copy, "%s", addresses);
	while (!why && next) {
		char *comma = (char *)(uintptr_t)name_find(next, strlen(next), ',', false);

		if (comma)
			*comma = '\0';
		why = check_final(fixture, next);
		next = comma ? comma + 2 : NULL;
	}
	return why;
}

/* OK: whatever Postfix asks first is found, and all that is found is final and not elsewhere unless
 * a forwarder says so. */
static const char *check_permitted(struct fixture *fixture, const struct keys *keys)
{
	const char *why = NULL;

	for (size_t i = 0; !why && i < keys->count; i++) {
		bool first = i == 0 || strcasecmp(keys->text[i], keys->text[0]) == 0;
		struct map_decision alias =
			look_up(fixture, MAP_ALIAS, keys->text[i], strlen(keys->text[i]));
		struct route_answer answer;

		if (alias.status == SOCKETMAP_OK)
			why = check_value(fixture, alias.value);
		else if (first || alias.status != SOCKETMAP_NOTFOUND)
			why = whole("OK, but the alias map says %s to %s",
				    socketmap_status_name(alias.status), keys->text[i]);
		route_name(fixture, keys->text[i], strlen(keys->text[i]), &answer);
		if (!why && alias.status == SOCKETMAP_OK && answer.result != ROUTE_ACCOUNT &&
		    answer.result != ROUTE_FORWARD)
			why = whole("OK, but the alias map leads to no account with %s",
				    keys->text[i]);
		route_answer_finish(&answer);
		map_decision_finish(&alias);
	}
	return why;
}

/* Not refused: no key of it makes the alias map follow an explicit route out of here, whatever
 * Postfix itself thinks of the recipient. */
static const char *check_no_relay(struct fixture *fixture, const struct keys *keys)
{
	const char *why = NULL;

	for (size_t i = 0; !why && i < keys->count; i++) {
		struct map_decision alias =
			look_up(fixture, MAP_ALIAS, keys->text[i], strlen(keys->text[i]));
		struct route_answer answer;

		route_name(fixture, keys->text[i], strlen(keys->text[i]), &answer);
		if (alias.status == SOCKETMAP_OK && answer.result == ROUTE_REMOTE && answer.relay)
			why = whole("the alias map relays %s to %s", keys->text[i], alias.value);
		route_answer_finish(&answer);
		map_decision_finish(&alias);
	}
	return why;
}

/* What exists for the policy exists for the maps, and the other way round. */
static const char *check_existence(struct fixture *fixture, const struct policy_decision *decision,
				   const struct keys *keys)
{
	const char *key = keys->text[0];
	struct map_decision alias = look_up(fixture, MAP_ALIAS, key, strlen(key));
	struct map_decision mailbox = look_up(fixture, MAP_MAILBOX, key, strlen(key));
	bool found = alias.status == SOCKETMAP_OK || mailbox.status == SOCKETMAP_OK;
	bool ours = strcmp(decision->reason, "account") == 0 ||
		    strcmp(decision->reason, "forward") == 0 ||
		    strcmp(decision->reason, "discard") == 0;
	const char *why = NULL;

	if (ours && !found)
		why = whole("it exists for the policy, and not for the maps (%s)", key);
	if (strcmp(decision->reason, "unknown-account") == 0 && found)
		why = whole("it does not exist for the policy, and for the maps it does (%s)", key);
	map_decision_finish(&alias);
	map_decision_finish(&mailbox);
	return why;
}

/* NULL, or what is wrong, until the next call. */
static const char *check_recipient(struct fixture *fixture, const char *recipient,
				   struct counts *counts)
{
	struct policy_decision decision = decide(fixture, recipient, strlen(recipient));
	struct keys keys = postfix_keys(recipient);
	const char *why = NULL;

	counts->ok += strcmp(decision.action, "OK") == 0;
	counts->dunno += strcmp(decision.action, "DUNNO") == 0;
	counts->refused += decision.refuses;
	counts->quoted += !decision.refuses && keys.text[0][0] == '"';
	counts->relays += strcmp(decision.reason, "relay") == 0;
	if (decision.refuses != (isdigit((unsigned char)decision.action[0]) != 0))
		return whole("refuses and its action differ: %s", decision.action);
	if (strcmp(decision.action, "OK") == 0)
		why = check_permitted(fixture, &keys);
	if (!why && !decision.refuses)
		why = check_no_relay(fixture, &keys);
	if (!why && strchr(recipient, '@') && recipient[0] != '@')
		why = check_existence(fixture, &decision, &keys);
	if (!why)
		return NULL;
	char copy[8 * HOSTILE_SIZE];
	snprintf(copy, sizeof copy, "%s", why);
	return whole("%s: %s", decision.action, copy);
}

/* ---- Golden rows ---- */

/* Out of external form, as Postfix does it. */
static void unquote(const char *name, size_t length, char *out)
{
	const char *at = name_find_at(name, length);
	size_t local = name[0] == '"' ? (at ? (size_t)(at - name) : length) : 0;

	for (size_t i = 0; i < length; i++) {
		if (i < local && name[i] == '"')
			continue;
		if (i < local && name[i] == '\\')
			i++;
		*out++ = name[i];
	}
	*out = '\0';
}

static const char *expected_action(struct fixture *fixture, const char *internal,
				   const struct route_answer *answer)
{
	static char text[64];
	char address[DELIVERY_SIZE];
	struct error error = {0};
	bool explicit = answer->flags & (ROUTE_EXPLICIT | ROUTE_LITERAL);
	const char *at = strrchr(internal, '@');

	switch (answer->result) {
	case ROUTE_ACCOUNT:
		if (delivery_address(fixture->open.reader, answer, address, &error) == 0)
			return "550 5.1.1 ";
		/* fall through */
	case ROUTE_FORWARD:
		return explicit && at && internal[0] != '@' ? "OK" : "DUNNO";
	case ROUTE_REMOTE:
		return answer->relay ? "554 5.7.1 " : "DUNNO";
	case ROUTE_DISCARD:
		return "DUNNO";
	case ROUTE_REFUSE:
		snprintf(text, sizeof text, "%d %s ", answer->smtp, answer->status);
		return text;
	}
	return NULL;
}

static bool is_action(const char *action, const char *expected)
{
	return isdigit((unsigned char)*expected) ? strncmp(action, expected, strlen(expected)) == 0
						 : strcmp(action, expected) == 0;
}

static void golden_addresses_get_the_core_s_answer_from_the_policy(void **state)
{
	struct fixture *fixture = *state;
	unsigned failed = 0, ok = 0, relay = 0, compared = 0;

	for (size_t i = 0; i < fixture->cases.count; i++) {
		const struct case_row *row = &fixture->cases.rows[i];
		char internal[2 * NAME_SIZE], name[NAME_SIZE];
		struct route_answer answer;

		if (row->question.kind != NAME_ADDRESS ||
		    row->question.name_length > NAME_MAX_BYTES ||
		    memchr(row->name, '\0', row->question.name_length))
			continue;
		unquote(row->name, row->question.name_length, internal);
		/* What is malformed in external form is something else in internal form. */
		int length = delivery_name(internal, strlen(internal), name);
		if (length < 0)
			continue;
		route_name(fixture, row->name, row->question.name_length, &answer);
		if (answer.reason == REASON_MALFORMED && strchr(row->name, '"'))
			continue; /* quotes that have no internal form */
		struct policy_decision decision = decide(fixture, internal, strlen(internal));
		bool same_name = strcmp(name, row->name) == 0 || row->name[0] == '"';
		const char *expected = expected_action(fixture, internal, &answer);
		compared += same_name;
		ok += strcmp(decision.action, "OK") == 0;
		relay += is_action(decision.action, "554 5.7.1 ");
		if (same_name ? !is_action(decision.action, expected)
			      : answer.result == ROUTE_REFUSE && !decision.refuses) {
			print_error("routes:%zu: %s (%s): %s, expected %s\n", row->line, internal,
				    row->why, decision.action, expected);
			failed++;
		}
		route_answer_finish(&answer);
	}
	assert_int_equal(failed, 0);
	assert_true(compared > 200 && ok > 12 && relay > 12);
}

/* The words of look_up for one answer of the core. */
static const char *expected_map(struct fixture *fixture, enum map map, const char *key,
				const struct route_answer *answer)
{
	static char text[4 * NAME_SIZE];
	char address[DELIVERY_SIZE] = "";
	struct error error = {0};
	int written = answer->result == ROUTE_ACCOUNT
			      ? delivery_address(fixture->open.reader, answer, address, &error)
			      : 0;
	bool account = answer->result == ROUTE_ACCOUNT;

	strcpy(text, "notfound");
	if (map == MAP_ALIAS && account && written == 0)
		strcpy(text, "perm");
	else if (map == MAP_ALIAS && account && strcasecmp(address, key) != 0)
		snprintf(text, sizeof text, "ok %s", address);
	else if (map == MAP_ALIAS && answer->result == ROUTE_FORWARD)
		strcpy(text, "ok");
	else if (map == MAP_MAILBOX && account && written == 1)
		snprintf(text, sizeof text, "ok %s%s", answer->address,
			 answer->flags & ROUTE_DOVECOT ? " ?" : "");
	else if (map == MAP_MAILBOX && answer->result == ROUTE_DISCARD)
		strcpy(text, "ok discard");
	else if (map == MAP_SENDER_LOGIN && account && !(answer->flags & ROUTE_UNKNOWN))
		snprintf(text, sizeof text, "ok %s", answer->address);
	else if (map == MAP_TRANSPORT && answer->result == ROUTE_DISCARD)
		strcpy(text, "ok discard:");
	return text;
}

static bool is_expected_map(enum map map, const struct route_answer *answer, const char *expected,
			    const char *got)
{
	if (map == MAP_ALIAS &&
	    answer->result == ROUTE_REMOTE) /* its rows are in the table below */
		return answer->relay ? strncmp(got, "ok ", 3) == 0
				     : strcmp(got, "notfound") == 0 || strncmp(got, "ok ", 3) == 0;
	if (strcmp(expected, "perm") == 0 || strcmp(expected, "ok") == 0)
		return strncmp(got, expected, strlen(expected)) == 0;
	return strcmp(got, expected) == 0;
}

static void golden_addresses_get_the_core_s_answer_from_the_maps(void **state)
{
	static const enum map maps[] = {MAP_ALIAS, MAP_MAILBOX, MAP_SENDER_LOGIN, MAP_TRANSPORT};
	struct fixture *fixture = *state;
	unsigned failed = 0, answered = 0;

	for (size_t i = 0; i < fixture->cases.count * 4; i++) {
		const struct case_row *row = &fixture->cases.rows[i / 4];
		enum map map = maps[i % 4];
		struct route_answer answer;

		if (row->question.kind != NAME_ADDRESS ||
		    memchr(row->name, '\0', row->question.name_length))
			continue;
		const char *got = words(fixture, map, row->name);
		if (!delivery_is_external(row->name, row->question.name_length)) {
			failed += strcmp(got, "notfound") != 0;
			continue;
		}
		answered += strncmp(got, "ok ", 3) == 0;
		route_name(fixture, row->name, row->question.name_length, &answer);
		const char *expected = expected_map(fixture, map, row->name, &answer);
		if (!is_expected_map(map, &answer, expected, got)) {
			print_error("routes:%zu: %s of %s (%s): %s, expected %s\n", row->line,
				    map_name(map), row->name, row->why, got, expected);
			failed++;
		}
		route_answer_finish(&answer);
	}
	assert_int_equal(failed, 0);
	assert_true(answered > 200);
}

/* ---- The rules ---- */

static void the_policy_follows_its_rules(void **state)
{
	static const char *const rows[][2] = {
		{"info@client2.com", "DUNNO"},
		{"INFO@CLIENT2.COM.", "DUNNO"},
		{"info", "DUNNO"},
		{"info%client2.com", "DUNNO"}, /* Postfix applies it by itself */
		{"client2.com!info", "DUNNO"},
		{"client1.com!info%client2.com",
		 "DUNNO"}, /* Postfix reads it the other way round */
		/* Postfix puts this into quotes, because of the `[`, before it looks for the `%` */
		{"info%[192.0.2.2]", "550 5.1.1 <info%[192.0.2.2]>: no such account here"},
		{"info%client1.com%company.com", "DUNNO"},
		{"info%client1.com@company.com", "OK"},
		{"info%client1.com@company.com.", "OK"},
		{"INFO%CLIENT1.COM@COMPANY.COM", "OK"},
		{"client1.com!info@company.com", "OK"},
		{"info@[192.0.2.2]", "OK"},
		{"info@[IPv6:2001:db8:1::5]", "OK"},
		{"info%[192.0.2.2]@company.com",
		 "550 5.1.1 <info%[192.0.2.2]@company.com>: no such account here"},
		{"Archive#info%client1.com@company.com", "OK"},
		{"info+x%client1.com@company.com", "OK"},
		{"both%company.com@client1.com", "OK"},
		{"x@south.branch.example", "OK"}, /* a record with an explicit route */
		{"anybody%sqlsite.org@company.com", "OK"},
		{"nobody%reroute.example@company.com", "OK"},
		{"@a.example:info@client2.com", "DUNNO"},
		{"@a.example:info%client1.com@company.com", "DUNNO"},
		{"@a.example:@b.example:info%client1.com@company.com", "DUNNO"},
		{"both@company.com", "DUNNO"},
		{"spamtrap@company.com", "DUNNO"},
		{"spamtrap%remote.example@company.com", "DUNNO"},
		{"spamtrap@[192.0.2.2]", "DUNNO"},
		{"nobody@discard.example", "DUNNO"},
		{"in fo@discard.example", "DUNNO"},
		{"someone@remote.example", "DUNNO"},
		{"someone%b@remote.example", "DUNNO"},
		{"someone@[203.0.113.9]", "DUNNO"},
		{"elsewhere@company.com", "DUNNO"},
		{"nobody@outward.example", "DUNNO"},
		{"web-admin@remote.example", "DUNNO"},
		{"someone%remote.example@company.com",
		 "554 5.7.1 <someone%remote.example@company.com>: "
		 "Relay access denied: explicit route to another "
		 "server"},
		{"remote.example!someone@company.com",
		 "554 5.7.1 <remote.example!someone@company.com>: Relay access denied: explicit "
		 "route "
		 "to another server"},
		{"someone%remote.example@[192.0.2.2]",
		 "554 5.7.1 <someone%remote.example@[192.0.2.2]>: Relay access denied: explicit "
		 "route "
		 "to another server"},
		{"@x.example:someone%remote.example@company.com",
		 "554 5.7.1 <@x.example:someone%remote.example@company.com>: Relay access denied: "
		 "explicit route to another server"},
		{"away%company.com@client1.com",
		 "554 5.7.1 <away%company.com@client1.com>: Relay access denied: explicit route to "
		 "another server"},
		{"nobody@client2.com", "550 5.1.1 <nobody@client2.com>: no such account here"},
		{"in fo@client2.com", "550 5.1.1 <in fo@client2.com>: no such account here"},
		{"\"info\"@client2.com", "550 5.1.1 <\"info\"@client2.com>: no such account here"},
		{"\"info%client1.com\"@company.com",
		 "550 5.1.1 <\"info%client1.com\"@company.com>: no such account here"},
		{"info@company.com@client2.com",
		 "550 5.1.1 <info@company.com@client2.com>: no such account here"},
		{"closed@client1.com", "550 5.1.6 <closed@client1.com>: this address has moved"},
		{"busy@client1.com",
		 "450 4.2.1 <busy@client1.com>: this mailbox is being moved, try again"},
		{"ping@loop.example",
		 "554 5.4.6 <ping@loop.example>: routing loop: more than 32 rewrites"},
		{"@[IPv6:::1]:info@client2.com",
		 "501 5.1.3 <@[IPv6:::1]:info@client2.com>: malformed name: a source route through "
		 "something that is no domain"},
		{"info@client2..com",
		 "501 5.1.3 <info@client2..com>: malformed name: not a domain name behind the `@`"},
		{"", "501 5.1.3 <>: malformed name: empty"},
		{"box#info@client2.com",
		 "550 5.1.1 <box#info@client2.com>: no address leads to this "
		 "mailbox or detail: another name is in its way"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct policy_decision decision = decide(fixture, rows[i][0], strlen(rows[i][0]));

		if (strcmp(decision.action, rows[i][1]) != 0)
			fail_msg("%s: %s, expected %s", rows[i][0], decision.action, rows[i][1]);
		assert_int_equal(decision.refuses, isdigit((unsigned char)rows[i][1][0]) != 0);
		assert_false(decision.must_ask);
	}
}

static void only_recipients_of_smtpd_are_decided(void **state)
{
	static const char *const states[] = {
		"CONNECT",	  "EHLO", "HELO",  "MAIL", "DATA", "VRFY", "ETRN",
		"END-OF-MESSAGE", "rcpt", "RCPTX", "RCP",  "",	   NULL};
	static const char *const requests[] = {"smtpd_access", "smtpd_access_policy2", "", NULL};
	static const char unknown[] = "nobody@client2.com";
	struct fixture *fixture = *state;
	struct policy_decision decision;
	struct error error = {0};

	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++) {
		struct policy_request request = rcpt(unknown, strlen(unknown));
		request.protocol_state = value(states[i]);
		policy_decide(fixture->open.reader, &request, NULL, &decision, &error);
		assert_string_equal(decision.action, "DUNNO");
		assert_false(decision.refuses);
	}
	for (size_t i = 0; i < sizeof requests / sizeof requests[0]; i++) {
		struct policy_request request = rcpt(unknown, strlen(unknown));
		request.request = value(requests[i]);
		policy_decide(fixture->open.reader, &request, NULL, &decision, &error);
		assert_string_equal(decision.action, "DUNNO");
	}
	struct policy_request request = rcpt(NULL, 0);
	policy_decide(fixture->open.reader, &request, NULL, &decision, &error);
	assert_true(decision.refuses);
}

static void authenticated_and_trusted_clients_may_relay(void **state)
{
	static const char relay[] = "someone%remote.example@company.com";
	static const struct {
		const char *login, *client, *action;
	} rows[] = {
		{"info@client2.com", "203.0.113.5", "DUNNO"},
		{"", "192.0.2.77", "DUNNO"},
		{NULL, "2001:db8:7::1", "DUNNO"},
		{NULL, "::ffff:192.0.2.77", "DUNNO"},
		{"", "198.51.100.1", "DUNNO"},
		{"", "198.51.100.2", "554"},
		{"", "192.0.3.77", "554"},
		{NULL, "unknown", "554"},
		{NULL, "", "554"},
		{NULL, NULL, "554"},
		{NULL, "2001:db8:8::1", "554"},
		{NULL, "192.0.2.77 ", "554"},
	};
	struct fixture *fixture = *state;
	struct trusted trusted = {0};
	const char *why = NULL;

	assert_true(trusted_add(&trusted, "192.0.2.0/24, 2001:db8:7::/48", &why));
	assert_true(trusted_add(&trusted, "198.51.100.1", &why));
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct policy_request request = rcpt(relay, strlen(relay));
		struct policy_decision decision;
		struct error error = {0};

		request.sasl_username = value(rows[i].login);
		request.client_address = value(rows[i].client);
		policy_decide(fixture->open.reader, &request, &trusted, &decision, &error);
		if (strncmp(decision.action, rows[i].action, strlen(rows[i].action)) != 0)
			fail_msg("row %zu: %s", i, decision.action);
		/* they are not let into what does not exist */
		request.recipient = value("nobody@client2.com");
		policy_decide(fixture->open.reader, &request, &trusted, &decision, &error);
		assert_true(decision.refuses);
	}
	trusted_finish(&trusted);
}

static void trusted_prefixes_are_read_as_a_whole(void **state)
{
	static const char *const wrong[] = {
		"",
		",",
		"192.0.2.1,",
		",192.0.2.1",
		"192.0.2.1,,192.0.2.2",
		"192.0.2.1/24",
		"192.0.2.0/33",
		"localhost",
		"192.0.2.0/24 2001:db8::/32",
		"[2001:db8::1]",
		"2001:db8::1/64",
		"0.0.0.0/0",
		"::/0",
		"::/64",
		"::ffff:0:0/96",
		"192.0.2.1,0.0.0.0/0",
		"192.0.2.0/",
		"192.0.2.0/-1",
	};
	struct trusted trusted = {0};
	const char *why = NULL;

	(void)state;
	assert_true(trusted_add(&trusted, " 127.0.0.1 , ::1,10.0.0.0/8 ", &why));
	assert_int_equal(trusted.count, 3);
	for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
		why = NULL;
		if (trusted_add(&trusted, wrong[i], &why))
			fail_msg("taken: %s", wrong[i]);
		assert_non_null(why);
		assert_int_equal(trusted.count, 3);
	}
	assert_true(trusted_has(&trusted, "10.255.255.255", 14));
	assert_false(trusted_has(&trusted, "11.0.0.0", 8));
	assert_true(trusted_has(&trusted, "127.0.0.1junk", 9));
	assert_false(trusted_has(&trusted, "127.0.0.1junk", 13));
	trusted_finish(&trusted);
	assert_false(trusted_has(&trusted, "127.0.0.1", 9));
	assert_false(trusted_has(&trusted, "unknown", 7));
}

static void a_reply_shows_the_recipient_in_print_and_short(void **state)
{
	struct fixture *fixture = *state;
	static const struct {
		const char *recipient, *shown;
	} rows[] = {
		{"a\r\nb@client2.com", "a??b@client2.com"},
		{"a\x1b[2J@client2.com", "a?[2J@client2.com"},
		{"m\xc3\xbcller\xff@client2.com", "m\xc3\xbcller?@client2.com"},
		{"a\xe2\x80\xae\xe2\x80\xa8\xc2\x85@client2.com", "a????????@client2.com"},
		{"a\xe2\x80@client2.com", NULL},
		{"\xed\xa0\x80@client2.com", NULL},
	};

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct policy_decision decision =
			decide(fixture, rows[i].recipient, strlen(rows[i].recipient));
		assert_true(decision.refuses);
		if (rows[i].shown)
			assert_string_equal(decision.recipient, rows[i].shown);
		assert_int_equal(
			name_refusal(NAME_ADDRESS, decision.action, strlen(decision.action)) &&
				strlen(decision.action) <= NAME_MAX_BYTES,
			0);
	}
	char longest[4096];
	memset(longest, 'a', sizeof longest);
	struct policy_decision decision = decide(fixture, longest, sizeof longest);
	assert_int_equal(strlen(decision.recipient), 200);
	assert_memory_equal(decision.action, "501 5.1.3 <a", 12);
	for (size_t i = 0; i < 300; i += 3)
		memcpy(longest + i, "\xe2\x82\xac", 3);
	decision = decide(fixture, longest, 300);
	assert_int_equal(strlen(decision.recipient), 198); /* no half of a character */
	decision = decide(fixture, "a\0b@client2.com", 15);
	assert_string_equal(decision.recipient, "a?b@client2.com");
	assert_true(decision.refuses);
}

static void the_maps_follow_their_rules(void **state)
{
	static const struct {
		enum map map;
		const char *key, *answer;
	} rows[] = {
		{MAP_ALIAS, "info@client2.com", "notfound"},
		{MAP_ALIAS, "INFO@Client2.COM", "notfound"},
		{MAP_ALIAS, "info+Lists@client2.com", "notfound"},
		{MAP_ALIAS, "info+lists@client2.com", "notfound"},
		{MAP_ALIAS, "info@client2.com.", "ok info@client2.com"},
		{MAP_ALIAS, "sales@client2.com", "ok info@client2.com"},
		{MAP_ALIAS, "sales+x@client2.com", "ok info+x@client2.com"},
		{MAP_ALIAS, "info@mail.client2.com", "ok info@client2.com"},
		{MAP_ALIAS, "info%client1.com@company.com", "ok info@client1.com"},
		{MAP_ALIAS, "client1.com!info@company.com", "ok info@client1.com"},
		{MAP_ALIAS, "info@[192.0.2.2]", "ok info@client1.com"},
		{MAP_ALIAS, "Archive#info@client2.com", "ok info+Archive@client2.com"},
		{MAP_ALIAS, "more#info@dash.example", "ok info-more@dash.example"},
		{MAP_ALIAS, "info@b\xc3\xbc\x63her.example", "ok info@xn--bcher-kva.example"},
		{MAP_ALIAS, "info@xn--bcher-kva.example", "notfound"},
		{MAP_ALIAS, "m\xc3\xbcller@client2.com", "notfound"},
		{MAP_ALIAS, "M\xc3\x9cLLER@client2.com", "ok m\xc3\xbcller@client2.com"},
		{MAP_ALIAS, "info+\xce\xa3x@sqlsite.org", "notfound"},
		{MAP_ALIAS, "boss+\xce\xa3x@sqlsite.org", "ok carol+\xce\xa3x@sqlsite.org"},
		{MAP_ALIAS, "carol+\xce\xa3x@sqlsite.org", "notfound"},
		{MAP_ALIAS, "nobody@reroute.example", "ok postmaster@company.com"},
		{MAP_ALIAS, "out@company.com", "ok someone@remote.example"},
		{MAP_ALIAS, "elsewhere@company.com", "ok someone@remote.example"},
		{MAP_ALIAS, "nobody@outward.example", "ok catchall@remote.example"},
		{MAP_ALIAS, "someone%remote.example@company.com", "ok someone@remote.example"},
		{MAP_ALIAS, "info@fremd.mirror.example", "ok info@fremd.com"},
		{MAP_ALIAS, "web-admin@remote.example", "ok postmaster@company.com"},
		{MAP_ALIAS, "both@company.com", "ok info@company.com, info@client1.com"},
		{MAP_ALIAS, "Someone@Remote.Example.", "notfound"},
		{MAP_ALIAS, "user@m\xc3\xbcnchen-fern.org", "notfound"},
		{MAP_ALIAS, "user@[IPv6:2001:DB8:F::1]", "notfound"},
		{MAP_ALIAS, "\"in fo\"@remote.example", "notfound"},
		{MAP_ALIAS, "a%b!c@remote.example", "notfound"},
		{MAP_ALIAS, "box#info@client2.com",
		 "perm no address leads to this mailbox or detail: another name of the directory "
		 "is in "
		 "its way"},
		{MAP_ALIAS, "spamtrap@company.com", "notfound"},
		{MAP_ALIAS, "nobody@client2.com", "notfound"},
		{MAP_ALIAS, "closed@client1.com", "notfound"},
		{MAP_ALIAS, "ping@loop.example", "notfound"},
		/* what no address is */
		{MAP_ALIAS, "client2.com", "notfound"},
		{MAP_ALIAS, "@client2.com", "notfound"},
		{MAP_ALIAS, "info", "notfound"},
		{MAP_ALIAS, "info%client2.com", "notfound"},
		{MAP_ALIAS, "client2.com!info", "notfound"},
		{MAP_ALIAS, "", "notfound"},
		{MAP_ALIAS, "*", "notfound"},
		{MAP_ALIAS, "in fo@reroute.example", "notfound"},
		{MAP_ALIAS, "\"in fo\"@reroute.example", "ok postmaster@company.com"},
		{MAP_ALIAS, "a@b@reroute.example", "notfound"},
		{MAP_ALIAS, "@a.example:info%remote.example@company.com", "notfound"},
		{MAP_ALIAS, "\"sales\"@client2.com", "notfound"},
		{MAP_ALIAS, "\"a%remote.example\"@company.com", "notfound"},
		{MAP_ALIAS, "info@client2..com", "notfound"},

		{MAP_DOMAIN, "company.com", "ok company.com"},
		{MAP_DOMAIN, "mail.client2.com", "ok mail.client2.com"},
		{MAP_DOMAIN, "b\xc3\xbc\x63her.example", "ok xn--bcher-kva.example"},
		{MAP_DOMAIN, "old.example", "ok old.example"},
		{MAP_DOMAIN, "south.branch.example", "ok south.branch.example"},
		{MAP_DOMAIN, "client1.pairs.example", "ok client1.pairs.example"},
		{MAP_DOMAIN, "order.example", "ok order.example"},
		{MAP_DOMAIN, "client2.mirror.example", "ok client2.mirror.example"},
		{MAP_DOMAIN, "fremd.mirror.example", "notfound"},
		{MAP_DOMAIN, "people.example", "notfound"}, /* not all of its names */
		{MAP_DOMAIN, "remote.example", "notfound"},
		{MAP_DOMAIN, "[192.0.2.2]", "notfound"},
		{MAP_DOMAIN, "info@company.com", "notfound"},
		{MAP_DOMAIN, ".company.com", "notfound"},
		{MAP_DOMAIN, "*", "notfound"},
		{MAP_DOMAIN, "", "notfound"},

		{MAP_MAILBOX, "info@client2.com", "ok info@client2.com"},
		{MAP_MAILBOX, "Info+X@client2.com", "ok info@client2.com"},
		{MAP_MAILBOX, "sales@client2.com", "ok info@client2.com"},
		{MAP_MAILBOX, "anybody@sqlsite.org", "ok anybody@sqlsite.org"},
		{MAP_MAILBOX, "anybody@dovesite.org", "ok anybody@dovesite.org ?"},
		{MAP_MAILBOX, "spamtrap@company.com", "ok discard"},
		{MAP_MAILBOX, "nobody@discard.example", "ok discard"},
		{MAP_MAILBOX, "nobody@reroute.example", "ok postmaster@company.com"},
		{MAP_MAILBOX, "both@company.com", "notfound"},
		{MAP_MAILBOX, "elsewhere@company.com", "notfound"},
		{MAP_MAILBOX, "nobody@client2.com", "notfound"},
		{MAP_MAILBOX, "box#info@client2.com", "notfound"},
		{MAP_MAILBOX, "someone@remote.example", "notfound"},
		{MAP_MAILBOX, "@client2.com", "notfound"},
		{MAP_MAILBOX, "info", "notfound"},

		{MAP_SENDER_LOGIN, "info@client2.com", "ok info@client2.com"},
		{MAP_SENDER_LOGIN, "sales@client2.com", "ok info@client2.com"},
		{MAP_SENDER_LOGIN, "info+x@mail.client2.com", "ok info@client2.com"},
		{MAP_SENDER_LOGIN, "info%client2.com@company.com", "ok info@client2.com"},
		{MAP_SENDER_LOGIN, "web-admin@client1.com", "ok postmaster@company.com"},
		{MAP_SENDER_LOGIN, "anybody@dovesite.org", "ok anybody@dovesite.org"},
		{MAP_SENDER_LOGIN, "anybody@sqlsite.org", "ok anybody@sqlsite.org"},
		{MAP_SENDER_LOGIN, "info@reroute.example", "ok info@reroute.example"},
		{MAP_SENDER_LOGIN, "nobody@reroute.example", "notfound"},
		{MAP_SENDER_LOGIN, "nobody%reroute.example@company.com", "notfound"},
		{MAP_SENDER_LOGIN, "both@company.com", "notfound"},
		{MAP_SENDER_LOGIN, "one@client1.com", "notfound"},
		{MAP_SENDER_LOGIN, "staff@company.com", "notfound"},
		{MAP_SENDER_LOGIN, "elsewhere@company.com", "notfound"},
		{MAP_SENDER_LOGIN, "spamtrap@company.com", "notfound"},
		{MAP_SENDER_LOGIN, "someone@remote.example", "notfound"},
		{MAP_SENDER_LOGIN, "nobody@client2.com", "notfound"},
		{MAP_SENDER_LOGIN, "a,dave@sqlsite.org", "notfound"},
		{MAP_SENDER_LOGIN, "\"a,dave\"@sqlsite.org", "notfound"},
		{MAP_SENDER_LOGIN, "info", "notfound"},
		{MAP_SENDER_LOGIN, "@client2.com", "notfound"},
		{MAP_SENDER_LOGIN, "", "notfound"},

		{MAP_TRANSPORT, "spamtrap@company.com", "ok discard:"},
		{MAP_TRANSPORT, "dropped@client1.com", "ok discard:"},
		{MAP_TRANSPORT, "\"in fo\"@discard.example", "ok discard:"},
		{MAP_TRANSPORT, "in fo@discard.example", "notfound"},
		{MAP_TRANSPORT, "info@client2.com", "notfound"},
		{MAP_TRANSPORT, "both@company.com", "notfound"},
		{MAP_TRANSPORT, "someone@remote.example", "notfound"},
		{MAP_TRANSPORT, "nobody@client2.com", "notfound"},
		{MAP_TRANSPORT, "*", "notfound"},
		{MAP_TRANSPORT, "discard.example", "notfound"},

		{MAP_NONE, "info@client2.com", "perm there is no map of this name"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *got = words(fixture, rows[i].map, rows[i].key);

		if (strcmp(got, rows[i].answer) != 0)
			fail_msg("%s of \"%s\": %s, expected %s", map_name(rows[i].map),
				 rows[i].key, got, rows[i].answer);
	}
	struct map_decision decision = look_up(fixture, MAP_ALIAS, "sales@client2.com\0x", 19);
	assert_int_equal(decision.status, SOCKETMAP_NOTFOUND);
	decision = look_up(fixture, MAP_DOMAIN, "company.com\0x", 13);
	assert_int_equal(decision.status, SOCKETMAP_NOTFOUND);
}

static void maps_are_known_by_their_names(void **state)
{
	(void)state;
	for (enum map map = MAP_ALIAS; map < MAPS; map++)
		assert_int_equal(map_parse(map_name(map), strlen(map_name(map))), map);
	assert_int_equal(map_parse("", 0), MAP_NONE);
	assert_int_equal(map_parse("alia", 4), MAP_NONE);
	assert_int_equal(map_parse("aliasx", 6), MAP_NONE);
	assert_int_equal(map_parse("Alias", 5), MAP_NONE);
	assert_int_equal(map_parse("aliasx", 5), MAP_ALIAS);
	assert_string_equal(map_name(MAP_SENDER_LOGIN), "sender-login");
}

static void existence_is_asked_of_dovecot_before_it_is_decided(void **state)
{
	static const struct {
		const char *recipient, *name, *without_detail, *action;
	} rows[] = {
		{"anybody@dovesite.org", "anybody@dovesite.org", "", "DUNNO"},
		{"Any+X+y@DoveSite.org", "any+x+y@dovesite.org", "any@dovesite.org", "DUNNO"},
		{"+x@dovesite.org", "+x@dovesite.org", "", "DUNNO"},
		{"any%dovesite.org@company.com", "any@dovesite.org", "", "OK"},
		{"Box#any@dovesite.org", "any@dovesite.org", "", "DUNNO"},
	};
	static const struct {
		enum existence existence;
		const char *action; /* NULL: as it was */
		const char *reason;
	} answers[] = {
		{EXISTS, NULL, "account"},
		{EXISTS_NOT, "550 5.1.1 <%s>: no such account here", "unknown-account"},
		{EXISTENCE_UNKNOWN, "451 4.3.0 <%s>: temporary lookup failure", "userdb"},
		{(enum existence)77, "451 4.3.0 <%s>: temporary lookup failure", "userdb"},
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		for (size_t n = 0; n < sizeof answers / sizeof answers[0]; n++) {
			struct policy_decision decision =
				decide(fixture, rows[i].recipient, strlen(rows[i].recipient));
			const char *expected = rows[i].action;

			assert_true(decision.must_ask);
			assert_string_equal(decision.question.name, rows[i].name);
			assert_string_equal(decision.question.without_detail,
					    rows[i].without_detail);
			policy_decide_existence(&decision, answers[n].existence);
			char text[DECISION_TEXT];
			if (answers[n].action) {
				char *percent = strstr(answers[n].action, "%s");
				snprintf(text, sizeof text, "%.*s%s%s",
					 (int)(percent - answers[n].action), answers[n].action,
					 rows[i].recipient, percent + 2);
				expected = text;
			}
			assert_string_equal(decision.action, expected);
			assert_string_equal(decision.reason, answers[n].reason);
			assert_int_equal(decision.refuses, answers[n].action != NULL);
			assert_false(decision.must_ask);
		}
	static const enum socketmap_status statuses[] = {SOCKETMAP_OK, SOCKETMAP_NOTFOUND,
							 SOCKETMAP_TEMP};
	for (size_t n = 0; n < 3; n++) {
		struct map_decision decision =
			look_up(fixture, MAP_MAILBOX, "any+x@dovesite.org", 18);

		assert_true(decision.must_ask);
		assert_string_equal(decision.question.name, "any+x@dovesite.org");
		assert_string_equal(decision.question.without_detail, "any@dovesite.org");
		map_decide_existence(&decision, answers[n].existence);
		assert_int_equal(decision.status, statuses[n]);
		assert_false(decision.must_ask);
		map_decision_finish(&decision);
	}
}

/* A domain with `accounts: external` exists by itself, and asks nobody. */
static void nobody_is_asked_for_external_accounts(void **state)
{
	struct fixture *fixture = *state;
	struct policy_decision decision = decide(fixture, "anybody@sqlsite.org", 19);

	assert_false(decision.must_ask);
	assert_string_equal(decision.action, "DUNNO");
}

static void a_group_is_listed_up_to_what_postfix_takes(void **state)
{
	char *folder = support_folder(), *names;
	size_t size;
	struct fixture fixture = {.folder = folder};
	enum { MEMBERS = 500, MANY = 4000 };

	(void)state;
	FILE *text = open_memstream(&names, &size);
	fprintf(text, "forwarder f0@a.example n@remote.example\n");
	for (int i = 0; i < MANY; i++)
		fprintf(text,
			"forwarder f%d@a.example member%04d@some.remote.example %s%d@a.example\n",
			i + 1, i, "f", i);
	fclose(text);
	support_apply(folder, "{\"main_domain\": \"a.example\", \"domains\": {\"a.example\": {}}}");
	support_add_names(folder, names);
	fixture_begin(&fixture);
	struct map_decision decision = look_up(&fixture, MAP_ALIAS, "f500@a.example", 14);
	assert_int_equal(decision.status, SOCKETMAP_OK);
	/* 500 of 30 bytes, one of 16, and what is between them */
	assert_int_equal(decision.value_length, 500 * 30 + 16 + 500 * 2);
	assert_null(check_value(&fixture, "member0000@some.remote.example, n@remote.example"));
	map_decision_finish(&decision);
	/* 32 bytes for each, 16 for the last one */
	decision = look_up(&fixture, MAP_ALIAS, "f3124@a.example", 15);
	assert_int_equal(decision.status, SOCKETMAP_OK);
	assert_int_equal(decision.value_length, 3124 * 32 + 16);
	map_decision_finish(&decision);
	decision = look_up(&fixture, MAP_ALIAS, "f3125@a.example", 15);
	assert_int_equal(decision.status, SOCKETMAP_PERM);
	assert_string_equal(decision.value,
			    "its addresses take 100016 bytes, and Postfix takes 99997 at most");
	map_decision_finish(&decision);
	/* what no map gives whole must not be accepted where only the map makes it ours */
	struct policy_decision action = decide(&fixture, "f3124%a.example@a.example", 25);
	assert_string_equal(action.action, "OK");
	action = decide(&fixture, "f3125%a.example@a.example", 25);
	assert_string_equal(action.action, "DUNNO");
	directory_end(fixture.open.reader);
	support_close(&fixture.open);
	support_folder_remove(&folder);
	free(names);
}

/* ---- A broken directory ---- */

static void a_failed_lookup_never_accepts(void **state)
{
	struct fixture *fixture = *state;
	unsigned felt = 0;

	for (size_t i = 0; i < fixture->cases.count; i++) {
		const struct case_row *row = &fixture->cases.rows[i];
		bool failed = row->question.kind == NAME_ADDRESS;

		for (long allowed = 0; failed; allowed++) {
			struct policy_request request = rcpt(row->name, row->question.name_length);
			struct policy_decision decision;
			struct error error = {0};

			lookups_left = allowed;
			policy_decide(fixture->open.reader, &request, NULL, &decision, &error);
			failed = error.code == ERROR_IO;
			lookups_left = -1;
			felt += failed;
			if (failed && (strncmp(decision.action, "451 4.3.0 <", 11) != 0 ||
				       !decision.refuses || decision.must_ask))
				fail_msg("routes:%zu: after %ld lookups: %s", row->line, allowed,
					 decision.action);
		}
	}
	assert_true(felt > 500);
}

static void a_failed_lookup_is_temp_in_every_map(void **state)
{
	struct fixture *fixture = *state;
	unsigned felt = 0;

	for (size_t i = 0; i < fixture->cases.count * MAPS; i++) {
		const struct case_row *row = &fixture->cases.rows[i / MAPS];
		enum map map = (enum map)(i % MAPS);
		const char *key = row->name;
		size_t length = row->question.name_length;
		bool failed = row->question.kind == NAME_ADDRESS;
		const char *at = memrchr(key, '@', length);

		if (map == MAP_DOMAIN && at) {
			length -= (size_t)(at + 1 - key);
			key = at + 1;
		}
		for (long allowed = 0; failed; allowed++) {
			struct map_decision decision;
			struct error error = {0};

			lookups_left = allowed;
			map_decide(fixture->open.reader, map, key, length, &decision, &error);
			failed = error.code == ERROR_IO;
			lookups_left = -1;
			felt += failed;
			if (failed && (decision.status != SOCKETMAP_TEMP || decision.must_ask ||
				       !strstr(decision.value, "broken by the test")))
				fail_msg("routes:%zu: %s after %ld lookups: %s", row->line,
					 map_name(map), allowed,
					 socketmap_status_name(decision.status));
			map_decision_finish(&decision);
		}
	}
	assert_true(felt > 500);
}

static void before_the_first_apply_nothing_is_decided(void **state)
{
	char *folder = support_folder();
	struct fixture fixture = {.folder = folder};
	struct policy_decision decision;

	(void)state;
	support_add_names(folder, "# nothing\n");
	fixture_begin(&fixture);
	decision = decide(&fixture, "info@client2.com", 16);
	assert_string_equal(decision.action,
			    "451 4.3.0 <info@client2.com>: temporary lookup failure");
	assert_string_equal(decision.reason, "failed");
	for (enum map map = MAP_ALIAS; map < MAPS; map++) {
		struct map_decision answer =
			look_up(&fixture, map, map == MAP_DOMAIN ? "a.example" : "info@a.example",
				map == MAP_DOMAIN ? 9 : 14);
		if (map != MAP_DOMAIN)
			assert_int_equal(answer.status, SOCKETMAP_TEMP);
		map_decision_finish(&answer);
	}
	directory_end(fixture.open.reader);
	support_close(&fixture.open);
	support_folder_remove(&folder);
	policy_decide_failed(&decision);
	assert_string_equal(decision.action, "451 4.3.0 temporary lookup failure");
	assert_true(decision.refuses);
	assert_false(decision.must_ask);
}

/* ---- Nobody relays ---- */

static void relay_attempts_end_with_us_or_are_refused(void **state)
{
	static const char *const attempts[] = {
		/* percent */
		"x%remote.example@a.example",
		"x%remote.example@aka.example",
		"x%remote.example",
		"x%remote.example%a.example",
		"x%remote.example%a.example@a.example",
		"x%remote.example@a.example.",
		"X%REMOTE.EXAMPLE@A.EXAMPLE",
		"x%remote.example.@a.example",
		"x%y%remote.example@a.example",
		"x%a.example%remote.example@a.example",
		"x%%remote.example@a.example",
		"%remote.example@a.example",
		"x%@a.example",
		"x%remote.example%@a.example",
		"x%remote@a.example",
		"x%label@a.example",
		"info%a@label",
		"info%a.example@label",
		"info%label@label.",
		/* bang */
		"remote.example!x@a.example",
		"a.example!remote.example!x@a.example",
		"remote.example!a.example!x@a.example",
		"remote.example!x",
		"a.example!remote.example!x",
		"!x@a.example",
		"remote.example!@a.example",
		"a.example!info@label",
		/* both */
		"remote.example!info%a.example@a.example",
		"a.example!x%remote.example@a.example",
		"a.example!info%remote.example",
		"remote.example!info%a.example",
		"a.example!all.example!info%a.example",
		"a.example!info%all.example",
		/* source routes */
		"@a.example:x@remote.example",
		"@remote.example:x%remote.example@a.example",
		"@a.example,@b.example:x%remote.example@a.example",
		"@a:@b:x%remote.example@a.example",
		"@a:x%remote.example@drop.example",
		"@a:@b:x%remote.example@drop.example",
		"@x y:x%remote.example@drop.example",
		"@:x%remote.example@a.example",
		"@a.example:info%all.example@a.example",
		"@a x%remote.example@drop.example",
		"@[192.0.2.1]:x%remote.example@drop.example",
		"@[IPv6:::1]:x%remote.example@drop.example",
		/* quotes, of which the internal form still has those of the content */
		"\"x%remote.example\"@a.example",
		"\"x%remote.example\"@drop.example",
		"\"x@remote.example\"@drop.example",
		"\"x@remote.example\"@all.example",
		"x@remote.example@a.example",
		"x@remote.example@drop.example",
		"x@remote.example@all.example",
		"a b%remote.example@drop.example",
		"\"a b%remote.example\"@drop.example",
		"\"a b\"%remote.example@drop.example",
		"\"remote.example!x\"@drop.example",
		"\\\"x%remote.example\\\"@drop.example",
		"x..y%remote.example@drop.example",
		".x%remote.example@all.example",
		"x%remote.example.@all.example",
		"(c)x%remote.example@all.example",
		"x%remote.example(c)@all.example",
		"<x%remote.example>@all.example",
		"x,y%remote.example@all.example",
		"x@remote.example,info@all.example",
		"\"x%remote.example@people.example",
		"\"x\"%remote.example\"@people.example",
		"x\\%remote.example@drop.example",
		/* literals */
		"x@[203.0.113.9]",
		"x%remote.example@[192.0.2.1]",
		"x%remote.example@[192.0.2.2]",
		"x@remote.example@[192.0.2.2]",
		"\"x@remote.example\"@[192.0.2.2]",
		"x@remote.example@[192.0.2.3]",
		"x y%remote.example@[192.0.2.2]",
		"remote.example!x@[192.0.2.2]",
		"x%[203.0.113.9]@a.example",
		"x%[192.0.2.2]@a.example",
		"x%remote.example%[192.0.2.2]@a.example",
		"x@[IPv6:::ffff:192.0.2.2]",
		"x%remote.example@[IPv6:::ffff:192.0.2.2]",
		"x@[192.0.2.2].",
		"x@192.0.2.2",
		"info%a.example@[203.0.113.9]",
		"x@[192.0.2.4]",
		"x%remote.example@[192.0.2.4]",
		"x%remote.example@[192.0.2.5]",
		"x@[192.0.2.5]",
		/* records */
		"spam%remote.example@[192.0.2.1]",
		"spam%remote.example@a.example",
		"spam!remote.example@[192.0.2.1]",
		"spam@remote.example@[192.0.2.1]",
		"spam@remote.example",
		"x%remote.example-trap@a.example",
		"remote-trap@remote.example",
		"remotetrap@[203.0.113.9]",
		"x%remote.exampletrap@[192.0.2.1]",
		"x@remote.example-trap@[192.0.2.1]",
		"x%remote.example-list@a.example",
		"x@remote.example-list@a.example",
		"info-list@label",
		"x@remote.branch.example",
		"a%b@info.branch.example",
		"info@info.branch.example",
		"x@remote.relay.example",
		"x%remote.example@a.fwd.example",
		"x@remote.fwd.example",
		"x%remote.example@a.pairs.example",
		"x@remote.pairs.example",
		"x@people.example",
		"x y@people.example",
		"info@people.example",
		"info@mine.example",
		"a b@mine.example",
		"info%remote.example@mine.example",
		/* the unknown rule */
		"x@out.example",
		"x%out.example@a.example",
		"x%remote.example@out.example",
		"x@remote.example@out.example",
		"\"x%remote.example\"@out.example",
		"x%drop.example@a.example",
		"x%y%drop.example@a.example",
		/* mailboxes and details */
		"x%remote.example#info@a.example",
		"box#x%remote.example@a.example",
		"info+x%remote.example@a.example",
		"info+@remote.example@a.example",
		"x@remote.example#info@a.example",
		"info+x!remote.example@a.example",
		"#x%remote.example@a.example",
		"a..b%a.example@a.example",
		/* encodings */
		"x%remote\xe3\x80\x82\x65xample@a.example",
		"x\xef\xbc\x85remote.example@a.example",
		"x\xef\xbc\xa0remote.example@a.example",
		"x%25remote.example@a.example",
		"x=40remote.example@a.example",
		"x%remote.example@\xef\xbd\x81.example",
		"=?utf-8?q?x=40remote.example?=@a.example",
		"x%remote.example\t@a.example",
		"x%remote.example\r\n@a.example",
		"x%remote.example @a.example",
		"x%\xe2\x80\x8bremote.example@a.example",
		"x@remote.example\x7f@drop.example",
		/* external domains take any name */
		"x%remote.example@ext.example",
		"x@remote.example@ext.example",
		"\"x@remote.example\"@ext.example",
		"x,y@remote.example@ext.example",
		"x%remote.example@dove.example",
		"x,y@ext.example",
		"remote.example!x@dove.example",
	};
	enum { ATTEMPTS = sizeof attempts / sizeof attempts[0] };
	struct fixture *fixture = *state;
	struct counts counts = {0};
	unsigned failed = 0;

	for (size_t i = 0; i < ATTEMPTS; i++) {
		const char *why = check_recipient(fixture, attempts[i], &counts);

		if (why) {
			print_error("%s: %s\n", attempts[i], why);
			failed++;
		}
	}
	assert_int_equal(failed, 0);
	assert_true(ATTEMPTS >= 60);
	assert_true(counts.relays > 40);
	assert_true(counts.ok > 5 && counts.ok < 30);
}

/* OK alone would be enough for these to leave: Postfix takes its own literal off and follows what
 * is left, and no alias map rewrites what is discarded. */
static void what_no_map_rewrites_is_never_ok(void **state)
{
	static const char *const recipients[] = {
		"x@remote.example@[192.0.2.2]",
		"x%y@[192.0.2.2]",
		"spam%remote.example@[192.0.2.1]",
		"spam!remote.example@[192.0.2.1]",
		"spam@remote.example@[192.0.2.1]",
		"x@[192.0.2.2]",
		"spam%remote.example@a.example",
		"x%drop.example@a.example",
		"info%a.example@label",
		"info%a.example@label.",
		"@x.example:info%all.example@a.example",
		"remote-trap@remote.example",
		"info%a.example@[203.0.113.9]",
		"x@[192.0.2.4]",
	};
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof recipients / sizeof recipients[0]; i++) {
		struct policy_decision decision =
			decide(fixture, recipients[i], strlen(recipients[i]));

		if (strcmp(decision.action, "OK") == 0)
			fail_msg("%s: OK (%s)", recipients[i], decision.reason);
	}
}

/* `info,bob@ext.example` as an owner would be two: info, and bob@ext.example. */
static void an_account_that_postfix_would_split_owns_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct route_answer answer;

	route_name(fixture, "comma@a.example", 15, &answer);
	assert_string_equal(answer.address, "info,bob@ext.example");
	assert_string_equal(words(fixture, MAP_SENDER_LOGIN, "comma@a.example"), "notfound");
	assert_string_equal(words(fixture, MAP_MAILBOX, "comma@a.example"), "notfound");
}

static const char *const more_fragments[] = {
	"info",
	"bob",
	"team",
	"out",
	"spam",
	"trap",
	"-trap",
	"-list",
	"+",
	"x",
	"%",
	"%",
	"!",
	"@",
	"@",
	"\"",
	"\\",
	".",
	"..",
	" ",
	",",
	":",
	"#",
	"@a:",
	"@a,@b:",
	"@[IPv6:::1]:",
	"%a.example",
	"%all.example",
	"%drop.example",
	"%remote.example",
	"a.example!",
	"remote.example!",
	"(",
	")",
	"%[192.0.2.2]",
	"%ext.example",
	"\xc3\xbc",
	"A",
	"<",
	">",
	"[",
	"]",
	"\x01",
	"%label",
	"%dove.example",
};
static const char *const more_domains[] = {
	"@a.example",
	"@A.Example.",
	"@aka.example",
	"@drop.example",
	"@all.example",
	"@out.example",
	"@ext.example",
	"@dove.example",
	"@label",
	"@[192.0.2.1]",
	"@[192.0.2.2]",
	"@[192.0.2.3]",
	"@[192.0.2.4]",
	"@[192.0.2.5]",
	"@[203.0.113.9]",
	"@[IPv6:::ffff:192.0.2.2]",
	"@info.branch.example",
	"@remote.relay.example",
	"@a.fwd.example",
	"@remote.fwd.example",
	"@a.pairs.example",
	"@remote.pairs.example",
	"@people.example",
	"@mine.example",
	"@remote.example",
	"",
};

static void make_recipient(char *out, uint64_t *seed)
{
	size_t count = sizeof more_fragments / sizeof more_fragments[0];
	size_t domains = sizeof more_domains / sizeof more_domains[0];
	uint64_t left = support_random(seed) % 6;

	*out = '\0';
	while (left-- > 0)
		strcat(out, more_fragments[support_random(seed) % count]);
	strcat(out, more_domains[support_random(seed) % domains]);
}

/* HOMING_TEST_NAMES and HOMING_TEST_SEED as in test_hostile.c. */
static void random_names(struct fixture *fixture, bool golden)
{
	unsigned long names = support_number("HOMING_TEST_NAMES", NAMES);
	uint64_t seed = support_number("HOMING_TEST_SEED", 1);
	struct counts counts = {0};
	unsigned failed = 0;

	for (unsigned long i = 0; i < names && failed < 20; i++) {
		struct hostile hostile;
		char recipient[HOSTILE_SIZE];

		if (golden) {
			hostile_make(&hostile, &seed);
			size_t length = hostile.question.name_length;
			if (length > 600 || memchr(hostile.name, '\0', length))
				continue;
			snprintf(recipient, sizeof recipient, "%.*s", (int)length, hostile.name);
		} else {
			make_recipient(recipient, &seed);
		}
		const char *why = check_recipient(fixture, recipient, &counts);
		if (why) {
			print_error("%s: %s\n", recipient, why);
			failed++;
		}
	}
	print_message("%lu OK, %lu DUNNO (%lu of them in quotes), %lu refused, %lu relays\n",
		      counts.ok, counts.dunno, counts.quoted, counts.refused, counts.relays);
	assert_int_equal(failed, 0);
	assert_true(counts.ok > names / 500 && counts.dunno > names / 50 &&
		    counts.relays > names / 200);
	assert_true(counts.quoted > names / 1000);
}

static void no_random_name_relays_in_the_golden_directory(void **state)
{
	random_names(*state, true);
}

static void no_random_name_relays_in_a_hostile_directory(void **state)
{
	random_names(*state, false);
}

int main(void)
{
	const struct CMUnitTest golden[] = {
		cmocka_unit_test(golden_addresses_get_the_core_s_answer_from_the_policy),
		cmocka_unit_test(golden_addresses_get_the_core_s_answer_from_the_maps),
		cmocka_unit_test(the_policy_follows_its_rules),
		cmocka_unit_test(only_recipients_of_smtpd_are_decided),
		cmocka_unit_test(authenticated_and_trusted_clients_may_relay),
		cmocka_unit_test(trusted_prefixes_are_read_as_a_whole),
		cmocka_unit_test(a_reply_shows_the_recipient_in_print_and_short),
		cmocka_unit_test(the_maps_follow_their_rules),
		cmocka_unit_test(maps_are_known_by_their_names),
		cmocka_unit_test(existence_is_asked_of_dovecot_before_it_is_decided),
		cmocka_unit_test(nobody_is_asked_for_external_accounts),
		cmocka_unit_test(a_group_is_listed_up_to_what_postfix_takes),
		cmocka_unit_test(a_failed_lookup_never_accepts),
		cmocka_unit_test(a_failed_lookup_is_temp_in_every_map),
		cmocka_unit_test(before_the_first_apply_nothing_is_decided),
		cmocka_unit_test(no_random_name_relays_in_the_golden_directory),
	};
	const struct CMUnitTest hostile[] = {
		cmocka_unit_test(relay_attempts_end_with_us_or_are_refused),
		cmocka_unit_test(what_no_map_rewrites_is_never_ok),
		cmocka_unit_test(an_account_that_postfix_would_split_owns_nothing),
		cmocka_unit_test(no_random_name_relays_in_a_hostile_directory),
	};
	int failed = cmocka_run_group_tests_name("decide", golden, golden_setup, teardown);

	return failed +
	       cmocka_run_group_tests_name("decide-hostile", hostile, hostile_setup, teardown);
}
