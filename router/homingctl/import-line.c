/* One line of `account import`. A scanner takes the plain lines, which are nearly all: no
 * escapes, known keys, each once. Whatever it does not take goes to jansson, which also has the
 * last word on what is wrong, so that a mistake reads the same on either way. */
#include "import-line.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistr.h>

#include "credentials.h"

static const char *const key_names[IMPORT_KEYS] = {
	[IMPORT_ACCOUNT] = "account", [IMPORT_PASSWORD] = "password", [IMPORT_HOME] = "home",
	[IMPORT_UID] = "uid",	      [IMPORT_GID] = "gid",
};

struct report {
	import_mistake_cb *mistake;
	void *context;
	bool any;
};

static void complain_about(struct report *report, const char *key, const char *why)
{
	report->any = true;
	if (report->mistake)
		report->mistake(key, why, report->context);
}

static int find_key(const char *text, size_t length)
{
	for (int key = 0; key < IMPORT_KEYS; key++)
		if (strlen(key_names[key]) == length && memcmp(key_names[key], text, length) == 0)
			return key;
	return -1;
}

/* The scanner. Each step moves *next behind what it took, and is false where the text is not as
 * plain as it wants. The copy ends with a NUL, which no step accepts. */

static char *skip_space(char *next)
{
	while (*next == ' ' || *next == '\t' || *next == '\r')
		next++;
	return next;
}

static bool scan_byte(char **next, char wanted)
{
	*next = skip_space(*next);
	if (**next != wanted)
		return false;
	(*next)++;
	return true;
}

static bool scan_string(char **next, struct import_text *text_r)
{
	bool ascii = true;

	if (!scan_byte(next, '"'))
		return false;
	char *start = *next, *end = start;
	for (; *end != '"'; end++) {
		if ((unsigned char)*end < 0x20 || *end == '\\')
			return false;
		ascii = ascii && (unsigned char)*end < 0x80;
	}
	if (!ascii && u8_check((const uint8_t *)start, (size_t)(end - start)))
		return false;
	*text_r = (struct import_text){.text = start, .length = (size_t)(end - start)};
	*next = end + 1;
	return true;
}

static bool scan_groups(struct import_line *line, char **next)
{
	if (!scan_byte(next, '['))
		return false;
	if (scan_byte(next, ']'))
		return true;
	do {
		if (line->group_count == IMPORT_MAX_GROUPS ||
		    !scan_string(next, &line->groups[line->group_count]))
			return false;
		line->group_count++;
	} while (scan_byte(next, ','));
	return scan_byte(next, ']');
}

static bool scan_pair(struct import_line *line, char **next, bool *groups_given)
{
	struct import_text key;

	if (!scan_string(next, &key) || !scan_byte(next, ':'))
		return false;
	if (key.length == 6 && memcmp(key.text, "groups", 6) == 0) {
		if (*groups_given)
			return false;
		*groups_given = true;
		return scan_groups(line, next);
	}
	int number = find_key(key.text, key.length);
	return number >= 0 && !line->values[number].text &&
	       scan_string(next, &line->values[number]);
}

/* Ends each text where its closing quote stood. */
static void terminate(struct import_line *line)
{
	for (int key = 0; key < IMPORT_KEYS; key++)
		if (line->values[key].text)
			line->values[key].text[line->values[key].length] = '\0';
	for (size_t i = 0; i < line->group_count; i++)
		line->groups[i].text[line->groups[i].length] = '\0';
}

static void forget(struct import_line *line)
{
	memset(line->values, 0, sizeof line->values);
	line->group_count = 0;
}

static bool scan_line(struct import_line *line, size_t length)
{
	char *next = line->copy;
	bool groups_given = false;

	if (!scan_byte(&next, '{'))
		return false;
	do {
		if (!scan_pair(line, &next, &groups_given))
			return false;
	} while (scan_byte(&next, ','));
	if (!scan_byte(&next, '}') || skip_space(next) != line->copy + length)
		return false;
	terminate(line);
	return true;
}

/* The thorough way. */

static void take_text(struct import_line *line, int key, json_t *value, struct report *report)
{
	bool number = json_is_integer(value) && (key == IMPORT_UID || key == IMPORT_GID);

	if (json_is_null(value))
		return;
	if (number && json_integer_value(value) >= 0) {
		char *text = line->numbers[key - IMPORT_UID];
		int length = snprintf(text, sizeof line->numbers[0], "%lld",
				      (long long)json_integer_value(value));
		line->values[key] = (struct import_text){.text = text, .length = (size_t)length};
	} else if (json_is_string(value)) {
		line->values[key] = (struct import_text){.text = (char *)json_string_value(value),
							 .length = json_string_length(value)};
	} else {
		complain_about(report, key_names[key],
			       key == IMPORT_UID || key == IMPORT_GID
				       ? "neither a string nor a number from 0"
				       : "not a string");
	}
}

static void take_groups(struct import_line *line, json_t *value, struct report *report)
{
	size_t i;
	json_t *group;

	if (json_is_null(value))
		return;
	if (!json_is_array(value)) {
		complain_about(report, "groups", "not a list of strings");
		return;
	}
	json_array_foreach(value, i, group) {
		char key[32];
		snprintf(key, sizeof key, "groups[%zu]", i);
		if (i >= IMPORT_MAX_GROUPS) {
			complain_about(report, key, "more than 1024 groups");
			return;
		}
		if (!json_is_string(group)) {
			complain_about(report, key, "not a string");
			continue;
		}
		line->groups[line->group_count++] =
			(struct import_text){.text = (char *)json_string_value(group),
					     .length = json_string_length(group)};
	}
}

