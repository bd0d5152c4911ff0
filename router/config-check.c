/* What takes more than one key to see: a name that two have, a name that nobody has. Claims are
 * sorted, so that those of one name lie together; the order of a sort, unlike a hash, is nothing
 * that a hostile choice of names could make slow. */
#include "config-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void draft_claim(struct draft *draft, enum config_namespace space, const void *name,
		 size_t length, struct config_claim claim)
{
	claim.key = draft->names.length;
	claim.key_length = (uint32_t)(1 + length);
	value_put_u8(&draft->names, (uint8_t)space);
	value_put(&draft->names, name, length);
	if (draft->names.failed)
		draft->no_memory = true;
	else if (DRAFT_GROW(draft, draft->claims, draft->claim_count))
		draft->claims[draft->claim_count++] = claim;
}

static int compare_keys(const unsigned char *left, size_t left_length, const unsigned char *right,
			size_t right_length)
{
	size_t shorter = left_length < right_length ? left_length : right_length;
	int order = memcmp(left, right, shorter);

	if (order != 0)
		return order;
	return left_length < right_length ? -1 : left_length > right_length;
}

static int compare_places(struct config_place left, struct config_place right)
{
	if (left.file != right.file)
		return left.file < right.file ? -1 : 1;
	return left.offset < right.offset ? -1 : left.offset > right.offset;
}

/* By name; the first of a name is who keeps it: a domain before its aliases, then the one that is
 * written first. */
static int compare_claims(const void *left, const void *right, void *context)
{
	const struct config_claim *a = left, *b = right;
	const unsigned char *names = context;
	int order = compare_keys(names + a->key, a->key_length, names + b->key, b->key_length);

	if (order != 0)
		return order;
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return compare_places(a->place, b->place);
}

const struct config_claim *draft_find(const struct draft *draft, enum config_namespace space,
				      const void *name, size_t length)
{
	unsigned char wanted[1 + NAME_SIZE];
	size_t from = 0, to = draft->claim_count;

	if (length > NAME_MAX_BYTES)
		return NULL;
	wanted[0] = (unsigned char)space;
	memcpy(wanted + 1, name, length);
	while (from < to) {
		size_t middle = from + (to - from) / 2;
		const struct config_claim *claim = &draft->claims[middle];

		if (compare_keys(draft->names.data + claim->key, claim->key_length, wanted,
				 1 + length) < 0)
			from = middle + 1;
		else
			to = middle;
	}
	if (from == draft->claim_count)
		return NULL;
	const struct config_claim *found = &draft->claims[from];
	return compare_keys(draft->names.data + found->key, found->key_length, wanted,
			    1 + length) == 0
		       ? found
		       : NULL;
}

/* A claim's name as text, in quotes. */
static void show_claim(const struct draft *draft, const struct config_claim *claim,
		       char out[SHOWN_SIZE])
{
	const unsigned char *name = draft->names.data + claim->key + 1;
	char text[NAME_SIZE];

	if (claim->kind == CLAIM_ADDRESS) {
		struct ip_prefix prefix = {.length = name[0]};

		memcpy(prefix.ip.bytes, name + 1, sizeof prefix.ip.bytes);
		ip_prefix_format(&prefix, text);
	} else if (claim->kind == CLAIM_RECORD) {
		snprintf(text, sizeof text, "%s", draft->config->records[claim->owner].match);
	} else {
		snprintf(text, sizeof text, "%.*s", (int)claim->key_length - 1, (const char *)name);
	}
	shown(text, out);
}

static struct config_key claim_key(const struct draft *draft, const struct config_claim *claim)
{
	static const char *const names[] = {
		[CLAIM_ALIAS] = "aliases",
		[CLAIM_SERVER_NAME] = "server_names",
		[CLAIM_ADDRESS] = "addresses",
	};

