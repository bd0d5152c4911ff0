/* Each name has WAYS places, all in one set, so that neither finding nor replacing ever looks
 * further. A name costs its own bytes alone. */
#include "userdb-kept.h"

#include <stdlib.h>
#include <string.h>

enum { WAYS = 4 };

struct entry {
	uint64_t hash;
	uint64_t end;
	char *name; /* NULL: free */
	bool exists;
};

struct userdb_kept {
	uint64_t seed;
	size_t sets, ways;
	struct entry entries[];
};

struct userdb_kept *userdb_kept_create(size_t max)
{
	size_t ways = max < WAYS ? max : WAYS;
	size_t sets = ways > 0 ? max / ways : 0;
	struct userdb_kept *kept = calloc(1, sizeof *kept + sets * ways * sizeof kept->entries[0]);

	if (!kept)
		return NULL;
	kept->sets = sets;
	kept->ways = ways;
	/* Names that share a set can be found by who knows the seed. It would win him little: answers
	 * that are asked for again. */
	kept->seed = (uintptr_t)kept * 0x9e3779b97f4a7c15u;
	return kept;
}

void userdb_kept_destroy(struct userdb_kept **kept_p)
{
	struct userdb_kept *kept = *kept_p;

	if (!kept)
		return;
	for (size_t i = 0; i < kept->sets * kept->ways; i++)
		free(kept->entries[i].name);
	free(kept);
	*kept_p = NULL;
}

/* FNV-1a from a seed, with a last round that carries every bit to every other one. */
static uint64_t hash_of(const struct userdb_kept *kept, const char *name)
{
	uint64_t hash = kept->seed ^ 0xcbf29ce484222325u;

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
	hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15u;
	return hash ^ hash >> 32;
}

static bool is_of(const struct entry *entry, uint64_t hash, const char *name)
{
	return entry->name && entry->hash == hash && strcmp(entry->name, name) == 0;
}

bool userdb_kept_find(const struct userdb_kept *kept, const char *name, uint64_t now,
		      bool *exists_r)
{
	if (kept->sets == 0)
		return false;
	uint64_t hash = hash_of(kept, name);
	const struct entry *set = &kept->entries[hash % kept->sets * kept->ways];
	for (size_t way = 0; way < kept->ways; way++) {
		if (!is_of(&set[way], hash, name))
			continue;
		*exists_r = set[way].exists;
		return now < set[way].end;
	}
	return false;
}

/* The place of the name: where it is, or where it would go, at the cost of another one. */
static struct entry *place_for(struct userdb_kept *kept, uint64_t hash, const char *name)
{
	struct entry *set = &kept->entries[hash % kept->sets * kept->ways];
	struct entry *place = set;

	for (size_t way = 0; way < kept->ways; way++) {
		if (is_of(&set[way], hash, name))
			return &set[way];
		if (!set[way].name || (place->name && set[way].end < place->end))
			place = &set[way];
	}
	return place;
}

void userdb_kept_put(struct userdb_kept *kept, const char *name, bool exists, uint64_t now,
		     uint64_t end)
{
	if (kept->sets == 0)
		return;
	uint64_t hash = hash_of(kept, name);
	struct entry *entry = place_for(kept, hash, name);
	if (end <= now) {
		if (is_of(entry, hash, name)) {
			free(entry->name);
			entry->name = NULL;
		}
		return;
	}
	if (!is_of(entry, hash, name)) {
		free(entry->name);
		entry->name = strdup(name);
		entry->hash = hash;
	}
	entry->exists = exists;
	entry->end = end;
}
