/* The daemon's questions to Dovecot: the lines, the kept answers, and the client as a whole against a
 * small server in this test, which does what a real Dovecot does not do on demand. The server is
 * played by the test itself, between the rounds of the client's loop. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "support.h"
#include "userdb-kept.h"
#include "userdb-line.h"
#include "userdb-linger.h"
#include "userdb.h"

#define GREETING "VERSION\t1\t1\nSPID\t4711\n"

/* Lines */

static void greetings(void **state)
{
	static const struct {
		const char *line;
		int parsed;
	} rows[] = {
		{"VERSION\t1\t1", 0},
		{"VERSION\t1\t99\tmore", 0},
		{"VERSION\t2\t0", -1},
		{"VERSION\t11\t0", -1},
		{"VERSION", -1},
		{"VERSION\t", -1},
		{"SPID\t4711", 1},
		{"SPID", 1},
		{"", 0},
		{"NEWS\tof a later Dovecot", 0},
		{"MECH\tPLAIN\tplaintext", -1},
		{"CUID\t1", -1},
		{"COOKIE\t0123456789abcdef", -1},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *why = NULL;
		int parsed = userdb_greeting_parse(rows[i].line, strlen(rows[i].line), &why);
		if (parsed != rows[i].parsed)
			fail_msg("%s: %d", rows[i].line, parsed);
		assert_int_equal(parsed < 0, why != NULL);
	}
}

static void answers(void **state)
{
	enum { NONE = -1 };
	static const struct {
		const char *line;
		int reply;
		uint32_t id;
	} rows[] = {
		{"USER\t1\tinfo@a.example", USERDB_USER, 1},
		{"USER\t4294967295\tinfo@a.example\tuid=5000\thome=/x", USERDB_USER, 4294967295},
		{"USER\t7\tx\t\t", USERDB_USER, 7},
		{"USER\t7\t", NONE, 7},
		{"USER\t7", NONE, 7},
		{"USER\t\tinfo", NONE, 0},
		{"USER", NONE, 0},
		{"user\t7\tinfo", NONE, 7},
		{"NOTFOUND\t8", USERDB_NOTFOUND, 8},
		{"NOTFOUND\t8\tmore=x", USERDB_NOTFOUND, 8},
		{"NOTFOUND\t0", NONE, 0},
		{"NOTFOUND\t08", NONE, 0},
		{"NOTFOUND\t-8", NONE, 0},
		{"NOTFOUND\t+8", NONE, 0},
		{"NOTFOUND\t8 ", NONE, 0},
		{"NOTFOUND\t4294967296", NONE, 0},
		{"NOTFOUND\t99999999999", NONE, 0},
		{"NOTFOUND", NONE, 0},
		{"FAIL\t9", USERDB_FAIL, 9},
		{"FAIL\t9\treason=later", USERDB_FAIL, 9},
		{"DONE\t9", NONE, 9},
		{"SPID\t9", NONE, 9},
		{"", NONE, 0},
		{"\t", NONE, 0},
		{"\t\t\t", NONE, 0},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		enum userdb_reply reply;
		uint32_t id;
		const char *why = userdb_answer_parse(rows[i].line, strlen(rows[i].line), &reply, &id);
		if ((why ? NONE : (int)reply) != rows[i].reply || id != rows[i].id)
			fail_msg("%s: %s, %d, %u", rows[i].line, why ? why : "fine",
				 why ? NONE : (int)reply, id);
	}
}

static void a_line_with_nul_or_too_long_is_no_answer(void **state)
{
	static char line[USERDB_LINE_MAX + 2];
	enum userdb_reply reply;
	uint32_t id;

	(void)state;
	assert_non_null(userdb_answer_parse("NOTFOUND\t8\tx\0y", 14, &reply, &id));
	memset(line, 'x', sizeof line);
	memcpy(line, "USER\t8\tx", 8);
	assert_null(userdb_answer_parse(line, USERDB_LINE_MAX, &reply, &id));
	assert_non_null(userdb_answer_parse(line, USERDB_LINE_MAX + 1, &reply, &id));
	assert_int_equal(id, 8);
}

static void sendable_names(void **state)
{
	char name[NAME_MAX_BYTES + 2], line[USERDB_QUESTION_MAX];

	(void)state;
	assert_true(userdb_name_is_sendable("info@a.example"));
	assert_true(userdb_name_is_sendable("j\xc3\xbcrgen@a.example"));
	assert_false(userdb_name_is_sendable(""));
	assert_false(userdb_name_is_sendable("a\tservice=imap@a.example"));
	assert_false(userdb_name_is_sendable("a\nUSER\t2\tb"));
	assert_false(userdb_name_is_sendable("a\rb"));
	assert_false(userdb_name_is_sendable("a\001tb"));
	memset(name, 'x', sizeof name);
	name[NAME_MAX_BYTES + 1] = '\0';
	assert_false(userdb_name_is_sendable(name));
	name[NAME_MAX_BYTES] = '\0';
	assert_true(userdb_name_is_sendable(name));
	/* Dovecot closes at 1,024 bytes. */
	size_t length = userdb_question_format(UINT32_MAX, name, line);
	assert_int_equal(length, strlen(line));
	assert_int_equal(line[length - 1], '\n');
}

/* Kept answers */

static void kept_answers_end_in_time(void **state)
{
	struct userdb_kept *kept = userdb_kept_create(100);
	bool exists;

	(void)state;
	assert_false(userdb_kept_find(kept, "a", 1000, &exists));
	userdb_kept_put(kept, "a", true, 1000, 1010);
	userdb_kept_put(kept, "b", false, 1000, 1005);
	assert_true(userdb_kept_find(kept, "a", 1009, &exists) && exists);
	assert_true(userdb_kept_find(kept, "b", 1004, &exists) && !exists);
	assert_false(userdb_kept_find(kept, "b", 1005, &exists));
	assert_false(userdb_kept_find(kept, "a", 1010, &exists));
	userdb_kept_put(kept, "a", false, 1002, 1020);
	assert_true(userdb_kept_find(kept, "a", 1019, &exists) && !exists);
	userdb_kept_put(kept, "a", true, 1019, 1019);
	assert_false(userdb_kept_find(kept, "a", 1019, &exists));
	userdb_kept_destroy(&kept);
	assert_null(kept);
	userdb_kept_destroy(&kept);
}

static size_t count_kept(const struct userdb_kept *kept, unsigned names)
{
	size_t count = 0;

	for (unsigned i = 0; i < names; i++) {
		char name[16];
		bool exists;
		snprintf(name, sizeof name, "%u", i);
		if (userdb_kept_find(kept, name, 5, &exists)) {
			assert_int_equal(exists, i % 2);
			count++;
		}
	}
	return count;
}

static void kept_answers_have_a_limit(void **state)
{
	static const size_t limits[] = {0, 1, 2, 3, 4, 5, 7, 100, 1000};

	(void)state;
	for (size_t i = 0; i < sizeof limits / sizeof limits[0]; i++) {
		struct userdb_kept *kept = userdb_kept_create(limits[i]);
		for (unsigned n = 0; n < 20000; n++) {
			char name[16];
			bool exists;
			snprintf(name, sizeof name, "%u", n);
			userdb_kept_put(kept, name, n % 2 != 0, 5, 10 + n);
			assert_int_equal(userdb_kept_find(kept, name, 5, &exists), limits[i] > 0);
		}
		size_t count = count_kept(kept, 20000);
		assert_true(count <= limits[i]);
		assert_true(count >= limits[i] / 2);
		userdb_kept_destroy(&kept);
	}
}

/* The client and its server */

struct play {
	uv_loop_t loop;
	struct metrics metrics;
	struct userdb_settings settings;
	struct userdb *userdb;
	char *folder, *path;
	int listener, stream; /* -1: none */
	char in[1 << 20];
	size_t used;
};