	if (claim->kind == CLAIM_RECORD)
		return (struct config_key){.section = SECTION_RECORD,
					   .owner = draft->record_places[claim->owner].number,
					   .name = "match",
					   .item = NO_ITEM};
	return (struct config_key){
		.section = SECTION_DOMAIN,
		.owner = claim->owner,
		.name = claim->kind == CLAIM_DOMAIN ? NULL : names[claim->kind],
		.item = claim->kind == CLAIM_DOMAIN ? NO_ITEM : (long)claim->item,
	};
}

/* Two that have one name: `other` is the mistake, and says where `first` is. */
static void report_conflict(struct draft *draft, const struct config_claim *first,
			    const struct config_claim *other)
{
	const struct config_key key = claim_key(draft, other);
	char name[SHOWN_SIZE], place[PLACE_SIZE];

	show_claim(draft, other, name);
	draft_place(draft, first->place, place);
	if (other->kind == CLAIM_RECORD)
		draft_mistake(draft, other->place, &key,
			      "%s is never reached: router[%u] (%s) matches the same names before it, "
			      "expected one record for them",
			      name, draft->record_places[first->owner].number, place);
	else if (other->kind == CLAIM_DOMAIN)
		draft_mistake(draft, other->place, &key, "the same domain as in %s, expected once",
			      place);
	else if (first->kind == CLAIM_DOMAIN && first->owner == other->owner)
		draft_mistake(draft, other->place, &key,
			      "%s is the domain's own name, expected other names alone", name);
	else if (first->kind == CLAIM_DOMAIN)
		draft_mistake(draft, other->place, &key,
			      "%s is a domain itself (%s), expected a name that is none", name,
			      place);
	else if (first->owner == other->owner)
		draft_mistake(draft, other->place, &key, "%s a second time, first in %s: expected once",
			      name, place);
	else
		draft_mistake(draft, other->place, &key,
			      "%s belongs to %s already (%s), expected in one domain", name,
			      draft->config->domains[first->owner].name, place);
}

static bool same_name(const struct draft *draft, const struct config_claim *a,
		      const struct config_claim *b)
{
	return a->key_length == b->key_length &&
	       memcmp(draft->names.data + a->key, draft->names.data + b->key, a->key_length) == 0;
}

static void check_claims(struct draft *draft)
{
	const struct config_claim *first = draft->claims;

	for (size_t i = 1; i < draft->claim_count; i++) {
		if (same_name(draft, first, &draft->claims[i]))
			report_conflict(draft, first, &draft->claims[i]);
		else
			first = &draft->claims[i];
	}
}

/* A TLS name that is a domain or an alias selects that domain, whoever lists it. */
static void check_server_names(struct draft *draft)
{
	for (size_t i = 0; i < draft->claim_count; i++) {
		const struct config_claim *claim = &draft->claims[i];

		if (claim->kind != CLAIM_SERVER_NAME)
			continue;
		const struct config_claim *host = draft_find(draft, SPACE_HOST,
							     draft->names.data + claim->key + 1,
							     claim->key_length - 1);
		if (host && host->owner != claim->owner) {
			const struct config_key key = claim_key(draft, claim);
			char name[SHOWN_SIZE], place[PLACE_SIZE];

			show_claim(draft, claim, name);
			draft_place(draft, host->place, place);
			if (host->kind == CLAIM_DOMAIN)
				draft_mistake(draft, claim->place, &key,
					      "%s is a domain itself (%s), expected a name that is none",
					      name, place);
			else
				draft_mistake(draft, claim->place, &key,
					      "%s is an alias of %s (%s), expected a name that is none",
					      name, draft->config->domains[host->owner].name, place);
		}
	}
}

/* Where a file did not parse, what it would have said is unknown: nothing is called missing. */
static bool any_broken(const struct draft *draft)
{
	for (size_t i = 0; i < draft->file_count; i++)
		if (draft->files[i].broken)
			return true;
	return false;
}

