/* Bytes as what `doveconf -a` prints, as one value of it, as a list of Postfix's, and as a version. A tree with names as
 * Dovecot has them, printed again, is read as the same tree. */
#include "doveconf.h"

#include <string.h>

#include "fuzz.h"
#include "input.h"
#include "owner-place.h"
#include "postconf.h"

static void print_tree(FILE *out, const struct setting *block)
{
	for (size_t i = 0; i < block->count; i++) {
		const struct setting *setting = &block->settings[i];

		if (!setting->is_block) {
			fprintf(out, "%s = %s\n", setting->name, setting->value);
			continue;
		}
		fprintf(out, "%s %s {\n", setting->name, setting->value);
		print_tree(out, setting);
		fputs("}\n", out);
	}
}

static char *print_all(const struct setting *root)
{
	char *text = NULL;
	size_t length;
	FILE *out = open_memstream(&text, &length);

	FUZZ_EXPECT(out);
	print_tree(out, root);
	FUZZ_EXPECT(fclose(out) == 0);
	return text;
}

static void check_tree(const struct setting *block, int depth)
{
	FUZZ_EXPECT(depth <= 16 && (block->count == 0 || block->settings));
	for (size_t i = 0; i < block->count; i++) {
		const struct setting *setting = &block->settings[i];

		FUZZ_EXPECT(setting->name && setting->value && !strpbrk(setting->name, "\n="));
		FUZZ_EXPECT(setting->is_block || setting->count == 0);
		if (setting->is_block)
			FUZZ_EXPECT(setting_block(block, setting->name, setting->value));
		else
			FUZZ_EXPECT(setting_get(block, setting->name));
		setting_list_has(block, setting->name, "acl");
		check_tree(setting, depth + 1);
	}
}

static bool is_plain(const struct setting *block)
{
	for (size_t i = 0; i < block->count; i++) {
		const struct setting *setting = &block->settings[i];

		if (!setting->name[0] || strpbrk(setting->name, "={}#") ||
		    (setting->is_block && strpbrk(setting->value, "={}#")) || !is_plain(setting))
			return false;
	}
	return true;
}

static void try_again(const struct setting *root)
{
	char *printed = print_all(root);
	struct setting *again = doveconf_parse(printed);
	FUZZ_EXPECT(again);
	char *printed_again = print_all(again);
	FUZZ_EXPECT(strcmp(printed, printed_again) == 0);
	free(printed);
	free(printed_again);
	doveconf_free(again);
}

enum { DEEPEST = 15 }; /* blocks inside of each other that are kept */

static size_t count_settings(const struct setting *block)
{
	size_t count = 0;

	for (size_t i = 0; i < block->count; i++)
		count += block->settings[i].is_block ? count_settings(&block->settings[i]) : 1;
	return count;
}

/* Counting braces alone, for lines as Dovecot prints them. SIZE_MAX: there are others. */
static size_t plain_count(const char *text)
{
	char *copy = strdup(text), *rest = copy, *line;
	size_t count = 0;
	unsigned depth = 0;
	FUZZ_EXPECT(copy);

	while (count != SIZE_MAX && (line = strsep(&rest, "\n"))) {
		line += strspn(line, " ");
		size_t length = strlen(line), name = strcspn(line, " ={}#");
		if (strcmp(line, "}") == 0)
			depth -= depth > 0;
		else if (name > 0 && length > name + 1 && strcmp(line + length - 2, " {") == 0 &&
			 !memchr(line, '=', length))
			depth++;
		else if (name > 0 && strncmp(line + name, " = ", 3) == 0 && line[length - 1] != '{')
			count += depth <= DEEPEST;
		else if (length > 0)
			count = SIZE_MAX;
		if (strpbrk(line, "\t\r\v\f"))
			count = SIZE_MAX;
	}
	free(copy);
	return count;
}

static void try_tree(const char *text)
{
	size_t counted = plain_count(text);
	struct setting *root = doveconf_parse(text);
	FUZZ_EXPECT(root);
	check_tree(root, 0);
	FUZZ_EXPECT(counted == SIZE_MAX || count_settings(root) == counted);
	if (is_plain(root))
		try_again(root);
	doveconf_free(root);
}

#define LETTERS "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_"

/* What has no variable and no home in it is itself; no other variable than an owner's is left. */
static void try_place(const char *text)
{
	char *location = owner_location(text), *path = owner_path(text);

	if (*text && !strpbrk(text, "%~") && !strstr(text, ":INDEXPVT="))
		FUZZ_EXPECT(location && strcmp(location, text) == 0);
	if (*text && !strpbrk(text, "%~"))
		FUZZ_EXPECT(path && strcmp(path, text) == 0);
	for (const char *next = path; next && (next = strstr(next, "%{")); next += strcspn(next, "}"))
		FUZZ_EXPECT(strncmp(next, "%{owner_", 8) == 0 && strspn(next + 8, LETTERS) == 4 &&
			    (strncmp(next + 8, "user", 4) == 0 || strncmp(next + 8, "home", 4) == 0));
	free(location);
	free(path);
}

static void try_items(const char *text)
{
	const char *rest = text, *item, *before = text;
	size_t length;

	while ((item = postfix_item(&rest, &length))) {
		FUZZ_EXPECT(length > 0 && item >= before && item + length == rest);
		FUZZ_EXPECT(item[0] == '{' || !memchr(item, ',', length) || memchr(item, '{', length));
		before = rest;
	}
	FUZZ_EXPECT(*rest == '\0');
}

static void try_version(const char *text)
{
	int major, minor;

	if (postfix_version_parse(text, &major, &minor))
		postfix_version_suits(major, minor);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct input input = input_of(bytes, length);
	char *text = input_take(&input, length);

	try_tree(text);
	try_place(text);
	try_items(text);
	try_version(text);
	free(text);
	return 0;
}
