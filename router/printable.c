/* Text from outside made fit for a line: see printable.h. */
#include "printable.h"

#include <string.h>
#include <unistr.h>

size_t printable_character(const char *text, size_t length)
{
	unsigned char first = length > 0 ? (unsigned char)*text : 0;
	ucs4_t character;

	/* nearly every byte of nearly every text */
	if (first < 0x7f)
		return first >= 0x20 ? 1 : 0;
	int used = u8_mbtoucr(&character, (const uint8_t *)text, length);
	if (used <= 0 || character < 0xa0 || character == 0x2028 || character == 0x2029)
		return 0;
	return (size_t)used;
}

static size_t escape_byte(char *out, unsigned char byte)
{
	static const char digits[] = "0123456789abcdef";

	out[0] = '\\';
	out[1] = 'x';
	out[2] = digits[byte >> 4];
	out[3] = digits[byte & 15];
	return 4;
}

size_t printable_escape(char *out, size_t size, const char *text, size_t length)
{
	size_t used = 0, step;

	for (size_t i = 0; i < length; i += step) {
		size_t plain = printable_character(text + i, length - i);

		step = plain > 0 ? plain : 1;
		if (used + (plain > 0 ? plain : 4) >= size)
			break;
		if (plain > 0) {
			memcpy(out + used, text + i, plain);
			used += plain;
		} else {
			used += escape_byte(out + used, (unsigned char)text[i]);
		}
	}
	out[used] = '\0';
	return used;
}

size_t printable_replace(char *out, size_t size, const char *text, size_t length)
{
	size_t used = 0, step;

	for (size_t i = 0; i < length; i += step) {
		size_t plain = printable_character(text + i, length - i);

		step = plain > 0 ? plain : 1;
		if (used + step >= size)
			break;
		if (plain > 0)
			memcpy(out + used, text + i, plain);
		else
			out[used] = '?';
		used += step;
	}
	out[used] = '\0';
	return used;
}
