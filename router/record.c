/* Router records: their canonical form, matching, and what they make of a name. */
#include "record.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A pattern is split where `@` stands; a match or `to` without one has no local part. */
struct pattern {
	const char *local; /* NULL: a domain alone */
	size_t local_length;
	const char *domain;
	size_t domain_length;
};

static struct pattern pattern_split(const char *text)
{
	const char *at = strrchr(text, '@');

	if (!at)
		return (struct pattern){.domain = text, .domain_length = strlen(text)};
	return (struct pattern){.local = text,
				.local_length = (size_t)(at - text),
				.domain = at + 1,
				.domain_length = strlen(at + 1)};
}

static bool has_star(const char *text, size_t length)
{
	return memchr(text, '*', length) != NULL;
}

static unsigned count_stars(const char *text)
{
	unsigned count = 0;

	for (; *text; text++)
		count += *text == '*';
	return count;
}

/* A label of a domain pattern, with a `*` in it: ASCII, lower-cased. */
static bool star_label(const char *label, size_t length, char *out)
{
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)label[i];

		if (!isascii(byte) || !(isalnum(byte) || byte == '-' || byte == '_' || byte == '*'))
			return false;
		out[i] = (char)tolower(byte);
	}
	out[length] = '\0';
	return length <= 63;
}

/* Lower case and A-labels, label by label, `*` where it stands. */
static bool domain_pattern(const char *text, size_t length, char out[DOMAIN_SIZE])
{
	size_t used = 0;
	const char *end = text + length;

	while (text <= end) {
		const char *dot = memchr(text, '.', (size_t)(end - text));
		size_t label_length = (size_t)((dot ? dot : end) - text);
		char label[DOMAIN_SIZE];
		bool fine = has_star(text, label_length)
				    ? label_length < sizeof label && star_label(text, label_length, label)
				    : domain_parse(text, label_length, label);

		if (!fine || used + strlen(label) + 1 >= DOMAIN_SIZE)
			return false;
		used += (size_t)snprintf(out + used, DOMAIN_SIZE - used, "%s%s", used ? "." : "",
					 label);
		if (!dot)
			break;
		text = dot + 1;
	}
	return used > 0;
}

static const char *canonical_match(const char *match, size_t length, char out[NAME_SIZE])
{
	char copy[NAME_SIZE] = "", domain[DOMAIN_SIZE], local[LOCAL_SIZE];
	const char *why = name_refusal(NAME_ADDRESS, match, length);

	if (why)
		return why;
	memcpy(copy, match, length);
	copy[length] = '\0';
	struct pattern pattern = pattern_split(copy);
	if (!domain_pattern(pattern.domain, pattern.domain_length, domain))
		return "not a domain, or local@domain, with `*` where anything may stand";
	if (count_stars(copy) > RECORD_MAX_WILDCARDS)
		return "more than 16 `*`";
	if (!pattern.local) {
		strcpy(out, domain);
		return NULL;
	}
	if (pattern.local_length == 0)
		return "nothing before the `@`: write `*@domain` or `domain` for every name";
	if (local_fold(pattern.local, pattern.local_length, local) < 0)
		return "a local part longer than 255 bytes";
	snprintf(out, NAME_SIZE, "%s@%s", local, domain);
	return NULL;
}

/* 1 to 3 digits; moves on. */
static bool take_number(const char **text)
{
	size_t digits = strspn(*text, "0123456789");

	*text += digits;
	return digits >= 1 && digits <= 3;
}

bool record_error(const char *to, int *smtp_r, char status_r[12], const char **text_r)
{
	if (strncmp(to, "error:", 6) != 0)
		return false;
	const char *start = to + 6, *next = start + 1;
	if ((start[0] != '4' && start[0] != '5') || *next++ != '.' || !take_number(&next) ||
	    *next++ != '.' || !take_number(&next) || *next != ' ' || next[1] == '\0' ||
	    next[1] == ' ')
		return false;
	*smtp_r = start[0] == '4' ? 450 : 550;
	memcpy(status_r, start, (size_t)(next - start));
	status_r[next - start] = '\0';
	*text_r = next + 1;
	return true;
}