static void check_main_domain(struct draft *draft)
{
	const struct config_key key = {.name = "main_domain", .item = NO_ITEM};
	const char *name = draft->config->main_domain;

	if (!name) {
		const struct config_place start = {
			.offset = (uint32_t)json_text_start(&draft->files[0].text),
		};

		if (!draft->top_seen[TOP_MAIN_DOMAIN])
			draft_mistake(draft, start, &key,
				      "missing, expected the name of one of the domains");
		return;
	}
	const struct config_claim *claim = draft_find(draft, SPACE_HOST, name, strlen(name));
	char quoted[SHOWN_SIZE];
	shown(name, quoted);
	if (!claim)
		draft_mistake(draft, draft->main_domain, &key,
			      "%s is not listed, expected one of the domains under `domains`", quoted);
	else if (claim->kind == CLAIM_ALIAS)
		draft_mistake(draft, draft->main_domain, &key,
			      "%s is an alias, expected its domain, \"%s\"", quoted,
			      draft->config->domains[claim->owner].name);
}

static char **administrator_text(const struct draft *draft,
				 const struct config_administrator *administrator)
{
	struct config_domain *domain = &draft->config->domains[administrator->owner];

	return &domain->administrators.items[administrator->listed];
}

static struct config_key administrator_key(const struct config_administrator *administrator)
{
	return (struct config_key){.section = SECTION_DOMAIN,
				   .owner = administrator->owner,
				   .name = "administrators",
				   .item = (long)administrator->item};
}

/* An administrator's domain must be ours; an alias of it becomes the domain. */
static void resolve_administrator(struct draft *draft,
				  const struct config_administrator *administrator)
{
	char **text = administrator_text(draft, administrator);
	const char *at = strrchr(*text, '@');
	const struct config_claim *claim = draft_find(draft, SPACE_HOST, at + 1, strlen(at + 1));

	if (!claim) {
		const struct config_key key = administrator_key(administrator);
		char quoted[SHOWN_SIZE];

		draft_mistake(draft, administrator->place, &key,
			      "%s is of a domain that is not listed, expected an account of one that is",
			      shown(*text, quoted));
	} else if (claim->kind == CLAIM_ALIAS) {
		const char *name = draft->config->domains[claim->owner].name;
		char *resolved = NULL;

		if (asprintf(&resolved, "%.*s@%s", (int)(at - *text), *text, name) < 0) {
			draft->no_memory = true;
			return;
		}
		free(*text);
		*text = resolved;
	}
}

static int compare_administrators(const void *left, const void *right, void *context)
{
	const struct config_administrator *a = left, *b = right;

	if (a->owner != b->owner)
		return a->owner < b->owner ? -1 : 1;
	int order = strcmp(*administrator_text(context, a), *administrator_text(context, b));
	return order ? order : compare_places(a->place, b->place);
}

static void check_administrators(struct draft *draft, bool complete)
{
	const struct config_administrator *all = draft->administrators, *first = all;

	for (size_t i = 0; complete && i < draft->administrator_count; i++)
		resolve_administrator(draft, &all[i]);
	if (draft->administrator_count > 0)
		qsort_r(draft->administrators, draft->administrator_count, sizeof *all,
			compare_administrators, draft);
	for (size_t i = 1; i < draft->administrator_count; i++) {
		const char *text = *administrator_text(draft, &all[i]);

		if (first->owner == all[i].owner &&
		    strcmp(*administrator_text(draft, first), text) == 0) {
			const struct config_key key = administrator_key(&all[i]);
			char quoted[SHOWN_SIZE], place[PLACE_SIZE];

			draft_mistake(draft, all[i].place, &key,
				      "%s a second time, first in %s: expected once",
				      shown(text, quoted),
				      draft_place(draft, first->place, place));
		} else {
			first = &all[i];
		}
	}
}

void draft_check_names(struct draft *draft)
{
	bool complete = !any_broken(draft);

	if (draft->claim_count > 0)
		qsort_r(draft->claims, draft->claim_count, sizeof *draft->claims, compare_claims,
			draft->names.data);
	check_claims(draft);
	check_server_names(draft);
	if (complete)
		check_main_domain(draft);
	check_administrators(draft, complete);
}
