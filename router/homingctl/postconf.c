/* Running postconf, and reading what it prints. */
#include "postconf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "doveconf.h"
#include "output.h"

struct pair {
	char *name, *value;
};

struct pairs {
	struct pair *pairs;
	size_t count;
};

/* The printouts that hold `name = value`, in the order of their postconf options below. */
enum printout { ALL, EXPANDED, WRITTEN, OVERRIDES, OVERRIDES_EXPANDED, PRINTOUTS };

struct postconf {
	struct pairs printouts[PRINTOUTS];
	struct postfix_service *services;
	size_t service_count;
};

static const char *const printout_options[PRINTOUTS] = {
	[ALL] = NULL,
	[EXPANDED] = "-x",
	[WRITTEN] = "-n",
	[OVERRIDES] = "-P",
	[OVERRIDES_EXPANDED] = "-Px",
};

static void free_pairs(struct pairs *pairs)
{
	for (size_t i = 0; i < pairs->count; i++) {
		free(pairs->pairs[i].name);
		free(pairs->pairs[i].value);
	}
	free(pairs->pairs);
}

void postconf_free(struct postconf **postconf)
{
	struct postconf *old = *postconf;

	if (!old)
		return;
	for (size_t i = 0; i < PRINTOUTS; i++)
		free_pairs(&old->printouts[i]);
	for (size_t i = 0; i < old->service_count; i++) {
		free(old->services[i].name);
		free(old->services[i].command);
	}
	free(old->services);
	free(old);
	*postconf = NULL;
}

/* Runs `postconf OPTION`. 0 and its output, or an exit code. */
static int run_postconf(const char *option, struct command_output *output_r)
{
	/* who is not root often has no sbin in the path */
	static const char *const programs[] = {"postconf", "/usr/sbin/postconf"};
	int status = 127;

	for (size_t i = 0; status == 127 && i < sizeof programs / sizeof programs[0]; i++) {
		char *argv[] = {(char *)programs[i], (char *)option, NULL};

		if (i > 0)
			command_output_finish(output_r);
		if (!command_run(argv, output_r))
			return EX_OSERR;
		status = output_r->status;
	}
	if (status == 127)
		return EX_NOINPUT;
	if (status != 0) {
		output_r->errors[strcspn(output_r->errors, "\n")] = '\0';
		complain("Postfix does not take its own settings: %s", output_r->errors);
		return EX_CONFIG;
	}
	return 0;
}

static bool add_pair(struct pairs *pairs, const char *line, size_t name, const char *value,
		     size_t length)
{
	struct pair *grown = realloc(pairs->pairs, (pairs->count + 1) * sizeof *grown);

	if (!grown)
		return false;
	pairs->pairs = grown;
	struct pair *pair = &grown[pairs->count];
	*pair = (struct pair){.name = strndup(line, name), .value = strndup(value, length)};
	pairs->count++;
	return pair->name && pair->value;
}

/* `NAME = VALUE`, one a line: postconf joins what goes over several. */
static bool parse_pairs(struct pairs *pairs, const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n"), name = strcspn(text, " =\n");
		const char *equals = memchr(text, '=', length);

		if (equals && name > 0) {
			const char *value = equals + 1, *end = text + length;
			while (value < end && *value == ' ')
				value++;
			while (end > value && end[-1] == ' ')
				end--;
			if (!add_pair(pairs, text, name, value, (size_t)(end - value)))
				return false;
		}
		text += length + (text[length] == '\n');
	}
	return true;
}

static const char *find_pair(const struct pairs *pairs, const char *name)
{
	const char *value = NULL;

	for (size_t i = 0; i < pairs->count; i++)
		if (strcmp(pairs->pairs[i].name, name) == 0)
			value = pairs->pairs[i].value; /* the last one counts */
	return value;
}

/* In the chroot column `-` is the default, which was `y` before compatibility level 1. */
static bool is_chrooted(const struct postconf *postconf, const char *column)
{
	return column[0] == 'y' ||
	       (column[0] == '-' && atoi(postconf_value(postconf, "compatibility_level")) < 1);
}

