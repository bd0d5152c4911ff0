/* Looks through all of sharing.mdb, in three steps, of which each needs the one before: ids and names
 * belong together; grants and the index say the same; the directory knows everybody. What is to be
 * put right is noted during a walk and done after it. */
#include "sharing-write.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "printable.h"
#include "sharing-edit.h"
#include "sharing-principal.h"

struct fix {
	enum sharing_table table;
	bool put; /* else delete */
	unsigned char *bytes; /* the key, then the value */
	size_t key_length, value_length;
};

struct verify {
	const struct sharing_view *view;
	struct sharing_edit *edit; /* NULL: nothing is mended */
	struct directory_reader *directory;
	sharing_found_cb *found;
	void *context;
	struct error *error;
	bool told; /* by a try before this one */
	int count;
	struct fix *fixes;
	size_t fix_count, fix_size;
	bool has_note;
	struct renaming note;
	uint64_t last_id;
};

static int out_of_memory(struct verify *verify)
{
	return error_set(verify->error, ERROR_MEMORY, "out of memory");
}

HOMING_PRINTF(2, 3) static void tell(struct verify *verify, const char *format, ...)
{
	char text[2048], shown[2048];
	va_list args;

	verify->count++;
	if (verify->told || !verify->found)
		return;
	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	printable_escape(shown, sizeof shown, text, strlen(text));
	verify->found(shown, verify->context);
}

/* A key of which nothing else is known, for words. */
struct shown_key {
	char text[128];
};

static struct shown_key show_key(const MDB_val *key)
{
	struct shown_key shown = {.text = ""};

	printable_escape(shown.text, sizeof shown.text, key->mv_data, key->mv_size);
	return shown;
}

static int add_fix(struct verify *verify, enum sharing_table table, const void *key,
		   size_t key_length, const void *value, size_t value_length, bool put)
{
	if (!verify->edit)
		return 0;
	if (verify->fix_count == verify->fix_size) {
		size_t size = verify->fix_size ? verify->fix_size * 2 : 16;
		struct fix *grown = realloc(verify->fixes, size * sizeof *grown);

		if (!grown)
			return out_of_memory(verify);
		verify->fixes = grown;
		verify->fix_size = size;
	}
	unsigned char *bytes = malloc(key_length + value_length + 1);
	if (!bytes)
		return out_of_memory(verify);
	memcpy(bytes, key, key_length);
	if (value_length > 0)
		memcpy(bytes + key_length, value, value_length);
	verify->fixes[verify->fix_count++] = (struct fix){
		.table = table,
		.put = put,
		.bytes = bytes,
		.key_length = key_length,
		.value_length = value_length,
	};
	return 0;
}

static int fix_delete(struct verify *verify, enum sharing_table table, const MDB_val *key)
{
	return add_fix(verify, table, key->mv_data, key->mv_size, NULL, 0, false);
}

static int fix_put(struct verify *verify, enum sharing_table table, const MDB_val *key,
		   const MDB_val *value)
{
	return add_fix(verify, table, key->mv_data, key->mv_size, value->mv_data, value->mv_size,
		       true);
}

static void forget_fixes(struct verify *verify)
{
	for (size_t i = 0; i < verify->fix_count; i++)
		free(verify->fixes[i].bytes);
	verify->fix_count = 0;
}

static int apply_fixes(struct verify *verify)
{
	int answer = 0;

	for (size_t i = 0; answer == 0 && i < verify->fix_count; i++) {
		const struct fix *fix = &verify->fixes[i];

		answer = fix->put ? sharing_edit_put(verify->edit, fix->table, fix->bytes,
						     fix->key_length, fix->bytes + fix->key_length,
						     fix->value_length)
				  : sharing_edit_delete(verify->edit, fix->table, fix->bytes,
							fix->key_length);
		if (answer > 0)
			answer = 0;
	}
	forget_fixes(verify);
	return answer;
}

static int walk(struct verify *verify, enum sharing_table table, view_cb *each)
{
	int answer = view_each(verify->view, table, NULL, 0, each, verify, verify->error);

	return answer < 0 ? -1 : apply_fixes(verify);
}

/* Ids and names. */

static bool is_id(const MDB_val *value)
{
	return value->mv_size == ID_BYTES && id_take(value->mv_data) != 0;
}

static bool is_equal(const MDB_val *a, const MDB_val *b)
{
	return a->mv_size == b->mv_size && memcmp(a->mv_data, b->mv_data, a->mv_size) == 0;
}

static int check_principal(const MDB_val *key, const MDB_val *value, void *context,
			   struct error *error)
{
	struct verify *verify = context;
	char name[OWNER_SIZE];
	MDB_val other;

