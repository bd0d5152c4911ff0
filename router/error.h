/* Why something failed: a code for programs, a sentence for people. The caller gives the
 * struct, zeroed by `struct error error = {0}`; the first failure wins. The core never logs. */
#ifndef HOMING_ERROR_H
#define HOMING_ERROR_H

#include <stdarg.h>

enum error_code {
	ERROR_NONE = 0,
	ERROR_INVALID,	  /* what was asked makes no sense: a bad name, a bad value */
	ERROR_MISSING,	  /* a file, or something named in a change, does not exist */
	ERROR_EXISTS,	  /* the name is taken */
	ERROR_PERMISSION, /* the system does not let us */
	ERROR_CORRUPT,	  /* a file or a value in it does not parse */
	ERROR_FORMAT,	  /* written by a newer Homing, or by one too old */
	ERROR_FULL,	  /* disk full, or quota */
	ERROR_BUSY,	  /* try again: too many readers, locked, interrupted */
	ERROR_IO,	  /* any other error of the system */
	ERROR_MEMORY,	  /* no memory, or the map does not fit the address-space limit */
};

struct error {
	enum error_code code;
	char text[600]; /* one line, without a newline; untrusted bytes are escaped */
};

#ifdef __GNUC__
#define HOMING_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#define MUST_CHECK __attribute__((warn_unused_result))
#else
#define HOMING_PRINTF(fmt, args)
#define MUST_CHECK
#endif

/* Sets *error unless it already holds an earlier failure. NULL is allowed. Gives -1, so that
 * a caller can write `return error_set(...)`. Control and non-UTF-8 bytes come out as \xHH.
 *
 *	int error_set(struct error *error, enum error_code code, const char *format, ...);
 *
 * The -1 stands here and not in error.c, so that a compiler or an analyser sees in every file that
 * whoever returns this has failed. */
#define error_set(...) error_set_fails(error_set_text(__VA_ARGS__))

/* The two halves of error_set. */
struct error *error_set_text(struct error *error, enum error_code code, const char *format, ...)
	HOMING_PRINTF(3, 4);

static inline int error_set_fails(const struct error *error)
{
	(void)error;
	return -1;
}

/* Forgets what was set. */
void error_clear(struct error *error);

#endif
