/* Routing names that an attacker might build: it answers each of them, an account is the same
 * account when it is routed again, and what it answers can be logged and mailed.
 *
 * HOMING_TEST_NAMES is how many; HOMING_TEST_SEED chooses others. */
#include "hostile.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "support.h"

#if defined __SANITIZE_ADDRESS__ || defined __SANITIZE_THREAD__
enum { NAMES = 300000 };
#else
enum { NAMES = 10000000 };
#endif
enum { THREADS = 2, RESULTS = ROUTE_REFUSE + 1 };

struct worker {
	pthread_t thread;
	struct directory *directory;
	uint64_t seed;
	unsigned long names, results[RESULTS];
	char failure[4 * HOSTILE_SIZE]; /* "" is none */
};

static void tell(struct worker *worker, const struct hostile *hostile, const char *why)
{
	size_t used = (size_t)snprintf(worker->failure, sizeof worker->failure, "%s of ",
				       hostile->question.kind == NAME_LOGIN ? "login" : "address");

	for (size_t i = 0; i < hostile->question.name_length && used < HOSTILE_SIZE * 2; i++) {
		unsigned char byte = (unsigned char)hostile->name[i];

		used += (size_t)snprintf(worker->failure + used, sizeof worker->failure - used,
					 byte > 0x20 && byte < 0x7f && byte != '\\' ? "%c" : "\\x%02x",
					 byte);
	}
	snprintf(worker->failure + used, sizeof worker->failure - used, ": %s", why);
}

/* May this go into a log line, a mail command, a field between tabs? */
static bool is_clean(const char *text)
{
	size_t length = strlen(text);

	return length == 0 || !name_refusal(NAME_ADDRESS, text, length);
}

static const char *check(struct directory_reader *reader, const struct route_question *question,
			 const struct route_answer *answer)
{
	if (!is_clean(answer->address) || !is_clean(answer->detail) || !is_clean(answer->mailbox) ||
	    !is_clean(answer->text))
		return "a byte that a name may not have comes back";
	if (question->kind == NAME_LOGIN && answer->result != ROUTE_ACCOUNT &&
	    answer->result != ROUTE_REFUSE)
		return "a login that is neither an account nor refused";
	if (answer->result == ROUTE_ACCOUNT) {
		size_t length = strlen(answer->local);

		if (name_refusal(NAME_LOGIN, answer->local, length) || length == 0 ||
		    strcmp(answer->local, ".") == 0 || strcmp(answer->local, "..") == 0)
			return "an account with a name that is no folder's";
		return support_not_idempotent(reader, answer);
	}
	for (size_t i = 0; i < answer->target_count; i++)
		if (!is_clean(answer->targets[i].address))
			return "a target that is no name";
	return NULL;
}

static void ask(struct worker *worker, struct directory_reader *reader,
		const struct hostile *hostile)
{
	struct route_answer answer = {0};
	struct route_trace trace = {0};
	struct error error = {0};
	bool traced = hostile->question.name_length % 4 == 0;
	int failed = route(reader, &hostile->question, &answer, traced ? &trace : NULL, &error);
	const char *why = failed ? error.text : check(reader, &hostile->question, &answer);

	if (why)
		tell(worker, hostile, why);
	worker->results[answer.result]++;
	route_answer_finish(&answer);
	route_trace_finish(&trace);
}

static void *work(void *context)
{
	struct worker *worker = context;
	struct directory_reader *reader;
	struct hostile hostile;
	struct error error = {0};

	if (directory_reader_create(worker->directory, &reader, &error) < 0)
		support_die("%s", error.text);
	for (unsigned long n = 0; n < worker->names && !worker->failure[0]; n++) {
		if (n % 1000 == 0) {
			if (n > 0)
				directory_end(reader);
			if (directory_begin(reader, &error) < 0)
				support_die("%s", error.text);
		}
		hostile_make(&hostile, &worker->seed);
		ask(worker, reader, &hostile);
	}
	if (worker->names > 0)
		directory_end(reader);
	directory_reader_destroy(&reader);
	return NULL;
}

static void hostile_names_are_answered_and_accounts_stay_the_same(void **state)
{
	char *folder = support_folder();
	struct worker workers[THREADS] = {0};
	unsigned long names = support_number("HOMING_TEST_NAMES", NAMES), results[RESULTS] = {0};

	(void)state;
	support_golden(folder);
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	for (unsigned i = 0; i < THREADS; i++) {
		workers[i].directory = open.directory;
		workers[i].seed = support_number("HOMING_TEST_SEED", 1) * THREADS + i;
		workers[i].names = names / THREADS;
		assert_int_equal(pthread_create(&workers[i].thread, NULL, work, &workers[i]), 0);
	}
	for (unsigned i = 0; i < THREADS; i++)
		pthread_join(workers[i].thread, NULL);
	for (unsigned i = 0; i < THREADS; i++) {
		if (workers[i].failure[0])
			fail_msg("%s", workers[i].failure);
		for (unsigned result = 0; result < RESULTS; result++)
			results[result] += workers[i].results[result];
	}
	for (unsigned result = 0; result < RESULTS; result++) {
		print_message("%-8s %lu\n", route_result_name((enum route_result)result),
			      results[result]);
		assert_true(names < 100000 || results[result] > 0);
	}
	support_close(&open);
	support_folder_remove(&folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(hostile_names_are_answered_and_accounts_stay_the_same),
	};

	return cmocka_run_group_tests_name("hostile", tests, NULL, NULL);
}
