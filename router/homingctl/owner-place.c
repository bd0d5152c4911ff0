/* Where an owner's mail is, as a shared namespace says it. */
#include "owner-place.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct setting *inbox_namespace(const struct setting *root)
{
	for (size_t i = 0; i < root->count; i++) {
		const struct setting *block = &root->settings[i];

		if (block->is_block && strcmp(block->name, "namespace") == 0 &&
		    strcmp(setting_or(block, "inbox", "no"), "yes") == 0)
			return block;
	}
	return NULL;
}

/* The signs of variables that Dovecot itself goes by. */
bool namespace_is_shared(const struct setting *block)
{
	return block->is_block && strcmp(block->name, "namespace") == 0 &&
	       strcmp(setting_or(block, "type", "private"), "shared") == 0 &&
	       strcmp(setting_or(block, "disabled", "no"), "yes") != 0 &&
	       strpbrk(setting_or(block, "prefix", ""), "%$");
}

static bool has_prefix(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

/* One variable, from its %, in a location of 2.3. How long it is; 0: the owner has no
 * such. */
static size_t old_variable(const char *text)
{
	static const char *const long_names[] = {"{user}", "{username}", "{domain}", "{home}"};
	size_t modifiers = 1 + strspn(text + 1, "LUEXRTHMDN0123456789.-");
	const char *name = text + modifiers;

	if (*name && strchr("undh", *name))
		return modifiers + 1;
	for (size_t i = 0; i < sizeof long_names / sizeof long_names[0]; i++)
		if (has_prefix(name, long_names[i]))
			return modifiers + strlen(long_names[i]);
	return 0;
}

/* False: a variable that is not the owner's. */
static bool write_location(FILE *out, const char *location)
{
	static const char private_index[] = ":INDEXPVT=";

	for (const char *at = location; *at;) {
		bool begins = at > location && (at[-1] == ':' || at[-1] == '=');
		size_t length = 1;

		if (has_prefix(at, private_index)) {
			at += strlen(private_index);
			at += strcspn(at, ":");
		} else if (begins && *at == '~' && (at[1] == '\0' || strchr("/:", at[1]))) {
			fputs("%%h", out);
			at++;
		} else if (has_prefix(at, "%%")) {
			fputs("%%%%", out);
			at += 2;
		} else if (*at == '%') {
			length = old_variable(at);
			if (length == 0)
				return false;
			fprintf(out, "%%%.*s", (int)length, at);
			at += length;
		} else {
			fputc(*at++, out);
		}
	}
	return true;
}

/* One variable of 2.4, from its %{ to its }: `user` and `home` become the owner's,
 * filters behind them stay. How long it is; 0: the owner has no such. */
static size_t write_variable(FILE *out, const char *text)
{
	size_t space = 2 + strspn(text + 2, " "), name = 0;

	while (isalnum((unsigned char)text[space + name]) || text[space + name] == '_')
		name++;
	size_t end = space + name + strcspn(text + space + name, "}");
	bool is_ours =
		name == 4 && (has_prefix(text + space, "user") || has_prefix(text + space, "home"));
	if (!is_ours || text[end] != '}')
		return 0;
	fprintf(out, "%%{owner_%.*s}", (int)(end - space), text + space);
	return end + 1;
}

static bool write_path(FILE *out, const char *path)
{
	const char *at = path;

	if (at[0] == '~' && (at[1] == '\0' || at[1] == '/')) {
		fputs("%{owner_home}", out);
		at++;
	}
	while (*at) {
		size_t length = has_prefix(at, "%{") ? write_variable(out, at) : 1;

		if (length == 0)
			return false;
		if (length == 1)
			fputc(*at, out);
		at += length;
	}
	return true;
}

static char *translate(bool (*write)(FILE *out, const char *text), const char *text)
{
	char *answer = NULL;
	size_t size;
	FILE *out = text && *text ? open_memstream(&answer, &size) : NULL;

	if (!out)
		return NULL;
	bool fine = write(out, text);
	fclose(out);
	if (fine)
		return answer;
	free(answer);
	return NULL;
}

char *owner_location(const char *location)
{
	return translate(write_location, location);
}

char *owner_path(const char *path)
{
	return translate(write_path, path);
}