	if (principal_parse(key->mv_data, key->mv_size, name) == 0 || !is_id(value)) {
		tell(verify, "principals \"%s\": does not parse", show_key(key).text);
		return fix_delete(verify, TABLE_PRINCIPALS, key);
	}
	int found = view_get(verify->view, TABLE_PRINCIPAL_NAMES, value->mv_data, ID_BYTES, &other,
			     error);
	if (found < 0)
		return -1;
	if (found == 0) {
		tell(verify, "%s: its id has no name", name);
		return fix_put(verify, TABLE_PRINCIPAL_NAMES, value, key);
	}
	if (is_equal(&other, key))
		return 0;
	tell(verify, "%s: its id is another's", name);
	return fix_delete(verify, TABLE_PRINCIPALS, key);
}

static int check_name(const MDB_val *key, const MDB_val *value, void *context, struct error *error)
{
	struct verify *verify = context;
	char name[OWNER_SIZE];
	MDB_val other;

	if (!is_id(key) || principal_parse(value->mv_data, value->mv_size, name) == 0) {
		tell(verify, "names \"%s\": does not parse", show_key(key).text);
		return fix_delete(verify, TABLE_PRINCIPAL_NAMES, key);
	}
	if (id_take(key->mv_data) > verify->last_id)
		verify->last_id = id_take(key->mv_data);
	int found = view_get(verify->view, TABLE_PRINCIPALS, value->mv_data, value->mv_size, &other,
			     error);
	if (found < 0)
		return -1;
	if (found > 0 && is_equal(&other, key))
		return 0;
	tell(verify, "%s: %s", name, found ? "it has two ids" : "its id cannot be found from the name");
	return found ? fix_delete(verify, TABLE_PRINCIPAL_NAMES, key)
		     : fix_put(verify, TABLE_PRINCIPALS, value, key);
}

/* An id that is given twice would make one name of two. */
static int check_next_id(struct verify *verify)
{
	const MDB_val key = {.mv_data = (void *)SHARING_NEXT, .mv_size = strlen(SHARING_NEXT)};
	unsigned char bytes[ID_BYTES];
	MDB_val value, fresh = {.mv_data = bytes, .mv_size = sizeof bytes};
	int found = view_get(verify->view, (enum sharing_table)STORE_META, key.mv_data, key.mv_size,
			     &value, verify->error);

	if (found < 0)
		return -1;
	if (found == 0 ? verify->last_id == 0
		       : is_id(&value) && id_take(value.mv_data) > verify->last_id)
		return 0;
	tell(verify, "the next id is one that is in use");
	id_put(verify->last_id + 1, bytes);
	return fix_put(verify, (enum sharing_table)STORE_META, &key, &fresh) < 0 ? -1
										  : apply_fixes(verify);
}

/* Grants. */

/* What an id is: its type, 0 unknown, -1. */
static int type_of(struct verify *verify, uint64_t id, char name_r[OWNER_SIZE])
{
	unsigned char bytes[ID_BYTES];
	MDB_val value;

	id_put(id, bytes);
	int found = view_get(verify->view, TABLE_PRINCIPAL_NAMES, bytes, sizeof bytes, &value,
			     verify->error);
	return found > 0 ? principal_parse(value.mv_data, value.mv_size, name_r) : found;
}

/* Everything of a mailbox that cannot be told whose it is. Its index entries follow. */
static int bad_grants(struct verify *verify, const MDB_val *key, const char *why)
{
	tell(verify, "grants \"%s\": %s", show_key(key).text, why);
	return fix_delete(verify, TABLE_GRANTS, key);
}

static int fix_index(struct verify *verify, uint64_t owner, const char *mailbox,
		     const struct stored_grant *grant)
{
	unsigned char key[RECEIVED_KEY_SIZE];
	size_t length = received_key(grant->kind, grant->id, owner, mailbox, key);
	MDB_val value;
	int found = view_get(verify->view, TABLE_RECEIVED, key, length, &value, verify->error);

	if (found != 0)
		return found < 0 ? -1 : 0;
	return add_fix(verify, TABLE_RECEIVED, key, length, "", 0, true) < 0 ? -1 : 1;
}

/* Puts the grants of known grantees alone in place of all. */
static int fix_grants(struct verify *verify, const MDB_val *key, const char *mailbox,
		      const struct stored_grant *kept, size_t count)
{
	struct value_writer value = {0};

	if (count == 0)
		return fix_delete(verify, TABLE_GRANTS, key);
	grants_value_format(mailbox, kept, count, &value);
	int answer = value.failed ? out_of_memory(verify)
				  : add_fix(verify, TABLE_GRANTS, key->mv_data, key->mv_size, value.data,
					    value.length, true);
	free(value.data);
	return answer;
}

