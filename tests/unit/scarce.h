/* Calls that fail when the test says so, as the linker has them go through here (--wrap, tests/meson.build).
 * Included by the one file of a test, which defines fails(): does the call that comes now fail? */
#ifndef TESTS_SCARCE_H
#define TESTS_SCARCE_H

#include <stdbool.h>
#include <stddef.h>

static bool fails(void);

#define WRAP(type, name, parameters, arguments, failure)                                           \
	type __real_##name parameters;                                                             \
	type __wrap_##name parameters;                                                             \
	type __wrap_##name parameters                                                              \
	{                                                                                          \
		return fails() ? (failure) : __real_##name arguments;                              \
	}

WRAP(void *, malloc, (size_t size), (size), NULL)
WRAP(void *, calloc, (size_t count, size_t size), (count, size), NULL)
WRAP(void *, realloc, (void *memory, size_t size), (memory, size), NULL)
WRAP(char *, strdup, (const char *text), (text), NULL)

#endif
