/* The files of the directory, as this process has them open. */
#include "compat.h"

#include "answers.h"
#include "sources.h"

/* The same failure is an error in the log this often, in seconds. */
#define LOG_AGAIN_SECS 10

static ARRAY(struct source *) sources = ARRAY_INIT;

static struct source *find_source(const char *path, unsigned parts)
{
	struct source *source;

	if (!array_is_created(&sources))
		i_array_init(&sources, 4);
	array_foreach_elem(&sources, source) {
		if (strcmp(source->path, path) == 0 && source->parts == parts)
			return source;
	}
	source = i_new(struct source, 1);
	source->path = i_strdup(path);
	source->parts = parts;
	array_push_back(&sources, &source);
	return source;
}

struct source *homing_source_names(const char *path)
{
	return find_source(path, DIRECTORY_NAMES);
}

struct source *homing_source_credentials(const char *path)
{
	return find_source(path, DIRECTORY_CREDENTIALS_ALONE);
}

static int open_source(struct source *source, struct error *error)
{
	if (directory_open(source->path, source->parts, &source->directory, error) < 0)
		return -1;
	if (directory_reader_create(source->directory, &source->reader, error) < 0) {
		directory_close(&source->directory);
		return -1;
	}
	return 0;
}

int homing_source_ready(struct source *source, struct error *error)
{
	if (source->directory == NULL) {
		if (open_source(source, error) < 0)
			return -1;
	} else if (source->checked.tv_sec != ioloop_timeval.tv_sec ||
		   source->checked.tv_usec != ioloop_timeval.tv_usec) {
		if (directory_check(source->directory, error) < 0)
			return -1;
	} else {
		return 0;
	}
	source->checked = ioloop_timeval;
	source->failure[0] = '\0';
	return 0;
}

void homing_source_failed(struct source *source, struct event *event, const struct error *error)
{
	if (strcmp(source->failure, error->text) == 0 &&
	    source->failure_logged + LOG_AGAIN_SECS > ioloop_time) {
		e_info(event, "refused for now: %s", error->text);
		return;
	}
	i_strocpy(source->failure, error->text, sizeof(source->failure));
	source->failure_logged = ioloop_time;
	e_error(event, "refused for now: %s", error->text);
}

void homing_sources_deinit(void)
{
	struct source *source;

	if (!array_is_created(&sources))
		return;
	array_foreach_elem(&sources, source) {
		homing_answers_free(&source->answers);
		directory_reader_destroy(&source->reader);
		directory_close(&source->directory);
		i_free(source->path);
		i_free(source);
	}
	array_free(&sources);
}
