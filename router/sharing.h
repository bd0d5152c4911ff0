/* Grants on mailboxes: who may do what in whose mailbox (sharing.mdb), and the same keyed by whom
 * they are for, so that what is shared with somebody is one range scan. What is where is in
 * sharing-format.h; the writing side is sharing-write.h; what the grants add up to for one user is
 * in rights.h.
 *
 * An owner is a canonical account, `local@domain`, or `public:PREFIX` for the mailboxes of a public
 * namespace with that prefix, which belong to nobody.
 *
 * A mailbox is named by its components in UTF-8, as the owner sees them under the namespace of the
 * INBOX, with MAILBOX_SEPARATOR between them; `INBOX` is in capitals. The separator that clients
 * see does not matter. "" is the account as a whole: a grant on it counts for every mailbox, present
 * and future; homingctl writes it `*`. */
#ifndef HOMING_SHARING_H
#define HOMING_SHARING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "directory.h"
#include "error.h"
#include "name.h"
#include "rights.h"

struct sharing;
struct sharing_reader;

enum {
	MAILBOX_SEPARATOR = '\x1f',
	MAILBOX_MAX_BYTES = 4096, /* Dovecot: MAILBOX_LIST_NAME_MAX_LENGTH */
	MAILBOX_SIZE = MAILBOX_MAX_BYTES + 1,
	OWNER_MAX_BYTES = ADDRESS_SIZE, /* of an owner of either kind */
	OWNER_SIZE = OWNER_MAX_BYTES + 1,
};

/* May a mailbox have this name (in the form above)? UTF-8, no control character but the separator,
 * no empty component, within MAILBOX_MAX_BYTES. NULL if it may, else why not. */
const char *mailbox_refusal(const char *mailbox);

/* From and to what people type, with `separator` between the components ('/' in homingctl) and `*`
 * for the whole account; any spelling of INBOX as the first component becomes `INBOX`. parse: NULL if
 * fine, else why not. format: false if it does not fit, or if a component has the separator in it. */
const char *mailbox_parse(const char *text, char separator, char mailbox_r[MAILBOX_SIZE]);
bool mailbox_format(const char *mailbox, char separator, char *text_r, size_t size);

/* Opens sharing.mdb under the folder `path`, read-only. Where it is an older file with no grants
 * in it, it reads as empty. A process that also writes (sharing-write.h) closes this before it
 * opens a writer, and opens it again afterwards: LMDB allows a process one environment a file.
 * Opening costs some 50 microseconds. */
MUST_CHECK int sharing_open(const char *path, struct sharing **sharing_r, struct error *error);
void sharing_close(struct sharing **sharing);

/* store_version() and store_check() of sharing.mdb. */
uint64_t sharing_version(struct sharing *sharing);
MUST_CHECK int sharing_check(struct sharing *sharing, struct error *error);

/* One snapshot at a time; a reader belongs to one thread. */
MUST_CHECK int sharing_begin(struct sharing *sharing, struct error *error);
void sharing_end(struct sharing *sharing);
/* Of the snapshot, as sharing_version(). */
uint64_t sharing_snapshot(const struct sharing *sharing);

/* Calls `each` with the grants on one mailbox ("" the whole account: its own grants alone), in the order
 * of grantee_compare(). The grant is the callee's during the call. Stops at the first answer that
 * is not 0 and returns it; 0 at the end; -1 failed. A mailbox without grants has none: 0. */
typedef int sharing_grant_cb(const struct grant *grant, void *context);
MUST_CHECK int sharing_each_grant(struct sharing *sharing, const char *owner, const char *mailbox,
				  sharing_grant_cb *each, void *context, struct error *error);

/* Calls `each` with every grant of an owner (NULL: of all owners), by mailbox. */
typedef int sharing_mailbox_cb(const char *owner, const char *mailbox, const struct grant *grant,
			       void *context);
MUST_CHECK int sharing_each_of_owner(struct sharing *sharing, const char *owner,
				     sharing_mailbox_cb *each, void *context, struct error *error);

/* One range scan of the index: calls `each` with every mailbox on which this very grantee has a grant
 * (of any rights, also negative or empty ones); "" where it is the whole account. */
typedef int sharing_received_cb(const char *owner, const char *mailbox, void *context);
MUST_CHECK int sharing_each_received(struct sharing *sharing, const struct grantee *who,
				     sharing_received_cb *each, void *context, struct error *error);

/* Has this owner any grant to somebody else on this mailbox or on one below it? 1, 0, -1. */
MUST_CHECK int sharing_has_grants(struct sharing *sharing, const char *owner, const char *mailbox,
				  struct error *error);

/* What `me` may do with a mailbox: its grants and those of the whole account, put together by
 * rights_of(). */
MUST_CHECK int sharing_rights(struct sharing *sharing, const struct rights_user *me,
			      const char *owner, const char *mailbox, uint16_t *rights_r,
			      struct error *error);

/* What is shared with `me`: calls `each` once for each mailbox of others on which `me` has the right
 * to look it up ('l'), sorted by owner (domain, then local part) and mailbox, with the rights. A whole
 * account stands there as "" with the rights that its grant gives, for the caller to list: mailboxes
 * of it that have grants of their own and are visible follow by name as well. Linear in the grants
 * that `me`, the groups and domain of `me` and `anyone` have received. Mailboxes of `me`, and what an
 * administrator may do without a grant, are not in it. */
typedef int sharing_visible_cb(const char *owner, const char *mailbox, uint16_t rights,
			       void *context);
MUST_CHECK int sharing_each_visible(struct sharing *sharing, const struct rights_user *me,
				    sharing_visible_cb *each, void *context, struct error *error);

struct sharing_statistics {
	uint64_t owners, mailboxes, grants, sequence;
};
MUST_CHECK int sharing_statistics(struct sharing *sharing,
				  struct sharing_statistics *statistics_r, struct error *error);

#endif