static int check_list(struct verify *verify, const MDB_val *key, const struct grants_value *value,
		      const char *owner, const char *mailbox, struct stored_grant *kept)
{
	char shown[MAILBOX_SIZE], name[OWNER_SIZE];
	size_t count = 0;

	if (!mailbox_format(mailbox, '/', shown, sizeof shown))
		snprintf(shown, sizeof shown, "%s", mailbox);
	for (size_t i = 0; i < value->count; i++) {
		struct stored_grant *grant = &kept[count];

		stored_grant_take(value, i, grant);
		int wanted = grantee_principal_type(grant->kind);
		int type = wanted ? type_of(verify, grant->id, name) : 0;
		if (type < 0)
			return -1;
		if (type != wanted) {
			tell(verify, "%s, %.512s: a grant to nobody who has a name", owner, shown);
			continue;
		}
		count++;
		int missing = fix_index(verify, id_take(key->mv_data), mailbox, grant);
		if (missing < 0)
			return -1;
		if (missing > 0)
			tell(verify, "%s, %.512s: a grant to %s that the index does not have", owner,
			     shown, wanted ? name : "a word");
	}
	return count < value->count ? fix_grants(verify, key, mailbox, kept, count) : 0;
}

static int check_grants(const MDB_val *key, const MDB_val *mdb_value, void *context,
			struct error *error)
{
	struct verify *verify = context;
	char owner[OWNER_SIZE], mailbox[MAILBOX_SIZE];
	struct grants_value value;
	struct error why = {0};

	(void)error;
	if (view_parse_grants(verify->view, key, mdb_value, &value, mailbox, &why) < 0)
		return bad_grants(verify, key, "does not parse");
	int type = type_of(verify, id_take(key->mv_data), owner);
	if (type < 0)
		return -1;
	if (type != PRINCIPAL_ACCOUNT && type != PRINCIPAL_PUBLIC)
		return bad_grants(verify, key, "the owner has no name");
	struct stored_grant *kept = calloc(value.count, sizeof *kept);
	int answer = kept ? check_list(verify, key, &value, owner, mailbox, kept)
			  : out_of_memory(verify);
	free(kept);
	return answer;
}

/* Does the grant exist that an entry of the index speaks of? 1, 0, -1. */
static int grant_exists(struct verify *verify, const MDB_val *key)
{
	const unsigned char *bytes = key->mv_data;
	struct grants_value value;
	MDB_val mdb_value;

	if (key->mv_size < RECEIVED_KEY_FRONT + ID_BYTES)
		return 0;
	int found = view_get(verify->view, TABLE_GRANTS, bytes + RECEIVED_KEY_FRONT,
			     key->mv_size - RECEIVED_KEY_FRONT, &mdb_value, verify->error);
	if (found <= 0)
		return found;
	if (!grants_value_parse(mdb_value.mv_data, mdb_value.mv_size, &value))
		return 0;
	for (size_t i = 0; i < value.count; i++)
		if (memcmp(value.items + i * GRANT_BYTES, bytes, RECEIVED_KEY_FRONT) == 0)
			return 1;
	return 0;
}

static int check_received(const MDB_val *key, const MDB_val *value, void *context,
			  struct error *error)
{
	struct verify *verify = context;
	int found = grant_exists(verify, key);

	(void)value, (void)error;
	if (found != 0)
		return found < 0 ? -1 : 0;
	tell(verify, "received \"%s\": the index has a grant that does not exist", show_key(key).text);
	return fix_delete(verify, TABLE_RECEIVED, key);
}

/* The directory. */

static int knows_account(struct directory_reader *directory, const char *name, int wanted,
			 struct error *error)
{
	const char *at = strrchr(name, '@');
	char local[LOCAL_SIZE];
	struct domain_rules rules;

	if (!at)
		return 1; /* of a login without a domain the directory says nothing */
	int found = domain_lookup(directory, at + 1, &rules, error);
	if (found <= 0 || (wanted == ENTRY_ACCOUNT && rules.accounts != ACCOUNTS_DIRECTORY))
		return found;
	memcpy(local, name, (size_t)(at - name));
	local[at - name] = '\0';
	int kind = directory_kind(directory, local, at + 1, error);
	return kind < 0 ? -1 : kind == wanted;
}

static int directory_knows(struct directory_reader *directory, int type, const char *name,
			   struct error *error)
{
	struct domain_rules rules;

