/* check, apply, export: homing.json to the directory and back. */
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "config.h"
#include "directory-format.h"
#include "directory-write.h"
#include "live.h"
#include "output.h"
#include "session.h"
#include "stored.h"
#include "usual-config.h"

enum { MAX_REMOVED_WARNINGS = 20 };

static void print_mistake(const char *line, void *context)
{
	(void)context;
	/* Without "homingctl: " in front, so that editors find the place. */
	print_bytes(stderr, line, strlen(line));
	fputc('\n', stderr);
}

static void collect_mistake(const char *line, void *context)
{
	json_array_append_new(context, json_text(line));
}

/* Loads what is named, or what is in the usual place, and reports what is wrong. With `mistakes` (a
 * JSON array) the lines go there. */
static int load(const struct call *call, struct config **config_r, json_t *mistakes)
{
	struct error error = {0};
	struct usual_config usual = {.paths = {NULL}};
	const char *const *paths = call->arguments;
	size_t path_count = call->argument_count;

	if (path_count == 0) {
		if (usual_config_find(&usual, &error) < 0)
			return fail(&error, EX_NOINPUT);
		paths = usual.paths;
		path_count = usual.count;
	}
	int count = config_load(paths, path_count, config_r, mistakes ? collect_mistake : print_mistake,
				mistakes, &error);
	if (count == 0)
		return 0;
	if (count < 0)
		return fail(&error, EX_NOINPUT);
	complain("%d mistake%s: nothing is changed", count, count == 1 ? "" : "s");
	return EX_CONFIG;
}

static int run_check(const struct call *call)
{
	struct config *config = NULL;

	if (has_option(call, OPTION_LIVE))
		return check_live(call);
	if (has_option(call, OPTION_DOVECONF) || has_option(call, OPTION_CONFIG)) {
		complain("check: --doveconf and -c belong to --live");
		return EX_USAGE;
	}
	json_t *mistakes = has_option(call, OPTION_JSON) ? json_array() : NULL;
	int code = load(call, &config, mistakes);
	if (mistakes)
		print_json(json_pack("{s:o}", "mistakes", mistakes));
	else if (config) /* nothing is wrong with it */
		print("fine: %zu domain%s, %zu router record%s\n", config->domain_count,
		      config->domain_count == 1 ? "" : "s", config->record_count,
		      config->record_count == 1 ? "" : "s");
	config_free(&config);
	return code;
}

struct apply_report {
	bool dry_run;
	json_t *changes; /* with --json */
	size_t added, changed, removed;
	char **removed_domains;
	size_t removed_domain_count;
};

/* `domains."client1.com"`: keeps the name of a removed domain, for the warning. */
static void note_removed(struct apply_report *report, const char *key)
{
	static const char prefix[] = "domains.\"";
	size_t length = strlen(key), start = sizeof prefix - 1;

	if (strncmp(key, prefix, start) != 0 || length <= start + 1 || key[length - 1] != '"')
		return;
	if (memchr(key + start, '"', length - 1 - start))
		return;
	char **grown = realloc(report->removed_domains,
			       (report->removed_domain_count + 1) * sizeof *grown);
	if (!grown)
		return;
	report->removed_domains = grown;
	grown[report->removed_domain_count] = strndup(key + start, length - 1 - start);
	if (grown[report->removed_domain_count])
		report->removed_domain_count++;
}

static void print_change(const struct config_change *change)
{
	print("%-6s %s", change->what, change->key);
	if (change->old_text && change->new_text)
		print(": %s -> %s", change->old_text, change->new_text);
	else if (change->old_text || change->new_text)
		print(": %s", change->old_text ? change->old_text : change->new_text);
	print("\n");
}

static void report_change(const struct config_change *change, void *context)
{
	struct apply_report *report = context;

	if (strcmp(change->what, "add") == 0) {
		report->added++;
	} else if (strcmp(change->what, "remove") == 0) {
		report->removed++;
		note_removed(report, change->key);
	} else {
		report->changed++;
	}
	if (!report->dry_run)
		return;
	if (report->changes)
		json_array_append_new(report->changes,
				      json_pack("{s:o,s:o,s:o,s:o}", "what", json_text(change->what),
						"key", json_text(change->key), "old",
						json_text(change->old_text), "new",
						json_text(change->new_text)));
	else
		print_change(change);
}

static int count_name(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	size_t *count = context;

	(void)kind, (void)local, (void)domain;
	(*count)++;
	return 0;
}

/* The names of removed domains stay in the directory, out of reach: say so. */
static void warn_removed(const struct call *call, const struct apply_report *report)
{
	struct session session;

	if (report->removed_domain_count == 0 || session_open(call, DIRECTORY_NAMES, &session) != 0)
		return;
	for (size_t i = 0, warned = 0; i < report->removed_domain_count; i++) {
		struct error error = {0};
		size_t count = 0;

		if (directory_each_entry(session.reader, report->removed_domains[i], 0, count_name,
					 &count, &error) != 0) {
			fail(&error, EX_IOERR);
			break;
		}
		if (count == 0)
			continue;
		if (warned++ == MAX_REMOVED_WARNINGS) {
			complain("warning: and further removed domains with names");
			break;
		}
		complain("warning: %s is removed, but %zu of its accounts and other names stay in the "
			 "directory, out of reach; homingctl account list %s shows them",
			 report->removed_domains[i], count, report->removed_domains[i]);
	}
	session_close(&session);
}

