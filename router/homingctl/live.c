/* check --live: reads `doveconf -a` and reports every setting that keeps Homing from working, or
 * that would open an account to the wrong user. live-postfix.c does the same for Postfix. */
#include "live.h"

#include <ctype.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sysexits.h>

#include "doveconf.h"
#include "findings.h"
#include "live-postfix.h"
#include "live-private.h"
#include "output.h"
#include "session.h"

#define DEFAULT_CHARS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ01234567890.-_@"

enum block_job { JOB_OTHER, JOB_ROUTE, JOB_ACCOUNTS, JOB_UNCLEAR };

void live_report(struct live *live, const char *setting, const char *change, const char *format,
		 ...)
{
	va_list args;

	va_start(args, format);
	findings_add_args(live->findings, setting, change, format, args);
	va_end(args);
}

void live_note(struct live *live, const char *setting, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	findings_note_args(live->findings, setting, format, args);
	va_end(args);
}

/* A setting of a passdb or userdb. In 2.4 it stands in the block without the prefix, or with it,
 * or for all blocks at the top level. */
static const char *block_get(const struct live *live, const struct setting *block,
			     const char *name, const char *otherwise)
{
	char prefixed[128];
	const char *value = setting_get(block, name);

	snprintf(prefixed, sizeof prefixed, "%s_%s", block->name, name);
	if (!value)
		value = setting_get(block, prefixed);
	if (!value && live->named_blocks)
		value = setting_get(live->root, prefixed);
	return value ? value : otherwise;
}

static bool is_yes(const char *value)
{
	return strcmp(value, "yes") == 0;
}

/* A word of `args`, as `route`, or the value behind `directory=`. Copies it. */
static bool find_word(const char *args, const char *word, char *value_r, size_t size)
{
	size_t wanted = strlen(word);

	while (*args) {
		args += strspn(args, " \t");
		size_t length = strcspn(args, " \t");
		bool prefix = word[wanted - 1] == '=';

		if (length >= wanted && strncmp(args, word, wanted) == 0 && (prefix || length == wanted)) {
			if (value_r)
				snprintf(value_r, size, "%.*s", (int)(length - wanted), args + wanted);
			return true;
		}
		args += length;
	}
	return false;
}

static const char *driver_of(const struct live *live, const struct setting *block)
{
	const char *driver = live->named_blocks ? setting_get(block, "driver")
						: setting_or(block, "driver", "");

	return driver && driver[0] ? driver : block->value;
}

static enum block_job job_of(const struct live *live, const struct setting *block)
{
	const char *args = setting_or(block, "args", "");
	const char *mode = setting_or(block, "homing_mode", setting_or(live->root, "homing_mode", ""));

	if (strcmp(driver_of(live, block), "homing") != 0)
		return JOB_OTHER;
	if (strcmp(mode, "route") == 0 || find_word(args, "route", NULL, 0))
		return JOB_ROUTE;
	if (strcmp(mode, "accounts") == 0 || find_word(args, "accounts", NULL, 0))
		return JOB_ACCOUNTS;
	return JOB_UNCLEAR;
}

static bool is_block(const struct setting *setting, const char *type)
{
	return setting->is_block && strcmp(setting->name, type) == 0;
}

/* "passdb passwd-file" or "passdb sql (the second one)": how a finding names a block. */
static const char *title(const struct live *live, const struct setting *block, char *text,
			 size_t size)
{
	if (live->named_blocks)
		snprintf(text, size, "%s %s", block->name, block->value);
	else
		snprintf(text, size, "%s { driver = %s }", block->name, driver_of(live, block));
	return text;
}

static void check_names(struct live *live)
{
	const char *chars = setting_or(live->root, "auth_username_chars", DEFAULT_CHARS);
	const char *translation = setting_or(live->root, "auth_username_translation", "");
	const char *realm = live->named_blocks ? "auth_default_domain" : "auth_default_realm";
	char change[512];

	bool translated = false;
	for (size_t i = 0; translation[i] && translation[i + 1]; i += 2)
		translated = translated || (translation[i] == '%' && translation[i + 1] == '@');
	if (chars[0] && !strchr(chars, '%') && !translated) {
		snprintf(change, sizeof change, "auth_username_chars = %s%%", chars);
		live_report(live, "auth_username_chars", change,
		       "`%%` is missing: a login like info%%client2.com is refused before Homing sees it");
	}
	if (setting_or(live->root, realm, "")[0]) {
		snprintf(change, sizeof change, "%s =", realm);
		live_report(live, realm, change,
		       "`%s` is appended to every bare name before Homing sees it, so that neither the "
		       "server's address nor the TLS name can choose the domain",
		       setting_or(live->root, realm, ""));
	}
	if (strcasestr(setting_or(live->root, "auth_mechanisms", ""), "digest-md5"))
		live_report(live, "auth_mechanisms", "take digest-md5 out of auth_mechanisms",
		       "DIGEST-MD5 hashes the name as it was typed: it works for full addresses only");
}

