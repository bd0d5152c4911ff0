/* Several grants put together for one user, in the order of Dovecot's acl_object_rebuild_cache():
 * each kind of identifier that has something to say replaces what the weaker ones said, and groups
 * of one kind add up. For who finds out by itself which grants are meant.
 *
 * Each half by itself. Dovecot asks which kind spoke last of either half: with it, a group that has
 * nothing but negative rights lets the next group's rights be added to those of a weaker kind, if
 * its name comes first. */
#ifndef HOMING_RIGHTS_SUM_H
#define HOMING_RIGHTS_SUM_H

#include "rights.h"

struct rights_sum {
	bool owner; /* of the mailbox */
	uint8_t last_rights, last_negative; /* the kind that spoke last, 0 none */
	uint16_t rights, negative;
};

/* The owner starts with all rights, everybody else with none. */
static inline struct rights_sum rights_sum_start(bool owner)
{
	return (struct rights_sum){.owner = owner, .rights = owner ? RIGHTS_ALL : 0};
}

/* A grant that means this user. By kind, and within a kind by name. What is weaker than `owner`
 * says nothing about the owner. */
static inline void rights_sum_add(struct rights_sum *sum, uint8_t kind, bool has_rights,
				  uint16_t rights, bool has_negative, uint16_t negative)
{
	if (sum->owner && kind < GRANTEE_OWNER)
		return;
	if (has_rights) {
		sum->rights = sum->last_rights == kind ? sum->rights | rights : rights;
		sum->last_rights = kind;
	}
	if (has_negative) {
		sum->negative = sum->last_negative == kind ? sum->negative | negative : negative;
		sum->last_negative = kind;
	}
}

static inline uint16_t rights_sum_end(const struct rights_sum *sum)
{
	return sum->rights & (uint16_t)~sum->negative;
}

#endif
