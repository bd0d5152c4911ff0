/* A set of byte strings in order of arrival, with a hash index beside it. */
#include "string-set.h"

#include <stdlib.h>
#include <string.h>

/* FNV-1a: the strings are addresses that an administrator stored, not a stranger's choice. */
static uint32_t hash(const unsigned char *bytes, size_t length)
{
	uint32_t value = 2166136261u;

	for (size_t i = 0; i < length; i++)
		value = (value ^ bytes[i]) * 16777619u;
	return value;
}

/* The slot that holds the string, or the free one where it belongs. */
static size_t find_slot(const struct string_set *set, const void *bytes, size_t length)
{
	size_t slot = hash(bytes, length) & (set->slot_count - 1);

	while (set->slots[slot]) {
		const struct string_set_item *item = &set->items[set->slots[slot] - 1];

		if (item->length == length && memcmp(item->bytes, bytes, length) == 0)
			break;
		slot = (slot + 1) & (set->slot_count - 1);
	}
	return slot;
}

/* Keeps the index at most half full. */
static bool make_room(struct string_set *set)
{
	if (set->count < set->size)
		return true;
	size_t size = set->size ? set->size * 2 : 32;
	struct string_set_item *items = realloc(set->items, size * sizeof *items);
	if (!items)
		return false;
	set->items = items;
	uint32_t *slots = calloc(size * 2, sizeof *slots);
	if (!slots)
		return false;
	free(set->slots);
	set->slots = slots;
	set->slot_count = size * 2;
	set->size = size;
	for (size_t i = 0; i < set->count; i++)
		slots[find_slot(set, items[i].bytes, items[i].length)] = (uint32_t)(i + 1);
	return true;
}

int string_set_add(struct string_set *set, const void *bytes, size_t length)
{
	if (!make_room(set))
		return -1;
	size_t slot = find_slot(set, bytes, length);
	if (set->slots[slot])
		return 0;
	char *copy = malloc(length + 1);
	if (!copy)
		return -1;
	memcpy(copy, bytes, length);
	copy[length] = '\0';
	set->items[set->count].bytes = copy;
	set->items[set->count].length = length;
	set->slots[slot] = (uint32_t)++set->count;
	return 1;
}

void string_set_finish(struct string_set *set)
{
	for (size_t i = 0; i < set->count; i++)
		free(set->items[i].bytes);
	free(set->items);
	free(set->slots);
	*set = (struct string_set){0};
}
