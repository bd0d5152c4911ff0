/* Does Dovecot know an account? Asked on its auth-userdb socket (doc: Dovecot's auth-protocol,
 * "master" side; VERSION, USER, FOUND, USER, NOTFOUND, FAIL), without ever blocking: requests go
 * out as they come, on one connection a worker, and answers come back in any order. A connection
 * that breaks is made again; what was under way is then asked once more. Answers are kept for
 * some seconds, the negative ones for fewer. One struct belongs to one event loop. */
#ifndef HOMING_USERDB_H
#define HOMING_USERDB_H

#include <stddef.h>
#include <uv.h>

#include "decide.h"
#include "metrics.h"

struct userdb;

struct userdb_settings {
	const char *path;	    /* of the socket, as /run/dovecot/auth-userdb */
	unsigned timeout_ms;	    /* for an answer, the connection included; then EXISTENCE_UNKNOWN */
	unsigned max_outstanding;   /* above it EXISTENCE_UNKNOWN at once */
	unsigned keep_found_ms, keep_none_ms;
	unsigned max_kept;	    /* answers kept */
};
extern const struct userdb_settings userdb_defaults; /* 5000, 1000, 10000, 2000, 10000 */

struct userdb *userdb_create(uv_loop_t *loop, const struct userdb_settings *settings,
			     struct metrics *metrics);
/* Answers EXISTENCE_UNKNOWN to all that waits, then closes; the memory goes when the loop has run
 * the closing callbacks. NULL inside is fine. */
void userdb_destroy(struct userdb **userdb);

/* Called once, never from within userdb_ask. `existence` of the question as decide.h has it: name
 * first, then without_detail. */
typedef void userdb_answer_cb(void *context, enum existence existence);

/* True: *existence_r is known already and `answer` is not called. False: it will be called. The
 * names are copied. A name that cannot be put to Dovecot (a tab, a line end) does not exist. */
bool userdb_ask(struct userdb *userdb, const struct existence_question *question,
		userdb_answer_cb *answer, void *context, enum existence *existence_r);
/* Forgets the answer callbacks with this context, because whoever waits is gone. */
void userdb_cancel(struct userdb *userdb, void *context);

#endif
