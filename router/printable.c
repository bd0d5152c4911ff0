/* Text from outside made fit for a line: see printable.h. */
#include "printable.h"

#include <stdbool.h>
#include <string.h>
#include <unistr.h>

/* How many bytes at the front are printable ASCII: nearly every byte of nearly every text. */
static size_t plain_run(const char *text, size_t length)
{
	size_t run = 0;

	while (run < length && (unsigned char)(text[run] - 0x20) < 0x7f - 0x20)
		run++;
	return run;
}

/* Beyond ASCII. Directions: the marks of Unicode's property Bidi_Control. */
static bool is_printable(ucs4_t character)
{
	return character >= 0xa0 && character != 0x61c &&
	       !(character >= 0x200e && character <= 0x200f) &&
	       !(character >= 0x2028 && character <= 0x202e) &&
	       !(character >= 0x2066 && character <= 0x2069);
}

size_t printable_character(const char *text, size_t length)
{
	ucs4_t character;

	if (length == 0 || (unsigned char)*text < 0x80)
		return plain_run(text, length > 0 ? 1 : 0);
	int used = u8_mbtoucr(&character, (const uint8_t *)text, length);
	return used > 0 && is_printable(character) ? (size_t)used : 0;
}

enum width { REPLACED = 1, ESCAPED = 4 };

/* What stands for a byte that is not printable. */
static void put_other(char *out, unsigned char byte, enum width width)
{
	static const char digits[] = "0123456789abcdef";

	if (width == REPLACED)
		out[0] = '?';
	else
		memcpy(out, (char[]){'\\', 'x', digits[byte >> 4], digits[byte & 15]}, ESCAPED);
}

static size_t copy(char *out, size_t size, const char *text, size_t length, enum width width)
{
	size_t used = 0, i = 0;

	while (i < length) {
		size_t room = size - 1 - used, left = length - i;
		size_t plain = plain_run(text + i, left < room ? left : room);

		if (plain == 0)
			plain = printable_character(text + i, left);
		size_t need = plain > 0 ? plain : width;
		if (need > room)
			break;
		if (plain > 0)
			memcpy(out + used, text + i, plain);
		else
			put_other(out + used, (unsigned char)text[i], width);
		used += need;
		i += plain > 0 ? plain : 1;
	}
	out[used] = '\0';
	return used;
}

size_t printable_escape(char *out, size_t size, const char *text, size_t length)
{
	return copy(out, size, text, length, ESCAPED);
}

size_t printable_replace(char *out, size_t size, const char *text, size_t length)
{
	return copy(out, size, text, length, REPLACED);
}
