/* Routing: every row of the golden cases, and what holds for each of them; what the rows cannot
 * say, as a directory without a configuration, memory that is not there, wide and deep groups. */
#include "route.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "cases.h"
#include "support.h"

struct golden {
	char *folder;
	struct support_open open;
	struct cases cases;
};

static int golden_setup(void **state)
{
	struct golden *golden = calloc(1, sizeof *golden);

	golden->folder = support_folder();
	support_golden(golden->folder);
	golden->open = support_open(golden->folder, DIRECTORY_NAMES);
	golden->cases = cases_read(HOMING_CASES "/routes");
	*state = golden;
	return 0;
}

static int golden_teardown(void **state)
{
	struct golden *golden = *state;

	support_close(&golden->open);
	support_folder_remove(&golden->folder);
	cases_free(&golden->cases);
	free(golden);
	return 0;
}

static void begin(struct golden *golden)
{
	struct error error = {0};

	if (directory_begin(golden->open.reader, &error) < 0)
		fail_msg("%s", error.text);
}

static void end(struct golden *golden)
{
	directory_end(golden->open.reader);
}

/* The rest of each row test: asks for the row, hands the answer on, tells the row that failed. */
typedef const char *row_check(struct golden *golden, const struct case_row *row,
			      const struct route_answer *answer, const struct route_trace *trace);

static void each_row(void **state, row_check *check)
{
	struct golden *golden = *state;
	size_t failed = 0;

	begin(golden);
	for (size_t i = 0; i < golden->cases.count; i++) {
		const struct case_row *row = &golden->cases.rows[i];
		struct route_answer answer = {0};
		struct route_trace trace = {0};
		struct error error = {0};

		const char *why = route(golden->open.reader, &row->question, &answer, &trace, &error) < 0
					  ? error.text
					  : check(golden, row, &answer, &trace);
		if (why) {
			print_error("tests/cases/routes:%zu: (%s) %s\n", row->line, row->why, why);
			failed++;
		}
		route_answer_finish(&answer);
		route_trace_finish(&trace);
	}
	end(golden);
	assert_int_equal(failed, 0);
}

static const char *check_answer(struct golden *golden, const struct case_row *row,
				const struct route_answer *answer, const struct route_trace *trace)
{
	static char why[8192];
	char *words = case_words(golden->open.reader, answer);
	bool same = strcmp(words, row->expected) == 0;

	(void)trace;
	snprintf(why, sizeof why, "expected \"%s\", not \"%s\" (%s)", row->expected, words,
		 answer->text);
	free(words);
	return same ? NULL : why;
}

static void golden_rows_get_their_answers(void **state)
{
	each_row(state, check_answer);
}

static void there_are_rows_enough_of_every_result(void **state)
{
	struct golden *golden = *state;
	static const char *const results[] = {"account", "forward", "remote", "discard", "refuse"};

	assert_true(golden->cases.count >= 200);
	for (size_t i = 0; i < sizeof results / sizeof results[0]; i++) {
		size_t count = 0;

		for (size_t n = 0; n < golden->cases.count; n++)
			count += strncmp(golden->cases.rows[n].expected, results[i],
					 strlen(results[i])) == 0;
		assert_true(count >= 10);
	}
}

static const char *check_idempotent(struct golden *golden, const struct case_row *row,
				    const struct route_answer *answer,
				    const struct route_trace *trace)
{
	(void)row;
	(void)trace;
	if (answer->result == ROUTE_ACCOUNT)
		return support_not_idempotent(golden->open.reader, answer);
	for (size_t i = 0; i < answer->target_count; i++) {
		const struct route_target *target = &answer->targets[i];
		struct route_answer account = {.result = ROUTE_ACCOUNT};

		if (target->remote)
			continue;
		snprintf(account.address, sizeof account.address, "%s", target->address);
		const char *at = strrchr(target->address, '@');
		snprintf(account.local, sizeof account.local, "%.*s", (int)(at - target->address),
			 target->address);
		snprintf(account.domain, sizeof account.domain, "%s", at + 1);
		const char *why = support_not_idempotent(golden->open.reader, &account);
		if (why)
			return why;
	}
	return NULL;
}

