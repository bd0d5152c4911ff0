/* Running doveconf, and reading what it prints. */
#include "doveconf.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

#include "output.h"

enum { MAX_OUTPUT = 16 << 20, MAX_DEPTH = 16, MAX_WORDS = 64 };

/* The whole of a file from its beginning, ended by NUL. */
static char *read_whole(FILE *file)
{
	char *text = NULL;
	size_t length = 0, got = 1;

	rewind(file);
	while (got > 0 && length < MAX_OUTPUT) {
		char *grown = realloc(text, length + 65536 + 1);
		if (!grown) {
			free(text);
			return NULL;
		}
		text = grown;
		got = fread(text + length, 1, 65536, file);
		length += got;
		text[length] = '\0';
	}
	return text;
}

static int run_child(char *const argv[], FILE *input, FILE *output, FILE *errors)
{
	int status;
	pid_t child = fork();

	if (child < 0)
		return -1;
	if (child == 0) {
		if ((!input || dup2(fileno(input), STDIN_FILENO) >= 0) &&
		    dup2(fileno(output), STDOUT_FILENO) >= 0 && dup2(fileno(errors), STDERR_FILENO) >= 0)
			execvp(argv[0], argv);
		dprintf(STDERR_FILENO, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -1;
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

bool command_run(char *const argv[], struct command_output *output_r)
{
	return command_run_input(argv, NULL, output_r);
}

bool command_run_input(char *const argv[], FILE *input, struct command_output *output_r)
{
	/* Files instead of pipes: neither stream can block the other. */
	FILE *output = tmpfile(), *errors = tmpfile();

	*output_r = (struct command_output){.status = -1};
	fflush(stdout);
	if (output && errors)
		output_r->status = run_child(argv, input, output, errors);
	if (output_r->status >= 0) {
		output_r->text = read_whole(output);
		output_r->errors = read_whole(errors);
	}
	if (output)
		fclose(output);
	if (errors)
		fclose(errors);
	if (output_r->text && output_r->errors)
		return true;
	complain("cannot run %s: %s", argv[0], strerror(errno));
	command_output_finish(output_r);
	return false;
}

void command_output_finish(struct command_output *output)
{
	free(output->text);
	free(output->errors);
	output->text = output->errors = NULL;
}

static void free_settings(struct setting *setting)
{
	for (size_t i = 0; i < setting->count; i++)
		free_settings(&setting->settings[i]);
	free(setting->settings);
	free(setting->name);
	free(setting->value);
}

void doveconf_free(struct setting *root)
{
	if (!root)
		return;
	free_settings(root);
	free(root);
}

static struct setting *add_setting(struct setting *block, const char *name, size_t name_length,
				   const char *value, size_t value_length)
{
	struct setting *grown = realloc(block->settings, (block->count + 1) * sizeof *grown);

	if (!grown)
		return NULL;
	block->settings = grown;
	struct setting *setting = &grown[block->count];
	*setting = (struct setting){
		.name = strndup(name, name_length),
		.value = strndup(value, value_length),
	};
	if (!setting->name || !setting->value) {
		free(setting->name);
		free(setting->value);
		return NULL;
	}
	block->count++;
	return setting;
}

/* One line; `depth` blocks are open, the innermost last. False: out of memory. A block that is
 * nested too deeply is counted in *skipped until its end. */
static bool parse_line(struct setting **open, int *depth, int *skipped, const char *line,
		       size_t length)
{
	while (length > 0 && isspace((unsigned char)line[0]))
		line++, length--;
	while (length > 0 && isspace((unsigned char)line[length - 1]))
		length--;
	if (length == 0 || line[0] == '#')
		return true;
	const char *equals = memchr(line, '=', length);
	size_t name = 0;
	while (name < length && !isspace((unsigned char)line[name]) && line[name] != '=')
		name++;
	if (length == 1 && line[0] == '}') {
		if (*skipped > 0)
			(*skipped)--;
		else if (*depth > 0)
			(*depth)--;
		return true;
	}
	bool is_block = line[length - 1] == '{' && (!equals || equals > line + name + 1);
	if (is_block && (*depth + 1 == MAX_DEPTH || *skipped > 0)) {
		(*skipped)++;
		return true;
	}
	if (*skipped > 0 || (!is_block && !equals))
		return true;
	const char *value = is_block ? line + name : equals + 1;
	const char *end = line + length - (is_block ? 1 : 0);
	while (value < end && isspace((unsigned char)*value))
		value++;
	while (end > value && isspace((unsigned char)end[-1]))
		end--;
	struct setting *added = add_setting(open[*depth], line, name, value, (size_t)(end - value));
	if (!added)
		return false;
	if (is_block) {
		added->is_block = true;
		open[++*depth] = added;
	}
	return true;
}

struct setting *doveconf_parse(const char *text)
{
	struct setting *open[MAX_DEPTH] = {calloc(1, sizeof **open)};
	int depth = 0, skipped = 0;
	bool fine = open[0] != NULL;

	while (fine && *text) {
		size_t length = strcspn(text, "\n");

		fine = parse_line(open, &depth, &skipped, text, length);
		text += length + (text[length] == '\n');
	}
	if (!fine) {
		doveconf_free(open[0]);
		complain("out of memory");
		return NULL;
	}
	return open[0];
}

const char *setting_get(const struct setting *block, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < block->count; i++)
		if (!block->settings[i].is_block && strcmp(block->settings[i].name, name) == 0)
			value = block->settings[i].value; /* the last one counts */
	return value;
}

const char *setting_or(const struct setting *block, const char *name, const char *otherwise)
{
	const char *value = setting_get(block, name);

	return value ? value : otherwise;
}

/* 2.3 prints a list in quotes where it begins with a space, as `$mail_plugins acl` does. */
static bool has_word(const char *list, const char *word)
{
	static const char between[] = " ,\"";
	size_t wanted = strlen(word);

	for (list += strspn(list, between); *list; list += strspn(list, between)) {
		size_t length = strcspn(list, between);

		if (length == wanted && strncmp(list, word, wanted) == 0)
			return true;
		list += length;
	}
	return false;
}

int setting_list_has(const struct setting *block, const char *name, const char *word)
{
	int has = -1;

	for (size_t i = 0; i < block->count; i++) {
		const struct setting *list = &block->settings[i];

		if (strcmp(list->name, name) != 0)
			continue;
		if (!list->is_block)
			has = has_word(list->value, word);
		else if (setting_get(list, word))
			has = strcmp(setting_get(list, word), "yes") == 0;
	}
	return has;
}

const struct setting *setting_block(const struct setting *block, const char *type,
				    const char *name)
{
	for (size_t i = 0; i < block->count; i++) {
		const struct setting *setting = &block->settings[i];

		if (setting->is_block && strcmp(setting->name, type) == 0 &&
		    (name[0] == '\0' || strcmp(setting->value, name) == 0))
			return setting;
	}
	return NULL;
}

/* The words of --doveconf, -a, and -c FILE. `words` is cut apart in place. */
static bool build_command(const struct call *call, char *words, char *argv[MAX_WORDS + 4])
{
	int count = 0;

	for (char *word = strtok(words, " \t"); word; word = strtok(NULL, " \t")) {
		if (count == MAX_WORDS)
			return false;
		argv[count++] = word;
	}
	if (count == 0)
		return false;
	argv[count++] = (char *)"-a";
	if (has_option(call, OPTION_CONFIG)) {
		argv[count++] = (char *)"-c";
		argv[count++] = (char *)call->options[OPTION_CONFIG];
	}
	argv[count] = NULL;
	return true;
}

int doveconf_load(const struct call *call, struct setting **root_r, char **problem_r)
{
	const char *program = call->options[OPTION_DOVECONF];
	char *argv[MAX_WORDS + 4];
	char *words = strdup(program ? program : "doveconf");
	struct command_output output = {0};
	int code = EX_OK;

	*root_r = NULL;
	*problem_r = NULL;
	if (!words)
		return fail_memory();
	if (!build_command(call, words, argv)) {
		*problem_r = strdup("--doveconf: not a command");
		code = EX_USAGE;
	} else if (!command_run(argv, &output)) {
		code = EX_OSERR;
	} else if (output.status != 0) {
		*problem_r = strndup(output.errors, strcspn(output.errors, "\n"));
		code = output.status == 127 ? EX_NOINPUT : EX_CONFIG;
	} else {
		*root_r = doveconf_parse(output.text);
		code = *root_r ? EX_OK : EX_OSERR;
	}
	command_output_finish(&output);
	free(words);
	return code;
}