static void load_line(struct import_line *line, size_t length, struct report *report)
{
	json_error_t error;
	const char *name;
	json_t *value;

	line->json = json_loadb(line->copy, length, JSON_REJECT_DUPLICATES, &error);
	if (!line->json) {
		char why[JSON_ERROR_TEXT_LENGTH + 64];
		snprintf(why, sizeof why, "column %d: not JSON: %s", error.column, error.text);
		complain_about(report, "", why);
		return;
	}
	if (!json_is_object(line->json)) {
		complain_about(report, "", "not a JSON object");
		return;
	}
	json_object_foreach(line->json, name, value) {
		int key = find_key(name, strlen(name));
		if (strcmp(name, "groups") == 0)
			take_groups(line, value, report);
		else if (key >= 0)
			take_text(line, key, value, report);
		else
			complain_about(report, name, "no such key; there are account, password, home, "
						     "uid, gid, groups");
	}
}

/* What the values mean, however they were read. */

static const char *home_refusal(const struct import_text *home)
{
	if (home->length == 0)
		return NULL; /* the default */
	if (home->text[0] != '/')
		return "not an absolute path";
	if (home->length > 1000)
		return "longer than 1000 bytes";
	for (size_t i = 0; i < home->length; i++)
		if ((unsigned char)home->text[i] < ' ' || home->text[i] == 0x7f)
			return "has a control character";
	return NULL;
}

static const char *id_refusal(const struct import_text *id)
{
	if (id->length > 63)
		return "longer than 63 bytes";
	for (size_t i = 0; i < id->length; i++)
		if ((unsigned char)id->text[i] <= ' ' || id->text[i] == 0x7f)
			return "has white space or a control character";
	return NULL;
}

/* Was there an account of a wrong type? That is reported already. */
static bool is_account_reported(const struct import_line *line)
{
	const json_t *account = json_object_get(line->json, "account");

	return account && !json_is_null(account);
}

static void check_account(struct import_line *line, struct report *report)
{
	const struct import_text *account = &line->values[IMPORT_ACCOUNT];
	const char *why = "missing";

	if (!account->text && is_account_reported(line))
		return;
	if (account->text)
		why = address_parse(account->text, account->length, line->local, line->domain);
	if (why)
		complain_about(report, "account", why);
	line->account.local = line->local;
	line->account.domain = line->domain;
}

static void check_values(struct import_line *line, struct report *report)
{
	const struct import_text *values = line->values;
	const char *why = NULL;

	if (values[IMPORT_PASSWORD].text)
		why = credential_refusal(values[IMPORT_PASSWORD].text, values[IMPORT_PASSWORD].length);
	if (why)
		complain_about(report, "password", why);
	if (values[IMPORT_HOME].text && (why = home_refusal(&values[IMPORT_HOME])))
		complain_about(report, "home", why);
	if (values[IMPORT_UID].text && (why = id_refusal(&values[IMPORT_UID])))
		complain_about(report, "uid", why);
	if (values[IMPORT_GID].text && (why = id_refusal(&values[IMPORT_GID])))
		complain_about(report, "gid", why);
	line->account.credential = values[IMPORT_PASSWORD].text;
	line->account.home = values[IMPORT_HOME].text;
	line->account.uid = values[IMPORT_UID].text;
	line->account.gid = values[IMPORT_GID].text;
}

static void check_groups(struct import_line *line, struct report *report)
{
	for (size_t i = 0; i < line->group_count; i++) {
		char local[LOCAL_SIZE], domain[DOMAIN_SIZE], key[32];
		const char *why =
			address_parse(line->groups[i].text, line->groups[i].length, local, domain);

		if (!why && asprintf(&line->group_names[i], "%s@%s", local, domain) < 0) {
			line->group_names[i] = NULL;
			why = "out of memory";
		}
		snprintf(key, sizeof key, "groups[%zu]", i);
		if (why)
			complain_about(report, key, why);
	}
	line->account.groups =
		line->group_count > 0 ? (const char *const *)line->group_names : NULL;
}

void import_line_finish(struct import_line *line)
{
	for (size_t i = 0; i < line->group_count; i++) {
		free(line->group_names[i]);
		line->group_names[i] = NULL;
	}
	forget(line);
	json_decref(line->json);
	line->json = NULL;
}

bool import_line_parse(struct import_line *line, const char *bytes, size_t length,
		       import_mistake_cb *mistake, void *context)
{
	struct report report = {.mistake = mistake, .context = context};

	import_line_finish(line);
	if (length > LINE_MAX_BYTES) {
		complain_about(&report, "", "the line is longer than 65536 bytes");
		return false;
	}
	memcpy(line->copy, bytes, length);
	line->copy[length] = '\0';
	if (!scan_line(line, length)) {
		forget(line);
		load_line(line, length, &report);
		if (!json_is_object(line->json))
			return false;
	}
	check_account(line, &report);
	check_values(line, &report);
	check_groups(line, &report);
	return !report.any;
}
