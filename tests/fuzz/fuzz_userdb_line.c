/* Bytes as lines of Dovecot's auth-master protocol: each as a greeting and as an answer, which must be
 * what a plain reading of the protocol makes of it, and as a name to ask for, which must fill one
 * line that is read back. */
#include "userdb-line.h"

#include <inttypes.h>
#include <string.h>

#include "fuzz.h"
#include "input.h"
#include "router/name.h"

enum { PLAIN_NONE = -1 };

/* The words as strsep cuts them; a line without NUL. */
static int plain_answer(const char *line, uint32_t *id_r)
{
	char *copy = strdup(line), *rest = copy, again[16];
	FUZZ_EXPECT(copy);
	const char *command = strsep(&rest, "\t"), *id = strsep(&rest, "\t");
	const char *name = strsep(&rest, "\t");
	int reply = PLAIN_NONE;

	*id_r = 0;
	if (id) {
		unsigned long long number = strtoull(id, NULL, 10);
		snprintf(again, sizeof again, "%" PRIu32, (uint32_t)number);
		if (number <= UINT32_MAX && strcmp(again, id) == 0)
			*id_r = (uint32_t)number;
	}
	if (*id_r == 0)
		reply = PLAIN_NONE;
	else if (strcmp(command, "NOTFOUND") == 0)
		reply = USERDB_NOTFOUND;
	else if (strcmp(command, "FAIL") == 0)
		reply = USERDB_FAIL;
	else if (strcmp(command, "USER") == 0 && name && *name)
		reply = USERDB_USER;
	free(copy);
	return reply;
}

static void try_line(const char *line, size_t length)
{
	enum userdb_reply reply;
	uint32_t id, plain_id;
	const char *greeting_why = NULL;
	int greeting = userdb_greeting_parse(line, length, &greeting_why);
	const char *why = userdb_answer_parse(line, length, &reply, &id);

	FUZZ_EXPECT(greeting >= -1 && greeting <= 1);
	FUZZ_EXPECT((greeting < 0) == (greeting_why != NULL));
	FUZZ_EXPECT(!why || input_is_message(why));
	if (length > USERDB_LINE_MAX || strlen(line) < length) {
		FUZZ_EXPECT(why && greeting == -1);
		return;
	}
	FUZZ_EXPECT(plain_answer(line, &plain_id) == (why ? PLAIN_NONE : (int)reply));
	FUZZ_EXPECT(id == plain_id);
	FUZZ_EXPECT(why || greeting == 0); /* no answer ends a greeting */
}

static void try_name(const char *name, uint32_t id)
{
	char out[USERDB_QUESTION_MAX + 1], head[32];

	if (!userdb_name_is_sendable(name))
		return;
	FUZZ_EXPECT(*name && strlen(name) <= NAME_MAX_BYTES);
	size_t length = userdb_question_format(id, name, out);
	FUZZ_EXPECT(length < USERDB_QUESTION_MAX && strlen(out) == length);
	FUZZ_EXPECT(strchr(out, '\n') == out + length - 1);
	size_t head_length = (size_t)snprintf(head, sizeof head, "USER\t%" PRIu32 "\t", id);
	FUZZ_EXPECT(memcmp(out, head, head_length) == 0);
	FUZZ_EXPECT(strncmp(out + head_length, name, strlen(name)) == 0);
	FUZZ_EXPECT(strcmp(out + head_length + strlen(name), "\tservice=lmtp\tprotocol=lmtp\n") == 0);
	/* what we ask is what Dovecot would answer */
	enum userdb_reply reply;
	uint32_t again;
	FUZZ_EXPECT(!userdb_answer_parse(out, length - 1, &reply, &again));
	FUZZ_EXPECT(reply == USERDB_USER && again == id);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct input input = input_of(bytes, length);

	for (uint32_t number = 1; input.left > 0; number = number * 7 + 1) {
		const uint8_t *end = memchr(input.next, '\n', input.left);
		size_t line_length = end ? (size_t)(end - input.next) : input.left;
		char *line = input_line(&input);

		try_line(line, line_length);
		try_name(line, number ? number : 1);
		free(line);
	}
	return 0;
}
