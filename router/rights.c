/* Letters of RFC 4314, and what several grants add up to. Whom an identifier means as people type
 * it is in grantee.c, and who somebody is in rights-user.c. */
#include "rights.h"

#include <string.h>

#include "rights-sum.h"

static const char letters[] = "lrwstipekxa"; /* bit N is letter N */

static uint16_t right_of(char letter)
{
	const char *found = letter ? strchr(letters, letter) : NULL;

	if (found)
		return (uint16_t)(1u << (found - letters));
	if (letter == 'c')
		return RIGHT_CREATE | RIGHT_DELETE;
	if (letter == 'd')
		return RIGHT_EXPUNGE | RIGHT_WRITE_DELETED;
	return 0;
}

const char *rights_parse(const char *text, size_t length, uint16_t *rights_r)
{
	uint16_t rights = 0;

	for (size_t i = 0; i < length; i++) {
		uint16_t right = right_of(text[i]);

		if (right == 0)
			return "not a right: the letters are l r w s t i p e k x a";
		rights |= right;
	}
	*rights_r = rights;
	return NULL;
}

void rights_format(uint16_t rights, char letters_r[RIGHTS_SIZE])
{
	for (size_t i = 0; letters[i]; i++)
		if (rights & 1u << i)
			*letters_r++ = letters[i];
	*letters_r = '\0';
}

int grantee_compare(const struct grantee *a, const struct grantee *b)
{
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return strcmp(a->name, b->name);
}

static bool has(char *const *sorted, size_t count, const char *wanted)
{
	size_t low = 0, high = count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;
		int order = strcmp(sorted[middle], wanted);

		if (order == 0)
			return true;
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return false;
}

static bool is_owner(const struct rights_user *me, const char *owner)
{
	return me->user[0] != '\0' && strcmp(me->user, owner) == 0;
}

bool grantee_is(const struct grantee *who, const struct rights_user *me, const char *owner)
{
	switch (who->kind) {
	case GRANTEE_ANYONE:
		return true;
	case GRANTEE_AUTHENTICATED:
		return me->user[0] != '\0';
	case GRANTEE_DOMAIN:
		return me->domain[0] != '\0' && strcmp(me->domain, who->name) == 0;
	case GRANTEE_GROUP:
	case GRANTEE_GROUP_OVERRIDE:
		return has(me->groups, me->group_count, who->name);
	case GRANTEE_OWNER:
		return is_owner(me, owner);
	case GRANTEE_USER:
		return me->user[0] != '\0' && strcmp(me->user, who->name) == 0;
	}
	return false;
}

bool rights_user_administers(const struct rights_user *me, const char *owner)
{
	const char *at = strncmp(owner, OWNER_PUBLIC, strlen(OWNER_PUBLIC)) == 0
				 ? NULL
				 : strrchr(owner, '@');

	return at && has(me->administers, me->administers_count, at + 1);
}

uint16_t rights_of(const struct rights_user *me, const char *owner, const struct grant *own,
		   size_t own_count, const struct grant *whole, size_t whole_count)
{
	struct rights_sum sum = rights_sum_start(is_owner(me, owner));
	size_t i = 0, j = 0;

	if (rights_user_administers(me, owner))
		return RIGHTS_ALL;
	while (i < own_count || j < whole_count) {
		int order = i == own_count     ? 1
			    : j == whole_count ? -1
					       : grantee_compare(&own[i].who, &whole[j].who);
		const struct grant *grant = order <= 0 ? &own[i] : &whole[j];

		i += order <= 0;
		j += order >= 0;
		if (grantee_is(&grant->who, me, owner))
			rights_sum_add(&sum, (uint8_t)grant->who.kind, grant->has_rights,
				       grant->rights, grant->has_negative, grant->negative);
	}
	return rights_sum_end(&sum);
}
