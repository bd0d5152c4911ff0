/* Serves the metrics by HTTP, on the main thread's loop: a request a connection, few connections,
 * little time. */
#ifndef HOMING_METRICS_SERVER_H
#define HOMING_METRICS_SERVER_H

#include <stddef.h>
#include <uv.h>

enum {
	METRICS_SERVER_MAX_CLIENTS = 64,
	METRICS_SERVER_SECONDS = 10, /* for a request and its reply together */
};

struct metrics_server;

/* The text at this moment in *text_r, which is freed with free(); its length, 0 if out of memory. */
typedef size_t metrics_server_text_cb(void *context, char **text_r);

/* NULL: out of memory. */
struct metrics_server *metrics_server_create(uv_loop_t *loop, metrics_server_text_cb *text,
					     void *context);

/* Takes over a connected, non-blocking socket. */
void metrics_server_give(struct metrics_server *server, int fd);

/* Closes all connections; the memory goes when the loop has run the closing callbacks. NULL inside is
 * fine. */
void metrics_server_destroy(struct metrics_server **server);

#endif
