/* Router records that lead back to themselves. Only what is certain is reported: a circle of
 * records without wildcards, from which no record before them leads away. Others end as a `loop`
 * refusal, and `homingctl route --explain` shows their steps. */
#include "config-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_STEPS = 32, END = -1 }; /* routing ends after as many rewrites */

/* A name on its way; or, where `local` is "", every name of the domain at once. */
struct loop_name {
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];
};

struct loop_search {
	const struct draft *draft;
	uint32_t *wildcards; /* records with a `*` that matters, in file order */
	size_t wildcard_count;
};

/* Splits a canonical match or `to` without wildcards. False if it has some, or a local part that
 * means something to the steps of routing between two records. */
static bool take_name(const char *text, struct loop_name *name_r)
{
	const char *at = strrchr(text, '@');
	const char *domain = at ? at + 1 : text;
	size_t local_length = at ? (size_t)(at - text) : 0;
	bool any = local_length == 1 && text[0] == '*';

	name_r->local[0] = '\0';
	if (strchr(domain, '*') || strlen(domain) >= DOMAIN_SIZE)
		return false;
	memcpy(name_r->domain, domain, strlen(domain) + 1);
	if (!at || any)
		return true;
	for (size_t i = 0; i < local_length; i++)
		if (strchr("*\"@%!", text[i]))
			return false;
	return local_fold(text, local_length, name_r->local) >= 0;
}

static bool is_wildcard(const char *match)
{
	struct loop_name name;

	return match[0] && !take_name(match, &name);
}

static bool covers(const struct config_record *record, const struct loop_name *name)
{
	const struct record pattern = {.match = record->match, .to = record->to};
	const char *local = name->local[0] ? name->local : "x";

	if (!name->local[0] && strchr(record->match, '@') && strncmp(record->match, "*@", 2) != 0)
		return false;
	return record_matches(&pattern, local, local, name->domain);
}

/* Does a wildcard take the name before record `order` sees it? */
static bool taken_before(const struct loop_search *search, const struct loop_name *name, long order)
{
	for (size_t i = 0; i < search->wildcard_count && search->wildcards[i] < order; i++)
		if (covers(&search->draft->config->records[search->wildcards[i]], name))
			return true;
	return false;
}

static long claimed_order(const struct draft *draft, const char *match)
{
	const struct config_claim *claim = draft_find(draft, SPACE_RECORD, match, strlen(match));

	return claim ? (long)claim->owner : END;
}

/* The first record without wildcards that matches, or END. */
static long first_match(const struct draft *draft, const struct loop_name *name)
{
	char match[NAME_SIZE + 1];
	long of_domain = claimed_order(draft, name->domain), of_name = END;

	if (name->local[0]) {
		snprintf(match, sizeof match, "%s@%s", name->local, name->domain);
		of_name = claimed_order(draft, match);
	}
	if (of_name == END || of_domain == END)
		return of_name == END ? of_domain : of_name;
	return of_name < of_domain ? of_name : of_domain;
}

/* As first_match; where there is none and the domain is an alias, routing goes on with its domain. */
static long next_record(const struct draft *draft, struct loop_name *name)
{
	long order = first_match(draft, name);
	const struct config_claim *claim;

	if (order != END)
		return order;
	claim = draft_find(draft, SPACE_HOST, name->domain, strlen(name->domain));
	if (!claim || claim->kind != CLAIM_ALIAS)
		return END;
	const char *domain = draft->config->domains[claim->owner].name;
	memcpy(name->domain, domain, strlen(domain) + 1);
	return first_match(draft, name);
}

/* What a record makes of a name that it matches. False where that is the end. */
static bool follow(const struct config_record *record, struct loop_name *name)
{
	const char *to = record->to;
	struct loop_name next;

	if (strcmp(to, "discard:") == 0 || strncmp(to, "error:", 6) == 0 || !take_name(to, &next))
		return false;
	if (!next.local[0]) /* `domain`, or `*@domain` from `*@domain`: the local part stays */
		memcpy(next.local, name->local, sizeof next.local);
	*name = next;
	return true;
}

/* One rewrite on from record `order`: the next record, or END. */
static long step(const struct draft *draft, long order, struct loop_name *name)
{
	return follow(&draft->config->records[order], name) ? next_record(draft, name) : END;
}

/* Goes once around the circle that `order` is on. True if nothing leads out of it and `order` is its
 * first record: each circle is reported once. */
static bool is_first_of_circle(const struct loop_search *search, long order, struct loop_name name)
{
	const struct draft *draft = search->draft;
	long at = order;

	for (int steps = 0; steps <= MOST_STEPS; steps++) {
		at = step(draft, at, &name);
		if (at == END || at < order || taken_before(search, &name, at))
			return false;
		if (at == order)
			return true;
	}
	return false;
}

static bool is_loop(const struct loop_search *search, long order)
{
	const struct draft *draft = search->draft;
	struct loop_name name;
	long at = order;

	if (!take_name(draft->config->records[order].match, &name) ||
	    first_match(draft, &name) != order)
		return false;
	for (int steps = 0; steps < MOST_STEPS && at != END; steps++)
		at = step(draft, at, &name);
	if (at == END || !take_name(draft->config->records[order].match, &name))
		return false;
	return !taken_before(search, &name, order) && is_first_of_circle(search, order, name);
}

static void report_loop(struct draft *draft, long order)
{
	const struct config_record *records = draft->config->records;
	const struct config_record_place *places = draft->record_places;
	const struct config_key key = {.section = SECTION_RECORD,
				       .owner = places[order].number,
				       .name = "to",
				       .item = NO_ITEM};
	struct loop_name name;
	char to[SHOWN_SIZE], match[SHOWN_SIZE], place[PLACE_SIZE];

	if (!take_name(records[order].match, &name))
		return;
	long next = step(draft, order, &name);
	shown(records[order].to, to);
	if (next == order || next == END)
		draft_mistake(draft, places[order].to, &key,
			      "%s leads back to this record, expected another name: a loop delivers "
			      "nothing",
			      to);
	else
		draft_mistake(draft, places[order].to, &key,
			      "%s leads to %s in router[%u] (%s) and from there back to this record, "
			      "expected another name: a loop delivers nothing",
			      to, shown(records[next].match, match), places[next].number,
			      draft_place(draft, places[next].match, place));
}

void draft_check_loops(struct draft *draft)
{
	const struct config *config = draft->config;
	struct loop_search search = {.draft = draft};

	search.wildcards = calloc(config->record_count + 1, sizeof *search.wildcards);
	if (!search.wildcards) {
		draft->no_memory = true;
		return;
	}
	for (size_t i = 0; i < config->record_count; i++)
		if (is_wildcard(config->records[i].match))
			search.wildcards[search.wildcard_count++] = (uint32_t)i;
	for (size_t i = 0; i < config->record_count; i++)
		if (config->records[i].match[0] && is_loop(&search, (long)i))
			report_loop(draft, (long)i);
	free(search.wildcards);
}
