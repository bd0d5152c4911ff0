/* Bytes that wait: what has come of a request, what is left of a reply. Holds no memory while it is
 * empty, because most connections are silent most of the time. */
#ifndef HOMING_BUFFER_H
#define HOMING_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

struct buffer {
	char *data; /* NULL when empty */
	size_t length, size;
};

/* Room for at least `room` bytes behind what is there. False: out of memory, nothing changed. */
bool buffer_reserve(struct buffer *buffer, size_t room);
bool buffer_add(struct buffer *buffer, const char *data, size_t length);
/* Takes bytes away at the front; the last one gives the memory back. */
void buffer_drop(struct buffer *buffer, size_t length);
void buffer_finish(struct buffer *buffer);

#endif
