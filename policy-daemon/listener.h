/* Accepts connections on all sockets, on the main thread's loop. */
#ifndef HOMING_LISTENER_H
#define HOMING_LISTENER_H

#include <uv.h>

#include "endpoint.h"

struct listener;

/* Gets a connected socket, non-blocking and close-on-exec, and has to close it. */
typedef void listener_accepted_cb(void *context, enum service service, int fd);

/* Begins to accept. The endpoints stay the caller's, open until listener_stop(). NULL: out of memory,
 * or the loop cannot watch a socket. */
struct listener *listener_start(uv_loop_t *loop, const struct endpoint *endpoints, size_t count,
				listener_accepted_cb *accepted, void *context);

/* Accepts no more, but takes in at once who has connected already, except on inherited sockets, where
 * the next daemon will. Then removes the paths of our UNIX sockets. The memory goes when the loop has
 * run the closing callbacks. NULL inside is fine. */
void listener_stop(struct listener **listener);

#endif
