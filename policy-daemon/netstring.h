/* Netstrings (D. J. Bernstein, 1997), as socketmap uses them: `LENGTH:BYTES,`. */
#ifndef HOMING_NETSTRING_H
#define HOMING_NETSTRING_H

#include <stddef.h>
#include <sys/types.h>

/* What *why_r is (this very pointer) where the limit was passed. */
extern const char netstring_too_long[];

/* How many bytes at the start of `data` are one netstring, its comma included; its content then
 * is `*start_r` and `*length_r`. 0: the end is not there yet. -1: it is none or longer than
 * `limit`, *why_r (a constant) says why, as soon as it can be told. A length has at most 10 digits
 * and no leading zero. */
ssize_t netstring_frame(const char *data, size_t length, size_t limit, const char **start_r,
			size_t *length_r, const char **why_r);

/* Writes the netstring of `content` to `out`; returns its length, 0 if it does not fit in `size`.
 * `content` may lie in `out`. */
size_t netstring_format(const char *content, size_t length, char *out, size_t size);

#endif
