/* Lines of acl_shared_dict.
 *
 * A file dictionary has a line `shared/shared-boxes/user/TO/FROM`, `.../group/TO/FROM` or
 * `.../anyone/FROM` and a line with the value. Tables have FROM in the column `from_user`, which is the
 * first one where nothing says otherwise. */
#include "shared-dict.h"

#include <string.h>
#include <strings.h>

#define COLUMN_NAME "from_user"

static bool begins(const char *text, const char *word)
{
	return strncasecmp(text, word, strlen(word)) == 0;
}

static char *skip_space(char *text)
{
	return text + strspn(text, " \t");
}

/* One value of a row up to `separators`, in quotes or bare. Ends it with NUL; *next_r is what stands
 * behind it, "" or a separator. NULL: the quotes do not end. */
static char *take_value(char *text, const char *separators, char **next_r)
{
	text = strchr(separators, '\t') ? text + strspn(text, " ") : skip_space(text);
	if (*text != '\'' && *text != '"' && *text != '`') {
		char *end = text + strcspn(text, separators);

		*next_r = end;
		return text;
	}
	char quote = *text++, *to = text;
	for (char *from = text; *from; from++) {
		if (*from == quote && from[1] != quote) {
			*to = '\0';
			*next_r = from + 1 + strcspn(from + 1, separators);
			return text;
		}
		if ((*from == quote || *from == '\\') && from[1])
			from++;
		*to++ = *from;
	}
	return NULL;
}

/* Ends a bare value, once what stands behind it is known. */
static char *trim(char *value, char *next)
{
	if (value + strlen(value) >= next)
		*next = '\0';
	for (size_t length = strlen(value); length > 0 && value[length - 1] == ' ';)
		value[--length] = '\0';
	return value;
}

/* The value in the column; *next_r as take_value(). NULL: there is none. */
static char *take_column(char *text, const char *separators, unsigned column, char **next_r)
{
	char *value = take_value(text, separators, next_r);

	for (; value && column > 0; column--) {
		if (!**next_r || **next_r == ')')
			return NULL;
		value = take_value(*next_r + 1, separators, next_r);
	}
	return value;
}

/* Which column of `a, b, c` is the owner's. False: none. */
static bool find_column(const char *list, const char *separators, unsigned *column_r)
{
	size_t length = strlen(COLUMN_NAME);

	for (unsigned column = 0;; column++) {
		const char *name = list + strspn(list, " \"'`");

		if (begins(name, COLUMN_NAME) && strchr(" \"'`,)|;\t", name[length])) {
			*column_r = column;
			return true;
		}
		list += strcspn(list, separators);
		if (*list == '\0' || *list == ')')
			return false;
		list++;
	}
}

static bool is_our_table(const char *begin, size_t length)
{
	static const char *const tables[] = {"user_shares", "anyone_shares", "share_folder"};

	while (length > 0 && strchr("\"'`", begin[length - 1]))
		length--;
	for (size_t i = 0; i < sizeof tables / sizeof tables[0]; i++) {
		size_t wanted = strlen(tables[i]);

		if (length >= wanted && strncasecmp(begin + length - wanted, tables[i], wanted) == 0)
			return true;
	}
	return false;
}

/* Reads `TABLE [(COLUMNS)]`. True if it is one of ours; *column_r as it says. */
static bool take_table(char *text, unsigned *column_r, char **next_r)
{
	text = skip_space(text);
	size_t length = strcspn(text, " (\t");
	char *behind = skip_space(text + length);
	bool ours = is_our_table(text, length);

	*column_r = 0;
	*next_r = behind;
	if (*behind != '(')
		return ours;
	/* a table that somebody called otherwise is known by its column */
	bool found = find_column(behind + 1, ",)", column_r);
	size_t list = strcspn(behind, ")");
	*next_r = behind + list + (behind[list] == ')');
	return found || ours;
}

/* The position behind the row that begins at `text`, quotes observed. */
static char *row_end(char *text)
{
	for (char quote = 0; *text; text++) {
		if (quote && *text == '\\' && text[1])
			text++;
		else if (quote)
			quote = *text == quote ? 0 : quote;
		else if (*text == '\'' || *text == '"')
			quote = *text;
		else if (*text == ')')
			return text + 1;
	}
	return text;
}

