/* What has to change in Postfix's settings, seen from those that are there now. */
#ifndef HOMINGCTL_POSTFIX_PLAN_H
#define HOMINGCTL_POSTFIX_PLAN_H

#include "postfix-facts.h"

/* One setting of main.cf. */
struct plan_setting {
	const char *name;
	char *value;
	const char *old; /* what main.cf says now; NULL if it does not mention it */
	const char *why; /* comment, in lines */
};

/* One `-o` of a service in master.cf that is there already. */
struct plan_override {
	const char *service, *name;
	char *value;
	const char *old;
};

enum { PLAN_SETTINGS = 24, PLAN_OVERRIDES = 64 };

struct plan {
	struct plan_setting settings[PLAN_SETTINGS];
	size_t setting_count;
	struct plan_override overrides[PLAN_OVERRIDES];
	size_t override_count;
	char *submission; /* the line of master.cf to add, with its -o; NULL: there is one */
	bool is_on;	  /* Homing is in the settings already */
	bool failed;	  /* out of memory */
};

/* `postconf` NULL: for an empty main.cf. 0, or 71 after a complaint. Free with plan_finish. */
int plan_make(const struct postfix_facts *facts, const struct postconf *postconf,
	      struct plan *plan_r);
void plan_finish(struct plan *plan);

/* The check_policy_service of smtpd_relay_restrictions, for main.cf, or for an `-o` of master.cf;
 * free() it. NULL out of memory. */
char *plan_policy(const struct postfix_facts *facts, bool for_master);
/* `postconf -P` takes no white space: cuts what a list can do without. False if some is left. */
bool plan_squeeze(char *list);
/* `list` without what of it is the daemon's, behind `front`; free() it. NULL out of memory. */
char *plan_put_first(const struct postfix_facts *facts, const char *front, const char *list);
/* `list` without the domains that are ours, written with its variables where that is possible;
 * free() it. NULL out of memory. *found_r: it has some. */
char *plan_without_ours(const struct postfix_facts *facts, const char *raw, const char *expanded,
			bool *found_r);

/* Is virtual_transport one that can bring no mail to Dovecot: Postfix's own delivery, or nothing? */
bool plan_delivers_itself(const char *transport);
/* The services of master.cf that clients outside do not reach (a content filter's way back), and
 * those for mail programs. */
bool plan_is_inner_service(const char *service);
bool plan_is_submission(const char *service);
/* Does a list of restrictions begin with the daemon's policy? */
bool plan_has_policy_first(const struct postfix_facts *facts, const char *restrictions);
/* Does a list of restrictions refuse to relay at last, and does it compare senders with logins? */
bool plan_stops_relaying(const char *restrictions);
bool plan_compares_senders(const char *restrictions);

#endif
