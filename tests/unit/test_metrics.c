/* The metrics' text, read with a small parser that knows the exposition format, and their HTTP. */
#include "metrics.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

enum { MAX_SAMPLES = 400, MAX_FAMILIES = 60 };

struct sample {
	char name[80], labels[120];
	double value;
};

struct family {
	char name[80], type[16];
};

struct text {
	struct sample samples[MAX_SAMPLES];
	struct family families[MAX_FAMILIES];
	size_t sample_count, family_count;
};

static bool is_name(const char *name)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:";

	return strchr(letters, name[0]) && name[0] != '\0' &&
	       strspn(name + 1, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_:0123456789") ==
		       strlen(name + 1);
}

static const struct family *family_of(const struct text *text, const char *name)
{
	for (size_t i = 0; i < text->family_count; i++)
		if (strcmp(text->families[i].name, name) == 0)
			return &text->families[i];
	return NULL;
}

/* The last family, whose lines must stand together. */
static void check_family(const struct text *text, const struct sample *sample)
{
	static const char *const endings[] = {"_bucket", "_sum", "_count"};

	assert_true(text->family_count > 0);
	const struct family *family = &text->families[text->family_count - 1];
	size_t length = strlen(family->name);
	assert_int_equal(strncmp(sample->name, family->name, length), 0);
	if (strcmp(family->type, "histogram") != 0) {
		assert_string_equal(sample->name, family->name);
		return;
	}
	for (size_t i = 0; i < 3; i++)
		if (strcmp(sample->name + length, endings[i]) == 0)
			return;
	fail_msg("%s in a histogram", sample->name);
}

/* `name="value",...` with no quotes or backslashes in the values. */
static void check_labels(const char *labels)
{
	char name[40], value[80];
	int used;

	for (const char *next = labels; *next; next += used) {
		if (sscanf(next, "%39[a-z_]=\"%79[^\"\\]\"%n", name, value, &used) != 2)
			fail_msg("labels {%s}", labels);
		if (next[used] == ',' && next[used + 1])
			used++;
	}
}

static void read_sample(struct text *text, const char *line)
{
	struct sample *sample = &text->samples[text->sample_count];
	char *end;

	assert_true(text->sample_count < MAX_SAMPLES);
	size_t name = strcspn(line, "{ ");
	snprintf(sample->name, sizeof sample->name, "%.*s", (int)name, line);
	assert_true(is_name(sample->name));
	sample->labels[0] = '\0';
	line += name;
	if (*line == '{') {
		size_t length = strcspn(line, "}");

		snprintf(sample->labels, sizeof sample->labels, "%.*s", (int)length - 1, line + 1);
		check_labels(sample->labels);
		line += length + 1;
	}
	assert_int_equal(*line, ' ');
	sample->value = strtod(line + 1, &end);
	assert_true(end > line + 1);
	assert_int_equal(*end, '\0');
	check_family(text, sample);
	text->sample_count++;
}

static void read_head(struct text *text, const char *help, const char *type)
{
	char name[80], sentence[200];
	struct family *family = &text->families[text->family_count];

	assert_true(text->family_count < MAX_FAMILIES);
	assert_int_equal(sscanf(help, "# HELP %79s %199[^\n]", name, sentence), 2);
	assert_int_equal(sscanf(type, "# TYPE %79s %15s", family->name, family->type), 2);
	assert_string_equal(name, family->name);
	assert_true(is_name(name));
	assert_null(strchr(sentence, '\\'));
	assert_null(family_of(text, name)); /* no other of that name before */
	text->family_count++;
}

/* Takes the text apart; ends the test where it does not keep to the format. */
static struct text *read_text(char *metrics)
{
	struct text *text = calloc(1, sizeof *text);
	char *save, *line;

