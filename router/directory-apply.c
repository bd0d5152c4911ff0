/* homing.json into the directory: finds what differs, and writes that alone. The tables `hosts`
 * and `networks` and the rules in `names` are made of the domains, so what a changed domain had
 * there goes before what any domain now has there comes: a name may move from one to another. The
 * router records are written as a whole if one of them differs, because their numbers are their
 * order. */
#include "directory-write.h"

#include <stdlib.h>
#include <string.h>

#include "config.h"
#include "directory-apply-check.h"
#include "directory-batch.h"
#include "directory-derived.h"
#include "directory-diff.h"
#include "directory-edit.h"
#include "record.h"

struct apply {
	const struct config *config;
	bool dry_run;
	struct diff diff;
	struct edit *edit;
	/* What differs. */
	size_t *put; /* numbers of the domains to write */
	size_t put_count;
	struct string_set gone; /* domains that are no more */
	struct string_set stale; /* the values that those and changed ones had */
	bool records_differ, header_differs;
	struct value_writer value, rules; /* used again for each value */
};

static int out_of_memory(struct apply *apply)
{
	return error_set(apply->edit->error, ERROR_MEMORY, "out of memory");
}

static struct value_reader reader_of(const MDB_val *value)
{
	const unsigned char *start = value->mv_data;

	return (struct value_reader){.next = start, .end = start + value->mv_size};
}

/* Values as directory-format.h has them, into apply->value. */

static void put_strings(struct value_writer *value, const struct config_list *list)
{
	value_put_u32(value, (uint32_t)list->count);
	for (size_t i = 0; i < list->count; i++)
		value_put_string(value, list->items[i]);
}

static MDB_val finish_value(const struct value_writer *value)
{
	return (MDB_val){.mv_data = value->data, .mv_size = value->length};
}

static MDB_val domain_value(struct apply *apply, const struct config_domain *domain)
{
	struct value_writer *value = &apply->value;

	value->length = 0;
	value_put_u8(value, (uint8_t)domain->accounts);
	value_put_u8(value, (uint8_t)domain->unknown);
	value_put_u8(value, (uint8_t)domain->delimiter);
	value_put_string(value, domain->unknown == 't' ? domain->reroute : "");
	put_strings(value, &domain->aliases);
	value_put_u32(value, (uint32_t)domain->address_count);
	for (size_t i = 0; i < domain->address_count; i++) {
		char text[IP_TEXT_SIZE];

		value_put_string(value, ip_prefix_format(&domain->addresses[i], text));
	}
	put_strings(value, &domain->server_names);
	put_strings(value, &domain->administrators);
	return finish_value(value);
}

static MDB_val record_value(struct apply *apply, const struct config_record *record)
{
	apply->value.length = 0;
	value_put_string(&apply->value, record->match);
	value_put_string(&apply->value, record->to);
	return finish_value(&apply->value);
}

static MDB_val header_value(struct apply *apply)
{
	const struct config *config = apply->config;
	uint32_t classes[RECORD_CLASSES] = {0};
	unsigned char lengths[17] = {0};
	char key[NAME_KEY_SIZE];
	size_t key_length;

	for (size_t i = 0; i < config->record_count; i++)
		classes[record_class(config->records[i].match, key, &key_length)]++;
	for (size_t i = 0; i < config->domain_count; i++)
		for (size_t j = 0; j < config->domains[i].address_count; j++) {
			unsigned length = config->domains[i].addresses[j].length;
			lengths[length / 8] |= (unsigned char)(1u << length % 8);
		}
	apply->value.length = 0;
	value_put_string(&apply->value, config->main_domain);
	value_put_string(&apply->value, config->home);
	value_put_string(&apply->value, config->uid);
	value_put_string(&apply->value, config->gid);
	for (unsigned i = 0; i < RECORD_CLASSES; i++)
		value_put_u32(&apply->value, classes[i]);
	value_put(&apply->value, lengths, sizeof lengths);
	return finish_value(&apply->value);
}

static bool is_same(const MDB_val *a, const MDB_val *b)
{
	return a->mv_size == b->mv_size && memcmp(a->mv_data, b->mv_data, a->mv_size) == 0;
}

/* Finding what differs. Nothing is written meanwhile, so that values stay where they are. Where
 * there is no directory yet, there is no transaction, and everything is new. */

