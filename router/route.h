/* Routing: which account a login or an address means. The numbered steps of
 * homing-routing(7), with the trace of those taken. */
#ifndef HOMING_ROUTE_H
#define HOMING_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "directory.h"
#include "error.h"
#include "ip.h"
#include "name.h"

enum {
	ROUTE_MAX_REWRITES = 32,
	ROUTE_MAX_TARGETS = 100000, /* of one forward, nested groups and all */
};

struct route_question {
	enum name_kind kind;
	const char *name;	   /* untrusted bytes */
	size_t name_length;
	const struct ip *local_ip; /* the server's address the client came to; NULL: not known */
	const char *server_name;   /* the TLS server name; untrusted; NULL or "": none */
};

enum route_result {
	ROUTE_ACCOUNT, /* one of our accounts */
	ROUTE_FORWARD, /* several addresses, or one elsewhere, each final */
	ROUTE_REMOTE,  /* an address that is not ours */
	ROUTE_DISCARD, /* accept and drop; never for a login */
	ROUTE_REFUSE,
};

enum route_reason {
	REASON_NONE,
	REASON_MALFORMED,
	REASON_UNKNOWN_DOMAIN,
	REASON_UNKNOWN_ACCOUNT,
	REASON_LOOP,
	REASON_ERROR, /* a router record says so */
};

enum route_flag {
	ROUTE_EXPLICIT = 1 << 0, /* an explicit route (`a%b@ours`, `b!a@ours`) was followed */
	ROUTE_LITERAL = 1 << 1,	 /* an address literal was replaced by its domain */
	ROUTE_EXTERNAL = 1 << 2, /* the account is in an external domain: nobody looked it up */
	ROUTE_DOVECOT = 1 << 3,	 /* likewise, in a domain with `accounts: dovecot` */
	ROUTE_UNKNOWN = 1 << 4,	 /* nobody had the name: the domain's `unknown` rule led on */
};

struct route_target {
	bool remote;	/* false: one of our accounts, `address` canonical */
	char *address;	/* with `+detail` not included */
	char *detail;	/* NULL: none */
	char *mailbox;	/* NULL: none */
};

struct route_answer {
	enum route_result result;
	unsigned flags;
	/* ROUTE_ACCOUNT: canonical `local@domain`. ROUTE_REMOTE: the address. Else "". */
	char address[NAME_SIZE];
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE]; /* of an account; else "" */
	char detail[NAME_SIZE];	 /* as it was typed; "" is none unless has_detail */
	char mailbox[NAME_SIZE]; /* "" is none */
	bool has_detail;
	bool relay; /* ROUTE_REMOTE reached through an explicit route */
	/* ROUTE_FORWARD */
	struct route_target *targets;
	size_t target_count;
	/* ROUTE_REFUSE */
	enum route_reason reason;
	int smtp;	 /* 450 or 501 to 559 */
	char status[12]; /* RFC 3463, as 5.1.1 */
	char text[NAME_SIZE];
};

struct route_step {
	const char *rule; /* a word from homing-routing(7), as "percent", "server-name" */
	char *from, *to;  /* the name before and after, as UTF-8; `to` of a refusal is its reason */
	char *why;	  /* what decided, in words: a record, an address, a domain; or NULL */
};

/* Asked for with route(..., trace, ...); zero it before. */
struct route_trace {
	struct route_step *steps;
	size_t count, size;
	bool failed; /* out of memory: steps are missing */
};
void route_trace_finish(struct route_trace *trace);

/* Answers between directory_begin and directory_end. 0: *answer_r is filled, a refusal is an
 * answer too. -1: the directory failed; nothing may be decided now. `trace` may be NULL. Call
 * route_answer_finish in any case; it is cheap where nothing was allocated. */
MUST_CHECK int route(struct directory_reader *reader, const struct route_question *question,
		     struct route_answer *answer_r, struct route_trace *trace,
		     struct error *error);
void route_answer_finish(struct route_answer *answer);

/* "account", "forward", "remote", "discard", "refuse"; "malformed", "unknown-domain"... */
const char *route_result_name(enum route_result result);
const char *route_reason_name(enum route_reason reason);

#endif
