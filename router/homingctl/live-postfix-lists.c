/* Postfix's maps, and its lists of domains. */
#include "live-postfix-private.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "doveconf.h"
#include "postfix-plan.h"

enum { MAX_ASKED = 100000, MAX_NESTED = 8 };

static bool starts_with(const char *item, size_t length, const char *start)
{
	return length >= strlen(start) && strncmp(item, start, strlen(start)) == 0;
}

/* The list as it should be: our map first, without `drop`. Free it. */
static char *with_map_first(const struct look *look, const struct postfix_map *map,
			    const char *drop)
{
	const char *list = postconf_written(look->postconf, map->setting);
	char name[POSTFIX_ENDPOINT_SIZE], *rest = NULL, *whole;
	size_t size, length;
	FILE *out = open_memstream(&rest, &size);

	if (!out)
		return NULL;
	for (const char *item; list && (item = postfix_item(&list, &length));)
		if (!drop || strlen(drop) != length || strncmp(item, drop, length) != 0)
			fprintf(out, "%.*s ", (int)length, item);
	fclose(out);
	postfix_map_name(&look->facts, map->map, name);
	whole = plan_put_first(&look->facts, name, rest);
	free(rest);
	return whole;
}

static void report_map(const struct look *look, const struct postfix_map *map, const char *drop,
		       const char *problem)
{
	char *change = with_map_first(look, map, drop);

	if (change)
		look_report(look, map->setting, change, "%s", problem);
	free(change);
}

/* `socketmap:inet:HOST:PORT:alias`: ours by the map's name. */
static bool is_inet_map(const char *item, size_t length, const char *map)
{
	size_t name = strlen(map);

	if (starts_with(item, length, "proxy:"))
		item += 6, length -= 6;
	return starts_with(item, length, "socketmap:inet:") && length > name &&
	       item[length - name - 1] == ':' && memcmp(item + length - name, map, name) == 0;
}

/* An absolute path leads nowhere from within a chroot. */
static void look_at_map_path(const struct look *look, const struct postfix_map *map,
			     const char *item, size_t length)
{
	static const char *const commands[] = {"smtpd", "cleanup", "trivial-rewrite"};
	size_t count;
	const struct postfix_service *services = postconf_services(look->postconf, &count);
	char text[ITEM_SIZE], problem[600];

	if (!starts_with(item, length, "socketmap:unix:/"))
		return;
	for (size_t i = 0; i < count; i++) {
		bool asks = false;
		for (size_t j = 0; j < sizeof commands / sizeof commands[0]; j++)
			asks = asks || strcmp(services[i].command, commands[j]) == 0;
		if (!asks || !services[i].chrooted)
			continue;
		snprintf(problem, sizeof problem,
			"%s is chrooted in %s and does not find `%s` from there: let the daemon listen below "
			"the queue directory and write the path without it, or `postconf -F '%s/chroot=n'`",
			services[i].name, look->facts.queue_directory, item_text(item, length, text),
			services[i].name);
		report_map(look, map, text, problem);
		return;
	}
}

/* Maps in front of ours answer first; in virtual_mailbox_domains and virtual_mailbox_maps they can
 * only add domains and accounts. */
static bool order_matters(const struct postfix_map *map)
{
	return strcmp(map->map, "domain") != 0 && strcmp(map->map, "mailbox") != 0;
}

static void look_at_map(const struct look *look, const struct postfix_map *map)
{
	const char *list = postconf_value(look->postconf, map->setting);
	char first[ITEM_SIZE] = "", text[ITEM_SIZE], problem[600];
	size_t length;

	for (const char *item; (item = postfix_item(&list, &length));) {
		if (is_inet_map(item, length, map->map)) {
			snprintf(problem, sizeof problem,
				"`%s` asks over TCP, where every user of the machine could answer in the daemon's "
				"place: a UNIX socket is safe, and faster",
				item_text(item, length, text));
			report_map(look, map, text, problem);
			return;
		}
		if (postfix_item_is_map(&look->facts, item, length, map->map)) {
			if (first[0] && order_matters(map)) {
				snprintf(problem, sizeof problem,
					"`%s` stands in front of Homing's map and answers first for addresses of Homing's "
					"domains",
					first);
				report_map(look, map, NULL, problem);
			}
			look_at_map_path(look, map, item, length);
			return;
		}
		if (!first[0])
			item_text(item, length, first);
	}
	snprintf(problem, sizeof problem, "Homing's map `%s` is missing", map->map);
	report_map(look, map, NULL, problem);
}

