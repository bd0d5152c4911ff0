/* What the daemon gives up once it listens. */
#ifndef HOMING_SANDBOX_H
#define HOMING_SANDBOX_H

#include <stdbool.h>

struct sandbox {
	const char *user;      /* to become, when started as root; NULL: stay */
	const char *directory; /* the one folder whose files may be opened from now on */
	const char *userdb;    /* the one UNIX socket that may be connected to; NULL: none */
	bool syslog;	       /* /dev/log may be connected to again */
};

/* In this order: supplementary groups, group and user of `user` (initgroups, so that the groups
 * that may read the directory count); no_new_privs; no core dumps; Landlock where the kernel has it
 * (files below the folder alone); a seccomp filter that allows what an event loop, its threads and
 * LMDB need, and kills the process (with a log line from the kernel) at anything else. Before
 * other threads are started. -1: *error_r (free() it). */
int sandbox_enter(const struct sandbox *sandbox, char **error_r);

#endif
