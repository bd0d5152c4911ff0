/* Looks at the directory once a second, on the main thread's loop: for the log, and for the metrics.
 * The workers look for themselves. */
#ifndef HOMING_DIRECTORY_WATCH_H
#define HOMING_DIRECTORY_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>
#include <uv.h>

#include "shared-directory.h"

struct directory_watch {
	bool usable;	   /* at the last look */
	uint64_t sequence; /* of the last directory that was usable */
	/* Called once where the folder has become another one, which Landlock keeps this process from. */
	void (*replaced)(void *context);
	void *context;
	/* its own */
	const char *path;
	struct directory_view view;
	uv_timer_t timer;
	bool looked;
	bool unlocked; /* its lock file was missing at the last look */
	uint64_t version;
	struct stat folder; /* at the start; st_ino 0: was not there */
};

/* With `replaced` and `context` set, and the rest 0. Looks for the first time and says in the log
 * what it found. `path` stays the caller's. After sandbox_enter(). */
void directory_watch_start(struct directory_watch *watch, uv_loop_t *loop,
			   struct shared_directory *shared, const char *path);
/* The timer is closed when the loop has run the closing callbacks. */
void directory_watch_stop(struct directory_watch *watch);

#endif
