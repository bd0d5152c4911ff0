/* The connection to Dovecot's userdb socket: made when it is wanted, greeted, made again with growing
 * pauses when it breaks. What is said on it is its owner's business. Belongs to one event loop. */
#ifndef HOMING_USERDB_LINK_H
#define HOMING_USERDB_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct userdb_link;

/* How the connection talks to its owner. Each may be called from within any function of the owner's
 * that calls userdb_link_wake() or userdb_link_break(). */
struct userdb_link_owner {
	/* Dovecot has greeted; `fill` comes next. */
	void (*ready)(void *context);
	/* A connection that was ready is gone. What was said on it may have been heard or not. */
	void (*lost)(void *context);
	/* Writes whole lines to send; returns their length, 0: there is nothing now. */
	size_t (*fill)(void *context, char *out, size_t size);
	/* A line, without its end; of one that is longer than USERDB_LINE_MAX its beginning. NULL, or
	 * why the connection is to be closed (a constant). */
	const char *(*line)(void *context, const char *line, size_t length);
	/* At the end of a pause: is a connection of use to anybody? */
	bool (*wanted)(void *context);
};

/* Nothing is connected before the first userdb_link_wake(). The owner must outlive the link. NULL:
 * out of memory. */
struct userdb_link *userdb_link_create(uv_loop_t *loop, const char *path, unsigned greeting_ms,
				       const struct userdb_link_owner *owner, void *context);
/* Calls no function of the owner. The memory goes when the loop has run the closing callbacks. */
void userdb_link_destroy(struct userdb_link **link);

/* There is something to send: connects where nothing is under way, asks `fill` where it is ready. */
void userdb_link_wake(struct userdb_link *link);

/* Closes a connection that is ready, and makes it again after a pause. */
void userdb_link_break(struct userdb_link *link, const char *why);

/* The path that it was made with, as long as it lives. */
const char *userdb_link_path(const struct userdb_link *link);

/* Has it been tried for longer than so many milliseconds, in vain? */
bool userdb_link_is_down(const struct userdb_link *link, unsigned ms);

#endif
