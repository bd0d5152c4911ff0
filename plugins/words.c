/* Dovecot's words for rights and identifiers. */
#include "compat.h"

#include "router/printable.h"
#include "words.h"

/* Four times the longest name of a mailbox. */
#define PRINTABLE_MAX 16384

const char *homing_printable(const char *text)
{
	size_t length = strlen(text);
	size_t size = I_MIN(4 * length + 1, PRINTABLE_MAX);
	char *printable = t_malloc_no0(size);

	printable_escape(printable, size, text, length);
	return printable;
}

static const struct {
	enum right right;
	const char *name;
} words[] = {
	{RIGHT_LOOKUP, MAIL_ACL_LOOKUP},
	{RIGHT_READ, MAIL_ACL_READ},
	{RIGHT_WRITE, MAIL_ACL_WRITE},
	{RIGHT_WRITE_SEEN, MAIL_ACL_WRITE_SEEN},
	{RIGHT_WRITE_DELETED, MAIL_ACL_WRITE_DELETED},
	{RIGHT_INSERT, MAIL_ACL_INSERT},
	{RIGHT_POST, MAIL_ACL_POST},
	{RIGHT_EXPUNGE, MAIL_ACL_EXPUNGE},
	{RIGHT_CREATE, MAIL_ACL_CREATE},
	{RIGHT_DELETE, MAIL_ACL_DELETE},
	{RIGHT_ADMINISTER, MAIL_ACL_ADMIN},
};

const char *const *homing_right_names(pool_t pool, uint16_t rights)
{
	const char **names = p_new(pool, const char *, N_ELEMENTS(words) + 1);
	unsigned int count = 0;

	for (unsigned int i = 0; i < N_ELEMENTS(words); i++) {
		if ((rights & words[i].right) != 0)
			names[count++] = words[i].name;
	}
	return names;
}

static bool find_right(const char *name, uint16_t *rights)
{
	for (unsigned int i = 0; i < N_ELEMENTS(words); i++) {
		if (strcmp(words[i].name, name) == 0) {
			*rights |= words[i].right;
			return TRUE;
		}
	}
	return FALSE;
}

bool homing_rights_of_names(const char *const *names, uint16_t *rights_r, const char **unknown_r)
{
	*rights_r = 0;
	for (; names != NULL && *names != NULL; names++) {
		if (!find_right(*names, rights_r)) {
			*unknown_r = *names;
			return FALSE;
		}
	}
	return TRUE;
}

static void acl_identifier(pool_t pool, const struct grantee *who, struct acl_rights *rights_r)
{
	switch (who->kind) {
	case GRANTEE_ANYONE:
		rights_r->id_type = ACL_ID_ANYONE;
		return;
	case GRANTEE_AUTHENTICATED:
		rights_r->id_type = ACL_ID_AUTHENTICATED;
		return;
	case GRANTEE_OWNER:
		rights_r->id_type = ACL_ID_OWNER;
		return;
	case GRANTEE_DOMAIN:
		rights_r->id_type = ACL_ID_USER;
		rights_r->identifier = p_strconcat(pool, "anyone@", who->name, NULL);
		return;
	case GRANTEE_GROUP:
		rights_r->id_type = ACL_ID_GROUP;
		break;
	case GRANTEE_USER:
		rights_r->id_type = ACL_ID_USER;
		break;
	case GRANTEE_GROUP_OVERRIDE:
		rights_r->id_type = ACL_ID_GROUP_OVERRIDE;
		break;
	}
	rights_r->identifier = p_strdup(pool, who->name);
}

void homing_acl_rights(pool_t pool, const struct grant *grant, struct acl_rights *rights_r)
{
	i_zero(rights_r);
	acl_identifier(pool, &grant->who, rights_r);
	if (grant->has_rights)
		rights_r->rights = homing_right_names(pool, grant->rights);
	if (grant->has_negative)
		rights_r->neg_rights = homing_right_names(pool, grant->negative);
}

/* doveadm can say `user=anyone`. */
static bool is_user(const char *name)
{
	return name[0] != '$' && name[0] != '!' && name[0] != '-' && name[0] != '#' &&
	       strcasecmp(name, "anyone") != 0 && strcasecmp(name, "authenticated") != 0 &&
	       strcasecmp(name, "owner") != 0;
}

const char *homing_identifier_of(const struct acl_rights *rights)
{
	switch (rights->id_type) {
	case ACL_ID_ANYONE:
		return "anyone";
	case ACL_ID_AUTHENTICATED:
		return "authenticated";
	case ACL_ID_OWNER:
		return "owner";
	case ACL_ID_USER:
		return is_user(rights->identifier) ? rights->identifier : NULL;
	case ACL_ID_GROUP:
		return t_strconcat("$", rights->identifier, NULL);
	case ACL_ID_GROUP_OVERRIDE:
		return t_strconcat("!$", rights->identifier, NULL);
	case ACL_ID_TYPE_COUNT:
		break;
	}
	i_unreached();
}