	switch (type) {
	case PRINCIPAL_ACCOUNT:
		return knows_account(directory, name, ENTRY_ACCOUNT, error);
	case PRINCIPAL_GROUP:
		return knows_account(directory, name, ENTRY_GROUP, error);
	case PRINCIPAL_DOMAIN:
		return domain_lookup(directory, name, &rules, error);
	default:
		return 1;
	}
}

/* While homingctl renames, or was killed doing so, one of the two names is not known; see
 * sharing-principal.h. */
static bool is_noted(const struct verify *verify, const char *name)
{
	return verify->has_note && (strcmp(name, verify->note.old_name) == 0 ||
				    strcmp(name, verify->note.new_name) == 0);
}

/* Those that the directory does not know, for later. */
struct unknown {
	struct verify *verify;
	struct mailbox_names names; /* the type in front */
};

static int check_known(const MDB_val *key, const MDB_val *value, void *context,
		       struct error *error)
{
	struct unknown *unknown = context;
	struct verify *verify = unknown->verify;
	char name[1 + OWNER_SIZE];
	int type = principal_parse(key->mv_data, key->mv_size, name + 1);

	(void)value;
	if (type == 0 || is_noted(verify, name + 1))
		return 0;
	int known = directory_knows(verify->directory, type, name + 1, error);
	if (known != 0)
		return known < 0 ? -1 : 0;
	tell(verify, "%s: the directory has no such %s (any more)", name + 1,
	     type == PRINCIPAL_DOMAIN  ? "domain"
	     : type == PRINCIPAL_GROUP ? "group"
				       : "account");
	name[0] = (char)type;
	return mailbox_names_add(&unknown->names, name, error);
}

static int forget_unknown(struct verify *verify, const struct mailbox_names *names)
{
	int answer = 0;

	for (size_t i = 0; answer == 0 && i < names->count; i++) {
		struct grantee who = {.kind = names->items[i][0] == PRINCIPAL_DOMAIN  ? GRANTEE_DOMAIN
					      : names->items[i][0] == PRINCIPAL_GROUP ? GRANTEE_GROUP
										      : GRANTEE_USER};

		snprintf(who.name, sizeof who.name, "%s", names->items[i] + 1);
		answer = sharing_edit_forget(verify->edit, &who);
	}
	return answer;
}

static int check_directory(struct verify *verify)
{
	struct unknown unknown = {.verify = verify};
	int answer = view_each(verify->view, TABLE_PRINCIPALS, NULL, 0, check_known, &unknown,
			       verify->error);

	if (answer == 0 && verify->edit)
		answer = forget_unknown(verify, &unknown.names);
	mailbox_names_finish(&unknown.names);
	return answer;
}

/* All of it. */

static int verify_all(struct verify *verify)
{
	int note = sharing_read_note(verify->view, &verify->note, verify->error);

	if (note < 0)
		return -1;
	verify->has_note = note > 0;
	if (verify->has_note)
		tell(verify, "%s is being renamed to %s, or homingctl was killed doing so; its next "
		     "change of an account ends that", verify->note.old_name, verify->note.new_name);
	if (walk(verify, TABLE_PRINCIPALS, check_principal) < 0 ||
	    walk(verify, TABLE_PRINCIPAL_NAMES, check_name) < 0 || check_next_id(verify) < 0 ||
	    walk(verify, TABLE_GRANTS, check_grants) < 0 ||
	    walk(verify, TABLE_RECEIVED, check_received) < 0)
		return -1;
	return check_directory(verify);
}

/* The snapshot of the directory is begun while nobody can change grants: whoever has a grant was
 * known before. */
static int with_directory(struct verify *verify)
{
	directory_end(verify->directory);
	if (directory_begin(verify->directory, verify->error) < 0)
		return -1;
	verify->count = 0;
	verify->last_id = 0;
	int answer = verify_all(verify);
	directory_end(verify->directory);
	forget_fixes(verify);
	verify->told = true;
	return answer;
}

static int look(const struct sharing_view *view, void *context, struct error *error)
{
	struct verify *verify = context;

	verify->view = view;
	verify->error = error;
	return with_directory(verify);
}

static int change(struct sharing_edit *edit, void *context)
{
	struct verify *verify = context;

	verify->view = &edit->view;
	verify->edit = edit;
	verify->error = edit->error;
	return with_directory(verify);
}

int sharing_verify(struct sharing_writer *writer, struct directory_reader *directory, bool mend,
		   sharing_found_cb *found, void *context, struct error *error)
{
	struct verify verify = {
		.directory = directory, .found = found, .context = context};
	int answer = mend ? sharing_edit_run(writer, change, &verify, error)
			  : sharing_look(writer, look, &verify, error);

	free(verify.fixes);
	return answer < 0 ? -1 : verify.count;
}