	assert_non_null(text);
	assert_int_equal(metrics[strlen(metrics) - 1], '\n');
	assert_null(strstr(metrics, "\n\n"));
	for (line = strtok_r(metrics, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
		if (line[0] == '#')
			read_head(text, line, strtok_r(NULL, "\n", &save));
		else
			read_sample(text, line);
	return text;
}

static double value_of(const struct text *text, const char *name, const char *labels)
{
	for (size_t i = 0; i < text->sample_count; i++)
		if (strcmp(text->samples[i].name, name) == 0 &&
		    strcmp(text->samples[i].labels, labels) == 0)
			return text->samples[i].value;
	fail_msg("%s{%s} is not there", name, labels);
	return 0;
}

static const struct metrics_facts facts = {
	.directory_sequence = 42,
	.directory_usable = 1,
	.workers = 2,
	.start_time = 1700000000.25,
	.max_connections = 20000,
};

/* What two workers counted. */
static struct metrics *two_workers(void)
{
	struct metrics *workers = aligned_alloc(64, 2 * sizeof *workers);

	assert_non_null(workers);
	memset(workers, 0, 2 * sizeof *workers);
	return workers;
}

static struct text *text_of(struct metrics *workers)
{
	const struct metrics *both[] = {&workers[0], &workers[1]};
	char *text = NULL;
	size_t length = metrics_format(both, &facts, &text);
	struct text *read;

	assert_true(length > 0);
	assert_int_equal(length, strlen(text));
	read = read_text(text);
	free(text);
	return read;
}

static void the_text_keeps_to_the_format(void **state)
{
	struct metrics *workers = two_workers();
	struct text *text = text_of(workers);

	(void)state;
	for (size_t i = 0; i < text->family_count; i++) {
		const struct family *family = &text->families[i];
		size_t length = strlen(family->name);
		bool is_total = length > 6 && strcmp(family->name + length - 6, "_total") == 0;

		assert_int_equal(strncmp(family->name, "homing_policyd_", 15), 0);
		assert_int_equal(is_total, strcmp(family->type, "counter") == 0);
		if (!is_total && strcmp(family->type, "gauge") != 0)
			assert_string_equal(family->type, "histogram");
	}
	for (size_t i = 0; i < text->sample_count; i++)
		for (size_t j = 0; j < i; j++)
			if (strcmp(text->samples[i].name, text->samples[j].name) == 0)
				assert_string_not_equal(text->samples[i].labels,
							text->samples[j].labels);
	free(text);
	free(workers);
}

static void workers_are_added_up(void **state)
{
	struct metrics *workers = two_workers();

	(void)state;
	metrics_request(&workers[0], METRIC_POLICY, METRIC_DUNNO, 1000);
	metrics_request(&workers[1], METRIC_POLICY, METRIC_DUNNO, 1000);
	metrics_request(&workers[1], METRIC_POLICY, METRIC_REJECT, 1000);
	metrics_request(&workers[1], METRIC_MAP, METRIC_NOTFOUND, 1000);
	workers[0].open[METRIC_MAP] = 5;
	workers[1].open[METRIC_MAP] = -2; /* opened there, closed here: the sum counts */
	workers[0].accepted[METRIC_POLICY] = UINT64_C(3000000000000);
	workers[1].cut[METRIC_CUT_TOO_LONG] = 7;
	workers[0].userdb[METRIC_USERDB_CACHED] = 8;
	workers[0].userdb_connected = workers[1].userdb_connected = 1;
	workers[1].userdb_outstanding = 3;
	workers[1].userdb_reconnects = 4;
	workers[0].directory_failures = 9;
	struct text *text = text_of(workers);

	static const struct {
		const char *name, *labels;
		double value;
	} rows[] = {
		{"requests_total", "protocol=\"policy\",outcome=\"dunno\"", 2},
		{"requests_total", "protocol=\"policy\",outcome=\"reject\"", 1},
		{"requests_total", "protocol=\"policy\",outcome=\"permit\"", 0},
		{"requests_total", "protocol=\"policy\",outcome=\"defer\"", 0},
		{"requests_total", "protocol=\"policy\",outcome=\"malformed\"", 0},
		{"requests_total", "protocol=\"map\",outcome=\"ok\"", 0},
		{"requests_total", "protocol=\"map\",outcome=\"notfound\"", 1},
		{"requests_total", "protocol=\"map\",outcome=\"temp\"", 0},
		{"requests_total", "protocol=\"map\",outcome=\"perm\"", 0},
		{"requests_total", "protocol=\"map\",outcome=\"malformed\"", 0},
		{"connections_open", "protocol=\"map\"", 3},
		{"connections_accepted_total", "protocol=\"policy\"", 3e12},
		{"connections_cut_total", "reason=\"too-long\"", 7},
		{"connections_cut_total", "reason=\"malformed\"", 0},
		{"connections_cut_total", "reason=\"slow\"", 0},
		{"connections_cut_total", "reason=\"idle\"", 0},
		{"connections_cut_total", "reason=\"crowd\"", 0},
		{"connections_limit", "", 20000},
		{"userdb_answers_total", "answer=\"cached\"", 8},
		{"userdb_answers_total", "answer=\"found\"", 0},
		{"userdb_connected", "", 2},
		{"userdb_outstanding", "", 3},
		{"userdb_reconnects_total", "", 4},
		{"directory_failures_total", "", 9},
		{"directory_sequence", "", 42},
		{"directory_usable", "", 1},
		{"workers", "", 2},
		{"start_time_seconds", "", 1700000000.25},
		{"info", "version=\"" HOMING_VERSION "\"", 1},
	};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char name[100];

		snprintf(name, sizeof name, "homing_policyd_%s", rows[i].name);
		assert_true(value_of(text, name, rows[i].labels) == rows[i].value);
	}
	free(text);
	free(workers);
}

/* Buckets rise in bound and never fall in count, end in +Inf, and +Inf is what _count says. */
static void check_histogram(const struct text *text, const char *protocol, double count, double sum)
{
	static const char name[] = "homing_policyd_request_duration_seconds";
	double bound = 0, up_to = 0;
	unsigned buckets = 0;
	char label[120];

	snprintf(label, sizeof label, "protocol=\"%s\",le=\"", protocol);
	for (size_t i = 0; i < text->sample_count; i++) {
		const struct sample *sample = &text->samples[i];

		if (strncmp(sample->labels, label, strlen(label)) != 0)
			continue;
		double le = strtod(sample->labels + strlen(label), NULL); /* inf too */
		assert_true(le > bound && sample->value >= up_to);
		bound = le;
		up_to = sample->value;
		buckets++;
	}
	assert_int_equal(buckets, METRIC_BUCKETS + 1);
	assert_true(bound > 1e300 && up_to == count);
	snprintf(label, sizeof label, "protocol=\"%s\"", protocol);
	char of[100];
	snprintf(of, sizeof of, "%s_count", name);
	assert_true(value_of(text, of, label) == count);
	snprintf(of, sizeof of, "%s_sum", name);
	assert_true(value_of(text, of, label) == sum);
}

static void the_histogram_is_cumulative(void **state)
{
	struct metrics *workers = two_workers();

	(void)state;
	metrics_request(&workers[0], METRIC_POLICY, METRIC_DUNNO, 0);
	metrics_request(&workers[0], METRIC_POLICY, METRIC_DUNNO, 10000);
	metrics_request(&workers[0], METRIC_POLICY, METRIC_DUNNO, 10001);
	metrics_request(&workers[1], METRIC_POLICY, METRIC_DEFER, 1000000000);
	metrics_request(&workers[1], METRIC_POLICY, METRIC_DEFER, 1000000001);
	metrics_request(&workers[1], METRIC_POLICY, METRIC_MALFORMED, 60000000000);
	struct text *text = text_of(workers);

	check_histogram(text, "policy", 6, 62.000020002);
	check_histogram(text, "map", 0, 0);
	static const struct {
		const char *bound;
		double count;
	} rows[] = {{"0.00001", 2}, {"0.000025", 3}, {"0.001", 3}, {"0.25", 3}, {"1", 4}, {"+Inf", 6}};
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char labels[60];

		snprintf(labels, sizeof labels, "protocol=\"policy\",le=\"%s\"", rows[i].bound);
		assert_true(value_of(text, "homing_policyd_request_duration_seconds_bucket",
				     labels) == rows[i].count);
	}
	free(text);
	free(workers);
}