/* One question and what became of it. */
struct asked {
	struct play *play;
	bool called;
	enum existence existence;
	void (*then)(struct asked *asked);
};

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

static void server_listen(struct play *play)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	unlink(play->path);
	snprintf(address.sun_path, sizeof address.sun_path, "%s", play->path);
	play->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	assert_int_equal(bind(play->listener, (struct sockaddr *)&address, sizeof address), 0);
	assert_int_equal(listen(play->listener, 16), 0);
}

static void server_hang_up(struct play *play)
{
	if (play->stream >= 0)
		close(play->stream);
	play->stream = -1;
	play->used = 0;
}

static void server_stop(struct play *play)
{
	server_hang_up(play);
	if (play->listener >= 0)
		close(play->listener);
	play->listener = -1;
	unlink(play->path);
}

/* A round of the client's loop, and a little time. */
static void turn(struct play *play)
{
	uv_run(&play->loop, UV_RUN_NOWAIT);
	usleep(500);
}

static void turn_for(struct play *play, unsigned ms)
{
	uint64_t end = now_ms() + ms;

	while (now_ms() < end)
		turn(play);
}

/* False: nobody connects within the time. */
static bool server_accepts_within(struct play *play, unsigned ms)
{
	uint64_t end = now_ms() + ms;

	server_hang_up(play);
	do {
		turn(play);
		play->stream = accept4(play->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	} while (play->stream < 0 && now_ms() < end);
	return play->stream >= 0;
}

static void server_accept(struct play *play)
{
	assert_true(server_accepts_within(play, 5000));
}

static void server_send_bytes(struct play *play, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(play->stream, bytes, length, MSG_NOSIGNAL);
		if (sent < 0 && errno == EAGAIN) {
			turn(play);
			continue;
		}
		if (sent < 0)
			return; /* the client has closed, as it may */
		bytes += sent;
		length -= (size_t)sent;
	}
}

static void server_send(struct play *play, const char *format, ...)
{
	char text[20000];
	va_list args;

	va_start(args, format);
	int length = vsnprintf(text, sizeof text, format, args);
	va_end(args);
	server_send_bytes(play, text, (size_t)length);
}

/* What has come; false when the client has closed. */
static bool server_read(struct play *play)
{
	ssize_t got = recv(play->stream, play->in + play->used, sizeof play->in - 1 - play->used, 0);

	if (got == 0 || (got < 0 && errno != EAGAIN))
		return false;
	play->used += got > 0 ? (size_t)got : 0;
	play->in[play->used] = '\0';
	return true;
}

/* The next line of the client. False: none within the time, or it has closed. */
static bool server_has_line(struct play *play, char line_r[1024], unsigned ms)
{
	uint64_t end = now_ms() + ms;

	play->in[play->used] = '\0';
	do {
		char *lf = memchr(play->in, '\n', play->used);
		if (lf) {
			size_t length = (size_t)(lf - play->in);
			assert_true(length < 1024);
			memcpy(line_r, play->in, length);
			line_r[length] = '\0';
			play->used -= length + 1;
			memmove(play->in, lf + 1, play->used);
			return true;
		}
		turn(play);
	} while (server_read(play) && now_ms() < end);
	return false;
}

static void server_expect(struct play *play, const char *expected)
{
	char line[1024];

	assert_true(server_has_line(play, line, 5000));
	assert_string_equal(line, expected);
}

/* A question for that name; its number. */
static unsigned server_expect_user(struct play *play, const char *name)
{
	char line[1024], expected[1024];
	unsigned id = 0;

	assert_true(server_has_line(play, line, 5000));
	assert_int_equal(sscanf(line, "USER\t%u\t", &id), 1);
	snprintf(expected, sizeof expected, "USER\t%u\t%s\tservice=lmtp\tprotocol=lmtp", id, name);
	assert_string_equal(line, expected);
	return id;
}

static void server_expect_nothing(struct play *play)
{
	char line[1024];

	if (server_has_line(play, line, 60))
		fail_msg("the client says %s", line);
}

static void server_expect_close(struct play *play)
{
	uint64_t end = now_ms() + 5000;

	do {
		turn(play);
		play->used = 0;
	} while (server_read(play) && now_ms() < end);
	assert_true(now_ms() < end);
	server_hang_up(play);
}

/* Given up, but there until what it owes has come. Nothing more is asked on it. */
static void server_expect_lingering(struct play *play)
{
	uint64_t end = now_ms() + 60;

	do {
		turn(play);
		assert_true(server_read(play));
		assert_int_equal(play->used, 0);
	} while (now_ms() < end);
}

/* The other connection becomes the one that is played on; returns what that was. */
static int server_turn_to(struct play *play, int stream)
{
	int other = play->stream;

	play->stream = stream;
	return other;
}

/* Does somebody wait to be accepted? */
static bool server_is_wanted(struct play *play)
{
	struct pollfd poller = {.fd = play->listener, .events = POLLIN};

	turn(play);
	return poll(&poller, 1, 0) > 0;
}

/* Whoever waits to be accepted. */
static void server_turn_away(struct play *play)
{
	for (int fd; (fd = accept(play->listener, NULL, NULL)) >= 0;)
		close(fd);
}

static void server_greet(struct play *play)
{
	server_accept(play);
	server_expect(play, "VERSION\t1\t1");
	server_send(play, GREETING);
}

static void on_answer(void *context, enum existence existence)
{
	struct asked *asked = context;

	assert_false(asked->called);
	asked->called = true;
	asked->existence = existence;
	if (asked->then)
		asked->then(asked);
}

static bool ask_both(struct play *play, struct asked *asked, const char *name,
		     const char *without_detail)
{
	struct existence_question question;

	uv_update_time(&play->loop); /* as a round of the loop begins */
	asked->play = play;
	asked->called = false;
	snprintf(question.name, sizeof question.name, "%s", name);
	snprintf(question.without_detail, sizeof question.without_detail, "%s", without_detail);
	bool known = userdb_ask(play->userdb, &question, on_answer, asked, &asked->existence);
	assert_false(asked->called);
	return known;
}

static bool ask(struct play *play, struct asked *asked, const char *name)
{
	return ask_both(play, asked, name, "");
}

static void expect(struct play *play, struct asked *asked, enum existence existence)
{
	uint64_t end = now_ms() + 5000;

	while (!asked->called && now_ms() < end)
		turn(play);
	assert_true(asked->called);
	assert_int_equal(asked->existence, existence);
}

static void expect_known(struct play *play, const char *name, enum existence existence)
{
	struct asked asked = {0};

	assert_true(ask(play, &asked, name));
	assert_int_equal(asked.existence, existence);
}

static unsigned long long counted(struct play *play, enum metric_userdb what)
{
	return play->metrics.userdb[what];
}

static void client_start(struct play *play)
{
	play->userdb = userdb_create(&play->loop, &play->settings, &play->metrics);
	assert_non_null(play->userdb);
}

static int set_up(void **state)
{
	/* Aligned as its metrics ask for. */
	struct play *play = aligned_alloc(_Alignof(struct play), sizeof *play);

	memset(play, 0, sizeof *play);
	uv_loop_init(&play->loop);
	play->folder = support_folder();
	play->path = support_path(play->folder, "auth-userdb");
	play->stream = play->listener = -1;
	play->settings = userdb_defaults;
	play->settings.path = play->path;
	play->settings.timeout_ms = 3000;
	server_listen(play);
	client_start(play);
	*state = play;
	return 0;
}

/* All that a client took must be given back when it is destroyed. */
static int tear_down(void **state)
{
	struct play *play = *state;

	userdb_destroy(&play->userdb);
	assert_null(play->userdb);
	assert_int_equal(uv_run(&play->loop, UV_RUN_DEFAULT), 0);
	assert_int_equal(uv_loop_close(&play->loop), 0);
	assert_int_equal(play->metrics.userdb_connected, 0);
	assert_int_equal(play->metrics.userdb_outstanding, 0);
	server_stop(play);
	free(play->path);
	support_folder_remove(&play->folder);
	free(play);
	return 0;
}

