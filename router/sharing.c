/* Grants on mailboxes, read side: one mailbox, one owner, all of it. What is shared with somebody is
 * in sharing-visible.c. */
#include "sharing.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sharing-private.h"
#include "sharing-rights.h"

int sharing_open(const char *path, struct sharing **sharing_r, struct error *error)
{
	struct sharing *sharing = calloc(1, sizeof *sharing);
	char *file = NULL;

	if (!sharing || asprintf(&file, "%s/%s", path, SHARING_FILE) < 0) {
		free(sharing);
		return error_set(error, ERROR_MEMORY, "%s: out of memory", path);
	}
	int answer = store_open_grown(file, sharing_tables, SHARING_SINCE, &sharing->store, error);
	free(file);
	if (answer == 0)
		answer = store_reader_create(sharing->store, &sharing->reader, error);
	if (answer < 0)
		sharing_close(&sharing);
	else
		*sharing_r = sharing;
	return answer;
}

void sharing_close(struct sharing **sharing)
{
	if (!*sharing)
		return;
	store_reader_destroy(&(*sharing)->reader);
	store_close(&(*sharing)->store);
	free(*sharing);
	*sharing = NULL;
}

uint64_t sharing_version(struct sharing *sharing)
{
	return store_version(sharing->store);
}

int sharing_check(struct sharing *sharing, struct error *error)
{
	return store_check(sharing->store, error);
}

int sharing_begin(struct sharing *sharing, struct error *error)
{
	if (store_begin(sharing->reader, error) < 0)
		return -1;
	sharing->view = (struct sharing_view){
		.reader = sharing->reader,
		.path = store_path(sharing->store),
		.empty = !store_is_grown(sharing->reader),
	};
	return 0;
}

void sharing_end(struct sharing *sharing)
{
	store_end(sharing->reader);
}

uint64_t sharing_snapshot(const struct sharing *sharing)
{
	return store_snapshot(sharing->reader);
}

int sharing_each_grant(struct sharing *sharing, const char *owner, const char *mailbox,
		       sharing_grant_cb *each, void *context, struct error *error)
{
	struct grants_value value;
	struct grant *grants;
	uint64_t id;

	int found = view_owner(&sharing->view, owner, &id, error);
	if (found > 0)
		found = view_grants(&sharing->view, id, mailbox, &value, error);
	if (found > 0)
		found = view_name_grants(&sharing->view, &value, &grants, error);
	if (found <= 0)
		return found;
	int answer = 0;
	for (size_t i = 0; i < value.count && answer == 0; i++)
		answer = each(&grants[i], context);
	free(grants);
	return answer;
}

/* A walk through what owners gave. */
struct owner_walk {
	const struct sharing_view *view;
	const char *owner;
	sharing_mailbox_cb *each;
	void *context;
};

static int walk_mailbox(const MDB_val *key, const MDB_val *mdb_value, void *context,
			struct error *error)
{
	const struct owner_walk *walk = context;
	char mailbox[MAILBOX_SIZE];
	struct grants_value value;
	struct grant *grants;
	int answer = 0;

	if (view_parse_grants(walk->view, key, mdb_value, &value, mailbox, error) < 0 ||
	    view_name_grants(walk->view, &value, &grants, error) < 0)
		return -1;
	for (size_t i = 0; i < value.count && answer == 0; i++)
		answer = walk->each(walk->owner, mailbox, &grants[i], walk->context);
	free(grants);
	return answer;
}

static int walk_owner(struct owner_walk *walk, uint64_t id, struct error *error)
{
	unsigned char front[ID_BYTES];

	id_put(id, front);
	return view_each(walk->view, TABLE_GRANTS, front, sizeof front, walk_mailbox, walk, error);
}

/* Not every principal owns something. */
static int walk_principal(const MDB_val *key, const MDB_val *value, void *context,
			  struct error *error)
{
	struct owner_walk *walk = context;
	char owner[OWNER_SIZE];
	int type = principal_parse(key->mv_data, key->mv_size, owner);

	if (type == 0 || value->mv_size != ID_BYTES)
		return view_corrupt(walk->view, "principals", key->mv_data, key->mv_size, error);
	if (type != PRINCIPAL_ACCOUNT && type != PRINCIPAL_PUBLIC)
		return 0;
	walk->owner = owner;
	return walk_owner(walk, id_take(value->mv_data), error);
}

