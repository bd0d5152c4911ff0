/* Answers of the router kept from before. What a lookup costs is the lines and pages of memory that it
 * touches, so all is packed: a table of hashes in which each question has WAYS places, a new one
 * taking the one that is free or longest there, and the entries one after the other. When these
 * are full, or of an old directory, all begins again. */
#include "compat.h"

#include <stdlib.h>

#include "answers.h"

enum { SETS = 1024, WAYS = 4, ROOM = 1 << 18 };

struct entry {
	uint16_t key_length;
	/* of the account, as a string: in the key where it is the name, as for most people */
	uint16_t account_at;
	bool external;
	char bytes[]; /* the key and a NUL; the account and a NUL */
};

/* Half a line of the processor's cache. */
struct set {
	uint32_t hashes[WAYS];
	uint32_t entries[WAYS]; /* place in `room`; 0 is none. The oldest stands last. */
};

struct answers {
	uint64_t version; /* of all that is kept */
	size_t used;	  /* of the room */
	struct set sets[SETS] __attribute__((aligned(64)));
	char room[ROOM] __attribute__((aligned(64)));
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

static size_t set_of(uint64_t hash)
{
	return hash >> 32 & (SETS - 1);
}

bool homing_answer_key(const struct answers *answers, struct answer_key *key, char kind,
		       const struct ip_addr *local_ip, const char *server_name, const char *name)
{
	unsigned char family = 0;

	key->length = 0;
	if (local_ip != NULL && local_ip->family != 0)
		family = IPADDR_IS_V4(local_ip) ? 4 : 6;
	if (server_name == NULL)
		server_name = "";
	key->name_length = strlen(name);
	bool fits = append(key, &kind, 1) && append(key, &family, 1) &&
		    (family == 0 ||
		     append(key, &local_ip->u, family == 4 ? sizeof(local_ip->u.ip4)
							   : sizeof(local_ip->u.ip6))) &&
		    append(key, server_name, strlen(server_name) + 1) &&
		    append(key, name, key->name_length);
	if (!fits)
		return FALSE;
	key->hash = hash_of(key);
	if (answers != NULL)
		__builtin_prefetch(&answers->sets[set_of(key->hash)]);
	return TRUE;
}

static const struct entry *entry_at(const struct answers *answers, uint32_t place)
{
	return (const struct entry *)(answers->room + place);
}

bool homing_answers_find(const struct answers *answers, const struct answer_key *key,
			 uint64_t version, struct kept_answer *answer_r)
{
	if (answers == NULL || answers->version != version)
		return FALSE;
	const struct set *set = &answers->sets[set_of(key->hash)];
	for (unsigned int way = 0; way < WAYS && set->entries[way] != 0; way++) {
		const struct entry *entry = entry_at(answers, set->entries[way]);

		if (set->hashes[way] != (uint32_t)key->hash || entry->key_length != key->length ||
		    memcmp(entry->bytes, key->bytes, key->length) != 0)
			continue;
		answer_r->account = entry->bytes + entry->account_at;
		answer_r->external = entry->external;
		return TRUE;
	}
	return FALSE;
}

static void begin_again(struct answers *answers, uint64_t version)
{
	memset(answers->sets, 0, sizeof(answers->sets));
	answers->version = version;
	answers->used = sizeof(struct entry); /* place 0 is none */
}

/* Room for an entry in its set, where it becomes the newest. */
static struct entry *add_entry(struct answers *answers, uint64_t hash, size_t size)
{
	struct set *set = &answers->sets[set_of(hash)];

	memmove(set->hashes + 1, set->hashes, sizeof(set->hashes) - sizeof(set->hashes[0]));
	memmove(set->entries + 1, set->entries, sizeof(set->entries) - sizeof(set->entries[0]));
	set->hashes[0] = (uint32_t)hash;
	set->entries[0] = answers->used;
	answers->used += size;
	return (struct entry *)(answers->room + set->entries[0]);
}

void homing_answers_keep(struct answers **_answers, const struct answer_key *key, uint64_t version,
			 const struct kept_answer *answer)
{
	struct answers *answers = *_answers;
	const unsigned char *name = key->bytes + key->length - key->name_length;
	size_t account_length = strlen(answer->account);
	bool same = account_length == key->name_length &&
		    memcmp(name, answer->account, account_length) == 0;
	size_t size = sizeof(struct entry) + key->length + 1 + (same ? 0 : account_length + 1);

	if (answers == NULL) {
		answers = *_answers = aligned_alloc(_Alignof(struct answers), sizeof(*answers));
		if (answers == NULL)
			return; /* without memory nothing is kept */
		begin_again(answers, version);
	}
	size = (size + _Alignof(struct entry) - 1) & ~(_Alignof(struct entry) - 1);
	if (answers->version != version || answers->used + size > sizeof(answers->room))
		begin_again(answers, version);
	struct entry *entry = add_entry(answers, key->hash, size);
	entry->key_length = key->length;
	entry->account_at = same ? key->length - key->name_length : key->length + 1;
	entry->external = answer->external;
	memcpy(entry->bytes, key->bytes, key->length);
	entry->bytes[key->length] = '\0';
	if (!same)
		memcpy(entry->bytes + key->length + 1, answer->account, account_length + 1);
}

void homing_answers_free(struct answers **answers)
{
	free(*answers);
	*answers = NULL;
}
