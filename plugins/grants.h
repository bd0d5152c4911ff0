/* What sharing.mdb has about one mailbox, as a mail process looks at it. All of it between
 * homing_session_begin() and homing_session_end(). */
#ifndef HOMING_GRANTS_H
#define HOMING_GRANTS_H

#include "router/rights.h"

struct homing_session;

ARRAY_DEFINE_TYPE(homing_grant, struct grant);

/* The grants on one mailbox ("": on the whole account), sorted, appended to the array. -1: logged. */
int homing_grants_of(struct homing_session *session, const char *owner, const char *mailbox,
		     ARRAY_TYPE(homing_grant) *grants);
/* Those on the mailbox, and those on the whole account that count on it. -1: logged. */
int homing_grants_counting(struct homing_session *session, const char *owner, const char *mailbox,
			   ARRAY_TYPE(homing_grant) *grants);
/* NULL: there is none. */
const struct grant *homing_grant_to(const ARRAY_TYPE(homing_grant) *grants,
				    const struct grantee *who);

/* Is there any grant on the mailbox, or with `below` on one below it? 1, 0, -1: logged. */
int homing_grants_exist(struct homing_session *session, const char *owner, const char *mailbox,
			bool below);
/* Those of the mailbox and the ones below it ("": all of the owner) that have grants, each once, on
 * the data stack. -1: logged. */
int homing_grants_below(struct homing_session *session, const char *owner, const char *mailbox,
			ARRAY_TYPE(const_string) *mailboxes);

#endif
