/* What a command of homingctl is, and what it is called with. */
#ifndef HOMINGCTL_COMMAND_H
#define HOMINGCTL_COMMAND_H

#include <stdbool.h>
#include <stddef.h>

/* Every option of every command; the table of their names is in options.c. */
enum option_id {
	OPTION_DIRECTORY,
	OPTION_JSON,
	OPTION_HELP,
	OPTION_VERSION,
	OPTION_DRY_RUN,
	OPTION_LIVE,
	OPTION_DOVECONF,
	OPTION_CONFIG,
	OPTION_ACCOUNTS,
	OPTION_WITH_PASSWORDS,
	OPTION_LOGIN,
	OPTION_ADDRESS,
	OPTION_LOCAL_IP,
	OPTION_SERVER_NAME,
	OPTION_EXPLAIN,
	OPTION_BATCH,
	OPTION_HOME,
	OPTION_UID,
	OPTION_GID,
	OPTION_GROUP,
	OPTION_PASSWORD_STDIN,
	OPTION_STDIN,
	OPTION_REPLACE,
	OPTION_FORCE,
	OPTION_DOVECOT_VERSION,
	OPTION_POSTFIX_VERSION,
	OPTION_SOCKET_DIR,
	OPTION_COMMANDS,
	OPTION_MASTER,
	OPTION_POSTFIX,
	OPTION_SHARING,
	OPTION_TILDE,
	OPTION_SEPARATOR,
	OPTION_MEND,
	OPTION_SHARED_DICT,
	OPTION_COUNT,
};
#define OPTION(id) (1ull << (id))

enum { ANY_NUMBER = -1 };

struct command;

/* One run of the program. Strings are argv's. */
struct call {
	const struct command *command;
	const char *directory;
	const char *options[OPTION_COUNT]; /* NULL: not given; "" for an option without value */
	const char **groups;		   /* each --group, ended by NULL */
	size_t group_count;
	const char **arguments; /* what is left behind the command's name, ended by NULL */
	size_t argument_count;
};

struct command {
	const char *name; /* "account add": the words that select it */
	const char *usage; /* what follows the name */
	const char *summary; /* one line */
	const char *help; /* the rest of --help; lines, ended by a newline */
	unsigned long long options; /* besides --directory and --help */
	int least, most;  /* arguments; most may be ANY_NUMBER */
	int (*run)(const struct call *call); /* returns the exit code */
};

static inline bool has_option(const struct call *call, enum option_id id)
{
	return call->options[id] != NULL;
}

/* The name of an option, as `--json`. */
const char *option_name(enum option_id id);

/* Sorts argv into options and words. 0, or 64 after a complaint. Free with call_finish. */
int call_parse(struct call *call, int argc, char **argv);
void call_finish(struct call *call);

extern const struct command check_command, apply_command, export_command, route_command,
	account_add_command, account_show_command, account_list_command, account_delete_command,
	account_rename_command, account_import_command, password_set_command,
	password_verify_command, password_delete_command, alias_add_command, alias_list_command,
	alias_delete_command, forwarder_add_command, forwarder_list_command,
	forwarder_delete_command, group_add_command, group_remove_command, group_list_command,
	group_delete_command, verify_command, config_dovecot_command, config_postfix_command,
	share_grant_command, share_revoke_command, share_list_command, share_with_command,
	share_verify_command, share_import_command, share_export_command, status_command;

#endif