/* Which parts of the user's name a text with variables has. */
struct variables {
	bool user, name, domain, local_ip, server_name, any;
};

static bool has_word(const char *text, size_t length, const char *word)
{
	size_t wanted = strlen(word);

	for (size_t i = 0; i + wanted <= length; i++) {
		bool starts = i == 0 || !(isalnum((unsigned char)text[i - 1]) || text[i - 1] == '_');
		bool ends = i + wanted == length ||
			    !(isalnum((unsigned char)text[i + wanted]) || text[i + wanted] == '_');
		if (starts && ends && strncasecmp(text + i, word, wanted) == 0)
			return true;
	}
	return false;
}

/* `%{user | username}`, `%{user}`, `%{domain}`, `%{local_ip}`... */
static void note_long(struct variables *variables, const char *text, size_t length)
{
	bool name = has_word(text, length, "username"), domain = has_word(text, length, "domain");

	variables->name = variables->name || name;
	variables->domain = variables->domain || domain;
	variables->user = variables->user || (!name && !domain && has_word(text, length, "user"));
	variables->local_ip = variables->local_ip || has_word(text, length, "local_ip") ||
			      has_word(text, length, "lip");
	variables->server_name = variables->server_name || has_word(text, length, "local_name");
}

static struct variables find_variables(const char *text)
{
	struct variables variables = {0};

	for (text = strchr(text, '%'); text; text = strchr(text, '%')) {
		text++;
		if (*text == '%') { /* a plain percent sign */
			text++;
			continue;
		}
		/* 2.3: modifiers, as in %Lu or %4.8n, before a letter or a brace */
		text += strspn(text, "LUEXRTHMDN0123456789.-");
		variables.any = true;
		variables.user = variables.user || *text == 'u';
		variables.name = variables.name || *text == 'n';
		variables.domain = variables.domain || *text == 'd';
		variables.local_ip = variables.local_ip || *text == 'l';
		if (*text == '{')
			note_long(&variables, text + 1, strcspn(text + 1, "}"));
		if (*text)
			text++;
	}
	return variables;
}

/* Does the text name the user without the domain? */
static bool drops_domain(const char *text)
{
	struct variables variables = find_variables(text);

	return variables.name && !variables.domain && !variables.user;
}

static void check_username_format(struct live *live, const struct setting *block, const char *setting)
{
	const char *format = setting_or(block, "auth_username_format", "");

	if (drops_domain(format))
		live_report(live, setting,
		       live->named_blocks ? "auth_username_format = %{user | lower}"
					  : "auth_username_format = %Lu",
		       "`%s` takes the domain off: info@client1.com and info@client2.com become one user",
		       format);
}

/* For all, and for one protocol. Debian 13 has such a line for lmtp: a delivery is routed by the address that
 * was given, see auth-module/question.c. */
static void check_username_formats(struct live *live)
{
	check_username_format(live, live->root, "auth_username_format");
	for (size_t i = 0; i < live->root->count; i++) {
		const struct setting *block = &live->root->settings[i];
		char setting[100];

		if (!block->is_block || strcmp(block->name, "protocol") != 0 ||
		    strcmp(block->value, "lmtp") == 0 || strcmp(block->value, "lda") == 0)
			continue;
		snprintf(setting, sizeof setting, "protocol %.60s auth_username_format", block->value);
		check_username_format(live, block, setting);
	}
}

