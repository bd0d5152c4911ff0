/* A worker: a thread with an event loop, its connections, its reader of the directory and its
 * connection to Dovecot. The main thread accepts connections and hands them out in turns. */
#ifndef HOMING_WORKER_H
#define HOMING_WORKER_H

#include <stdbool.h>
#include <uv.h>

#include "decide.h"
#include "endpoint.h"
#include "metrics.h"
#include "userdb.h"

struct worker_settings {
	struct directory *directory;	   /* shared by all workers; a reader each */
	const struct trusted *trusted;
	struct userdb_settings userdb;	   /* path NULL: nobody to ask */
	bool dry_run;
	unsigned long max_connections;	   /* of this worker */
	unsigned request_seconds, idle_seconds;
};

struct worker;

/* Starts the thread. -1: *error_r (free() it). */
int worker_start(const struct worker_settings *settings, struct worker **worker_r, char **error_r);

/* Hands a connected socket over; from any thread; the worker closes it. */
void worker_give(struct worker *worker, enum service service, int fd);

/* From the main thread: finishes what is in flight, answers what has arrived, closes all, at most
 * `milliseconds` long; then the thread ends. worker_join() waits for it and frees it. */
void worker_stop(struct worker *worker, unsigned milliseconds);
void worker_join(struct worker **worker);

struct metrics *worker_metrics(struct worker *worker);

#endif