static const char *canonical_to(const char *to, size_t length, bool match_has_local,
				char out[NAME_SIZE])
{
	char copy[NAME_SIZE] = "", domain[DOMAIN_SIZE];
	const char *why = name_refusal(NAME_ADDRESS, to, length);
	int smtp;
	char status[12];
	const char *text;

	if (why)
		return why;
	memcpy(copy, to, length);
	copy[length] = '\0';
	if (strcmp(copy, "discard:") == 0 || record_error(copy, &smtp, status, &text)) {
		strcpy(out, copy);
		return NULL;
	}
	if (strncmp(copy, "error:", 6) == 0)
		return "expected `error:D.S.N text` with a status of class 4 or 5, as "
		       "`error:5.1.6 this address has moved`";
	if (strncmp(copy, "discard:", 8) == 0)
		return "nothing may follow `discard:`";
	struct pattern pattern = pattern_split(copy);
	if (!domain_pattern(pattern.domain, pattern.domain_length, domain))
		return "not an address, a domain, `discard:` or `error:D.S.N text`";
	if (!pattern.local && match_has_local)
		return "a domain alone can only replace a domain: expected local@domain";
	if (pattern.local && pattern.local_length == 0)
		return "nothing before the `@`";
	if (pattern.local)
		snprintf(out, NAME_SIZE, "%.*s@%s", (int)pattern.local_length, pattern.local, domain);
	else
		strcpy(out, domain);
	return NULL;
}

static size_t trim(const char **text)
{
	*text += strspn(*text, " ");
	size_t length = strlen(*text);
	while (length > 0 && (*text)[length - 1] == ' ')
		length--;
	return length;
}

const char *record_canonical(const char *match, const char *to, char match_r[NAME_SIZE],
			     char to_r[NAME_SIZE], bool *in_to_r)
{
	size_t match_length = trim(&match), to_length = trim(&to);

	*in_to_r = false;
	const char *why = canonical_match(match, match_length, match_r);
	if (why)
		return why;
	*in_to_r = true;
	why = canonical_to(to, to_length, strchr(match_r, '@') != NULL, to_r);
	if (why)
		return why;
	if (strncmp(to_r, "error:", 6) != 0 && count_stars(to_r) > count_stars(match_r))
		return "more `*` than in match: each stands for what a `*` there matched";
	return NULL;
}

/* The classes of a domain pattern: exact, `*.suffix`, all, or anything else. */
static enum record_class domain_class(const struct pattern *pattern, size_t *skip_r)
{
	*skip_r = 0;
	if (!has_star(pattern->domain, pattern->domain_length))
		return RECORD_D;
	if (pattern->domain_length > 2 && memcmp(pattern->domain, "*.", 2) == 0 &&
	    !has_star(pattern->domain + 2, pattern->domain_length - 2)) {
		*skip_r = 2;
		return RECORD_S;
	}
	return RECORD_G;
}

enum record_class record_class(const char *match, char key_r[NAME_KEY_SIZE], size_t *key_length_r)
{
	struct pattern pattern = pattern_split(match);
	size_t skip;
	enum record_class class = domain_class(&pattern, &skip);
	bool any_local = !pattern.local || (pattern.local_length == 1 && *pattern.local == '*');

	*key_length_r = 0;
	if (any_local && class != RECORD_G) {
		*key_length_r = pattern.domain_length - skip;
		memcpy(key_r, pattern.domain + skip, *key_length_r);
		return class;
	}
	if (any_local || has_star(pattern.local, pattern.local_length))
		return RECORD_G;
	memcpy(key_r, pattern.local, pattern.local_length);
	*key_length_r = pattern.local_length;
	if (pattern.domain_length == 1 && *pattern.domain == '*')
		return RECORD_U;
	if (class != RECORD_D) {
		*key_length_r = 0;
		return RECORD_G;
	}
	key_r[pattern.local_length] = '\0';
	memcpy(key_r + pattern.local_length + 1, pattern.domain, pattern.domain_length);
	*key_length_r += 1 + pattern.domain_length;
	return RECORD_X;
}

