/* Whom an identifier means, as people type it. Users are routed as logins are, so that whoever can
 * log in under a name can be granted rights under it; what is stored is the account behind. */
#include "rights.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "directory-private.h"
#include "route.h"

static int refuse(char why_r[GRANTEE_WHY_SIZE], const char *why)
{
	snprintf(why_r, GRANTEE_WHY_SIZE, "%s", why);
	return 0;
}

static bool is_word(const char *text, const char *word)
{
	return strcasecmp(text, word) == 0;
}

/* A domain that is ours, by its name or by another one. 1, 0, -1. */
static int find_domain(struct directory_reader *directory, const char *text, size_t length,
		       char domain_r[DOMAIN_SIZE], struct error *error)
{
	char parsed[DOMAIN_SIZE];
	struct domain_rules rules;

	if (length > NAME_MAX_BYTES || !domain_parse(text, length, parsed))
		return 0;
	int found = domain_lookup(directory, parsed, &rules, error);
	if (found == 0)
		return domain_alias_lookup(directory, parsed, domain_r, error);
	if (found > 0)
		memcpy(domain_r, parsed, strlen(parsed) + 1);
	return found;
}

/* Behind `anyone@`. */
static int parse_domain(struct directory_reader *directory, const char *text, const char *domain,
			struct grantee *who_r, char why_r[GRANTEE_WHY_SIZE], struct error *error)
{
	char name[DOMAIN_SIZE];

	if (*text == '\0')
		text = domain;
	if (*text == '\0')
		return refuse(why_r, "name the domain: anyone@domain");
	int found = find_domain(directory, text, strlen(text), name, error);
	if (found <= 0)
		return found < 0 ? -1 : refuse(why_r, "there is no such domain here");
	who_r->kind = GRANTEE_DOMAIN;
	memcpy(who_r->name, name, strlen(name) + 1);
	return 1;
}

/* What stands between a name and its domain: the last `@`, or where there is none the last `%`. */
static const char *find_separator(const char *text)
{
	const char *at = strrchr(text, '@');

	return at ? at : strrchr(text, '%');
}

/* Behind `$` or `!$`. */
static int parse_group(struct directory_reader *directory, const char *text, const char *domain,
		       struct grantee *who_r, char why_r[GRANTEE_WHY_SIZE], struct error *error)
{
	const char *separator = find_separator(text);
	size_t length = separator ? (size_t)(separator - text) : strlen(text);
	const char *domain_text = separator ? separator + 1 : domain;
	char local[LOCAL_SIZE], name[DOMAIN_SIZE];

	if (*domain_text == '\0')
		return refuse(why_r, "name the group's domain: $group@domain");
	if (length == 0 || local_fold(text, length, local) < 0)
		return refuse(why_r, "not the name of a group");
	int found = find_domain(directory, domain_text, strlen(domain_text), name, error);
	if (found <= 0)
		return found < 0 ? -1 : refuse(why_r, "there is no such domain here");
	int kind = directory_kind(directory, local, name, error);
	if (kind < 0)
		return -1;
	if (kind != ENTRY_GROUP)
		return refuse(why_r, kind == ENTRY_ACCOUNT ? "it is an account: write it without the $"
							   : "there is no such group");
	snprintf(who_r->name, sizeof who_r->name, "%s@%s", local, name);
	return 1;
}

static const char *refusal_of(const struct route_answer *answer)
{
	if (answer->result != ROUTE_REFUSE)
		return "it leads to no account of this server";
	switch (answer->reason) {
	case REASON_MALFORMED:
		return "not the name of an account";
	case REASON_UNKNOWN_DOMAIN:
		return "there is no such domain here";
	case REASON_LOOP:
		return "it leads in a circle";
	default:
		return "there is no such account";
	}
}

/* The account that a login of this name opens. */
static int take_account(const struct route_answer *answer, struct grantee *who_r,
			char why_r[GRANTEE_WHY_SIZE])
{
	if (answer->result != ROUTE_ACCOUNT)
		return refuse(why_r, refusal_of(answer));
	if (answer->mailbox[0] != '\0')
		return refuse(why_r, "it names a mailbox: rights are for accounts");
	/* Only where accounts are kept elsewhere: it would be read back as something else. */
	if (strlen(answer->address) >= sizeof who_r->name || strchr("-$!#", answer->address[0]) ||
	    strncmp(answer->address, "anyone@", 7) == 0 ||
	    strncmp(answer->address, OWNER_PUBLIC, strlen(OWNER_PUBLIC)) == 0)
		return refuse(why_r, "an account of this name cannot be given rights");
	who_r->kind = GRANTEE_USER;
	memcpy(who_r->name, answer->address, strlen(answer->address) + 1);
	return 1;
}