static int compare_header(struct apply *apply)
{
	static const char *const keys[] = {"main_domain", "account_defaults.home",
					   "account_defaults.uid", "account_defaults.gid"};
	const struct config *config = apply->config;
	const char *const texts[] = {config->main_domain, config->home, config->uid, config->gid};
	MDB_val new = header_value(apply), old;
	int found = apply->edit->txn ? edit_get(apply->edit, TABLE_META, "routing", 7, &old) : 0;

	if (found < 0)
		return -1;
	apply->header_differs = found == 0 || !is_same(&old, &new);
	struct value_reader rest = {0};
	if (found > 0)
		rest = reader_of(&old);
	for (size_t i = 0; i < sizeof keys / sizeof *keys; i++)
		if (diff_text(&apply->diff, keys[i], value_string(&rest, NULL), texts[i]) < 0)
			return -1;
	return 0;
}

static int add_stale(struct apply *apply, const MDB_val *value)
{
	/* equal values of two domains have nothing in them that would have to go twice */
	return string_set_add(&apply->stale, value->mv_data, value->mv_size) < 0
		       ? out_of_memory(apply)
		       : 0;
}

static int note_gone(struct apply *apply, const MDB_val *key, const MDB_val *value)
{
	char name[DOMAIN_SIZE];

	if (key->mv_size > DOMAIN_MAX_BYTES)
		return error_set(apply->edit->error, ERROR_CORRUPT, "domains: a key is no domain name");
	memcpy(name, key->mv_data, key->mv_size);
	name[key->mv_size] = '\0';
	if (string_set_add(&apply->gone, key->mv_data, key->mv_size) < 0)
		return out_of_memory(apply);
	if (add_stale(apply, value) < 0)
		return -1;
	return diff_domain(&apply->diff, name, value, NULL);
}

/* `old` NULL: a new domain. */
static int note_domain(struct apply *apply, size_t number, const MDB_val *old)
{
	const struct config_domain *domain = &apply->config->domains[number];
	MDB_val new = domain_value(apply, domain);

	if (old && is_same(old, &new))
		return 0;
	apply->put[apply->put_count++] = number;
	if (old && add_stale(apply, old) < 0)
		return -1;
	return diff_domain(&apply->diff, domain->name, old, &new);
}

static int compare_key(const MDB_val *key, const char *name)
{
	size_t length = strlen(name), common = key->mv_size < length ? key->mv_size : length;
	int order = memcmp(key->mv_data, name, common);

	return order != 0 ? order : key->mv_size < length ? -1 : key->mv_size > length;
}

/* Both sides are sorted: one walk along the two. */
static int walk_domains(struct apply *apply, MDB_cursor *cursor)
{
	const struct config *config = apply->config;
	MDB_val key, value;
	size_t number = 0;
	int answer = 0, rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);

	while (answer == 0 && (rc == 0 || (rc == MDB_NOTFOUND && number < config->domain_count))) {
		int order = rc != 0                           ? 1
			    : number == config->domain_count ? -1
							      : compare_key(&key, config->domains[number].name);

		if (order < 0)
			answer = note_gone(apply, &key, &value);
		else
			answer = note_domain(apply, number++, order == 0 ? &value : NULL);
		if (order <= 0)
			rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	if (answer == 0 && rc != MDB_NOTFOUND)
		return store_writer_failed(apply->edit->error, apply->edit->txn, rc, "read on");
	return answer;
}

static int note_all_domains(struct apply *apply)
{
	int answer = 0;

	for (size_t i = 0; answer == 0 && i < apply->config->domain_count; i++)
		answer = note_domain(apply, i, NULL);
	return answer;
}

static int compare_domains(struct apply *apply)
{
	MDB_cursor *cursor;

	apply->put = calloc(apply->config->domain_count + 1, sizeof *apply->put);
	if (!apply->put)
		return out_of_memory(apply);
	if (!apply->edit->txn)
		return note_all_domains(apply);
	int rc = mdb_cursor_open(apply->edit->txn, apply->edit->tables[TABLE_DOMAINS], &cursor);
	if (rc != 0)
		return store_writer_failed(apply->edit->error, apply->edit->txn, rc, "read on");
	int answer = walk_domains(apply, cursor);
	mdb_cursor_close(cursor);
	return answer;
}

struct records {
	MDB_val *items;
	size_t count;
};

