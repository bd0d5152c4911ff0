/* What unit tests and fuzz targets share: a directory made from JSON text in a temporary folder.
 * What cannot be made ends the program with a message: no test can go on without it. */
#ifndef HOMING_TEST_SUPPORT_H
#define HOMING_TEST_SUPPORT_H

#include <stddef.h>

#include "directory.h"
#include "route.h"

/* Prints the message to standard error and exits with 1. */
_Noreturn void support_die(const char *format, ...) HOMING_PRINTF(1, 2);

/* A new temporary folder; its path is the caller's to give to support_folder_remove. */
char *support_folder(void);
void support_folder_remove(char **folder);

/* FOLDER/NAME in a buffer that the caller frees. */
char *support_path(const char *folder, const char *name);

void support_write_file(const char *path, const void *bytes, size_t length);
/* The bytes of a file, a NUL behind them, the caller's to free. */
char *support_read_file(const char *path, size_t *length_r);

/* Applies homing.json, given as text, to the directory in the folder; makes it if there is none. */
void support_apply(const char *folder, const char *json);

/* Adds names, written as in tests/cases/names. */
void support_add_names(const char *folder, const char *names);

/* For cmocka: a folder with that directory and those names as the test's state, and its end. */
int support_setup(void **state, const char *json, const char *names);
int support_teardown(void **state);

/* The directory of tests/cases in the folder. */
void support_golden(const char *folder);

/* An open directory with one reader, in no snapshot. */
struct support_open {
	struct directory *directory;
	struct directory_reader *reader;
};
struct support_open support_open(const char *folder, unsigned parts);
void support_close(struct support_open *open);

/* Routes in a snapshot of its own. Failure of the directory ends the program. The answer is to be
 * finished. */
void support_route(struct directory_reader *reader, const struct route_question *question,
		   struct route_answer *answer_r, struct route_trace *trace);

/* Does the account that an answer names route to itself, as a login and as an address? NULL, or
 * what is wrong, until the next call in this thread. Within a snapshot. */
const char *support_not_idempotent(struct directory_reader *reader,
				   const struct route_answer *answer);

/* A number from the environment, or the preset. */
unsigned long support_number(const char *variable, unsigned long preset);

/* Numbers that look random and are the same in every run (splitmix64); `state` is the seed. */
uint64_t support_random(uint64_t *state);

#endif
