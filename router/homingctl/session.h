/* The directory as a command opens it, and the names that its arguments mean. */
#ifndef HOMINGCTL_SESSION_H
#define HOMINGCTL_SESSION_H

#include "command.h"
#include "directory-write.h"
#include "directory.h"
#include "name.h"

/* One snapshot of the directory. A process may open a file only once: close the session before
 * a writer is opened. */
struct session {
	struct directory *directory;
	struct directory_reader *reader;
};

/* 0, or an exit code after a complaint. session_close accepts a session that was not opened. */
int session_open(const struct call *call, unsigned parts, struct session *session);
void session_close(struct session *session);

/* Opens for writing what exists. 0, or an exit code after a complaint. */
int writer_open(const struct call *call, struct directory_writer **writer_r);

/* A name of ours: canonical. */
struct entry_name {
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];
	char address[ADDRESS_SIZE]; /* local@domain */
};

/* Adds the main domain to a name without `@`; others stay as they are. Free with
 * names_free. 0, or an exit code after a complaint. */
int names_qualify(const struct call *call, const char *const *names, size_t count,
		  char ***names_r);
void names_free(char **names);

/* Parses an argument; a bare name belongs to the main domain. 0, or an exit code after a
 * complaint. */
int entry_name_parse(const struct call *call, const char *text, struct entry_name *name_r);
/* All arguments of the call from the first one on. Free *names_r. */
int entry_names_parse(const struct call *call, size_t first, struct entry_name **names_r,
		      size_t *count_r);

/* A domain given as an argument, in canonical form. */
int domain_argument(const char *text, char domain_r[DOMAIN_SIZE]);

#endif
