/* The lines of a file. Read, not mapped: a file that somebody cuts meanwhile gives an error
 * and not a signal. */
#include "lines.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum {
	BUFFER_SIZE = 4 * LINE_MAX_BYTES,
	NEAR_READ = 1024, /* what one line out of order is likely to need */
};

int lines_init(struct lines *lines, int fd)
{
	*lines = (struct lines){.fd = fd, .buffer = malloc(BUFFER_SIZE)};
	return lines->buffer ? 0 : -1;
}

void lines_finish(struct lines *lines)
{
	free(lines->buffer);
	lines->buffer = NULL;
}

/* Fills the buffer from `offset` with up to `wanted` bytes. */
static int fill(struct lines *lines, uint64_t offset, size_t wanted)
{
	lines->offset = offset;
	lines->filled = 0;
	while (lines->filled < wanted) {
		ssize_t got = pread(lines->fd, lines->buffer + lines->filled, wanted - lines->filled,
				    (off_t)(offset + lines->filled));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return -1;
		if (got == 0)
			break;
		lines->filled += (size_t)got;
	}
	return 0;
}

/* The newline of the line at `offset` in the buffer; NULL if the buffer ends before. */
static const char *find_end(const struct lines *lines, uint64_t offset)
{
	if (offset < lines->offset || offset >= lines->offset + lines->filled)
		return NULL;
	size_t start = (size_t)(offset - lines->offset);
	return memchr(lines->buffer + start, '\n', lines->filled - start);
}

/* Skips a line that is too long. */
static int find_next(struct lines *lines, uint64_t offset, uint64_t *next_r)
{
	for (;;) {
		if (fill(lines, offset, BUFFER_SIZE) < 0)
			return -1;
		const char *end = find_end(lines, offset);
		if (end || lines->filled == 0) {
			*next_r = offset + (end ? (uint64_t)(end - lines->buffer) + 1 : 0);
			return -2;
		}
		offset += lines->filled;
	}
}

int lines_get(struct lines *lines, uint64_t offset, const char **line_r, size_t *length_r,
	      uint64_t *next_r)
{
	bool in_order = offset == lines->expected;
	const char *end = find_end(lines, offset);

	if (!end && !in_order) {
		if (fill(lines, offset, NEAR_READ) < 0)
			return -1;
		end = find_end(lines, offset);
	}
	if (!end) {
		if (fill(lines, offset, BUFFER_SIZE) < 0)
			return -1;
		if (lines->filled == 0)
			return 0;
		end = find_end(lines, offset);
	}
	const char *line = lines->buffer + (offset - lines->offset);
	size_t length = end ? (size_t)(end - line) : (size_t)(lines->buffer + lines->filled - line);
	if (length > LINE_MAX_BYTES)
		return find_next(lines, offset, next_r);
	*line_r = line;
	*length_r = length;
	*next_r = lines->expected = offset + length + (end ? 1 : 0);
	return 1;
}
