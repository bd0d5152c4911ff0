/* Answers of the router kept from before: a table in which each question has WAYS places, and a
 * new one takes the one that is free, out of date, or longest there. At most SETS * WAYS entries of
 * some 1.5 KiB, most of them of 100 bytes. */
#include "compat.h"

#include "answers.h"

enum { SETS = 1024, WAYS = 4 };

struct entry {
	uint64_t version;
	size_t key_length;
	bool external;
	/* the key, then the account and a NUL */
	unsigned char bytes[];
};

struct set {
	/* Of the keys, so that entries of other questions need not be touched. */
	uint32_t hashes[WAYS];
	struct entry *entries[WAYS];
	unsigned int oldest;
};

struct answers {
	struct set sets[SETS];
};

static bool append(struct answer_key *key, const void *bytes, size_t length)
{
	if (length > sizeof(key->bytes) - key->length)
		return FALSE;
	if (length > 0)
		memcpy(key->bytes + key->length, bytes, length);
	key->length += length;
	return TRUE;
}

bool homing_answer_key(struct answer_key *key, char kind, const struct ip_addr *local_ip,
		       const char *server_name, const char *name)
{
	unsigned char family = 0;

	key->length = 0;
	if (local_ip != NULL && local_ip->family != 0)
		family = IPADDR_IS_V4(local_ip) ? 4 : 6;
	if (server_name == NULL)
		server_name = "";
	return append(key, &kind, 1) && append(key, &family, 1) &&
	       (family == 0 ||
		append(key, &local_ip->u, family == 4 ? sizeof(local_ip->u.ip4)
						      : sizeof(local_ip->u.ip6))) &&
	       append(key, server_name, strlen(server_name) + 1) && append(key, name, strlen(name));
}

/* Eight bytes at a time, multiplied and folded. An attacker who finds names that share a set makes
 * us route, nothing more. */
static uint64_t hash_of(const struct answer_key *key)
{
	uint64_t hash = key->length;

	for (size_t at = 0; at < key->length; at += sizeof(hash)) {
		uint64_t word = 0;
		size_t length = key->length - at;

		memcpy(&word, key->bytes + at, length < sizeof(word) ? length : sizeof(word));
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 32;
	}
	return hash * 0x9e3779b97f4a7c15ULL;
}

bool homing_answers_find(const struct answers *answers, const struct answer_key *key,
			 uint64_t version, struct kept_answer *answer_r)
{
	if (answers == NULL)
		return FALSE;
	uint64_t hash = hash_of(key);
	const struct set *set = &answers->sets[hash >> 32 & (SETS - 1)];
	for (unsigned int way = 0; way < WAYS; way++) {
		const struct entry *entry = set->entries[way];

		if (set->hashes[way] != (uint32_t)hash || entry == NULL ||
		    entry->version != version || entry->key_length != key->length ||
		    memcmp(entry->bytes, key->bytes, key->length) != 0)
			continue;
		answer_r->account = (const char *)entry->bytes + entry->key_length;
		answer_r->external = entry->external;
		return TRUE;
	}
	return FALSE;
}

static unsigned int choose_way(struct set *set, uint64_t version)
{
	for (unsigned int way = 0; way < WAYS; way++) {
		if (set->entries[way] == NULL || set->entries[way]->version != version)
			return way;
	}
	return set->oldest++ % WAYS;
}

void homing_answers_keep(struct answers **answers, const struct answer_key *key, uint64_t version,
			 const struct kept_answer *answer)
{
	size_t account_size = strlen(answer->account) + 1;

	if (*answers == NULL)
		*answers = i_new(struct answers, 1);
	struct entry *entry = i_malloc(sizeof(*entry) + key->length + account_size);
	entry->version = version;
	entry->key_length = key->length;
	entry->external = answer->external;
	memcpy(entry->bytes, key->bytes, key->length);
	memcpy(entry->bytes + key->length, answer->account, account_size);

	uint64_t hash = hash_of(key);
	struct set *set = &(*answers)->sets[hash >> 32 & (SETS - 1)];
	unsigned int way = choose_way(set, version);
	i_free(set->entries[way]);
	set->entries[way] = entry;
	set->hashes[way] = (uint32_t)hash;
}

void homing_answers_free(struct answers **answers)
{
	if (*answers == NULL)
		return;
	for (size_t i = 0; i < SETS; i++) {
		for (unsigned int way = 0; way < WAYS; way++)
			i_free((*answers)->sets[i].entries[way]);
	}
	i_free(*answers);
}
