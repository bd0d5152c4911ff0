/* An LMDB file with some of its entries changed. */
#include "stored.h"

#include <fcntl.h>
#include <lmdb.h>
#include <unistd.h>

#include "support.h"

enum what { VALUE, EDIT, ENTRY, GONE, END, WHATS };

/* What LMDB gives stands in its map, where no sanitizer sees that somebody reads on behind it. So the code
 * under test gets copies, each in a block of its own, which live until stored_forget(). Linked with
 * --wrap=mdb_get,--wrap=mdb_cursor_get. */
int __real_mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value);
int __wrap_mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value);
int __real_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op);
int __wrap_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op);

struct copy {
	struct copy *next;
	void *bytes;
};
static struct copy *copies;

static void give_copy(MDB_val *value)
{
	struct copy *copy = malloc(sizeof *copy);
	FUZZ_EXPECT(copy);

	copy->bytes = malloc(value->mv_size > 0 ? value->mv_size : 1);
	FUZZ_EXPECT(copy->bytes);
	if (value->mv_size > 0)
		memcpy(copy->bytes, value->mv_data, value->mv_size);
	value->mv_data = copy->bytes;
	copy->next = copies;
	copies = copy;
}

void stored_forget(void)
{
	while (copies) {
		struct copy *copy = copies;

		copies = copy->next;
		free(copy->bytes);
		free(copy);
	}
}

int __wrap_mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *value)
{
	int rc = __real_mdb_get(txn, dbi, key, value);

	if (rc == 0)
		give_copy(value);
	return rc;
}

int __wrap_mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *value, MDB_cursor_op op)
{
	MDB_val found = *key, other = {0};
	int rc = __real_mdb_cursor_get(cursor, &found, value ? value : &other, op);

	if (rc != 0)
		return rc;
	if (found.mv_data != key->mv_data || found.mv_size != key->mv_size)
		give_copy(&found);
	*key = found;
	if (value)
		give_copy(value);
	return 0;
}

static void must(int rc, const char *what)
{
	if (rc != 0)
		support_die("%s: %s", what, mdb_strerror(rc));
}

void stored_keep(struct stored *stored, const char *folder, const char *file,
		 const char *const *tables, unsigned dupsort)
{
	stored->path = support_path(folder, file);
	stored->bytes = support_read_file(stored->path, &stored->length);
	stored->used = stored->length;
	while (stored->used > 0 && stored->bytes[stored->used - 1] == '\0')
		stored->used--;
	stored->tables = tables;
	stored->dupsort = dupsort;
}

void stored_finish(struct stored *stored)
{
	free(stored->path);
	free(stored->bytes);
}

/* In place: the lock file stays as it is. */
static void restore(const struct stored *stored)
{
	int fd = open(stored->path, O_WRONLY | O_CLOEXEC);

	if (fd < 0 || ftruncate(fd, (off_t)stored->used) != 0 ||
	    pwrite(fd, stored->bytes, stored->used, 0) != (ssize_t)stored->used ||
	    ftruncate(fd, (off_t)stored->length) != 0)
		support_die("%s: cannot be written", stored->path);
	close(fd);
}

static size_t take_u16(struct input *input)
{
	size_t high = input_byte(input);

	return high << 8 | input_byte(input);
}

struct piece {
	char *bytes;
	size_t length;
};

static struct piece take_piece(struct input *input)
{
	size_t length = input_byte(input);

	if (length > input->left)
		length = input->left;
	return (struct piece){input_take(input, length), length};
}

/* The cursor on the entry; false if the table is empty. */
static bool find(MDB_txn *txn, MDB_dbi table, size_t number, MDB_cursor **cursor_r, MDB_val *key_r,
		 MDB_val *value_r)
{
	MDB_stat stat;

	must(mdb_stat(txn, table, &stat), "stat");
	if (stat.ms_entries == 0)
		return false;
	must(mdb_cursor_open(txn, table, cursor_r), "cursor");
	for (size_t i = 0; i <= number % stat.ms_entries; i++)
		must(__real_mdb_cursor_get(*cursor_r, key_r, value_r, MDB_NEXT), "next");
	return true;
}

static void put(MDB_txn *txn, MDB_dbi table, MDB_val *key, const void *bytes, size_t length)
{
	MDB_val value = {.mv_data = (void *)bytes, .mv_size = length};

	/* a key or, in a table of sorted values, a value that LMDB does not take is none in a file */
	int rc = mdb_put(txn, table, key, &value, 0);
	if (rc != 0 && rc != MDB_BAD_VALSIZE)
		must(rc, "put");
}