/* The passdbs (without master ones, which are a list of their own) or userdbs in their order. */
static const struct setting *find_job(const struct live *live, const char *type,
				      enum block_job job, const struct setting **before_r)
{
	*before_r = NULL;
	for (size_t i = 0; i < live->root->count; i++) {
		const struct setting *block = &live->root->settings[i];

		if (!is_block(block, type) || is_yes(block_get(live, block, "master", "no")))
			continue;
		if (job_of(live, block) == job)
			return block;
		/* prefetch only uses what a passdb gave, behind the route block */
		if (!*before_r && strcmp(driver_of(live, block), "prefetch") != 0)
			*before_r = block;
	}
	return NULL;
}

static const char *route_block(const struct live *live, const char *type, char *text, size_t size)
{
	if (live->named_blocks)
		snprintf(text, size, "%s homing { driver = homing; homing_mode = route }", type);
	else
		snprintf(text, size, "%s { driver = homing, args = route }", type);
	return text;
}

/* Only accounts blocks, which route by themselves: nobody behind them sees the typed name. */
static bool is_accounts_alone(const struct live *live, const char *type)
{
	bool found = false;

	for (size_t i = 0; i < live->root->count; i++) {
		const struct setting *block = &live->root->settings[i];

		if (!is_block(block, type) || is_yes(block_get(live, block, "master", "no")) ||
		    strcmp(driver_of(live, block), "prefetch") == 0)
			continue;
		if (job_of(live, block) != JOB_ACCOUNTS)
			return false;
		found = true;
	}
	return found;
}

static const struct setting *check_order(struct live *live, const char *type)
{
	const struct setting *before;
	const struct setting *route = find_job(live, type, JOB_ROUTE, &before);
	char change[300], block[256], name[256];

	route_block(live, type, block, sizeof block);
	if (!route && is_accounts_alone(live, type))
		return NULL;
	if (!route) {
		snprintf(change, sizeof change, "put first: %s", block);
		live_report(live, type, change,
		       strcmp(type, "passdb") == 0
			       ? "the route block is missing: logins are not routed"
			       : "the route block is missing: LMTP and doveadm look up the typed name");
	} else if (before) {
		snprintf(change, sizeof change, "move it in front of %s",
			 title(live, before, name, sizeof name));
		live_report(live, title(live, route, block, sizeof block), change,
		       "the route block is not the first %s: those before it see the typed name", type);
	}
	return route;
}

/* Whatever makes Dovecot pass the route block by, for some or for all. */
static void check_route_passdb(struct live *live, const struct setting *route)
{
	static const struct {
		const char *name, *harmless, *problem;
	} settings[] = {
		{"deny", "no", "turns the block into a list of users to refuse"},
		{"skip", "never", "lets the block be passed by"},
		{"mechanisms", "", "limits the block to some mechanisms; the others are not routed"},
		{"mechanisms_filter", "", "limits the block to some mechanisms; the others are not routed"},
		{"username_filter", "", "limits the block to some names; the others are not routed"},
	};
	char name[256], change[300];

	for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++) {
		const char *value = block_get(live, route, settings[i].name, settings[i].harmless);

		if (strcmp(value, settings[i].harmless) == 0)
			continue;
		snprintf(change, sizeof change, "take out %s = %s", settings[i].name, value);
		live_report(live, title(live, route, name, sizeof name), change, "`%s = %s` %s",
		       settings[i].name, value, settings[i].problem);
	}
}

static void check_route_userdb(struct live *live, const struct setting *route)
{
	const char *failure = block_get(live, route, "result_failure", "continue");
	const char *skip = block_get(live, route, "skip", "never");
	char name[256];

	if (strcmp(failure, "continue") != 0)
		live_report(live, title(live, route, name, sizeof name), "result_failure = continue",
		       "`result_failure = %s`: the route block never finds a user itself, so no later "
		       "userdb is asked",
		       failure);
	if (strcmp(skip, "never") != 0)
		live_report(live, title(live, route, name, sizeof name), "skip = never",
		       "`skip = %s` lets the route block be passed by", skip);
}

static bool lets_in(const char *result)
{
	return strcmp(result, "return-ok") == 0 || strcmp(result, "continue-ok") == 0;
}

static void check_results(struct live *live, const struct setting *block)
{
	static const char *const names[] = {"result_failure", "result_internalfail"};
	char name[256], change[64];

	for (size_t i = 0; i < 2; i++) {
		const char *value = block_get(live, block, names[i], "continue");

		if (!lets_in(value))
			continue;
		snprintf(change, sizeof change, "%s = continue", names[i]);
		live_report(live, title(live, block, name, sizeof name), change, "`%s = %s` %s", names[i], value,
		       i == 0 ? "takes a wrong password for a right one"
			      : "lets everybody in while this passdb is out of order");
	}
}

