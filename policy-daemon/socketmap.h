/* The socketmap protocol (Postfix: socketmap_table(5)): a request is a netstring `NAME SPACE KEY`,
 * a reply a netstring `OK SPACE VALUE`, `NOTFOUND SPACE`, `TEMP SPACE REASON`, `TIMEOUT SPACE REASON`
 * or `PERM SPACE REASON`. Parsing and formatting, without I/O. */
#ifndef HOMING_SOCKETMAP_H
#define HOMING_SOCKETMAP_H

#include <stdbool.h>
#include <stddef.h>

enum { SOCKETMAP_MAX = 100000 /* bytes of a request and of a reply (Postfix's dict_sockmap.c) */ };

enum socketmap_status {
	SOCKETMAP_OK,
	SOCKETMAP_NOTFOUND,
	SOCKETMAP_TEMP,
	SOCKETMAP_TIMEOUT,
	SOCKETMAP_PERM,
};

struct socketmap_request {
	const char *name, *key; /* point into the request, not ended by NUL */
	size_t name_length, key_length;
};

/* Splits the content of a netstring at its first blank. False: there is none. A key may be empty
 * and may hold any byte. */
bool socketmap_parse(const char *content, size_t length, struct socketmap_request *request_r);

/* Writes the whole reply, netstring and all, to `out` of at least SOCKETMAP_MAX + 16 bytes and
 * returns its length. `value` may be of any length: an OK that is too long becomes a PERM that says
 * so, a reason is cut. Control characters in a reason become `?`; an OK value with one is a PERM. */
size_t socketmap_format(enum socketmap_status status, const char *value, size_t value_length,
			char *out, size_t size);

/* "ok", "notfound", "temp", "timeout", "perm": for logs and metrics. */
const char *socketmap_status_name(enum socketmap_status status);

#endif
