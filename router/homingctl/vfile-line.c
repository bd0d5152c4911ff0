/* Lines of dovecot-acl: `[-]IDENTIFIER LETTERS [:NAME...]`, the identifier in quotes where it has a
 * space in it. */
#include "vfile-line.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "sharing.h"

struct text {
	const char *next, *end;
};

static bool is_space(char byte)
{
	return byte == ' ' || byte == '\t';
}

static const char *take_quoted(struct text *text, char *id_r, size_t size)
{
	size_t length = 0;

	for (text->next++;; text->next++) {
		if (text->next == text->end)
			return "the quotes do not end";
		if (*text->next == '"')
			break;
		if (*text->next == '\\' && ++text->next == text->end)
			return "the quotes do not end";
		if (length + 1 >= size)
			return "the identifier is too long";
		id_r[length++] = *text->next;
	}
	id_r[length] = '\0';
	text->next++;
	if (text->next < text->end && !is_space(*text->next))
		return "no space behind the quotes";
	return NULL;
}

static const char *take_plain(struct text *text, char *id_r, size_t size)
{
	const char *begin = text->next;

	while (text->next < text->end && *text->next != ' ')
		text->next++;
	size_t length = (size_t)(text->next - begin);
	if (length >= size)
		return "the identifier is too long";
	memcpy(id_r, begin, length);
	id_r[length] = '\0';
	return NULL;
}

/* A user who is called as if he were many, in any case: grantee_parse() looks at none. */
static bool is_reserved(const char *name)
{
	static const char *const words[] = {"anyone", "authenticated", "owner", NULL};

	for (const char *const *word = words; *word; word++)
		if (strcasecmp(name, *word) == 0)
			return true;
	return name[0] == '$' || name[0] == '-' || strncmp(name, "!$", 2) == 0 ||
	       strncasecmp(name, "anyone@", 7) == 0 || strncasecmp(name, "anyone%", 7) == 0;
}

static const char *translate(const char *id, struct vfile_line *line)
{
	static const struct {
		const char *there, *here;
		enum grantee_kind kind;
	} prefixes[] = {
		{"user=", "", GRANTEE_USER},
		{"group=", "$", GRANTEE_GROUP},
		{"group-override=", "!$", GRANTEE_GROUP_OVERRIDE},
	}, words[] = {
		{"owner", "owner", GRANTEE_OWNER},
		{"authenticated", "authenticated", GRANTEE_AUTHENTICATED},
		{"anyone", "anyone", GRANTEE_ANYONE},
		{"anonymous", "anyone", GRANTEE_ANYONE},
	};

	for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
		size_t length = strlen(prefixes[i].there);

		if (strncmp(id, prefixes[i].there, length) != 0)
			continue;
		if (prefixes[i].kind == GRANTEE_USER && is_reserved(id + length))
			return VFILE_OTHER_KIND;
		line->kind = prefixes[i].kind;
		snprintf(line->who, sizeof line->who, "%s%s", prefixes[i].here, id + length);
		return NULL;
	}
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
		if (strcmp(id, words[i].there) != 0)
			continue;
		line->kind = words[i].kind;
		snprintf(line->who, sizeof line->who, "%s", words[i].here);
		return NULL;
	}
	return "no identifier of a dovecot-acl file";
}

static uint16_t right_of_name(const char *name, size_t length)
{
	static const char *const names[] = {"lookup", "read", "write", "write-seen", "write-deleted",
					    "insert", "post", "expunge", "create", "delete", "admin"};

	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0)
			return (uint16_t)(1 << i);
	return 0;
}

static const char *take_names(struct text *text, uint16_t *rights)
{
	while (text->next < text->end) {
		const char *begin = text->next;

		while (text->next < text->end && !is_space(*text->next) && *text->next != ',')
			text->next++;
		if (text->next > begin) {
			uint16_t right = right_of_name(begin, (size_t)(text->next - begin));

			if (right == 0)
				return "a named right that IMAP does not have";
			*rights |= right;
		}
		if (text->next < text->end)
			text->next++;
	}
	return NULL;
}

static const char *take_rights(struct text *text, uint16_t *rights_r)
{
	while (text->next < text->end && is_space(*text->next))
		text->next++;
	const char *begin = text->next;
	while (text->next < text->end && !is_space(*text->next) && *text->next != ':')
		text->next++;
	const char *why = rights_parse(begin, (size_t)(text->next - begin), rights_r);
	if (why)
		return why;
	while (text->next < text->end && is_space(*text->next))
		text->next++;
	if (text->next == text->end)
		return NULL;
	if (*text->next != ':')
		return "something behind the rights that is no list of named rights (`:name`)";
	text->next++;
	return take_names(text, rights_r);
}

const char *vfile_line_parse(const char *line, size_t length, struct vfile_line *line_r)
{
	struct text text = {.next = line, .end = line + length};
	char id[NAME_SIZE + 32] = "";
	const char *name = id;

	*line_r = (struct vfile_line){0};
	if (length == 0 || line[0] == '#')
		return NULL;
	if (memchr(line, '\0', length))
		return "a NUL byte";
	const char *why = line[0] == '"' ? take_quoted(&text, id, sizeof id)
					 : take_plain(&text, id, sizeof id);
	if (why)
		return why;
	struct vfile_line parsed = {.negative = id[0] == '-'};
	name += parsed.negative;
	if (strlen(name) > NAME_MAX_BYTES)
		return "the identifier is too long";
	why = translate(name, &parsed);
	if (!why)
		why = take_rights(&text, &parsed.rights);
	if (!why)
		*line_r = parsed;
	return why;
}

bool vfile_line_format(const struct grantee *who, bool negative, uint16_t rights, char *text_r,
		       size_t size)
{
	static const char *const fronts[] = {
		[GRANTEE_ANYONE] = "anyone", [GRANTEE_AUTHENTICATED] = "authenticated",
		[GRANTEE_GROUP] = "group=",  [GRANTEE_OWNER] = "owner",
		[GRANTEE_USER] = "user=",    [GRANTEE_GROUP_OVERRIDE] = "group-override=",
	};
	char letters[RIGHTS_SIZE];

	if (who->kind == GRANTEE_DOMAIN)
		return false;
	rights_format(rights, letters);
	/* no name of the directory has a space in it, or a quote */
	int length = snprintf(text_r, size, "%s%s%s %s\n", negative ? "-" : "", fronts[who->kind],
			      who->name, letters);
	return length >= 0 && (size_t)length < size;
}