static void an_account_that_is_routed_again_is_the_same_account(void **state)
{
	each_row(state, check_idempotent);
}

static bool is_list(const struct route_step *step)
{
	return strcmp(step->rule, "forwarder") == 0 || strcmp(step->rule, "group") == 0;
}

/* Steps make a chain: each begins where the one before ended, or says more about the same name;
 * the last one names the result. Behind a forwarder or group come the chains of its targets. */
static const char *check_trace(struct golden *golden, const struct case_row *row,
			       const struct route_answer *answer, const struct route_trace *trace)
{
	static char why[4 * NAME_SIZE];
	const struct route_step *last = trace->count ? &trace->steps[trace->count - 1] : NULL;

	(void)golden;
	if (trace->failed || !last)
		return "no trace";
	bool at_once = trace->count == 1 && answer->reason == REASON_MALFORMED;
	if (!at_once && (strlen(trace->steps[0].from) != row->question.name_length ||
			 memcmp(trace->steps[0].from, row->name, row->question.name_length) != 0))
		return "the first step is not from the name";
	for (size_t i = 1; i < trace->count && !is_list(&trace->steps[i - 1]); i++) {
		const struct route_step *step = &trace->steps[i], *before = step - 1;

		if (strcmp(step->from, before->to) != 0 && strcmp(step->from, before->from) != 0) {
			snprintf(why, sizeof why, "step %zu, %s, begins at \"%s\" and not at \"%s\"", i,
				 step->rule, step->from, before->to);
			return why;
		}
	}
	const char *expected = answer->result == ROUTE_REFUSE ? route_reason_name(answer->reason)
			       : answer->result == ROUTE_DISCARD ? "discard"
								 : answer->address;
	if (answer->result == ROUTE_FORWARD || strcmp(last->to, expected) == 0)
		return NULL;
	snprintf(why, sizeof why, "the last step is %s to \"%s\", expected \"%s\"", last->rule, last->to,
		 expected);
	return why;
}

static void the_trace_leads_from_the_name_to_the_answer(void **state)
{
	each_row(state, check_trace);
}

static const char *check_untraced(struct golden *golden, const struct case_row *row,
				  const struct route_answer *answer, const struct route_trace *trace)
{
	static const char *const different = "without a trace the answer is another";
	struct route_answer again = {0};
	struct error error = {0};

	(void)trace;
	if (route(golden->open.reader, &row->question, &again, NULL, &error) < 0)
		return "without a trace it fails";
	char *left = case_words(golden->open.reader, answer);
	char *right = case_words(golden->open.reader, &again);
	bool same = strcmp(left, right) == 0 && strcmp(answer->text, again.text) == 0 &&
		    answer->flags == again.flags;
	free(left);
	free(right);
	route_answer_finish(&again);
	return same ? NULL : different;
}

static void the_trace_does_not_change_the_answer(void **state)
{
	each_row(state, check_untraced);
}

static const char *check_fields(struct golden *golden, const struct case_row *row,
				const struct route_answer *answer, const struct route_trace *trace)
{
	char joined[ADDRESS_SIZE];
	bool refused = answer->result == ROUTE_REFUSE, account = answer->result == ROUTE_ACCOUNT;

	(void)golden;
	(void)trace;
	snprintf(joined, sizeof joined, "%s@%s", answer->local, answer->domain);
	if (account && strcmp(joined, answer->address) != 0)
		return "local part and domain are not the address";
	if (!account && (answer->local[0] || answer->domain[0]))
		return "a local part or domain without an account";
	if (refused != (answer->reason != REASON_NONE) || refused != (answer->smtp != 0) ||
	    refused != (answer->status[0] != '\0') || refused != (answer->text[0] != '\0'))
		return "reason, code, status and text belong to a refusal";
	if (refused && answer->smtp / 100 != answer->status[0] - '0')
		return "code and status are of different classes";
	if (refused && answer->smtp != 450 && (answer->smtp < 501 || answer->smtp > 559))
		return "a code out of its range";
	if (row->question.kind == NAME_LOGIN && !account && !refused)
		return "a login is an account or is refused";
	if ((answer->result == ROUTE_FORWARD) != (answer->target_count > 0))
		return "targets belong to a forward";
	return NULL;
}

