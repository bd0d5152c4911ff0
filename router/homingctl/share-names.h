/* Owners, mailboxes and identifiers as the arguments of `homingctl share` name them. */
#ifndef HOMINGCTL_SHARE_NAMES_H
#define HOMINGCTL_SHARE_NAMES_H

#include "command.h"
#include "session.h"
#include "sharing.h"

/* What an OWNER is: an account in any form that a login takes (a bare one belongs to the main
 * domain), or `public:PREFIX`. `domain` is where bare identifiers belong; "" for public ones. 0, or an
 * exit code after a complaint. */
struct share_owner {
	char name[OWNER_SIZE];
	char domain[DOMAIN_SIZE];
};
int share_owner_parse(struct session *session, const char *text, struct share_owner *owner_r);

/* The separator that the arguments use: --separator, or '/'. 0, or an exit code after a complaint. */
int share_separator(const struct call *call, char *separator_r);

/* 0, or an exit code after a complaint. */
int share_mailbox_parse(const char *text, char separator, char mailbox_r[MAILBOX_SIZE]);
/* For people: with '/' escaped in what cannot be written otherwise. Free it. NULL without memory. */
char *share_mailbox_text(const char *mailbox, char separator);

/* WHO, with a leading `-` for negative rights. 0, or an exit code after a complaint. */
int share_who_parse(struct session *session, const char *text, const char *domain,
		    struct grantee *who_r, bool *negative_r);

#endif
