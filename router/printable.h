/* Text from outside on its way to a log, a terminal or a line protocol, where no byte of it may
 * end the line or steer the terminal. Printable is valid UTF-8 but for control characters (C0, DEL
 * and C1), the line and paragraph separators, and the marks that change the direction of text, which
 * make one line look like another. */
#ifndef HOMING_PRINTABLE_H
#define HOMING_PRINTABLE_H

#include <stddef.h>

/* The length in bytes of the printable character at the front, 0 if there is none. */
size_t printable_character(const char *text, size_t length);

/* Both copy to `out`, cut at a whole character to fit in `size`, end it with NUL and return the
 * length without it. `size` is at least 1. What is not printable comes out as... */

/* ...\xHH, a byte at a time, */
size_t printable_escape(char *out, size_t size, const char *text, size_t length);

/* ...or as `?`, a byte at a time: never longer than `text`. */
size_t printable_replace(char *out, size_t size, const char *text, size_t length);

#endif
