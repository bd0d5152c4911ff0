/* account: add, show, list, delete, rename. */
#include "command.h"

#include <sodium.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "output.h"
#include "secret.h"
#include "session.h"
#include "stored.h"

/* Groups are names too: a bare one belongs to the main domain. */
static int parse_groups(const struct call *call, char ***groups_r)
{
	struct entry_name name;
	char **groups;
	int code = names_qualify(call, call->groups, call->group_count, &groups);

	for (size_t i = 0; code == 0 && i < call->group_count; i++) {
		code = entry_name_parse(call, groups[i], &name);
		if (code == 0) {
			free(groups[i]);
			groups[i] = strdup(name.address);
			if (!groups[i])
				code = fail_memory();
		}
		if (code != 0)
			names_free(groups);
	}
	if (code == 0)
		*groups_r = groups;
	return code;
}

/* Reads the password and hashes it; "" without --password-stdin. */
static int make_credential(const struct call *call, char credential[CREDENTIAL_SIZE])
{
	struct secret secret;
	struct error error = {0};

	credential[0] = '\0';
	if (!has_option(call, OPTION_PASSWORD_STDIN))
		return 0;
	int code = secret_read("password", 1, &secret);
	if (code != 0)
		return code;
	if (credential_make(secret.text, secret.length, credential, &error) < 0)
		code = fail(&error, EX_SOFTWARE);
	secret_wipe(&secret);
	return code;
}

static int add_account(const struct call *call, const struct account_change *account)
{
	struct directory_writer *writer;
	struct error error = {0};
	int code = writer_open(call, &writer);

	if (code != 0)
		return code;
	if (directory_account_add(writer, account, &error) < 0)
		code = fail(&error, EX_NOUSER);
	directory_writer_close(&writer);
	return code;
}

static int run_add(const struct call *call)
{
	char credential[CREDENTIAL_SIZE];
	struct entry_name name;
	char **groups = NULL;
	int code = entry_name_parse(call, call->arguments[0], &name);

	if (code == 0)
		code = parse_groups(call, &groups);
	if (code != 0)
		return code;
	code = make_credential(call, credential);
	if (code == 0) {
		struct account_change account = {
			.local = name.local,
			.domain = name.domain,
			.home = call->options[OPTION_HOME],
			.uid = call->options[OPTION_UID],
			.gid = call->options[OPTION_GID],
			.credential = credential[0] ? credential : NULL,
			.groups = (const char *const *)groups,
		};
		code = add_account(call, &account);
	}
	sodium_memzero(credential, sizeof credential);
	names_free(groups);
	return code;
}

/* "yes", "no", or "unknown" where we may not read credentials.mdb. */
static const char *has_password(struct directory_reader *reader, bool readable,
				const struct entry_name *name)
{
	char credential[CREDENTIAL_SIZE];
	struct error ignored = {0};

	if (!readable)
		return "unknown";
	int found = credential_lookup(reader, name->local, name->domain, credential, &ignored);
	sodium_memzero(credential, sizeof credential);
	return found < 0 ? "unknown" : found > 0 ? "yes" : "no";
}

struct shown {
	struct account account;
	json_t *groups, *aliases, *forwarders;
	const char *password;
};

static int add_reference(int kind, const char *address, void *context)
{
	struct shown *shown = context;

	if (kind == ENTRY_ALIAS)
		json_array_append_new(shown->aliases, json_text(address));
	else if (kind == ENTRY_FORWARDER)
		json_array_append_new(shown->forwarders, json_text(address));
	return 0;
}

static int look_up(struct directory_reader *reader, const struct entry_name *name,
		   struct shown *shown, struct error *error)
{
	int found = account_lookup(reader, name->local, name->domain, &shown->account, error);

	if (found <= 0)
		return found;
	shown->groups = stored_groups(reader, name->local, name->domain, error);
	shown->aliases = json_array();
	shown->forwarders = json_array();
	if (!shown->groups || stored_references(reader, name->local, name->domain, add_reference, shown,
						error) != 0)
		return -1;
	return 1;
}

static void print_list(const char *title, const json_t *list)
{
	size_t i;
	json_t *item;

	if (json_array_size(list) == 0)
		return;
	print("  %-11s", title);
	json_array_foreach(list, i, item)
		print(" %s", json_string_value(item));
	print("\n");
}

