/* A circular list through the things themselves: `struct link` is a member of what it links, and the
 * list is a link of its own. */
#ifndef HOMING_LIST_H
#define HOMING_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct link {
	struct link *previous, *next;
};

/* The thing whose `member` a link is. */
#define LINK_OF(link, type, member) ((type *)(void *)((char *)(link) - offsetof(type, member)))

static inline void list_init(struct link *list)
{
	list->previous = list->next = list;
}

static inline bool list_is_empty(const struct link *list)
{
	/* clang 14 finds a NULL here where it has lost count of the links of a list */
	return list->next == list; // NOLINT(clang-analyzer-core.NullDereference)
}

/* A link that was taken out may be taken out again. */
static inline void list_remove(struct link *link)
{
	link->previous->next = link->next;
	link->next->previous = link->previous;
	link->previous = link->next = link;
}

static inline void list_append(struct link *list, struct link *link)
{
	link->previous = list->previous;
	link->next = list;
	list->previous->next = link;
	list->previous = link;
}

#endif
