/* config postfix: what an administrator pastes into Postfix's configuration, or runs. */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "output.h"
#include "postconf.h"
#include "postfix-facts.h"
#include "postfix-plan.h"
#include "snippet-listeners.h"

struct sheet {
	const char *version;
	const char *folder; /* of main.cf */
	const struct postfix_facts *facts;
	const struct plan *plan;
};

/* Prints the lines of a comment. */
static void print_comment(const char *indent, const char *lines)
{
	while (*lines) {
		size_t length = strcspn(lines, "\n");

		printf("%s# %.*s\n", indent, (int)length, lines);
		lines += length + (lines[length] == '\n');
	}
}

/* Prints NAME, and VALUE behind `between` unless it is NULL, for a shell: in single quotes. */
static void print_quoted(const char *name, const char *between, const char *value)
{
	char *text = NULL;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return;
	fprintf(out, "%s%s%s", name, value ? between : "", value ? value : "");
	fclose(out);
	print("'");
	for (const char *rest = text, *quote; rest; rest = quote ? quote + 1 : NULL) {
		quote = strchr(rest, '\'');
		print_bytes(stdout, rest, quote ? (size_t)(quote - rest) : strlen(rest));
		print("%s", quote ? "'\\''" : "'");
	}
	free(text);
}

/* main.cf: long lists with an item a line. */
static void print_setting(const struct plan_setting *setting)
{
	const char *list = setting->value;
	bool is_long = strlen(setting->name) + strlen(list) > 90, first = true;
	size_t length;

	print("%s =", setting->name);
	if (!is_long)
		print("%s%s", list[0] ? " " : "", list);
	for (const char *item; is_long && (item = postfix_item(&list, &length));) {
		/* braces stay beside check_policy_service, whose argument they are */
		bool argument = !first && item[0] == '{';

		printf("%s", argument ? " " : first ? "\n    " : ",\n    ");
		print_bytes(stdout, item, length);
		first = false;
	}
	print("\n\n");
}

static void print_dovecot(const struct sheet *sheet)
{
	print("# Dovecot has to listen for Postfix, and lmtp has to be among its protocols. This belongs into\n"
	      "# its configuration (`homingctl config dovecot --postfix` has it already):\n"
	      "#\n");
	snippet_listeners("#     ", sheet->facts);
}

/* Lines that main.cf has already would be there twice. */
static void print_replaced(const struct sheet *sheet)
{
	const struct plan *plan = sheet->plan;
	bool any = false;

	for (size_t i = 0; i < plan->setting_count; i++) {
		if (!plan->settings[i].old)
			continue;
		if (!any)
			print("# First turn the lines that main.cf has of the same settings into comments:\n"
			      "#\n#     postconf '-#'");
		print(" %s", plan->settings[i].name);
		any = true;
	}
	if (any)
		print("\n#\n");
}

static void print_main_head(const struct sheet *sheet)
{
	print("# Homing for Postfix %s, made by `homingctl config postfix`.\n#\n", sheet->version);
	print_replaced(sheet);
	print("# Put it at the end of %s/main.cf. What belongs into master.cf is printed by\n"
	      "# `homingctl config postfix --master`. Then `postfix reload`, and let\n"
	      "# `homingctl check --live` look at the whole. `homingctl config postfix --commands` makes\n"
	      "# a script that does the same and can undo it.\n"
	      "#\n"
	      "# To undo it delete these lines, take away the # of the old ones, and `postfix reload`.\n"
	      "# homing-postfix(7) says what each map answers, and how to watch for a week what would\n"
	      "# be refused before anything is.\n\n",
		sheet->folder);
}

static void print_main(const struct sheet *sheet)
{
	print_main_head(sheet);
	for (size_t i = 0; i < sheet->plan->setting_count; i++) {
		print_comment("", sheet->plan->settings[i].why);
		print_setting(&sheet->plan->settings[i]);
	}
	print_dovecot(sheet);
}

/* master.cf: the service on a line, each of its -o on another. */
static void print_service(const char *line)
{
	for (const char *option; (option = strstr(line, " -o "));) {
		printf("%.*s\n    ", (int)(option - line), line);
		line = option + 1;
	}
	print("%s\n", line);
}

/* `postconf -P SERVICE/NAME=VALUE`, or without a value `-PX SERVICE/NAME`; what postconf cannot
 * write is asked of the administrator. */
