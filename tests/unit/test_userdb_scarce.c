/* Dovecot is asked for accounts while memory runs out: whoever asks gets "unknown" at once or later and is
 * never left without an answer, nothing is lost, and what comes afterwards works. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "scarce.h"
#include "support.h"
#include "userdb.h"

/* How many allocations still succeed before one fails; negative: all do. */
static long left = -1;

static bool fails(void)
{
	return left >= 0 && left-- == 0;
}

/* A Dovecot that greets, and knows every account. */
struct play {
	uv_loop_t loop;
	struct metrics metrics;
	int listener, client;
	char buffer[4096];
	size_t used;
	unsigned called, waiting;
	enum existence answer;
};

static void serve(struct play *play)
{
	static const char greeting[] = "VERSION\t1\t1\nSPID\t1\n";
	char *end;

	if (play->client < 0) {
		play->client = accept4(play->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (play->client < 0)
			return;
		play->used = 0;
		(void)!write(play->client, greeting, strlen(greeting));
	}
	ssize_t got = read(play->client, play->buffer + play->used, sizeof play->buffer - play->used - 1);
	if (got == 0) {
		close(play->client);
		play->client = -1;
	}
	if (got <= 0)
		return;
	play->used += (size_t)got;
	play->buffer[play->used] = '\0';
	while ((end = strchr(play->buffer, '\n'))) {
		unsigned long number;
		char line[64];

		if (sscanf(play->buffer, "USER\t%lu\t", &number) == 1) {
			int length = snprintf(line, sizeof line, "USER\t%lu\tx\n", number);
			(void)!write(play->client, line, (size_t)length);
		}
		play->used -= (size_t)(end + 1 - play->buffer);
		memmove(play->buffer, end + 1, play->used + 1);
	}
}

static void on_answer(void *context, enum existence existence)
{
	struct play *play = context;

	play->called++;
	play->answer = existence;
}

/* One life of a client: two questions, and its end. False: it could not be made. */
static bool live(struct play *play, const char *path)
{
	struct userdb_settings settings = userdb_defaults;
	struct existence_question question = {.name = "info+x@a.example", .without_detail = "info@a.example"};

	settings.path = path;
	settings.timeout_ms = 300;
	struct userdb *userdb = userdb_create(&play->loop, &settings, &play->metrics);
	if (!userdb)
		return false;
	play->called = play->waiting = 0;
	for (unsigned i = 0; i < 2; i++) {
		snprintf(question.name, sizeof question.name, "info%u+x@a.example", i);
		if (!userdb_ask(userdb, &question, on_answer, play, &play->answer))
			play->waiting++;
	}
	for (uint64_t end = uv_hrtime() + 2000000000; play->called < play->waiting && uv_hrtime() < end;) {
		serve(play);
		uv_run(&play->loop, UV_RUN_NOWAIT);
		usleep(200);
	}
	userdb_end(&userdb, 0);
	return true;
}

static void rest(struct play *play)
{
	left = -1;
	while (uv_run(&play->loop, UV_RUN_NOWAIT) != 0)
		serve(play);
	if (play->client >= 0)
		close(play->client);
	play->client = -1;
	int stale;
	while ((stale = accept4(play->listener, NULL, NULL, SOCK_NONBLOCK)) >= 0)
		close(stale);
}

static void everybody_is_answered(void **state)
{
	char *folder = support_folder(), *path = support_path(folder, "userdb");
	/* aligned as its metrics ask for */
	struct play *play = aligned_alloc(_Alignof(struct play), sizeof *play);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	unsigned without = 0, unknown = 0;
	long round = 0;

	(void)state;
	assert_non_null(play);
	memset(play, 0, sizeof *play);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	play->client = -1;
	play->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(play->listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(play->listener, 16), 0);
	assert_int_equal(uv_loop_init(&play->loop), 0);
	for (bool whole = false; !whole; round++) {
		left = round;
		bool made = live(play, path);
		whole = left >= 0;
		rest(play);
		without += !made;
		if (made)
			assert_int_equal(play->called, play->waiting);
		unknown += made && play->waiting > 0 && play->answer == EXISTENCE_UNKNOWN;
	}
	print_message("%ld allocations: %u times no client, %u times no answer\n", round - 1, without,
		      unknown);
	assert_true(round > 10 && without > 3);
	assert_int_equal(play->waiting, 2);
	assert_int_equal(play->answer, EXISTS);
	close(play->listener);
	assert_int_equal(uv_loop_close(&play->loop), 0);
	unlink(path);
	free(path);
	free(play);
	support_folder_remove(&folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(everybody_is_answered),
	};

	return cmocka_run_group_tests_name("userdb scarce", tests, NULL, NULL);
}