static void each_result_has_its_fields_and_no_others(void **state)
{
	each_row(state, check_fields);
}

/* An address does not depend on where it came from; a login with a domain neither. */
static const char *check_hints(struct golden *golden, const struct case_row *row,
			       const struct route_answer *answer, const struct route_trace *trace)
{
	struct route_question question = row->question;
	struct route_answer again = {0};
	struct error error = {0};
	struct ip ip;

	(void)trace;
	if (question.kind == NAME_LOGIN && !memchr(row->name, '@', question.name_length) &&
	    !memchr(row->name, '%', question.name_length))
		return NULL;
	assert_true(ip_parse("192.0.2.2", 9, &ip));
	question.local_ip = &ip;
	question.server_name = "imap.client2.com";
	if (route(golden->open.reader, &question, &again, NULL, &error) < 0)
		return error.text[0] ? "it fails" : "it fails without a word";
	char *left = case_words(golden->open.reader, answer);
	char *right = case_words(golden->open.reader, &again);
	bool same = strcmp(left, right) == 0;
	free(left);
	free(right);
	route_answer_finish(&again);
	return same ? NULL : "local address or TLS name changed the answer";
}

static void address_and_tls_name_decide_bare_logins_alone(void **state)
{
	each_row(state, check_hints);
}

static void before_the_first_apply_nothing_is_decided(void **state)
{
	char *folder = support_folder();
	struct route_question question = {.kind = NAME_LOGIN, .name = "info", .name_length = 4};
	struct route_answer answer;
	struct error error = {0};

	(void)state;
	support_add_names(folder, "# nothing\n");
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	assert_int_equal(directory_begin(open.reader, &error), 0);
	assert_int_equal(route(open.reader, &question, &answer, NULL, &error), -1);
	assert_int_equal(error.code, ERROR_MISSING);
	route_answer_finish(&answer);
	directory_end(open.reader);
	support_close(&open);
	support_folder_remove(&folder);
}

static const char one_domain[] = "{\"main_domain\": \"a.example\", \"domains\": {\"a.example\": {}}}";

static void ask(struct support_open *open, const char *address, struct route_answer *answer_r)
{
	struct route_question question = {
		.kind = NAME_ADDRESS, .name = address, .name_length = strlen(address)};

	support_route(open->reader, &question, answer_r, NULL);
}

static void groups_may_be_nested_deeper_than_rewrites_may_follow(void **state)
{
	char *folder = support_folder(), *names;
	size_t size;
	FILE *text = open_memstream(&names, &size);
	struct route_answer answer;

	(void)state;
	fprintf(text, "account info@a.example\ngroup g0@a.example info@a.example\n");
	for (int i = 1; i <= 3 * ROUTE_MAX_REWRITES; i++)
		fprintf(text, "group g%d@a.example g%d@a.example\n", i, i - 1);
	fclose(text);
	support_apply(folder, one_domain);
	support_add_names(folder, names);
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	ask(&open, "g96@a.example", &answer);
	assert_int_equal(answer.result, ROUTE_FORWARD);
	assert_int_equal(answer.target_count, 1);
	assert_string_equal(answer.targets[0].address, "info@a.example");
	route_answer_finish(&answer);
	support_close(&open);
	support_folder_remove(&folder);
	free(names);
}

/* Each group of a level holds both of the next: 2^20 ways, 21 times 2 groups. */
static void what_many_ways_lead_to_is_walked_once(void **state)
{
	char *folder = support_folder(), *names;
	size_t size;
	FILE *text = open_memstream(&names, &size);
	struct route_answer answer;

	(void)state;
	fprintf(text, "account one@a.example\naccount two@a.example\n"
		      "group l0@a.example one@a.example\ngroup r0@a.example two@a.example\n");
	for (int i = 1; i <= 20; i++)
		for (int side = 0; side < 2; side++)
			fprintf(text, "group %c%d@a.example l%d@a.example r%d@a.example\n", "lr"[side], i,
				i - 1, i - 1);
	fclose(text);
	support_apply(folder, one_domain);
	support_add_names(folder, names);
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	ask(&open, "l20@a.example", &answer);
	assert_int_equal(answer.result, ROUTE_FORWARD);
	assert_int_equal(answer.target_count, 2);
	route_answer_finish(&answer);
	support_close(&open);
	support_folder_remove(&folder);
	free(names);
}

