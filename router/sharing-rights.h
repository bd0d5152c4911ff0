/* What somebody may do with a mailbox, found out by ids, without a name read from the file. */
#ifndef HOMING_SHARING_RIGHTS_H
#define HOMING_SHARING_RIGHTS_H

#include "rights.h"
#include "sharing-view.h"

/* A rights_user as the file knows it. */
struct rights_ids {
	const struct rights_user *me;
	uint64_t user, domain; /* 0: nobody gave anything */
	struct group_id {
		uint64_t id;
		uint32_t place; /* among me->groups, thus by name */
	} *groups; /* those that received something, by id */
	size_t group_count;
	struct rights_match *matches; /* room for what can match of two mailboxes */
};

/* finish: zeroed or filled. */
MUST_CHECK int rights_ids_init(const struct sharing_view *view, const struct rights_user *me,
			       struct rights_ids *ids_r, struct error *error);
void rights_ids_finish(struct rights_ids *ids);

/* rights_of() but for administrators. `own` and `whole` may be NULL. */
uint16_t rights_by_ids(struct rights_ids *ids, bool is_owner, const struct grants_value *own,
		       const struct grants_value *whole);

/* sharing_rights() in a view. */
MUST_CHECK int view_rights(const struct sharing_view *view, const struct rights_user *me,
			   const char *owner, const char *mailbox, uint16_t *rights_r,
			   struct error *error);

#endif
