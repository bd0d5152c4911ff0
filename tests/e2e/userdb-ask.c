/* The daemon's questions to Dovecot, by themselves: each line of standard input is a question,
 * `NAME` or `NAME<TAB>NAME WITHOUT DETAIL`, and is answered by a line `found|none|unknown<TAB>NAME` as
 * soon as the answer is there. Ends when its input has ended and all is answered.
 *
 *	userdb-ask SOCKET [TIMEOUT_MS [KEEP_FOUND_MS KEEP_NONE_MS [MAX_OUTSTANDING]]] */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "log.h"
#include "userdb.h"

enum { OWED_MS = 10000 }; /* for answers that nobody waits for any more (userdb-linger.h) */

struct asker {
	struct userdb *userdb;
	uv_pipe_t input;
	bool input_ended;
	unsigned waiting;
	size_t used;
	char in[65536];
};

struct question {
	struct asker *asker;
	struct existence_question names;
};

static void print_answer(const char *name, enum existence existence)
{
	static const char *const words[] = {
		[EXISTS] = "found",
		[EXISTS_NOT] = "none",
		[EXISTENCE_UNKNOWN] = "unknown",
	};

	printf("%s\t%s\n", words[existence], name);
	fflush(stdout);
}

static void end_if_done(struct asker *asker)
{
	if (asker->input_ended && asker->waiting == 0)
		userdb_end(&asker->userdb, OWED_MS);
}

static void on_answer(void *context, enum existence existence)
{
	struct question *question = context;
	struct asker *asker = question->asker;

	print_answer(question->names.name, existence);
	free(question);
	asker->waiting--;
	end_if_done(asker);
}

static void ask(struct asker *asker, const char *line)
{
	struct question *question = calloc(1, sizeof *question);
	const char *tab = strchr(line, '\t');
	size_t length = tab ? (size_t)(tab - line) : strlen(line);
	enum existence existence;

	if (!question)
		abort();
	question->asker = asker;
	snprintf(question->names.name, sizeof question->names.name, "%.*s", (int)length, line);
	snprintf(question->names.without_detail, sizeof question->names.without_detail, "%s",
		 tab ? tab + 1 : "");
	if (!userdb_ask(asker->userdb, &question->names, on_answer, question, &existence)) {
		asker->waiting++;
		return;
	}
	print_answer(question->names.name, existence);
	free(question);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer_r)
{
	struct asker *asker = handle->data;

	(void)suggested;
	*buffer_r = uv_buf_init(asker->in + asker->used, (unsigned)(sizeof asker->in - asker->used));
}

static void on_read(uv_stream_t *input, ssize_t length, const uv_buf_t *buffer)
{
	struct asker *asker = input->data;
	char *line = asker->in, *end;

	(void)buffer;
	if (length < 0) {
		uv_close((uv_handle_t *)input, NULL);
		asker->input_ended = true;
		end_if_done(asker);
		return;
	}
	asker->used += (size_t)length;
	while ((end = memchr(line, '\n', asker->used - (size_t)(line - asker->in))) != NULL) {
		*end = '\0';
		ask(asker, line);
		line = end + 1;
	}
	asker->used -= (size_t)(line - asker->in);
	memmove(asker->in, line, asker->used);
}

static unsigned number(char **argv, int argc, int at, unsigned preset)
{
	return at < argc ? (unsigned)strtoul(argv[at], NULL, 10) : preset;
}

int main(int argc, char **argv)
{
	static struct asker asker;
	static struct metrics metrics;
	struct userdb_settings settings = userdb_defaults;
	uv_loop_t *loop = uv_default_loop();

	if (argc < 2) {
		fprintf(stderr, "usage: userdb-ask SOCKET [TIMEOUT_MS [KEEP_FOUND_MS KEEP_NONE_MS "
				"[MAX_OUTSTANDING]]]\n");
		return 64;
	}
	settings.path = argv[1];
	settings.timeout_ms = number(argv, argc, 2, settings.timeout_ms);
	settings.keep_found_ms = number(argv, argc, 3, settings.keep_found_ms);
	settings.keep_none_ms = number(argv, argc, 4, settings.keep_none_ms);
	settings.max_outstanding = number(argv, argc, 5, settings.max_outstanding);
	log_open(false, true);
	asker.userdb = userdb_create(loop, &settings, &metrics);
	if (!asker.userdb || uv_pipe_init(loop, &asker.input, 0) < 0 ||
	    uv_pipe_open(&asker.input, 0) < 0)
		return 71;
	asker.input.data = &asker;
	uv_read_start((uv_stream_t *)&asker.input, give_room, on_read);
	uv_run(loop, UV_RUN_DEFAULT);
	fprintf(stderr, "reconnects=%llu\n", (unsigned long long)metrics.userdb_reconnects);
	return uv_loop_close(loop) == 0 ? 0 : 70;
}