/* A key must tell apart what the rewriter tells apart: the routed name, or else everything that
 * routing depends on (dovecot-homing(5)). */
static bool key_leaks(const char *key)
{
	struct variables variables = find_variables(key);
	bool whole = variables.user || (variables.name && variables.domain);

	return !whole && !(variables.local_ip && variables.server_name);
}

static void check_lookup(struct live *live, const struct setting *block, bool cached)
{
	const char *args = setting_or(block, "args", "");
	char value[512], name[256];

	title(live, block, name, sizeof name);
	if (cached && find_word(args, "cache_key=", value, sizeof value) && key_leaks(value))
		live_report(live, name, "cache_key=%u",
		       "`cache_key=%s` does not hold the whole name: with auth_cache_size set, the "
		       "password of one domain's user opens another's account",
		       value);
	if (find_word(args, "username_format=", value, sizeof value) && drops_domain(value))
		live_report(live, name, "username_format=%u",
		       "`username_format=%s` looks up the name without its domain: one entry serves the "
		       "accounts of that name in all domains",
		       value);
	const char *format = setting_or(block, "auth_username_format", "");
	if (drops_domain(format))
		live_report(live, name, "take auth_username_format out of the block",
		       "`auth_username_format = %s` looks up the name without its domain: one entry serves "
		       "the accounts of that name in all domains",
		       format);
	for (size_t i = 0; i < block->count; i++) {
		const char *setting = block->settings[i].name;
		size_t length = strlen(setting);

		if (length >= 5 && strcmp(setting + length - 5, "query") == 0 &&
		    drops_domain(block->settings[i].value))
			live_report(live, name, "use the domain too, as %{user}",
			       "`%s` looks up the name without its domain: one row serves the accounts of "
			       "that name in all domains",
			       setting);
	}
}

struct cut {
	const char *delimiters;
	char name[ADDRESS_SIZE];
};

static int find_cut(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	struct cut *cut = context;

	/* what is in front of the first one would be empty */
	if (kind != ENTRY_ACCOUNT || !strpbrk(local + 1, cut->delimiters))
		return 0;
	snprintf(cut->name, sizeof cut->name, "%s@%s", local, domain);
	return 1;
}

/* LMTP takes the detail off before it asks for the account, whatever the domain says. */
static void check_delimiter(struct live *live)
{
	struct cut cut = {.delimiters = setting_or(live->root, "recipient_delimiter", "")};
	struct directory *directory = NULL;
	struct directory_reader *reader = NULL;
	struct error ignored = {0};
	int found = 0;

	if (!cut.delimiters[0])
		return;
	if (directory_open(live->directory, DIRECTORY_NAMES, &directory, &ignored) == 0 &&
	    directory_reader_create(directory, &reader, &ignored) == 0 &&
	    directory_begin(reader, &ignored) == 0) {
		found = directory_each_entry(reader, NULL, ENTRY_ACCOUNT, find_cut, &cut, &ignored);
		directory_end(reader);
	}
	directory_reader_destroy(&reader);
	directory_close(&directory);
	if (found == 1)
		live_report(live, "recipient_delimiter", "choose one that is in no account's name",
		       "`%s` cuts the name of %s: its mail by LMTP goes to another account or none",
		       cut.delimiters, cut.name);
}

static void check_others(struct live *live)
{
	const char *size = setting_or(live->root, "auth_cache_size", "0");
	bool cached = strtoull(size, NULL, 10) > 0;
	char name[256];

	for (size_t i = 0; i < live->root->count; i++) {
		const struct setting *block = &live->root->settings[i];

		if (!is_block(block, "passdb") && !is_block(block, "userdb"))
			continue;
		if (is_block(block, "passdb"))
			check_results(live, block);
		if (job_of(live, block) == JOB_OTHER)
			check_lookup(live, block, cached);
		if (job_of(live, block) == JOB_UNCLEAR)
			live_report(live, title(live, block, name, sizeof name),
			       live->named_blocks ? "homing_mode = route, or accounts"
						  : "args = route, or accounts",
			       "it does not say what it is for");
	}
}

