/* Between our rights and identifiers and those of Dovecot's acl plugin. */
#ifndef HOMING_WORDS_H
#define HOMING_WORDS_H

#include "router/rights.h"

struct acl_rights;

/* What came from a client, fit for a line of a log or of IMAP: an IMAP literal may hold line ends.
 * On the data stack; cut where it is longer than any name. */
HOMING_EXPORT const char *homing_printable(const char *text);

/* `lookup`, `read`...: ended by NULL, on the pool. */
const char *const *homing_right_names(pool_t pool, uint16_t rights);
/* FALSE: *unknown_r is one that we cannot keep. NULL has none. */
bool homing_rights_of_names(const char *const *names, uint16_t *rights_r, const char **unknown_r);

/* A grant as acl's own struct, its strings on the pool. A domain is a user called `anyone@domain`
 * there. */
void homing_acl_rights(pool_t pool, const struct grant *grant, struct acl_rights *rights_r);

/* The identifier as people type it in SETACL; NULL where acl's struct holds a user or group that
 * would be read as something else. */
const char *homing_identifier_of(const struct acl_rights *rights);

#endif
