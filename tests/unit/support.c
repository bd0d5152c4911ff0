/* Directories for tests, made with the write side as homingctl makes them. */
#include "support.h"

#include <dirent.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cases.h"
#include "config.h"
#include "directory-write.h"

_Noreturn void support_die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static void *must(void *memory)
{
	if (!memory)
		support_die("out of memory");
	return memory;
}

char *support_folder(void)
{
	const char *base = getenv("TMPDIR");
	char *folder;

	if (asprintf(&folder, "%s/homing-test-XXXXXX", base ? base : "/tmp") < 0)
		support_die("out of memory");
	if (!mkdtemp(folder))
		support_die("%s: %s", folder, strerror(errno));
	return folder;
}

void support_folder_remove(char **folder)
{
	DIR *dir = opendir(*folder);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char *path = support_path(*folder, entry->d_name);

		unlink(path);
		free(path);
	}
	if (dir)
		closedir(dir);
	rmdir(*folder);
	free(*folder);
	*folder = NULL;
}

char *support_path(const char *folder, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", folder, name) < 0)
		support_die("out of memory");
	return path;
}

void support_write_file(const char *path, const void *bytes, size_t length)
{
	FILE *file = fopen(path, "w");

	if (!file || fwrite(bytes, 1, length, file) != length || fclose(file) != 0)
		support_die("%s: cannot be written: %s", path, strerror(errno));
}

char *support_read_file(const char *path, size_t *length_r)
{
	FILE *file = fopen(path, "r");
	struct stat status;

	if (!file || fstat(fileno(file), &status) < 0)
		support_die("%s: %s", path, strerror(errno));
	size_t size = (size_t)status.st_size;
	char *bytes = must(malloc(size + 1));
	size_t length = fread(bytes, 1, size, file);
	bytes[length] = '\0';
	fclose(file);
	if (length_r)
		*length_r = length;
	return bytes;
}

static void print_mistake(const char *line, void *context)
{
	(void)context;
	fprintf(stderr, "%s\n", line);
}

static struct directory_writer *writer_open(const char *folder)
{
	struct directory_writer *writer;
	struct error error = {0};

	if (directory_writer_open(folder, true, &writer, &error) < 0)
		support_die("%s", error.text);
	return writer;
}

void support_apply(const char *folder, const char *json)
{
	char *path = support_path(folder, "homing.json");
	const char *const paths[] = {path};
	struct config *config;
	struct error error = {0};

	support_write_file(path, json, strlen(json));
	if (config_load(paths, 1, &config, print_mistake, NULL, &error) != 0)
		support_die("homing.json cannot be loaded: %s", error.text);
	struct directory_writer *writer = writer_open(folder);
	if (directory_apply(writer, config, false, NULL, NULL, &error) < 0)
		support_die("homing.json cannot be applied: %s", error.text);
	directory_writer_close(&writer);
	config_free(&config);
	free(path);
}

enum { NAMES_MAX_WORDS = 64 };

static int add_name(struct directory_writer *writer, char **words, size_t count,
		    struct error *error)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];
	const char *const *targets = (const char *const *)words + 2;

	if (count < 2)
		return error_set(error, ERROR_INVALID, "expected a kind and a name");
	const char *why = address_parse(words[1], strlen(words[1]), local, domain);
	if (why)
		return error_set(error, ERROR_INVALID, "%s: %s", words[1], why);
	if (strcmp(words[0], "account") == 0 && count == 2) {
		struct account_change account = {.local = local, .domain = domain};
		return directory_account_add(writer, &account, error);
	}
	if (strcmp(words[0], "alias") == 0 && count == 3)
		return directory_alias_add(writer, local, domain, words[2], error);
	if (strcmp(words[0], "forwarder") == 0)
		return directory_forwarder_add(writer, local, domain, targets, count - 2, error);
	if (strcmp(words[0], "group") == 0)
		return directory_group_add(writer, local, domain, targets, count - 2, error);
	return error_set(error, ERROR_INVALID, "%s: expected account, alias, forwarder or group",
			 words[0]);
}

