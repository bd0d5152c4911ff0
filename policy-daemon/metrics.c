/* The counters' text for Prometheus: https://prometheus.io/docs/instrumenting/exposition_formats/,
 * version 0.0.4. Numbers are put together from integers: no locale has a say in them. */
#include "metrics.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const unsigned metric_bucket_us[METRIC_BUCKETS] = {
	10,   25,   50,	   100,	  250,	 500,	 1000,	 2500,
	5000, 10000, 25000, 50000, 100000, 250000, 1000000,
};

static const char *const protocols[METRIC_PROTOCOLS] = {
	[METRIC_POLICY] = "policy",
	[METRIC_MAP] = "map",
};

enum {
	OF_POLICY = 1 << METRIC_POLICY,
	OF_MAP = 1 << METRIC_MAP,
	OF_BOTH = OF_POLICY | OF_MAP,
};

static const struct {
	const char *name;
	unsigned protocols;
} outcomes[METRIC_OUTCOMES] = {
	[METRIC_DUNNO] = {"dunno", OF_POLICY},
	[METRIC_PERMIT] = {"permit", OF_POLICY},
	[METRIC_REJECT] = {"reject", OF_POLICY},
	[METRIC_DEFER] = {"defer", OF_POLICY},
	[METRIC_OK] = {"ok", OF_MAP},
	[METRIC_NOTFOUND] = {"notfound", OF_MAP},
	[METRIC_TEMP] = {"temp", OF_MAP},
	[METRIC_PERM] = {"perm", OF_MAP},
	[METRIC_MALFORMED] = {"malformed", OF_BOTH},
};

static const char *const cuts[METRIC_CUTS] = {
	[METRIC_CUT_MALFORMED] = "malformed",
	[METRIC_CUT_TOO_LONG] = "too-long",
	[METRIC_CUT_SLOW] = "slow",
	[METRIC_CUT_IDLE] = "idle",
	[METRIC_CUT_CROWD] = "crowd",
};

static const char *const userdb_answers[METRIC_USERDBS] = {
	[METRIC_USERDB_FOUND] = "found",
	[METRIC_USERDB_NONE] = "none",
	[METRIC_USERDB_FAILED] = "failed",
	[METRIC_USERDB_CACHED] = "cached",
};

/* What all workers counted together. */
struct sums {
	uint64_t requests[METRIC_PROTOCOLS][METRIC_OUTCOMES];
	uint64_t latency[METRIC_PROTOCOLS][METRIC_BUCKETS + 1];
	uint64_t latency_ns[METRIC_PROTOCOLS];
	uint64_t accepted[METRIC_PROTOCOLS];
	int64_t open[METRIC_PROTOCOLS];
	uint64_t cut[METRIC_CUTS];
	uint64_t userdb[METRIC_USERDBS];
	int64_t userdb_connected, userdb_outstanding;
	uint64_t userdb_reconnects;
	uint64_t directory_failures;
};

static void count(atomic_ullong *counter, uint64_t by)
{
	atomic_fetch_add_explicit(counter, by, memory_order_relaxed);
}

void metrics_request(struct metrics *metrics, enum metric_protocol protocol,
		     enum metric_outcome outcome, uint64_t nanoseconds)
{
	size_t bucket = 0;

	while (bucket < METRIC_BUCKETS &&
	       nanoseconds > (uint64_t)metric_bucket_us[bucket] * 1000)
		bucket++;
	count(&metrics->requests[protocol][outcome], 1);
	count(&metrics->latency[protocol][bucket], 1);
	count(&metrics->latency_ns[protocol], nanoseconds);
}

static uint64_t read_count(const atomic_ullong *counter)
{
	return atomic_load_explicit(counter, memory_order_relaxed);
}

static int64_t read_level(const atomic_llong *level)
{
	return atomic_load_explicit(level, memory_order_relaxed);
}

