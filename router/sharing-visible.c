/* What somebody received, from the index: one range of keys for each identifier that means the user,
 * put in the order of the owners' ids, so that the grants themselves are read from one end of their
 * table to the other; then in the order of the owners' names. Nothing is copied out of the map but
 * the name that a callback gets. */
#include "sharing.h"

#include <stdlib.h>
#include <string.h>

#include "sharing-private.h"
#include "sharing-rights.h"

/* A mailbox on which somebody received something. */
struct received {
	const unsigned char *key; /* of the owner and the mailbox, as in `grants` */
	size_t key_length;
	const unsigned char *owner; /* its key in `principals` */
	size_t owner_length;
	const char *mailbox; /* not ended by NUL */
	size_t mailbox_length;
	uint16_t rights;
};

struct receiving {
	const struct sharing_view *view;
	struct received *items;
	size_t count, size;
	unsigned sources; /* ranges that had something */
};

static int add_received(const MDB_val *key, const MDB_val *value, void *context,
			struct error *error)
{
	struct receiving *all = context;
	size_t length = key->mv_size - RECEIVED_KEY_FRONT;

	(void)value;
	if (key->mv_size < RECEIVED_KEY_FRONT + ID_BYTES ||
	    length > ID_BYTES + MAILBOX_KEY_PLAIN)
		return view_corrupt(all->view, "received", key->mv_data, key->mv_size, error);
	if (all->count == all->size) {
		size_t size = all->size ? all->size * 2 : 64;
		struct received *grown = realloc(all->items, size * sizeof *grown);

		if (!grown)
			return error_set(error, ERROR_MEMORY, "out of memory");
		all->items = grown;
		all->size = size;
	}
	all->items[all->count++] = (struct received){
		.key = (const unsigned char *)key->mv_data + RECEIVED_KEY_FRONT, .key_length = length};
	return 0;
}

static int add_range(struct receiving *all, enum grantee_kind kind, uint64_t id,
		     struct error *error)
{
	unsigned char front[RECEIVED_KEY_FRONT] = {(unsigned char)kind};
	size_t before = all->count;

	id_put(id, front + 1);
	if (view_each(all->view, TABLE_RECEIVED, front, sizeof front, add_received, all, error) < 0)
		return -1;
	all->sources += all->count > before;
	return 0;
}

static int add_all(struct receiving *all, const struct rights_ids *ids, struct error *error)
{
	int answer = add_range(all, GRANTEE_ANYONE, 0, error);

	if (answer == 0 && ids->me->user[0] != '\0')
		answer = add_range(all, GRANTEE_AUTHENTICATED, 0, error);
	if (answer == 0 && ids->domain != 0)
		answer = add_range(all, GRANTEE_DOMAIN, ids->domain, error);
	if (answer == 0 && ids->user != 0)
		answer = add_range(all, GRANTEE_USER, ids->user, error);
	for (size_t i = 0; answer == 0 && i < ids->group_count; i++) {
		answer = add_range(all, GRANTEE_GROUP, ids->groups[i].id, error);
		if (answer == 0)
			answer = add_range(all, GRANTEE_GROUP_OVERRIDE, ids->groups[i].id, error);
	}
	return answer;
}

static int compare_bytes(const void *a, size_t a_length, const void *b, size_t b_length)
{
	int order = memcmp(a, b, a_length < b_length ? a_length : b_length);

	return order != 0 ? order : a_length < b_length ? -1 : a_length > b_length;
}

static int compare_keys(const void *left, const void *right)
{
	const struct received *a = left, *b = right;

	return compare_bytes(a->key, a->key_length, b->key, b->key_length);
}

/* By owner and mailbox, as ids and keys, each once. */
static void sort_keys(struct receiving *all)
{
	size_t kept = 0;

	if (all->sources <= 1)
		return; /* as they came */
	qsort(all->items, all->count, sizeof *all->items, compare_keys);
	for (size_t i = 0; i < all->count; i++)
		if (kept == 0 || compare_keys(&all->items[kept - 1], &all->items[i]) != 0)
			all->items[kept++] = all->items[i];
	all->count = kept;
}

static int compare_names(const void *left, const void *right)
{
	const struct received *a = left, *b = right;
	int order = a->owner == b->owner
			    ? 0
			    : compare_bytes(a->owner, a->owner_length, b->owner, b->owner_length);

	return order != 0 ? order
			  : compare_bytes(a->mailbox, a->mailbox_length, b->mailbox,
					  b->mailbox_length);
}

/* Reading the grants of what was received, owner after owner. */
struct reading {
	const struct sharing_view *view;
	uint64_t owner;
	bool owner_known, has_whole;
	const unsigned char *owner_key; /* in `principals` */
	size_t owner_length;
	struct grants_value whole;
};

static int read_owner(struct reading *reading, const unsigned char *key, struct error *error)
{
	MDB_val name;
	int found = view_get(reading->view, TABLE_PRINCIPAL_NAMES, key, ID_BYTES, &name, error);

	if (found == 0 || (found > 0 && name.mv_size == 0))
		return view_corrupt(reading->view, "names", key, ID_BYTES, error);
	if (found < 0)
		return -1;
	reading->owner = id_take(key);
	reading->owner_key = name.mv_data;
	reading->owner_length = name.mv_size;
	found = view_grants(reading->view, reading->owner, "", &reading->whole, error);
	reading->has_whole = found > 0;
	reading->owner_known = found >= 0;
	return found < 0 ? -1 : 0;
}