static int print_report(struct apply_report *report)
{
	size_t all = report->added + report->changed + report->removed;

	if (report->changes) {
		json_t *counts = json_pack("{s:b,s:I,s:I,s:I}", "dry_run", report->dry_run, "added",
					   (json_int_t)report->added, "changed",
					   (json_int_t)report->changed, "removed",
					   (json_int_t)report->removed);
		if (report->dry_run)
			json_object_set(counts, "changes", report->changes);
		return print_json(counts);
	}
	if (all == 0)
		print("nothing %s\n", report->dry_run ? "would change" : "changed");
	else
		print("%s%zu added, %zu changed, %zu removed\n", report->dry_run ? "would be: " : "",
		      report->added, report->changed, report->removed);
	return EX_OK;
}

static void report_finish(struct apply_report *report)
{
	for (size_t i = 0; i < report->removed_domain_count; i++)
		free(report->removed_domains[i]);
	free(report->removed_domains);
	json_decref(report->changes);
}

/* A dry run must not make the directory to find out that all of it would be new. */
static bool is_new(const struct call *call)
{
	struct stat status;
	char *path;

	if (asprintf(&path, "%s/%s", call->directory, DIRECTORY_FILE) < 0)
		return false;
	bool missing = stat(path, &status) < 0 && errno == ENOENT;
	free(path);
	return missing;
}

static int apply_config(const struct call *call, const struct config *config)
{
	struct directory_writer *writer = NULL;
	struct error error = {0};
	struct apply_report report = {
		.dry_run = has_option(call, OPTION_DRY_RUN),
		.changes = has_option(call, OPTION_JSON) ? json_array() : NULL,
	};
	int code = EX_OK;

	bool opens = !(report.dry_run && is_new(call));

	if ((opens &&
	     directory_writer_open(call->directory, !report.dry_run, &writer, &error) < 0) ||
	    directory_apply(writer, config, report.dry_run, report_change, &report, &error) < 0)
		code = fail(&error, EX_NOINPUT);
	directory_writer_close(&writer);
	if (code == EX_OK) {
		code = print_report(&report);
		warn_removed(call, &report);
	}
	report_finish(&report);
	return code;
}

static int run_apply(const struct call *call)
{
	struct config *config = NULL;
	int code = load(call, &config, NULL);

	if (code == 0)
		code = apply_config(call, config);
	config_free(&config);
	return code;
}

static int export_config(struct session *session)
{
	struct error error = {0};
	json_t *config = config_export(session->reader, &error);

	if (!config)
		return fail(&error, EX_NOINPUT);
	int failed = json_dumpf(config, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
	putchar('\n');
	json_decref(config);
	return failed ? EX_IOERR : EX_OK;
}

static int run_export(const struct call *call)
{
	bool accounts = has_option(call, OPTION_ACCOUNTS);
	bool passwords = has_option(call, OPTION_WITH_PASSWORDS);
	struct session session;

	if (passwords && !accounts) {
		complain("export: --with-passwords belongs to --accounts");
		return EX_USAGE;
	}
	int code = session_open(call, passwords ? DIRECTORY_CREDENTIALS : DIRECTORY_NAMES, &session);
	if (code != 0)
		return code;
	code = accounts ? export_accounts(session.reader, passwords) : export_config(&session);
	session_close(&session);
	return code;
}

const struct command check_command = {
	.name = "check",
	.usage = "[FILE...|DIR]  |  check --live [--doveconf CMD] [-c FILE] [--socket-dir DIR]",
	.summary = "Look for mistakes in homing.json, or in Dovecot's and Postfix's settings",
	.help = "  --live            read what doveconf and postconf say, and report each setting that keeps\n"
		"                    Homing from working, with the line to change\n"
		"  --doveconf CMD    the doveconf to ask, with its arguments; default doveconf\n"
		"  -c FILE           another dovecot.conf\n"
		"  --socket-dir DIR  where homing-policyd listens; default: what Postfix's settings say\n\n"
		"Without FILE: " HOMING_CONFIG "/homing.json and the *.json of " HOMING_CONFIG "/homing.d.\n"
		"Each mistake is one line: FILE:LINE:COLUMN: KEY: what is wrong. Exits 78 if there is one.\n",
	.options = OPTION(OPTION_LIVE) | OPTION(OPTION_DOVECONF) | OPTION(OPTION_CONFIG) |
		   OPTION(OPTION_SOCKET_DIR),
	.most = ANY_NUMBER,
	.run = run_check,
};

const struct command apply_command = {
	.name = "apply",
	.usage = "[FILE...|DIR] [--dry-run]",
	.summary = "Make the directory say what homing.json says",
	.help = "  --dry-run, -n     print what would change, and change nothing\n\n"
		"All files together are one configuration; of a DIR, every *.json. Without FILE:\n"
		HOMING_CONFIG "/homing.json and the *.json of " HOMING_CONFIG "/homing.d.\n"
		"One transaction: every program sees all of it at its next lookup, or none of it. A mistake\n"
		"changes nothing. Accounts, aliases, forwarders and groups are not touched.\n",
	.options = OPTION(OPTION_DRY_RUN),
	.most = ANY_NUMBER,
	.run = run_apply,
};

const struct command export_command = {
	.name = "export",
	.usage = "[--accounts [--with-passwords]]",
	.summary = "Print the directory as homing.json, or its accounts as import takes them",
	.help = "  --accounts        print the accounts, one JSON object a line\n"
		"  --with-passwords  with their password hashes: keep the output secret\n",
	.options = OPTION(OPTION_ACCOUNTS) | OPTION(OPTION_WITH_PASSWORDS),
	.run = run_export,
};
