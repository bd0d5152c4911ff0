/* The files of the directory, as a mail process has them open. */
#include "compat.h"

#include "files.h"

/* The same failure is an error in the log this often, in seconds. */
#define LOG_AGAIN_SECS 10

struct homing_files {
	char *path;
	unsigned int references;

	struct directory *directory; /* NULL until it could be opened */
	struct directory_reader *reader;
	struct sharing *sharing;    /* NULL until it could be opened, and during a change */
	struct timeval looked;	    /* the round of the event loop in which they were looked at */
	struct error failure;	    /* what was wrong then */
	unsigned int depth;	    /* of snapshots that are open */
	bool writing;

	uint64_t directory_version, sharing_version; /* when `version` was last given out */
	uint64_t version;

	char logged[sizeof(((struct error *)NULL)->text)];
	time_t logged_at;
};

static ARRAY(struct homing_files *) all_files = ARRAY_INIT;

struct homing_files *homing_files_ref(const char *path)
{
	struct homing_files *files;

	if (!array_is_created(&all_files))
		i_array_init(&all_files, 2);
	array_foreach_elem(&all_files, files) {
		if (strcmp(files->path, path) == 0) {
			files->references++;
			return files;
		}
	}
	files = i_new(struct homing_files, 1);
	files->path = i_strdup(path);
	files->references = 1;
	files->version = 1;
	array_push_back(&all_files, &files);
	return files;
}

static void forget(struct homing_files *gone)
{
	struct homing_files *const *files;

	array_foreach(&all_files, files) {
		if (*files == gone) {
			array_delete(&all_files, array_foreach_idx(&all_files, files), 1);
			break;
		}
	}
	if (array_count(&all_files) == 0)
		array_free(&all_files);
}

void homing_files_unref(struct homing_files **_files)
{
	struct homing_files *files = *_files;

	*_files = NULL;
	if (files == NULL || --files->references > 0)
		return;
	i_assert(files->depth == 0 && !files->writing);
	forget(files);
	sharing_close(&files->sharing);
	directory_reader_destroy(&files->reader);
	directory_close(&files->directory);
	i_free(files->path);
	i_free(files);
}

const char *homing_files_path(const struct homing_files *files)
{
	return files->path;
}

static int open_directory(struct homing_files *files, struct error *error)
{
	if (directory_open(files->path, DIRECTORY_NAMES, &files->directory, error) < 0)
		return -1;
	if (directory_reader_create(files->directory, &files->reader, error) < 0) {
		directory_close(&files->directory);
		return -1;
	}
	return 0;
}

static bool is_new_round(const struct homing_files *files)
{
	return files->looked.tv_sec != ioloop_timeval.tv_sec ||
	       files->looked.tv_usec != ioloop_timeval.tv_usec;
}

static int look(struct homing_files *files, bool again, struct error *error)
{
	if (files->directory == NULL) {
		if (open_directory(files, error) < 0)
			return -1;
	} else if (again && directory_check(files->directory, error) < 0) {
		return -1;
	}
	if (files->sharing == NULL)
		return sharing_open(files->path, &files->sharing, error);
	return again ? sharing_check(files->sharing, error) : 0;
}

/* Are both there, whole, and open for reading? */
static int make_ready(struct homing_files *files, struct error *error)
{
	bool again = is_new_round(files);

	if (files->writing)
		return error_set(error, ERROR_BUSY, "sharing.mdb is being changed");
	if (!again && files->failure.code != ERROR_NONE) {
		*error = files->failure;
		return -1;
	}
	if (!again && files->sharing != NULL)
		return 0;
	error_clear(&files->failure);
	files->looked = ioloop_timeval;
	if (look(files, again, &files->failure) == 0) {
		error_clear(&files->failure);
		return 0;
	}
	*error = files->failure;
	return -1;
}

/* A new version where the files are not as they were when the last one was given out. */
static void compare_versions(struct homing_files *files, uint64_t names, uint64_t grants)
{
	if (names != files->directory_version || grants != files->sharing_version) {
		files->directory_version = names;
		files->sharing_version = grants;
		files->version++;
	}
}

/* In the moment of a commit, the files are newer already than what a snapshot shows. What is then
 * found out under the version of the files is of before, and must not be taken for what is after:
 * this makes another version of it. */
static void compare_snapshots(struct homing_files *files)
{
	compare_versions(files, directory_snapshot(files->reader), sharing_snapshot(files->sharing));
}

static int open_snapshots(struct homing_files *files, struct error *error)
{
	if (make_ready(files, error) < 0)
		return -1;
	if (directory_begin(files->reader, error) < 0)
		return -1;
	if (sharing_begin(files->sharing, error) < 0) {
		directory_end(files->reader);
		return -1;
	}
	compare_snapshots(files);
	return 0;
}

int homing_files_begin(struct homing_files *files, struct error *error)
{
	if (files->depth == 0 && open_snapshots(files, error) < 0)
		return -1;
	files->depth++;
	return 0;
}

void homing_files_end(struct homing_files *files)
{
	i_assert(files->depth > 0);
	if (--files->depth > 0)
		return;
	sharing_end(files->sharing);
	directory_end(files->reader);
}

struct directory_reader *homing_files_directory(struct homing_files *files)
{
	i_assert(files->depth > 0);
	return files->reader;
}

struct sharing *homing_files_sharing(struct homing_files *files)
{
	i_assert(files->depth > 0);
	return files->sharing;
}

uint64_t homing_files_version(struct homing_files *files)
{
	struct error error = {0};

	if (files->depth > 0) {
		compare_snapshots(files);
		return files->version;
	}
	if (make_ready(files, &error) < 0)
		return ++files->version;
	compare_versions(files, directory_version(files->directory),
			 sharing_version(files->sharing));
	return files->version;
}

int homing_files_write(struct homing_files *files, struct sharing_writer **writer_r,
		       struct error *error)
{
	if (files->depth > 0 || files->writing) {
		return error_set(error, ERROR_BUSY,
				 "%s/sharing.mdb is being read by this very process: try again",
				 files->path);
	}
	sharing_close(&files->sharing);
	if (sharing_writer_open(files->path, writer_r, error) < 0)
		return -1;
	files->writing = TRUE;
	return 0;
}

void homing_files_written(struct homing_files *files, struct sharing_writer **writer)
{
	sharing_writer_close(writer);
	files->writing = FALSE;
	files->sharing_version = 0; /* versions of another opening cannot be compared */
}

void homing_files_log(struct homing_files *files, struct event *event, const char *doing,
		      const struct error *error)
{
	if (strcmp(files->logged, error->text) == 0 &&
	    files->logged_at + LOG_AGAIN_SECS > ioloop_time) {
		e_debug(event, "homing: %s: %s", doing, error->text);
		return;
	}
	i_strocpy(files->logged, error->text, sizeof(files->logged));
	files->logged_at = ioloop_time;
	e_error(event, "homing: %s: %s", doing, error->text);
}
