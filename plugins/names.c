/* A sorted tree of mailbox names. */
#include "compat.h"

#include <imap-match.h>

#include "names.h"

struct names_builder {
	struct names *names;
	ARRAY(struct name) added;
	size_t top;
};

struct names_builder *names_builder_create(char separator, size_t top)
{
	pool_t pool = pool_alloconly_create(MEMPOOL_GROWING "homing names", 4096);
	struct names_builder *builder = i_new(struct names_builder, 1);

	builder->names = p_new(pool, struct names, 1);
	builder->names->refcount = 1;
	builder->names->pool = pool;
	builder->names->separator = separator;
	builder->top = top;
	i_array_init(&builder->added, 64);
	return builder;
}

void names_builder_add(struct names_builder *builder, const struct name *name)
{
	struct name *added = array_append_space(&builder->added);

	*added = *name;
	added->vname = p_strdup(builder->names->pool, name->vname);
	added->owner = p_strdup(builder->names->pool, name->owner);
}

static int compare(unsigned char a, unsigned char b, unsigned char separator)
{
	if (a == b)
		return 0;
	/* the end of a name comes before the separator, that before everything else */
	if (a == '\0' || (a == separator && b != '\0'))
		return -1;
	if (b == '\0' || b == separator)
		return 1;
	return a < b ? -1 : 1;
}

int names_compare(const char *a, const char *b, char separator)
{
	while (*a == *b && *a != '\0')
		a++, b++;
	return compare((unsigned char)*a, (unsigned char)*b, (unsigned char)separator);
}

static int compare_names(const void *a, const void *b, void *separator)
{
	const struct name *one = a, *two = b;

	return names_compare(one->vname, two->vname, *(const char *)separator);
}

static bool is_above(const char *parent, const char *child, char separator)
{
	size_t length = strlen(parent);

	return strncmp(parent, child, length) == 0 && child[length] == separator;
}

/* The tree while it is built: the names that what follows may still be below. */
struct building {
	struct names *names;
	ARRAY(struct name) list;
	ARRAY(unsigned) open;
};

static struct name *innermost(struct building *building)
{
	unsigned count = array_count(&building->open);

	if (count == 0)
		return NULL;
	unsigned position = *array_idx(&building->open, count - 1);
	return array_idx_modifiable(&building->list, position);
}

static void close_innermost(struct building *building)
{
	struct name *name = innermost(building);

	i_assert(name != NULL);
	name->end = array_count(&building->list);
	array_delete(&building->open, array_count(&building->open) - 1, 1);
}

static void append(struct building *building, const struct name *name)
{
	unsigned position = array_count(&building->list);

	array_push_back(&building->list, name);
	array_push_back(&building->open, &position);
}

static void append_parents(struct building *building, const char *vname, size_t top)
{
	const struct name *above = innermost(building);
	size_t length = above != NULL ? strlen(above->vname) + 1 : top;
	const char *next = vname + I_MIN(length, strlen(vname));

	while ((next = strchr(next, building->names->separator)) != NULL) {
		struct name parent = {
			.vname = p_strdup_until(building->names->pool, vname, next),
		};
		append(building, &parent);
		next++;
	}
}

static void merge(struct name *name, const struct name *with)
{
	name->named = name->named || with->named;
	name->is_owner = name->is_owner || with->is_owner;
	name->real = name->real || with->real;
	if (name->owner == NULL)
		name->owner = with->owner;
}

static void place(struct building *building, const struct name *name, size_t top)
{
	char separator = building->names->separator;
	struct name *last;

	while ((last = innermost(building)) != NULL) {
		if (strcmp(last->vname, name->vname) == 0) {
			merge(last, name);
			return;
		}
		if (is_above(last->vname, name->vname, separator))
			break;
		close_innermost(building);
	}
	append_parents(building, name->vname, top);
	append(building, name);
}

static void build_tree(struct names_builder *builder)
{
	struct names *names = builder->names;
	struct building building = {.names = names};
	const struct name *name;

	i_array_init(&building.list, array_count(&builder->added) * 2 + 1);
	i_array_init(&building.open, 32);
	array_foreach(&builder->added, name)
		place(&building, name, builder->top);
	while (array_count(&building.open) > 0)
		close_innermost(&building);
	names->count = array_count(&building.list);
	if (names->count > 0)
		names->list = p_memdup(names->pool, array_front(&building.list),
				       names->count * sizeof(struct name));
	array_free(&building.open);
	array_free(&building.list);
}

struct names *names_build(struct names_builder **_builder)
{
	struct names_builder *builder = *_builder;
	unsigned count = array_count(&builder->added);

	*_builder = NULL;
	if (count > 0)
		qsort_r(array_front_modifiable(&builder->added), count, sizeof(struct name),
			compare_names, &builder->names->separator);
	build_tree(builder);
	struct names *names = builder->names;
	array_free(&builder->added);
	i_free(builder);
	return names;
}

void names_builder_destroy(struct names_builder **_builder)
{
	struct names_builder *builder = *_builder;

	*_builder = NULL;
	if (builder == NULL)
		return;
	names_unref(&builder->names);
	array_free(&builder->added);
	i_free(builder);
}

void names_ref(struct names *names)
{
	names->refcount++;
}

void names_unref(struct names **_names)
{
	struct names *names = *_names;

	*_names = NULL;
	if (names != NULL && --names->refcount == 0)
		pool_unref(&names->pool);
}

const struct name *names_find(const struct names *names, const char *vname)
{
	unsigned low = 0, high = names->count;

	while (low < high) {
		unsigned middle = low + (high - low) / 2;
		int order = names_compare(vname, names->list[middle].vname, names->separator);
		if (order == 0)
			return &names->list[middle];
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

unsigned names_position(const struct names *names, const struct name *name)
{
	return (unsigned)(name - names->list);
}

bool names_match_below(const struct names *names, unsigned position, struct imap_match_glob *glob)
{
	for (unsigned i = position + 1; i < names->list[position].end; i++) {
		const struct name *name = &names->list[i];
		if (name->named && imap_match(glob, name->vname) == IMAP_MATCH_YES)
			return TRUE;
	}
	return FALSE;
}

bool names_uncovered_below(const struct names *names, unsigned position,
			   struct imap_match_glob *glob)
{
	for (unsigned i = position + 1; i < names->list[position].end;) {
		if (imap_match(glob, names->list[i].vname) == IMAP_MATCH_YES)
			i = names->list[i].end;
		else if (names->list[i].named)
			return TRUE;
		else
			i++;
	}
	return FALSE;
}
