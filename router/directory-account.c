/* An account as it is stored: its value, and its place in groups. */
#include "directory-account.h"

#include <stdlib.h>
#include <string.h>

#include "directory-credential.h"

enum { ID_SIZE = sizeof ((struct account *)0)->uid };

static const char *home_refusal(const char *home)
{
	if (home[0] != '/')
		return "not an absolute path";
	if (strnlen(home, ACCOUNT_HOME_SIZE) == ACCOUNT_HOME_SIZE)
		return "longer than 1023 bytes";
	for (; *home; home++)
		if ((unsigned char)*home < ' ' || *home == 0x7f)
			return "has a control character";
	return NULL;
}

static const char *id_refusal(const char *id)
{
	if (strnlen(id, ID_SIZE) == ID_SIZE)
		return "longer than 63 bytes";
	for (; *id; id++)
		if ((unsigned char)*id <= ' ' || *id == 0x7f)
			return "has white space or a control character";
	return NULL;
}

static bool is_given(const char *text)
{
	return text && *text;
}

int account_check(const struct account_change *account, struct error *error)
{
	const char *key = NULL, *why = NULL;

	if (is_given(account->home) && (why = home_refusal(account->home)))
		key = "home";
	else if (is_given(account->uid) && (why = id_refusal(account->uid)))
		key = "uid";
	else if (is_given(account->gid) && (why = id_refusal(account->gid)))
		key = "gid";
	else if (account->credential &&
		 (why = credential_refusal(account->credential,
					   strnlen(account->credential, CREDENTIAL_SIZE))))
		key = "password";
	return why ? error_set(error, ERROR_INVALID, "%.255s@%.253s: %s: %s", account->local,
			       account->domain, key, why)
		   : 0;
}

int account_value(const struct account_change *account, struct value_writer *value,
		  struct error *error)
{
	value_put_u8(value, ENTRY_ACCOUNT);
	value_put_string(value, account->home ? account->home : "");
	value_put_string(value, account->uid ? account->uid : "");
	value_put_string(value, account->gid ? account->gid : "");
	return value->failed ? error_set(error, ERROR_MEMORY, "out of memory") : 0;
}

/* Takes the account out of the groups that are not in the set. */
static int leave_others(struct edit *edit, const struct edit_name *name, struct string_set *joined)
{
	struct string_set references = {0};
	int answer = edit_references(edit, name, &references);

	for (size_t i = 0; answer == 0 && i < references.count; i++) {
		const struct string_set_item *item = &references.items[i];
		struct edit_name group;

		if (item->bytes[0] != ENTRY_GROUP)
			continue;
		answer = edit_name_from_key(edit, item->bytes + 1, item->length - 1, &group);
		if (answer < 0)
			break;
		int added = string_set_add(joined, group.key, group.key_length);
		if (added < 0)
			answer = error_set(edit->error, ERROR_MEMORY, "out of memory");
		else if (added > 0)
			answer = edit_member_remove(edit, &group, name->address) < 0 ? -1 : 0;
	}
	string_set_finish(&references);
	return answer;
}

static int join_one(struct edit *edit, const struct edit_name *name, const char *group_address,
		    struct string_set *joined)
{
	char address[NAME_SIZE], local[LOCAL_SIZE], domain[DOMAIN_SIZE];
	struct edit_name group;

	if (edit_target(edit, group_address, address) < 0)
		return -1;
	const char *why = address_parse(address, strlen(address), local, domain);
	if (why)
		return error_set(edit->error, ERROR_INVALID, "%s: %s", address, why);
	if (edit_name_init(edit, local, domain, &group) < 0 ||
	    edit_expect(edit, &group, ENTRY_GROUP) < 0 ||
	    edit_member_add(edit, &group, name->address) < 0)
		return -1;
	if (string_set_add(joined, group.key, group.key_length) < 0)
		return error_set(edit->error, ERROR_MEMORY, "out of memory");
	return 0;
}

int account_join(struct edit *edit, const struct edit_name *name, const char *const *groups,
		 bool only)
{
	struct string_set joined = {0};
	int answer = 0;

	for (; answer == 0 && groups && *groups; groups++)
		answer = join_one(edit, name, *groups, &joined);
	if (answer == 0 && only)
		answer = leave_others(edit, name, &joined);
	string_set_finish(&joined);
	return answer;
}

/* The strings of a stored account: 0, or -1 if it does not parse. They point into the map. */
static int read_account(struct edit *edit, const struct edit_name *name, const char *texts_r[3])
{
	MDB_val value;
	int found = edit_get(edit, TABLE_NAMES, name->key, name->key_length, &value);
	struct value_reader reader = {0};

	if (found < 0)
		return -1;
	if (found > 0)
		reader = (struct value_reader){
			.next = value.mv_data,
			.end = (const unsigned char *)value.mv_data + value.mv_size};
	bool fine = value_u8(&reader) == ENTRY_ACCOUNT;
	for (int i = 0; i < 3; i++)
		texts_r[i] = value_string(&reader, NULL);
	if (!fine || reader.failed || reader.next != reader.end ||
	    strlen(texts_r[0]) >= ACCOUNT_HOME_SIZE)
		return error_set(edit->error, ERROR_CORRUPT, "names \"%s\": the value does not parse",
				 name->address);
	return 0;
}

/* account_defaults.home of homing.json; "" before the first apply. */
static int default_home(struct edit *edit, const char **template_r)
{
	MDB_val value;
	int found = edit_get(edit, TABLE_META, "routing", 7, &value);

	*template_r = "";
	if (found <= 0)
		return found;
	struct value_reader reader = {.next = value.mv_data,
				      .end = (const unsigned char *)value.mv_data + value.mv_size};
	value_string(&reader, NULL); /* the main domain */
	*template_r = value_string(&reader, NULL);
	if (reader.failed)
		return error_set(edit->error, ERROR_CORRUPT, "meta \"routing\": the value does not parse");
	return 0;
}

int account_home(struct edit *edit, const struct edit_name *name, char home_r[ACCOUNT_HOME_SIZE])
{
	const char *texts[3], *template;

	if (read_account(edit, name, texts) < 0)
		return -1;
	if (texts[0][0] != '\0') {
		memcpy(home_r, texts[0], strlen(texts[0]) + 1);
		return 0;
	}
	if (default_home(edit, &template) < 0)
		return -1;
	if (!home_expand(template, name->local, name->domain, home_r, ACCOUNT_HOME_SIZE))
		return error_set(edit->error, ERROR_INVALID, "%s: its default home is longer than %d bytes",
				 name->address, ACCOUNT_HOME_SIZE - 1);
	return 0;
}

int account_copy(struct edit *edit, const struct edit_name *name,
		 const struct edit_name *new_name, const char *home)
{
	struct value_writer value = {0};
	const char *texts[3];

	if (read_account(edit, name, texts) < 0)
		return -1;
	struct account_change account = {.home = home, .uid = texts[1], .gid = texts[2]};
	int answer = account_value(&account, &value, edit->error);
	if (answer == 0)
		answer = edit_put(edit, TABLE_NAMES, new_name->key, new_name->key_length, value.data,
				  value.length);
	free(value.data);
	return answer;
}
