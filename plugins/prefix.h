/* The prefix of a shared namespace, which names the owner: `shared/%u/` in Dovecot 2.3,
 * `shared/$user/` in 2.4; also with %n and %d ($username and $domain). What is called a pattern
 * here is the part from the first variable on, as Dovecot's shared storage keeps it: `%u/`. Bytes
 * to values, no I/O.
 *
 * - A pattern with %n and without %d shows an owner of one's own domain as `bob`, others as
 *   `bob@client1.com`; all patterns understand both.
 * - Where the separator is a character that addresses have, as `.`, an owner is shown with
 *   PREFIX_STAND_IN for it: `shared.bob@client1^com.Box`, as Cyrus IMAP does. Else the name would
 *   read as a mailbox `com.Box` of `bob@client1`. */
#ifndef HOMING_PREFIX_H
#define HOMING_PREFIX_H

#include <stdbool.h>
#include <stddef.h>

#include "router/name.h"

enum {
	PREFIX_STAND_IN = '^',
	PREFIX_TEXT_SIZE = 2 * NAME_SIZE,
};

/* The owner at the beginning of a name (what follows the fixed part of the prefix). */
struct prefix_owner {
	/* `bob` or `bob@client1.com`, maybe an alias: as people type it */
	char typed[NAME_SIZE];
	/* of the part of the name that names the owner, with what follows it in the pattern */
	size_t length;
	/* of the pattern: what the name lacked at its end, as "/" in `bob`; or "" */
	const char *tail;
};
/* false: the name ends before an owner is named, or does not fit the pattern. */
bool prefix_parse(const char *pattern, char separator, const char *name,
		  struct prefix_owner *owner_r);

/* How a canonical owner is named: everything of the pattern, its end too. `own_domain` is whose
 * `bob` is bob@own_domain; "" none. false: the owner cannot be named in this pattern. */
bool prefix_format(const char *pattern, char separator, const char *owner, const char *own_domain,
		   char text_r[PREFIX_TEXT_SIZE]);

/* The part of a LIST pattern that names one mailbox or parent, without wildcards: up to the last
 * separator before the first wildcard; all of it where there is none. */
size_t prefix_literal_length(const char *list_pattern, char separator);

#endif
