/* The files of the directory, opened once in a process however many blocks name them: LMDB allows
 * no second opening of a file. Opened at the first lookup, as the user that the process runs as
 * then, and again after whatever happened to them. */
#ifndef HOMING_SOURCES_H
#define HOMING_SOURCES_H

#include "router/directory.h"

struct answers;

struct source {
	char *path;	  /* the directory */
	unsigned parts;	  /* of enum directory_part */
	struct directory *directory; /* NULL until it could be opened */
	struct directory_reader *reader;
	struct timeval checked;	 /* the round of the event loop in which it was last looked at */
	char failure[600];	 /* what was last logged; "" while all is well */
	time_t failure_logged;
	struct answers *answers; /* NULL until the first */
};

/* The names (directory.mdb) and the passwords (credentials.mdb) below a path; the same ones for the
 * same path. Valid until homing_sources_deinit(). */
struct source *homing_source_names(const char *path);
struct source *homing_source_credentials(const char *path);

/* Is it there, whole, and open? 0 or -1 with an error. Cheap when called again and again in one
 * round of the event loop. */
int homing_source_ready(struct source *source, struct error *error);

/* Logs why a lookup cannot be answered now: as an error, but the same one not for every login. */
void homing_source_failed(struct source *source, struct event *event, const struct error *error);

void homing_sources_deinit(void);

#endif
