/* bench-route DIRECTORY DOMAINS ACCOUNTS [ROUTES]: how long routing takes, as JSON.
 *
 * The directory is one of tests/bench/routing: account number i is user<i>@d<i mod DOMAINS>.example.
 * Names are random with a fixed seed, in the forms that users type. They are routed twice: once to
 * have their pages in memory, then measured, each with a snapshot of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "directory.h"
#include "route.h"
#include "store.h"

enum form { FULL, PERCENT, UPPER, DETAIL, ADDRESS, BARE, FORMS };
static const char *const form_names[] = {"full", "percent", "upper", "detail", "address", "bare"};

struct question {
	enum form form;
	char name[64];
	struct ip ip;
};

static uint64_t state = 88172645463325252ULL;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static double microseconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void fail(const struct error *error)
{
	fprintf(stderr, "bench-route: %s\n", error->text);
	exit(1);
}

/* Anonymous memory of this process, in KiB: what no other process shares. */
static long private_memory(void)
{
	FILE *file = fopen("/proc/self/smaps_rollup", "r");
	char line[256];
	long kib = -1;

	while (file && fgets(line, sizeof line, file))
		sscanf(line, "Anonymous: %ld", &kib);
	if (file)
		fclose(file);
	return kib;
}

/* Domain number i owns 10.0.0.0/8 + i. */
static void make_question(struct question *question, unsigned long domains, unsigned long accounts)
{
	unsigned long account = next_random() % accounts, domain = account % domains;
	const char *format = "user%lu@d%lu.example";
	unsigned char bytes[4] = {10, (unsigned char)(domain >> 16), (unsigned char)(domain >> 8),
				  (unsigned char)domain};

	question->form = (enum form)(next_random() % FORMS);
	question->ip = ip_from_v4(bytes);
	if (question->form == PERCENT)
		format = "user%lu%%d%lu.example";
	else if (question->form == UPPER)
		format = "USER%lu@D%lu.Example";
	else if (question->form == DETAIL)
		format = "user%lu+lists@d%lu.example";
	else if (question->form == BARE)
		format = "user%lu";
	snprintf(question->name, sizeof question->name, format, account, domain);
}

static void ask(struct directory_reader *reader, const struct question *question)
{
	struct error error = {0};
	struct route_answer answer;
	struct route_question asked = {
		.kind = question->form == ADDRESS ? NAME_ADDRESS : NAME_LOGIN,
		.name = question->name,
		.name_length = strlen(question->name),
		.local_ip = &question->ip,
	};

	if (directory_begin(reader, &error) < 0 || route(reader, &asked, &answer, NULL, &error) < 0)
		fail(&error);
	directory_end(reader);
	if (answer.result != ROUTE_ACCOUNT) {
		fprintf(stderr, "bench-route: %s is no account: %s\n", question->name, answer.text);
		exit(1);
	}
	route_answer_finish(&answer);
}

static int compare(const void *a, const void *b)
{
	double first = *(const double *)a, second = *(const double *)b;

	return (first > second) - (first < second);
}

static double percentile(double *times, size_t count, double part)
{
	return times[(size_t)((double)(count - 1) * part)];
}

int main(int argc, char **argv)
{
	struct directory *directory;
	struct directory_reader *reader;
	struct error error = {0};

	if (argc < 4) {
		fprintf(stderr, "usage: bench-route DIRECTORY DOMAINS ACCOUNTS [ROUTES]\n");
		return 64;
	}
	unsigned long domains = strtoul(argv[2], NULL, 10), accounts = strtoul(argv[3], NULL, 10);
	size_t count = argc > 4 ? strtoul(argv[4], NULL, 10) : 200000;
	struct question *questions = calloc(count, sizeof *questions);
	double *times = calloc(count, sizeof *times), opened[101];
	for (size_t i = 0; i < count; i++)
		make_question(&questions[i], domains, accounts);

	for (int i = 0; i < 101; i++) {
		double begin = microseconds();

		if (directory_open(argv[1], DIRECTORY_NAMES, &directory, &error) < 0)
			fail(&error);
		opened[i] = microseconds() - begin;
		directory_close(&directory);
	}
	long before = private_memory();
	if (directory_open(argv[1], DIRECTORY_NAMES, &directory, &error) < 0 ||
	    directory_reader_create(directory, &reader, &error) < 0)
		fail(&error);
	for (size_t i = 0; i < count; i++)
		ask(reader, &questions[i]);
	long after = private_memory();

	double begin = microseconds();
	for (size_t i = 0; i < count; i++)
		ask(reader, &questions[i]);
	double whole = microseconds() - begin;

	double by_form[FORMS] = {0};
	size_t of_form[FORMS] = {0};
	for (size_t i = 0; i < count; i++) {
		begin = microseconds();
		ask(reader, &questions[i]);
		times[i] = microseconds() - begin;
		by_form[questions[i].form] += times[i];
		of_form[questions[i].form]++;
	}
	qsort(times, count, sizeof *times, compare);
	qsort(opened, 101, sizeof *opened, compare);
	printf("{\"routes_per_second\": %.0f, \"median_us\": %.2f, \"p99_us\": %.2f, "
	       "\"open_us\": %.1f, \"private_kib\": %ld",
	       (double)count / whole * 1e6, percentile(times, count, 0.5),
	       percentile(times, count, 0.99), opened[50], after - before);
	for (int form = 0; form < FORMS; form++)
		printf(", \"%s_us\": %.2f", form_names[form], by_form[form] / (double)of_form[form]);
	printf("}\n");
	directory_reader_destroy(&reader);
	directory_close(&directory);
	free(questions);
	free(times);
	return 0;
}
