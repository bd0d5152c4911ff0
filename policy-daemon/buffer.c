/* Growing by doubling, shrinking to nothing. */
#include "buffer.h"

#include <stdlib.h>
#include <string.h>

enum { SMALLEST = 4096 };

bool buffer_reserve(struct buffer *buffer, size_t room)
{
	size_t size = buffer->size > 0 ? buffer->size : SMALLEST;

	while (size - buffer->length < room)
		size *= 2;
	if (size == buffer->size)
		return true;
	char *data = realloc(buffer->data, size);
	if (!data)
		return false;
	buffer->data = data;
	buffer->size = size;
	return true;
}

bool buffer_add(struct buffer *buffer, const char *data, size_t length)
{
	if (length == 0)
		return true;
	if (!buffer_reserve(buffer, length))
		return false;
	memcpy(buffer->data + buffer->length, data, length);
	buffer->length += length;
	return true;
}

void buffer_drop(struct buffer *buffer, size_t length)
{
	buffer->length -= length;
	if (buffer->length == 0)
		buffer_finish(buffer);
	else if (length > 0)
		memmove(buffer->data, buffer->data + length, buffer->length);
}

void buffer_finish(struct buffer *buffer)
{
	free(buffer->data);
	*buffer = (struct buffer){0};
}
