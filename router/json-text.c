/* A walk over valid JSON, and the line and column of an offset. Validity is jansson's word; the
 * walk still ends at the end of the text whatever it holds, and never recurses. */
#include "json-text.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum {
	MARK_DISTANCE = 4096, /* bytes between two remembered positions */
	PLAIN_DEPTH = 31,
	PLAIN_DIGITS = 18, /* any such number fits a json_int_t */
};

void json_text_finish(struct json_text *text)
{
	free(text->marks);
	text->marks = NULL;
	text->mark_count = 0;
}

/* The byte at the offset; NUL, which valid JSON has nowhere, at the end. */
static char byte_at(const struct json_text *text, size_t offset)
{
	return offset < text->length ? text->bytes[offset] : '\0';
}

static bool is_space(char byte)
{
	return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r';
}

static size_t skip_space(const struct json_text *text, size_t offset)
{
	while (is_space(byte_at(text, offset)))
		offset++;
	return offset;
}

/* Behind the closing quote. */
static size_t skip_string(const struct json_text *text, size_t offset)
{
	for (offset++; offset < text->length; offset++) {
		if (text->bytes[offset] == '"')
			return offset + 1;
		if (text->bytes[offset] == '\\')
			offset++;
	}
	return text->length;
}

/* Behind a number, true, false or null. */
static size_t skip_word(const struct json_text *text, size_t offset)
{
	while (offset < text->length && !is_space(text->bytes[offset]) &&
	       !memchr(",:[]{}\"", text->bytes[offset], 7))
		offset++;
	return offset;
}

static size_t skip_token(const struct json_text *text, size_t offset)
{
	char byte = byte_at(text, offset);

	if (byte == '"')
		return skip_string(text, offset);
	if (byte && strchr(",:[]{}", byte))
		return offset + 1;
	return skip_word(text, offset);
}

static size_t skip_value(const struct json_text *text, size_t offset)
{
	size_t depth = 0;

	do {
		char byte = byte_at(text, offset);

		if (byte == '{' || byte == '[')
			depth++;
		else if ((byte == '}' || byte == ']') && depth > 0)
			depth--;
		offset = skip_token(text, offset);
		if (depth > 0)
			offset = skip_space(text, offset);
	} while (depth > 0 && offset < text->length);
	return offset;
}

/* The steps of json_text_is_plain. Each moves *at behind what it took, and is false where the text is
 * not as plain as it wants. */

static bool plain_byte(const struct json_text *text, size_t *at, char wanted)
{
	*at = skip_space(text, *at);
	if (byte_at(text, *at) != wanted)
		return false;
	(*at)++;
	return true;
}

static bool plain_string(const struct json_text *text, size_t *at)
{
	if (!plain_byte(text, at, '"'))
		return false;
	for (; *at < text->length; (*at)++) {
		char byte = text->bytes[*at];

		if (byte == '"') {
			(*at)++;
			return true;
		}
		if ((unsigned char)byte < 0x20)
			return false;
		if (byte == '\\' && !memchr("\"\\/bfnrt", byte_at(text, ++*at), 8))
			return false;
	}
	return false;
}

static bool plain_number(const struct json_text *text, size_t *at)
{
	if (byte_at(text, *at) == '-')
		(*at)++;
	size_t start = *at;
	while (byte_at(text, *at) >= '0' && byte_at(text, *at) <= '9')
		(*at)++;
	size_t digits = *at - start;
	bool leading_zero = digits > 1 && text->bytes[start] == '0';
	char next = byte_at(text, *at);
	return digits > 0 && digits <= PLAIN_DIGITS && !leading_zero && next != '.' &&
	       next != 'e' && next != 'E';
}

static bool plain_scalar(const struct json_text *text, size_t *at)
{
	static const char *const words[] = {"true", "false", "null"};

	if (byte_at(text, *at) == '"')
		return plain_string(text, at);
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		size_t length = strlen(words[i]);

		if (text->length - *at >= length && memcmp(text->bytes + *at, words[i], length) == 0) {
			*at += length;
			return true;
		}
	}
	return plain_number(text, at);
}

static bool plain_key(const struct json_text *text, size_t *at)
{
	return plain_string(text, at) && plain_byte(text, at, ':');
}

/* What is open, and by which byte it closes. */
struct nesting {
	char close[PLAIN_DEPTH];
	unsigned depth;
};

/* Up to the next value: behind commas, keys and what opens. False also at an empty object or list,
 * with *empty_r. */
static bool plain_open(const struct json_text *text, size_t *at, struct nesting *nesting,
		       bool *empty_r)
{
	for (;;) {
		*at = skip_space(text, *at);
		char byte = byte_at(text, *at);

		if (byte != '{' && byte != '[')
			return true;
		if (nesting->depth == PLAIN_DEPTH)
			return false;
		nesting->close[nesting->depth++] = byte == '{' ? '}' : ']';
		(*at)++;
		*at = skip_space(text, *at);
		*empty_r = byte_at(text, *at) == nesting->close[nesting->depth - 1];
		if (*empty_r || (byte == '{' && !plain_key(text, at)))
			return false;
	}
}

