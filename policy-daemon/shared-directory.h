/* One directory for all threads of the process, which must not open its files twice (store.h). Where
 * it cannot be opened at the start, as before the first `homingctl apply`, that is tried again. */
#ifndef HOMING_SHARED_DIRECTORY_H
#define HOMING_SHARED_DIRECTORY_H

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

#endif
