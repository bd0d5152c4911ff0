/* Does Dovecot know an account? Asked on its auth-userdb socket without ever blocking: questions go
 * out as they come, on one connection a worker, and answers come back in any order. The connection is
 * made at the first question, and again when it breaks; what was under way is then asked once more.
 * Answers are kept for some seconds, the negative ones for fewer. One struct belongs to one event
 * loop. */
#ifndef HOMING_USERDB_H
#define HOMING_USERDB_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#include "decide.h"
#include "metrics.h"

struct userdb;

struct userdb_settings {
	const char *path;	    /* of the socket, as /run/dovecot/auth-userdb; is copied */
	unsigned timeout_ms;	    /* for an answer, the connection included; then EXISTENCE_UNKNOWN */
	unsigned max_outstanding;   /* questions that wait; above it EXISTENCE_UNKNOWN at once */
	unsigned keep_found_ms, keep_none_ms; /* counted from when Dovecot was asked */
	unsigned max_kept;	    /* answers kept */
	unsigned linger_ms;	    /* for the answers to a connection that is given up */
};
/* No path; 5000, 1000, 10000, 2000, 10000, 75000. */
extern const struct userdb_settings userdb_defaults;

/* NULL: out of memory. A socket that is not there is no failure: it may come. */
struct userdb *userdb_create(uv_loop_t *loop, const struct userdb_settings *settings,
			     struct metrics *metrics);
/* Answers EXISTENCE_UNKNOWN to all that waits, then closes; the memory goes when the loop has run
 * the closing callbacks. At any moment, also from within an answer. NULL inside is fine. */
void userdb_destroy(struct userdb **userdb);
/* The same, but a connection on which Dovecot owes answers is closed when they have come or so many
 * milliseconds have passed, while the loop runs: at once, Dovecot 2.4 would crash (userdb-linger.h). */
void userdb_end(struct userdb **userdb, unsigned ms);

/* Called once, never from within userdb_ask. `existence` of the question as decide.h has it: name
 * first, then without_detail. It may call any function here. */
typedef void userdb_answer_cb(void *context, enum existence existence);

/* True: *existence_r is known already and `answer` is not called: it is kept; or nobody can be asked,
 * because `userdb` is NULL or Dovecot has been away for longer than timeout_ms. False: it will be
 * called. The names are copied. A name that cannot be put to Dovecot (empty, a tab, a line end) does
 * not exist. */
bool userdb_ask(struct userdb *userdb, const struct existence_question *question,
		userdb_answer_cb *answer, void *context, enum existence *existence_r);
/* Forgets the answer callbacks with this context, because whoever waits is gone. */
void userdb_cancel(struct userdb *userdb, void *context);

#endif
