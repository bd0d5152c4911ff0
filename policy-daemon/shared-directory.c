/* The directory behind a lock, and when it was last tried to open it. */
#include "shared-directory.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

static const uint64_t between_tries_ns = 1000000000;

struct shared_directory {
	pthread_mutex_t lock; /* over all that follows */
	char *path;
	struct directory *directory; /* NULL: not opened yet */
	uint64_t tried;		     /* uv_hrtime() of the last failure; 0: never tried */
	struct error error;	     /* that failure */
};

struct shared_directory *shared_directory_create(const char *path)
{
	struct shared_directory *shared = calloc(1, sizeof *shared);

	if (!shared)
		return NULL;
	shared->path = strdup(path);
	if (!shared->path) {
		free(shared);
		return NULL;
	}
	pthread_mutex_init(&shared->lock, NULL);
	return shared;
}

/* With the lock held: whoever comes at this moment waits, and then has the directory. */
static void try_to_open(struct shared_directory *shared)
{
	uint64_t now = uv_hrtime();

	if (shared->directory || (shared->tried != 0 && now - shared->tried < between_tries_ns))
		return;
	error_clear(&shared->error);
	if (directory_open(shared->path, DIRECTORY_NAMES, &shared->directory, &shared->error) < 0)
		shared->tried = now;
}

struct directory *shared_directory_get(struct shared_directory *shared, struct error *error)
{
	pthread_mutex_lock(&shared->lock);
	try_to_open(shared);
	struct directory *directory = shared->directory;
	if (!directory)
		error_set(error, shared->error.code, "%s", shared->error.text);
	pthread_mutex_unlock(&shared->lock);
	return directory;
}

void shared_directory_destroy(struct shared_directory **shared_p)
{
	struct shared_directory *shared = *shared_p;

	if (!shared)
		return;
	directory_close(&shared->directory);
	pthread_mutex_destroy(&shared->lock);
	free(shared->path);
	free(shared);
	*shared_p = NULL;
}

/* Opens what is not open yet, and looks at the files. */
static int look(struct directory_view *view)
{
	error_clear(&view->error);
	if (!view->directory)
		view->directory = shared_directory_get(view->shared, &view->error);
	if (!view->directory)
		return -1;
	if (!view->reader &&
	    directory_reader_create(view->directory, &view->reader, &view->error) < 0)
		return -1;
	return directory_check(view->directory, &view->error);
}

/* A broken directory costs a dozen system calls a look; so often is often enough then. */
enum { AFTER_FAILURE_MS = 100 };

static bool is_due(const struct directory_view *view, uint64_t now_ms)
{
	uint64_t passed = now_ms - view->looked_ms;

	return !view->looked || (view->failed ? passed >= AFTER_FAILURE_MS : passed > 0);
}

struct directory_reader *directory_view_begin(struct directory_view *view, uint64_t now_ms,
					      struct error *error)
{
	if (is_due(view, now_ms)) {
		view->looked = true;
		view->looked_ms = now_ms;
		view->failed = look(view) < 0;
	}
	if (view->failed) {
		error_set(error, view->error.code, "%s", view->error.text);
		return NULL;
	}
	return directory_begin(view->reader, error) == 0 ? view->reader : NULL;
}

void directory_view_end(struct directory_view *view)
{
	directory_end(view->reader);
}

void directory_view_finish(struct directory_view *view)
{
	directory_reader_destroy(&view->reader);
	view->directory = NULL;
}
