/* A table of hashes in sets of eight, one set a cache line. It starts small and grows
 * where new statements push out others; when the directory changes it is small and empty
 * again. */
#include "known.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

enum {
	WAYS = 8,
	SMALLEST = 1 << 9, /* sets: 32 KiB */
	LARGEST = 1 << 18, /* 16 MiB */
	GROWTH = 8,
	/* Once so many in a hundred of the sets had one too many. */
	CROWDED_PERCENT = 5,
	MAX_TEXT = 255,
	HUGE_PAGE = 2 << 20,
};

struct set {
	_Alignas(64) uint64_t statements[WAYS]; /* 0: free */
};

struct known {
	uint64_t key[2];
	uint64_t version;
	struct set *sets;
	size_t count; /* a power of two */
	size_t crowded;
};

static uint64_t rotate(uint64_t word, unsigned bits)
{
	return word << bits | word >> (64 - bits);
}

static void mix(uint64_t v[4], unsigned rounds)
{
	while (rounds-- > 0) {
		v[0] += v[1];
		v[2] += v[3];
		v[1] = rotate(v[1], 13) ^ v[0];
		v[3] = rotate(v[3], 16) ^ v[2];
		v[0] = rotate(v[0], 32);
		v[2] += v[1];
		v[0] += v[3];
		v[1] = rotate(v[1], 17) ^ v[2];
		v[3] = rotate(v[3], 21) ^ v[0];
		v[2] = rotate(v[2], 32);
	}
}

static void absorb(uint64_t v[4], uint64_t word)
{
	v[3] ^= word;
	mix(v, 2);
	v[0] ^= word;
}

static uint64_t read_word(const unsigned char *bytes, size_t length)
{
	uint64_t word = 0;

	for (size_t i = 0; i < length; i++)
		word |= (uint64_t)bytes[i] << 8 * i;
	return word;
}

uint64_t known_hash(const uint64_t key[2], const unsigned char *bytes, size_t length)
{
	uint64_t v[4] = {key[0] ^ 0x736f6d6570736575, key[1] ^ 0x646f72616e646f6d,
		key[0] ^ 0x6c7967656e657261, key[1] ^ 0x7465646279746573};
	size_t left = length;

	for (; left >= 8; left -= 8, bytes += 8)
		absorb(v, read_word(bytes, 8));
	absorb(v, (uint64_t)length << 56 | read_word(bytes, left));
	v[2] ^= 0xff;
	mix(v, 4);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

static struct set *make_sets(size_t count)
{
	size_t size = count * sizeof(struct set);
	bool is_large = size >= HUGE_PAGE;
	struct set *sets = aligned_alloc(is_large ? HUGE_PAGE : _Alignof(struct set), size);

	if (!sets)
		return NULL;
	if (is_large)
		madvise(sets, size, MADV_HUGEPAGE); /* a wish: each look is at another page */
	return memset(sets, 0, size);
}

struct known *known_create(void)
{
	struct known *known = calloc(1, sizeof *known);

	if (!known)
		return NULL;
	known->count = SMALLEST;
	known->sets = make_sets(known->count);
	if (!known->sets ||
		getrandom(known->key, sizeof known->key, 0) != (ssize_t)sizeof known->key)
		known_destroy(&known);
	return known;
}

void known_destroy(struct known **known_p)
{
	struct known *known = *known_p;

	if (!known)
		return;
	free(known->sets);
	free(known);
	*known_p = NULL;
}

void known_at(struct known *known, uint64_t version)
{
	if (known->version == version)
		return;
	known->version = version;
	known->crowded = 0;
	struct set *sets = known->count > SMALLEST ? make_sets(SMALLEST) : NULL;
	if (sets) {
		free(known->sets);
		known->sets = sets;
		known->count = SMALLEST;
	} else {
		memset(known->sets, 0, known->count * sizeof *known->sets);
	}
}

uint64_t known_statement(
	const struct known *known, unsigned kind, const char *text, size_t length)
{
	unsigned char bytes[1 + MAX_TEXT];

	if (length > MAX_TEXT)
		return 0;
	bytes[0] = (unsigned char)kind;
	memcpy(bytes + 1, text, length);
	return known_hash(known->key, bytes, length + 1);
}

static struct set *set_of(const struct known *known, uint64_t statement)
{
	return &known->sets[statement & (known->count - 1)];
}

bool known_has(const struct known *known, uint64_t statement)
{
	const struct set *set = set_of(known, statement);
	bool has = false;

	for (size_t way = 0; way < WAYS; way++)
		has |= set->statements[way] == statement;
	return has && statement != 0;
}

/* False: another one had to go. */
static bool put(struct known *known, uint64_t statement)
{
	struct set *set = set_of(known, statement);

	for (size_t way = 0; way < WAYS; way++)
		if (set->statements[way] == 0) {
			set->statements[way] = statement;
			return true;
		}
	set->statements[statement >> 61] = statement; /* as good as any */
	return false;
}

/* Without memory it stays as it is. */
static void grow(struct known *known)
{
	struct known grown = *known;

	known->crowded = 0;
	grown.count = known->count * GROWTH;
	grown.sets = make_sets(grown.count);
	if (!grown.sets)
		return;
	for (size_t i = 0; i < known->count; i++)
		for (size_t way = 0; way < WAYS; way++)
			if (known->sets[i].statements[way] != 0)
				put(&grown, known->sets[i].statements[way]);
	free(known->sets);
	known->sets = grown.sets;
	known->count = grown.count;
}

void known_add(struct known *known, uint64_t statement)
{
	if (statement == 0 || put(known, statement))
		return;
	known->crowded++;
	if (known->count < LARGEST &&
		known->crowded * 100 > known->count * CROWDED_PERCENT)
		grow(known);
}