/* The same with settings of its own. */
static void client_restart(struct play *play)
{
	userdb_destroy(&play->userdb);
	while (uv_run(&play->loop, UV_RUN_NOWAIT) != 0)
		;
	client_start(play);
}

static void found_not_found_and_failed(void **state)
{
	struct play *play = *state;
	struct asked there = {0}, not_there = {0}, fails = {0};

	assert_false(ask(play, &there, "there@a.example"));
	assert_false(ask(play, &not_there, "not@a.example"));
	assert_false(ask_both(play, &fails, "fails@a.example", "other@a.example"));
	server_greet(play);
	server_send(play, "USER\t%u\tthere@a.example\tuid=1\n",
		    server_expect_user(play, "there@a.example"));
	server_send(play, "NOTFOUND\t%u\n", server_expect_user(play, "not@a.example"));
	server_send(play, "FAIL\t%u\treason=later\n", server_expect_user(play, "fails@a.example"));
	uint64_t failed = now_ms();
	expect(play, &there, EXISTS);
	expect(play, &not_there, EXISTS_NOT);
	server_send(play, "FAIL\t%u\n", server_expect_user(play, "fails@a.example"));
	assert_in_range(now_ms() - failed, 900, 2500);
	expect(play, &fails, EXISTENCE_UNKNOWN);
	expect_known(play, "there@a.example", EXISTS);
	expect_known(play, "not@a.example", EXISTS_NOT);
	/* A failure is not kept. The connection was old enough to be renewed. */
	server_greet(play);
	assert_false(ask(play, &fails, "fails@a.example"));
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "fails@a.example"));
	expect(play, &fails, EXISTS);
	assert_int_equal(counted(play, METRIC_USERDB_FOUND), 2);
	assert_int_equal(counted(play, METRIC_USERDB_NONE), 1);
	assert_int_equal(counted(play, METRIC_USERDB_FAILED), 1);
	assert_int_equal(counted(play, METRIC_USERDB_CACHED), 2);
	assert_int_equal(play->metrics.userdb_connected, 1);
	assert_int_equal(play->metrics.userdb_reconnects, 0);
}

static void a_failure_may_pass(void **state)
{
	struct play *play = *state;
	struct asked first = {0}, second = {0}, gone = {0};

	assert_false(ask(play, &first, "a@a.example"));
	assert_false(ask(play, &gone, "gone@a.example"));
	server_greet(play);
	server_send(play, "FAIL\t%u\n", server_expect_user(play, "a@a.example"));
	server_send(play, "FAIL\t%u\n", server_expect_user(play, "gone@a.example"));
	turn_for(play, 100);
	userdb_cancel(play->userdb, &gone);
	assert_false(ask(play, &second, "a@a.example"));
	server_expect_nothing(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	expect(play, &first, EXISTS);
	expect(play, &second, EXISTS);
	server_expect_nothing(play);
	assert_false(gone.called);
}

/* Of an auth process that Dovecot has left behind. */
static void failures_renew_an_older_connection(void **state)
{
	struct play *play = *state;
	struct asked asked = {0}, slow = {0};

	play->settings.timeout_ms = 8000;
	client_restart(play);
	assert_false(ask(play, &slow, "slow@a.example"));
	server_greet(play);
	unsigned id = server_expect_user(play, "slow@a.example");
	turn_for(play, 1100);
	assert_false(ask(play, &asked, "a@a.example"));
	server_send(play, "FAIL\t%u\n", server_expect_user(play, "a@a.example"));
	turn_for(play, 20);
	/* What is out is answered on the old connection, which then is closed. */
	int old = play->stream;
	play->stream = -1;
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS);
	int new = play->stream;
	play->stream = old;
	server_send(play, "USER\t%u\tx\n", id);
	expect(play, &slow, EXISTS);
	server_expect_close(play);
	play->stream = new;
	/* The next one shows that the database is away, not Dovecot. */
	turn_for(play, 1100);
	assert_false(ask(play, &asked, "b@a.example"));
	server_send(play, "FAIL\t%u\n", server_expect_user(play, "b@a.example"));
	server_send(play, "FAIL\t%u\n", server_expect_user(play, "b@a.example"));
	expect(play, &asked, EXISTENCE_UNKNOWN);
	assert_int_equal(play->metrics.userdb_connected, 1);
	assert_int_equal(play->metrics.userdb_reconnects, 0);
}

static void a_connection_is_renewed_after_seconds(void **state)
{
	struct play *play = *state;
	struct asked slow = {0}, asked = {0};

	play->settings.timeout_ms = 20000;
	client_restart(play);
	assert_false(ask(play, &slow, "slow@a.example"));
	server_greet(play);
	unsigned id = server_expect_user(play, "slow@a.example");
	int old = play->stream;
	play->stream = -1;
	assert_true(server_accepts_within(play, 6000));
	server_expect(play, "VERSION\t1\t1");
	server_send(play, GREETING);
	assert_false(ask(play, &asked, "a@a.example"));
	server_expect_user(play, "a@a.example");
	/* It breaks; the old one is still there, and when the next comes, it counts no more. */
	server_hang_up(play);
	server_greet(play);
	unsigned again = server_expect_user(play, "slow@a.example");
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS);
	assert_int_not_equal(id, again);
	int newest = server_turn_to(play, old);
	server_expect_lingering(play);
	server_send(play, "NOTFOUND\t%u\n", id);
	server_expect_close(play);
	assert_false(slow.called);
	play->stream = newest;
	server_send(play, "USER\t%u\tx\n", again);
	expect(play, &slow, EXISTS);
	assert_int_equal(play->metrics.userdb_reconnects, 1);
}

/* Which gives up the connection that the failure came on. */
static void a_failure_on_an_old_connection_renews_the_next(void **state)
{
	struct play *play = *state;
	struct asked asked = {0}, slow = {0};

	play->settings.timeout_ms = 20000;
	client_restart(play);
	assert_false(ask(play, &slow, "slow@a.example"));
	assert_false(ask(play, &asked, "a@a.example"));
	server_greet(play);
	unsigned slow_id = server_expect_user(play, "slow@a.example");
	server_send(play, "FAIL\t%u\n", server_expect_user(play, "a@a.example"));
	unsigned id = server_expect_user(play, "a@a.example");
	int old = play->stream;
	play->stream = -1;
	assert_true(server_accepts_within(play, 6000));
	server_expect(play, "VERSION\t1\t1");
	server_send(play, GREETING);
	turn_for(play, 1100);
	int next = play->stream;
	play->stream = old;
	server_send(play, "FAIL\t%u\n", id);
	expect(play, &asked, EXISTENCE_UNKNOWN);
	server_expect_lingering(play);
	server_send(play, "FAIL\t%u\n", slow_id);
	server_expect_close(play);
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "slow@a.example"));
	expect(play, &slow, EXISTS);
	server_hang_up(play);
	play->stream = next;
	server_expect_close(play);
}

static void nothing_is_said_before_the_first_question_and_the_greeting(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};

	assert_false(server_accepts_within(play, 50));
	assert_false(ask(play, &asked, "a@a.example"));
	server_accept(play);
	server_expect(play, "VERSION\t1\t1");
	server_expect_nothing(play);
	server_send(play, "VERSION\t1\t1\nNEWS\tfrom later\n");
	server_expect_nothing(play);
	server_send(play, "SPID\t1\n");
	server_send(play, "NOTFOUND\t%u\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS_NOT);
}

static void half_lines_are_waited_for(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};
	char answer[64];

	assert_false(ask(play, &asked, "a@a.example"));
	server_accept(play);
	for (const char *c = GREETING; *c != '\0'; c++) {
		server_send(play, "%c", *c);
		turn(play);
	}
	server_expect(play, "VERSION\t1\t1");
	snprintf(answer, sizeof answer, "USER\t%u\ta@a.example\thome=/a\n",
		 server_expect_user(play, "a@a.example"));
	for (const char *c = answer; *c != '\0'; c++) {
		assert_false(asked.called);
		server_send(play, "%c", *c);
		turn(play);
	}
	expect(play, &asked, EXISTS);
}

