/* directory.mdb and sharing.mdb as this process has them open: once, however many users it serves,
 * because LMDB allows no second opening of a file. Opened at the first use, and again after whatever
 * happened to them. sharing.mdb is open either for reading or for writing, never both. */
#ifndef HOMING_FILES_H
#define HOMING_FILES_H

#include "router/directory.h"
#include "router/sharing-write.h"
#include "router/sharing.h"

struct homing_files;

/* The same ones for the same folder. Opens nothing yet. */
struct homing_files *homing_files_ref(const char *path);
void homing_files_unref(struct homing_files **files);

const char *homing_files_path(const struct homing_files *files);

/* Snapshots of both, directory.mdb first; may be nested: end as often as begun. -1: *error. Once in
 * each round of the event loop it looks whether the files are still the same and whole. */
MUST_CHECK int homing_files_begin(struct homing_files *files, struct error *error);
void homing_files_end(struct homing_files *files);
/* Between begin and end. */
struct directory_reader *homing_files_directory(struct homing_files *files);
struct sharing *homing_files_sharing(struct homing_files *files);

/* Another number after every change of either file. While they cannot be read, another one at every
 * call. Never 0. */
uint64_t homing_files_version(struct homing_files *files);

/* For a change: stops reading sharing.mdb and opens it for writing, and the way back. -1 *error, also
 * while a snapshot is open: ERROR_BUSY. */
MUST_CHECK int homing_files_write(struct homing_files *files, struct sharing_writer **writer_r,
				  struct error *error);
void homing_files_written(struct homing_files *files, struct sharing_writer **writer);

/* Logs a failure as an error; the same one again only after some seconds, in between for debugging. */
void homing_files_log(struct homing_files *files, struct event *event, const char *doing,
		      const struct error *error);

#endif