/* Behind a value: closes what ends here. True where another value must follow. */
static bool plain_close(const struct json_text *text, size_t *at, struct nesting *nesting)
{
	while (nesting->depth > 0) {
		char close = nesting->close[nesting->depth - 1];

		if (plain_byte(text, at, ','))
			return close == ']' || plain_key(text, at);
		if (!plain_byte(text, at, close))
			return false;
		nesting->depth--;
	}
	return false;
}

bool json_text_is_plain(const struct json_text *text)
{
	struct nesting nesting = {.depth = 0};
	size_t at = 0;
	bool more = true;

	while (more) {
		bool empty = false;

		if (plain_open(text, &at, &nesting, &empty) ? !plain_scalar(text, &at) : !empty)
			return false;
		more = plain_close(text, &at, &nesting);
	}
	return nesting.depth == 0 && skip_space(text, at) == text->length;
}

size_t json_text_start(const struct json_text *text)
{
	return skip_space(text, 0);
}

char json_text_type(const struct json_text *text, size_t offset)
{
	char byte = byte_at(text, offset);

	if (byte != '-' && (byte < '0' || byte > '9'))
		return byte;
	for (size_t end = skip_word(text, offset); offset < end; offset++)
		if (strchr(".eE", text->bytes[offset]))
			return '.';
	return '0';
}

const char *json_text_type_name(char type)
{
	static const struct {
		char type;
		const char *name;
	} names[] = {
		{'{', "an object"}, {'[', "a list"}, {'"', "a string"}, {'0', "a number"},
		{'.', "a number that is no integer"}, {'t', "true"},   {'f', "false"},	{'n', "null"},
	};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (names[i].type == type)
			return names[i].name;
	return "nothing";
}

struct json_walk json_walk(const struct json_text *text, size_t offset)
{
	char close = byte_at(text, offset) == '{' ? '}' : ']';

	return (struct json_walk){.text = text, .next = offset + 1, .close = close};
}

bool json_walk_next(struct json_walk *walk, size_t *key_r, size_t *value_r)
{
	const struct json_text *text = walk->text;
	size_t at = skip_space(text, walk->next);

	if (byte_at(text, at) == ',')
		at = skip_space(text, at + 1);
	if (at >= text->length || byte_at(text, at) == walk->close)
		return false;
	*key_r = *value_r = at;
	if (walk->close == '}') {
		at = skip_space(text, skip_string(text, at)); /* the colon */
		*value_r = skip_space(text, at + 1);
	}
	walk->next = skip_value(text, *value_r);
	return true;
}

static int copy_cut(const char *bytes, size_t length, char out[JSON_STRING_SIZE])
{
	if (length >= JSON_STRING_SIZE)
		length = JSON_STRING_SIZE - 1;
	memcpy(out, bytes, length);
	out[length] = '\0';
	return (int)length;
}

int json_text_string(const struct json_text *text, size_t offset, char out[JSON_STRING_SIZE])
{
	size_t end = skip_string(text, offset);
	const char *quoted = text->bytes + offset;
	size_t length = end - offset;

	if (length < 2 || !memchr(quoted, '\\', length))
		return copy_cut(quoted + 1, length < 2 ? 0 : length - 2, out);
	json_t *string = json_loadb(quoted, length, JSON_DECODE_ANY, NULL);
	if (!string)
		return -1;
	int used = copy_cut(json_string_value(string), json_string_length(string), out);
	json_decref(string);
	return used;
}

bool json_text_number(const struct json_text *text, size_t offset, long long most,
		      long long *number_r)
{
	size_t end = skip_word(text, offset);
	long long number = 0;

	if (json_text_type(text, offset) != '0')
		return false;
	for (; offset < end; offset++) {
		char byte = text->bytes[offset];

		if (byte < '0' || byte > '9' || number > (most - (byte - '0')) / 10)
			return false;
		number = number * 10 + (byte - '0');
	}
	*number_r = number;
	return true;
}

/* Moves a position over bytes. Bytes that go on with a character are no column of their own. */
static void advance(struct json_position *position, const char *bytes, size_t length)
{
	for (size_t i = 0; i < length; i++) {
		if (bytes[i] == '\n') {
			position->line++;
			position->column = 1;
		} else if (((unsigned char)bytes[i] & 0xc0) != 0x80) {
			position->column++;
		}
	}
}

/* Remembers the position at each MARK_DISTANCE, so that a million mistakes in a text of one line
 * do not mean a million walks from its start. */
static void make_marks(struct json_text *text)
{
	struct json_position position = {1, 1};

	text->marks = calloc(text->length / MARK_DISTANCE + 1, sizeof *text->marks);
	if (!text->marks)
		return;
	for (size_t at = 0;; at += MARK_DISTANCE) {
		text->marks[text->mark_count++] = position;
		if (text->length - at < MARK_DISTANCE)
			break;
		advance(&position, text->bytes + at, MARK_DISTANCE);
	}
}

struct json_position json_text_position(struct json_text *text, size_t offset)
{
	struct json_position position = {1, 1};
	size_t start = 0;

	if (offset > text->length)
		offset = text->length;
	if (!text->marks)
		make_marks(text);
	if (text->marks) {
		position = text->marks[offset / MARK_DISTANCE];
		start = offset / MARK_DISTANCE * MARK_DISTANCE;
	}
	advance(&position, text->bytes + start, offset - start);
	return position;
}