static void every_request_falls_into_one_bucket(void **state)
{
	struct metrics *workers = two_workers();

	(void)state;
	for (unsigned i = 0; i < METRIC_BUCKETS; i++) {
		uint64_t bound = (uint64_t)metric_bucket_us[i] * 1000;

		metrics_request(workers, METRIC_MAP, METRIC_OK, bound);
		assert_int_equal(workers->latency[METRIC_MAP][i], i == 0 ? 1 : 2);
		metrics_request(workers, METRIC_MAP, METRIC_OK, bound + 1);
		assert_int_equal(workers->latency[METRIC_MAP][i + 1], 1);
	}
	metrics_request(workers, METRIC_MAP, METRIC_OK, UINT64_MAX / 2);
	assert_int_equal(workers->latency[METRIC_MAP][METRIC_BUCKETS], 2);
	assert_int_equal(workers->requests[METRIC_MAP][METRIC_OK], 2 * METRIC_BUCKETS + 1);
	assert_int_equal(metric_bucket_us[0], 10);
	assert_int_equal(metric_bucket_us[METRIC_BUCKETS - 1], 1000000);
	free(workers);
}

static void workers_do_not_share_a_cache_line(void **state)
{
	(void)state;
	assert_int_equal(sizeof(struct metrics) % 64, 0);
	assert_int_equal(_Alignof(struct metrics), 64);
}