static int missing_grant(const struct sharing_view *view, const struct received *item,
			 struct error *error)
{
	return view_corrupt(view, "received", item->key, item->key_length, error);
}

/* Fills in the names of an item and finds its grants. */
static int read_item(struct reading *reading, struct received *item, struct grants_value *own_r,
		     struct error *error)
{
	MDB_val value;

	if ((!reading->owner_known || id_take(item->key) != reading->owner) &&
	    read_owner(reading, item->key, error) < 0)
		return -1;
	item->owner = reading->owner_key;
	item->owner_length = reading->owner_length;
	item->mailbox = (const char *)item->key + ID_BYTES;
	item->mailbox_length = item->key_length - ID_BYTES;
	if (item->mailbox_length == 0) {
		*own_r = reading->whole;
		return reading->has_whole ? 0 : missing_grant(reading->view, item, error);
	}
	int found = view_get(reading->view, TABLE_GRANTS, item->key, item->key_length, &value, error);
	if (found <= 0)
		return found < 0 ? -1 : missing_grant(reading->view, item, error);
	bool cut = mailbox_key_is_cut(item->mailbox, item->mailbox_length);
	if (!grants_value_parse(value.mv_data, value.mv_size, own_r) ||
	    cut != (own_r->mailbox[0] != '\0'))
		return view_corrupt(reading->view, "grants", item->key, item->key_length, error);
	if (cut) {
		item->mailbox = own_r->mailbox;
		item->mailbox_length = strlen(own_r->mailbox);
	}
	return 0;
}

/* Keeps what the user has the right to look up. */
static int keep_visible(struct receiving *all, struct rights_ids *ids, struct error *error)
{
	struct reading reading = {.view = all->view};
	size_t kept = 0;

	for (size_t i = 0; i < all->count; i++) {
		struct received *item = &all->items[i];
		struct grants_value own;

		if (ids->user != 0 && id_take(item->key) == ids->user)
			continue;
		if (read_item(&reading, item, &own, error) < 0)
			return -1;
		bool apart = item->mailbox_length > 0 && reading.has_whole;
		item->rights = rights_by_ids(ids, false, &own, apart ? &reading.whole : NULL);
		if (item->rights & RIGHT_LOOKUP)
			all->items[kept++] = *item;
	}
	all->count = kept;
	return 0;
}

/* A copy of an item's mailbox. False: no mailbox has that name. One with a NUL must not become another,
 * or the whole account. */
static bool take_mailbox(const struct received *item, char mailbox_r[MAILBOX_SIZE])
{
	memcpy(mailbox_r, item->mailbox, item->mailbox_length);
	mailbox_r[item->mailbox_length] = '\0';
	return strlen(mailbox_r) == item->mailbox_length && !mailbox_refusal(mailbox_r);
}

/* `me` NULL: the rights are nobody's in particular. */
static int tell(struct receiving *all, const struct rights_user *me, sharing_visible_cb *each,
		void *context, struct error *error)
{
	char owner[OWNER_SIZE], mailbox[MAILBOX_SIZE];
	const unsigned char *owner_known = NULL;
	bool all_rights = false;
	int answer = 0;

	if (all->count > 1)
		qsort(all->items, all->count, sizeof *all->items, compare_names);
	for (size_t i = 0; i < all->count && answer == 0; i++) {
		const struct received *item = &all->items[i];

		if (item->owner != owner_known) {
			int type = principal_parse(item->owner, item->owner_length, owner);

			if (type != PRINCIPAL_ACCOUNT && type != PRINCIPAL_PUBLIC)
				return view_corrupt(all->view, "names", item->owner,
						    item->owner_length, error);
			owner_known = item->owner;
			all_rights = me && rights_user_administers(me, owner);
		}
		if (!take_mailbox(item, mailbox))
			return view_corrupt(all->view, "received", item->key, item->key_length, error);
		answer = each(owner, mailbox, all_rights ? RIGHTS_ALL : item->rights, context);
	}
	return answer;
}

int sharing_each_visible(struct sharing *sharing, const struct rights_user *me,
			 sharing_visible_cb *each, void *context, struct error *error)
{
	struct receiving all = {.view = &sharing->view};
	struct rights_ids ids;

	if (rights_ids_init(&sharing->view, me, &ids, error) < 0)
		return -1;
	int answer = add_all(&all, &ids, error);
	if (answer == 0) {
		sort_keys(&all);
		answer = keep_visible(&all, &ids, error);
	}
	if (answer == 0)
		answer = tell(&all, me, each, context, error);
	rights_ids_finish(&ids);
	free(all.items);
	return answer;
}

struct received_call {
	sharing_received_cb *each;
	void *context;
};

static int call_received(const char *owner, const char *mailbox, uint16_t rights, void *context)
{
	const struct received_call *call = context;

	(void)rights;
	return call->each(owner, mailbox, call->context);
}

int sharing_each_received(struct sharing *sharing, const struct grantee *who,
			  sharing_received_cb *each, void *context, struct error *error)
{
	struct receiving all = {.view = &sharing->view};
	struct received_call call = {.each = each, .context = context};
	struct reading reading = {.view = &sharing->view};
	uint64_t id;

	int answer = view_grantee(&sharing->view, who, &id, error);
	if (answer <= 0)
		return answer;
	answer = add_range(&all, who->kind, id, error);
	for (size_t i = 0; i < all.count && answer == 0; i++) {
		struct grants_value own;

		answer = read_item(&reading, &all.items[i], &own, error);
	}
	if (answer == 0)
		answer = tell(&all, NULL, call_received, &call, error);
	free(all.items);
	return answer;
}
