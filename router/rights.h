/* Rights on a mailbox (RFC 4314, section 2.1), whom they can be given to, and what several grants add
 * up to for one user: in the order of Dovecot's acl plugin (acl_object_rebuild_cache()), without
 * any I/O. */
#ifndef HOMING_RIGHTS_H
#define HOMING_RIGHTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "directory.h"
#include "error.h"
#include "name.h"

/* In front of the prefix of a public namespace: the owner of its mailboxes, see sharing.h. */
#define OWNER_PUBLIC "public:"

enum right {
	RIGHT_LOOKUP = 1 << 0,	       /* l: see it in lists, subscribe to it */
	RIGHT_READ = 1 << 1,	       /* r: open it, read messages */
	RIGHT_WRITE = 1 << 2,	       /* w: change flags other than \Seen and \Deleted */
	RIGHT_WRITE_SEEN = 1 << 3,     /* s: change \Seen */
	RIGHT_WRITE_DELETED = 1 << 4,  /* t: change \Deleted */
	RIGHT_INSERT = 1 << 5,	       /* i: append and copy messages into it */
	RIGHT_POST = 1 << 6,	       /* p: deliver into it: LMTP, Sieve */
	RIGHT_EXPUNGE = 1 << 7,	       /* e: remove messages for good */
	RIGHT_CREATE = 1 << 8,	       /* k: make mailboxes below it */
	RIGHT_DELETE = 1 << 9,	       /* x: delete or rename it */
	RIGHT_ADMINISTER = 1 << 10,    /* a: change who has rights */
	RIGHTS_ALL = (1 << 11) - 1,
};

/* `lrwstipekxa`, in this order; `c` (kx) and `d` (et) of RFC 2086 are understood. parse: NULL if fine,
 * else why not. format: at most RIGHTS_SIZE bytes with the NUL, "" for none. */
enum { RIGHTS_SIZE = 12 };
const char *rights_parse(const char *letters, size_t length, uint16_t *rights_r);
void rights_format(uint16_t rights, char letters_r[RIGHTS_SIZE]);

/* Whom rights are given to. A later kind overrides an earlier one, as in Dovecot's enum
 * acl_id_type; a domain stands between all authenticated users and a group. */
enum grantee_kind {
	GRANTEE_ANYONE = 1,	    /* `anyone`: also users that are not authenticated */
	GRANTEE_AUTHENTICATED = 2,  /* `authenticated` */
	GRANTEE_DOMAIN = 3,	    /* `anyone@domain`: every account of a domain */
	GRANTEE_GROUP = 4,	    /* `$group@domain` */
	GRANTEE_OWNER = 5,	    /* `owner` */
	GRANTEE_USER = 6,	    /* `user@domain` */
	GRANTEE_GROUP_OVERRIDE = 7, /* `!$group@domain`: as a group, but overrides a user's own */
};
struct grantee {
	enum grantee_kind kind;
	char name[ADDRESS_SIZE]; /* canonical: local@domain, the domain, or "" */
};

/* As people type it: `anyone`, `authenticated`, `owner`, `anyone@`, `anyone@domain`, `$group`,
 * `$group@domain`, `!$group...`, `user`, `user@domain`, `user%domain`, an alias, a domain alias.
 * A bare user or group, and `anyone@`, belong to `domain` (the mailbox owner's; "" refuses them).
 * A user is routed as a login and becomes the canonical account. Inside a snapshot of `directory`.
 * 1 found; 0 there is no such account, group or domain, or it makes no sense: why in *why_r (one line
 * for a client, ended by NUL, the identifier not repeated); -1 failed. */
enum { GRANTEE_WHY_SIZE = 200 };
MUST_CHECK int grantee_parse(struct directory_reader *directory, const char *text,
			     const char *domain, struct grantee *who_r,
			     char why_r[GRANTEE_WHY_SIZE], struct error *error);
/* The canonical form, as grantee_parse() takes it back. */
enum { GRANTEE_SIZE = ADDRESS_SIZE + 8 };
void grantee_format(const struct grantee *who, char text_r[GRANTEE_SIZE]);
/* By kind, then by name. */
int grantee_compare(const struct grantee *a, const struct grantee *b);

/* One identifier's rights on one mailbox. A half that is not there changes nothing; one that is
 * there with no right in it takes away what a weaker kind gives. */
struct grant {
	struct grantee who;
	bool has_rights, has_negative;
	uint16_t rights, negative;
};

/* Somebody who uses mailboxes, as the directory knows the account now. `user` is canonical, or what
 * a login is called where the directory does not keep the accounts; "" is not authenticated. */
struct rights_user {
	char user[ADDRESS_SIZE];
	char domain[DOMAIN_SIZE]; /* of user, "" without */
	char **groups;		  /* canonical names, sorted; group_count of them */
	size_t group_count;
	char **administers; /* domains, sorted */
	size_t administers_count;
};
/* Reads the groups, those that the account is in through other groups or its aliases too (as their
 * mail would reach it), and the domains of which the user is an administrator. Inside a snapshot of
 * `directory`. finish: zeroed or filled; may be called twice. */
MUST_CHECK int rights_user_init(struct directory_reader *directory, const char *user,
				struct rights_user *user_r, struct error *error);
void rights_user_finish(struct rights_user *user);

/* Is it this user that the identifier means, in a mailbox of `owner`? */
bool grantee_is(const struct grantee *who, const struct rights_user *me, const char *owner);
/* May the user do everything in this owner's mailboxes without a grant? */
bool rights_user_administers(const struct rights_user *me, const char *owner);

/* What the grants add up to. `own` are those on the mailbox, `whole` those on the whole account:
 * one of `whole` counts where the mailbox has none for the same identifier. Each sorted by
 * grantee_compare(), without the same identifier twice. The owner starts with all rights, everybody
 * else with none; an administrator of the owner's domain has all, whatever is granted. */
uint16_t rights_of(const struct rights_user *me, const char *owner, const struct grant *own,
		   size_t own_count, const struct grant *whole, size_t whole_count);

#endif
