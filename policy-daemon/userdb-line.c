/* Dovecot's auth-master protocol, as far as it is about looking up users. Lines end in LF, words are
 * separated by tabs. Dovecot: src/auth/auth-master-connection.c; the same from 2.0 to 2.4.
 *
 *	server: VERSION <major> <minor>     at once, unasked; the major number is 1
 *	        SPID <process id>           the last line of its greeting
 *	client: VERSION <major> <minor>
 *	        USER <id> <name> service=<protocol> ...
 *	server: USER <id> <name> <field>... there is such a user
 *	        NOTFOUND <id>
 *	        FAIL <id> [reason=<text>]   it cannot tell now
 *
 * The question names the protocol lmtp, because what Postfix wants to know is whether a delivery
 * will find the account: so Dovecot applies the settings of `protocol lmtp`, and Homing's own
 * userdb there takes the name for a mail address, which no local address and no TLS name changes.
 * Dovecot 2.4 calls the field `protocol` and takes `service` for the sake of older clients only; 2.3
 * knows `service` alone and ignores what it does not know. So it is sent by both names. */
#include "userdb-line.h"

#include <stdio.h>
#include <string.h>

#include "router/name.h"

bool userdb_name_is_sendable(const char *name)
{
	size_t length = strcspn(name, "\001\t\r\n");

	return length > 0 && length <= NAME_MAX_BYTES && name[length] == '\0';
}

size_t userdb_question_format(uint32_t id, const char *name, char out[USERDB_QUESTION_MAX])
{
	return (size_t)snprintf(out, USERDB_QUESTION_MAX,
				"USER\t%lu\t%s\tservice=lmtp\tprotocol=lmtp\n", (unsigned long)id,
				name);
}

/* A word of a line. */
struct word {
	const char *text;
	size_t length;
};

/* Takes the next word off the rest of a line; false at its end. */
static bool next_word(struct word *rest, struct word *word_r)
{
	if (!rest->text)
		return false;
	const char *tab = memchr(rest->text, '\t', rest->length);
	*word_r = (struct word){
		.text = rest->text,
		.length = tab ? (size_t)(tab - rest->text) : rest->length,
	};
	if (tab)
		*rest = (struct word){tab + 1, rest->length - word_r->length - 1};
	else
		rest->text = NULL;
	return true;
}

static bool word_is(const struct word *word, const char *text)
{
	return word->length == strlen(text) && memcmp(word->text, text, word->length) == 0;
}

/* 1 to 2^32 - 1, as Dovecot writes numbers: no sign, no leading zero. 0: it is none. */
static uint32_t number_of(const struct word *word)
{
	uint64_t number = 0;

	if (word->length == 0 || word->length > 10 || word->text[0] == '0')
		return 0;
	for (size_t i = 0; i < word->length; i++) {
		if (word->text[i] < '0' || word->text[i] > '9')
			return 0;
		number = 10 * number + (uint64_t)(word->text[i] - '0');
	}
	return number <= UINT32_MAX ? (uint32_t)number : 0;
}

int userdb_greeting_parse(const char *line, size_t length, const char **why_r)
{
	struct word rest = {line, length}, word = {line, 0};

	if (length > USERDB_LINE_MAX || memchr(line, '\0', length)) {
		*why_r = "its greeting is not Dovecot's";
		return -1;
	}
	next_word(&rest, &word);
	if (word_is(&word, "SPID"))
		return 1;
	if (word_is(&word, "MECH") || word_is(&word, "CUID") || word_is(&word, "COOKIE")) {
		*why_r = "it is the socket of Dovecot's auth clients; --userdb wants auth-userdb";
		return -1;
	}
	if (!word_is(&word, "VERSION"))
		return 0; /* a later Dovecot may say more of itself */
	if (next_word(&rest, &word) && word_is(&word, "1"))
		return 0;
	*why_r = "it speaks another version of Dovecot's auth-master protocol than 1";
	return -1;
}

const char *userdb_answer_parse(const char *line, size_t length, enum userdb_reply *reply_r,
				uint32_t *id_r)
{
	struct word rest = {line, length}, command = {line, 0}, id, name;

	*id_r = 0;
	next_word(&rest, &command);
	if (next_word(&rest, &id))
		*id_r = number_of(&id);
	if (length > USERDB_LINE_MAX)
		return "an answer longer than 8192 bytes";
	if (*id_r == 0 || memchr(line, '\0', length))
		return "an answer that is not Dovecot's";
	if (word_is(&command, "NOTFOUND"))
		*reply_r = USERDB_NOTFOUND;
	else if (word_is(&command, "FAIL"))
		*reply_r = USERDB_FAIL;
	else if (word_is(&command, "USER") && next_word(&rest, &name) && name.length > 0)
		*reply_r = USERDB_USER;
	else
		return "an answer that is not Dovecot's";
	return NULL;
}
