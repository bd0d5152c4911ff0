/* What homingctl prints, and the exit codes. */
#include "output.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistr.h>

#include "printable.h"

void print_bytes(FILE *file, const char *bytes, size_t length)
{
	while (length > 0) {
		size_t plain = printable_character(bytes, length);

		if (plain > 0)
			fwrite(bytes, 1, plain, file);
		else
			fprintf(file, "\\x%02x", (unsigned char)*bytes);
		bytes += plain > 0 ? plain : 1;
		length -= plain > 0 ? plain : 1;
	}
}

/* Prints one conversion of a format. Only what this program uses is known. */
static void print_conversion(const char *format, size_t length, va_list *args)
{
	char copy[16];

	if (length >= sizeof copy)
		abort();
	memcpy(copy, format, length);
	copy[length] = '\0';
	switch (copy[length - 1]) {
	case 's': {
		const char *text = va_arg(*args, const char *);
		size_t size = strlen(text);
		int width = atoi(copy + (copy[1] == '-' ? 2 : 1));

		print_bytes(stdout, text, size);
		for (int column = (int)u8_mbsnlen((const uint8_t *)text, size); column < width; column++)
			putchar(' ');
		break;
	}
	case 'c':
	case 'd':
	case 'u':
		if (strchr(copy, 'z')) /* each has its own type */
			// NOLINTNEXTLINE(bugprone-branch-clone)
			printf(copy, va_arg(*args, size_t));
		else if (strstr(copy, "ll"))
			printf(copy, va_arg(*args, long long));
		else
			printf(copy, va_arg(*args, int));
		break;
	default:
		abort();
	}
}

void print(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	while (*format) {
		size_t text = strcspn(format, "%");

		fwrite(format, 1, text, stdout);
		format += text;
		if (format[0] == '%' && format[1] == '%') {
			putchar('%');
			format += 2;
		} else if (*format) {
			size_t length = strcspn(format, "sducx") + 1;
			print_conversion(format, length, &args);
			format += length;
		}
	}
	va_end(args);
}

void complain(const char *format, ...)
{
	char *text;
	va_list args;

	va_start(args, format);
	int length = vasprintf(&text, format, args);
	va_end(args);
	fflush(stdout);
	fputs("homingctl: ", stderr);
	if (length >= 0) {
		print_bytes(stderr, text, (size_t)length);
		free(text);
	}
	fputc('\n', stderr);
}

json_t *json_bytes(const char *bytes, size_t length)
{
	json_t *value = json_stringn(bytes, length);
	char *text = NULL;
	size_t size = 0;

	if (value)
		return value;
	FILE *memory = open_memstream(&text, &size);
	if (!memory)
		return NULL;
	print_bytes(memory, bytes, length);
	if (fclose(memory) == 0)
		value = json_stringn(text, size);
	free(text);
	return value;
}

json_t *json_text(const char *text)
{
	return text ? json_bytes(text, strlen(text)) : json_null();
}

int print_json(json_t *value)
{
	if (!value)
		return fail_memory();
	int failed = json_dumpf(value, stdout, JSON_COMPACT | JSON_ENCODE_ANY);
	json_decref(value);
	putchar('\n');
	if (failed) {
		complain("cannot write: the output is incomplete");
		return EX_IOERR;
	}
	return EX_OK;
}

int fail(const struct error *error, int missing)
{
	static const int codes[] = {
		[ERROR_NONE] = EX_SOFTWARE,	  [ERROR_INVALID] = EX_DATAERR,
		[ERROR_EXISTS] = EX_CANTCREAT,	  [ERROR_PERMISSION] = EX_NOPERM,
		[ERROR_CORRUPT] = EX_IOERR,	  [ERROR_FORMAT] = EX_CONFIG,
		[ERROR_FULL] = EX_IOERR,	  [ERROR_BUSY] = EX_TEMPFAIL,
		[ERROR_IO] = EX_IOERR,		  [ERROR_MEMORY] = EX_OSERR,
	};

	complain("%s", error->text[0] ? error->text : "failed without a reason");
	return error->code == ERROR_MISSING ? missing : codes[error->code];
}
