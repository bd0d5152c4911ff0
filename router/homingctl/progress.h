/* A progress bar on standard error, where that is a terminal, for what takes over a second. */
#ifndef HOMINGCTL_PROGRESS_H
#define HOMINGCTL_PROGRESS_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

struct progress {
	const char *what; /* the phase at hand */
	uint64_t total;
	unsigned calls;
	int shown; /* percent on the screen; -1 none */
	bool terminal;
	struct timespec start;
};

void progress_init(struct progress *progress);
/* A new phase; the bar begins again. */
void progress_phase(struct progress *progress, const char *what, uint64_t total);
/* Cheap: call it for each item. */
void progress_step(struct progress *progress, uint64_t done);
/* Takes the bar off the screen, before anything else is printed. */
void progress_clear(struct progress *progress);

#endif
