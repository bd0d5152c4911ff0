/* Who somebody is that uses mailboxes: the account's domain, its groups, what it administers. */
#include "rights.h"

#include <stdlib.h>
#include <string.h>

#include "directory-membership.h"

struct name_list {
	char **items;
	size_t count, size;
};

/* 0, or 1 to stop where there is no memory. */
static int add_name(const char *name, void *context)
{
	struct name_list *list = context;

	if (list->count == list->size) {
		size_t size = list->size ? list->size * 2 : 8;
		char **grown = realloc(list->items, size * sizeof *grown);

		if (!grown)
			return 1;
		list->items = grown;
		list->size = size;
	}
	list->items[list->count] = strdup(name);
	return list->items[list->count] ? (list->count++, 0) : 1;
}

static int compare_names(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Hands the list over, sorted. `answer` is that of a walk with add_name. */
static int take(struct name_list *list, int answer, char ***items_r, size_t *count_r,
		struct error *error)
{
	*items_r = list->items;
	*count_r = list->count;
	if (list->count > 1)
		qsort(list->items, list->count, sizeof *list->items, compare_names);
	return answer > 0 ? error_set(error, ERROR_MEMORY, "out of memory") : answer;
}

static int read_directory(struct directory_reader *directory, const char *local,
			  struct rights_user *user, struct error *error)
{
	struct name_list groups = {0}, domains = {0};
	int answer = membership_each_group(directory, local, user->domain, add_name, &groups, error);

	if (take(&groups, answer, &user->groups, &user->group_count, error) < 0)
		return -1;
	answer = membership_each_administered(directory, user->user, add_name, &domains, error);
	return take(&domains, answer, &user->administers, &user->administers_count, error);
}

int rights_user_init(struct directory_reader *directory, const char *user,
		     struct rights_user *user_r, struct error *error)
{
	size_t length = strlen(user);
	const char *at = strrchr(user, '@');
	char local[LOCAL_SIZE];

	*user_r = (struct rights_user){0};
	if (length >= sizeof user_r->user || (at && strlen(at + 1) > DOMAIN_MAX_BYTES) ||
	    (at && at - user > LOCAL_MAX_BYTES))
		return error_set(error, ERROR_INVALID, "%.512s: no account has a name of this length",
				 user);
	memcpy(user_r->user, user, length + 1);
	if (!at)
		return 0; /* in no domain, thus in no group either */
	memcpy(user_r->domain, at + 1, strlen(at + 1) + 1);
	memcpy(local, user, (size_t)(at - user));
	local[at - user] = '\0';
	if (read_directory(directory, local, user_r, error) == 0)
		return 0;
	rights_user_finish(user_r);
	return -1;
}

static void free_names(char ***names, size_t *count)
{
	for (size_t i = 0; i < *count; i++)
		free((*names)[i]);
	free(*names);
	*names = NULL;
	*count = 0;
}

void rights_user_finish(struct rights_user *user)
{
	free_names(&user->groups, &user->group_count);
	free_names(&user->administers, &user->administers_count);
}
