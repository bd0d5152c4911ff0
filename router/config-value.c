/* Values of the configuration's text: type by type, the members of an object, the elements of a
 * list. What is not as expected is a mistake with its place. */
#include "config-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool draft_grow(struct draft *draft, void **items, size_t count, size_t item_size)
{
	if (count & (count - 1))
		return true;
	void *grown = reallocarray(*items, count ? 2 * count : 1, item_size);
	if (!grown) {
		draft->no_memory = true;
		return false;
	}
	*items = grown;
	return true;
}

char *draft_copy(struct draft *draft, const char *text)
{
	char *copy = strdup(text);

	if (!copy)
		draft->no_memory = true;
	return copy;
}

bool draft_list_add(struct draft *draft, struct config_list *list, const char *text)
{
	char *copy = draft_copy(draft, text);

	if (!copy || !DRAFT_GROW(draft, list->items, list->count)) {
		free(copy);
		return false;
	}
	list->items[list->count++] = copy;
	return true;
}

const struct json_text *draft_text(const struct draft *draft, struct config_place place)
{
	return &draft->files[place.file].text;
}

char draft_type(const struct draft *draft, struct config_place place)
{
	return json_text_type(draft_text(draft, place), place.offset);
}

bool draft_expect(struct draft *draft, struct config_place place, const struct config_key *key,
		  char type, const char *expected)
{
	char found = draft_type(draft, place);

	if (found == type)
		return true;
	draft_mistake(draft, place, key, "%s, expected %s", json_text_type_name(found), expected);
	return false;
}

bool draft_string(struct draft *draft, struct config_place place, const struct config_key *key,
		  const char *expected, char out[JSON_STRING_SIZE])
{
	if (!draft_expect(draft, place, key, '"', expected))
		return false;
	if (json_text_string(draft_text(draft, place), place.offset, out) >= 0)
		return true;
	draft->no_memory = true;
	return false;
}

struct draft_members draft_members(struct draft *draft, struct config_place object,
				   struct config_key owner, const char *const *names)
{
	return (struct draft_members){
		.walk = json_walk(draft_text(draft, object), object.offset),
		.draft = draft,
		.file = object.file,
		.key = owner,
		.names = names,
	};
}

static void unknown_key(struct draft_members *members, struct config_place place,
			const char *name)
{
	struct config_key key = members->key;
	const char *nearest = nearest_name(name, members->names);
	char all[200] = "";

	key.name = name;
	if (nearest) {
		draft_mistake(members->draft, place, &key, "no such key, expected \"%s\"?",
			      nearest);
		return;
	}
	for (const char *const *known = members->names; *known; known++) {
		size_t used = strlen(all);
		snprintf(all + used, sizeof all - used, "%s%s", used ? ", " : "", *known);
	}
	draft_mistake(members->draft, place, &key, "no such key, expected one of %s", all);
}

/* The index of a key that may stand here, or -1 after a mistake. */
static int known_key(struct draft_members *members, struct config_place place, const char *name)
{
	int index = 0;

	while (members->names[index] && strcmp(members->names[index], name) != 0)
		index++;
	if (!members->names[index]) {
		unknown_key(members, place, name);
		return -1;
	}
	if (members->seen_bits & 1u << index) {
		struct config_key key = members->key;
		char first[PLACE_SIZE];

		key.name = name;
		draft_mistake(members->draft, place, &key,
			      "a second time, first in %s: expected once",
			      draft_place(members->draft, members->seen[index], first));
		return -1;
	}
	members->seen_bits |= 1u << index;
	members->seen[index] = place;
	return index;
}

bool draft_members_next(struct draft_members *members, int *index_r,
			struct config_place *value_r)
{
	size_t key, value;

	while (json_walk_next(&members->walk, &key, &value)) {
		struct config_place place = {.file = members->file, .offset = (uint32_t)key};
		char name[JSON_STRING_SIZE];

		if (json_text_string(members->walk.text, key, name) < 0) {
			members->draft->no_memory = true;
			return false;
		}
		*index_r = known_key(members, place, name);
		*value_r = (struct config_place){.file = members->file, .offset = (uint32_t)value};
		if (*index_r >= 0)
			return true;
	}
	return false;
}

struct draft_elements draft_elements(struct draft *draft, struct config_place list)
{
	return (struct draft_elements){
		.walk = json_walk(draft_text(draft, list), list.offset),
		.file = list.file,
	};
}

bool draft_elements_next(struct draft_elements *elements, struct config_place *value_r)
{
	size_t element, value;

	if (!json_walk_next(&elements->walk, &element, &value))
		return false;
	*value_r = (struct config_place){.file = elements->file, .offset = (uint32_t)value};
	return true;
}
