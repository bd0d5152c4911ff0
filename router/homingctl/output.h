/* What homingctl prints. No byte of a name, a file or a setting reaches a terminal unescaped. */
#ifndef HOMINGCTL_OUTPUT_H
#define HOMINGCTL_OUTPUT_H

#include <jansson.h>
#include <stdio.h>
#include <sysexits.h>

#include "error.h"

/* `homingctl: TEXT` and a newline on standard error. Control bytes come out as \xHH. */
void complain(const char *format, ...) HOMING_PRINTF(1, 2);

/* Formats like printf, with control bytes and what is not UTF-8 as \xHH. Newlines are the
 * caller's: of the format itself they are kept, of the values they are not. */
void print(const char *format, ...) HOMING_PRINTF(1, 2);
void print_bytes(FILE *file, const char *bytes, size_t length);

/* A JSON string (new reference), escaped as by print where the bytes are not UTF-8. */
json_t *json_bytes(const char *bytes, size_t length);
json_t *json_text(const char *text); /* NULL gives null */
/* Prints the value and a newline, and takes the reference. Returns an exit code. */
int print_json(json_t *value);

/* Complains and returns the exit code for the error. `missing`: what ERROR_MISSING means here,
 * EX_NOINPUT for files, EX_NOUSER for names. */
int fail(const struct error *error, int missing);
/* The same where there is no memory left: EX_OSERR. */
static inline int fail_memory(void)
{
	complain("out of memory");
	return EX_OSERR;
}

#endif