/* `submission inet n - y - - smtpd -o ...`. What is no such line is passed over. */
static bool add_service(struct postconf *postconf, const char *line, size_t length)
{
	enum { NAME, TYPE, CHROOT = 4, COMMAND = 7, COLUMNS };
	char *copy = strndup(line, length), *columns[COLUMNS], *rest = copy;
	int count = 0;

	for (char *word; copy && count < COLUMNS && (word = strtok_r(rest, " \t", &rest)); count++)
		columns[count] = word;
	if (count < COLUMNS) {
		free(copy);
		return copy != NULL;
	}
	struct postfix_service *grown = realloc(postconf->services,
		(postconf->service_count + 1) * sizeof *grown);
	if (grown) {
		postconf->services = grown;
		struct postfix_service *service = &grown[postconf->service_count++];
		*service = (struct postfix_service){.command = strdup(columns[COMMAND])};
		if (asprintf(&service->name, "%s/%s", columns[NAME], columns[TYPE]) < 0)
			service->name = NULL;
		service->chrooted = is_chrooted(postconf, columns[CHROOT]);
		grown = service->name && service->command ? grown : NULL;
	}
	free(copy);
	return grown != NULL;
}

static bool parse_services(struct postconf *postconf, const char *text)
{
	while (*text) {
		size_t length = strcspn(text, "\n");

		if (!add_service(postconf, text, length))
			return false;
		text += length + (text[length] == '\n');
	}
	return true;
}

static int load(struct postconf *postconf)
{
	struct command_output output;
	int code = 0;

	for (size_t i = 0; code == 0 && i < PRINTOUTS; i++) {
		code = run_postconf(printout_options[i], &output);
		if (code == 0 && !parse_pairs(&postconf->printouts[i], output.text))
			code = fail_memory();
		command_output_finish(&output);
	}
	if (code != 0)
		return code;
	code = run_postconf("-M", &output);
	if (code == 0 && !parse_services(postconf, output.text))
		code = fail_memory();
	command_output_finish(&output);
	return code;
}

int postconf_load(struct postconf **postconf_r)
{
	struct postconf *postconf = calloc(1, sizeof *postconf);

	if (!postconf)
		return fail_memory();
	int code = load(postconf);
	if (code != 0)
		postconf_free(&postconf);
	*postconf_r = postconf;
	return code;
}

const char *postconf_written(const struct postconf *postconf, const char *name)
{
	return find_pair(&postconf->printouts[WRITTEN], name);
}

const char *postconf_raw(const struct postconf *postconf, const char *name)
{
	const char *value = find_pair(&postconf->printouts[ALL], name);

	return value ? value : "";
}

const char *postconf_value(const struct postconf *postconf, const char *name)
{
	const char *value = find_pair(&postconf->printouts[EXPANDED], name);

	return value ? value : "";
}

const struct postfix_service *postconf_services(const struct postconf *postconf, size_t *count_r)
{
	*count_r = postconf->service_count;
	return postconf->services;
}

const struct postfix_service *postconf_service(const struct postconf *postconf, const char *name)
{
	for (size_t i = 0; i < postconf->service_count; i++)
		if (strcmp(postconf->services[i].name, name) == 0)
			return &postconf->services[i];
	return NULL;
}

static const char *find_override(const struct pairs *pairs, const char *service, const char *name)
{
	char *whole;

	if (asprintf(&whole, "%s/%s", service, name) < 0)
		return NULL;
	const char *value = find_pair(pairs, whole);
	free(whole);
	return value;
}

const char *postconf_override(const struct postconf *postconf, const char *service,
			      const char *name)
{
	return find_override(&postconf->printouts[OVERRIDES_EXPANDED], service, name);
}

const char *postconf_override_raw(const struct postconf *postconf, const char *service,
				  const char *name)
{
	return find_override(&postconf->printouts[OVERRIDES], service, name);
}

const char *postconf_effective(const struct postconf *postconf, const char *service,
			       const char *name)
{
	const char *own = postconf_override(postconf, service, name);

	return own ? own : postconf_value(postconf, name);
}

const char *postfix_item(const char **rest, size_t *length_r)
{
	const char *start = *rest + strspn(*rest, ", \t\r\n"), *end = start;
	int depth = 0;

	for (; *end && (depth > 0 || !strchr(", \t\r\n", *end)); end++)
		depth += (*end == '{') - (*end == '}');
	*rest = end;
	*length_r = (size_t)(end - start);
	return end > start ? start : NULL;
}

bool postfix_version_parse(const char *text, int *major_r, int *minor_r)
{
	return sscanf(text, "%d.%d", major_r, minor_r) == 2;
}

bool postfix_version_suits(int major, int minor)
{
	return major > 3 || (major == 3 && minor >= 7);
}
