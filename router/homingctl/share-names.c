/* Owners, mailboxes and identifiers as the arguments of `homingctl share` name them. */
#include "share-names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "output.h"
#include "route.h"

static int route_login(struct session *session, const char *name, struct route_answer *answer)
{
	struct error error = {0};
	struct route_question question = {
		.kind = NAME_LOGIN,
		.name = name,
		.name_length = strnlen(name, NAME_SIZE),
	};

	*answer = (struct route_answer){0};
	if (route(session->reader, &question, answer, NULL, &error) < 0)
		return fail(&error, EX_NOINPUT);
	if (answer->result == ROUTE_ACCOUNT)
		return 0;
	complain("%s: there is no such account: %s", name,
		 answer->result == ROUTE_REFUSE ? answer->text
						: "the name leads to something else");
	return EX_NOUSER;
}

int share_owner_parse(struct session *session, const char *text, struct share_owner *owner_r)
{
	struct route_answer answer;

	*owner_r = (struct share_owner){0};
	if (strncmp(text, OWNER_PUBLIC, strlen(OWNER_PUBLIC)) == 0) {
		if (strlen(text) > OWNER_MAX_BYTES) {
			complain("%s: longer than %d bytes", text, OWNER_MAX_BYTES);
			return EX_DATAERR;
		}
		snprintf(owner_r->name, sizeof owner_r->name, "%s", text);
		return 0;
	}
	int code = route_login(session, text, &answer);
	if (code == 0) {
		snprintf(owner_r->name, sizeof owner_r->name, "%s@%s", answer.local,
			 answer.domain);
		snprintf(owner_r->domain, sizeof owner_r->domain, "%s", answer.domain);
	}
	route_answer_finish(&answer);
	return code;
}

int share_separator(const struct call *call, char *separator_r)
{
	const char *text = has_option(call, OPTION_SEPARATOR) ? call->options[OPTION_SEPARATOR] : "/";

	if (strlen(text) != 1 || (unsigned char)text[0] <= ' ' || (unsigned char)text[0] >= 0x7f ||
	    text[0] == '*') {
		complain("--separator %s: one character is wanted, as `/` or `.`", text);
		return EX_USAGE;
	}
	*separator_r = text[0];
	return 0;
}

int share_mailbox_parse(const char *text, char separator, char mailbox_r[MAILBOX_SIZE])
{
	const char *why = mailbox_parse(text, separator, mailbox_r);

	if (!why)
		return 0;
	complain("%s: not the name of a mailbox: %s", text, why);
	return EX_DATAERR;
}

char *share_mailbox_text(const char *mailbox, char separator)
{
	size_t length = strlen(mailbox), size = 4 * length + 2;
	char *text = malloc(size), *next = text;

	if (!text || mailbox_format(mailbox, separator, text, size))
		return text;
	/* What no argument can name; `\` is not an escape of arguments. */
	for (; *mailbox; mailbox++) {
		if (*mailbox == MAILBOX_SEPARATOR)
			*next++ = separator;
		else if (*mailbox == separator || (length == 1 && *mailbox == '*'))
			next += sprintf(next, "\\x%02x", (unsigned char)*mailbox);
		else
			*next++ = *mailbox;
	}
	*next = '\0';
	return text;
}

int share_who_parse(struct session *session, const char *text, const char *domain,
		    struct grantee *who_r, bool *negative_r)
{
	char why[GRANTEE_WHY_SIZE];
	struct error error = {0};

	*negative_r = text[0] == '-';
	int found = grantee_parse(session->reader, text + *negative_r, domain, who_r, why, &error);
	if (found < 0)
		return fail(&error, EX_NOINPUT);
	if (found > 0)
		return 0;
	complain("%s: %s", text, why);
	return EX_NOUSER;
}
