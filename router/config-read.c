/* The keys at the top of a file, and account_defaults. */
#include "config-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A home and what it becomes for the longest name must fit struct account. */
enum { HOME_MAX_BYTES = 999, ID_MAX_BYTES = 63 };
#define LARGEST_ID 4294967294LL /* (uid_t)-1 means "none" to the system */

static const char *const top_names[] = {
	[TOP_MAIN_DOMAIN] = "main_domain",
	[TOP_ACCOUNT_DEFAULTS] = "account_defaults",
	[TOP_DOMAINS] = "domains",
	[TOP_ROUTER] = "router",
	[TOP_KEYS] = NULL,
};

static void read_main_domain(struct draft *draft, struct config_place place)
{
	const struct config_key key = {.name = "main_domain", .item = NO_ITEM};
	char text[JSON_STRING_SIZE], domain[DOMAIN_SIZE], quoted[SHOWN_SIZE];

	if (!draft_string(draft, place, &key, "the name of one of the domains", text))
		return;
	if (!domain_parse(text, strlen(text), domain)) {
		draft_mistake(draft, place, &key,
			      "%s is not a domain name, expected one as company.com",
			      shown(text, quoted));
		return;
	}
	if (draft->config->main_domain)
		return; /* a second one, reported already */
	draft->config->main_domain = draft_copy(draft, domain);
	draft->main_domain = place;
}

/* Moves over `%{domain}`, `%{local}` or one other byte; the most bytes that it becomes, or 0 where a
 * `%` stands for something else. */
static size_t take_piece(const char **next)
{
	static const struct {
		const char *name;
		size_t most;
	} variables[] = {{"%{domain}", DOMAIN_MAX_BYTES}, {"%{local}", LOCAL_MAX_BYTES}};

	for (size_t i = 0; i < sizeof variables / sizeof variables[0]; i++) {
		size_t length = strlen(variables[i].name);

		if (strncmp(*next, variables[i].name, length) == 0) {
			*next += length;
			return variables[i].most;
		}
	}
	return *(*next)++ == '%' ? 0 : 1;
}

static bool has_dot_dot(const char *path)
{
	for (const char *at = strstr(path, "/.."); at; at = strstr(at + 1, "/.."))
		if (at[3] == '/' || at[3] == '\0')
			return true;
	return false;
}

static bool has_control(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text < 0x20 || *text == 0x7f)
			return true;
	return false;
}

/* NULL if accounts may live there, else why not and what is expected. */
static const char *home_refusal(const char *home)
{
	size_t most = 0;

	if (home[0] != '/')
		return "not an absolute path, expected one as /var/vmail/%{domain}/%{local}";
	if (has_control(home))
		return "has a control character, expected a path without";
	if (has_dot_dot(home))
		return "has a `..` component, expected a path without";
	for (const char *next = home; *next;) {
		size_t piece = take_piece(&next);

		if (piece == 0)
			return "a `%` that is neither %{domain} nor %{local}: there are no other "
			       "variables";
		most += piece;
	}
	if (most > HOME_MAX_BYTES)
		return "longer than 999 bytes where domain and name are as long as they can be, "
		       "expected a shorter path";
	return NULL;
}

static void read_home(struct draft *draft, struct config_place place,
		      const struct config_key *key, char **home_r)
{
	char home[JSON_STRING_SIZE];

	if (!draft_string(draft, place, key, "a path as /var/vmail/%{domain}/%{local}", home))
		return;
	const char *why = home_refusal(home);
	if (why) {
		draft_mistake(draft, place, key, "%s", why);
		return;
	}
	free(*home_r);
	*home_r = draft_copy(draft, home);
}

static const char *id_refusal(const char *id)
{
	if (id[0] == '\0')
		return "empty, expected a name or a number, or to leave the key out";
	if (strlen(id) > ID_MAX_BYTES)
		return "longer than 63 bytes, expected a name or a number";
	for (; *id; id++)
		if ((unsigned char)*id <= ' ' || (unsigned char)*id >= 0x7f)
			return "white space, or what is not printable ASCII, expected a name or a "
			       "number";
	return NULL;
}

static void read_id(struct draft *draft, struct config_place place, const struct config_key *key,
		    char **id_r)
{
	char id[JSON_STRING_SIZE];
	long long number;

	if (json_text_number(draft_text(draft, place), place.offset, LARGEST_ID, &number)) {
		snprintf(id, sizeof id, "%lld", number);
	} else if (draft_type(draft, place) == '0') {
		draft_mistake(draft, place, key, "a number out of range, expected 0 to %lld",
			      LARGEST_ID);
		return;
	} else if (!draft_string(draft, place, key, "a name or a number", id)) {
		return;
	}
	const char *why = id_refusal(id);
	if (why) {
		draft_mistake(draft, place, key, "%s", why);
		return;
	}
	free(*id_r);
	*id_r = draft_copy(draft, id);
}

static void read_defaults(struct draft *draft, struct config_place object)
{
	static const char *const names[] = {"home", "uid", "gid", NULL};
	struct config *config = draft->config;
	char **ids[] = {NULL, &config->uid, &config->gid};
	struct config_key key = {.name = "account_defaults", .item = NO_ITEM};
	struct config_place value;
	int index;

	if (!draft_expect(draft, object, &key, '{', "an object with home, uid and gid"))
		return;
	key = (struct config_key){.section = SECTION_DEFAULTS, .item = NO_ITEM};
	struct draft_members members = draft_members(draft, object, key, names);
	while (draft_members_next(&members, &index, &value)) {
		key.name = names[index];
		if (index == 0)
			read_home(draft, value, &key, &config->home);
		else
			read_id(draft, value, &key, ids[index]);
	}
}

/* A key that stands in two files; within one, draft_members saw it. Only domains may. */
static void note_top_key(struct draft *draft, enum top_key index, struct config_place place)
{
	const struct config_key key = {.name = top_names[index], .item = NO_ITEM};
	char first[PLACE_SIZE];

	if (index == TOP_DOMAINS)
		return;
	if (draft->top_seen[index]) {
		draft_mistake(draft, place, &key,
			      "in a second file, first in %s: expected in one of them",
			      draft_place(draft, draft->top[index], first));
		return;
	}
	draft->top_seen[index] = true;
	draft->top[index] = place;
}

void draft_read_top(struct draft *draft, uint32_t file)
{
	const struct config_key nowhere = {.item = NO_ITEM};
	const struct json_text *text = &draft->files[file].text;
	struct config_place top = {.file = file, .offset = (uint32_t)json_text_start(text)};
	struct config_place value;
	int index;

	if (!draft_expect(draft, top, NULL, '{',
			  "an object: { \"main_domain\": ..., \"domains\": ... }")) {
		draft->files[file].broken = true;
		return;
	}
	struct draft_members members = draft_members(draft, top, nowhere, top_names);
	while (draft_members_next(&members, &index, &value)) {
		note_top_key(draft, (enum top_key)index, members.seen[index]);
		if (index == TOP_MAIN_DOMAIN)
			read_main_domain(draft, value);
		else if (index == TOP_ACCOUNT_DEFAULTS)
			read_defaults(draft, value);
		else if (index == TOP_DOMAINS)
			draft_read_domains(draft, value);
		else
			draft_read_router(draft, value);
	}
}
