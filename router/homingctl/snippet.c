/* config dovecot: what an administrator pastes into Dovecot's configuration. */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "doveconf.h"
#include "live.h"
#include "output.h"
#include "session.h"
#include "snippet-listeners.h"
#include "snippet-sharing.h"

struct snippet {
	const char *directory; /* NULL: the default, which need not be written */
	bool named_blocks; /* Dovecot 2.4 and later */
	bool accounts; /* the directory has accounts of its own */
	unsigned long long space; /* vsz_limit */
};

/* "2.3.19.1 (9b53102964)" or "2.4.1-4": major and minor. */
static bool parse_version(const char *text, int *major_r, int *minor_r)
{
	return sscanf(text, "%d.%d", major_r, minor_r) == 2;
}

/* Asks `dovecot --version`, and doveconf where that is not in the path: its first line is
 * "# 2.3.19.1 (...): FILE". */
static bool find_version(char *text, size_t size)
{
	static char *const commands[][3] = {
		{(char *)"dovecot", (char *)"--version", NULL},
		{(char *)"/usr/sbin/dovecot", (char *)"--version", NULL},
		{(char *)"doveconf", (char *)"-n", NULL},
	};
	bool found = false;

	for (size_t i = 0; !found && i < sizeof commands / sizeof commands[0]; i++) {
		struct command_output output;
		int major, minor;

		if (!command_run(commands[i], &output))
			return false;
		const char *line = output.text + strspn(output.text, "# ");
		found = output.status == 0 && parse_version(line, &major, &minor);
		if (found)
			snprintf(text, size, "%.*s", (int)strcspn(line, " (:\n"), line);
		command_output_finish(&output);
	}
	return found;
}

static int choose_version(const struct call *call, char *text, size_t size, int *minor_r)
{
	const char *given = call->options[OPTION_DOVECOT_VERSION];
	int major;

	if (given)
		snprintf(text, size, "%s", given);
	else if (!find_version(text, size)) {
		complain("no Dovecot is found here: give --dovecot-version, as 2.3 or 2.4");
		return EX_NOINPUT;
	}
	if (!parse_version(text, &major, minor_r)) {
		complain("--dovecot-version %s: not a version, as 2.3 or 2.4", text);
		return EX_USAGE;
	}
	if (major != 2 || *minor_r < 3) {
		complain("Dovecot %s: Homing works with 2.3 and 2.4", text);
		return EX_CONFIG;
	}
	return 0;
}

static int find_own(const char *domain, void *context)
{
	struct directory_reader *reader = context;
	struct domain_rules rules;
	struct error ignored = {0};

	return domain_lookup(reader, domain, &rules, &ignored) > 0 &&
	       rules.accounts == ACCOUNTS_DIRECTORY;
}

/* Has any domain its accounts in the directory? Before the first apply: it may have. */
static bool has_own_accounts(const char *path)
{
	struct directory *directory = NULL;
	struct directory_reader *reader = NULL;
	struct error error = {0};
	bool own = true;

	if (directory_open(path, DIRECTORY_NAMES, &directory, &error) == 0 &&
	    directory_reader_create(directory, &reader, &error) == 0 &&
	    directory_begin(reader, &error) == 0) {
		own = directory_each_domain(reader, find_own, reader, &error) != 0;
		directory_end(reader);
	}
	directory_reader_destroy(&reader);
	directory_close(&directory);
	return own;
}

static void print_head(const char *version)
{
	print("# Homing for Dovecot %s, made by `homingctl config dovecot`.\n"
	      "#\n"
	      "# Save it as /etc/dovecot/conf.d/05-homing.conf. What counts is that it is read before all\n"
	      "# other passdb and userdb blocks, as those that 10-auth.conf includes: the route blocks must\n"
	      "# come first. Where dovecot.conf does not include conf.d/*.conf, include it there by name.\n"
	      "#\n"
	      "# Then restart Dovecot, and let `homingctl check --live` look at the whole. What shared\n"
	      "# mailboxes need is a file of its own: `homingctl config dovecot --sharing`.\n\n",
	      version);
}

static void print_names(const struct snippet *snippet)
{
	print("# Without %% in this list Dovecot refuses info%%client2.com before Homing sees it; + is\n"
	      "# for info+lists. Leave the value empty (all characters) if accounts have names outside\n"
	      "# ASCII: Homing itself refuses what is harmful.\n"
	      "auth_username_chars = "
	      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@%%+\n\n"
	      "# Must stay empty: a bare name must reach Homing bare, or neither the server's address\n"
	      "# nor the TLS name can choose its domain.\n"
	      "%s =\n\n",
	      snippet->named_blocks ? "auth_default_domain" : "auth_default_realm");
}

/* One passdb or userdb. `off`: as a comment. */
static void print_block(const struct snippet *snippet, const char *type, const char *mode,
			bool off)
{
	const char *start = off ? "#" : "";

	if (snippet->named_blocks) {
		print("%s%s homing_%s {\n%s  driver = homing\n%s  homing_mode = %s\n", start, type, mode,
		      start, start, mode);
		if (snippet->directory)
			print("%s  homing_directory = %s\n", start, snippet->directory);
	} else {
		print("%s%s {\n%s  driver = homing\n%s  args = %s", start, type, start, start, mode);
		if (snippet->directory)
			print(" directory=%s", snippet->directory);
		print("\n");
	}
	print("%s}\n", start);
}

