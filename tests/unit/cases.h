/* The golden cases: the rows of tests/cases/routes. Its head says what the columns mean. */
#ifndef HOMING_TEST_CASES_H
#define HOMING_TEST_CASES_H

#include <stddef.h>

#include "directory.h"
#include "ip.h"
#include "route.h"

struct case_row {
	size_t line;
	struct route_question question; /* points into the row */
	struct ip ip;
	char *name, *server_name;
	char *expected; /* words, the first one in front, the others sorted */
	char *why;
};

struct cases {
	struct case_row *rows;
	size_t count;
};

/* Reads the file. What does not parse ends the program with the line's number. */
struct cases cases_read(const char *path);
void cases_free(struct cases *cases);

/* An answer in the words of the column `expected`, sorted likewise; the caller's to free. Within
 * a snapshot. */
char *case_words(struct directory_reader *reader, const struct route_answer *answer);

/* Undoes the escapes. Returns the length; more than the size, or no such escape, ends the
 * program. */
size_t case_unescape(const char *text, size_t length, char *out, size_t size);

#endif
