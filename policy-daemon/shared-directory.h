/* One directory for all threads of the process, which must not open its files twice (store.h). Where
 * it cannot be opened at the start, as before the first `homingctl apply`, that is tried again. */
#ifndef HOMING_SHARED_DIRECTORY_H
#define HOMING_SHARED_DIRECTORY_H

#include <stdbool.h>
#include <stdint.h>

#include "router/directory.h"

struct shared_directory;

/* Opens nothing yet. `path` is copied. NULL: out of memory. */
struct shared_directory *shared_directory_create(const char *path);

/* The directory, opened (DIRECTORY_NAMES) by the first call that can; from any thread. It stays open
 * until shared_directory_destroy(), so a thread may keep the pointer. NULL: *error says why; the
 * opening is tried at most once a second, calls in between get the last failure again. */
MUST_CHECK struct directory *shared_directory_get(struct shared_directory *shared,
						  struct error *error);

/* After all readers were destroyed. NULL inside is fine. */
void shared_directory_destroy(struct shared_directory **shared);

/* One thread's view of it. Zeroed, with `shared` set, it is ready for use. */
struct directory_view {
	struct shared_directory *shared;
	struct directory_reader *reader; /* NULL until the directory was opened */
	struct directory *directory;
	bool looked;	    /* at the files, ever */
	bool failed;	    /* the last look found nothing usable */
	uint64_t looked_ms; /* when */
	struct error error; /* what it found */
};

/* Begins a snapshot. `now_ms` is a clock that only goes forward, as uv_now(): the files are looked at
 * (directory_check) when it has moved on since the last look, a tenth of a second later after a
 * failure. NULL: nothing can be looked up now, *error says why; it recovers by itself. */
MUST_CHECK struct directory_reader *directory_view_begin(struct directory_view *view,
							 uint64_t now_ms, struct error *error);
void directory_view_end(struct directory_view *view);
void directory_view_finish(struct directory_view *view);

#endif