/* Memory that is not there: the linker leads these calls of ours here (see meson.build). */
static __thread long allocations_left = -1;

static bool out_of_memory(void)
{
	if (allocations_left < 0)
		return false;
	if (allocations_left > 0) {
		allocations_left--;
		return false;
	}
	errno = ENOMEM;
	return true;
}

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
char *__real_strdup(const char *text);
int __real_vasprintf(char **text_r, const char *format, va_list args);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);
char *__wrap_strdup(const char *text);
int __wrap_vasprintf(char **text_r, const char *format, va_list args);

void *__wrap_malloc(size_t size)
{
	return out_of_memory() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return out_of_memory() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
	return out_of_memory() ? NULL : __real_realloc(memory, size);
}

char *__wrap_strdup(const char *text)
{
	return out_of_memory() ? NULL : __real_strdup(text);
}

int __wrap_vasprintf(char **text_r, const char *format, va_list args)
{
	return out_of_memory() ? -1 : __real_vasprintf(text_r, format, args);
}

/* Routes with one allocation after the other failing, until there is enough for all. Returns how
 * often that was no answer, or no whole trace. */
static unsigned starve(struct golden *golden, const struct case_row *row, bool traced)
{
	bool starved = true;
	unsigned felt = 0;

	for (long allowed = 0; starved; allowed++) {
		struct route_answer answer = {0};
		struct route_trace trace = {0};
		struct error error = {0};

		allocations_left = allowed;
		int result = route(golden->open.reader, &row->question, &answer,
				   traced ? &trace : NULL, &error);
		starved = allocations_left == 0;
		allocations_left = -1;
		felt += result < 0 || trace.failed;
		if (result < 0) {
			assert_int_equal(error.code, ERROR_MEMORY);
		} else {
			/* A trace may be short of steps, and says so; the answer is whole. */
			char *words = case_words(golden->open.reader, &answer);
			assert_string_equal(words, row->expected);
			free(words);
		}
		route_answer_finish(&answer);
		route_trace_finish(&trace);
		assert_true(allowed < 10000);
	}
	return felt;
}

static void without_memory_an_answer_is_whole_or_a_failure(void **state)
{
	struct golden *golden = *state;

	begin(golden);
	for (size_t i = 0; i < golden->cases.count; i++) {
		const struct case_row *row = &golden->cases.rows[i];
		bool forward = strncmp(row->expected, "forward", 7) == 0;

		if (forward)
			assert_true(starve(golden, row, false) > 0);
		if (forward || i % 5 == 0)
			assert_true(starve(golden, row, true) > 0);
	}
	end(golden);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(golden_rows_get_their_answers),
		cmocka_unit_test(there_are_rows_enough_of_every_result),
		cmocka_unit_test(an_account_that_is_routed_again_is_the_same_account),
		cmocka_unit_test(the_trace_leads_from_the_name_to_the_answer),
		cmocka_unit_test(the_trace_does_not_change_the_answer),
		cmocka_unit_test(each_result_has_its_fields_and_no_others),
		cmocka_unit_test(address_and_tls_name_decide_bare_logins_alone),
		cmocka_unit_test(before_the_first_apply_nothing_is_decided),
		cmocka_unit_test(groups_may_be_nested_deeper_than_rewrites_may_follow),
		cmocka_unit_test(what_many_ways_lead_to_is_walked_once),
		cmocka_unit_test(without_memory_an_answer_is_whole_or_a_failure),
	};

	return cmocka_run_group_tests_name("route", tests, golden_setup, golden_teardown);
}
