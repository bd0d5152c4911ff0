/* Changing the rights on a mailbox. */
#include "compat.h"

#include "backend.h"
#include "change.h"
#include "grants.h"
#include "naming.h"
#include "session.h"
#include "words.h"

/* What a change is about, while it is looked at. */
struct target {
	struct acl_backend *backend;
	struct homing_session *session;
	const char *owner, *mailbox; /* as in sharing.h */
	struct grant_change change;
	const struct grant *own, *whole; /* what the grantee has now; NULL: nothing */
};

static bool has_owner(const struct acl_backend *backend)
{
	return strncmp(homing_owner_of(backend->list), "public:", 7) != 0;
}

static const char *domain_of(const char *owner)
{
	const char *at = strrchr(owner, '@');

	return at == NULL || strncmp(owner, "public:", 7) == 0 ? "" : at + 1;
}

static enum homing_changed find_grantee(struct target *target, const char *identifier,
					const char **why_r)
{
	char why[GRANTEE_WHY_SIZE] = "";
	struct error error = {0};

	int ret = grantee_parse(homing_session_directory(target->session), identifier,
				domain_of(target->owner), &target->change.who, why, &error);
	if (ret < 0) {
		homing_session_failed(target->session, "rights cannot be changed", &error);
		return HOMING_FAILED;
	}
	if (ret == 0) {
		*why_r = t_strdup_printf("`%s`: %s", homing_printable(identifier), why);
		return HOMING_IMPOSSIBLE;
	}
	if (target->change.who.kind == GRANTEE_OWNER && !has_owner(target->backend)) {
		*why_r = "`owner`: a public mailbox has no owner";
		return HOMING_IMPOSSIBLE;
	}
	return HOMING_CHANGED;
}

static bool is_owner_here(const struct target *target, const struct grantee *who)
{
	const struct rights_user *me = homing_session_me(target->session);

	if (who->kind == GRANTEE_OWNER)
		return strcmp(me->user, target->owner) == 0;
	return who->kind == GRANTEE_USER && strcmp(who->name, me->user) == 0;
}

static bool owner_has_rights(const struct target *target, const ARRAY_TYPE(homing_grant) *grants)
{
	const struct grant *grant;

	array_foreach(grants, grant) {
		if (grant->has_rights && is_owner_here(target, &grant->who))
			return TRUE;
	}
	return FALSE;
}

/* Owners who have no grant have all rights; once there is one, only what it says. */
static void protect_owner(struct target *target, const ARRAY_TYPE(homing_grant) *grants)
{
	struct grant_change *change = &target->change;

	if (target->backend->list->ns->type != MAIL_NAMESPACE_TYPE_PRIVATE ||
	    !is_owner_here(target, &change->who))
		return;
	if (change->mode == GRANT_REPLACE)
		change->rights |= RIGHT_ADMINISTER;
	else if (change->mode == GRANT_REMOVE)
		change->rights &= ~RIGHT_ADMINISTER;
	else if (change->mode == GRANT_ADD && !owner_has_rights(target, grants))
		change->rights = RIGHTS_ALL;
}

/* What one half of a grant becomes, from what it is. */
static void change_half(enum grant_change_mode mode, uint16_t rights, bool *has, uint16_t *value)
{
	switch (mode) {
	case GRANT_NONE:
		return;
	case GRANT_ADD:
		*value = (*has ? *value : 0) | rights;
		*has = TRUE;
		return;
	case GRANT_REMOVE:
		*value &= ~rights;
		return;
	case GRANT_REPLACE:
		*value = rights;
		*has = TRUE;
		return;
	case GRANT_CLEAR:
		*value = 0;
		*has = FALSE;
		return;
	}
	i_unreached();
}

static struct grant result_of(const struct grant *before, const struct grant_change *change)
{
	struct grant grant = {.who = change->who};

	if (before != NULL)
		grant = *before;
	change_half(change->mode, change->rights, &grant.has_rights, &grant.rights);
	change_half(change->negative_mode, change->negative, &grant.has_negative, &grant.negative);
	return grant;
}

static const char *shown_owner(const struct target *target)
{
	return strchr(target->owner, ' ') == NULL ? target->owner
						   : t_strdup_printf("'%s'", target->owner);
}

/* Somebody who has rights on the whole account is in the mailbox's ACL by that. A change of what
 * stands there is kept with the mailbox, and counts in its place; but it cannot be to have nothing in
 * the mailbox's ACL, because what was given on the whole account would come back. */
static enum homing_changed follow_whole(struct target *target, const char **why_r)
{
	char who[GRANTEE_SIZE];

	if (target->whole == NULL)
		return HOMING_CHANGED;
	const struct grant *before = target->own != NULL ? target->own : target->whole;
	struct grant after = result_of(before, &target->change);
	if (!after.has_rights && !after.has_negative) {
		grantee_format(&target->change.who, who);
		*why_r = t_strdup_printf("%s has rights on all mailboxes of the account, and so on this "
					 "one. To take them from this mailbox alone, set none (SETACL with "
					 "\"\"); to take them all: homingctl share revoke %s '*' '%s'",
					 who, shown_owner(target), who);
		return HOMING_IMPOSSIBLE;
	}
	if (target->own != NULL)
		return HOMING_CHANGED;
	target->change.mode = after.has_rights ? GRANT_REPLACE : GRANT_CLEAR;
	target->change.rights = after.rights;
	target->change.negative_mode = after.has_negative ? GRANT_REPLACE : GRANT_CLEAR;
	target->change.negative = after.negative;
	return HOMING_CHANGED;
}