/* Names of domains: the first that is ours, "" for none. */
static void find_ours(const struct look *look, const char *list, char *ours_r, int depth);

/* A list may name a file with more of it. */
static void find_in_file(const struct look *look, const char *path, char *ours_r, int depth)
{
	FILE *file = fopen(path, "r");
	char line[2048];

	while (file && !ours_r[0] && fgets(line, sizeof line, file)) {
		line[strcspn(line, "#\n")] = '\0';
		find_ours(look, line, ours_r, depth + 1);
	}
	if (file)
		fclose(file);
}

struct keys {
	FILE *file;
	size_t count;
};

static int write_key(const char *domain, void *context)
{
	struct keys *keys = context;

	fprintf(keys->file, "%s\n", domain);
	return ++keys->count == MAX_ASKED;
}

/* Asks a table for the domains that we have: `postmap -q -` answers KEY TAB VALUE. */
static void find_in_table(const struct look *look, const char *table, char *ours_r)
{
	char *argv[] = {(char *)"postmap", (char *)"-q", (char *)"-", (char *)table, NULL};
	struct keys keys = {.file = tmpfile()};
	struct command_output output = {0};
	struct error ignored = {0};

	if (!keys.file)
		return;
	if (directory_each_domain(look->facts.session.reader, write_key, &keys, &ignored) >= 0 &&
	    fflush(keys.file) == 0 && fseek(keys.file, 0, SEEK_SET) == 0 &&
	    command_run_input(argv, keys.file, &output)) {
		if (output.text[0])
			snprintf(ours_r, ITEM_SIZE, "%.*s", (int)strcspn(output.text, "\t\n"), output.text);
		command_output_finish(&output);
	}
	fclose(keys.file);
}

static void find_ours(const struct look *look, const char *list, char *ours_r, int depth)
{
	size_t length;

	for (const char *item; !ours_r[0] && depth < MAX_NESTED && (item = postfix_item(&list, &length));) {
		char text[ITEM_SIZE];

		if (item[0] == '!' || length >= ITEM_SIZE)
			continue;
		item_text(item, length, text);
		if (text[0] == '/')
			find_in_file(look, text, ours_r, depth);
		else if (strchr(text, ':') && text[0] != '[')
			find_in_table(look, text, ours_r);
		else if (postfix_is_ours(&look->facts, text, length))
			snprintf(ours_r, ITEM_SIZE, "%s", text);
	}
}

static void look_at_domains(const struct look *look, const char *setting, const char *least,
			    const char *problem)
{
	const char *expanded = postconf_value(look->postconf, setting);
	char ours[ITEM_SIZE] = "";
	bool found;

	find_ours(look, expanded, ours, 0);
	if (!ours[0])
		return;
	char *kept = plan_without_ours(&look->facts, postconf_raw(look->postconf, setting), expanded,
		&found);
	if (kept && found)
		look_report(look, setting, kept[0] ? kept : least, "`%s` is one of Homing's domains: %s",
			ours, problem);
	else if (kept)
		findings_add(look->findings, setting, "take the domain out of the table or file",
			"`%s` is one of Homing's domains: %s", ours, problem);
	free(kept);
}

/* By default what the alias map answers for is a virtual alias domain. */
static void look_at_alias_domains(const struct look *look)
{
	static const char setting[] = "virtual_alias_domains";
	const char *raw = postconf_raw(look->postconf, setting);
	const char *list = postconf_value(look->postconf, setting);
	bool ours = false, found;
	size_t length;

	for (const char *item; (item = postfix_item(&list, &length));)
		ours = ours || postfix_item_is_map(&look->facts, item, length, "alias");
	if (!ours) {
		look_at_domains(look, setting, "", "none of its names would have a mailbox");
		return;
	}
	char *kept = plan_without_ours(&look->facts, raw, postconf_value(look->postconf, setting), &found);
	if (kept)
		look_report(look, setting, kept,
			"%s, so Homing's alias map is asked for domains, and one that it knows would lose its "
			"mailboxes",
			postconf_written(look->postconf, setting) ? "it names the alias map"
								  : "its default is virtual_alias_maps");
	free(kept);
}

void look_at_lists(const struct look *look)
{
	for (size_t i = 0; i < POSTFIX_MAPS; i++)
		look_at_map(look, &postfix_maps[i]);
	look_at_domains(look, "mydestination", "localhost",
		"its mail goes to users and aliases of the system");
	look_at_domains(look, "relay_domains", "", "its mail would be passed on to another server");
	look_at_alias_domains(look);
}
