/* A walk over the bytes of a JSON text that jansson has found valid. jansson gives values
 * without places; here a value is a place, its offset in the text, so that a mistake in it can be
 * shown where it stands, and keys that stand twice are both seen. */
#ifndef HOMING_JSON_TEXT_H
#define HOMING_JSON_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* The text is the caller's. `marks` is made by the first json_text_position, and freed by
 * json_text_finish. */
struct json_text {
	const char *bytes;
	size_t length;
	struct json_position *marks;
	size_t mark_count;
};
void json_text_finish(struct json_text *text);

/* Is this JSON beyond doubt, of the plain kind that a configuration is written in: no \u escapes, no
 * numbers but integers of up to 18 digits, nested less than 32 deep? False says nothing: ask
 * jansson, which takes everything, ten times as slowly and with a kilobyte for each domain. The text
 * must be valid UTF-8. */
bool json_text_is_plain(const struct json_text *text);

/* Where the outermost value begins. */
size_t json_text_start(const struct json_text *text);

/* What begins at the offset of a value: '{', '[', '"', '0' (an integer), '.' (another number),
 * 't', 'f' or 'n'; and the same in words, as "a number". */
char json_text_type(const struct json_text *text, size_t offset);
const char *json_text_type_name(char type);

/* The members of an object or the elements of an array, in the order of the text:
 *
 *	struct json_walk walk = json_walk(text, offset);
 *	while (json_walk_next(&walk, &key, &value)) ...
 *
 * For an array the key is the element itself. */
struct json_walk {
	const struct json_text *text;
	size_t next;
	char close;
};
struct json_walk json_walk(const struct json_text *text, size_t offset);
bool json_walk_next(struct json_walk *walk, size_t *key_r, size_t *value_r);

/* The string at the offset, decoded; NUL-terminated and without other NULs. What is longer than
 * the buffer is cut: every string of a configuration has a far lower limit. Returns the length,
 * or -1: out of memory. */
enum { JSON_STRING_SIZE = 4096 };
int json_text_string(const struct json_text *text, size_t offset, char out[JSON_STRING_SIZE]);

/* The number at the offset if it is an integer from 0 to `most`. */
bool json_text_number(const struct json_text *text, size_t offset, long long most,
		      long long *number_r);

/* The place of an offset as an editor shows it: both from 1; a column is a character of UTF-8,
 * however wide it is shown, and a tab is one. The text need not be valid. */
struct json_position {
	unsigned line, column;
};
struct json_position json_text_position(struct json_text *text, size_t offset);

#endif
