/* Many keys and values for one table, written in the order of their keys. */
#include "directory-batch.h"

#include <stdlib.h>
#include <string.h>

void batch_add(struct batch *batch, const void *key, size_t key_length, const void *value,
	       size_t value_length)
{
	if (batch->bytes.failed)
		return;
	if (batch->count == batch->size) {
		size_t size = batch->size ? batch->size * 2 : 256;
		struct batch_item *grown = realloc(batch->items, size * sizeof *grown);

		if (!grown) {
			batch->bytes.failed = true;
			return;
		}
		batch->items = grown;
		batch->size = size;
	}
	batch->items[batch->count++] = (struct batch_item){
		.offset = batch->bytes.length,
		.key_length = (uint32_t)key_length,
		.value_length = (uint32_t)value_length,
	};
	value_put(&batch->bytes, key, key_length);
	value_put(&batch->bytes, value, value_length);
}

/* As LMDB compares keys. */
static int compare_keys(const unsigned char *bytes, const struct batch_item *a,
			const struct batch_item *b)
{
	size_t common = a->key_length < b->key_length ? a->key_length : b->key_length;
	int order = memcmp(bytes + a->offset, bytes + b->offset, common);

	if (order != 0 || a->key_length == b->key_length)
		return order;
	return a->key_length < b->key_length ? -1 : 1;
}

static int compare_items(const void *left, const void *right, void *context)
{
	const struct batch_item *a = left, *b = right;
	int order = compare_keys(context, a, b);

	return order != 0 ? order : a->offset < b->offset ? -1 : 1;
}

/* Does every key of the batch come behind the last one of the table? */
static int can_append(const struct batch *batch, MDB_cursor *cursor, bool *append_r)
{
	const struct batch_item *first = &batch->items[0];
	MDB_val key, value;
	int rc = mdb_cursor_get(cursor, &key, &value, MDB_LAST);

	*append_r = rc == MDB_NOTFOUND;
	if (rc != 0)
		return rc == MDB_NOTFOUND ? 0 : rc;
	size_t common = key.mv_size < first->key_length ? key.mv_size : first->key_length;
	int order = memcmp(key.mv_data, batch->bytes.data + first->offset, common);
	*append_r = order < 0 || (order == 0 && key.mv_size < first->key_length);
	return 0;
}

/* The first byte of such a key is no part of the name. */
static int twice(struct edit *edit, const MDB_val *key, const char *what)
{
	return error_set(edit->error, ERROR_EXISTS, "%s is there twice: \"%.*s\"", what,
			 (int)key->mv_size - 1, (const char *)key->mv_data + 1);
}

static int write_items(struct batch *batch, struct edit *edit, MDB_cursor *cursor,
		       enum batch_rule rule, const char *what)
{
	bool append;
	int rc = can_append(batch, cursor, &append);
	unsigned flags = append ? MDB_APPEND : rule == BATCH_ONCE ? MDB_NOOVERWRITE : 0;

	for (size_t i = 0; rc == 0 && i < batch->count; i++) {
		const struct batch_item *item = &batch->items[i];
		unsigned char *bytes = batch->bytes.data + item->offset;
		MDB_val key = {.mv_data = bytes, .mv_size = item->key_length};
		MDB_val value = {.mv_data = bytes + item->key_length,
				 .mv_size = item->value_length};
		bool again = i > 0 && compare_keys(batch->bytes.data, item - 1, item) == 0;

		if (again && rule == BATCH_ONCE)
			return twice(edit, &key, what);
		if (again && rule == BATCH_FIRST)
			continue;
		rc = mdb_cursor_put(cursor, &key, &value, flags);
		if (rc == MDB_KEYEXIST)
			return twice(edit, &key, what);
	}
	if (rc != 0)
		return store_writer_failed(edit->error, edit->txn, rc, "put");
	edit->changed = true;
	return 0;
}

int batch_write(struct batch *batch, struct edit *edit, unsigned table, enum batch_rule rule,
		const char *what)
{
	MDB_cursor *cursor;
	int answer = 0;

	if (batch->bytes.failed)
		return error_set(edit->error, ERROR_MEMORY, "out of memory");
	if (batch->count > 0) {
		qsort_r(batch->items, batch->count, sizeof *batch->items, compare_items,
			batch->bytes.data);
		int rc = mdb_cursor_open(edit->txn, edit->tables[table], &cursor);
		if (rc != 0)
			return store_writer_failed(edit->error, edit->txn, rc, "put");
		answer = write_items(batch, edit, cursor, rule, what);
		mdb_cursor_close(cursor);
	}
	batch_finish(batch);
	return answer;
}

void batch_finish(struct batch *batch)
{
	free(batch->bytes.data);
	free(batch->items);
	*batch = (struct batch){0};
}