/* The reply to a request, with a NUL behind it; NULL: it waits for more. */
static char *reply_to(const char *request, size_t length)
{
	char *copy = malloc(length > 0 ? length : 1), *reply = NULL;
	size_t replied;

	assert_non_null(copy);
	memcpy(copy, request, length);
	replied = metrics_http(copy, length, "a 1\n", 4, &reply);
	assert_int_equal(replied > 0, reply != NULL);
	if (reply)
		assert_int_equal(replied, strlen(reply));
	free(copy);
	return reply;
}

static void requests_over_http_are_answered(void **state)
{
	static const struct {
		const char *request, *status, *body;
	} rows[] = {
		{"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", "200 OK", "a 1\n"},
		{"GET /metrics HTTP/1.0\r\n\r\n", "200 OK", "a 1\n"},
		{"GET /metrics HTTP/1.1\nHost: x\n\n", "200 OK", "a 1\n"},
		{"GET /metrics?x=y HTTP/1.1\r\n\r\n", "200 OK", "a 1\n"},
		{"GET /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "200 OK", "a 1\n"},
		{"HEAD /metrics HTTP/1.1\r\n\r\n", "200 OK", ""},
		{"GET / HTTP/1.1\r\n\r\n", "200 OK", "homing-policyd: the metrics are at /metrics\n"},
		{"HEAD / HTTP/1.1\r\n\r\n", "200 OK", ""},
		{"GET /metrics/ HTTP/1.1\r\n\r\n", "404 Not Found", "The metrics are at /metrics.\n"},
		{"GET /../etc/passwd HTTP/1.1\r\n\r\n", "404 Not Found",
		 "The metrics are at /metrics.\n"},
		{"HEAD /x HTTP/1.1\r\n\r\n", "404 Not Found", ""},
		{"POST /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed", NULL},
		{"get /metrics HTTP/1.1\r\n\r\n", "405 Method Not Allowed", NULL},
		{"GET http://x/metrics HTTP/1.1\r\n\r\n", "400 Bad Request", NULL},
		{"GET /metrics\r\n\r\n", "400 Bad Request", NULL},
		{"GET /metrics HTTP/2.0\r\n\r\n", "400 Bad Request", NULL},
		{"GET  /metrics HTTP/1.1\r\n\r\n", "400 Bad Request", NULL},
		{"GET /metrics  HTTP/1.1\r\n\r\n", "400 Bad Request", NULL},
		{"GET /metrics HTTP/1.1 \r\n\r\n", "400 Bad Request", NULL},
		{" GET /metrics HTTP/1.1\r\n\r\n", "400 Bad Request", NULL},
		{"GET\r\n\r\n", "400 Bad Request", NULL},
		{"\r\n\r\n", "400 Bad Request", NULL},
		{"\n\n", "400 Bad Request", NULL},
		{"request=smtpd_access_policy\n\n", "400 Bad Request", NULL},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *reply = reply_to(rows[i].request, strlen(rows[i].request));

		if (!reply || strncmp(reply, "HTTP/1.1 ", 9) != 0 ||
		    strncmp(reply + 9, rows[i].status, strlen(rows[i].status)) != 0)
			fail_msg("%s gives %s", rows[i].request, reply ? reply : "nothing");
		char *body = strstr(reply, "\r\n\r\n");
		assert_non_null(body);
		assert_non_null(strstr(reply, "\r\nConnection: close\r\n"));
		if (rows[i].body)
			assert_string_equal(body + 4, rows[i].body);
		unsigned length;
		assert_int_equal(sscanf(strstr(reply, "Content-Length: "), "Content-Length: %u",
					&length), 1);
		if (strncmp(rows[i].request, "HEAD", 4) != 0)
			assert_int_equal(length, strlen(body + 4));
		free(reply);
	}
}

static void a_head_has_the_fields_of_a_get(void **state)
{
	char *get = reply_to("GET /metrics HTTP/1.1\r\n\r\n", 25);
	char *head = reply_to("HEAD /metrics HTTP/1.1\r\n\r\n", 26);

	(void)state;
	assert_non_null(strstr(get, "\r\nContent-Length: 4\r\n"));
	assert_non_null(strstr(get, "\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n"));
	assert_int_equal(strncmp(get, head, strlen(head)), 0);
	assert_string_equal(get + strlen(head), "a 1\n");
	free(get);
	free(head);
}

static void half_a_request_waits(void **state)
{
	static const char request[] = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";

	(void)state;
	for (size_t length = 0; length < strlen(request); length++)
		assert_null(reply_to(request, length));
	assert_null(reply_to("\r\n", 2));
	assert_null(reply_to("\n", 1));
}

static void a_request_over_8_kib_is_refused(void **state)
{
	char *request = malloc(8193);

	(void)state;
	assert_non_null(request);
	memset(request, 'x', 8193);
	assert_null(reply_to(request, 8192));
	char *reply = reply_to(request, 8193);
	assert_int_equal(strncmp(reply, "HTTP/1.1 431 ", 13), 0);
	free(reply);

	memcpy(request, "GET / HTTP/1.1\r\n", 16);
	memcpy(request + 8188, "\r\n\r\n", 4);
	reply = reply_to(request, 8192);
	assert_int_equal(strncmp(reply, "HTTP/1.1 200 ", 13), 0);
	free(reply);
	free(request);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_text_keeps_to_the_format),
		cmocka_unit_test(workers_are_added_up),
		cmocka_unit_test(the_histogram_is_cumulative),
		cmocka_unit_test(every_request_falls_into_one_bucket),
		cmocka_unit_test(workers_do_not_share_a_cache_line),
		cmocka_unit_test(requests_over_http_are_answered),
		cmocka_unit_test(a_head_has_the_fields_of_a_get),
		cmocka_unit_test(half_a_request_waits),
		cmocka_unit_test(a_request_over_8_kib_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