/* Or Dovecot 2.4.1 crashes. */
static void a_connection_starts_with_few_questions(void **state)
{
	struct play *play = *state;
	struct asked asked[20] = {{0}};
	unsigned ids[20];
	char name[64];

	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "%u@a.example", i);
		assert_false(ask(play, &asked[i], name));
	}
	server_greet(play);
	for (unsigned i = 0; i < 8; i++) {
		snprintf(name, sizeof name, "%u@a.example", i);
		ids[i] = server_expect_user(play, name);
	}
	server_expect_nothing(play);
	server_send(play, "USER\t%u\tx\n", ids[5]);
	ids[8] = server_expect_user(play, "8@a.example");
	ids[9] = server_expect_user(play, "9@a.example");
	server_expect_nothing(play);
	server_send(play, "USER\t%u\tx\nUSER\t%u\tx\nUSER\t%u\tx\n", ids[0], ids[8], ids[9]);
	for (unsigned i = 10; i < 16; i++) {
		snprintf(name, sizeof name, "%u@a.example", i);
		server_expect_user(play, name);
	}
	server_expect_nothing(play);
	/* A new connection starts so too. */
	server_hang_up(play);
	server_greet(play);
	for (unsigned i = 1; i < 10; i++) {
		snprintf(name, sizeof name, "%u@a.example", i);
		if (i != 5 && i != 8 && i != 9)
			server_expect_user(play, name);
	}
	server_expect_user(play, "10@a.example");
	server_expect_user(play, "11@a.example");
	server_expect_nothing(play);
	userdb_destroy(&play->userdb);
}

static void a_thousand_questions_answered_in_another_order(void **state)
{
	enum { COUNT = 1000 };
	struct play *play = *state;
	struct asked *asked = calloc(COUNT, sizeof *asked);
	unsigned *ids = calloc(COUNT, sizeof *ids);
	uint64_t random = 1;
	char name[64];

	for (unsigned i = 0; i < COUNT; i++) {
		snprintf(name, sizeof name, "user-%u@a.example", i);
		assert_false(ask(play, &asked[i], name));
	}
	assert_int_equal(play->metrics.userdb_outstanding, COUNT);
	expect_known(play, "one-too-many@a.example", EXISTENCE_UNKNOWN);
	server_greet(play);
	for (unsigned sent = 0, out = 0, answered = 0; answered < COUNT;) {
		while (sent < COUNT && out < 8 + answered) {
			snprintf(name, sizeof name, "user-%u@a.example", sent);
			ids[out] = server_expect_user(play, name);
			for (unsigned k = 0; k < out; k++)
				assert_int_not_equal(ids[out], ids[k]);
			out++;
			sent++;
		}
		unsigned pick = (unsigned)(support_random(&random) % out);
		/* The numbers of the asked are those of their order. */
		bool exists = (ids[pick] - 1) % 3 == 0;
		server_send(play, exists ? "USER\t%u\tx\n" : "NOTFOUND\t%u\n", ids[pick]);
		ids[pick] = ids[--out];
		answered++;
	}
	for (unsigned i = 0; i < COUNT; i++)
		expect(play, &asked[i], i % 3 == 0 ? EXISTS : EXISTS_NOT);
	assert_int_equal(play->metrics.userdb_outstanding, 0);
	free(asked);
	free(ids);
}

static void the_same_question_is_asked_once(void **state)
{
	struct play *play = *state;
	struct asked first = {0}, second = {0}, third = {0};

	assert_false(ask(play, &first, "a@a.example"));
	assert_false(ask(play, &second, "a@a.example"));
	server_greet(play);
	unsigned id = server_expect_user(play, "a@a.example");
	assert_false(ask_both(play, &third, "a@a.example", "b@a.example"));
	server_expect_nothing(play);
	server_send(play, "USER\t%u\ta\n", id);
	expect(play, &first, EXISTS);
	expect(play, &second, EXISTS);
	expect(play, &third, EXISTS);
}

static void the_name_without_its_detail_is_asked_second(void **state)
{
	struct play *play = *state;
	struct asked asked = {0}, other = {0};

	assert_false(ask_both(play, &asked, "a+x@a.example", "a@a.example"));
	assert_false(ask(play, &other, "a+x@a.example"));
	server_greet(play);
	server_send(play, "NOTFOUND\t%u\n", server_expect_user(play, "a+x@a.example"));
	unsigned id = server_expect_user(play, "a@a.example");
	expect(play, &other, EXISTS_NOT);
	assert_false(asked.called);
	server_send(play, "USER\t%u\ta\n", id);
	expect(play, &asked, EXISTS);
	/* Both are kept. */
	assert_true(ask_both(play, &asked, "a+x@a.example", "a@a.example"));
	assert_int_equal(asked.existence, EXISTS);
	/* The second is kept, the first is not. */
	assert_false(ask_both(play, &asked, "a+y@a.example", "a@a.example"));
	server_send(play, "NOTFOUND\t%u\n", server_expect_user(play, "a+y@a.example"));
	expect(play, &asked, EXISTS);
	server_expect_nothing(play);
	/* The first is known not to be, the second has to be asked for. */
	assert_false(ask_both(play, &asked, "a+x@a.example", "c@a.example"));
	server_send(play, "NOTFOUND\t%u\n", server_expect_user(play, "c@a.example"));
	expect(play, &asked, EXISTS_NOT);
}

static void names_that_cannot_be_sent_do_not_exist(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};

	expect_known(play, "", EXISTS_NOT);
	expect_known(play, "a\tb@a.example", EXISTS_NOT);
	expect_known(play, "a\nUSER\t1\tb@a.example", EXISTS_NOT);
	assert_true(ask_both(play, &asked, "a\rb", "a\001b"));
	assert_int_equal(asked.existence, EXISTS_NOT);
	assert_false(ask_both(play, &asked, "a\tb@a.example", "a@a.example"));
	server_greet(play);
	server_send(play, "USER\t%u\ta\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS);
}

static void kept_answers_count_from_the_question(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};

	play->settings.keep_found_ms = 400;
	play->settings.keep_none_ms = 200;
	client_restart(play);
	assert_false(ask(play, &asked, "a@a.example"));
	server_greet(play);
	unsigned id = server_expect_user(play, "a@a.example");
	uint64_t sent = now_ms();
	turn_for(play, 250);
	server_send(play, "USER\t%u\ta\n", id);
	expect(play, &asked, EXISTS);
	expect_known(play, "a@a.example", EXISTS);
	turn_for(play, (unsigned)(sent + 410 - now_ms()));
	assert_false(ask(play, &asked, "a@a.example"));
	server_send(play, "NOTFOUND\t%u\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS_NOT);
	expect_known(play, "a@a.example", EXISTS_NOT);
	turn_for(play, 210);
	assert_false(ask(play, &asked, "a@a.example"));
	/* An answer that took longer than it may be kept. */
	id = server_expect_user(play, "a@a.example");
	turn_for(play, 420);
	server_send(play, "USER\t%u\ta\n", id);
	expect(play, &asked, EXISTS);
	assert_false(ask(play, &asked, "a@a.example"));
	userdb_destroy(&play->userdb);
}

/* One question is out; then something happens that closes the connection; it is asked again. */
static void expect_asked_again(struct play *play, const char *bytes, size_t length)
{
	struct asked asked = {0};

	assert_false(ask(play, &asked, "a@a.example"));
	server_greet(play);
	unsigned id = server_expect_user(play, "a@a.example");
	server_send_bytes(play, bytes, length);
	if (length > 0)
		server_expect_close(play);
	else
		server_hang_up(play);
	server_greet(play);
	unsigned again = server_expect_user(play, "a@a.example");
	assert_int_not_equal(id, again);
	server_send(play, "NOTFOUND\t%u\n", again);
	expect(play, &asked, EXISTS_NOT);
	assert_int_equal(play->metrics.userdb_connected, 1);
	assert_true(play->metrics.userdb_reconnects > 0);
}