static void add_line(struct directory_writer *writer, char *line, size_t number)
{
	char *words[NAMES_MAX_WORDS] = {NULL};
	size_t count = 0;
	struct error error = {0};

	for (char *word = strtok(line, " \t"); word; word = strtok(NULL, " \t")) {
		if (count == NAMES_MAX_WORDS)
			support_die("names:%zu: too many words", number);
		char *copy = must(malloc(strlen(word) * 600 + 1));
		copy[case_unescape(word, strlen(word), copy, strlen(word) * 600)] = '\0';
		words[count++] = copy;
	}
	if (count > 0 && add_name(writer, words, count, &error) < 0)
		support_die("names:%zu: %s", number, error.text);
	while (count > 0)
		free(words[--count]);
}

void support_add_names(const char *folder, const char *names)
{
	struct directory_writer *writer = writer_open(folder);
	char *copy = must(strdup(names)), *rest = copy, *line;

	for (size_t number = 1; (line = strsep(&rest, "\n")); number++)
		if (*line != '#')
			add_line(writer, line, number);
	free(copy);
	directory_writer_close(&writer);
}

int support_setup(void **state, const char *json, const char *names)
{
	char *folder = support_folder();

	support_apply(folder, json);
	support_add_names(folder, names);
	*state = folder;
	return 0;
}

int support_teardown(void **state)
{
	char *folder = *state;

	support_folder_remove(&folder);
	return 0;
}

void support_golden(const char *folder)
{
	char *json = support_read_file(HOMING_CASES "/homing.json", NULL);
	char *names = support_read_file(HOMING_CASES "/names", NULL);

	support_apply(folder, json);
	support_add_names(folder, names);
	free(json);
	free(names);
}

struct support_open support_open(const char *folder, unsigned parts)
{
	struct support_open open;
	struct error error = {0};

	if (directory_open(folder, parts, &open.directory, &error) < 0 ||
	    directory_reader_create(open.directory, &open.reader, &error) < 0)
		support_die("%s", error.text);
	return open;
}

void support_close(struct support_open *open)
{
	directory_reader_destroy(&open->reader);
	directory_close(&open->directory);
}

void support_route(struct directory_reader *reader, const struct route_question *question,
		   struct route_answer *answer_r, struct route_trace *trace)
{
	struct error error = {0};

	if (directory_begin(reader, &error) < 0 ||
	    route(reader, question, answer_r, trace, &error) < 0)
		support_die("%s", error.text);
	directory_end(reader);
}

static bool same_account(const struct route_answer *left, const struct route_answer *right)
{
	return right->result == ROUTE_ACCOUNT && strcmp(left->address, right->address) == 0 &&
	       strcmp(left->local, right->local) == 0 &&
	       strcmp(left->domain, right->domain) == 0 && !right->has_detail &&
	       right->mailbox[0] == '\0';
}

const char *support_not_idempotent(struct directory_reader *reader,
				   const struct route_answer *answer)
{
	static __thread char why[3 * NAME_SIZE];

	for (enum name_kind kind = NAME_LOGIN; kind <= NAME_ADDRESS; kind++) {
		struct route_question question = {.kind = kind,
						  .name = answer->address,
						  .name_length = strlen(answer->address)};
		struct route_answer again;
		struct error error = {0};

		if (route(reader, &question, &again, NULL, &error) < 0)
			support_die("%s: %s", answer->address, error.text);
		bool same = same_account(answer, &again);
		if (!same)
			snprintf(why, sizeof why, "the account %s is, as %s, %s %s",
				 answer->address, kind == NAME_LOGIN ? "a login" : "an address",
				 route_result_name(again.result),
				 again.result == ROUTE_REFUSE ? again.text : again.address);
		route_answer_finish(&again);
		if (!same)
			return why;
	}
	return NULL;
}

unsigned long support_number(const char *variable, unsigned long preset)
{
	const char *text = getenv(variable);
	char *end;

	if (!text || !*text)
		return preset;
	unsigned long number = strtoul(text, &end, 10);
	if (*end)
		support_die("%s=%s: not a number", variable, text);
	return number;
}

uint64_t support_random(uint64_t *state)
{
	uint64_t mixed = *state += 0x9e3779b97f4a7c15;

	mixed = (mixed ^ mixed >> 30) * 0xbf58476d1ce4e5b9;
	mixed = (mixed ^ mixed >> 27) * 0x94d049bb133111eb;
	return mixed ^ mixed >> 31;
}
