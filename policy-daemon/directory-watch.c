/* A timer, and what was seen last. */
#include "directory-watch.h"

#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>

#include "log.h"
#include "router/directory-format.h"

enum { BETWEEN_LOOKS_MS = 1000 };

/* Landlock's permission is for the folder that was there at the start. A file that is replaced is
 * within it; a whole folder that is moved to the same path is not. */
static void look_at_folder(struct directory_watch *watch)
{
	struct stat now;

	if (watch->folder.st_ino == 0 || stat(watch->path, &now) < 0 ||
	    (now.st_dev == watch->folder.st_dev && now.st_ino == watch->folder.st_ino))
		return;
	log_line(LOG_LEVEL_ERROR, "directory=%s: another folder was put there, which this process may "
		 "not open: it has to be started again", watch->path);
	watch->folder.st_ino = 0;
	watch->replaced(watch->context);
}

/* Who has the lock file open notices nothing, until somebody new wants to read. */
static void look_at_lock_file(struct directory_watch *watch)
{
	char path[PATH_MAX];
	struct stat status;

	snprintf(path, sizeof path, "%s/" DIRECTORY_FILE "-lock", watch->path);
	bool missing = stat(path, &status) < 0 && errno == ENOENT;
	if (missing && !watch->unlocked)
		log_line(LOG_LEVEL_ERROR, "%s: the lock file is missing: who has the directory open goes "
			 "on, nobody else can open it: run `homingctl status` as root, which makes it "
			 "again", path);
	else if (!missing && watch->unlocked)
		log_line(LOG_LEVEL_INFO, "%s: the lock file is there again", path);
	watch->unlocked = missing;
}

static void note_failure(struct directory_watch *watch, const struct error *error)
{
	if (watch->usable || !watch->looked)
		log_line(LOG_LEVEL_ERROR, "directory=%s: nothing can be looked up: %s; requests get a "
			 "temporary failure until that is mended", watch->path, error->text);
	watch->usable = false;
	watch->version = 0;
	if (error->code == ERROR_PERMISSION)
		look_at_folder(watch);
}

static void note_sequence(struct directory_watch *watch, uint64_t sequence)
{
	if (!watch->usable && watch->looked)
		log_line(LOG_LEVEL_INFO, "directory=%s sequence=%" PRIu64 ": usable again",
			 watch->path, sequence);
	else if (!watch->looked)
		log_line(LOG_LEVEL_INFO, "directory=%s sequence=%" PRIu64, watch->path, sequence);
	else if (sequence != watch->sequence)
		log_line(LOG_LEVEL_INFO, "directory=%s sequence=%" PRIu64 ": changed, was %" PRIu64,
			 watch->path, sequence, watch->sequence);
	watch->usable = true;
	watch->sequence = sequence;
}

static void look(struct directory_watch *watch)
{
	struct error error = {0};
	uint64_t sequence = watch->sequence;
	struct directory_reader *reader =
		directory_view_begin(&watch->view, uv_now(watch->timer.loop), &error);

	if (!reader) {
		note_failure(watch, &error);
		return;
	}
	uint64_t version = directory_snapshot(reader);
	int answer = 0;
	if (version != watch->version) {
		answer = directory_sequence(reader, &sequence, &error);
		watch->version = version;
	}
	directory_view_end(&watch->view);
	if (answer < 0)
		note_failure(watch, &error);
	else
		note_sequence(watch, sequence);
	if (watch->usable)
		look_at_lock_file(watch);
}

static void on_timer(uv_timer_t *timer)
{
	look(timer->data);
}

void directory_watch_start(struct directory_watch *watch, uv_loop_t *loop,
			   struct shared_directory *shared, const char *path)
{
	watch->path = path;
	watch->view.shared = shared;
	if (stat(path, &watch->folder) < 0)
		watch->folder.st_ino = 0;
	uv_timer_init(loop, &watch->timer);
	watch->timer.data = watch;
	look(watch);
	watch->looked = true;
	uv_timer_start(&watch->timer, on_timer, BETWEEN_LOOKS_MS, BETWEEN_LOOKS_MS);
}

void directory_watch_stop(struct directory_watch *watch)
{
	uv_close((uv_handle_t *)&watch->timer, NULL);
	directory_view_finish(&watch->view);
}
