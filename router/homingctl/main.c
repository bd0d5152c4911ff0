/* homingctl: the command-line program. This file finds the command and calls it. */
#include "command.h"

#include <signal.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "output.h"

static const struct command *const commands[] = {
	&check_command,
	&apply_command,
	&export_command,
	&route_command,
	&account_add_command,
	&account_show_command,
	&account_list_command,
	&account_delete_command,
	&account_rename_command,
	&account_import_command,
	&password_set_command,
	&password_verify_command,
	&password_delete_command,
	&alias_add_command,
	&alias_list_command,
	&alias_delete_command,
	&forwarder_add_command,
	&forwarder_list_command,
	&forwarder_delete_command,
	&group_add_command,
	&group_remove_command,
	&group_list_command,
	&group_delete_command,
	&share_grant_command,
	&share_revoke_command,
	&share_list_command,
	&share_with_command,
	&share_verify_command,
	&share_import_command,
	&share_export_command,
	&verify_command,
	&config_dovecot_command,
	&config_postfix_command,
	&status_command,
};
enum { COMMAND_COUNT = sizeof commands / sizeof commands[0] };

static bool in_group(const struct command *command, const char *group)
{
	size_t length = strlen(group);

	return strncmp(command->name, group, length) == 0 &&
	       (command->name[length] == ' ' || command->name[length] == '\0');
}

/* The commands of a group (of all: ""), one a line. */
static size_t list_commands(FILE *file, const char *group)
{
	size_t count = 0;

	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		if (group[0] && !in_group(commands[i], group))
			continue;
		fprintf(file, "  %-18s %s\n", commands[i]->name, commands[i]->summary);
		count++;
	}
	return count;
}

static void print_general_help(void)
{
	printf("Usage: homingctl [--directory DIR] COMMAND [ARGUMENT...]\n\n"
	       "Manages the directory of Homing: domains, router records, accounts.\n\n");
	list_commands(stdout, "");
	printf("\n  --directory DIR, -d DIR   the directory; default %s\n"
	       "  --json                    print JSON, for programs\n"
	       "  --help, -h                this text; behind a command: the command's\n"
	       "  --version, -V             the version\n\n"
	       "Exit codes: 0 fine, 64 usage, 65 bad input data, 66 a file is missing, 67 no such name\n"
	       "or refused, 71 out of memory, 73 the name is taken, 74 input or output failed or the\n"
	       "disk is full, 75 try again, 77 not permitted, 78 a mistake in the configuration.\n"
	       "More: homingctl(1), homing.json(5), homing-routing(7).\n",
	       HOMING_DIRECTORY);
}

static void print_command_help(const struct command *command)
{
	printf("Usage: homingctl %s%s%s\n\n%s.\n", command->name, command->usage[0] ? " " : "",
	       command->usage, command->summary);
	if (command->help[0])
		printf("\n%s", command->help);
}

/* Finds the command by its one or two words and takes them from the arguments. */
static const struct command *find_command(struct call *call)
{
	for (size_t i = 0; i < COMMAND_COUNT; i++) {
		const char *space = strchr(commands[i]->name, ' ');
		size_t first = space ? (size_t)(space - commands[i]->name) : strlen(commands[i]->name);
		size_t words = space ? 2 : 1;

		if (call->argument_count < words || strlen(call->arguments[0]) != first ||
		    strncmp(call->arguments[0], commands[i]->name, first) != 0 ||
		    (space && strcmp(call->arguments[1], space + 1) != 0))
			continue;
		memmove(call->arguments, call->arguments + words,
			(call->argument_count - words + 1) * sizeof *call->arguments);
		call->argument_count -= words;
		return commands[i];
	}
	return NULL;
}

/* No command has the words: a group of commands, a slip, or nothing at all. */
static int explain_missing(const struct call *call)
{
	bool help = has_option(call, OPTION_HELP);

	if (call->argument_count == 0) {
		if (help) {
			print_general_help();
			return EX_OK;
		}
		complain("which command? See homingctl --help");
		return EX_USAGE;
	}
	const char *word = call->arguments[0];
	bool group = false;
	for (size_t i = 0; i < COMMAND_COUNT; i++)
		group = group || in_group(commands[i], word);
	if (!group) {
		complain("%s: no such command; see homingctl --help", word);
		return EX_USAGE;
	}
	if (!help)
		complain("%s%s%s: which of these commands?", word, call->argument_count > 1 ? " " : "",
			 call->argument_count > 1 ? call->arguments[1] : "");
	list_commands(help ? stdout : stderr, word);
	return help ? EX_OK : EX_USAGE;
}

static int check_call(const struct call *call)
{
	const struct command *command = call->command;
	unsigned long long taken =
		command->options | OPTION(OPTION_DIRECTORY) | OPTION(OPTION_HELP) | OPTION(OPTION_JSON);

	for (int id = 0; id < OPTION_COUNT; id++) {
		if (call->options[id] && !(taken & OPTION(id))) {
			complain("%s does not take %s; see homingctl %s --help", command->name,
				 option_name((enum option_id)id), command->name);
			return EX_USAGE;
		}
	}
	if (call->argument_count < (size_t)command->least ||
	    (command->most != ANY_NUMBER && call->argument_count > (size_t)command->most)) {
		complain("usage: homingctl %s %s", command->name, command->usage);
		return EX_USAGE;
	}
	return 0;
}

static int run(struct call *call)
{
	if (has_option(call, OPTION_VERSION)) {
		printf("homingctl %s\n", HOMING_VERSION);
		return EX_OK;
	}
	if (call->argument_count > 0 && strcmp(call->arguments[0], "help") == 0) {
		memmove(call->arguments, call->arguments + 1,
			call->argument_count * sizeof *call->arguments);
		call->argument_count--;
		call->options[OPTION_HELP] = "";
	}
	call->command = find_command(call);
	if (!call->command)
		return explain_missing(call);
	if (has_option(call, OPTION_HELP)) {
		print_command_help(call->command);
		return EX_OK;
	}
	int code = check_call(call);
	return code != 0 ? code : call->command->run(call);
}

int main(int argc, char **argv)
{
	struct call call = {0};

	signal(SIGXFSZ, SIG_IGN); /* a file beyond `ulimit -f` is an error of write(), and told */
	if (sodium_init() < 0) {
		complain("libsodium does not start");
		return EX_OSERR;
	}
	int code = call_parse(&call, argc, argv);
	if (code == 0)
		code = run(&call);
	call_finish(&call);
	if (fflush(stdout) != 0 || ferror(stdout)) {
		complain("cannot write the output");
		code = code != 0 ? code : EX_IOERR;
	}
	return code;
}
