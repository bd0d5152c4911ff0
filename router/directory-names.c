/* Aliases, forwarders and groups: made, changed, deleted. */
#include "directory-edit.h"

#include <string.h>

#include "directory-grants.h"

#include "route.h"

/* One command, for the callback of store_write. */
struct names_change {
	const char *local, *domain;
	enum entry_kind kind;
	const char *const *targets;
	size_t count;
	struct sharing_writer *sharing;
};

static int prepare(struct edit *edit, MDB_txn *txn, const MDB_dbi *tables, struct error *error,
		   const struct names_change *change, struct edit_name *name_r)
{
	*edit = (struct edit){.txn = txn, .tables = tables, .error = error};
	return edit_name_init(edit, change->local, change->domain, name_r);
}

static int run(struct directory_writer *writer, store_change_cb *change,
	       struct names_change *context, struct error *error)
{
	context->sharing = writer->sharing;
	return store_write(writer->names, change, context, error) < 0 ? -1 : 0;
}

static int loop(struct edit *edit, const struct edit_name *name, const char *target)
{
	return error_set(edit->error, ERROR_INVALID, "%s: an alias of %s would lead back to itself",
			 name->address, target);
}

/* Follows aliases from the target on. Only whole names count: a router record on the way, or a
 * detail, can still make a loop, which routing ends and verify reports. */
static int check_loop(struct edit *edit, const struct edit_name *name, const char *target)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];
	struct edit_name next;
	struct string_set way = {0};
	int answer = 0;

	if (string_set_add(&way, target, strlen(target)) < 0)
		answer = error_set(edit->error, ERROR_MEMORY, "out of memory");
	for (size_t i = 0; answer == 0 && i < way.count && i <= ROUTE_MAX_REWRITES; i++) {
		const char *address = way.items[i].bytes;

		if (strcmp(address, name->address) == 0)
			answer = loop(edit, name, target);
		else if (address_parse(address, strlen(address), local, domain) != NULL)
			break;
		if (answer == 0)
			answer = edit_name_init(edit, local, domain, &next);
		int kind = answer == 0 ? edit_kind(edit, &next) : 0;
		if (answer == 0 && kind == ENTRY_ALIAS)
			answer = edit_targets(edit, &next, ENTRY_ALIAS, &way);
		else if (kind < 0)
			answer = -1;
	}
	string_set_finish(&way);
	return answer;
}

/* The targets as they are stored, each once. */
static int canonical_targets(struct edit *edit, const struct names_change *change,
			     const struct edit_name *name, struct string_set *targets)
{
	for (size_t i = 0; i < change->count; i++) {
		char target[NAME_SIZE];

		if (edit_target(edit, change->targets[i], target) < 0)
			return -1;
		if (strcmp(target, name->address) == 0)
			return error_set(edit->error, ERROR_INVALID, "%s: it cannot lead to itself",
					 name->address);
		if (string_set_add(targets, target, strlen(target)) < 0)
			return error_set(edit->error, ERROR_MEMORY, "out of memory");
	}
	return 0;
}

static int store_entry(struct edit *edit, const struct names_change *change,
		       const struct edit_name *name, const struct string_set *targets)
{
	if (change->kind == ENTRY_ALIAS && check_loop(edit, name, targets->items[0].bytes) < 0)
		return -1;
	if (edit_put_targets(edit, name, change->kind, targets) < 0)
		return -1;
	for (size_t i = 0; i < targets->count; i++)
		if (edit_reference(edit, REFERENCE_ADD, targets->items[i].bytes, change->kind, name) < 0)
			return -1;
	return 0;
}

static int change_add(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	const struct names_change *change = context;
	struct edit edit;
	struct edit_name name;
	struct string_set targets = {0};

	if (prepare(&edit, txn, tables, error, change, &name) < 0 ||
	    edit_check_domain(&edit, name.domain, false) < 0 || edit_expect_free(&edit, &name) < 0)
		return -1;
	int answer = canonical_targets(&edit, change, &name, &targets);
	if (answer == 0)
		answer = store_entry(&edit, change, &name, &targets);
	string_set_finish(&targets);
	return answer;
}

int directory_alias_add(struct directory_writer *writer, const char *local, const char *domain,
			const char *target, struct error *error)
{
	struct names_change change = {
		.local = local, .domain = domain, .kind = ENTRY_ALIAS, .targets = &target, .count = 1};

	return run(writer, change_add, &change, error);
}

