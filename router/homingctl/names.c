/* alias, forwarder, group: names that lead to others. */
#include "command.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "output.h"
#include "session.h"

enum change { ADD, REMOVE };

static int change_name(struct directory_writer *writer, enum entry_kind kind, enum change change,
		       const struct entry_name *name, const char *const *targets, size_t count,
		       struct error *error)
{
	if (kind == ENTRY_ALIAS)
		return directory_alias_add(writer, name->local, name->domain, targets[0], error);
	if (kind == ENTRY_FORWARDER)
		return directory_forwarder_add(writer, name->local, name->domain, targets, count, error);
	if (change == REMOVE)
		return directory_group_remove(writer, name->local, name->domain, targets, count, error);
	return directory_group_add(writer, name->local, name->domain, targets, count, error);
}

/* NAME TARGET...: bare ones belong to the main domain. */
static int run_change(const struct call *call, enum entry_kind kind, enum change change)
{
	struct directory_writer *writer;
	struct entry_name name;
	struct error error = {0};
	char **targets = NULL;
	size_t count = call->argument_count - 1;
	int code = entry_name_parse(call, call->arguments[0], &name);

	if (code == 0)
		code = names_qualify(call, call->arguments + 1, count, &targets);
	if (code != 0)
		return code;
	code = writer_open(call, &writer);
	if (code == 0) {
		if (change_name(writer, kind, change, &name, (const char *const *)targets, count,
				&error) < 0)
			code = fail(&error, EX_NOUSER);
		directory_writer_close(&writer);
	}
	names_free(targets);
	return code;
}

static int run_delete(const struct call *call, enum entry_kind kind)
{
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

			if (directory_name_delete(writer, kind, names[i].local, names[i].domain, &error) < 0)
				code = fail(&error, EX_NOUSER);
		}
		directory_writer_close(&writer);
	}
	free(names);
	return code;
}

struct listing {
	struct directory_reader *reader;
	bool json;
	json_t *targets; /* of the name at hand, with --json */
	size_t count;
	struct error error;
};

static int list_target(const char *address, void *context)
{
	struct listing *listing = context;

	if (listing->json)
		json_array_append_new(listing->targets, json_text(address));
	else
		print(" %s", address);
	return 0;
}

static void print_entry(struct listing *listing, enum entry_kind kind, const char *address)
{
	const char *key = kind == ENTRY_ALIAS ? "alias"
			  : kind == ENTRY_FORWARDER ? "forwarder"
						    : "group";
	json_t *object = json_object();

	json_object_set_new(object, key, json_text(address));
	if (kind == ENTRY_ALIAS)
		json_object_set(object, "target", json_array_get(listing->targets, 0));
	else
		json_object_set(object, kind == ENTRY_GROUP ? "members" : "targets", listing->targets);
	fputs(listing->count > 0 ? ",\n " : "[", stdout);
	json_dumpf(object, stdout, JSON_COMPACT);
	json_decref(object);
}

static int list_entry(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	struct listing *listing = context;
	char address[ADDRESS_SIZE];

	snprintf(address, sizeof address, "%s@%s", local, domain);
	if (listing->json)
		listing->targets = json_array();
	else
		print("%s:", address);
	int answer = directory_each_target(listing->reader, kind, local, domain, list_target, listing,
					   &listing->error);
	if (listing->json) {
		print_entry(listing, kind, address);
		json_decref(listing->targets);
	} else {
		print("\n");
	}
	listing->count++;
	return answer;
}

static int run_list(const struct call *call, enum entry_kind kind)
{
	char domain[DOMAIN_SIZE];
	struct session session;
	int code = call->argument_count > 0 ? domain_argument(call->arguments[0], domain) : 0;

	if (code == 0)
		code = session_open(call, DIRECTORY_NAMES, &session);
	if (code != 0)
		return code;
	struct listing listing = {.reader = session.reader, .json = has_option(call, OPTION_JSON)};
	if (directory_each_entry(session.reader, call->argument_count > 0 ? domain : NULL, kind,
				 list_entry, &listing, &listing.error) != 0)
		code = fail(&listing.error, EX_NOINPUT);
	if (listing.json)
		print(listing.count > 0 ? "]\n" : "[]\n");
	session_close(&session);
	return code;
}

