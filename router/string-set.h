/* A set of byte strings, kept in the order of their arrival. */
#ifndef HOMING_STRING_SET_H
#define HOMING_STRING_SET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct string_set {
	struct string_set_item {
		char *bytes; /* owned by the set; a NUL follows */
		size_t length;
	} *items;
	size_t count, size;
	uint32_t *slots; /* open addressing: index + 1 of an item, 0 is free; a power of two */
	size_t slot_count;
};

/* Zero a set before its first use. 1: added; 0: was there; -1: out of memory. */
int string_set_add(struct string_set *set, const void *bytes, size_t length);
void string_set_finish(struct string_set *set);

#endif
