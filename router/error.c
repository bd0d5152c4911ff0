/* The error that a caller is given: the first failure wins, and no byte of it can forge a log
 * line or a terminal sequence. */
#include "error.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistr.h>

/* Copies text, with control bytes and broken UTF-8 as \xHH, cut at the size. */
static void copy_printable(char *out, size_t size, const char *text)
{
	const unsigned char *next = (const unsigned char *)text;
	size_t left = strlen(text), used = 0;

	while (left > 0) {
		ucs4_t character;
		int length = u8_mbtoucr(&character, next, left);
		bool plain = length > 0 && character >= 0x20 &&
			     !(character >= 0x7f && character < 0xa0) &&
			     character != 0x2028 && character != 0x2029;
		size_t step = plain ? (size_t)length : 1;
		size_t need = plain ? step : 4;

		if (used + need >= size)
			break;
		if (plain)
			memcpy(out + used, next, step);
		else
			snprintf(out + used, size - used, "\\x%02x", *next);
		used += need;
		next += step;
		left -= step;
	}
	out[used] = '\0';
}

int error_set(struct error *error, enum error_code code, const char *format, ...)
{
	char text[sizeof error->text];
	va_list args;

	if (!error || error->code != ERROR_NONE)
		return -1;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	error->code = code;
	copy_printable(error->text, sizeof error->text, text);
	return -1;
}

void error_clear(struct error *error)
{
	error->code = ERROR_NONE;
	error->text[0] = '\0';
}
