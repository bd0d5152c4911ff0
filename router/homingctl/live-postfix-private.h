/* The parts of check --live for Postfix. */
#ifndef HOMINGCTL_LIVE_POSTFIX_PRIVATE_H
#define HOMINGCTL_LIVE_POSTFIX_PRIVATE_H

#include "findings.h"
#include "postconf.h"
#include "postfix-facts.h"

struct look {
	struct findings *findings;
	const struct postconf *postconf;
	struct postfix_facts facts;
};

/* `NAME = VALUE`, for a finding about main.cf. */
void look_report(const struct look *look, const char *name, const char *value, const char *format,
		 ...) HOMING_PRINTF(4, 5);

/* The maps, and the lists of domains that must not have ours. */
void look_at_lists(const struct look *look);
/* What smtpd does: relaying, senders, in main.cf and in each service. */
void look_at_smtpd(const struct look *look);
/* The daemon: its sockets, and its answers. */
void look_at_sockets(const struct look *look);

/* An item as text of its own, cut where it is longer. */
enum { ITEM_SIZE = 256 };
const char *item_text(const char *item, size_t length, char text_r[ITEM_SIZE]);

#endif
