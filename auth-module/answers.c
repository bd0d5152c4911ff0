/* Answers of the router kept from before: a table in which each question has one place, and a
 * new one takes it. At most PLACES entries of some 1.5 KiB, most of them of 100 bytes. */
#include "compat.h"

#include "answers.h"

#define PLACES 4096

struct entry {
	uint64_t version;
	size_t key_length;
	bool external;
	/* the key, then the account and a NUL */
	unsigned char bytes[];
};

struct answers {
	struct entry *places[PLACES];
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

/* FNV-1a. An attacker who finds names that share a place makes us route, nothing more. */
static size_t place_of(const struct answer_key *key)
{
	uint64_t hash = 14695981039346656037ULL;

	for (size_t i = 0; i < key->length; i++)
		hash = (hash ^ key->bytes[i]) * 1099511628211ULL;
	return (hash ^ hash >> 32) % PLACES;
}

bool homing_answers_find(const struct answers *answers, const struct answer_key *key,
			 uint64_t version, struct kept_answer *answer_r)
{
	if (answers == NULL)
		return FALSE;
	const struct entry *entry = answers->places[place_of(key)];
	if (entry == NULL || entry->version != version || entry->key_length != key->length ||
	    memcmp(entry->bytes, key->bytes, key->length) != 0)
		return FALSE;
	answer_r->account = (const char *)entry->bytes + entry->key_length;
	answer_r->external = entry->external;
	return TRUE;
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

	struct entry **place = &(*answers)->places[place_of(key)];
	i_free(*place);
	*place = entry;
}

void homing_answers_free(struct answers **answers)
{
	if (*answers == NULL)
		return;
	for (size_t i = 0; i < PLACES; i++)
		i_free((*answers)->places[i]);
	i_free(*answers);
}
