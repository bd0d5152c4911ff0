/* Files and directories to JSON text: read whole, checked to be UTF-8 and to be JSON. What is not
 * plainly JSON goes to jansson, which has the last word; its tree is not kept, see json-text.h. */
#include "config-private.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <unistr.h>

enum { READ_BYTES = 1 << 16 };

static int system_error(struct error *error, const char *path, const char *what)
{
	static const struct {
		int number;
		enum error_code code;
	} codes[] = {
		{ENOENT, ERROR_MISSING},   {ENOTDIR, ERROR_MISSING}, {EACCES, ERROR_PERMISSION},
		{EPERM, ERROR_PERMISSION}, {ENOMEM, ERROR_MEMORY},
	};
	int number = errno;
	enum error_code code = ERROR_IO;

	for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++)
		if (codes[i].number == number)
			code = codes[i].code;
	return error_set(error, code, "%s: cannot %s: %s", path, what, strerror(number));
}

static int out_of_memory(struct error *error, const char *path)
{
	return error_set(error, ERROR_MEMORY, "%s: out of memory", path);
}

/* Reads to the end, at most `room` bytes. The bytes are the caller's, also on failure. */
static int read_all(int fd, const char *path, size_t room, struct config_file *file,
		    struct error *error)
{
	size_t size = 0;

	for (;;) {
		if (size - file->text.length < READ_BYTES) {
			size = size ? 2 * size : 2 * READ_BYTES;
			char *grown = realloc(file->bytes, size);
			if (!grown)
				return out_of_memory(error, path);
			file->bytes = grown;
		}
		ssize_t got = read(fd, file->bytes + file->text.length, size - file->text.length);
		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0)
			return system_error(error, path, "read");
		if (got == 0)
			return 0;
		file->text.length += (size_t)got;
		if (file->text.length > room)
			return error_set(error, ERROR_INVALID,
					 "%s: too large: a configuration has at most 1 GiB in all "
					 "its files",
					 path);
	}
}

/* Takes an open file in. */
static int add_file(struct draft *draft, int fd, const char *path, size_t *room,
		    struct error *error)
{
	if (!DRAFT_GROW(draft, draft->files, draft->file_count))
		return out_of_memory(error, path);
	struct config_file *file = &draft->files[draft->file_count];
	*file = (struct config_file){.path = strdup(path)};
	if (!file->path)
		return out_of_memory(error, path);
	draft->file_count++;
	int answer = read_all(fd, path, *room, file, error);
	file->text.bytes = file->bytes;
	if (answer == 0)
		*room -= file->text.length;
	return answer;
}

static int open_path(const char *path, bool *is_folder_r, struct error *error)
{
	struct stat status;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return system_error(error, path, "open");
	if (fstat(fd, &status) < 0) {
		system_error(error, path, "look at");
		close(fd);
		return -1;
	}
	*is_folder_r = S_ISDIR(status.st_mode);
	return fd;
}

/* *.json, but no hidden files: editors leave some behind. */
static int is_wanted(const struct dirent *entry)
{
	size_t length = strlen(entry->d_name);

	return entry->d_name[0] != '.' && length > 5 &&
	       strcmp(entry->d_name + length - 5, ".json") == 0;
}

/* Bytewise, so that the order does not depend on the locale. */
static int compare_names(const struct dirent **left, const struct dirent **right)
{
	return strcmp((*left)->d_name, (*right)->d_name);
}

static int read_entry(struct draft *draft, const char *folder, const char *name, size_t *room,
		      struct error *error)
{
	size_t length = strlen(folder);
	bool is_folder = false;
	char *path;

	if (asprintf(&path, "%s%s%s", folder, folder[length - 1] == '/' ? "" : "/", name) < 0)
		return out_of_memory(error, folder);
	int fd = open_path(path, &is_folder, error);
	int answer = fd < 0 ? -1 : 0;
	if (fd >= 0 && is_folder)
		answer = error_set(error, ERROR_INVALID,
				   "%s: a directory within a directory: give it by itself, or rename it",
				   path);
	if (answer == 0)
		answer = add_file(draft, fd, path, room, error);
	if (fd >= 0)
		close(fd);
	free(path);
	return answer;
}

static int read_folder(struct draft *draft, const char *path, size_t *room, struct error *error)
{
	struct dirent **entries;
	int count = scandir(path, &entries, is_wanted, compare_names);
	int answer = 0;

	if (count < 0)
		return system_error(error, path, "list");
	if (count == 0)
		answer = error_set(error, ERROR_MISSING, "%s: no *.json files in this directory",
				   path);
	for (int i = 0; i < count; i++) {
		if (answer == 0)
			answer = read_entry(draft, path, entries[i]->d_name, room, error);
		free(entries[i]);
	}
	free(entries);
	return answer;
}

static int read_path(struct draft *draft, const char *path, size_t *room, struct error *error)
{
	bool is_folder = false;
	int fd = open_path(path, &is_folder, error);

	if (fd < 0)
		return -1;
	int answer = is_folder ? read_folder(draft, path, room, error)
			       : add_file(draft, fd, path, room, error);
	close(fd);
	return answer;
}

/* A file that cannot be read on; its only mistake. */
static void broken(struct draft *draft, size_t index, size_t offset, const char *what)
{
	struct config_place place = {.file = (uint32_t)index, .offset = (uint32_t)offset};

	draft->files[index].broken = true;
	draft_mistake(draft, place, NULL, "%s", what);
}

