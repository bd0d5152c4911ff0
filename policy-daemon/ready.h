/* Whoever started the daemon learns when it works, and when it ends: the process that went into the
 * background, whose parent waits for that, and systemd (sd_notify(3)). */
#ifndef HOMING_READY_H
#define HOMING_READY_H

#include <stdbool.h>

struct ready {
	int parent;  /* a pipe to the process that waits; -1: in the foreground */
	int null;    /* /dev/null, for then; -1 */
	int systemd; /* a datagram socket; -1: nobody asked */
};

/* Opens what the calls below need, which no file and no address may be opened for any more. With
 * `background` the caller goes on as a child process in a session of its own; its parent never
 * returns from here, but exits with 0 at ready_tell(), or else with the child's exit status.
 * -1: errno. */
int ready_begin(struct ready *ready, bool background);

/* It works: lets the parent go, and leaves the terminal. */
void ready_tell(struct ready *ready);

/* It is about to end. */
void ready_stopping(struct ready *ready);

void ready_finish(struct ready *ready);

#endif
