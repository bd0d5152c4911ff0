/* What somebody may do with a mailbox, found out by ids. */
#include "sharing-rights.h"

#include <stdlib.h>
#include <string.h>

#include "rights-sum.h"

/* A grant that means me: `place` puts several groups in the order of their names. */
struct rights_match {
	struct stored_grant grant;
	uint32_t place;
};

static int compare_groups(const void *left, const void *right)
{
	const struct group_id *a = left, *b = right;

	return a->id < b->id ? -1 : a->id > b->id;
}

static int find_groups(const struct sharing_view *view, struct rights_ids *ids,
		       struct error *error)
{
	struct grantee who = {.kind = GRANTEE_GROUP};

	for (size_t i = 0; i < ids->me->group_count; i++) {
		const char *name = ids->me->groups[i];
		struct group_id *group = &ids->groups[ids->group_count];

		if (strlen(name) >= sizeof who.name)
			continue;
		memcpy(who.name, name, strlen(name) + 1);
		int found = view_grantee(view, &who, &group->id, error);
		if (found < 0)
			return -1;
		group->place = (uint32_t)i;
		ids->group_count += found > 0;
	}
	if (ids->group_count > 1)
		qsort(ids->groups, ids->group_count, sizeof *ids->groups, compare_groups);
	return 0;
}

static int find_one(const struct sharing_view *view, enum grantee_kind kind, const char *name,
		    uint64_t *id_r, struct error *error)
{
	struct grantee who = {.kind = kind};

	*id_r = 0;
	if (*name == '\0')
		return 0;
	memcpy(who.name, name, strlen(name) + 1);
	return view_grantee(view, &who, id_r, error) < 0 ? -1 : 0;
}

int rights_ids_init(const struct sharing_view *view, const struct rights_user *me,
		    struct rights_ids *ids_r, struct error *error)
{
	/* for each of two mailboxes: each kind once, and two of each group */
	size_t most = 2 * (GRANTEE_GROUP_OVERRIDE + 2 * me->group_count);

	*ids_r = (struct rights_ids){.me = me};
	ids_r->groups = calloc(me->group_count + 1, sizeof *ids_r->groups);
	ids_r->matches = calloc(most, sizeof *ids_r->matches);
	if (!ids_r->groups || !ids_r->matches)
		error_set(error, ERROR_MEMORY, "out of memory");
	else if (find_one(view, GRANTEE_USER, me->user, &ids_r->user, error) == 0 &&
		 find_one(view, GRANTEE_DOMAIN, me->domain, &ids_r->domain, error) == 0 &&
		 find_groups(view, ids_r, error) == 0)
		return 0;
	rights_ids_finish(ids_r);
	return -1;
}

void rights_ids_finish(struct rights_ids *ids)
{
	free(ids->groups);
	free(ids->matches);
	*ids = (struct rights_ids){0};
}

static bool find_place(const struct rights_ids *ids, uint64_t id, uint32_t *place_r)
{
	const struct group_id key = {.id = id};
	const struct group_id *found = bsearch(&key, ids->groups, ids->group_count,
					       sizeof *ids->groups, compare_groups);

	if (found)
		*place_r = found->place;
	return found;
}

static bool matches(const struct rights_ids *ids, bool is_owner, const struct stored_grant *grant,
		    uint32_t *place_r)
{
	*place_r = 0;
	switch (grant->kind) {
	case GRANTEE_ANYONE:
		return true;
	case GRANTEE_AUTHENTICATED:
		return ids->me->user[0] != '\0';
	case GRANTEE_DOMAIN:
		return grant->id == ids->domain;
	case GRANTEE_GROUP:
	case GRANTEE_GROUP_OVERRIDE:
		return find_place(ids, grant->id, place_r);
	case GRANTEE_OWNER:
		return is_owner;
	default:
		return grant->id == ids->user;
	}
}

/* Puts the grants that mean me in order among the first `count` matches, unless one for the same
 * identifier is there. Returns the new count. */
static size_t add_matches(struct rights_ids *ids, bool is_owner, const struct grants_value *value,
			  size_t count)
{
	for (size_t i = 0; i < value->count; i++) {
		struct rights_match match;

		stored_grant_take(value, i, &match.grant);
		if (!matches(ids, is_owner, &match.grant, &match.place))
			continue;
		size_t at = count;
		while (at > 0 && (ids->matches[at - 1].grant.kind > match.grant.kind ||
				  (ids->matches[at - 1].grant.kind == match.grant.kind &&
				   ids->matches[at - 1].place > match.place)))
			at--;
		if (at > 0 && stored_grant_compare(&ids->matches[at - 1].grant, &match.grant) == 0)
			continue;
		memmove(&ids->matches[at + 1], &ids->matches[at], (count - at) * sizeof match);
		ids->matches[at] = match;
		count++;
	}
	return count;
}

uint16_t rights_by_ids(struct rights_ids *ids, bool is_owner, const struct grants_value *own,
		       const struct grants_value *whole)
{
	struct rights_sum sum = rights_sum_start(is_owner);
	size_t count = own ? add_matches(ids, is_owner, own, 0) : 0;

	if (whole)
		count = add_matches(ids, is_owner, whole, count);
	for (size_t i = 0; i < count; i++) {
		const struct stored_grant *grant = &ids->matches[i].grant;

		rights_sum_add(&sum, grant->kind, grant->has_rights, grant->rights,
			       grant->has_negative, grant->negative);
	}
	return rights_sum_end(&sum);
}

/* The grants that count for a mailbox. 1 if there are any, 0, -1. */
static int find_grants(const struct sharing_view *view, const char *owner, const char *mailbox,
		       struct grants_value *own, struct grants_value *whole, struct error *error)
{
	uint64_t id;
	int known = view_owner(view, owner, &id, error);

	*own = *whole = (struct grants_value){0};
	if (known <= 0)
		return known;
	int found = view_grants(view, id, mailbox, own, error);
	int found_whole = found < 0 || *mailbox == '\0' ? 0 : view_grants(view, id, "", whole, error);
	if (found == 0)
		own->count = 0; /* another mailbox's, of the same key */
	return found < 0 || found_whole < 0 ? -1 : found | found_whole;
}

int view_rights(const struct sharing_view *view, const struct rights_user *me, const char *owner,
		const char *mailbox, uint16_t *rights_r, struct error *error)
{
	bool is_owner = me->user[0] != '\0' && strcmp(me->user, owner) == 0;
	struct grants_value own, whole;
	struct rights_ids ids;

	if (rights_user_administers(me, owner)) {
		*rights_r = RIGHTS_ALL;
		return 0;
	}
	int found = find_grants(view, owner, mailbox, &own, &whole, error);
	if (found == 0)
		*rights_r = is_owner ? RIGHTS_ALL : 0;
	if (found <= 0)
		return found;
	if (rights_ids_init(view, me, &ids, error) < 0)
		return -1;
	*rights_r = rights_by_ids(&ids, is_owner, &own, &whole);
	rights_ids_finish(&ids);
	return 0;
}
