/* Reads tests/cases/routes, and puts answers in its words. */
#include "cases.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "support.h"

enum { COLUMNS = 6, FIELD_SIZE = 4096, MAX_WORDS = 32 };

struct output {
	char *bytes;
	size_t used, size;
};

static void put(struct output *out, const char *bytes, size_t length)
{
	if (length > out->size - out->used)
		support_die("an escape makes a text too long");
	memcpy(out->bytes + out->used, bytes, length);
	out->used += length;
}

/* `{N:TEXT}` behind the backslash. Returns what follows. */
static const char *put_repeated(struct output *out, const char *text, const char *end)
{
	char *colon;
	unsigned long times = strtoul(text + 1, &colon, 10);
	const char *close = memchr(text, '}', (size_t)(end - text));

	if (!close || *colon != ':' || colon > close)
		support_die("not an escape: \\%.20s (expected \\{N:TEXT})", text);
	while (times-- > 0)
		put(out, colon + 1, (size_t)(close - colon - 1));
	return close + 1;
}

static const char *put_byte(struct output *out, const char *text, const char *end)
{
	char digits[3] = {0}, *stop;

	if (end - text < 3)
		support_die("not an escape: \\%.3s (expected \\xHH)", text);
	memcpy(digits, text + 1, 2);
	char byte = (char)strtoul(digits, &stop, 16);
	if (stop != digits + 2)
		support_die("not an escape: \\%.3s (expected \\xHH)", text);
	put(out, &byte, 1);
	return text + 3;
}

static const char *put_escape(struct output *out, const char *text, const char *end)
{
	static const char letters[] = "0tnrs\\", bytes[] = "\0\t\n\r \\";

	if (text == end)
		support_die("a backslash at the end");
	if (*text == 'x')
		return put_byte(out, text, end);
	if (*text == '{')
		return put_repeated(out, text, end);
	const char *letter = memchr(letters, *text, sizeof letters - 1);
	if (letter)
		put(out, bytes + (letter - letters), 1);
	else if (*text != 'e')
		support_die("no such escape: \\%c", *text);
	return text + 1;
}

size_t case_unescape(const char *text, size_t length, char *out, size_t size)
{
	struct output output = {.bytes = out, .size = size};
	const char *end = text + length;

	while (text < end) {
		if (*text == '\\') {
			text = put_escape(&output, text + 1, end);
		} else {
			put(&output, text, 1);
			text++;
		}
	}
	return output.used;
}

static char *unescaped(const char *text, size_t *length_r)
{
	char field[FIELD_SIZE];
	size_t length = case_unescape(text, strlen(text), field, sizeof field);
	char *copy = malloc(length + 1);

	if (!copy)
		support_die("out of memory");
	memcpy(copy, field, length);
	copy[length] = '\0';
	*length_r = length;
	return copy;
}