static int run_alias_add(const struct call *call)
{
	return run_change(call, ENTRY_ALIAS, ADD);
}

static int run_alias_list(const struct call *call)
{
	return run_list(call, ENTRY_ALIAS);
}

static int run_alias_delete(const struct call *call)
{
	return run_delete(call, ENTRY_ALIAS);
}

static int run_forwarder_add(const struct call *call)
{
	return run_change(call, ENTRY_FORWARDER, ADD);
}

static int run_forwarder_list(const struct call *call)
{
	return run_list(call, ENTRY_FORWARDER);
}

static int run_forwarder_delete(const struct call *call)
{
	return run_delete(call, ENTRY_FORWARDER);
}

static int run_group_add(const struct call *call)
{
	return run_change(call, ENTRY_GROUP, ADD);
}

static int run_group_remove(const struct call *call)
{
	return run_change(call, ENTRY_GROUP, REMOVE);
}

static int run_group_list(const struct call *call)
{
	return run_list(call, ENTRY_GROUP);
}

static int run_group_delete(const struct call *call)
{
	return run_delete(call, ENTRY_GROUP);
}

#define BARE_NAMES "A name without a domain belongs to the main domain.\n"

const struct command alias_add_command = {
	.name = "alias add",
	.usage = "NAME TARGET",
	.summary = "Make another name for an account or an address",
	.help = "Mail for NAME goes to TARGET, and a login as NAME opens TARGET.\n" BARE_NAMES,
	.least = 2,
	.most = 2,
	.run = run_alias_add,
};

const struct command alias_list_command = {
	.name = "alias list",
	.usage = "[DOMAIN] [--json]",
	.summary = "List aliases and their targets",
	.help = "",
	.most = 1,
	.run = run_alias_list,
};

const struct command alias_delete_command = {
	.name = "alias delete",
	.usage = "NAME...",
	.summary = "Delete aliases",
	.help = "",
	.least = 1,
	.most = ANY_NUMBER,
	.run = run_alias_delete,
};

const struct command forwarder_add_command = {
	.name = "forwarder add",
	.usage = "NAME TARGET...",
	.summary = "Send the mail of a name on to one or more addresses",
	.help = "A forwarder cannot log in.\n" BARE_NAMES,
	.least = 2,
	.most = ANY_NUMBER,
	.run = run_forwarder_add,
};

const struct command forwarder_list_command = {
	.name = "forwarder list",
	.usage = "[DOMAIN] [--json]",
	.summary = "List forwarders and their targets",
	.help = "",
	.most = 1,
	.run = run_forwarder_list,
};

const struct command forwarder_delete_command = {
	.name = "forwarder delete",
	.usage = "NAME...",
	.summary = "Delete forwarders",
	.help = "",
	.least = 1,
	.most = ANY_NUMBER,
	.run = run_forwarder_delete,
};

const struct command group_add_command = {
	.name = "group add",
	.usage = "NAME [MEMBER...]",
	.summary = "Make a group, or add members to it",
	.help = "Mail for a group goes to its members; rights given to it are theirs.\n" BARE_NAMES,
	.least = 1,
	.most = ANY_NUMBER,
	.run = run_group_add,
};

const struct command group_remove_command = {
	.name = "group remove",
	.usage = "NAME MEMBER...",
	.summary = "Take members out of a group",
	.help = BARE_NAMES,
	.least = 2,
	.most = ANY_NUMBER,
	.run = run_group_remove,
};

const struct command group_list_command = {
	.name = "group list",
	.usage = "[DOMAIN] [--json]",
	.summary = "List groups and their members",
	.help = "",
	.most = 1,
	.run = run_group_list,
};

const struct command group_delete_command = {
	.name = "group delete",
	.usage = "NAME...",
	.summary = "Delete groups; the members' accounts stay",
	.help = "",
	.least = 1,
	.most = ANY_NUMBER,
	.run = run_group_delete,
};
