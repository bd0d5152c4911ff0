/* What the router's answers mean to Postfix. Decisions without I/O: a request in, an
 * action or a map's reply out, and where a domain's accounts are in Dovecot alone, the
 * name that has to be asked for there first.
 *
 * Postfix has its own idea of who may send where: reject_unauth_destination, which must
 * stand behind the policy service. So an answer here is DUNNO wherever Postfix can see by
 * itself that mail is for one of our domains, and OK only where it cannot: an explicit
 * route or an address literal that leads to one of ours. Each OK must be safe by itself:
 * the alias map rewrites what it was said of to addresses of ours, and if it did not, the
 * mail would still not leave the server. */
#ifndef HOMING_DECIDE_H
#define HOMING_DECIDE_H

#include <stdbool.h>
#include <stddef.h>

#include "policy.h"
#include "router/directory.h"
#include "router/ip.h"
#include "router/route.h"
#include "socketmap.h"

/* Who may relay beside authenticated clients. */
struct trusted {
	struct ip_prefix *prefixes;
	size_t count;
};
/* Adds one prefix or address, or several with commas between; all of them, or none and
 * *why_r (a constant) says why. A prefix that has every address in it is refused. */
bool trusted_add(struct trusted *trusted, const char *text, const char **why_r);
bool trusted_has(const struct trusted *trusted, const char *address, size_t length);
void trusted_finish(struct trusted *trusted);

enum existence {
	EXISTS,
	EXISTS_NOT,
	EXISTENCE_UNKNOWN, /* nobody could be asked */
};

/* An account of a domain with `accounts: dovecot` whose existence decides. Ask for
 * `name`; if there is none and `without_detail` is not "", for that. */
struct existence_question {
	char name[NAME_SIZE];
	char without_detail[NAME_SIZE];
};

enum {
	DECISION_TEXT = 1024,
	DECISION_SHOWN = 200, /* bytes of a recipient that a reply shows */
};

/* The answer to a policy request. */
struct policy_decision {
	bool must_ask; /* the decision waits: ask, then policy_decide_existence() */
	struct existence_question question;
	char recipient[DECISION_SHOWN + 1]; /* as replies show it: printable UTF-8, cut */
	char action[DECISION_TEXT];	    /* "DUNNO", "OK", "550 5.1.1 <to>: text"... */
	const char *reason; /* a word for the log: "account", "relay", "unknown-account"... */
	bool refuses;	    /* 4xx or 5xx: what --dry-run turns into DUNNO */
	/* DUNNO for an account or a forward, whoever sends, while the directory is the same. */
	bool lasting;
};
/* Between directory_begin and directory_end of `reader`. Never fails: what cannot be
 * decided is a 451 4.3.0, with *error set for the log. */
void policy_decide(struct directory_reader *reader, const struct policy_request *request,
		   const struct trusted *trusted, struct policy_decision *decision_r,
		   struct error *error);
void policy_decide_existence(struct policy_decision *decision, enum existence existence);
/* The answer where no directory could be opened. */
void policy_decide_failed(struct policy_decision *decision_r);

/* The maps. */
enum map {
	MAP_ALIAS,	  /* virtual_alias_maps */
	MAP_DOMAIN,	  /* virtual_mailbox_domains */
	MAP_MAILBOX,	  /* virtual_mailbox_maps */
	MAP_SENDER_LOGIN, /* smtpd_sender_login_maps */
	MAP_TRANSPORT,	  /* transport_maps */
	MAPS,
	MAP_NONE = MAPS,
};
/* By its name in a request, as `sender-login`; MAP_NONE if there is none of that name. */
enum map map_parse(const char *name, size_t length);
const char *map_name(enum map map);

struct map_decision {
	bool must_ask;
	struct existence_question question;
	enum socketmap_status status;
	bool none_needed; /* NOTFOUND because the key is an address of ours as it stands */
	char *value;	  /* allocated; NULL is "". map_decision_finish() */
	size_t value_length;
};
/* As policy_decide(); what cannot be decided is SOCKETMAP_TEMP with the reason as value. */
void map_decide(struct directory_reader *reader, enum map map, const char *key, size_t key_length,
		struct map_decision *decision_r, struct error *error);
void map_decide_existence(struct map_decision *decision, enum existence existence);
void map_decision_finish(struct map_decision *decision);

/* Sets the question about an account of a domain with `accounts: dovecot`. 0, or -1 if
 * the directory failed. For policy and maps alike. */
MUST_CHECK int existence_question_set(struct directory_reader *reader,
				      const struct route_answer *answer,
				      struct existence_question *question_r, struct error *error);

#endif
