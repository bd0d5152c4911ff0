/* The prefix of a shared namespace. */
#include "prefix.h"

#include <string.h>

enum variable { VARIABLE_NONE, VARIABLE_USER, VARIABLE_NAME, VARIABLE_DOMAIN };

/* The variable that *pattern begins with; moves behind it. */
static enum variable next_variable(const char **pattern)
{
	/* the longer name first: $user begins $username */
	static const struct {
		const char *text;
		enum variable variable;
	} variables[] = {
		{"%u", VARIABLE_USER},
		{"%n", VARIABLE_NAME},
		{"%d", VARIABLE_DOMAIN},
		{"$username", VARIABLE_NAME},
		{"$user", VARIABLE_USER},
		{"$domain", VARIABLE_DOMAIN},
	};

	for (size_t i = 0; i < sizeof(variables) / sizeof(variables[0]); i++) {
		size_t length = strlen(variables[i].text);
		if (strncmp(*pattern, variables[i].text, length) == 0) {
			*pattern += length;
			return variables[i].variable;
		}
	}
	return VARIABLE_NONE;
}

static bool has_variable(const char *pattern, enum variable wanted)
{
	while (*pattern != '\0') {
		enum variable variable = next_variable(&pattern);
		if (variable == wanted && variable != VARIABLE_NONE)
			return true;
		if (variable == VARIABLE_NONE)
			pattern++;
	}
	return false;
}

static bool is_literal(const char *pattern)
{
	return !has_variable(pattern, VARIABLE_USER) && !has_variable(pattern, VARIABLE_NAME) &&
	       !has_variable(pattern, VARIABLE_DOMAIN);
}

/* No address has a `/` where it means something to us, but any other separator may be in one. */
static bool needs_stand_in(char separator)
{
	return separator != '/' && separator != PREFIX_STAND_IN;
}

static void replace(char *text, char from, char to)
{
	for (; *text != '\0'; text++) {
		if (*text == from)
			*text = to;
	}
}

struct part {
	const char *text;
	size_t length;
};

static bool join(const struct part *user, const struct part *name, const struct part *domain,
		 char text_r[NAME_SIZE])
{
	const struct part *first = user->text != NULL ? user : name;
	bool with_domain = user->text == NULL && domain->text != NULL;
	size_t length = first->length;

	if (first->text == NULL || first->length == 0 || (with_domain && domain->length == 0) ||
	    length + (with_domain ? domain->length + 1 : 0) >= NAME_SIZE)
		return false;
	memcpy(text_r, first->text, first->length);
	if (with_domain) {
		text_r[length++] = '@';
		memcpy(text_r + length, domain->text, domain->length);
		length += domain->length;
	}
	text_r[length] = '\0';
	return true;
}

bool prefix_parse(const char *pattern, char separator, const char *name,
		  struct prefix_owner *owner_r)
{
	struct part parts[VARIABLE_DOMAIN + 1] = {0};
	const char *p = pattern, *position = name;

	while (*p != '\0') {
		if (*position == '\0' && is_literal(p))
			break;
		enum variable variable = next_variable(&p);
		if (variable == VARIABLE_NONE) {
			if (*p != *position)
				return false;
			p++;
			position++;
			continue;
		}
		/* as Dovecot reads it: up to the first of what follows in the pattern */
		char until = *p != '\0' ? *p : separator;
		const char *end = strchr(position, until);
		if (end == NULL)
			end = position + strlen(position);
		parts[variable] = (struct part){position, (size_t)(end - position)};
		position = end;
	}
	if (!join(&parts[VARIABLE_USER], &parts[VARIABLE_NAME], &parts[VARIABLE_DOMAIN],
		  owner_r->typed))
		return false;
	if (needs_stand_in(separator))
		replace(owner_r->typed, PREFIX_STAND_IN, separator);
	owner_r->length = (size_t)(position - name);
	owner_r->tail = p;
	return true;
}

struct text {
	char *bytes;
	size_t length;
	bool fits;
};

static void append(struct text *text, const char *bytes, size_t length)
{
	if (text->length + length >= PREFIX_TEXT_SIZE) {
		text->fits = false;
		return;
	}
	memcpy(text->bytes + text->length, bytes, length);
	text->length += length;
	text->bytes[text->length] = '\0';
}

/* Inside a variable the separator would end it. */
static void append_value(struct text *text, const char *bytes, size_t length, char separator)
{
	size_t start = text->length;

	append(text, bytes, length);
	if (text->fits && needs_stand_in(separator))
		replace(text->bytes + start, separator, PREFIX_STAND_IN);
}

static bool format(const char *pattern, char separator, const char *owner, const char *own_domain,
		   struct text *text)
{
	bool bare = !has_variable(pattern, VARIABLE_DOMAIN);
	const char *at = strrchr(owner, '@');
	size_t all = strlen(owner), local = at != NULL ? (size_t)(at - owner) : all;

	if (bare && at != NULL && strcmp(at + 1, own_domain) != 0)
		local = all;
	while (*pattern != '\0') {
		switch (next_variable(&pattern)) {
		case VARIABLE_USER:
			append_value(text, owner, all, separator);
			break;
		case VARIABLE_NAME:
			append_value(text, owner, local, separator);
			break;
		case VARIABLE_DOMAIN:
			if (at == NULL)
				return false;
			append_value(text, at + 1, all - local - 1, separator);
			break;
		case VARIABLE_NONE:
			append(text, pattern++, 1);
			break;
		}
	}
	return text->fits;
}

/* What is typed means this owner? */
static bool means(const char *typed, const char *owner, const char *own_domain)
{
	size_t length = strlen(typed);

	if (strcmp(typed, owner) == 0)
		return true;
	return strchr(typed, '@') == NULL && strncmp(owner, typed, length) == 0 &&
	       owner[length] == '@' && strcmp(owner + length + 1, own_domain) == 0;
}

bool prefix_format(const char *pattern, char separator, const char *owner, const char *own_domain,
		   char text_r[PREFIX_TEXT_SIZE])
{
	struct text text = {.bytes = text_r, .fits = true};
	struct prefix_owner read;

	text_r[0] = '\0';
	/* what would not be read back as the same owner must not be shown */
	return format(pattern, separator, owner, own_domain, &text) &&
	       prefix_parse(pattern, separator, text_r, &read) && read.length == text.length &&
	       means(read.typed, owner, own_domain);
}

size_t prefix_literal_length(const char *list_pattern, char separator)
{
	size_t length = strcspn(list_pattern, "*%");

	if (list_pattern[length] == '\0')
		return length;
	while (length > 0 && list_pattern[length - 1] != separator)
		length--;
	return length > 0 ? length - 1 : 0;
}
