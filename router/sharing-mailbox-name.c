/* Names of mailboxes as grants have them, and as people type them. */
#include "sharing.h"

#include <string.h>
#include <strings.h>
#include <unistr.h>

static const char inbox[] = "INBOX";
static const char whole_account[] = "*";

static const char *component_refusal(const char *name, size_t length)
{
	if (length == 0)
		return "a part of the name is empty";
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)name[i] < ' ' || name[i] == 0x7f)
			return "a control character";
	return NULL;
}

const char *mailbox_refusal(const char *mailbox)
{
	size_t length = strnlen(mailbox, MAILBOX_SIZE);

	if (length > MAILBOX_MAX_BYTES)
		return "longer than 4096 bytes";
	if (u8_check((const uint8_t *)mailbox, length))
		return "not UTF-8";
	if (length == 0)
		return NULL; /* the whole account */
	for (;;) {
		const char *end = strchrnul(mailbox, MAILBOX_SEPARATOR);
		const char *why = component_refusal(mailbox, (size_t)(end - mailbox));

		if (why || *end == '\0')
			return why;
		mailbox = end + 1;
	}
}

const char *mailbox_parse(const char *text, char separator, char mailbox_r[MAILBOX_SIZE])
{
	char mailbox[MAILBOX_SIZE];
	size_t length = strnlen(text, MAILBOX_SIZE);

	if (length > MAILBOX_MAX_BYTES)
		return "longer than 4096 bytes";
	if (length == 0)
		return "no name; the whole account is *";
	if (strchr(text, MAILBOX_SEPARATOR))
		return "a control character";
	memcpy(mailbox, text, length + 1);
	for (char *next = mailbox; (next = strchr(next, separator)); next++)
		*next = MAILBOX_SEPARATOR;
	size_t first = strcspn(mailbox, (const char[]){MAILBOX_SEPARATOR, '\0'});
	if (first == strlen(inbox) && strncasecmp(mailbox, inbox, first) == 0)
		memcpy(mailbox, inbox, first);
	if (strcmp(mailbox, whole_account) == 0)
		mailbox[0] = '\0';
	const char *why = mailbox_refusal(mailbox);
	if (!why)
		memcpy(mailbox_r, mailbox, strlen(mailbox) + 1);
	return why;
}

bool mailbox_format(const char *mailbox, char separator, char *text_r, size_t size)
{
	size_t length = strlen(mailbox);

	if (length == 0)
		mailbox = whole_account;
	else if (strcmp(mailbox, whole_account) == 0 || strchr(mailbox, separator))
		return false;
	length = strlen(mailbox);
	if (length >= size)
		return false;
	memcpy(text_r, mailbox, length + 1);
	for (char *next = text_r; (next = strchr(next, MAILBOX_SEPARATOR)); next++)
		*next = separator;
	return true;
}
