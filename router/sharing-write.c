/* sharing.mdb, opened for changes. */
#include "sharing-write.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "sharing-edit.h"

static const struct store_kind sharing_kind = {
	.name = "sharing",
	.tables = sharing_tables,
	.mode = 0660,
	.group = HOMING_GROUP,
	.since = SHARING_SINCE,
};

int sharing_writer_make(const char *path, bool create, struct sharing_writer **writer_r,
			struct error *error)
{
	struct sharing_writer *writer = calloc(1, sizeof *writer);

	if (!writer)
		return store_error(error, ENOMEM, "open", path);
	if (asprintf(&writer->path, "%s/%s", path, SHARING_FILE) < 0) {
		free(writer);
		return store_error(error, ENOMEM, "open", path);
	}
	int answer = store_writer_open(writer->path, &sharing_kind, create, &writer->store, error);
	if (answer < 0)
		sharing_writer_close(&writer);
	else
		*writer_r = writer;
	return answer;
}

int sharing_writer_open(const char *path, struct sharing_writer **writer_r, struct error *error)
{
	return sharing_writer_make(path, false, writer_r, error);
}

void sharing_writer_close(struct sharing_writer **writer)
{
	if (!*writer)
		return;
	store_writer_close(&(*writer)->store);
	free((*writer)->path);
	free(*writer);
	*writer = NULL;
}