static void skip_byte_order_mark(struct draft *draft, size_t index)
{
	struct json_text *text = &draft->files[index].text;

	if (text->length < 3 || memcmp(text->bytes, "\xef\xbb\xbf", 3) != 0)
		return;
	text->bytes += 3;
	text->length -= 3;
	draft_mistake(draft, (struct config_place){.file = (uint32_t)index}, NULL,
		      "a byte order mark before the text, expected UTF-8 without one: save the file "
		      "without it");
}

static bool is_text(struct draft *draft, size_t index)
{
	const struct json_text *text = &draft->files[index].text;
	size_t start = json_text_start(text);
	const char *nul = memchr(text->bytes, '\0', text->length);
	const char *wrong = (const char *)u8_check((const uint8_t *)text->bytes, text->length);

	if (start == text->length)
		broken(draft, index, 0,
		       "an empty file, expected an object: { \"main_domain\": ..., \"domains\": ... }");
	else if (nul && (!wrong || nul < wrong))
		broken(draft, index, (size_t)(nul - text->bytes),
		       "a NUL byte, expected JSON as text");
	else if (wrong)
		broken(draft, index, (size_t)(wrong - text->bytes),
		       "bytes that are not UTF-8: save the file as UTF-8");
	else
		return true;
	return false;
}

/* Where the token begins that jansson took last: it counts what it has read, with that token, and
 * quotes it behind "near". */
static size_t token_start(const struct json_text *text, const json_error_t *error)
{
	size_t end = error->position > 0 ? (size_t)error->position : 0;
	const char *near = strstr(error->text, " near '");
	const char *close = strrchr(error->text, '\'');

	if (end > text->length)
		end = text->length;
	if (json_error_code(error) == json_error_premature_end_of_input)
		return end;
	if (near && close > near + 7) {
		size_t length = (size_t)(close - (near + 7));

		if (length <= end && memcmp(text->bytes + end - length, near + 7, length) == 0)
			return end - length;
	}
	if (end > 0)
		end--;
	while (end > 0 && ((unsigned char)text->bytes[end] & 0xc0) == 0x80)
		end--;
	return end;
}

/* The last byte before the offset that is no white space; NUL if there is none. */
static char byte_before(const struct json_text *text, size_t offset)
{
	while (offset > 0 && strchr(" \t\r\n", text->bytes[offset - 1]))
		offset--;
	return offset > 0 ? text->bytes[offset - 1] : '\0';
}

static const char *advice_for_syntax(const struct json_text *text, size_t start,
				     const char *message)
{
	char byte = start < text->length ? text->bytes[start] : '\0';
	char before = byte_before(text, start);
	bool key_expected = strncmp(message, "string or '}'", 13) == 0;

	if ((byte == '}' || byte == ']') && before == ',')
		return "take away the comma before it";
	if (byte == '/' || byte == '#')
		return "JSON has no comments: take it away";
	if (byte == '\'')
		return "text stands in double quotes";
	if (strstr(message, "newline") || strstr(message, "control character"))
		return "a double quote is missing, or this should be written as \\n or \\t";
	if (strstr(message, "escape"))
		return "a backslash in text is written twice";
	if (strstr(message, "Unicode"))
		return "write the character itself, in UTF-8";
	if (key_expected)
		return "a key stands in double quotes";
	if (strncmp(message, "':' expected", 12) == 0)
		return "a colon stands between a key and its value";
	if (strstr(message, "' expected") && (byte == '"' || byte == '{' || byte == '['))
		return "a comma is missing before it";
	return "expected a value, a comma or what closes it";
}

static const char *advice(const struct json_text *text, size_t start, const json_error_t *error)
{
	switch (json_error_code(error)) {
	case json_error_premature_end_of_input:
		return "the text ends too early: close each { with }, each [ with ] and each string "
		       "with a double quote";
	case json_error_end_of_input_expected:
		return "nothing may stand behind the last }";
	case json_error_numeric_overflow:
		return "expected a smaller number";
	case json_error_null_character:
	case json_error_null_byte_in_key:
		return "take away the \\u0000";
	case json_error_stack_overflow:
		return "nested far deeper than a configuration is";
	case json_error_out_of_memory:
		return "out of memory";
	default:
		return advice_for_syntax(text, start, error->text);
	}
}

static void check_syntax(struct draft *draft, size_t index)
{
	const struct json_text *text = &draft->files[index].text;
	json_error_t error;

	if (json_text_is_plain(text))
		return;
	json_t *tree = json_loadb(text->bytes, text->length, JSON_DECODE_ANY, &error);

	if (tree) {
		json_decref(tree);
		return;
	}
	if (json_error_code(&error) == json_error_out_of_memory)
		draft->no_memory = true;
	size_t start = token_start(text, &error);
	char what[sizeof error.text + 200];
	snprintf(what, sizeof what, "not JSON: %s: %s", error.text, advice(text, start, &error));
	broken(draft, index, start, what);
}

int draft_read_files(struct draft *draft, const char *const *paths, size_t count,
		     struct error *error)
{
	size_t room = CONFIG_MAX_BYTES;

	for (size_t i = 0; i < count; i++)
		if (read_path(draft, paths[i], &room, error) < 0)
			return -1;
	for (size_t i = 0; i < draft->file_count; i++) {
		skip_byte_order_mark(draft, i);
		if (is_text(draft, i))
			check_syntax(draft, i);
	}
	return 0;
}
