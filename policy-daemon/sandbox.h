/* What the daemon gives up once it listens. */
#ifndef HOMING_SANDBOX_H
#define HOMING_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

/* AddressSanitizer reads /proc, traces itself to look for leaks, and starts a program to print where
 * it found something; ThreadSanitizer and valgrind do likewise, and for valgrind the build says so. */
#ifdef SANDBOX_SANITIZED
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANDBOX_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer) || \
	__has_feature(thread_sanitizer)
#define SANDBOX_SANITIZED 1
#endif
#endif
#ifndef SANDBOX_SANITIZED
#define SANDBOX_SANITIZED 0
#endif

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
 * with sanitizers, which need more than that, does without the last two. Says in the log what
 * it had to leave out. Before other threads and event loops are started, which take descriptors past
 * the filter else. Refuses to go on as root. -1: *error_r (free() it; NULL out of memory). */
int sandbox_enter(const struct sandbox *sandbox, char **error_r);

#endif
