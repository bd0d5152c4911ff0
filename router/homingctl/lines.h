/* The lines of a file, in order or by their place in it. */
#ifndef HOMINGCTL_LINES_H
#define HOMINGCTL_LINES_H

#include <stddef.h>
#include <stdint.h>

enum { LINE_MAX_BYTES = 65536 };

struct lines {
	int fd;
	char *buffer;
	uint64_t offset; /* in the file, of buffer[0] */
	size_t filled;
	uint64_t expected; /* where the next line begins if lines are read in order */
};

/* 0, or -1 out of memory. The descriptor stays the caller's. */
int lines_init(struct lines *lines, int fd);
void lines_finish(struct lines *lines);

/* The line at `offset`, without its newline, valid until the next call; *next_r is where the
 * following one begins. 1; 0 at the end of the file; -1 for an error (errno); -2 if it is
 * longer than LINE_MAX_BYTES: then *next_r is still right. */
int lines_get(struct lines *lines, uint64_t offset, const char **line_r, size_t *length_r,
	      uint64_t *next_r);

#endif
