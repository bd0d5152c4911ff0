/* The socketmap protocol. The other side is Postfix's dict_sockmap.c: it splits a reply at its
 * first blank, answers a reply over 100,000 bytes with "try again later" and prints 200 bytes of a
 * reason. Its keys are never longer than a line of SMTP, yet the limit here is the same. */
#include "socketmap.h"

#include <string.h>

#include "netstring.h"
#include "router/printable.h"

enum { HEAD_ROOM = 8 /* `100000:`, and more than the shortest head needs */ };

static const struct {
	const char *word, *name;
} statuses[] = {
	[SOCKETMAP_OK] = {"OK", "ok"},
	[SOCKETMAP_NOTFOUND] = {"NOTFOUND", "notfound"},
	[SOCKETMAP_TEMP] = {"TEMP", "temp"},
	[SOCKETMAP_TIMEOUT] = {"TIMEOUT", "timeout"},
	[SOCKETMAP_PERM] = {"PERM", "perm"},
};

bool socketmap_parse(const char *content, size_t length, struct socketmap_request *request_r)
{
	const char *blank = memchr(content, ' ', length);

	if (!blank)
		return false;
	request_r->name = content;
	request_r->name_length = (size_t)(blank - content);
	request_r->key = blank + 1;
	request_r->key_length = length - request_r->name_length - 1;
	return true;
}

static bool has_control(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return true;
	return false;
}

/* NULL, or why this cannot be the value of an OK. */
static const char *value_refusal(const char *value, size_t length)
{
	if (length > SOCKETMAP_MAX - strlen("OK "))
		return "the answer is longer than the 100000 bytes that a socketmap may give";
	if (has_control(value, length))
		return "the answer has control characters";
	return NULL;
}

/* Writes the word and its blank; returns their length. */
static size_t put_word(char *out, enum socketmap_status status)
{
	size_t length = strlen(statuses[status].word);

	memcpy(out, statuses[status].word, length);
	out[length] = ' ';
	return length + 1;
}

size_t socketmap_format(enum socketmap_status status, const char *value, size_t value_length,
			char *out, size_t size)
{
	char *content = out + HEAD_ROOM;
	const char *why = status == SOCKETMAP_OK ? value_refusal(value, value_length) : NULL;
	size_t used;

	if (size < SOCKETMAP_MAX + 16)
		return 0;
	if (why) {
		status = SOCKETMAP_PERM;
		value = why;
		value_length = strlen(why);
	}
	used = put_word(content, status);
	if (status == SOCKETMAP_OK) {
		memcpy(content + used, value, value_length);
		used += value_length;
	} else if (status != SOCKETMAP_NOTFOUND) {
		used += printable_replace(content + used, SOCKETMAP_MAX + 1 - used, value,
					  value_length);
	}
	return netstring_format(content, used, out, size);
}

const char *socketmap_status_name(enum socketmap_status status)
{
	return statuses[status].name;
}