static void a_broken_connection_is_made_again(void **state)
{
	expect_asked_again(*state, "", 0);
}

static void garbage_closes_the_connection(void **state)
{
	static const char *const garbage[] = {
		"\n",	      "garbage\n",	 "USER\n",	    "USER\t\tx\n",
		"USER\t1\n",  "NOTFOUND\t77\n",	 "USER\t77\tx\n",   "FAIL\t4294967295\n",
		"NOTFOUND\t0\n", "NOTFOUND\t-1\n", "\377\376\375\n",
	};
	struct play *play = *state;

	play->settings.keep_none_ms = 0;
	for (size_t i = 0; i < sizeof garbage / sizeof garbage[0]; i++) {
		client_restart(play);
		/* "USER 1" is about the question itself, which is not asked again then. */
		if (strncmp(garbage[i], "USER\t1\n", 7) != 0)
			expect_asked_again(play, garbage[i], strlen(garbage[i]));
	}
	client_restart(play);
	expect_asked_again(play, "NOTFOUND\t9\0\n", 12);
}

static void an_endless_line_closes_the_connection(void **state)
{
	struct play *play = *state;
	size_t length = 10 << 20;
	char *line = malloc(length);

	memset(line, 'x', length);
	expect_asked_again(play, line, length);
	free(line);
}

static void a_flood_of_answers_closes_the_connection(void **state)
{
	struct play *play = *state;
	size_t length = 0, size = 4 << 20;
	char *lines = malloc(size);

	while (length < size - 32)
		length += (size_t)sprintf(lines + length, "NOTFOUND\t%zu\n", length + 1000);
	expect_asked_again(play, lines, length);
	free(lines);
}

static void an_answer_that_comes_twice_closes_the_connection(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};

	assert_false(ask(play, &asked, "a@a.example"));
	server_greet(play);
	unsigned id = server_expect_user(play, "a@a.example");
	server_send(play, "USER\t%u\ta\nUSER\t%u\ta\n", id, id);
	expect(play, &asked, EXISTS);
	server_expect_close(play);
}

static void a_bad_answer_hurts_its_own_question_alone(void **state)
{
	struct play *play = *state;
	struct asked bad[3] = {{0}}, good = {0};
	char groups[USERDB_LINE_MAX + 100];

	memset(groups, 'g', sizeof groups - 1);
	groups[sizeof groups - 1] = '\0';
	assert_false(ask(play, &good, "good@a.example"));
	/* More often than a question is asked again where nobody is to blame. */
	for (int i = 0; i < 3; i++) {
		server_greet(play);
		unsigned good_id = server_expect_user(play, "good@a.example");
		assert_false(ask(play, &bad[i], "bad@a.example"));
		unsigned id = server_expect_user(play, "bad@a.example");
		server_send(play, "USER\t%u\tbad@a.example\tacl_groups=%s\n", id, groups);
		expect(play, &bad[i], EXISTENCE_UNKNOWN);
		server_send(play, "USER\t%u\tx\n", good_id);
		server_expect_close(play);
		assert_false(good.called);
	}
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "good@a.example"));
	expect(play, &good, EXISTS);
}

static void what_breaks_twice_is_unknown(void **state)
{
	struct play *play = *state;
	struct asked asked = {0}, later = {0};

	assert_false(ask(play, &asked, "a@a.example"));
	server_greet(play);
	server_expect_user(play, "a@a.example");
	server_hang_up(play);
	server_greet(play);
	server_expect_user(play, "a@a.example");
	assert_false(ask(play, &later, "later@a.example"));
	server_expect_user(play, "later@a.example");
	server_hang_up(play);
	expect(play, &asked, EXISTENCE_UNKNOWN);
	assert_false(later.called);
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "later@a.example"));
	expect(play, &later, EXISTS);
	server_expect_nothing(play);
}

static void what_was_not_sent_does_not_count_as_broken(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};

	assert_false(ask(play, &asked, "a@a.example"));
	for (int i = 0; i < 4; i++) {
		server_accept(play);
		server_expect(play, "VERSION\t1\t1");
		server_send(play, "VERSION\t1\t1\n");
		server_hang_up(play);
	}
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS);
}

static void what_is_asked_again_keeps_its_order(void **state)
{
	struct play *play = *state;
	struct asked asked[4] = {{0}};

	assert_false(ask(play, &asked[0], "0@a.example"));
	assert_false(ask(play, &asked[1], "1@a.example"));
	assert_false(ask(play, &asked[2], "2@a.example"));
	server_greet(play);
	server_expect_user(play, "0@a.example");
	server_expect_user(play, "1@a.example");
	server_expect_user(play, "2@a.example");
	server_hang_up(play);
	turn(play);
	assert_false(ask(play, &asked[3], "3@a.example"));
	server_greet(play);
	server_expect_user(play, "0@a.example");
	server_expect_user(play, "1@a.example");
	server_expect_user(play, "2@a.example");
	server_expect_user(play, "3@a.example");
	userdb_destroy(&play->userdb);
}

static void silence_ends_in_time(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};

	play->settings.timeout_ms = 200;
	client_restart(play);
	assert_false(ask(play, &asked, "a@a.example"));
	server_greet(play);
	server_expect_user(play, "a@a.example");
	uint64_t begin = now_ms();
	expect(play, &asked, EXISTENCE_UNKNOWN);
	assert_in_range(now_ms() - begin, 100, 1000);
	/* Nobody waits, but somebody asked a moment ago: it connects by itself. */
	server_greet(play);
	server_expect_nothing(play);
	assert_false(ask(play, &asked, "a@a.example"));
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS);
}

static void one_slow_answer_closes_nothing(void **state)
{
	struct play *play = *state;
	struct asked slow = {0}, quick = {0};
	char name[64];

	play->settings.timeout_ms = 200;
	client_restart(play);
	assert_false(ask(play, &slow, "slow@a.example"));
	server_greet(play);
	unsigned id = server_expect_user(play, "slow@a.example");
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "%u@a.example", i);
		assert_false(ask(play, &quick, name));
		server_send(play, "USER\t%u\tx\n", server_expect_user(play, name));
		expect(play, &quick, EXISTS);
		turn_for(play, 25);
	}
	assert_true(slow.called && slow.existence == EXISTENCE_UNKNOWN);
	/* Whoever asks now waits for the answer to what was asked long ago. */
	assert_false(ask(play, &slow, "slow@a.example"));
	server_expect_nothing(play);
	server_send(play, "USER\t%u\tx\n", id);
	expect(play, &slow, EXISTS);
}

static void an_answer_that_never_comes_closes_in_the_end(void **state)
{
	struct play *play = *state;
	struct asked lost = {0}, quick[200] = {{0}};
	char name[64], line[1024];

	play->settings.timeout_ms = 100;
	client_restart(play);
	assert_false(ask(play, &lost, "lost@a.example"));
	server_greet(play);
	server_expect_user(play, "lost@a.example");
	for (unsigned i = 0; !server_is_wanted(play); i++) {
		assert_true(i < 200);
		snprintf(name, sizeof name, "%u@a.example", i);
		ask(play, &quick[i], name);
		if (!server_has_line(play, line, 20))
			continue;
		unsigned id = 0;
		assert_int_equal(sscanf(line, "USER\t%u\t", &id), 1);
		server_send(play, "USER\t%u\tx\n", id);
		turn_for(play, 10);
		if (i == 20)
			assert_int_equal(play->metrics.userdb_connected, 1);
	}
	server_greet(play);
	assert_int_equal(play->metrics.userdb_reconnects, 0);
	turn_for(play, 20);
	assert_int_equal(play->metrics.userdb_reconnects, 1);
	userdb_destroy(&play->userdb);
}

