/* Taking a fuzzer's input apart: every piece in a block of its own length, so that a sanitizer sees
 * what is read behind it. */
#ifndef HOMING_FUZZ_INPUT_H
#define HOMING_FUZZ_INPUT_H

#include <stdbool.h>
#include <string.h>

#include "fuzz.h"

struct input {
	const uint8_t *next;
	size_t left;
};

static inline struct input input_of(const uint8_t *bytes, size_t length)
{
	return (struct input){bytes, length};
}

/* 0 where there is none. */
static inline uint8_t input_byte(struct input *input)
{
	if (input->left == 0)
		return 0;
	input->left--;
	return *input->next++;
}

/* A copy with a NUL behind it; free() it. */
static inline char *input_take(struct input *input, size_t length)
{
	if (length > input->left)
		length = input->left;
	char *copy = malloc(length + 1);
	FUZZ_EXPECT(copy);
	if (length > 0)
		memcpy(copy, input->next, length);
	copy[length] = '\0';
	input->next += length;
	input->left -= length;
	return copy;
}

/* Up to the next newline, which is skipped; the last one takes the rest. As a C string it may end
 * before, at a NUL. */
static inline char *input_line(struct input *input)
{
	const uint8_t *end = input->left > 0 ? memchr(input->next, '\n', input->left) : NULL;
	char *line = input_take(input, end ? (size_t)(end - input->next) : input->left);

	if (end) {
		input->next++;
		input->left--;
	}
	return line;
}

/* One line of text for people: not empty, no control characters. */
static inline bool input_is_message(const char *text)
{
	if (!*text)
		return false;
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return false;
	return true;
}

#endif
