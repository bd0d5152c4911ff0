/* Where mail goes after routing: the address that stands for an answer on the way to
 * delivery. Mail programs and servers know addresses alone, so an account with a detail
 * or a mailbox becomes `account+detail@domain`, with the domain's own delimiter.
 *
 * A mail server writes an address in two ways (RFC 5321, 4.1.2): the external form, in
 * which a local part stands in quotes if it must, and the internal one without any. One
 * string can be read as either, so whoever routes addresses must know which it has:
 * `"a%b"@d` may be a name in needless quotes or one that begins with a quote. */
#ifndef HOMING_DELIVERY_H
#define HOMING_DELIVERY_H

#include <stdbool.h>
#include <stddef.h>

#include "directory.h"
#include "error.h"
#include "route.h"

enum { DELIVERY_SIZE = 2 * NAME_SIZE + 4 }; /* quoted, every byte with a backslash */

/* The address of an account with its detail or its mailbox (which wins where both are
 * there), quoted where RFC 5321, 4.1.2 asks for it. 1: written. 0: no address leads
 * there, because another name of the directory would take it (`box#info@d` where there is
 * an account `info+box`), or because it would be too long: such mail must be refused,
 * never delivered elsewhere. -1: the directory failed. Routing the result as an address
 * gives the same account again; that is checked here. Where the domain's accounts are
 * kept elsewhere, the name with its detail is the account as far as anybody here knows. */
MUST_CHECK int delivery_address(struct directory_reader *reader, const struct route_answer *answer,
				char address_r[DELIVERY_SIZE], struct error *error);

/* Likewise for one target of ROUTE_FORWARD; a remote one as it is, quoted where needed. */
MUST_CHECK int delivery_target(struct directory_reader *reader, const struct route_target *target,
			       char address_r[DELIVERY_SIZE], struct error *error);

/* The address of ROUTE_REMOTE, quoted where needed. False: too long. */
bool delivery_remote(const char *address, char address_r[DELIVERY_SIZE]);

/* Is mail to this domain ours to accept: a domain, a domain's alias, an address literal
 * that a domain owns, or one for all of whose names a router record (`domain` or
 * `*@domain`) says `discard:` or leads to one of ours? 1, 0, -1. */
MUST_CHECK int delivery_domain(struct directory_reader *reader, const char *domain, size_t length,
			       struct error *error);

/* From the internal form, in which a local part has no quotes, to a name that route()
 * takes, which is the external one: the last `@` splits; what needs quotes gets them; a
 * source route in front (`@a,@b:`) stays. Returns the length, -1 if it does not fit. */
int delivery_name(const char *internal, size_t length, char name_r[NAME_SIZE]);

/* Is this `local@domain` the external form of something: no needless quotes, none
 * missing, no source route? What is not may be an internal form, whose quotes mean
 * themselves. */
bool delivery_is_external(const char *address, size_t length);

#endif
