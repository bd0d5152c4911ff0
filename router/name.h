/* Names as people type them: logins and mail addresses, local parts and domains. Parsing
 * here is a function from bytes to values, without a directory and without I/O. */
#ifndef HOMING_NAME_H
#define HOMING_NAME_H

#include <stdbool.h>
#include <stddef.h>

#include "ip.h"

enum {
	NAME_MAX_BYTES = 512,	/* a name of any kind, in bytes, as it arrives */
	DOMAIN_MAX_BYTES = 253, /* a domain in canonical form (RFC 1035, 2.3.4, as text) */
	LOCAL_MAX_BYTES = 255,	/* the local part of a name in the directory */
	NAME_SIZE = NAME_MAX_BYTES + 1,
	DOMAIN_SIZE = DOMAIN_MAX_BYTES + 1,
	LOCAL_SIZE = LOCAL_MAX_BYTES + 1,
	ADDRESS_SIZE = LOCAL_MAX_BYTES + 1 + DOMAIN_MAX_BYTES + 1,
};

enum name_kind {
	NAME_LOGIN,   /* typed into a mail program's user name field */
	NAME_ADDRESS, /* a mail address: RFC 5321 with SMTPUTF8 */
};

/* Step 1 of routing, for the bytes as they arrived. Returns NULL if they may go on, else a
 * short reason in words ("longer than 512 bytes"). */
const char *name_refusal(enum name_kind kind, const char *name, size_t length);

/* The first or the last of the wanted character that stands outside double quotes (RFC 5321
 * quoted-string, with its backslashes); NULL if there is none. */
const char *name_find(const char *name, size_t length, char wanted, bool last);

/* The last `@` outside quotes: what splits an address. */
const char *name_find_at(const char *name, size_t length);

/* A domain in canonical form: lower-case ASCII, A-labels, without the trailing dot.
 * U-labels are converted by UTS 46, non-transitional (RFC 5891). Returns false if it is no
 * domain name: empty labels, over 63 or 253 bytes, bytes other than letters, digits, `-`
 * and `_`. An address literal is no domain name. */
bool domain_parse(const char *text, size_t length, char domain_r[DOMAIN_SIZE]);

/* `[192.0.2.2]` or `[IPv6:2001:db8::1]` (RFC 5321, 4.1.3). */
bool domain_literal_parse(const char *text, size_t length, struct ip *ip_r);

/* A local part as the directory compares it: Unicode lower case, NFC. Returns its length, or
 * -1 if it does not fit in LOCAL_MAX_BYTES or is not UTF-8. Folding twice changes nothing. */
int local_fold(const char *local, size_t length, char folded_r[LOCAL_SIZE]);

/* May an account, alias, forwarder or group have this local part? Folded, not empty, not `.`
 * or `..`, no white space, control, `/`, `@`, `%`, `!`, `#`, `"`, a backtick, `\`, `*`, `,`, `:`, `;`, `<`,
 * `>`, `(`, `)`, `[`, `]`, `|`, `&`, `$`, no leading `-` or `~`: characters that mean something to
 * routing, to an Internet address, or to a path or ACL identifier. NULL if it may, else why not. */
const char *local_refusal(const char *folded, size_t length);

/* Splits a canonical or typed `local@domain` with a domain of our form, without routing, and
 * folds it. For the names that an administrator gives to homingctl. NULL if fine, else why not. */
const char *address_parse(const char *text, size_t length, char local_r[LOCAL_SIZE],
			  char domain_r[DOMAIN_SIZE]);

/* Is a typed `local@domain` this canonical one, but for the case of its letters? */
bool address_is(const char *typed, const char *canonical);

#endif