/* A group that somebody typed without its `$`? 1, 0, -1. */
static int is_group(struct directory_reader *directory, const char *text, struct error *error)
{
	const char *separator = find_separator(text);
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];

	if (!separator || local_fold(text, (size_t)(separator - text), local) < 0)
		return 0;
	int found = find_domain(directory, separator + 1, strlen(separator + 1), domain, error);
	if (found <= 0)
		return found;
	int kind = directory_kind(directory, local, domain, error);
	return kind < 0 ? -1 : kind == ENTRY_GROUP;
}

static int parse_user(struct directory_reader *directory, const char *text, const char *domain,
		      struct grantee *who_r, char why_r[GRANTEE_WHY_SIZE], struct error *error)
{
	char login[NAME_SIZE + DOMAIN_SIZE];
	struct route_answer answer;

	bool bare = !find_separator(text);
	if (bare && *domain == '\0')
		return refuse(why_r, "name the account's domain: user@domain");
	snprintf(login, sizeof login, "%s%s%s", text, bare ? "@" : "", bare ? domain : "");
	const struct route_question question = {
		.kind = NAME_LOGIN, .name = login, .name_length = strlen(login)};
	int found = route(directory, &question, &answer, NULL, error);
	if (found == 0)
		found = take_account(&answer, who_r, why_r);
	if (found == 0 && answer.result == ROUTE_REFUSE) {
		found = is_group(directory, login, error);
		found = found > 0 ? refuse(why_r, "it is a group: write it with a $ in front") : found;
	}
	route_answer_finish(&answer);
	return found;
}

static int parse(struct directory_reader *directory, const char *text, const char *domain,
		 struct grantee *who_r, char why_r[GRANTEE_WHY_SIZE], struct error *error)
{
	static const struct {
		const char *word;
		enum grantee_kind kind;
	} words[] = {
		{"anyone", GRANTEE_ANYONE},
		{"authenticated", GRANTEE_AUTHENTICATED},
		{"owner", GRANTEE_OWNER},
	};

	for (size_t i = 0; i < sizeof words / sizeof *words; i++)
		if (is_word(text, words[i].word)) {
			who_r->kind = words[i].kind;
			return 1;
		}
	if (strncasecmp(text, "anyone@", 7) == 0 || strncasecmp(text, "anyone%", 7) == 0)
		return parse_domain(directory, text + 7, domain, who_r, why_r, error);
	bool override = strncmp(text, "!$", 2) == 0;
	if (text[0] == '$' || override) {
		who_r->kind = override ? GRANTEE_GROUP_OVERRIDE : GRANTEE_GROUP;
		return parse_group(directory, text + (override ? 2 : 1), domain, who_r, why_r, error);
	}
	return parse_user(directory, text, domain, who_r, why_r, error);
}

int grantee_parse(struct directory_reader *directory, const char *text, const char *domain,
		  struct grantee *who_r, char why_r[GRANTEE_WHY_SIZE], struct error *error)
{
	struct grantee who = {0};
	size_t length = strnlen(text, NAME_SIZE);

	why_r[0] = '\0';
	if (length == 0)
		return refuse(why_r, "no identifier");
	if (length > NAME_MAX_BYTES)
		return refuse(why_r, "longer than 512 bytes");
	int found = parse(directory, text, domain, &who, why_r, error);
	if (found == 1)
		*who_r = who;
	return found;
}

void grantee_format(const struct grantee *who, char text_r[GRANTEE_SIZE])
{
	static const char *const fronts[] = {
		[GRANTEE_ANYONE] = "anyone",   [GRANTEE_AUTHENTICATED] = "authenticated",
		[GRANTEE_DOMAIN] = "anyone@",  [GRANTEE_GROUP] = "$",
		[GRANTEE_OWNER] = "owner",     [GRANTEE_USER] = "",
		[GRANTEE_GROUP_OVERRIDE] = "!$",
	};

	snprintf(text_r, GRANTEE_SIZE, "%s%s", fronts[who->kind], who->name);
}