static void a_server_that_does_not_greet_is_left(void **state)
{
	static const char *const greetings[] = {
		"VERSION\t2\t0\nSPID\t1\n",
		"VERSION\t1\t1\nMECH\tPLAIN\nSPID\t1\nCUID\t1\nCOOKIE\tx\nDONE\n",
		"* OK IMAP4rev1\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n"
		"\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n",
	};
	struct play *play = *state;
	struct asked asked = {0};

	play->settings.timeout_ms = 5000;
	client_restart(play);
	assert_false(ask(play, &asked, "a@a.example"));
	for (size_t i = 0; i < sizeof greetings / sizeof greetings[0]; i++) {
		server_accept(play);
		server_send(play, "%s", greetings[i]);
		server_expect_close(play);
	}
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS);
	play->settings.timeout_ms = 150;
	client_restart(play);
	assert_false(ask(play, &asked, "a@a.example"));
	server_accept(play);
	expect(play, &asked, EXISTENCE_UNKNOWN);
	server_expect_close(play);
}

static void dovecot_may_come_later(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};

	server_stop(play);
	assert_false(ask(play, &asked, "a@a.example"));
	turn_for(play, 300);
	assert_false(asked.called);
	server_listen(play);
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS);
	assert_int_equal(play->metrics.userdb_reconnects, 0);
}

static void where_dovecot_is_away_for_long_nobody_waits(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};

	play->settings.timeout_ms = 150;
	client_restart(play);
	server_stop(play);
	assert_false(ask(play, &asked, "a@a.example"));
	expect(play, &asked, EXISTENCE_UNKNOWN);
	turn_for(play, 50);
	expect_known(play, "a@a.example", EXISTENCE_UNKNOWN);
	/* It is tried all the same, and once there it is asked. */
	server_listen(play);
	server_greet(play);
	turn_for(play, 20);
	assert_false(ask(play, &asked, "a@a.example"));
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS);
}

static void pauses_grow(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};
	uint64_t tries[6];

	play->settings.timeout_ms = 60000;
	client_restart(play);
	assert_false(ask(play, &asked, "a@a.example"));
	for (int i = 0; i < 6; i++) {
		server_accept(play);
		tries[i] = now_ms();
		server_send(play, "VERSION\t1\t1\n");
		server_hang_up(play);
	}
	assert_in_range(tries[1] - tries[0], 40, 95);
	assert_in_range(tries[2] - tries[1], 90, 190);
	assert_in_range(tries[4] - tries[3], 350, 700);
	assert_true(tries[5] - tries[4] > tries[3] - tries[2]);
	userdb_destroy(&play->userdb);
}

static void a_path_too_long_for_a_socket_is_unknown(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};
	char path[200];

	memset(path, '/', sizeof path - 1);
	path[sizeof path - 1] = '\0';
	play->settings.path = path;
	play->settings.timeout_ms = 100;
	client_restart(play);
	assert_false(ask(play, &asked, "a@a.example"));
	expect(play, &asked, EXISTENCE_UNKNOWN);
}

static void nobody_to_ask(void **state)
{
	struct play *play = *state;
	struct existence_question question = {.name = "a@a.example"};
	enum existence existence = EXISTS;

	assert_true(userdb_ask(NULL, &question, on_answer, play, &existence));
	assert_int_equal(existence, EXISTENCE_UNKNOWN);
	userdb_cancel(NULL, play);
	play->settings.max_outstanding = 0;
	client_restart(play);
	expect_known(play, "a@a.example", EXISTENCE_UNKNOWN);
}

static void who_cancels_is_not_called(void **state)
{
	struct play *play = *state;
	struct asked queued = {0}, gone = {0}, stays = {0}, decided = {0};

	/* Before it is sent: it never is. */
	assert_false(ask(play, &queued, "queued@a.example"));
	userdb_cancel(play->userdb, &queued);
	assert_int_equal(play->metrics.userdb_outstanding, 0);
	assert_false(ask(play, &gone, "gone@a.example"));
	assert_false(ask(play, &stays, "gone@a.example"));
	assert_false(ask(play, &decided, "decided@a.example"));
	server_greet(play);
	unsigned id = server_expect_user(play, "gone@a.example");
	unsigned second = server_expect_user(play, "decided@a.example");
	userdb_cancel(play->userdb, &gone);
	server_send(play, "USER\t%u\tx\n", id);
	expect(play, &stays, EXISTS);
	/* The answer to what nobody waits for any more is kept. */
	userdb_cancel(play->userdb, &decided);
	server_send(play, "USER\t%u\tx\n", second);
	turn_for(play, 50);
	expect_known(play, "decided@a.example", EXISTS);
	assert_false(queued.called || gone.called || decided.called);
}

/* Given up with answers owed */

/* Has the client give a connection up that owes so many answers, because they do not come in time.
 * Returns it, and what was asked in ids_r. */
static int be_given_up(struct play *play, unsigned count, unsigned ids_r[])
{
	struct asked quick = {0}, slow[4] = {{0}};
	char name[64];

	assert_false(ask(play, &quick, "quick@a.example"));
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "quick@a.example"));
	expect(play, &quick, EXISTS);
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof name, "slow-%u@a.example", i);
		assert_false(ask(play, &slow[i], name));
		ids_r[i] = server_expect_user(play, name);
	}
	for (unsigned i = 0; i < count; i++)
		expect(play, &slow[i], EXISTENCE_UNKNOWN);
	while (!server_is_wanted(play))
		;
	assert_int_equal(play->metrics.userdb_outstanding, 0);
	return server_turn_to(play, -1);
}

static void client_restart_impatient(struct play *play)
{
	play->settings.timeout_ms = 200;
	play->settings.keep_found_ms = 0;
	client_restart(play);
}

static void a_connection_lingers_until_the_last_answer(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};
	char groups[2 * USERDB_LINE_MAX + 1];
	unsigned ids[4];

	memset(groups, 'g', sizeof groups - 1);
	groups[sizeof groups - 1] = '\0';
	client_restart_impatient(play);
	int lingering = be_given_up(play, 4, ids);
	assert_false(ask(play, &asked, "slow-0@a.example"));
	server_greet(play);
	unsigned id = server_expect_user(play, "slow-0@a.example");
	int new = server_turn_to(play, lingering);
	/* Nobody reads what they say, but each line is one. */
	server_send(play, "NOTFOUND\t%u\nFAIL\t%u\nUSER\t%u\tacl_groups=%s", ids[0], ids[1], ids[2], groups);
	server_expect_lingering(play);
	server_send(play, ",%s\n", groups);
	server_expect_lingering(play);
	server_send(play, "FAIL\t%u", ids[3]);
	server_expect_lingering(play);
	server_send(play, "\n");
	server_expect_close(play);
	play->stream = new;
	server_send(play, "USER\t%u\tx\n", id);
	expect(play, &asked, EXISTS);
}

/* Together with what it was given up for. */
static void what_has_come_already_is_not_owed(void **state)
{
	struct play *play = *state;
	struct asked asked[3] = {{0}};
	unsigned ids[3];
	char name[64];

	for (int all = 0; all < 2; all++) {
		client_restart(play);
		server_turn_away(play);
		for (unsigned i = 0; i < 3; i++) {
			snprintf(name, sizeof name, "%u@a.example", i);
			assert_false(ask(play, &asked[i], name));
		}
		server_greet(play);
		for (unsigned i = 0; i < 3; i++) {
			snprintf(name, sizeof name, "%u@a.example", i);
			ids[i] = server_expect_user(play, name);
		}
		server_send(play, "garbage\nUSER\t%u\tx\nUSER\t%u\tx%s", ids[1], ids[2],
			    all ? "\n" : "");
		if (!all) {
			server_expect_lingering(play);
			server_send(play, "\n");
		}
		server_expect_close(play);
		userdb_destroy(&play->userdb);
	}
}

