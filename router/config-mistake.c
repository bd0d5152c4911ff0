/* The mistakes of a configuration. They are found key by key and then across keys, kept with
 * their places, and reported in the order of the files, where line and column are worked out: a
 * configuration without mistakes pays nothing for them. */
#include "config-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "printable.h"

enum { PATH_SIZE = 512, SHOWN_BYTES = 60, TEXT_SIZE = 1600 };

const char *shown(const char *text, char out[SHOWN_SIZE])
{
	size_t length = strlen(text), cut = length;

	if (length > SHOWN_BYTES) {
		cut = SHOWN_BYTES;
		while (cut > 0 && ((unsigned char)text[cut] & 0xc0) == 0x80)
			cut--;
	}
	snprintf(out, SHOWN_SIZE, "\"%.*s%s\"", (int)cut, text, cut < length ? "..." : "");
	return out;
}

static bool is_plain_key(const char *text)
{
	static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789";

	return *text && strlen(text) < SHOWN_BYTES && text[strspn(text, plain)] == '\0';
}

static void append(char out[PATH_SIZE], const char *format, ...) HOMING_PRINTF(2, 3);
static void append(char out[PATH_SIZE], const char *format, ...)
{
	size_t used = strlen(out);
	va_list args;

	va_start(args, format);
	vsnprintf(out + used, PATH_SIZE - used, format, args);
	va_end(args);
}

static void append_key(char out[PATH_SIZE], const char *name)
{
	char quoted[SHOWN_SIZE];

	append(out, "%s%s", out[0] ? "." : "", is_plain_key(name) ? name : shown(name, quoted));
}

/* The key of a domain as it is written, in quotes; not cut, because a domain may be long. */
static void append_domain(struct draft *draft, char out[PATH_SIZE], size_t owner)
{
	struct config_place place = draft->domain_places[owner];
	char name[JSON_STRING_SIZE];

	append(out, "domains");
	if (json_text_string(draft_text(draft, place), place.offset, name) < 0)
		draft->no_memory = true;
	else
		append(out, ".\"%.260s\"", name);
}

/* `domains."client1.com".addresses[0]`, `router[3].to`, `account_defaults.home`. */
static void format_path(struct draft *draft, const struct config_key *key, char out[PATH_SIZE])
{
	out[0] = '\0';
	if (!key)
		return;
	if (key->section == SECTION_DEFAULTS)
		append(out, "account_defaults");
	else if (key->section == SECTION_DOMAIN)
		append_domain(draft, out, key->owner);
	else if (key->section == SECTION_RECORD)
		append(out, "router[%zu]", key->owner);
	if (key->name)
		append_key(out, key->name);
	if (key->item != NO_ITEM)
		append(out, "[%ld]", key->item);
}

void draft_mistake(struct draft *draft, struct config_place place, const struct config_key *key,
		   const char *format, ...)
{
	char path[PATH_SIZE], what[TEXT_SIZE];
	struct config_mistake mistake = {.place = place, .number = (uint32_t)draft->mistake_count};
	va_list args;

	format_path(draft, key, path);
	va_start(args, format);
	vsnprintf(what, sizeof what, format, args);
	va_end(args);
	if (asprintf(&mistake.text, "%s%s%s", path, path[0] ? ": " : "", what) < 0) {
		draft->no_memory = true;
		return;
	}
	if (DRAFT_GROW(draft, draft->mistakes, draft->mistake_count))
		draft->mistakes[draft->mistake_count++] = mistake;
	else
		free(mistake.text);
}

const char *draft_place(struct draft *draft, struct config_place place, char out[PLACE_SIZE])
{
	struct config_file *file = &draft->files[place.file];
	struct json_position position = json_text_position(&file->text, place.offset);

	snprintf(out, PLACE_SIZE, "%.340s:%u:%u", file->path, position.line, position.column);
	return out;
}

static int compare_mistakes(const void *left, const void *right)
{
	const struct config_mistake *a = left, *b = right;

	if (a->place.file != b->place.file)
		return a->place.file < b->place.file ? -1 : 1;
	if (a->place.offset != b->place.offset)
		return a->place.offset < b->place.offset ? -1 : 1;
	return a->number < b->number ? -1 : a->number > b->number;
}

static void report_one(struct draft *draft, const struct config_mistake *mistake,
		       config_mistake_cb *report, void *context)
{
	struct config_file *file = &draft->files[mistake->place.file];
	struct json_position at = json_text_position(&file->text, mistake->place.offset);
	char *line = NULL, *escaped = NULL;

	if (asprintf(&line, "%s:%u:%u: %s", file->path, at.line, at.column, mistake->text) < 0)
		line = NULL;
	/* a line stays one line whatever a key holds */
	size_t size = line ? 4 * strlen(line) + 1 : 0;
	if (line)
		escaped = malloc(size);
	if (escaped) {
		printable_escape(escaped, size, line, size / 4);
		report(escaped, context);
	} else {
		draft->no_memory = true;
	}
	free(escaped);
	free(line);
}

void draft_report(struct draft *draft, config_mistake_cb *mistake, void *context)
{
	if (draft->mistake_count > 0)
		qsort(draft->mistakes, draft->mistake_count, sizeof *draft->mistakes,
		      compare_mistakes);
	for (size_t i = 0; i < draft->mistake_count; i++)
		report_one(draft, &draft->mistakes[i], mistake, context);
}

static unsigned least(unsigned a, unsigned b)
{
	return a < b ? a : b;
}

/* How many letters must be added, taken away or replaced to make one of the other (Levenshtein).
 * 99 where one is longer than any key. */
static unsigned distance(const char *a, const char *b)
{
	unsigned row[32];
	size_t a_length = strlen(a), b_length = strlen(b);

	if (a_length > 31 || b_length > 31)
		return 99;
	for (size_t j = 0; j <= b_length; j++)
		row[j] = (unsigned)j;
	for (size_t i = 1; i <= a_length; i++) {
		unsigned corner = row[0];

		row[0] = (unsigned)i;
		for (size_t j = 1; j <= b_length; j++) {
			unsigned replaced = corner + (a[i - 1] != b[j - 1]);

			corner = row[j];
			row[j] = least(replaced, least(row[j], row[j - 1]) + 1);
		}
	}
	return row[b_length];
}

const char *nearest_name(const char *text, const char *const *names)
{
	const char *nearest = NULL;
	unsigned best = 99;

	for (; *names; names++) {
		unsigned far = distance(text, *names);

		if (far < best && far <= 3 && far < strlen(*names) / 2 + 1) {
			best = far;
			nearest = *names;
		}
	}
	return nearest;
}