static void print_blocks(const struct snippet *snippet)
{
	print("# Routing: what was typed becomes the account's full name, and the next passdb or userdb\n"
	      "# is asked for that. These blocks never let anybody in by themselves.\n");
	print_block(snippet, "passdb", "route", false);
	print_block(snippet, "userdb", "route", false);
	print("\n# The accounts in Homing's own directory: passwords from credentials.mdb; home, uid, gid\n"
	      "# and acl_groups from directory.mdb. ");
	if (snippet->accounts)
		print("Leave these two blocks out if all accounts are in\n"
		      "# your own passdb and userdb, which follow behind.\n");
	else
		print("No domain has such accounts now (all say\n"
		      "# `\"accounts\": \"external\"` or `\"dovecot\"`), so your own passdb and userdb follow\n"
		      "# behind; take the # away if that changes.\n");
	print_block(snippet, "passdb", "accounts", !snippet->accounts);
	print_block(snippet, "userdb", "accounts", !snippet->accounts);
}

static void print_services(const struct snippet *snippet)
{
	print("\n# The group may read directory.mdb. The files are mapped into memory: their maps count\n"
	      "# as address space (not as memory in use), so the limit must leave room for them to grow.\n"
	      "service auth {\n"
	      "  extra_groups = %s\n"
	      "  vsz_limit = %lluG\n"
	      "}\n"
	      "# Passwords are verified here, so that no login waits for another one's hash. It runs as root,\n"
	      "# as PAM and files that root alone reads need it; without such, take the # away.\n"
	      "service auth-worker {\n"
	      "  extra_groups = %s\n"
	      "  vsz_limit = %lluG\n"
	      "  #user = $%sdefault_internal_user\n"
	      "}\n",
	      HOMING_GROUP, snippet->space >> 30, HOMING_GROUP, snippet->space >> 30,
	      snippet->named_blocks ? "SET:" : "");
}

/* A path that would end the setting, or begin a comment or a variable, cannot be written. */
static bool is_plain_path(const char *path)
{
	for (; *path; path++)
		if ((unsigned char)*path <= ' ' || *path == 0x7f || strchr("#%$\"'{}", *path))
			return false;
	return true;
}

static int check_options(const struct call *call)
{
	static const enum option_id of_sharing[] = {OPTION_TILDE, OPTION_SEPARATOR, OPTION_DOVECONF,
						    OPTION_CONFIG};

	for (size_t i = 0; i < sizeof of_sharing / sizeof of_sharing[0]; i++)
		if (has_option(call, of_sharing[i]) && !has_option(call, OPTION_SHARING)) {
			complain("%s is for the namespaces: it goes with --sharing", option_name(of_sharing[i]));
			return EX_USAGE;
		}
	if (has_option(call, OPTION_POSTFIX) && has_option(call, OPTION_SHARING)) {
		complain("--postfix belongs to the blocks for logins: it does not go with --sharing");
		return EX_USAGE;
	}
	return 0;
}

static int run_config_dovecot(const struct call *call)
{
	char version[64];
	int minor;
	int code = check_options(call);

	if (code != 0)
		return code;
	if (call->directory[0] != '/' || !is_plain_path(call->directory)) {
		complain("--directory %s: Dovecot needs an absolute path without spaces and signs that "
			 "mean something to it",
			 call->directory);
		return EX_USAGE;
	}
	code = choose_version(call, version, sizeof version, &minor);
	if (code != 0)
		return code;
	const char *directory =
		strcmp(call->directory, HOMING_DIRECTORY) == 0 ? NULL : call->directory;
	if (has_option(call, OPTION_SHARING))
		return snippet_sharing(call, version, minor, directory);
	struct snippet snippet = {
		.directory = directory,
		.named_blocks = minor >= 4,
		.accounts = has_own_accounts(call->directory),
		.space = live_address_space(call->directory, true),
	};
	print_head(version);
	print_names(&snippet);
	print_blocks(&snippet);
	print_services(&snippet);
	return has_option(call, OPTION_POSTFIX) ? snippet_postfix(call) : EX_OK;
}

const struct command config_dovecot_command = {
	.name = "config dovecot",
	.usage = "[--postfix] [--dovecot-version V]  |  --sharing ...",
	.summary = "Print what to put into Dovecot's configuration",
	.help = "Prints the blocks for logins, which go in front of all others.\n\n"
		"  --postfix             also the sockets for the Postfix that is installed here\n"
		"  --sharing             what shared mailboxes need instead, which goes behind all others\n"
		"  --tilde               they appear as ~user@domain/Box, not as shared/user@domain/Box\n"
		"  --separator C         between the parts of a mailbox's name; default: as it is now, or /\n"
		"  --doveconf COMMAND    reads the present settings so; default: doveconf\n"
		"  -c, --config FILE     of this dovecot.conf\n"
		"  --dovecot-version V   for this version, as 2.3 or 2.4, and not for the settings here;\n"
		"                        default: the one installed here\n\n"
		"With --directory the snippet names that directory.\n",
	.options = OPTION(OPTION_DOVECOT_VERSION) | OPTION(OPTION_SHARING) | OPTION(OPTION_TILDE) |
		   OPTION(OPTION_SEPARATOR) | OPTION(OPTION_DOVECONF) | OPTION(OPTION_CONFIG) |
		   OPTION(OPTION_POSTFIX),
	.run = run_config_dovecot,
};