static void print_override(const char *indent, const struct plan_override *override,
			   const char *value)
{
	char *name, *squeezed;

	if (asprintf(&name, "%s/%s", override->service, override->name) < 0)
		return;
	squeezed = value ? strdup(value) : NULL;
	if (squeezed && !plan_squeeze(squeezed)) {
		printf("%secho by hand, in master.cf: ", indent);
		print_quoted(name, " = ", value);
	} else {
		printf("%spostconf %s ", indent, squeezed ? "-P" : "-PX");
		print_quoted(name, "=", squeezed);
	}
	print("\n");
	free(squeezed);
	free(name);
}

static void print_master(const struct sheet *sheet)
{
	const struct plan *plan = sheet->plan;

	print("# Homing for Postfix %s, made by `homingctl config postfix --master`.\n#\n",
		sheet->version);
	if (plan->submission) {
		print("# Put it at the end of %s/master.cf, and `postfix reload`. To undo it, delete it.\n\n"
		      "# Where users send mail from: over TLS, after a login by Dovecot (so a bare name gets its\n"
		      "# domain from the server's address, and info%%client2.com is taken), and as themselves\n"
		      "# alone. Without a certificate (smtpd_tls_cert_file) it serves nobody.\n",
			sheet->folder);
		print_service(plan->submission);
	} else {
		print("# There is a submission service already.\n");
	}
	if (plan->override_count > 0)
		print("\n# Services that have restrictions of their own. Run:\n#\n");
	for (size_t i = 0; i < plan->override_count; i++)
		print_override("#     ", &plan->overrides[i], plan->overrides[i].value);
}

static void print_command(const char *command, const char *name, const char *value)
{
	printf("\t%s ", command);
	print_quoted(name, " = ", value);
	print("\n");
}

static void print_on(const struct sheet *sheet)
{
	const struct plan *plan = sheet->plan;

	for (size_t i = 0; i < plan->setting_count; i++) {
		print_comment("\t", plan->settings[i].why);
		print_command("postconf -e", plan->settings[i].name, plan->settings[i].value);
	}
	if (plan->submission) {
		print_comment("\t", "Where users send mail from: over TLS, after a login by Dovecot, and as\n"
				    "themselves alone.");
		print_command("postconf -M", "submission/inet", plan->submission);
	}
	if (plan->override_count > 0)
		print_comment("\t", "Services that have restrictions of their own.");
	for (size_t i = 0; i < plan->override_count; i++)
		print_override("\t", &plan->overrides[i], plan->overrides[i].value);
}

static void print_off(const struct sheet *sheet)
{
	const struct plan *plan = sheet->plan;

	for (size_t i = 0; i < plan->setting_count; i++)
		print_command(plan->settings[i].old ? "postconf -e" : "postconf -X",
			plan->settings[i].name, plan->settings[i].old);
	if (plan->submission)
		print_command("postconf -MX", "submission/inet", NULL);
	for (size_t i = 0; i < plan->override_count; i++)
		print_override("\t", &plan->overrides[i], plan->overrides[i].old);
}

/* packaging/systemd/homing-policyd-policy.socket. */
static bool is_where_units_listen(const struct postfix_facts *facts)
{
	return strcmp(facts->queue_directory, "/var/spool/postfix") == 0 &&
	       strcmp(facts->socket_dir, "homing") == 0;
}

static void print_commands(const struct sheet *sheet)
{
	print("#!/bin/sh\n"
	      "# Homing for Postfix %s, made by `homingctl config postfix --commands`.\n"
	      "#\n"
	      "#     homingctl config postfix --commands > homing-postfix.sh\n"
	      "#     sh homing-postfix.sh on\n"
	      "#     postfix reload\n"
	      "#\n"
	      "# turns it on. Keep the file: it knows the settings from before, and\n"
	      "#\n"
	      "#     sh homing-postfix.sh off\n"
	      "#     postfix reload\n"
	      "#\n"
	      "# brings them back. `homingctl check --live` looks at the whole.\n"
	      "#\n",
		sheet->version);
	print_dovecot(sheet);
	print("\nset -e\n\ncase \"${1-}\" in\non)\n");
	if (is_where_units_listen(sheet->facts))
		print("\t# homing-policyd must be there before Postfix asks it. Without systemd, start it by hand.\n"
		      "\tif [ -d /run/systemd/system ]; then\n"
		      "\t\tsystemctl enable --now homing-policyd-policy.socket homing-policyd-map.socket\n"
		      "\tfi\n");
	print_on(sheet);
	print("\t;;\noff)\n");
	print_off(sheet);
	print("\t;;\n*)\n\techo \"usage: sh $0 on|off\" >&2\n\texit %d\n\t;;\nesac\n", EX_USAGE);
}