static void a_connection_lingers_no_longer_than_its_limit(void **state)
{
	struct play *play = *state;
	unsigned ids[2];

	play->settings.linger_ms = 600;
	client_restart_impatient(play);
	uint64_t begin = now_ms();
	int first = be_given_up(play, 1, ids);
	server_hang_up(play);
	server_turn_to(play, be_given_up(play, 2, ids));
	server_expect_lingering(play);
	int second = server_turn_to(play, first);
	server_expect_close(play);
	assert_in_range(now_ms() - begin, 700, 3000);
	play->stream = second;
	server_expect_close(play);
	assert_in_range(now_ms() - begin, 900, 4000);
}

static void a_lingering_connection_that_dovecot_closes_is_gone(void **state)
{
	struct play *play = *state;
	unsigned ids[1];

	client_restart_impatient(play);
	play->stream = be_given_up(play, 1, ids);
	server_hang_up(play);
	turn_for(play, 20);
	userdb_end(&play->userdb, 20000);
	uint64_t begin = now_ms();
	uv_run(&play->loop, UV_RUN_DEFAULT);
	assert_true(now_ms() - begin < 1000);
}

static void an_endless_line_ends_lingering(void **state)
{
	struct play *play = *state;
	size_t length = 10 << 20;
	char *line = malloc(length);
	unsigned ids[1];

	memset(line, 'x', length);
	client_restart_impatient(play);
	play->stream = be_given_up(play, 1, ids);
	server_send_bytes(play, line, length);
	server_expect_close(play);
	free(line);
}

static void few_connections_linger(void **state)
{
	struct play *play = *state;
	int streams[USERDB_LINGERING_MAX + 1];
	unsigned ids[1];

	client_restart_impatient(play);
	for (unsigned i = 0; i < USERDB_LINGERING_MAX; i++)
		streams[i] = be_given_up(play, 1, ids);
	play->stream = streams[0];
	server_expect_lingering(play);
	play->stream = -1;
	streams[USERDB_LINGERING_MAX] = be_given_up(play, 1, ids);
	play->stream = streams[0];
	server_expect_close(play);
	for (unsigned i = 1; i <= USERDB_LINGERING_MAX; i++) {
		play->stream = streams[i];
		server_expect_lingering(play);
	}
	userdb_destroy(&play->userdb);
	for (unsigned i = 1; i <= USERDB_LINGERING_MAX; i++) {
		play->stream = streams[i];
		server_expect_close(play);
	}
}

static void the_end_waits_for_owed_answers(void **state)
{
	struct play *play = *state;
	struct asked asked = {0}, gone = {0};
	unsigned ids[1];

	client_restart_impatient(play);
	int older = be_given_up(play, 1, ids);
	assert_false(ask(play, &asked, "a@a.example"));
	assert_false(ask(play, &gone, "gone@a.example"));
	server_greet(play);
	unsigned id = server_expect_user(play, "a@a.example");
	unsigned gone_id = server_expect_user(play, "gone@a.example");
	userdb_cancel(play->userdb, &gone);
	userdb_end(&play->userdb, 20000);
	assert_null(play->userdb);
	assert_true(asked.called && asked.existence == EXISTENCE_UNKNOWN);
	server_expect_lingering(play);
	server_send(play, "USER\t%u\tx\n", id);
	server_expect_lingering(play);
	server_send(play, "USER\t%u\tx\n", gone_id);
	server_expect_close(play);
	play->stream = older;
	server_expect_lingering(play);
	server_send(play, "FAIL\t%u\n", ids[0]);
	server_expect_close(play);
	assert_int_equal(uv_run(&play->loop, UV_RUN_NOWAIT), 0);
	assert_false(gone.called);
}

static void the_end_waits_no_longer_than_it_may(void **state)
{
	struct play *play = *state;
	struct asked asked = {0};
	unsigned ids[1];

	client_restart_impatient(play);
	be_given_up(play, 1, ids);
	assert_false(ask(play, &asked, "a@a.example"));
	server_greet(play);
	server_expect_user(play, "a@a.example");
	uv_update_time(&play->loop);
	uint64_t begin = now_ms();
	userdb_end(&play->userdb, 200);
	assert_int_equal(uv_run(&play->loop, UV_RUN_DEFAULT), 0);
	assert_in_range(now_ms() - begin, 150, 1500);
}

static void the_end_waits_for_nothing_where_nothing_is_owed(void **state)
{
	struct play *play = *state;

	for (int stage = 0; stage < 4; stage++) {
		struct asked asked = {0};
		play->settings.keep_found_ms = 0;
		client_restart(play);
		if (stage > 0)
			assert_false(ask(play, &asked, "a@a.example"));
		if (stage == 2)
			server_accept(play);
		if (stage == 3) {
			server_greet(play);
			server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
			expect(play, &asked, EXISTS);
		}
		uint64_t begin = now_ms();
		userdb_end(&play->userdb, 20000);
		uv_run(&play->loop, UV_RUN_DEFAULT);
		assert_true(now_ms() - begin < 1000);
		server_hang_up(play);
	}
}

/* In callbacks */

static struct asked another;

static void ask_another(struct asked *asked)
{
	ask_both(asked->play, &another, "another@a.example", "another-yet@a.example");
}

static void a_callback_may_ask(void **state)
{
	struct play *play = *state;
	struct asked asked = {.then = ask_another};

	another = (struct asked){0};
	assert_false(ask(play, &asked, "a@a.example"));
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	server_send(play, "NOTFOUND\t%u\n", server_expect_user(play, "another@a.example"));
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "another-yet@a.example"));
	expect(play, &another, EXISTS);
}

static void cancel_another(struct asked *asked)
{
	userdb_cancel(asked->play->userdb, &another);
}

static void a_callback_may_cancel_what_is_decided_too(void **state)
{
	struct play *play = *state;
	struct asked asked = {.then = cancel_another};

	another = (struct asked){0};
	assert_false(ask(play, &asked, "a@a.example"));
	assert_false(ask(play, &another, "a@a.example"));
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked, EXISTS);
	turn_for(play, 20);
	assert_false(another.called);
}

static void destroy(struct asked *asked)
{
	userdb_destroy(&asked->play->userdb);
}

static void a_callback_may_destroy(void **state)
{
	struct play *play = *state;
	struct asked asked[4] = {{.then = destroy}, {.then = destroy}, {.then = ask_another}, {0}};

	assert_false(ask(play, &asked[0], "a@a.example"));
	assert_false(ask(play, &asked[1], "a@a.example"));
	assert_false(ask(play, &asked[2], "b@a.example"));
	assert_false(ask(play, &asked[3], "c@a.example"));
	server_greet(play);
	server_send(play, "USER\t%u\tx\n", server_expect_user(play, "a@a.example"));
	expect(play, &asked[0], EXISTS);
	assert_true(asked[1].called && asked[1].existence == EXISTS);
	assert_true(asked[2].called && asked[2].existence == EXISTENCE_UNKNOWN);
	assert_true(asked[3].called && asked[3].existence == EXISTENCE_UNKNOWN);
	assert_null(play->userdb);
}

static void destroying_answers_all_in_every_state(void **state)
{
	struct play *play = *state;

	for (int stage = 0; stage < 8; stage++) {
		struct asked asked[2] = {{0}};
		assert_false(ask_both(play, &asked[0], "a+x@a.example", "a@a.example"));
		if (stage == 1)
			uv_run(&play->loop, UV_RUN_NOWAIT);
		if (stage >= 2)
			server_accept(play);
		if (stage >= 3)
			server_send(play, "VERSION\t1\t1\n");
		if (stage >= 4) {
			server_send(play, "SPID\t1\n");
			server_expect(play, "VERSION\t1\t1");
			unsigned id = server_expect_user(play, "a+x@a.example");
			if (stage >= 5) {
				server_send(play, "NOTFOUND\t%u\n", id);
				server_expect_user(play, "a@a.example");
			}
		}
		if (stage >= 6) {
			server_hang_up(play);
			turn_for(play, 20);
		}
		if (stage == 7)
			server_accept(play);
		assert_false(ask(play, &asked[1], "b@a.example"));
		userdb_destroy(&play->userdb);
		assert_true(asked[0].called && asked[0].existence == EXISTENCE_UNKNOWN);
		assert_true(asked[1].called && asked[1].existence == EXISTENCE_UNKNOWN);
		assert_int_equal(play->metrics.userdb_outstanding, 0);
		server_hang_up(play);
		client_restart(play);
		server_turn_away(play);
	}
}