static void add_protocol(struct sums *sums, const struct metrics *metrics, size_t protocol)
{
	for (size_t i = 0; i < METRIC_OUTCOMES; i++)
		sums->requests[protocol][i] += read_count(&metrics->requests[protocol][i]);
	for (size_t i = 0; i <= METRIC_BUCKETS; i++)
		sums->latency[protocol][i] += read_count(&metrics->latency[protocol][i]);
	sums->latency_ns[protocol] += read_count(&metrics->latency_ns[protocol]);
	sums->accepted[protocol] += read_count(&metrics->accepted[protocol]);
	sums->open[protocol] += read_level(&metrics->open[protocol]);
}

static void add_worker(struct sums *sums, const struct metrics *metrics)
{
	for (size_t i = 0; i < METRIC_PROTOCOLS; i++)
		add_protocol(sums, metrics, i);
	for (size_t i = 0; i < METRIC_CUTS; i++)
		sums->cut[i] += read_count(&metrics->cut[i]);
	for (size_t i = 0; i < METRIC_USERDBS; i++)
		sums->userdb[i] += read_count(&metrics->userdb[i]);
	sums->userdb_connected += read_level(&metrics->userdb_connected);
	sums->userdb_outstanding += read_level(&metrics->userdb_outstanding);
	sums->userdb_reconnects += read_count(&metrics->userdb_reconnects);
	sums->directory_failures += read_count(&metrics->directory_failures);
}

static void put_head(FILE *out, const char *name, const char *type, const char *help)
{
	fprintf(out, "# HELP homing_policyd_%s %s\n# TYPE homing_policyd_%s %s\n", name, help, name,
		type);
}

static void put_value(FILE *out, const char *name, int64_t value)
{
	fprintf(out, "homing_policyd_%s %" PRId64 "\n", name, value);
}

static void put_labelled(FILE *out, const char *name, const char *label, const char *word,
			 int64_t value)
{
	fprintf(out, "homing_policyd_%s{%s=\"%s\"} %" PRId64 "\n", name, label, word, value);
}

static void put_alone(FILE *out, const char *name, const char *type, int64_t value,
		      const char *help)
{
	put_head(out, name, type, help);
	put_value(out, name, value);
}

static void put_requests(FILE *out, const struct sums *sums)
{
	put_head(out, "requests_total", "counter", "Requests, by protocol and by what they came to.");
	for (size_t i = 0; i < METRIC_PROTOCOLS; i++)
		for (size_t j = 0; j < METRIC_OUTCOMES; j++)
			if (outcomes[j].protocols & (1u << i))
				fprintf(out, "homing_policyd_requests_total{protocol=\"%s\",outcome=\""
					"%s\"} %" PRIu64 "\n", protocols[i], outcomes[j].name,
					sums->requests[i][j]);
}

/* Microseconds as seconds without needless zeros: 25 is 0.000025. */
static void format_bound(unsigned microseconds, char out[24])
{
	int length = snprintf(out, 24, "%u.%06u", microseconds / 1000000, microseconds % 1000000);

	while (out[length - 1] == '0')
		out[--length] = '\0';
	if (out[length - 1] == '.')
		out[--length] = '\0';
}

static void put_histogram(FILE *out, const struct sums *sums, size_t protocol)
{
	static const char name[] = "homing_policyd_request_duration_seconds";
	const char *word = protocols[protocol];
	uint64_t up_to = 0;

	for (size_t i = 0; i <= METRIC_BUCKETS; i++) {
		char bound[24] = "+Inf";

		up_to += sums->latency[protocol][i];
		if (i < METRIC_BUCKETS)
			format_bound(metric_bucket_us[i], bound);
		fprintf(out, "%s_bucket{protocol=\"%s\",le=\"%s\"} %" PRIu64 "\n", name, word, bound,
			up_to);
	}
	fprintf(out, "%s_sum{protocol=\"%s\"} %" PRIu64 ".%09" PRIu64 "\n", name, word,
		sums->latency_ns[protocol] / 1000000000, sums->latency_ns[protocol] % 1000000000);
	fprintf(out, "%s_count{protocol=\"%s\"} %" PRIu64 "\n", name, word, up_to);
}