static int compare_words(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

/* Joins words with blanks, those behind the first in order, and frees them. */
static char *join_words(char **words, size_t count)
{
	size_t length = 0;

	if (count > 1)
		qsort(words + 1, count - 1, sizeof *words, compare_words);
	for (size_t i = 0; i < count; i++)
		length += strlen(words[i]) + 1;
	char *joined = calloc(1, length + 1), *end = joined;
	if (!joined)
		support_die("out of memory");
	for (size_t i = 0; i < count; i++) {
		end = stpcpy(stpcpy(end, i ? " " : ""), words[i]);
		free(words[i]);
	}
	return joined;
}

static char *expected_words(char *text)
{
	char *words[MAX_WORDS], *word;
	size_t count = 0, length;

	while ((word = strsep(&text, " "))) {
		if (count == MAX_WORDS)
			support_die("too many words");
		words[count++] = unescaped(word, &length);
	}
	return join_words(words, count);
}

static void parse_row(struct case_row *row, char **fields)
{
	size_t length;

	if (strcmp(fields[0], "login") != 0 && strcmp(fields[0], "address") != 0)
		support_die("routes:%zu: neither login nor address: %s", row->line, fields[0]);
	row->question.kind = fields[0][0] == 'l' ? NAME_LOGIN : NAME_ADDRESS;
	row->name = unescaped(fields[1], &row->question.name_length);
	if (strcmp(fields[2], "-") != 0) {
		if (!ip_parse(fields[2], strlen(fields[2]), &row->ip))
			support_die("routes:%zu: no IP address: %s", row->line, fields[2]);
		row->question.local_ip = &row->ip;
	}
	if (strcmp(fields[3], "-") != 0)
		row->server_name = unescaped(fields[3], &length);
	row->expected = expected_words(fields[4]);
	row->why = strdup(fields[5]);
}

/* Cuts a line at its tabs; several in a row are one. */
static void split_line(char *line, size_t number, char **fields)
{
	size_t count = 0;
	char *field;

	while ((field = strsep(&line, "\t"))) {
		if (*field == '\0')
			continue;
		if (count == COLUMNS)
			support_die("routes:%zu: more than %d columns", number, COLUMNS);
		fields[count++] = field;
	}
	if (count != COLUMNS)
		support_die("routes:%zu: %zu columns, expected %d", number, count, COLUMNS);
}

static void add_row(struct cases *cases, char *line, size_t number)
{
	char *fields[COLUMNS];
	struct case_row row = {.line = number};

	split_line(line, number, fields);
	cases->rows = reallocarray(cases->rows, cases->count + 1, sizeof row);
	if (!cases->rows)
		support_die("out of memory");
	parse_row(&row, fields);
	cases->rows[cases->count++] = row;
}

struct cases cases_read(const char *path)
{
	struct cases cases = {0};
	char *text = support_read_file(path, NULL), *rest = text, *line;

	for (size_t number = 1; (line = strsep(&rest, "\n")); number++)
		if (*line != '\0' && *line != '#')
			add_row(&cases, line, number);
	for (size_t i = 0; i < cases.count; i++) { /* now that the rows move no more */
		struct case_row *row = &cases.rows[i];

		row->question.name = row->name;
		row->question.server_name = row->server_name;
		if (row->question.local_ip)
			row->question.local_ip = &row->ip;
	}
	free(text);
	return cases;
}

void cases_free(struct cases *cases)
{
	for (size_t i = 0; i < cases->count; i++) {
		free(cases->rows[i].name);
		free(cases->rows[i].server_name);
		free(cases->rows[i].expected);
		free(cases->rows[i].why);
	}
	free(cases->rows);
	*cases = (struct cases){0};
}

struct words {
	char **items;
	size_t count;
};

static void add_word(struct words *words, const char *format, ...) HOMING_PRINTF(2, 3);

static void add_word(struct words *words, const char *format, ...)
{
	va_list args;

	words->items = reallocarray(words->items, words->count + 1, sizeof *words->items);
	va_start(args, format);
	if (!words->items || vasprintf(&words->items[words->count++], format, args) < 0)
		support_die("out of memory");
	va_end(args);
}

static void add_target(struct words *words, struct directory_reader *reader,
		       const struct route_target *target)
{
	struct domain_rules rules = {.delimiter = '+'};
	struct error error = {0};
	const char *at = strrchr(target->address, '@');

	if (target->remote) {
		add_word(words, "%s", target->address);
		return;
	}
	if (domain_lookup(reader, at + 1, &rules, &error) != 1)
		support_die("%s: a target that is not in a domain of ours", target->address);
	char delimiter[2] = {target->detail ? rules.delimiter : '\0'};
	add_word(words, "%s%s%.*s%s%s%s", target->mailbox ? target->mailbox : "",
		 target->mailbox ? "#" : "", (int)(at - target->address), target->address,
		 delimiter, target->detail ? target->detail : "", at);
}

static void add_flags(struct words *words, unsigned flags)
{
	if (flags & ROUTE_EXTERNAL)
		add_word(words, "external");
	if (flags & ROUTE_EXPLICIT)
		add_word(words, "explicit");
	if (flags & ROUTE_LITERAL)
		add_word(words, "literal");
}

char *case_words(struct directory_reader *reader, const struct route_answer *answer)
{
	struct words words = {0};

	add_word(&words, "%s", route_result_name(answer->result));
	switch (answer->result) {
	case ROUTE_ACCOUNT:
		add_word(&words, "%s", answer->address);
		if (answer->has_detail)
			add_word(&words, "detail=%s", answer->detail);
		if (answer->mailbox[0])
			add_word(&words, "mailbox=%s", answer->mailbox);
		add_flags(&words, answer->flags);
		break;
	case ROUTE_FORWARD:
		for (size_t i = 0; i < answer->target_count; i++)
			add_target(&words, reader, &answer->targets[i]);
		add_flags(&words, answer->flags);
		break;
	case ROUTE_REMOTE:
		add_word(&words, "%s", answer->address);
		if (answer->relay)
			add_word(&words, "relay");
		break;
	case ROUTE_DISCARD:
		break;
	case ROUTE_REFUSE:
		add_word(&words, "%s", route_reason_name(answer->reason));
		add_word(&words, "%d", answer->smtp);
		add_word(&words, "%s", answer->status);
		break;
	}
	char *joined = join_words(words.items, words.count);
	free(words.items);
	return joined;
}