/* A server that does whatever comes to its mind, and callers that do so too. Whatever happens, each
 * is called once, and everything is given back. */
enum { CALLERS = 64 };

struct chaos {
	struct play *play;
	uint64_t random;
	struct asked asked[CALLERS];
	bool waits[CALLERS];
};

static unsigned choose(struct chaos *chaos, unsigned count)
{
	return (unsigned)(support_random(&chaos->random) % count);
}

static void somebody_asks_or_cancels(struct chaos *chaos)
{
	unsigned pick = choose(chaos, CALLERS);
	struct asked *asked = &chaos->asked[pick];
	char name[64], rest[64];

	if (chaos->waits[pick] && asked->called)
		chaos->waits[pick] = false;
	if (!chaos->waits[pick] && choose(chaos, 2) == 0) {
		snprintf(name, sizeof name, "%u@a.example", pick / 2);
		snprintf(rest, sizeof rest, "%u@a.example", pick / 8);
		chaos->waits[pick] = !ask_both(chaos->play, asked, name, rest);
	} else if (chaos->waits[pick] && choose(chaos, 8) == 0) {
		userdb_cancel(chaos->play->userdb, asked);
		chaos->waits[pick] = false;
	}
}

/* The right answer to the next line of the client, if there is one. */
static void server_answers(struct play *play)
{
	char *end = memchr(play->in, '\n', play->used);
	unsigned id;

	if (!end)
		return;
	if (sscanf(play->in, "USER\t%u", &id) == 1)
		server_send(play, id % 3 != 0 ? "USER\t%u\tx\n" : "NOTFOUND\t%u\n", id);
	else
		server_send(play, GREETING);
	play->used -= (size_t)(end + 1 - play->in);
	memmove(play->in, end + 1, play->used);
}

static void server_does_something(struct chaos *chaos, unsigned likely_id)
{
	struct play *play = chaos->play;
	unsigned id = likely_id + choose(chaos, 40);

	switch (choose(chaos, 300)) {
	case 0:
		server_hang_up(play);
		return;
	case 1:
		server_send(play, "USER\t%u\tx\n", id);
		return;
	case 2:
		server_send(play, "half a line");
		return;
	case 3:
		server_send(play, "USER\t%u\n", id);
		return;
	case 4:
		server_send(play, "FAIL\t%u\n", id);
		return;
	case 5:
		server_send(play, GREETING);
		return;
	default:
		server_answers(play);
	}
}

static void expect_all_called(const struct chaos *chaos)
{
	for (unsigned i = 0; i < CALLERS; i++)
		assert_true(!chaos->waits[i] || chaos->asked[i].called);
}

static void anything_may_happen(void **state)
{
	struct play *play = *state;
	struct chaos *chaos = calloc(1, sizeof *chaos);
	unsigned long rounds = support_number("HOMING_TEST_ROUNDS", 20000);

	chaos->play = play;
	chaos->random = support_number("HOMING_TEST_SEED", 1);
	play->settings.timeout_ms = 100;
	play->settings.max_outstanding = 40;
	play->settings.keep_found_ms = play->settings.keep_none_ms = 5;
	play->settings.max_kept = 6;
	play->settings.linger_ms = 150;
	client_restart(play);
	for (unsigned long round = 0; round < rounds; round++) {
		somebody_asks_or_cancels(chaos);
		if (play->stream < 0)
			play->stream = accept4(play->listener, NULL, NULL,
					       SOCK_NONBLOCK | SOCK_CLOEXEC);
		else if (!server_read(play))
			server_hang_up(play);
		else
			server_does_something(chaos, (unsigned)(round / 50));
		uv_run(&play->loop, UV_RUN_NOWAIT);
		assert_true(play->metrics.userdb_outstanding <= 40);
		if (choose(chaos, 2000) == 0) {
			userdb_end(&play->userdb, choose(chaos, 3));
			expect_all_called(chaos);
			client_restart(play);
		}
	}
	assert_true(counted(play, METRIC_USERDB_FOUND) > 0);
	assert_true(counted(play, METRIC_USERDB_NONE) > 0);
	turn_for(play, 300);
	expect_all_called(chaos);
	userdb_destroy(&play->userdb);
	free(chaos);
}

#define PLAY(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(greetings),
		cmocka_unit_test(answers),
		cmocka_unit_test(a_line_with_nul_or_too_long_is_no_answer),
		cmocka_unit_test(sendable_names),
		cmocka_unit_test(kept_answers_end_in_time),
		cmocka_unit_test(kept_answers_have_a_limit),
		PLAY(found_not_found_and_failed),
		PLAY(a_failure_may_pass),
		PLAY(failures_renew_an_older_connection),
		PLAY(a_connection_is_renewed_after_seconds),
		PLAY(a_failure_on_an_old_connection_renews_the_next),
		PLAY(nothing_is_said_before_the_first_question_and_the_greeting),
		PLAY(half_lines_are_waited_for),
		PLAY(a_connection_starts_with_few_questions),
		PLAY(a_thousand_questions_answered_in_another_order),
		PLAY(the_same_question_is_asked_once),
		PLAY(the_name_without_its_detail_is_asked_second),
		PLAY(names_that_cannot_be_sent_do_not_exist),
		PLAY(kept_answers_count_from_the_question),
		PLAY(a_broken_connection_is_made_again),
		PLAY(garbage_closes_the_connection),
		PLAY(an_endless_line_closes_the_connection),
		PLAY(a_flood_of_answers_closes_the_connection),
		PLAY(an_answer_that_comes_twice_closes_the_connection),
		PLAY(a_bad_answer_hurts_its_own_question_alone),
		PLAY(what_breaks_twice_is_unknown),
		PLAY(what_was_not_sent_does_not_count_as_broken),
		PLAY(what_is_asked_again_keeps_its_order),
		PLAY(silence_ends_in_time),
		PLAY(one_slow_answer_closes_nothing),
		PLAY(an_answer_that_never_comes_closes_in_the_end),
		PLAY(a_server_that_does_not_greet_is_left),
		PLAY(dovecot_may_come_later),
		PLAY(where_dovecot_is_away_for_long_nobody_waits),
		PLAY(pauses_grow),
		PLAY(a_path_too_long_for_a_socket_is_unknown),
		PLAY(nobody_to_ask),
		PLAY(who_cancels_is_not_called),
		PLAY(a_connection_lingers_until_the_last_answer),
		PLAY(what_has_come_already_is_not_owed),
		PLAY(a_connection_lingers_no_longer_than_its_limit),
		PLAY(a_lingering_connection_that_dovecot_closes_is_gone),
		PLAY(an_endless_line_ends_lingering),
		PLAY(few_connections_linger),
		PLAY(the_end_waits_for_owed_answers),
		PLAY(the_end_waits_no_longer_than_it_may),
		PLAY(the_end_waits_for_nothing_where_nothing_is_owed),
		PLAY(a_callback_may_ask),
		PLAY(a_callback_may_cancel_what_is_decided_too),
		PLAY(a_callback_may_destroy),
		PLAY(destroying_answers_all_in_every_state),
		PLAY(anything_may_happen),
	};

	signal(SIGPIPE, SIG_IGN); /* as main() of the daemon; the server of the tests writes, too */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