/* What each `*` matched. */
struct captures {
	struct {
		const char *start;
		size_t length;
	} items[RECORD_MAX_WILDCARDS];
	unsigned count;
};

static void capture(struct captures *captures, const char *start, size_t length)
{
	if (captures->count < RECORD_MAX_WILDCARDS) {
		captures->items[captures->count].start = start;
		captures->items[captures->count++].length = length;
	}
}

/* Each `*` takes as little as lets the piece behind it be found; the last piece stands at the
 * end. One pass, no backtracking: what a shorter match leaves is never worse for the rest.
 * Captures point into `shown`, which has the same length as `text`. */
static bool glob(const char *pattern, size_t pattern_length, const char *text, size_t length,
		 const char *shown, struct captures *captures)
{
	const char *end = pattern + pattern_length;
	const char *star = memchr(pattern, '*', pattern_length);
	size_t piece = (size_t)((star ? star : end) - pattern);

	if (length < piece || memcmp(pattern, text, piece) != 0)
		return false;
	if (!star)
		return length == piece;
	size_t at = piece;
	while (star) {
		pattern = star + 1;
		star = memchr(pattern, '*', (size_t)(end - pattern));
		piece = (size_t)((star ? star : end) - pattern);
		if (length - at < piece)
			return false;
		const char *found = star ? memmem(text + at, length - at, pattern, piece)
					 : text + length - piece;
		if (!found || memcmp(found, pattern, piece) != 0)
			return false;
		capture(captures, shown + at, (size_t)(found - text) - at);
		at = (size_t)(found - text) + piece;
	}
	return true;
}

static bool is_ascii(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80)
			return false;
	return true;
}

static bool match_name(const struct record *record, const char *local, const char *folded,
		       const char *domain, struct captures *captures)
{
	struct pattern pattern = pattern_split(record->match);

	captures->count = 0;
	if (pattern.local && !folded) {
		/* Too long to be in the directory; `*` takes it all the same. */
		if (pattern.local_length != 1 || *pattern.local != '*')
			return false;
		capture(captures, local, strlen(local));
	} else if (pattern.local) {
		/* Folding keeps the length of ASCII, so `*` can give back what was typed. */
		const char *shown = is_ascii(local) ? local : folded;

		if (!glob(pattern.local, pattern.local_length, folded, strlen(folded), shown,
			  captures))
			return false;
	}
	return glob(pattern.domain, pattern.domain_length, domain, strlen(domain), domain, captures);
}

bool record_matches(const struct record *record, const char *local, const char *folded,
		    const char *domain)
{
	struct captures captures;

	return match_name(record, local, folded, domain, &captures);
}

struct builder {
	char *out;
	size_t used;
	bool failed;
};

static void append(struct builder *builder, const char *text, size_t length)
{
	if (length > NAME_MAX_BYTES - builder->used)
		builder->failed = true;
	if (builder->failed)
		return;
	memcpy(builder->out + builder->used, text, length);
	builder->used += length;
}

int record_apply(const struct record *record, const char *local, const char *folded,
		 const char *domain, enum record_action *action_r, char name_r[NAME_SIZE])
{
	struct captures captures;
	char built[NAME_SIZE];
	struct builder builder = {.out = built};
	unsigned star = 0;

	if (strncmp(record->to, "error:", 6) == 0 || strcmp(record->to, "discard:") == 0) {
		*action_r = record->to[0] == 'e' ? RECORD_ERROR : RECORD_DISCARD;
		return 0;
	}
	match_name(record, local, folded, domain, &captures);
	if (!strchr(record->to, '@')) {
		append(&builder, local, strlen(local));
		append(&builder, "@", 1);
	}
	for (const char *next = record->to; *next; next++) {
		if (*next != '*')
			append(&builder, next, 1);
		else if (star < captures.count) {
			append(&builder, captures.items[star].start, captures.items[star].length);
			star++;
		}
	}
	if (builder.failed)
		return -1;
	built[builder.used] = '\0';
	memcpy(name_r, built, builder.used + 1);
	*action_r = RECORD_REWRITE;
	return 0;
}
