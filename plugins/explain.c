/* Where rights come from. */
#include "compat.h"

#include "backend.h"
#include "explain.h"
#include "grants.h"
#include "naming.h"
#include "session.h"
#include "words.h"

/* A mailbox, and the grants on it, while they are looked at. */
struct view {
	struct homing_session *session;
	const struct rights_user *me;
	const char *owner, *mailbox;
	ARRAY_TYPE(homing_grant) own, counting;
};

static int view_read(struct view *view, struct mailbox *box)
{
	view->me = homing_session_me(view->session);
	view->owner = homing_owner_of(box->list);
	view->mailbox = homing_mailbox_of(box->list, box->name);
	if (view->mailbox == NULL)
		view->mailbox = "";
	t_array_init(&view->own, 8);
	t_array_init(&view->counting, 8);
	if (homing_grants_of(view->session, view->owner, view->mailbox, &view->own) < 0)
		return -1;
	return homing_grants_counting(view->session, view->owner, view->mailbox, &view->counting);
}

static int view_begin(struct view *view, struct mailbox *box)
{
	const char *why;

	view->session = homing_session_of(box->storage->user);
	if (homing_session_begin(view->session, &why) < 0)
		return -1;
	if (view_read(view, box) == 0)
		return 0;
	homing_session_end(view->session);
	return -1;
}

static bool is_whole(const struct view *view, const struct grant *grant)
{
	return homing_grant_to(&view->own, &grant->who) == NULL;
}

static bool is_owned_by_me(const struct view *view)
{
	return view->me->user[0] != '\0' && strcmp(view->me->user, view->owner) == 0;
}

static const char *half_in_words(bool has, uint16_t rights, const char *sign)
{
	if (!has)
		return "";
	return rights == 0 ? t_strdup_printf(" %snone", sign)
			   : t_strdup_printf(" %s%s", sign,
					     t_strarray_join(homing_right_names(
								     pool_datastack_create(), rights),
							     t_strconcat(" ", sign, NULL)));
}

static const char *grant_in_words(const struct view *view, const struct grant *grant)
{
	char who[GRANTEE_SIZE];

	grantee_format(&grant->who, who);
	return t_strdup_printf("%s has%s%s%s%s", who,
			       half_in_words(grant->has_rights, grant->rights, ""),
			       half_in_words(grant->has_negative, grant->negative, "-"),
			       is_whole(view, grant) ? ", on the whole account" : "",
			       is_owned_by_me(view) && grant->who.kind < GRANTEE_OWNER
				       ? ", which says nothing about the owner" : "");
}

static const char *const *explain_grants(const struct view *view)
{
	ARRAY_TYPE(const_string) lines;
	const struct grant *grant;
	const char *line;

	t_array_init(&lines, 8);
	if (rights_user_administers(view->me, view->owner)) {
		line = t_strdup_printf("%s administers the owner's domain, and has all rights whatever "
				       "is granted", view->me->user);
		array_push_back(&lines, &line);
	}
	if (is_owned_by_me(view)) {
		line = "the owner has all rights where nothing else is granted to the owner";
		array_push_back(&lines, &line);
	}
	array_foreach(&view->counting, grant) {
		if (grantee_is(&grant->who, view->me, view->owner)) {
			line = grant_in_words(view, grant);
			array_push_back(&lines, &line);
		}
	}
	array_append_zero(&lines);
	return array_front(&lines);
}

/* What administrators may do without a grant is not listed, unless they name the owner. */
static int find_listed(struct view *view, uint16_t *rights_r)
{
	struct rights_user me = *view->me;
	struct error error = {0};

	if (!is_owned_by_me(view))
		me.administers_count = 0;
	if (sharing_rights(homing_session_sharing(view->session), &me, view->owner, view->mailbox,
			   rights_r, &error) == 0)
		return 0;
	homing_session_failed(view->session, "rights on mailboxes cannot be read", &error);
	return -1;
}

int homing_explain(struct mailbox *box, struct homing_explained *explained_r)
{
	struct acl_backend *backend = homing_backend_of(box->list);
	uint16_t rights = 0, listed = 0;
	struct view view;

	i_zero(explained_r);
	if (backend == NULL)
		return 0;
	if (homing_backend_rights(backend, box->name, &rights) < 0 || view_begin(&view, box) < 0)
		return -1;
	int ret = find_listed(&view, &listed);
	*explained_r = (struct homing_explained){
		.ours = TRUE,
		.owner = view.owner,
		.rights = homing_right_names(pool_datastack_create(), rights),
		.why = explain_grants(&view),
		.listed = (listed & RIGHT_LOOKUP) != 0,
	};
	homing_session_end(view.session);
	return ret;
}

int homing_acl_each(struct mailbox *box, bool mine, homing_acl_cb *each, void *context)
{
	const struct grant *grant;
	struct acl_rights rights;
	struct view view;

	if (view_begin(&view, box) < 0)
		return -1;
	array_foreach(&view.counting, grant) {
		if (mine && !grantee_is(&grant->who, view.me, view.owner))
			continue;
		homing_acl_rights(pool_datastack_create(), grant, &rights);
		each(&rights, is_whole(&view, grant), context);
	}
	homing_session_end(view.session);
	return 0;
}
