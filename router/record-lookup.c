/* Finds the first router record that matches a name without looking at all of them: what has no
 * `*`, or one that stands for a whole part, is found by key; only the rest is walked. */
#include <string.h>

#include "directory-private.h"
#include "store.h"

struct search {
	struct directory_reader *reader;
	uint32_t best; /* order of the first match found by key; UINT32_MAX: none */
	struct error *error;
};

static int look(struct search *search, char class, const char *key, size_t length)
{
	char full[1 + NAME_KEY_SIZE];
	MDB_val value;

	if (length >= NAME_KEY_SIZE)
		return 0;
	full[0] = class;
	memcpy(full + 1, key, length);
	int found = store_get(directory_store_reader(search->reader), TABLE_RECORDS, full, 1 + length,
			      &value, search->error);
	if (found <= 0)
		return found;
	struct value_reader rest = {.next = value.mv_data,
				    .end = (unsigned char *)value.mv_data + value.mv_size};
	uint32_t order = value_u32(&rest);
	if (rest.failed || rest.next != rest.end)
		return directory_corrupt(search->error, search->reader, "records", key);
	if (order < search->best)
		search->best = order;
	return 0;
}

/* `local@domain`, `local@*`, `domain`, and `*.suffix` for every suffix. */
static int look_by_key(struct search *search, const uint32_t *counts, const char *folded,
		       const char *domain)
{
	if (folded && counts[RECORD_X]) {
		char key[NAME_KEY_SIZE];
		size_t local_length = strlen(folded), domain_length = strlen(domain);

		memcpy(key, folded, local_length + 1);
		memcpy(key + local_length + 1, domain, domain_length);
		if (look(search, 'x', key, local_length + 1 + domain_length) < 0)
			return -1;
	}
	if (folded && counts[RECORD_U] && look(search, 'u', folded, strlen(folded)) < 0)
		return -1;
	if (counts[RECORD_D] && look(search, 'd', domain, strlen(domain)) < 0)
		return -1;
	if (!counts[RECORD_S])
		return 0;
	for (const char *dot = strchr(domain, '.'); dot; dot = strchr(dot + 1, '.'))
		if (look(search, 's', dot + 1, strlen(dot + 1)) < 0)
			return -1;
	return 0;
}

/* The remaining ones, as long as they stand before what was found by key. */
static int walk_rest(struct search *search, const char *local, const char *folded,
		     const char *domain, struct record *record_r)
{
	MDB_val value;
	int found = store_get(directory_store_reader(search->reader), TABLE_RECORDS, "g", 1, &value,
			      search->error);

	if (found <= 0)
		return found;
	struct value_reader rest = {.next = value.mv_data,
				    .end = (unsigned char *)value.mv_data + value.mv_size};
	while (rest.next != rest.end) {
		uint32_t order = value_u32(&rest);
		struct record record = {.match = value_string(&rest, NULL)};

		record.to = value_string(&rest, NULL);
		if (rest.failed)
			return directory_corrupt(search->error, search->reader, "records", "g");
		if (order >= search->best)
			return 0;
		if (record_matches(&record, local, folded, domain)) {
			*record_r = record;
			search->best = order;
			return 1;
		}
	}
	return 0;
}

static int read_record(struct search *search, struct record *record_r)
{
	const unsigned char key[5] = {'o', (unsigned char)(search->best >> 24),
				      (unsigned char)(search->best >> 16),
				      (unsigned char)(search->best >> 8),
				      (unsigned char)search->best};
	MDB_val value;
	int found = store_get(directory_store_reader(search->reader), TABLE_RECORDS, key, sizeof key,
			      &value, search->error);

	if (found < 0)
		return -1;
	struct value_reader rest = {0};
	if (found)
		rest = (struct value_reader){.next = value.mv_data,
					     .end = (unsigned char *)value.mv_data + value.mv_size};
	record_r->match = value_string(&rest, NULL);
	record_r->to = value_string(&rest, NULL);
	if (rest.failed)
		return directory_corrupt(search->error, search->reader, "records",
					 "a record that an index names");
	return 1;
}

int record_find(struct directory_reader *reader, const char *local, const char *folded,
		const char *domain, struct record *record_r, uint32_t *order_r,
		struct error *error)
{
	const struct routing_header *header = directory_header(reader, error);
	struct search search = {.reader = reader, .best = UINT32_MAX, .error = error};

	if (!header || look_by_key(&search, header->records, folded, domain) < 0)
		return -1;
	int found = header->records[RECORD_G]
			    ? walk_rest(&search, local, folded, domain, record_r)
			    : 0;
	if (found == 0 && search.best != UINT32_MAX)
		found = read_record(&search, record_r);
	if (found == 1)
		*order_r = search.best;
	return found;
}
