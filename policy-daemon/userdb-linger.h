/* Connections to Dovecot's userdb socket that are given up while Dovecot owes them answers.
 *
 * In Dovecot 2.4, at least up to 2.4.5, closing one makes the auth process crash as soon as it has the
 * answer, and the logins that are under way in it fail: auth_master_connection_destroy() takes the
 * connection's output away, to which user_callback() then writes (src/auth/auth-master-connection.c).
 * So they linger: what still comes is thrown away, and when the last answer has come, they are
 * closed. Also when Dovecot closes, when what comes is no line, at the end of a limit of time, and,
 * the oldest first, where there are too many. Belongs to one event loop. */
#ifndef HOMING_USERDB_LINGER_H
#define HOMING_USERDB_LINGER_H

#include <stddef.h>
#include <uv.h>

enum { USERDB_LINGERING_MAX = 16 }; /* connections, each with its buffers and a descriptor */

struct userdb_linger;

/* `limit_ms`: for each connection. NULL: out of memory. */
struct userdb_linger *userdb_linger_create(uv_loop_t *loop, unsigned limit_ms);

/* Takes a connected pipe over, with `owed` > 0 lines to come, until it closes it; `closed` is the
 * callback of uv_close() then, and the pipe's data what it was. */
void userdb_linger_take(struct userdb_linger *linger, uv_pipe_t *pipe, size_t owed,
			uv_close_cb closed);

/* Lets go of it: what lingers does so for at most so many milliseconds more, as long as the loop
 * runs; with 0 it is closed at once. The memory goes when the loop has run the closing callbacks. */
void userdb_linger_end(struct userdb_linger **linger, unsigned ms);

#endif