static void put_latency(FILE *out, const struct sums *sums)
{
	put_head(out, "request_duration_seconds", "histogram",
		 "From the last byte of a request to its reply.");
	for (size_t i = 0; i < METRIC_PROTOCOLS; i++)
		put_histogram(out, sums, i);
}

static void put_connections(FILE *out, const struct sums *sums)
{
	put_head(out, "connections_accepted_total", "counter", "Connections accepted.");
	for (size_t i = 0; i < METRIC_PROTOCOLS; i++)
		put_labelled(out, "connections_accepted_total", "protocol", protocols[i],
			     (int64_t)sums->accepted[i]);
	put_head(out, "connections_open", "gauge", "Connections open now.");
	for (size_t i = 0; i < METRIC_PROTOCOLS; i++)
		put_labelled(out, "connections_open", "protocol", protocols[i], sums->open[i]);
	put_head(out, "connections_cut_total", "counter",
		 "Connections that were closed before the client did, by reason.");
	for (size_t i = 0; i < METRIC_CUTS; i++)
		put_labelled(out, "connections_cut_total", "reason", cuts[i], (int64_t)sums->cut[i]);
}

static void put_userdb(FILE *out, const struct sums *sums)
{
	put_head(out, "userdb_answers_total", "counter",
		 "What Dovecot's userdb said of accounts; cached is what was known already.");
	for (size_t i = 0; i < METRIC_USERDBS; i++)
		put_labelled(out, "userdb_answers_total", "answer", userdb_answers[i],
			     (int64_t)sums->userdb[i]);
	put_alone(out, "userdb_connected", "gauge", sums->userdb_connected,
		  "Workers that are connected to Dovecot's userdb.");
	put_alone(out, "userdb_outstanding", "gauge", sums->userdb_outstanding,
		  "Questions that Dovecot's userdb has not answered yet.");
	put_alone(out, "userdb_reconnects_total", "counter", (int64_t)sums->userdb_reconnects,
		  "Connections to Dovecot's userdb that had to be made again.");
}

static void put_facts(FILE *out, const struct sums *sums, const struct metrics_facts *facts)
{
	uint64_t start_ms = facts->start_time > 0 ? (uint64_t)(facts->start_time * 1000) : 0;

	put_alone(out, "connections_limit", "gauge", (int64_t)facts->max_connections,
		  "Connections that may be open at once.");
	put_alone(out, "directory_failures_total", "counter", (int64_t)sums->directory_failures,
		  "Requests that the directory could not answer.");
	put_alone(out, "directory_sequence", "gauge", (int64_t)facts->directory_sequence,
		  "Sequence number of the directory; each change raises it.");
	put_alone(out, "directory_usable", "gauge", facts->directory_usable,
		  "1 if the directory can be read, 0 if not.");
	put_alone(out, "workers", "gauge", facts->workers, "Threads that answer requests.");
	put_head(out, "start_time_seconds", "gauge", "When the daemon started, since 1970.");
	fprintf(out, "homing_policyd_start_time_seconds %" PRIu64 ".%03u\n", start_ms / 1000,
		(unsigned)(start_ms % 1000));
	put_head(out, "info", "gauge", "The version that runs.");
	put_labelled(out, "info", "version", HOMING_VERSION, 1);
}

size_t metrics_format(const struct metrics *const *workers, const struct metrics_facts *facts,
		      char **text_r)
{
	struct sums sums = {0};
	char *text = NULL;
	size_t length = 0;
	FILE *out = open_memstream(&text, &length);

	if (!out)
		return 0;
	for (unsigned i = 0; i < facts->workers; i++)
		add_worker(&sums, workers[i]);
	put_requests(out, &sums);
	put_latency(out, &sums);
	put_connections(out, &sums);
	put_userdb(out, &sums);
	put_facts(out, &sums, facts);
	bool failed = ferror(out) != 0;
	if (fclose(out) != 0 || failed) {
		free(text);
		return 0;
	}
	*text_r = text;
	return length;
}