int sharing_each_of_owner(struct sharing *sharing, const char *owner, sharing_mailbox_cb *each,
			  void *context, struct error *error)
{
	struct owner_walk walk = {
		.view = &sharing->view, .owner = owner, .each = each, .context = context};
	uint64_t id;

	if (!owner)
		return view_each(&sharing->view, TABLE_PRINCIPALS, NULL, 0, walk_principal, &walk,
				 error);
	int found = view_owner(&sharing->view, owner, &id, error);
	return found > 0 ? walk_owner(&walk, id, error) : found;
}

/* Looking for grants to others at and below a mailbox. */
struct others {
	const struct sharing_view *view;
	const char *mailbox;
	uint64_t owner;
};

static bool has_others(const struct grants_value *value, uint64_t owner)
{
	for (size_t i = 0; i < value->count; i++) {
		struct stored_grant grant;

		stored_grant_take(value, i, &grant);
		if (grant.kind != GRANTEE_OWNER &&
		    (grant.kind != GRANTEE_USER || grant.id != owner))
			return true;
	}
	return false;
}

static int find_others(const MDB_val *key, const MDB_val *mdb_value, void *context,
		       struct error *error)
{
	const struct others *others = context;
	struct grants_value value;
	char mailbox[MAILBOX_SIZE];
	size_t length = strlen(others->mailbox);

	if (view_parse_grants(others->view, key, mdb_value, &value, mailbox, error) < 0)
		return -1;
	bool below = length == 0 || (strncmp(mailbox, others->mailbox, length) == 0 &&
				     mailbox[length] == MAILBOX_SEPARATOR);
	return below && has_others(&value, others->owner);
}

int sharing_has_grants(struct sharing *sharing, const char *owner, const char *mailbox,
		       struct error *error)
{
	struct others others = {.view = &sharing->view, .mailbox = mailbox};
	unsigned char front[GRANTS_KEY_SIZE];
	struct grants_value value;

	if (strlen(mailbox) > MAILBOX_MAX_BYTES)
		return 0;
	int found = view_owner(&sharing->view, owner, &others.owner, error);
	if (found <= 0)
		return found;
	found = view_grants(&sharing->view, others.owner, mailbox, &value, error);
	if (found < 0 || (found > 0 && has_others(&value, others.owner)))
		return found;
	id_put(others.owner, front);
	size_t length = ID_BYTES + mailbox_key_below(mailbox, (char *)front + ID_BYTES);
	return view_each(&sharing->view, TABLE_GRANTS, front, length, find_others, &others, error);
}

int sharing_rights(struct sharing *sharing, const struct rights_user *me, const char *owner,
		   const char *mailbox, uint16_t *rights_r, struct error *error)
{
	return view_rights(&sharing->view, me, owner, mailbox, rights_r, error);
}

/* Steps from owner to owner, not from mailbox to mailbox. */
static int count_owners(struct sharing *sharing, uint64_t *count_r, struct error *error)
{
	unsigned char next[ID_BYTES] = {0};
	MDB_val key = {.mv_data = next, .mv_size = sizeof next}, value;
	MDB_cursor *cursor;
	int rc;

	if (store_cursor(sharing->reader, TABLE_GRANTS, &cursor, error) < 0)
		return -1;
	while ((rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE)) == 0 &&
	       key.mv_size >= ID_BYTES && id_take(key.mv_data) != UINT64_MAX) {
		(*count_r)++;
		id_put(id_take(key.mv_data) + 1, next);
		key = (MDB_val){.mv_data = next, .mv_size = sizeof next};
	}
	mdb_cursor_close(cursor);
	return rc == 0 || rc == MDB_NOTFOUND
		       ? 0
		       : store_error(error, rc, "count", store_path(sharing->store));
}

int sharing_statistics(struct sharing *sharing, struct sharing_statistics *statistics_r,
		       struct error *error)
{
	struct sharing_statistics statistics = {0};

	if (store_sequence(sharing->reader, &statistics.sequence, error) < 0)
		return -1;
	if (!sharing->view.empty &&
	    (count_owners(sharing, &statistics.owners, error) < 0 ||
	     store_count(sharing->reader, TABLE_GRANTS, &statistics.mailboxes, error) < 0 ||
	     store_count(sharing->reader, TABLE_RECEIVED, &statistics.grants, error) < 0))
		return -1;
	*statistics_r = statistics;
	return 0;
}
