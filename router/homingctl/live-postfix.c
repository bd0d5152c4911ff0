/* check --live, for Postfix: reads postconf and reports what would route differently. */
#include "live-postfix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>

#include "live-postfix-private.h"
#include "output.h"
#include "postfix-plan.h"

void look_report(const struct look *look, const char *name, const char *value, const char *format,
		 ...)
{
	char *change;
	va_list args;

	if (asprintf(&change, "%s =%s%s", name, value[0] ? " " : "", value) < 0)
		return;
	va_start(args, format);
	findings_add_args(look->findings, name, change, format, args);
	va_end(args);
	free(change);
}

const char *item_text(const char *item, size_t length, char text_r[ITEM_SIZE])
{
	snprintf(text_r, ITEM_SIZE, "%.*s", (int)(length < ITEM_SIZE ? length : ITEM_SIZE - 1), item);
	return text_r;
}

static const char *value_of(const struct look *look, const char *name)
{
	return postconf_value(look->postconf, name);
}

/* The order of the characters does not matter to Postfix. */
static bool same_characters(const char *one, const char *other)
{
	return strspn(one, other) == strlen(one) && strspn(other, one) == strlen(other);
}

static void look_at_names(const struct look *look)
{
	const struct postfix_facts *facts = &look->facts;
	const char *origin = value_of(look, "myorigin");
	const char *delimiters = value_of(look, "recipient_delimiter");

	if (strcasecmp(origin, facts->main_domain) != 0)
		look_report(look, "myorigin", facts->main_domain,
			"a bare name becomes one of `%s`, but a login without further information one of "
			"%s",
			origin, facts->main_domain);
	if (!same_characters(delimiters, facts->delimiters))
		look_report(look, "recipient_delimiter", facts->delimiters,
			"`%s` is not what the domains say (`%s`): Postfix takes other details off", delimiters,
			facts->delimiters);
}

static void look_at_groups(const struct look *look)
{
	const struct postfix_facts *facts = &look->facts;
	unsigned long limit = strtoul(value_of(look, "virtual_alias_expansion_limit"), NULL, 10);
	char wanted[32];

	if (facts->largest_count > limit) {
		snprintf(wanted, sizeof wanted, "%zu", facts->largest_count + 1000);
		look_report(look, "virtual_alias_expansion_limit", wanted,
			"%s has %zu addresses, and Postfix stops at %lu: its mail would wait until it is too "
			"old",
			facts->largest, facts->largest_count, limit);
	}
	if (facts->largest_bytes > POSTFIX_MAX_REPLY - 16)
		findings_add(look->findings, facts->largest, "split it into several groups",
			"its %zu addresses are %zu bytes, and Postfix takes %d from a map", facts->largest_count,
			facts->largest_bytes, POSTFIX_MAX_REPLY);
}

static void look_at_delivery(const struct look *look)
{
	const char *transport = value_of(look, "virtual_transport");

	if (plan_delivers_itself(transport))
		look_report(look, "virtual_transport", "lmtp:unix:private/dovecot-lmtp",
			"`%s` brings no mail to Dovecot: Postfix's own delivery takes no map from a socket",
			transport);
}

static bool look_at_version(const struct look *look)
{
	const char *version = value_of(look, "mail_version");
	int major, minor;

	if (postfix_version_parse(version, &major, &minor) && postfix_version_suits(major, minor))
		return true;
	findings_add(look->findings, "mail_version", "install Postfix 3.7 or later",
		"Postfix %s is too old for Homing", version);
	return false;
}

/* `socketmap:unix:DIR/map:NAME`: copies DIR. `socketmap:inet:...` gives true and "". */
static bool map_folder(const char *item, size_t length, const char *map, char *folder_r, size_t size)
{
	char text[ITEM_SIZE], *end;
	const char *start = text;

	item_text(item, length, text);
	if (strncmp(start, "proxy:", 6) == 0)
		start += 6;
	if (strncmp(start, "socketmap:", 10) != 0 || !(end = strrchr(text, ':')) ||
	    strcmp(end + 1, map) != 0 || end <= start + 10)
		return false;
	start += 10;
	*end = '\0';
	folder_r[0] = '\0';
	if (strncmp(start, "unix:", 5) != 0)
		return strncmp(start, "inet:", 5) == 0;
	start += 5;
	const char *name = strrchr(start, '/');
	if (!name || strcmp(name, "/map") != 0)
		return false;
	snprintf(folder_r, size, "%.*s", (int)(name - start), start);
	return true;
}

/* Does Postfix ask anything of Homing, and where are the sockets that it asks? */
static bool uses_maps(const struct postconf *postconf, char *folder_r, size_t size)
{
	for (size_t i = 0; i < POSTFIX_MAPS; i++) {
		const char *list = postconf_value(postconf, postfix_maps[i].setting);
		size_t length;

		for (const char *item; (item = postfix_item(&list, &length));)
			if (map_folder(item, length, postfix_maps[i].map, folder_r, size))
				return true;
	}
	return false;
}

static bool uses_policy(const struct postconf *postconf)
{
	size_t count;
	const struct postfix_service *services = postconf_services(postconf, &count);
	static const char mark[] = "homing/policy";

	if (strstr(postconf_value(postconf, "smtpd_relay_restrictions"), mark))
		return true;
	for (size_t i = 0; i < count; i++) {
		const char *own =
			postconf_override(postconf, services[i].name, "smtpd_relay_restrictions");
		if (own && strstr(own, mark))
			return true;
	}
	return false;
}

/* Where the daemon runs, Postfix is meant to ask it. */
static bool daemon_is_here(const struct postconf *postconf)
{
	struct stat file;
	char path[1200];

	snprintf(path, sizeof path, "%s/homing/map", postconf_value(postconf, "queue_directory"));
	return stat(path, &file) == 0 && S_ISSOCK(file.st_mode);
}

static int look_at_all(struct look *look, const struct call *call)
{
	if (!look_at_version(look))
		return 0;
	int code = postfix_facts_load(call, look->postconf, true, &look->facts);
	if (code != 0)
		return code;
	look_at_names(look);
	look_at_lists(look);
	look_at_groups(look);
	look_at_delivery(look);
	look_at_smtpd(look);
	look_at_sockets(look);
	postfix_facts_finish(&look->facts);
	return 0;
}

int live_postfix(const struct call *call, struct findings *findings, bool *looked_r)
{
	struct postconf *postconf = NULL;
	struct call with_folder = *call;
	char folder[128] = "";

	*looked_r = false;
	int code = postconf_load(&postconf);
	if (code != 0)
		return code == EX_NOINPUT ? 0 : code;
	*looked_r = uses_maps(postconf, folder, sizeof folder) || uses_policy(postconf) ||
		    has_option(call, OPTION_SOCKET_DIR) || daemon_is_here(postconf);
	if (*looked_r) {
		struct look look = {.findings = findings, .postconf = postconf};
		if (folder[0] && !has_option(call, OPTION_SOCKET_DIR))
			with_folder.options[OPTION_SOCKET_DIR] = folder;
		code = look_at_all(&look, &with_folder);
	}
	postconf_free(&postconf);
	return code;
}
