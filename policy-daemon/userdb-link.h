/* The connection to Dovecot's userdb socket: made when it is wanted, greeted, made again with growing
 * pauses when it breaks, and renewed after some seconds even when it does not. For an auth process
 * that Dovecot has replaced, by a reload or a restart, lives on with its old configuration for as long
 * as a client stays: it waits for them to leave. What was asked on the old connection is answered
 * there, while the next questions go out on the new one.
 *
 * A connection that is given up while it owes answers is gone for its owner, but lingers, as
 * userdb-linger.h says.
 *
 * What is said on a connection is its owner's business. Connections are told apart by numbers; when
 * one begins, the one before it may still be there, and no other. Belongs to one event loop. */
#ifndef HOMING_USERDB_LINK_H
#define HOMING_USERDB_LINK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

struct userdb_link;

struct userdb_link_settings {
	const char *path;     /* of the socket; is copied */
	unsigned greeting_ms; /* for a connection and its greeting */
	unsigned linger_ms;   /* for the answers to a connection that is given up */
};

/* How the link talks to its owner. Each may be called from within userdb_link_wake(), _suspect()
 * and _break(). */
struct userdb_link_owner {
	/* There is a connection now, or none any more. `again`: one had been lost. Planned renewal is
	 * neither. */
	void (*connected)(void *context, bool connected, bool again);
	/* Writes whole lines to send on that connection; returns their length, 0: nothing now. */
	size_t (*fill)(void *context, unsigned number, char *out, size_t size);
	/* A line, without its end; of one that is longer than USERDB_LINE_MAX its beginning. NULL, or
	 * why the connection is to be closed (a constant). */
	const char *(*line)(void *context, unsigned number, const char *line, size_t length);
	/* Does that connection still owe answers? If not, it goes when it is an old one. */
	bool (*owes)(void *context, unsigned number);
	/* It is gone, together with what it owes. */
	void (*lost)(void *context, unsigned number);
	/* Is a connection of use to anybody? */
	bool (*wanted)(void *context);
};

/* Nothing is connected before the first userdb_link_wake(). The owner must outlive the link. NULL:
 * out of memory. */
struct userdb_link *userdb_link_create(uv_loop_t *loop,
				       const struct userdb_link_settings *settings,
				       const struct userdb_link_owner *owner, void *context);
/* Calls no function of the owner. Connections that owe answers linger for at most so many
 * milliseconds, as long as the loop runs. The memory goes when the loop has run the closing
 * callbacks. */
void userdb_link_end(struct userdb_link **link, unsigned linger_ms);

/* There is something to send: connects where nothing is under way, asks `fill` where it is ready. */
void userdb_link_wake(struct userdb_link *link);

/* Answers look like those of an auth process that Dovecot has left behind: renews the connection,
 * unless it is a new one, or this has been done a moment ago. */
void userdb_link_suspect(struct userdb_link *link);

/* Closes that connection; if it is not an old one, it is made again after a pause. */
void userdb_link_break(struct userdb_link *link, unsigned number, const char *why);

/* Has it been tried for longer than so many milliseconds, in vain? */
bool userdb_link_is_down(const struct userdb_link *link, unsigned ms);

/* The path that it was made with, as long as it lives. */
const char *userdb_link_path(const struct userdb_link *link);

#endif
