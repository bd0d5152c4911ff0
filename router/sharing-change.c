/* One grant changed, for an actor whose right to do so is looked up in the same transaction; and many,
 * for the administrator. */
#include "sharing-write.h"

#include <stdlib.h>
#include <string.h>

#include "sharing-edit.h"
#include "sharing-rights.h"

/* A half of a grant after a change: does it exist, with which rights? */
struct half {
	bool there;
	uint16_t rights;
};

static struct half change_half(struct half half, enum grant_change_mode mode, uint16_t rights)
{
	switch (mode) {
	case GRANT_NONE:
		break;
	case GRANT_ADD:
		/* nothing added to nothing makes no empty half, which would take rights away */
		if (half.there || rights != 0)
			half = (struct half){.there = true, .rights = half.rights | rights};
		break;
	case GRANT_REMOVE:
		half.rights &= (uint16_t)~rights;
		break;
	case GRANT_REPLACE:
		half = (struct half){.there = true, .rights = rights};
		break;
	case GRANT_CLEAR:
		half = (struct half){0};
		break;
	}
	return half;
}

static struct stored_grant change_grant(const struct stored_grant *old,
					const struct grant_change *change)
{
	struct half rights = {.there = old->has_rights, .rights = old->rights};
	struct half negative = {.there = old->has_negative, .rights = old->negative};
	struct stored_grant new = *old;

	rights = change_half(rights, change->mode, change->rights & RIGHTS_ALL);
	negative = change_half(negative, change->negative_mode, change->negative & RIGHTS_ALL);
	new.has_rights = rights.there;
	new.rights = rights.rights;
	new.has_negative = negative.there;
	new.negative = negative.rights;
	return new;
}

static bool is_same(const struct stored_grant *a, const struct stored_grant *b)
{
	return a->has_rights == b->has_rights && a->has_negative == b->has_negative &&
	       a->rights == b->rights && a->negative == b->negative;
}

/* What everybody has by it. */
static uint16_t given(const struct stored_grant *grant)
{
	return grant->rights & (uint16_t)~grant->negative;
}

struct change_call {
	const struct sharing_actor *actor; /* NULL: an import, by the administrator */
	const char *owner, *mailbox;
	const struct grant_change *change;
};

static int refuse(struct sharing_edit *edit, const char *why)
{
	return error_set(edit->error, ERROR_PERMISSION, "%s", why);
}

static int check_administer(struct sharing_edit *edit, const struct change_call *call)
{
	uint16_t rights;

	if (!call->actor || !call->actor->me)
		return 0;
	if (view_rights(&edit->view, call->actor->me, call->owner, call->mailbox, &rights,
			edit->error) < 0)
		return -1;
	return rights & RIGHT_ADMINISTER
		       ? 0
		       : refuse(edit, "the right to administer this mailbox (a) is missing");
}

/* Everybody on this server, in all domains, is more than users may give rights to by themselves. To take
 * such rights away is always allowed. */
static int check_anyone(struct sharing_edit *edit, const struct change_call *call,
			const struct stored_grant *old, const struct stored_grant *new)
{
	const struct sharing_actor *actor = call->actor;
	bool all = new->kind == GRANTEE_ANYONE || new->kind == GRANTEE_AUTHENTICATED;

	if (!all || !actor || !actor->me || actor->allow_anyone ||
	    rights_user_administers(actor->me, call->owner) || (given(new) & ~given(old)) == 0)
		return 0;
	return refuse(edit, "only an administrator gives rights to everybody; anyone@ is everybody "
			    "in your domain");
}

/* The grant as it is; one without halves where there is none, or nobody has heard of the names. */
static int read_old(struct sharing_edit *edit, const struct change_call *call,
		    struct stored_grant *old_r)
{
	struct grant_list list = {0};
	uint64_t owner, grantee;

	*old_r = (struct stored_grant){.kind = (uint8_t)call->change->who.kind};
	int found = view_owner(&edit->view, call->owner, &owner, edit->error);
	if (found > 0)
		found = view_grantee(&edit->view, &call->change->who, &grantee, edit->error);
	if (found <= 0)
		return found;
	int answer = sharing_edit_read(edit, owner, call->mailbox, &list);
	for (size_t i = 0; i < list.count; i++)
		if (list.items[i].kind == old_r->kind && list.items[i].id == grantee)
			*old_r = list.items[i];
	grant_list_finish(&list);
	return answer;
}

static int write_new(struct sharing_edit *edit, const struct change_call *call,
		     const struct stored_grant *new)
{
	struct grant_list list = {0};
	uint64_t owner, grantee;

	if (sharing_edit_owner(edit, call->owner, &owner) < 0 ||
	    sharing_edit_grantee(edit, &call->change->who, &grantee) < 0)
		return -1;
	int answer = sharing_edit_read(edit, owner, call->mailbox, &list);
	struct stored_grant *place = answer == 0 ? grant_list_at(&list, new->kind, grantee) : NULL;
	if (answer == 0 && !place)
		answer = error_set(edit->error, ERROR_MEMORY, "out of memory");
	if (answer == 0) {
		*place = *new;
		place->id = grantee;
		answer = sharing_edit_replace(edit, owner, call->mailbox, &list);
	}
	grant_list_finish(&list);
	return answer;
}

static int change_one(struct sharing_edit *edit, void *context)
{
	const struct change_call *call = context;
	struct stored_grant old;

	if (check_administer(edit, call) < 0 || read_old(edit, call, &old) < 0)
		return -1;
	struct stored_grant new = change_grant(&old, call->change);
	if (check_anyone(edit, call, &old, &new) < 0)
		return -1;
	return is_same(&old, &new) ? 0 : write_new(edit, call, &new);
}

static int check_mailbox(const char *mailbox, struct error *error)
{
	const char *why = mailbox_refusal(mailbox);

	return why ? error_set(error, ERROR_INVALID, "no rights can be given on a mailbox of this "
			       "name: %s", why)
		   : 0;
}

int sharing_change(struct sharing_writer *writer, const struct sharing_actor *actor,
		   const char *owner, const char *mailbox, const struct grant_change *change,
		   struct error *error)
{
	struct change_call call = {
		.actor = actor, .owner = owner, .mailbox = mailbox, .change = change};

	if (check_mailbox(mailbox, error) < 0)
		return -1;
	return sharing_edit_run(writer, change_one, &call, error);
}

static int import_all(struct sharing_edit *edit, void *context)
{
	const struct sharing_source *source = context;
	struct grant_change change;
	struct change_call call = {.change = &change};
	int found;

	source->rewind(source->context);
	while ((found = source->next(source->context, &call.owner, &call.mailbox, &change,
				     edit->error)) > 0)
		if (check_mailbox(call.mailbox, edit->error) < 0 || change_one(edit, &call) < 0)
			return -1;
	return found;
}

int sharing_import(struct sharing_writer *writer, const struct sharing_source *source,
		   struct error *error)
{
	return sharing_edit_run(writer, import_all, (void *)source, error);
}
