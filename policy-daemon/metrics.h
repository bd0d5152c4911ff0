/* Counters that all workers add to, and their text for Prometheus (exposition format 0.0.4). */
#ifndef HOMING_METRICS_H
#define HOMING_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

enum metric_protocol { METRIC_POLICY, METRIC_MAP, METRIC_PROTOCOLS };

/* What became of a request. The first four are policy's, then the maps', then both. */
enum metric_outcome {
	METRIC_DUNNO,
	METRIC_PERMIT,	 /* OK */
	METRIC_REJECT,	 /* 5xx */
	METRIC_DEFER,	 /* 4xx */
	METRIC_OK,
	METRIC_NOTFOUND,
	METRIC_TEMP,	 /* TEMP and TIMEOUT */
	METRIC_PERM,
	METRIC_MALFORMED, /* no request at all: the connection was closed */
	METRIC_OUTCOMES,
};

enum metric_cut {
	METRIC_CUT_MALFORMED,
	METRIC_CUT_TOO_LONG,
	METRIC_CUT_SLOW,  /* a request that did not end in time, or a reply that nobody reads */
	METRIC_CUT_IDLE,
	METRIC_CUT_CROWD, /* the longest idle one, to make room at the limit of connections */
	METRIC_CUTS,
};

enum metric_userdb {
	METRIC_USERDB_FOUND,
	METRIC_USERDB_NONE,
	METRIC_USERDB_FAILED,
	METRIC_USERDB_CACHED, /* answered without asking */
	METRIC_USERDBS,
};

/* Upper bounds of the latency histogram's buckets, in microseconds; one more bucket is +Inf. */
enum { METRIC_BUCKETS = 15 };
extern const unsigned metric_bucket_us[METRIC_BUCKETS];

/* One for each worker, so that cores do not fight for a cache line; zero it before. */
struct metrics {
	_Alignas(64) atomic_ullong requests[METRIC_PROTOCOLS][METRIC_OUTCOMES];
	atomic_ullong latency[METRIC_PROTOCOLS][METRIC_BUCKETS + 1]; /* not cumulative here */
	atomic_ullong latency_ns[METRIC_PROTOCOLS];
	atomic_ullong accepted[METRIC_PROTOCOLS];
	atomic_llong open[METRIC_PROTOCOLS];
	atomic_ullong cut[METRIC_CUTS];
	atomic_ullong userdb[METRIC_USERDBS];
	atomic_llong userdb_connected, userdb_outstanding;
	atomic_ullong userdb_reconnects;
	atomic_ullong directory_failures;
};

void metrics_request(struct metrics *metrics, enum metric_protocol protocol,
		     enum metric_outcome outcome, uint64_t nanoseconds);

/* What is not a sum over workers. */
struct metrics_facts {
	uint64_t directory_sequence;
	int directory_usable; /* 1 or 0 */
	unsigned workers;
	double start_time;    /* seconds since 1970 */
	unsigned long max_connections;
};

/* The text for all workers together, in *text_r (free() it); returns its length, 0 if out of
 * memory. Names begin with homing_policyd_; every metric has HELP and TYPE. */
size_t metrics_format(const struct metrics *const *workers, const struct metrics_facts *facts,
		      char **text_r);

/* HTTP/1.1, as little as a scraper needs: GET and HEAD of /metrics and /, each answered once and
 * with Connection: close. `request` holds the bytes up to now. Returns 0: not whole yet (and not
 * over 8 KiB), else the length of the reply in *reply_r (free() it). `text` is the metrics.
 * Out of memory: 0. */
size_t metrics_http(const char *request, size_t length, const char *text, size_t text_length,
		    char **reply_r);

#endif
