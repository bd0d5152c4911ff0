/* Several grants put together for one user, in the order of Dovecot's acl_object_rebuild_cache():
 * each kind of identifier that has something to say replaces what the weaker ones said, and groups
 * of one kind add up. For who finds out by itself which grants are meant. */
#ifndef HOMING_RIGHTS_SUM_H
#define HOMING_RIGHTS_SUM_H

#include "rights.h"

struct rights_sum {
	bool owner; /* of the mailbox */
	uint8_t last; /* the kind that spoke last, 0 none */
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
	bool first = sum->last != kind;
	sum->last = kind;
	if (has_rights)
		sum->rights = first ? rights : sum->rights | rights;
	if (has_negative)
		sum->negative = first ? negative : sum->negative | negative;
}

static inline uint16_t rights_sum_end(const struct rights_sum *sum)
{
	return sum->rights & (uint16_t)~sum->negative;
}

#endif