static enum homing_changed look_at(struct target *target, const struct homing_change *change,
				   const char **why_r)
{
	ARRAY_TYPE(homing_grant) own, whole, counting;

	enum homing_changed found = find_grantee(target, change->identifier, why_r);
	if (found != HOMING_CHANGED)
		return found;
	t_array_init(&own, 8);
	t_array_init(&whole, 8);
	t_array_init(&counting, 8);
	if (homing_grants_of(target->session, target->owner, target->mailbox, &own) < 0 ||
	    homing_grants_counting(target->session, target->owner, target->mailbox, &counting) < 0 ||
	    homing_grants_of(target->session, target->owner, "", &whole) < 0)
		return HOMING_FAILED;
	if (change->protects_owner)
		protect_owner(target, &counting);
	if (target->mailbox[0] == '\0')
		return HOMING_CHANGED;
	target->own = homing_grant_to(&own, &target->change.who);
	target->whole = homing_grant_to(&whole, &target->change.who);
	return follow_whole(target, why_r);
}

static int write_change(struct sharing_writer *writer, const struct sharing_actor *actor,
			void *context, struct error *error)
{
	const struct target *target = context;

	return sharing_change(writer, actor, target->owner, target->mailbox, &target->change, error);
}

static enum homing_changed apply(struct target *target, const char **why_r)
{
	struct error error = {0};

	if (homing_session_change(target->session, write_change, target, &error) >= 0)
		return HOMING_CHANGED;
	if (error.code == ERROR_PERMISSION || error.code == ERROR_INVALID) {
		*why_r = t_strdup(error.text);
		return error.code == ERROR_PERMISSION ? HOMING_FORBIDDEN : HOMING_IMPOSSIBLE;
	}
	homing_session_failed(target->session, "rights cannot be changed", &error);
	return HOMING_FAILED;
}

static void log_refusal(struct acl_backend *backend, const char *storage_name, const char *why)
{
	e_info(mailbox_list_get_user(backend->list)->event,
	       "homing: refused to change rights on mailbox %s: %s",
	       homing_printable(mailbox_list_get_vname(backend->list, storage_name)),
	       homing_printable(why));
}

enum homing_changed homing_change(struct acl_backend *backend, const char *storage_name,
				  const struct homing_change *change, struct acl_rights *who_r,
				  const char **why_r)
{
	struct target target = {
		.backend = backend,
		.session = homing_session_of(mailbox_list_get_user(backend->list)),
		.owner = homing_owner_of(backend->list),
		.mailbox = homing_mailbox_of(backend->list, storage_name),
		.change = {
			.mode = change->mode,
			.negative_mode = change->negative_mode,
			.rights = change->rights,
			.negative = change->negative,
		},
	};
	enum homing_changed changed = HOMING_FAILED;

	*why_r = MAIL_ERRSTR_CRITICAL_MSG;
	if (target.session == NULL)
		return HOMING_FAILED;
	if (target.mailbox == NULL) {
		changed = HOMING_IMPOSSIBLE;
		*why_r = "a mailbox of this name cannot be shared";
	} else if (homing_session_begin(target.session, why_r) == 0) {
		changed = look_at(&target, change, why_r);
		homing_session_end(target.session);
	}
	if (changed == HOMING_CHANGED)
		changed = apply(&target, why_r);
	if (changed == HOMING_FORBIDDEN || changed == HOMING_IMPOSSIBLE)
		log_refusal(backend, storage_name, *why_r);
	if (changed == HOMING_CHANGED) {
		struct grant named = {.who = target.change.who};

		homing_acl_rights(pool_datastack_create(), &named, who_r);
	}
	return changed;
}

static enum grant_change_mode mode_of(enum acl_modify_mode mode, const char *const *rights)
{
	if (mode == ACL_MODIFY_MODE_CLEAR)
		return GRANT_CLEAR;
	if (rights == NULL)
		return GRANT_NONE;
	switch (mode) {
	case ACL_MODIFY_MODE_REMOVE:
		return GRANT_REMOVE;
	case ACL_MODIFY_MODE_ADD:
		return GRANT_ADD;
	case ACL_MODIFY_MODE_REPLACE:
		return GRANT_REPLACE;
	case ACL_MODIFY_MODE_CLEAR:
		break;
	}
	i_unreached();
}

/* homing_change_note() lets acl do what it does for a change, with a change that is done already. */
static bool noting = FALSE;

int homing_change_acl(struct acl_backend *backend, const char *storage_name,
		      const struct acl_rights_update *update)
{
	struct homing_change change = {
		.identifier = homing_identifier_of(&update->rights),
		.mode = mode_of(update->modify_mode, update->rights.rights),
		.negative_mode = mode_of(update->neg_modify_mode, update->rights.neg_rights),
	};
	const char *unknown = NULL, *why;
	struct acl_rights who;

	if (noting)
		return 0;
	if (change.identifier == NULL) {
		log_refusal(backend, storage_name,
			    t_strdup_printf("`%s` is no user", update->rights.identifier));
		return -1;
	}
	if (!homing_rights_of_names(update->rights.rights, &change.rights, &unknown) ||
	    !homing_rights_of_names(update->rights.neg_rights, &change.negative, &unknown)) {
		log_refusal(backend, storage_name,
			    t_strdup_printf("there is no right called `%s`", unknown));
		return -1;
	}
	return homing_change(backend, storage_name, &change, &who, &why) == HOMING_CHANGED ? 0 : -1;
}

int homing_change_note(struct mailbox *box, const struct acl_rights_update *update)
{
	struct mailbox_transaction_context *transaction = mailbox_transaction_begin(
		box, MAILBOX_TRANSACTION_FLAG_EXTERNAL, "homing ACL change");

	noting = TRUE;
	int ret = acl_mailbox_update_acl(transaction, update);
	noting = FALSE;
	return mailbox_transaction_commit(&transaction) < 0 ? -1 : ret;
}
