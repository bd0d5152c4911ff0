/* A worker: a thread with an event loop, its connections, its reader of the directory and its
 * connection to Dovecot. The main thread accepts connections and hands them out in turns.
 *
 * The main thread's order at the end: accept no more, worker_stop() of all, worker_join() of all,
 * then shared_directory_destroy(). */
#ifndef HOMING_WORKER_H
#define HOMING_WORKER_H

#include <stdbool.h>

#include "decide.h"
#include "endpoint.h"
#include "metrics.h"
#include "shared-directory.h"
#include "userdb.h"

/* What is pointed to stays the caller's and must outlive the worker. */
struct worker_settings {
	struct shared_directory *directory; /* of all workers; each makes a reader of its own */
	const struct trusted *trusted;
	struct userdb_settings userdb; /* path NULL: nobody to ask */
	bool dry_run;
	unsigned long max_connections; /* of this worker, at least 1 */
	/* A request that has begun must be whole, and a reply must be taken, within the first; a
	 * connection without a request closes after the second. At least 1. */
	unsigned request_seconds, idle_seconds;
};
enum { WORKER_REQUEST_SECONDS = 30, WORKER_IDLE_SECONDS = 3600 }; /* unless told otherwise */

struct worker;

/* Starts the thread; SIGPIPE must be ignored before. -1: *error_r (free() it), NULL out of memory. */
int worker_start(const struct worker_settings *settings, struct worker **worker_r, char **error_r);

/* Hands a connected socket (of SERVICE_POLICY or SERVICE_MAP) over; from any thread; the worker
 * closes it. At max_connections the one that was silent longest is closed for it. */
void worker_give(struct worker *worker, enum service service, int fd);

/* From the main thread: takes no more from the clients, answers every request that had arrived,
 * closes each connection once that is done, and all of them after `milliseconds`; then the thread
 * ends; where Dovecot owes answers, when it has given them, at most some seconds later, and at most
 * a second after `milliseconds`. Returns at once. worker_join() waits for the end and frees the
 * worker. */
void worker_stop(struct worker *worker, unsigned milliseconds);
void worker_join(struct worker **worker);

struct metrics *worker_metrics(struct worker *worker);

#endif