static int check_version(const char *version)
{
	int major, minor;

	if (!postfix_version_parse(version, &major, &minor)) {
		complain("Postfix %s: not a version, as 3.7 or 3.10", version);
		return EX_USAGE;
	}
	if (postfix_version_suits(major, minor))
		return 0;
	complain("Postfix %s is too old: Homing works with 3.7 and later", version);
	return EX_CONFIG;
}

/* An absolute path is no use to processes that have another root. */
static int check_chroot(const struct postfix_facts *facts, const struct postconf *postconf)
{
	size_t count = 0;
	const struct postfix_service *services =
		postconf ? postconf_services(postconf, &count) : NULL;

	for (size_t i = 0; facts->socket_dir[0] == '/' && i < count; i++) {
		if (strcmp(services[i].command, "smtpd") != 0 || !services[i].chrooted)
			continue;
		complain("--socket-dir %s: %s is chrooted in %s and cannot reach it: use a folder below, "
			 "or take the chroot away: postconf -F '%s/chroot=n'",
			facts->socket_dir, services[i].name, facts->queue_directory, services[i].name);
		return EX_CONFIG;
	}
	return 0;
}

static int print_sheet(const struct call *call, const struct postconf *postconf,
		       const char *version, const struct postfix_facts *facts)
{
	struct plan plan;
	const char *folder = postconf ? postconf_value(postconf, "config_directory") : "/etc/postfix";
	struct sheet sheet = {.version = version, .folder = folder, .facts = facts, .plan = &plan};
	int code = plan_make(facts, postconf, &plan);

	if (code != 0)
		return code;
	if (plan.is_on && has_option(call, OPTION_COMMANDS))
		complain("note: Homing is in Postfix's settings already. `off` of this script brings back what "
			 "is there now; the settings from before are in the script that was made then");
	if (has_option(call, OPTION_COMMANDS))
		print_commands(&sheet);
	else if (has_option(call, OPTION_MASTER))
		print_master(&sheet);
	else
		print_main(&sheet);
	plan_finish(&plan);
	return EX_OK;
}

static int run_for_version(const struct call *call, const struct postconf *postconf,
			   const char *version)
{
	struct postfix_facts facts;
	int code = check_version(version);

	if (code == 0)
		code = postfix_facts_load(call, postconf, false, &facts);
	if (code != 0)
		return code;
	code = check_chroot(&facts, postconf);
	if (code == 0)
		code = print_sheet(call, postconf, version, &facts);
	postfix_facts_finish(&facts);
	return code;
}

static int run_config_postfix(const struct call *call)
{
	const char *version = call->options[OPTION_POSTFIX_VERSION];
	struct postconf *postconf = NULL;

	if (has_option(call, OPTION_COMMANDS) && has_option(call, OPTION_MASTER)) {
		complain("--commands does master.cf too: leave --master out");
		return EX_USAGE;
	}
	if (version)
		return run_for_version(call, NULL, version);
	int code = postconf_load(&postconf);
	if (code == EX_NOINPUT)
		complain("no Postfix is found here: give --postfix-version, as 3.7");
	if (code == 0)
		code = run_for_version(call, postconf, postconf_value(postconf, "mail_version"));
	postconf_free(&postconf);
	return code;
}

const struct command config_postfix_command = {
	.name = "config postfix",
	.usage = "[--commands | --master] [--socket-dir DIR] [--postfix-version V]",
	.summary = "Print what to put into Postfix's configuration",
	.help = "Prints lines for main.cf, from the settings and the domains that there are.\n\n"
		"  --commands            a script instead: `sh FILE on` changes main.cf and master.cf,\n"
		"                        `sh FILE off` brings the present settings back\n"
		"  --master              lines for master.cf instead\n"
		"  --socket-dir DIR      where homing-policyd listens; default: homing, below Postfix's\n"
		"                        queue directory\n"
		"  --postfix-version V   for this version and an empty main.cf; default: the Postfix\n"
		"                        installed here (MAIL_CONFIG names another folder of settings)\n",
	.options = OPTION(OPTION_COMMANDS) | OPTION(OPTION_MASTER) | OPTION(OPTION_SOCKET_DIR) |
		   OPTION(OPTION_POSTFIX_VERSION),
	.run = run_config_postfix,
};