static void print_shown(const struct entry_name *name, const struct shown *shown)
{
	print("%s\n", name->address);
	print("  %-11s %s\n", "home", shown->account.home[0] ? shown->account.home : "(none)");
	print("  %-11s %s\n", "uid", shown->account.uid[0] ? shown->account.uid : "(none)");
	print("  %-11s %s\n", "gid", shown->account.gid[0] ? shown->account.gid : "(none)");
	print("  %-11s %s\n", "password", shown->password);
	print_list("groups", shown->groups);
	print_list("aliases", shown->aliases);
	print_list("forwarders", shown->forwarders);
}

static json_t *text_or_null(const char *text)
{
	return json_text(text[0] ? text : NULL);
}

static json_t *shown_json(const struct entry_name *name, const struct shown *shown)
{
	json_t *password = strcmp(shown->password, "unknown") == 0
				   ? json_null()
				   : json_boolean(strcmp(shown->password, "yes") == 0);

	return json_pack("{s:o,s:o,s:o,s:o,s:o,s:O,s:O,s:O}", "account", json_text(name->address),
			 "home", text_or_null(shown->account.home), "uid",
			 text_or_null(shown->account.uid), "gid", text_or_null(shown->account.gid),
			 "password", password, "groups", shown->groups, "aliases", shown->aliases,
			 "forwarders", shown->forwarders);
}

static int show_one(const struct call *call, struct session *session, bool readable,
		    const struct entry_name *name, json_t *list)
{
	struct shown shown = {.password = has_password(session->reader, readable, name)};
	struct error error = {0};
	int code = EX_OK;
	int found = look_up(session->reader, name, &shown, &error);

	if (found < 0) {
		code = fail(&error, EX_NOINPUT);
	} else if (found == 0) {
		complain("%s: no such account", name->address);
		code = EX_NOUSER;
	} else if (has_option(call, OPTION_JSON)) {
		json_array_append_new(list, shown_json(name, &shown));
	} else {
		print_shown(name, &shown);
	}
	json_decref(shown.groups);
	json_decref(shown.aliases);
	json_decref(shown.forwarders);
	return code;
}

/* Opens with the passwords if that is allowed, else without. */
static int open_for_show(const struct call *call, struct session *session, bool *readable_r)
{
	struct directory *directory;
	struct error error = {0};

	*readable_r = directory_open(call->directory, DIRECTORY_CREDENTIALS, &directory, &error) == 0;
	if (*readable_r)
		directory_close(&directory);
	return session_open(call, *readable_r ? DIRECTORY_CREDENTIALS : DIRECTORY_NAMES, session);
}

static int run_show(const struct call *call)
{
	struct entry_name *names;
	struct session session;
	size_t count;
	bool readable;
	int code = entry_names_parse(call, 0, &names, &count);

	if (code != 0)
		return code;
	code = open_for_show(call, &session, &readable);
	if (code == 0) {
		json_t *list = json_array();
		for (size_t i = 0; i < count; i++) {
			int one = show_one(call, &session, readable, &names[i], list);
			code = one != EX_OK ? one : code;
		}
		if (has_option(call, OPTION_JSON)) {
			json_t *single = count == 1 ? json_incref(json_array_get(list, 0)) : NULL;

			if (count != 1)
				print_json(json_incref(list));
			else if (single)
				print_json(single);
		}
		json_decref(list);
	}
	session_close(&session);
	free(names);
	return code;
}

struct listing {
	bool json;
	size_t count;
};

static int list_account(enum entry_kind kind, const char *local, const char *domain,
			void *context)
{
	struct listing *listing = context;

	(void)kind;
	if (listing->json) {
		char address[ADDRESS_SIZE];
		snprintf(address, sizeof address, "%s@%s", local, domain);
		json_t *text = json_text(address);
		fputs(listing->count > 0 ? ",\n " : "[", stdout);
		json_dumpf(text, stdout, JSON_ENCODE_ANY);
		json_decref(text);
	} else {
		print("%s@%s\n", local, domain);
	}
	listing->count++;
	return ferror(stdout) ? 1 : 0;
}