static bool take_rows(char *text, unsigned column, shared_dict_owner_cb *each, void *context)
{
	for (;;) {
		text = skip_space(text);
		if (*text != '(')
			return *text == ';' || *text == '\0';
		char *end = row_end(text), *next;
		char *behind = skip_space(end);
		char stop = *behind;
		char *value = take_column(text + 1, ",)", column, &next);

		if (!value)
			return false;
		each(trim(value, next), context);
		if (stop != ',')
			return stop == ';' || stop == '\0';
		text = behind + 1;
	}
}

static bool take_insert(struct shared_dict *state, char *text, shared_dict_owner_cb *each,
			void *context)
{
	char *into = text + strlen("INSERT ");

	while (!begins(into = skip_space(into), "INTO ")) {
		size_t word = strcspn(into, " \t"); /* OR REPLACE, IGNORE */

		if (word == 0)
			return false;
		into += word;
	}
	bool ours = take_table(into + strlen("INTO "), &state->column, &into);
	into = skip_space(into);
	if (!ours) {
		/* rows of another table can go on in further lines */
		size_t length = strlen(text);
		state->is_statement = length == 0 || text[length - 1] != ';';
		return true;
	}
	if (!begins(into, "VALUES"))
		return false;
	into = skip_space(into + strlen("VALUES"));
	return take_rows(into, state->column, each, context);
}

static bool is_statement(const char *text)
{
	static const char *const words[] = {"--",    "/*",     "PRAGMA ", "BEGIN",  "COMMIT", "CREATE ",
					    "SET ",  "DROP ",  "LOCK ",	  "UNLOCK ", "ALTER ", "SELECT ",
					    "ANALYZE ", "START "};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (begins(text, words[i]))
			return true;
	return false;
}

static bool take_row(struct shared_dict *state, char *text, shared_dict_owner_cb *each, void *context)
{
	static const char *const separators[] = {"\t", "|", ",", ";", "\n"};
	char *next;

	if (*text == '+') /* a frame around a printed table */
		return true;
	text += *text == '|';
	const char *separator = separators[4];
	for (int i = 3; i >= 0; i--)
		if (strpbrk(text, separators[i]))
			separator = separators[i];
	if (find_column(text, separator, &state->column))
		return true;
	char *value = take_column(text, separator, state->column, &next);
	if (!value || *trim(value, next) == '\0' || strpbrk(value, " \t()"))
		return false;
	each(value, context);
	return true;
}

static bool take_copy(struct shared_dict *state, char *text)
{
	char *next;

	state->is_copy = true;
	state->is_other = !take_table(text + strlen("COPY "), &state->column, &next);
	return true;
}

static bool take_key(struct shared_dict *state, char *text, shared_dict_owner_cb *each, void *context)
{
	static const char ours[] = "shared/shared-boxes/";

	state->is_value = true;
	if (!begins(text, ours)) /* a dictionary can hold other things too */
		return true;
	char *owner = strrchr(text, '/') + 1;
	if (owner <= text + strlen(ours) || *owner == '\0')
		return false;
	each(owner, context);
	return true;
}

bool shared_dict_line(struct shared_dict *state, char *line, shared_dict_owner_cb *each, void *context)
{
	line[strcspn(line, "\r\n")] = '\0';
	size_t length = strlen(line);
	bool ends = length > 0 && line[length - 1] == ';';
	char *text = line + strspn(line, " ");

	if (state->is_value) {
		state->is_value = false;
		return true;
	}
	if (state->is_copy && strcmp(line, "\\.") == 0) {
		state->is_copy = false;
		state->column = 0;
		return true;
	}
	if (state->is_copy)
		return state->is_other || take_row(state, line, each, context);
	if (state->is_statement) {
		state->is_statement = !ends;
		return true;
	}
	if (*text == '\0')
		return true;
	if (begins(text, "shared/") || begins(text, "priv/"))
		return take_key(state, text, each, context);
	if (begins(text, "INSERT "))
		return take_insert(state, text, each, context);
	if (begins(text, "COPY "))
		return take_copy(state, text);
	if (*text == '(') /* more rows of an INSERT */
		return take_rows(text, state->column, each, context);
	if (is_statement(text)) {
		state->is_statement = !ends && text[0] != '-' && text[0] != '/';
		return true;
	}
	return take_row(state, text, each, context);
}