static void edit(MDB_txn *txn, MDB_dbi table, bool sorted, size_t number, struct input *input)
{
	size_t offset = take_u16(input), removed = input_byte(input);
	struct piece piece = take_piece(input);
	MDB_cursor *cursor;
	MDB_val key, value;

	if (find(txn, table, number, &cursor, &key, &value)) {
		char *copy = malloc(key.mv_size + value.mv_size + piece.length + 1);
		FUZZ_EXPECT(copy);
		char *made = copy + key.mv_size;

		offset %= value.mv_size + 1;
		if (removed > value.mv_size - offset)
			removed = value.mv_size - offset;
		size_t rest = value.mv_size - offset - removed;
		memcpy(copy, key.mv_data, key.mv_size);
		memcpy(made, value.mv_data, offset);
		memcpy(made + offset, piece.bytes, piece.length);
		memcpy(made + offset + piece.length, (char *)value.mv_data + offset + removed, rest);
		key.mv_data = copy;
		if (sorted)
			must(mdb_cursor_del(cursor, 0), "delete");
		put(txn, table, &key, made, offset + piece.length + rest);
		mdb_cursor_close(cursor);
		free(copy);
	}
	free(piece.bytes);
}

static void replace(MDB_txn *txn, MDB_dbi table, bool sorted, size_t number, struct input *input)
{
	struct piece piece = take_piece(input);
	MDB_cursor *cursor;
	MDB_val key, value;

	if (find(txn, table, number, &cursor, &key, &value)) {
		char copy[512];
		FUZZ_EXPECT(key.mv_size <= sizeof copy);

		memcpy(copy, key.mv_data, key.mv_size);
		key.mv_data = copy;
		if (sorted)
			must(mdb_cursor_del(cursor, 0), "delete");
		put(txn, table, &key, piece.bytes, piece.length);
		mdb_cursor_close(cursor);
	}
	free(piece.bytes);
}

static void put_entry(MDB_txn *txn, MDB_dbi table, struct input *input)
{
	struct piece key = take_piece(input), value = take_piece(input);
	MDB_val mdb_key = {.mv_data = key.bytes, .mv_size = key.length};

	put(txn, table, &mdb_key, value.bytes, value.length);
	free(key.bytes);
	free(value.bytes);
}

static void delete(MDB_txn *txn, MDB_dbi table, size_t number)
{
	MDB_cursor *cursor;
	MDB_val key, value;

	if (find(txn, table, number, &cursor, &key, &value)) {
		must(mdb_cursor_del(cursor, 0), "delete");
		mdb_cursor_close(cursor);
	}
}

/* False at the end. */
static bool change(const struct stored *stored, MDB_txn *txn, const MDB_dbi *tables, size_t count,
		   struct input *input)
{
	enum what what = input->left < 2 ? END : (enum what)(input_byte(input) % WHATS);
	size_t table = what == END ? 0 : input_byte(input) % count;
	bool sorted = stored->dupsort >> table & 1;

	switch (what) {
	case VALUE:
		replace(txn, tables[table], sorted, take_u16(input), input);
		return true;
	case EDIT:
		edit(txn, tables[table], sorted, take_u16(input), input);
		return true;
	case ENTRY:
		put_entry(txn, tables[table], input);
		return true;
	case GONE:
		delete(txn, tables[table], take_u16(input));
		return true;
	default:
		return false;
	}
}

void stored_change(const struct stored *stored, struct input *input, unsigned most)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi tables[16];
	size_t count = 0;

	restore(stored);
	must(mdb_env_create(&env), "create");
	must(mdb_env_set_maxdbs(env, 16), "tables");
	must(mdb_env_set_mapsize(env, 16 << 20), "size");
	must(mdb_env_open(env, stored->path, MDB_NOSUBDIR | MDB_NOSYNC, 0600), stored->path);
	must(mdb_txn_begin(env, NULL, 0, &txn), "begin");
	for (; stored->tables[count]; count++)
		must(mdb_dbi_open(txn, stored->tables[count], 0, &tables[count]),
		     stored->tables[count]);
	while (most-- > 0 && change(stored, txn, tables, count, input))
		;
	must(mdb_txn_commit(txn), "commit");
	mdb_env_close(env);
}