static int run_list(const struct call *call)
{
	struct listing listing = {.json = has_option(call, OPTION_JSON)};
	char domain[DOMAIN_SIZE];
	struct session session;
	struct error error = {0};
	int code = call->argument_count > 0 ? domain_argument(call->arguments[0], domain) : 0;

	if (code == 0)
		code = session_open(call, DIRECTORY_NAMES, &session);
	if (code != 0)
		return code;
	if (directory_each_entry(session.reader, call->argument_count > 0 ? domain : NULL,
				 ENTRY_ACCOUNT, list_account, &listing, &error) < 0)
		code = fail(&error, EX_NOINPUT);
	if (listing.json)
		print(listing.count > 0 ? "]\n" : "[]\n");
	session_close(&session);
	return code;
}

static int run_delete(const struct call *call)
{
	bool force = has_option(call, OPTION_FORCE);
	struct directory_writer *writer;
	struct entry_name *names;
	size_t count;
	int code = entry_names_parse(call, 0, &names, &count);

	if (code != 0)
		return code;
	code = writer_open(call, &writer);
	if (code == 0) {
		for (size_t i = 0; i < count; i++) {
			struct error error = {0};

			if (directory_account_delete(writer, names[i].local, names[i].domain, force,
						     &error) < 0)
				code = fail(&error, EX_NOUSER);
		}
		directory_writer_close(&writer);
	}
	free(names);
	return code;
}

static int run_rename(const struct call *call)
{
	struct directory_writer *writer;
	struct entry_name *names;
	struct error error = {0};
	size_t count;
	int code = entry_names_parse(call, 0, &names, &count);

	if (code != 0)
		return code;
	code = writer_open(call, &writer);
	if (code == 0) {
		if (directory_account_rename(writer, names[0].local, names[0].domain, names[1].local,
					     names[1].domain, &error) < 0)
			code = fail(&error, EX_NOUSER);
		directory_writer_close(&writer);
	}
	free(names);
	return code;
}

const struct command account_add_command = {
	.name = "account add",
	.usage = "NAME [--home H] [--uid U] [--gid G] [--group G]... [--password-stdin]",
	.summary = "Add an account",
	.help = "  --home DIR        where its mail is; default account_defaults of homing.json\n"
		"  --uid U, --gid G  the system's user and group, name or number; default as above\n"
		"  --group G         a group to be in; may be given again\n"
		"  --password-stdin  read its password, one line, from standard input; without it the\n"
		"                    account has none, and nobody can log in\n\n"
		"A name without a domain belongs to the main domain.\n",
	.options = OPTION(OPTION_HOME) | OPTION(OPTION_UID) | OPTION(OPTION_GID) |
		   OPTION(OPTION_GROUP) | OPTION(OPTION_PASSWORD_STDIN),
	.least = 1,
	.most = 1,
	.run = run_add,
};

const struct command account_show_command = {
	.name = "account show",
	.usage = "NAME... [--json]",
	.summary = "Show accounts: home, uid, gid, groups, and what leads to them",
	.help = "Whether there is a password is told to who may read credentials.mdb.\n",
	.least = 1,
	.most = ANY_NUMBER,
	.run = run_show,
};

const struct command account_list_command = {
	.name = "account list",
	.usage = "[DOMAIN] [--json]",
	.summary = "List accounts, all or one domain's",
	.help = "",
	.most = 1,
	.run = run_list,
};

const struct command account_delete_command = {
	.name = "account delete",
	.usage = "NAME... [--force]",
	.summary = "Delete accounts; their mail stays on disk",
	.help = "  --force           delete the aliases that lead to it, and take it out of forwarders;\n"
		"                    without it, these are an error\n",
	.options = OPTION(OPTION_FORCE),
	.least = 1,
	.most = ANY_NUMBER,
	.run = run_delete,
};

const struct command account_rename_command = {
	.name = "account rename",
	.usage = "OLD NEW",
	.summary = "Give an account another name; what leads to it follows",
	.help = "The password, the groups and the home stay: the mail is not moved. A bare NEW belongs\n"
		"to the main domain.\n",
	.least = 2,
	.most = 2,
	.run = run_rename,
};