/* The records of the directory, in their order. */
static int read_records(struct apply *apply, struct records *records)
{
	MDB_val key = {.mv_data = (void *)"o", .mv_size = 1}, value;
	MDB_cursor *cursor;
	int rc = mdb_cursor_open(apply->edit->txn, apply->edit->tables[TABLE_RECORDS], &cursor);

	if (rc != 0)
		return store_writer_failed(apply->edit->error, apply->edit->txn, rc, "read on");
	rc = mdb_cursor_get(cursor, &key, &value, MDB_SET_RANGE);
	for (size_t size = 0; rc == 0 && *(char *)key.mv_data == 'o';) {
		if (records->count == size) {
			size = size ? size * 2 : 64;
			MDB_val *grown = realloc(records->items, size * sizeof *grown);
			if (!grown) {
				mdb_cursor_close(cursor);
				return out_of_memory(apply);
			}
			records->items = grown;
		}
		records->items[records->count++] = value;
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	return rc == 0 || rc == MDB_NOTFOUND
		       ? 0
		       : store_writer_failed(apply->edit->error, apply->edit->txn, rc, "read on");
}

static bool same_record(struct apply *apply, const MDB_val *old, size_t number)
{
	MDB_val new = record_value(apply, &apply->config->records[number]);

	return is_same(old, &new);
}

/* Tells what lies between the records that both have at the front and at the end. */
static int compare_lists(struct apply *apply, const struct records *old)
{
	size_t old_end = old->count, new_end = apply->config->record_count, start = 0;

	while (start < old_end && start < new_end && same_record(apply, &old->items[start], start))
		start++;
	while (old_end > start && new_end > start &&
	       same_record(apply, &old->items[old_end - 1], new_end - 1)) {
		old_end--;
		new_end--;
	}
	apply->records_differ = old_end > start || new_end > start;
	for (size_t i = start; i < old_end || i < new_end; i++) {
		MDB_val new = {0};

		if (i < new_end)
			new = record_value(apply, &apply->config->records[i]);
		if (i < old_end && i < new_end && is_same(&old->items[i], &new))
			continue;
		if (diff_record(&apply->diff, i, i < old_end ? &old->items[i] : NULL,
				i < new_end ? &new : NULL) < 0)
			return -1;
	}
	return 0;
}

static int compare_records(struct apply *apply)
{
	struct records old = {0};
	int answer = apply->edit->txn ? read_records(apply, &old) : 0;

	if (answer == 0)
		answer = compare_lists(apply, &old);
	free(old.items);
	return answer;
}

/* Writing it. */

static int remove_old(struct apply *apply)
{
	for (size_t i = 0; i < apply->stale.count; i++)
		if (derived_remove(apply->edit, &apply->stale.items[i]) < 0)
			return -1;
	for (size_t i = 0; i < apply->gone.count; i++) {
		const struct string_set_item *name = &apply->gone.items[i];

		/* a set's strings end in a NUL, and that makes the key in `names` */
		if (edit_delete(apply->edit, TABLE_DOMAINS, name->bytes, name->length, NULL) < 0 ||
		    edit_delete(apply->edit, TABLE_NAMES, name->bytes, name->length + 1, NULL) < 0)
			return -1;
	}
	return 0;
}

static int put_domains(struct apply *apply)
{
	struct batch domains = {0}, names = {0}, hosts = {0}, networks = {0};

	for (size_t i = 0; i < apply->put_count; i++) {
		const struct config_domain *domain = &apply->config->domains[apply->put[i]];
		MDB_val value = domain_value(apply, domain);

		batch_add(&domains, domain->name, strlen(domain->name), value.mv_data, value.mv_size);
		derived_rules(&value, &apply->rules);
		/* with its NUL, the name is its key in `names` */
		batch_add(&names, domain->name, strlen(domain->name) + 1, apply->rules.data,
			  apply->rules.length);
		derived_add(domain, &hosts, &networks);
	}
	int answer = batch_write(&domains, apply->edit, TABLE_DOMAINS, BATCH_REPLACE, "a domain");
	if (answer == 0)
		answer = batch_write(&names, apply->edit, TABLE_NAMES, BATCH_REPLACE, "a domain");
	if (answer == 0)
		answer = batch_write(&hosts, apply->edit, TABLE_HOSTS, BATCH_ONCE,
				     "a domain alias or server name");
	if (answer == 0)
		answer = batch_write(&networks, apply->edit, TABLE_NETWORKS, BATCH_ONCE, "an address");
	batch_finish(&domains);
	batch_finish(&names);
	batch_finish(&hosts);
	batch_finish(&networks);
	return answer;
}

static void add_record(struct apply *apply, size_t number, struct batch *batch,
		       struct value_writer *rest)
{
	static const char letters[RECORD_CLASSES] = {
		[RECORD_X] = 'x', [RECORD_U] = 'u', [RECORD_D] = 'd', [RECORD_S] = 's', [RECORD_G] = 'g'};
	const struct config_record *record = &apply->config->records[number];
	MDB_val value = record_value(apply, record);
	const unsigned char order_key[5] = {'o', (unsigned char)(number >> 24),
					    (unsigned char)(number >> 16),
					    (unsigned char)(number >> 8), (unsigned char)number};
	const unsigned char order[4] = {(unsigned char)number, (unsigned char)(number >> 8),
					(unsigned char)(number >> 16), (unsigned char)(number >> 24)};
	char key[1 + NAME_KEY_SIZE];
	size_t key_length;

	batch_add(batch, order_key, sizeof order_key, value.mv_data, value.mv_size);
	enum record_class class = record_class(record->match, key + 1, &key_length);
	if (class == RECORD_G) {
		value_put(rest, order, sizeof order);
		value_put(rest, value.mv_data, value.mv_size);
		return;
	}
	key[0] = letters[class];
	batch_add(batch, key, 1 + key_length, order, sizeof order);
}

static int put_records(struct apply *apply)
{
	struct edit *edit = apply->edit;
	struct batch batch = {0};
	struct value_writer rest = {0};
	int rc = mdb_drop(edit->txn, edit->tables[TABLE_RECORDS], 0);

	if (rc != 0)
		return store_writer_failed(edit->error, edit->txn, rc, "delete the router records");
	edit->changed = true;
	for (size_t i = 0; i < apply->config->record_count; i++)
		add_record(apply, i, &batch, &rest);
	if (rest.length > 0)
		batch_add(&batch, "g", 1, rest.data, rest.length);
	int answer = rest.failed ? out_of_memory(apply)
				 : batch_write(&batch, edit, TABLE_RECORDS, BATCH_FIRST, "a record");
	batch_finish(&batch);
	free(rest.data);
	return answer;
}

static int write_differences(struct apply *apply)
{
	if (remove_old(apply) < 0 || put_domains(apply) < 0)
		return -1;
	if (apply->records_differ && put_records(apply) < 0)
		return -1;
	if (apply->header_differs) {
		MDB_val value = header_value(apply);

		if (edit_put(apply->edit, TABLE_META, "routing", 7, value.mv_data, value.mv_size) < 0)
			return -1;
	}
	return apply->value.failed || apply->rules.failed ? out_of_memory(apply)
							  : edit_answer(apply->edit);
}

static int find_differences(struct apply *apply)
{
	if (compare_header(apply) < 0 || compare_domains(apply) < 0 || compare_records(apply) < 0)
		return -1;
	return apply->value.failed ? out_of_memory(apply) : 0;
}

static void forget_differences(struct apply *apply)
{
	free(apply->put);
	apply->put = NULL;
	apply->put_count = 0;
	string_set_finish(&apply->gone);
	string_set_finish(&apply->stale);
}

static int change_apply(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	struct apply *apply = context;
	struct edit edit = {.txn = txn, .tables = tables, .error = error};

	apply->edit = &edit;
	apply->diff.error = error;
	int answer = find_differences(apply);
	apply->diff.change = NULL; /* told once, however often the map has to grow */
	if (answer == 0)
		answer = apply->dry_run ? 1 : write_differences(apply);
	forget_differences(apply);
	return answer;
}

int directory_apply(struct directory_writer *writer, const struct config *config, bool dry_run,
		    config_change_cb *change, void *context, struct error *error)
{
	struct apply apply = {
		.config = config,
		.dry_run = dry_run,
		.diff = {.change = change, .context = context},
	};

	if (!writer && !dry_run)
		return error_set(error, ERROR_INVALID, "no directory to write to");
	if (apply_check(config, error) < 0)
		return -1;
	int answer = writer ? store_write(writer->names, change_apply, &apply, error)
			    : change_apply(NULL, NULL, &apply, error);
	free(apply.value.data);
	free(apply.rules.data);
	return answer < 0 ? -1 : 0;
}
