/* The SMTPD policy delegation protocol (Postfix: SMTPD_POLICY_README): a request is lines
 * `name=value`, ended by an empty line; the reply is `action=...` and an empty line. Parsing here
 * is a function from bytes to values, without I/O. */
#ifndef HOMING_POLICY_H
#define HOMING_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum {
	POLICY_MAX_REQUEST = 65536, /* bytes of one request, its empty line included */
	POLICY_MAX_ATTRIBUTES = 1000,
};

/* A piece of the request, not ended by NUL; NULL if the attribute was not there. */
struct policy_value {
	const char *text;
	size_t length;
};

/* The attributes that count here, of Postfix 2.1 to 3.10 (and whatever comes later); all others
 * are read and forgotten. Values point into the bytes that were parsed. Where an attribute comes
 * twice the last one counts, as in Postfix's example server (examples/smtpd-policy/greylist.pl). */
struct policy_request {
	struct policy_value request;	    /* always "smtpd_access_policy" */
	struct policy_value protocol_state; /* "RCPT", "DATA", "END-OF-MESSAGE"... */
	struct policy_value protocol_name;  /* "ESMTP" */
	struct policy_value helo_name;
	struct policy_value queue_id;	    /* "" before there is one */
	struct policy_value instance;	    /* the same for all requests about one message */
	struct policy_value sender;
	struct policy_value recipient;	    /* internal form: without the quotes of RFC 5321 */
	struct policy_value client_name;
	struct policy_value client_address; /* "unknown" where there is none */
	struct policy_value sasl_username;  /* "" or NULL: not authenticated */
};

/* What *why_r is (this very pointer) where a limit of size was passed. */
extern const char policy_too_long[];

/* How many bytes at the start of `data` are one whole request, empty line included. 0: the end
 * is not there yet. -1: it can be none (too long, a line without `=`, a NUL), *why_r says so.
 * `seen` is the caller's for one connection: 0 at the start of a request, so that bytes that came
 * before are not looked at again; it is 0 again once a request is whole. Any number of pieces costs
 * what one piece does and gives the same. A line may end in CR LF. */
ssize_t policy_frame(const char *data, size_t length, size_t *seen, const char **why_r);

/* Parses what policy_frame measured. False: it is none, *why_r says why (a constant): also one with
 * too many attributes, or without `request=smtpd_access_policy`. */
bool policy_parse(const char *data, size_t length, struct policy_request *request_r,
		  const char **why_r);

/* Writes "action=TEXT\n\n" to `out` and returns its length. What is no printable UTF-8 in TEXT
 * becomes `?`, so that no text can end the reply and begin another one. At least 1,024 bytes; a text
 * that does not fit is cut at a whole character. */
size_t policy_format(const char *action, char *out, size_t size);

#endif
