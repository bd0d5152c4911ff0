/* The connections of one worker, of both protocols. Requests are answered strictly in order; each
 * wait has a deadline, each buffer a limit, and a client that breaks them loses its connection and
 * nobody else's.
 *
 * A connection that waits for a request costs its struct alone: requests are read into memory that
 * all connections share, and only what is left of one, or has to wait, gets a buffer. */
#ifndef HOMING_CONNECTION_H
#define HOMING_CONNECTION_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "endpoint.h"
#include "list.h"
#include "policy.h"
#include "serve.h"

enum {
	CONNECTION_READ_SIZE = 16384, /* at most in one turn, so that nobody waits long for others */
	CONNECTION_REPLIES_SIZE = 65536 + SERVE_REPLY_SIZE,
	/* Above it nothing more is read until the client has taken its replies. */
	CONNECTION_MAX_PENDING = 262144,
};

struct connections {
	uv_loop_t *loop;
	struct serve *serve;
	unsigned long count, limit;
	uint64_t request_ms, idle_ms;
	struct link by_activity; /* all; first the one whose last request is longest ago */
	struct link by_deadline; /* those with something unfinished */
	char *requests;		 /* CONNECTION_READ_SIZE */
	struct policy_request policy; /* the one at hand, parsed */
	char *replies;		 /* CONNECTION_REPLIES_SIZE, of the connection at hand */
	size_t replies_length;
};

/* With loop, serve, limit and the times set; the rest is filled in. False: out of memory. */
bool connections_init(struct connections *connections);
/* After the loop ran the closing callbacks of the last one. */
void connections_finish(struct connections *connections);

/* Takes over a connected socket. At the limit one is closed for it. */
void connection_open(struct connections *connections, enum service service, int fd);

/* Closes those whose time is over. Call it about once a second. */
void connections_tick(struct connections *connections);

/* Takes nothing more from the clients: what has arrived is answered, then each connection closes.
 * On a UNIX socket the client's next write fails, so that it knows; what was written before is read. */
void connections_drain(struct connections *connections);
/* Closes all at once. */
void connections_close(struct connections *connections);

#endif