/* The value of `directory=` or homing_directory in any of our blocks; else --directory or the
 * default. Where no block is ours, Dovecot's settings say nothing: homing_directory then is the
 * default that doveconf prints for whoever has the module. */
static void find_directory(struct live *live)
{
	const char *global = setting_get(live->root, "homing_directory");

	snprintf(live->directory, sizeof live->directory, "%s", live->call->directory);
	for (size_t i = 0; i < live->root->count; i++) {
		const struct setting *block = &live->root->settings[i];

		if (!is_block(block, "passdb") && !is_block(block, "userdb"))
			continue;
		enum block_job job = job_of(live, block);
		live->has_accounts = live->has_accounts || job == JOB_ACCOUNTS;
		if (job == JOB_OTHER)
			continue;
		live->has_blocks = true;
		const char *own = setting_get(block, "homing_directory");
		if (!own || !own[0])
			own = global;
		if (own && own[0])
			snprintf(live->directory, sizeof live->directory, "%s", own);
		find_word(setting_or(block, "args", ""), "directory=", live->directory, sizeof live->directory);
	}
	if (has_option(live->call, OPTION_DIRECTORY) &&
	    strcmp(live->directory, live->call->directory) != 0)
		complain("note: Dovecot's settings say %s; that one is looked at", live->directory);
}

static void check_settings(struct live *live)
{
	find_directory(live);
	check_names(live);
	check_username_formats(live);
	check_delimiter(live);
	const struct setting *passdb = check_order(live, "passdb");
	if (passdb)
		check_route_passdb(live, passdb);
	const struct setting *userdb = check_order(live, "userdb");
	if (userdb)
		check_route_userdb(live, userdb);
	check_others(live);
	live_check_services(live);
	live_check_sharing(live);
}

/* 0 with the settings; 78 if Dovecot itself does not take them. */
static int load_settings(struct live *live)
{
	char *problem = NULL;
	int code = doveconf_load(live->call, &live->root, &problem);

	if (code == EX_CONFIG)
		live_report(live, "doveconf", "correct what it says", "it fails: %s", problem);
	else if (problem)
		complain("%s", problem);
	free(problem);
	/* doveconf of 2.4 prints the version that the configuration is written for */
	live->named_blocks =
		live->root && setting_get(live->root, "dovecot_config_version") != NULL;
	return code;
}

/* Looks at Dovecot. The exit code; what it found is in the findings. */
static int look_at_dovecot(struct live *live)
{
	int code = load_settings(live);

	if (code == EX_OK)
		check_settings(live);
	doveconf_free(live->root);
	return code;
}

/* Looks at Postfix, with the directory that Dovecot's settings name. */
static int look_at_postfix(const struct live *live, bool *looked_r)
{
	struct call call = *live->call;

	if (live->directory[0])
		call.directory = live->directory;
	return live_postfix(&call, live->findings, looked_r);
}

/* Is it fine that there is no Dovecot? Not where one was named, nor where Postfix is none of ours. */
static int settle(const struct call *call, int dovecot, int postfix, bool looked)
{
	bool named = has_option(call, OPTION_DOVECONF) || has_option(call, OPTION_CONFIG);

	if (dovecot == EX_NOINPUT && !named && (looked || postfix != EX_OK))
		dovecot = EX_OK;
	return dovecot != EX_OK ? dovecot : postfix;
}

int check_live(const struct call *call)
{
	struct findings findings = {0};
	struct live live = {.call = call, .findings = &findings};
	bool looked = false;

	if (has_option(call, OPTION_JSON)) {
		findings.list = json_array();
		findings.notes = json_array();
	}
	if (call->argument_count > 0) {
		complain("check --live takes no file; -c FILE is another dovecot.conf");
		return EX_USAGE;
	}
	int dovecot = look_at_dovecot(&live);
	int postfix = look_at_postfix(&live, &looked);
	int code = settle(call, dovecot, postfix, looked);
	if (findings.list)
		print_json(json_pack("{s:o,s:o}", "findings", findings.list, "notes", findings.notes));
	else if (code == EX_OK && findings.count == 0)
		print("fine: the settings of %s suit Homing\n",
		      !looked ? "Dovecot" : dovecot == EX_OK ? "Dovecot and Postfix" : "Postfix");
	if (code != EX_OK)
		return code;
	return findings.count > 0 ? EX_CONFIG : EX_OK;
}
