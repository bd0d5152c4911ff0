/* The command line: options may stand anywhere, `--` ends them, `--name=value` and
 * `--name value` are the same. Which command takes which option is main.c's to check. */
#include "command.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "output.h"

static const struct {
	const char *name;
	char letter;
	bool has_value;
} options[OPTION_COUNT] = {
	[OPTION_DIRECTORY] = {"--directory", 'd', true},
	[OPTION_JSON] = {"--json", 0, false},
	[OPTION_HELP] = {"--help", 'h', false},
	[OPTION_VERSION] = {"--version", 'V', false},
	[OPTION_DRY_RUN] = {"--dry-run", 'n', false},
	[OPTION_LIVE] = {"--live", 0, false},
	[OPTION_DOVECONF] = {"--doveconf", 0, true},
	[OPTION_CONFIG] = {"--config", 'c', true},
	[OPTION_ACCOUNTS] = {"--accounts", 0, false},
	[OPTION_WITH_PASSWORDS] = {"--with-passwords", 0, false},
	[OPTION_LOGIN] = {"--login", 0, false},
	[OPTION_ADDRESS] = {"--address", 0, false},
	[OPTION_LOCAL_IP] = {"--local-ip", 0, true},
	[OPTION_SERVER_NAME] = {"--server-name", 0, true},
	[OPTION_EXPLAIN] = {"--explain", 0, false},
	[OPTION_BATCH] = {"--batch", 0, false},
	[OPTION_HOME] = {"--home", 0, true},
	[OPTION_UID] = {"--uid", 0, true},
	[OPTION_GID] = {"--gid", 0, true},
	[OPTION_GROUP] = {"--group", 0, true},
	[OPTION_PASSWORD_STDIN] = {"--password-stdin", 0, false},
	[OPTION_STDIN] = {"--stdin", 0, false},
	[OPTION_REPLACE] = {"--replace", 0, false},
	[OPTION_FORCE] = {"--force", 0, false},
	[OPTION_DOVECOT_VERSION] = {"--dovecot-version", 0, true},
	[OPTION_POSTFIX_VERSION] = {"--postfix-version", 0, true},
	[OPTION_SOCKET_DIR] = {"--socket-dir", 0, true},
	[OPTION_COMMANDS] = {"--commands", 0, false},
	[OPTION_MASTER] = {"--master", 0, false},
	[OPTION_POSTFIX] = {"--postfix", 0, false},
	[OPTION_SHARING] = {"--sharing", 0, false},
	[OPTION_TILDE] = {"--tilde", 0, false},
	[OPTION_SEPARATOR] = {"--separator", 0, true},
	[OPTION_SHARED_DICT] = {"--shared-dict", 0, true},
	[OPTION_MEND] = {"--mend", 0, false},
};

const char *option_name(enum option_id id)
{
	return options[id].name;
}

static int find_option(const char *word)
{
	size_t length = strcspn(word, "=");

	for (int id = 0; id < OPTION_COUNT; id++) {
		if (strlen(options[id].name) == length && strncmp(word, options[id].name, length) == 0)
			return id;
		if (options[id].letter && word[1] == options[id].letter && word[2] == '\0')
			return id;
	}
	return -1;
}

/* Takes the option at argv[*next] and its value, and moves *next behind them. */
static int take_option(struct call *call, int argc, char **argv, int *next)
{
	const char *word = argv[(*next)++];
	int id = find_option(word);

	if (id < 0) {
		complain("%s: no such option; see homingctl --help", word);
		return EX_USAGE;
	}
	const char *value = strchr(word, '=');
	if (value && !options[id].has_value) {
		complain("%s takes no value", options[id].name);
		return EX_USAGE;
	}
	if (value) {
		value++;
	} else if (!options[id].has_value) {
		value = "";
	} else if (*next == argc) {
		complain("%s needs a value", options[id].name);
		return EX_USAGE;
	} else {
		value = argv[(*next)++];
	}
	if (call->options[id] && options[id].has_value && id != OPTION_GROUP) {
		complain("%s is given twice", options[id].name);
		return EX_USAGE;
	}
	call->options[id] = value;
	if (id == OPTION_GROUP)
		call->groups[call->group_count++] = value;
	return 0;
}

int call_parse(struct call *call, int argc, char **argv)
{
	bool options_ended = false;

	call->groups = calloc((size_t)argc + 1, sizeof *call->groups);
	call->arguments = calloc((size_t)argc + 1, sizeof *call->arguments);
	if (!call->groups || !call->arguments)
		return fail_memory();
	for (int next = 1; next < argc;) {
		const char *word = argv[next];

		if (options_ended || word[0] != '-' || word[1] == '\0') {
			call->arguments[call->argument_count++] = word;
			next++;
		} else if (strcmp(word, "--") == 0) {
			options_ended = true;
			next++;
		} else {
			int code = take_option(call, argc, argv, &next);
			if (code != 0)
				return code;
		}
	}
	call->directory = call->options[OPTION_DIRECTORY];
	if (!call->directory)
		call->directory = HOMING_DIRECTORY;
	return 0;
}

void call_finish(struct call *call)
{
	free(call->groups);
	free(call->arguments);
	call->groups = NULL;
	call->arguments = NULL;
}
