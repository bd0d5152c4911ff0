/* The router records, each by itself. */
#include "config-private.h"

#include <stdlib.h>
#include <string.h>

enum record_key { RECORD_KEY_MATCH, RECORD_KEY_TO };

static const char *const record_names[] = {"match", "to", NULL};

struct record_text {
	char match[JSON_STRING_SIZE], to[JSON_STRING_SIZE];
	bool has[2];
	struct config_place places[2];
};

static void read_part(struct draft *draft, struct config_place place, struct config_key key,
		      enum record_key part, struct record_text *record)
{
	static const char *const expected[] = {
		"`local@domain` or `domain`, with `*` anywhere",
		"an address, a domain, `discard:` or `error:D.S.N text`",
	};

	key.name = record_names[part];
	record->places[part] = place;
	if (draft_string(draft, place, &key, expected[part],
			 part == RECORD_KEY_MATCH ? record->match : record->to))
		record->has[part] = true;
}

/* Records that match the same names have the same key: `*@domain` is `domain`. */
static void claim_match(struct draft *draft, const char *match, struct config_place place,
			uint32_t owner)
{
	const char *key = strncmp(match, "*@", 2) == 0 ? match + 2 : match;
	const struct config_claim claim = {.kind = CLAIM_RECORD, .owner = owner, .place = place};

	draft_claim(draft, SPACE_RECORD, key, strlen(key), claim);
}

/* Keeps a record, also a bad one: as "", so that the others keep their number. */
static void add_record(struct draft *draft, const char *match, const char *to,
		       struct config_record_place place)
{
	struct config *config = draft->config;
	struct config_record record = {draft_copy(draft, match), draft_copy(draft, to)};

	if (!record.match || !record.to ||
	    !DRAFT_GROW(draft, config->records, config->record_count) ||
	    !DRAFT_GROW(draft, draft->record_places, config->record_count)) {
		free(record.match);
		free(record.to);
		return;
	}
	if (*match)
		claim_match(draft, match, place.match, (uint32_t)config->record_count);
	draft->record_places[config->record_count] = place;
	config->records[config->record_count++] = record;
}

static void check_record(struct draft *draft, const struct record_text *record,
			 struct config_key key)
{
	const struct config_record_place place = {
		.match = record->places[RECORD_KEY_MATCH],
		.to = record->places[RECORD_KEY_TO],
		.number = (uint32_t)key.owner,
	};
	char match[NAME_SIZE], to[NAME_SIZE];
	bool in_to;
	const char *why = record_canonical(record->match, record->to, match, to, &in_to);

	if (!why) {
		add_record(draft, match, to, place);
		return;
	}
	key.name = record_names[in_to ? RECORD_KEY_TO : RECORD_KEY_MATCH];
	char quoted[SHOWN_SIZE];
	draft_mistake(draft, in_to ? place.to : place.match, &key, "%s: %s",
		      shown(in_to ? record->to : record->match, quoted), why);
	add_record(draft, "", "", place);
}

static void read_record(struct draft *draft, struct config_place object, uint32_t number)
{
	struct config_key key = {.section = SECTION_RECORD, .owner = number, .item = NO_ITEM};
	struct record_text record = {.has = {false}};
	struct config_place value;
	int index;
	bool seen[2] = {false};

	if (!draft_expect(draft, object, &key, '{', "an object with `match` and `to`"))
		return;
	struct draft_members members = draft_members(draft, object, key, record_names);
	while (draft_members_next(&members, &index, &value)) {
		seen[index] = true;
		read_part(draft, value, key, (enum record_key)index, &record);
	}
	for (int i = 0; i < 2; i++)
		if (!seen[i]) {
			key.name = record_names[i];
			draft_mistake(draft, object, &key, "missing, expected in each record");
		}
	if (record.has[RECORD_KEY_MATCH] && record.has[RECORD_KEY_TO])
		check_record(draft, &record, key);
}

void draft_read_router(struct draft *draft, struct config_place list)
{
	const struct config_key key = {.name = "router", .item = NO_ITEM};
	struct config_place record;

	if (!draft_expect(draft, list, &key, '[',
			  "a list of records { \"match\": ..., \"to\": ... }"))
		return;
	struct draft_elements elements = draft_elements(draft, list);
	for (uint32_t number = 0; draft_elements_next(&elements, &record); number++)
		read_record(draft, record, number);
}
