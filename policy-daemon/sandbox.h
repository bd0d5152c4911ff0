/* What the daemon gives up once it listens. */
#ifndef HOMING_SANDBOX_H
#define HOMING_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

struct sandbox {
	const char *user;      /* to become, when started as root; NULL: stay */
	const char *directory; /* the one folder whose files may be opened from now on */
	bool connects;	       /* UNIX sockets may be connected to: Dovecot's, the system log's */
	/* UNIX sockets that may be removed at the end, as far as the user may. */
	const char *const *sockets;
	size_t socket_count;
};

/* In this order: supplementary groups, group and user of `user` (initgroups, so that the groups
 * that may read the directory count), and every capability; no_new_privs; no core dumps; Landlock
 * where the kernel has it (files below the folder alone; where the folder is missing, below the
 * nearest one above it that is there); a seccomp filter that allows what an event loop, its threads
 * and LMDB need, and kills the process (with a log line from the kernel) at anything else. A build
 * with AddressSanitizer, which needs more than that, does without the last two. Says in the log what
 * it had to leave out. Before other threads and event loops are started, which take descriptors past
 * the filter else. Refuses to go on as root. -1: *error_r (free() it; NULL out of memory). */
int sandbox_enter(const struct sandbox *sandbox, char **error_r);

#endif