int directory_forwarder_add(struct directory_writer *writer, const char *local,
			    const char *domain, const char *const *targets, size_t count,
			    struct error *error)
{
	struct names_change change = {.local = local,
				      .domain = domain,
				      .kind = ENTRY_FORWARDER,
				      .targets = targets,
				      .count = count};

	if (count == 0 || count > ROUTE_MAX_TARGETS)
		return error_set(error, ERROR_INVALID, "%s@%s: a forwarder has from 1 to %d targets",
				 local, domain, ROUTE_MAX_TARGETS);
	return run(writer, change_add, &change, error);
}

/* A new one must not have what another of its name was granted. */
static int make_group(struct edit *edit, const struct edit_name *name,
		      struct sharing_writer *sharing)
{
	static const unsigned char value = ENTRY_GROUP;
	int kind = edit_kind(edit, name);

	if (kind < 0 || kind == ENTRY_GROUP)
		return kind < 0 ? -1 : 0;
	if (kind != 0)
		return edit_expect_free(edit, name);
	if (grants_forget(sharing, ENTRY_GROUP, name, edit->error) < 0)
		return -1;
	return edit_put(edit, TABLE_NAMES, name->key, name->key_length, &value, 1);
}

static int change_group_add(MDB_txn *txn, const MDB_dbi *tables, void *context,
			    struct error *error)
{
	const struct names_change *change = context;
	struct edit edit;
	struct edit_name name;
	struct string_set members = {0};

	if (prepare(&edit, txn, tables, error, change, &name) < 0 ||
	    edit_check_domain(&edit, name.domain, false) < 0 || make_group(&edit, &name, change->sharing) < 0)
		return -1;
	int answer = canonical_targets(&edit, change, &name, &members);
	for (size_t i = 0; answer == 0 && i < members.count; i++)
		answer = edit_member_add(&edit, &name, members.items[i].bytes) < 0 ? -1 : 0;
	string_set_finish(&members);
	return answer < 0 ? -1 : edit_answer(&edit);
}

int directory_group_add(struct directory_writer *writer, const char *local, const char *domain,
			const char *const *members, size_t count, struct error *error)
{
	struct names_change change = {
		.local = local, .domain = domain, .targets = members, .count = count};

	return run(writer, change_group_add, &change, error);
}

static int change_group_remove(MDB_txn *txn, const MDB_dbi *tables, void *context,
			       struct error *error)
{
	const struct names_change *change = context;
	struct edit edit;
	struct edit_name name;

	if (prepare(&edit, txn, tables, error, change, &name) < 0 ||
	    edit_expect(&edit, &name, ENTRY_GROUP) < 0)
		return -1;
	for (size_t i = 0; i < change->count; i++) {
		char member[NAME_SIZE];

		if (edit_target(&edit, change->targets[i], member) < 0)
			return -1;
		int found = edit_member_remove(&edit, &name, member);
		/* its domain was not ours, or was, when it became one */
		if (found == 0)
			found = edit_member_remove(&edit, &name, change->targets[i]);
		if (found == 0)
			return error_set(error, ERROR_MISSING, "%s: not a member of %s", member,
					 name.address);
		if (found < 0)
			return -1;
	}
	return edit_answer(&edit);
}

int directory_group_remove(struct directory_writer *writer, const char *local, const char *domain,
			   const char *const *members, size_t count, struct error *error)
{
	struct names_change change = {
		.local = local, .domain = domain, .targets = members, .count = count};

	return run(writer, change_group_remove, &change, error);
}

static int change_delete(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	const struct names_change *change = context;
	struct edit edit;
	struct edit_name name;

	if (prepare(&edit, txn, tables, error, change, &name) < 0 ||
	    edit_expect(&edit, &name, change->kind) < 0 ||
	    edit_remove_entry(&edit, &name, change->kind) < 0)
		return -1;
	return change->kind == ENTRY_GROUP
		       ? grants_forget(change->sharing, ENTRY_GROUP, &name, error)
		       : 0;
}

int directory_name_delete(struct directory_writer *writer, enum entry_kind kind, const char *local,
			  const char *domain, struct error *error)
{
	struct names_change change = {.local = local, .domain = domain, .kind = kind};

	if (kind == ENTRY_ACCOUNT)
		return error_set(error, ERROR_INVALID, "%s@%s: an account is deleted otherwise", local,
				 domain);
	return run(writer, change_delete, &change, error);
}
