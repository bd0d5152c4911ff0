/* Looking at the grants on a mailbox. */
#include "compat.h"

#include "grants.h"
#include "session.h"

#define READING "grants cannot be read"

static int append_grant(const struct grant *grant, void *context)
{
	ARRAY_TYPE(homing_grant) *grants = context;

	array_push_back(grants, grant);
	return 0;
}

int homing_grants_of(struct homing_session *session, const char *owner, const char *mailbox,
		     ARRAY_TYPE(homing_grant) *grants)
{
	struct error error = {0};

	if (sharing_each_grant(homing_session_sharing(session), owner, mailbox, append_grant, grants,
			       &error) == 0)
		return 0;
	homing_session_failed(session, READING, &error);
	return -1;
}

static int compare_grants(const struct grant *a, const struct grant *b)
{
	return grantee_compare(&a->who, &b->who);
}

int homing_grants_counting(struct homing_session *session, const char *owner, const char *mailbox,
			   ARRAY_TYPE(homing_grant) *grants)
{
	ARRAY_TYPE(homing_grant) whole;
	const struct grant *grant;

	if (homing_grants_of(session, owner, mailbox, grants) < 0)
		return -1;
	if (mailbox[0] == '\0')
		return 0;
	t_array_init(&whole, 8);
	if (homing_grants_of(session, owner, "", &whole) < 0)
		return -1;
	unsigned int own = array_count(grants);
	array_foreach(&whole, grant) {
		if (homing_grant_to(grants, &grant->who) == NULL)
			array_push_back(grants, grant);
	}
	if (array_count(grants) > own)
		array_sort(grants, compare_grants);
	return 0;
}

const struct grant *homing_grant_to(const ARRAY_TYPE(homing_grant) *grants,
				    const struct grantee *who)
{
	const struct grant *grant;

	array_foreach(grants, grant) {
		if (grantee_compare(&grant->who, who) == 0)
			return grant;
	}
	return NULL;
}

static int stop_at_grant(const struct grant *grant ATTR_UNUSED, void *context ATTR_UNUSED)
{
	return 1;
}

static bool is_below(const char *mailbox, const char *parent)
{
	size_t length = strlen(parent);

	if (length == 0)
		return TRUE;
	return strncmp(mailbox, parent, length) == 0 &&
	       (mailbox[length] == '\0' || mailbox[length] == MAILBOX_SEPARATOR);
}

static int stop_at_mailbox(const char *owner ATTR_UNUSED, const char *mailbox,
			   const struct grant *grant ATTR_UNUSED, void *context)
{
	return is_below(mailbox, context) ? 1 : 0;
}

int homing_grants_exist(struct homing_session *session, const char *owner, const char *mailbox,
			bool below)
{
	struct sharing *sharing = homing_session_sharing(session);
	struct error error = {0};

	int ret = !below ? sharing_each_grant(sharing, owner, mailbox, stop_at_grant, NULL, &error)
			 : sharing_each_of_owner(sharing, owner, stop_at_mailbox, (void *)mailbox,
						 &error);
	if (ret < 0)
		homing_session_failed(session, READING, &error);
	return ret;
}

struct below {
	const char *parent, *last;
	ARRAY_TYPE(const_string) *mailboxes;
};

static int add_below(const char *owner ATTR_UNUSED, const char *mailbox,
		     const struct grant *grant ATTR_UNUSED, void *context)
{
	struct below *below = context;

	if (!is_below(mailbox, below->parent) ||
	    (below->last != NULL && strcmp(below->last, mailbox) == 0))
		return 0;
	below->last = t_strdup(mailbox);
	array_push_back(below->mailboxes, &below->last);
	return 0;
}

int homing_grants_below(struct homing_session *session, const char *owner, const char *mailbox,
			ARRAY_TYPE(const_string) *mailboxes)
{
	struct below below = {.parent = mailbox, .mailboxes = mailboxes};
	struct error error = {0};

	if (sharing_each_of_owner(homing_session_sharing(session), owner, add_below, &below, &error) >=
	    0)
		return 0;
	homing_session_failed(session, READING, &error);
	return -1;
}
