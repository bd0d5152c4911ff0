/* NOTIFY on the shared root, as for NOTIFY SET (subscribed (...)).
 *
 * Dovecot watches each namespace apart, and the root is none that it can. A LIST of its own would
 * have made all namespaces before; ours makes none, so that the root watches for the owners: of
 * those mailboxes that are subscribed, and of the namespaces that are there already. */
#include "compat.h"

#include <mailbox-list-notify.h>

#include "listing-private.h"
#include "session.h"

struct shared_notify {
	struct mailbox_list_notify notify;
	ARRAY(struct mailbox_list_notify *) owners;
	unsigned next;
	struct mailbox_list_notify_rec record;
	string_t *storage_name;
};

static void watch(struct shared_notify *notify, struct mail_namespace *ns)
{
	struct mailbox_list_notify *one, *other;

	array_foreach_elem(&notify->owners, other) {
		if (other->list == ns->list)
			return;
	}
	/* 1 from a list with an index, whatever the header says */
	if (mailbox_list_notify_init(ns->list, notify->notify.mask, &one) >= 0)
		array_push_back(&notify->owners, &one);
}

/* Only what is there: a subscription may have outlived its grant. */
static void watch_subscribed(struct shared_notify *notify, struct shared_root *root)
{
	struct names *shared = shared_names(root);
	struct shared_owner owner;

	unsigned count = shared == NULL || root->subscribed == NULL ? 0 : root->subscribed->count;
	for (unsigned i = 0; i < count; i++) {
		const struct name *name = &root->subscribed->list[i];
		if (!name->is_owner || names_find(shared, name->vname) == NULL)
			continue;
		const char *prefix = t_strdup_printf("%s%c", name->vname, shared->separator);
		if (shared_owner_find(root, prefix, &owner) > 0) {
			struct mail_namespace *ns = shared_owner_open(root, &owner);
			if (ns != NULL)
				watch(notify, ns);
		}
	}
	names_unref(&shared);
}

static void watch_opened(struct shared_notify *notify, struct shared_root *root)
{
	struct mail_namespace *ns;

	for (ns = root->list->ns->user->namespaces; ns != NULL; ns = ns->next) {
		const struct homing_list *list = homing_list_of(ns->list);
		if (list != NULL && list->automatic && list->root == root)
			watch(notify, ns);
	}
}

static void notify_deinit(struct mailbox_list_notify *_notify)
{
	struct shared_notify *notify = (struct shared_notify *)_notify;
	struct mailbox_list_notify *owner;

	array_foreach_elem(&notify->owners, owner)
		mailbox_list_notify_deinit(&owner);
	array_free(&notify->owners);
	str_free(&notify->storage_name);
	i_free(notify);
}

static int notify_init(struct mailbox_list *list, enum mailbox_list_notify_event mask,
		       struct mailbox_list_notify **notify_r)
{
	struct shared_root *root = homing_list_hooked(list)->root;
	struct shared_notify *notify = i_new(struct shared_notify, 1);

	notify->notify.list = list;
	notify->notify.mask = mask;
	notify->storage_name = str_new(default_pool, 64);
	i_array_init(&notify->owners, 8);
	if (mailbox_list_iter_subscriptions_refresh(list) == 0) T_BEGIN {
		watch_subscribed(notify, root);
	} T_END;
	watch_opened(notify, root);
	if (array_count(&notify->owners) == 0) {
		notify_deinit(&notify->notify);
		return -1;
	}
	*notify_r = &notify->notify;
	return 0;
}

/* For the root a mailbox's storage name is what follows its prefix. */
static const struct mailbox_list_notify_rec *
as_of_root(struct shared_notify *notify, const struct mailbox_list_notify_rec *record)
{
	size_t length = notify->notify.list->ns->prefix_len;

	notify->record = *record;
	str_truncate(notify->storage_name, 0);
	str_append(notify->storage_name, record->vname + I_MIN(length, strlen(record->vname)));
	notify->record.storage_name = str_c(notify->storage_name);
	return &notify->record;
}

static int notify_next(struct mailbox_list_notify *_notify,
		       const struct mailbox_list_notify_rec **record_r)
{
	struct shared_notify *notify = (struct shared_notify *)_notify;
	const struct mailbox_list_notify_rec *record;
	bool failed = FALSE;

	for (; notify->next < array_count(&notify->owners); notify->next++) {
		struct mailbox_list_notify *owner =
			*array_idx(&notify->owners, notify->next);
		int ret = mailbox_list_notify_next(owner, &record);
		if (ret > 0) {
			*record_r = as_of_root(notify, record);
			return 1;
		}
		failed = failed || ret < 0;
	}
	notify->next = 0;
	return failed ? -1 : 0;
}

static void notify_wait(struct mailbox_list_notify *_notify, void (*callback)(void *context),
			void *context)
{
	struct shared_notify *notify = (struct shared_notify *)_notify;
	struct mailbox_list_notify *owner;

	array_foreach_elem(&notify->owners, owner)
		owner->list->v.notify_wait(owner, callback, context);
}

static void notify_flush(struct mailbox_list_notify *_notify)
{
	struct shared_notify *notify = (struct shared_notify *)_notify;
	struct mailbox_list_notify *owner;

	array_foreach_elem(&notify->owners, owner)
		mailbox_list_notify_flush(owner);
}

void shared_notify_hook(struct mailbox_list_vfuncs *v)
{
	v->notify_init = notify_init;
	v->notify_next = notify_next;
	v->notify_deinit = notify_deinit;
	v->notify_wait = notify_wait;
	v->notify_flush = notify_flush;
}
