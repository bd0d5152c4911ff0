/* The error that a caller is given: the first failure wins, and no byte of it can forge a log
 * line or a terminal sequence. */
#include "error.h"

#include <stdio.h>
#include <string.h>

#include "printable.h"

struct error *error_set_text(struct error *error, enum error_code code, const char *format, ...)
{
	char text[sizeof error->text];
	va_list args;

	if (!error || error->code != ERROR_NONE)
		return error;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	error->code = code;
	printable_escape(error->text, sizeof error->text, text, strlen(text));
	return error;
}

void error_clear(struct error *error)
{
	error->code = ERROR_NONE;
	error->text[0] = '\0';
}
