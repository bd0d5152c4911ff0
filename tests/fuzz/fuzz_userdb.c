/* The daemon's client of Dovecot's userdb socket, against a server that says what the input says, when
 * it says so: bytes of any kind, answers to what was asked and to what was not, hang-ups, and time
 * that passes. Every question is answered once, and no account exists, or exists not, but by a line
 * that said so of that very question.
 *
 *	u8 what: 0 raw     u8 length, bytes: the server sends them
 *		 1 answer  u8 which question, u8 kind: the server sends a proper one
 *		 2 ask     u8 which name
 *		 3 hang up
 *		 4 greet
 *		 5 forget  u8 which waiting question
 *		 6 wait    u8 times 40 milliseconds
 *		 7 look    the client looks at what came
 */
#include <fcntl.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "fuzz.h"
#include "input.h"
#include "log.h"
#include "support.h"
#include "userdb.h"

enum { MAX_ASKED = 64, MAX_LINES = 512, MAX_STEPS = 200, MAX_TEXT = 1 << 16 };

/* The client's clock: the system's, and what the input says. */
static long long passed_ms;

int clock_gettime(clockid_t id, struct timespec *time)
{
	int rc = (int)syscall(SYS_clock_gettime, id, time);

	if (rc == 0 && (id == CLOCK_MONOTONIC || id == CLOCK_MONOTONIC_COARSE))
		time->tv_sec += passed_ms / 1000, time->tv_nsec += passed_ms % 1000 * 1000000;
	if (time->tv_nsec >= 1000000000)
		time->tv_sec++, time->tv_nsec -= 1000000000;
	return rc;
}

/* In place of the daemon's own. */
static void take_line(const char *format, va_list args)
{
	char line[9000];

	FUZZ_EXPECT(vsnprintf(line, sizeof line, format, args) > 0);
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	(void)level;
	va_start(args, format);
	take_line(format, args);
	va_end(args);
}

void log_seldom(const char *kind, unsigned seconds, enum log_level level, const char *format, ...)
{
	va_list args;

	(void)kind, (void)seconds, (void)level;
	va_start(args, format);
	take_line(format, args);
	va_end(args);
}

/* Each as it is, and with a detail that Dovecot may not know. */
static const struct existence_question questions[] = {
	{"a@dovesite.org", ""},	    {"b@dovesite.org", ""},    {"c+x@dovesite.org", "c@dovesite.org"},
	{"a+x@dovesite.org", "a@dovesite.org"}, {"\xc3\xbc@dovesite.org", ""}, {"a\tb@dovesite.org", ""},
	{"d@dovesite.org", ""},	    {"", ""},
};
enum { QUESTIONS = sizeof questions / sizeof questions[0] };

struct asked {
	const struct existence_question *question;
	bool waits, called;
	enum existence existence;
};

/* A line that the client sent. */
struct line {
	unsigned connection;
	char id[16];
	char name[NAME_SIZE];
};

static struct {
	uv_loop_t loop;
	struct metrics metrics;
	struct userdb *userdb;
	int stream; /* -1: none */
	unsigned connection;
	struct asked asked[MAX_ASKED];
	size_t asked_count;
	struct line lines[MAX_LINES];
	size_t line_count;
	/* what came and what went on this connection, and what went on all, each after its number */
	char in[MAX_TEXT], out[MAX_TEXT];
	size_t in_used, out_used;
} play;

static char *folder, *path;
static int listener;

static void finish(void)
{
	free(path);
	support_folder_remove(&folder);
}

static void listen_once(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};

	if (folder)
		return;
	folder = support_folder();
	path = support_path(folder, "auth-userdb");
	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	listener = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (bind(listener, (struct sockaddr *)&address, sizeof address) < 0 || listen(listener, 64) < 0)
		support_die("%s: cannot listen", path);
	atexit(finish);
}

/* The server. */

/* A verdict of the server on a name: that a line says so of the number that it was asked under. */
static bool has_said(const char *name, const char *verdict)
{
	for (size_t i = 0; i < play.line_count; i++) {
		char wanted[64], text[32];

		if (strcmp(play.lines[i].name, name) != 0)
			continue;
		int length = snprintf(wanted, sizeof wanted, "\n%s\t%s", verdict, play.lines[i].id);
		snprintf(text, sizeof text, "#%u\n", play.lines[i].connection);
		const char *from = memmem(play.out, play.out_used, text, strlen(text));
		const char *end = play.out + play.out_used;
		snprintf(text, sizeof text, "#%u\n", play.lines[i].connection + 1);
		const char *next = memmem(play.out, play.out_used, text, strlen(text));
		for (end = next ? next : end; from && from < end;) {
			from = memmem(from, (size_t)(end - from), wanted, (size_t)length);
			if (!from)
				break;
			from += length;
			if (from < end && (*from == '\t' || *from == '\n'))
				return true;
		}
	}
	return false;
}

static void keep_out(const char *bytes, size_t length)
{
	if (length > sizeof play.out - play.out_used)
		length = sizeof play.out - play.out_used;
	memcpy(play.out + play.out_used, bytes, length);
	play.out_used += length;
}

static void server_send(const char *bytes, size_t length)
{
	if (play.stream < 0 || length > sizeof play.out - play.out_used)
		return;
	ssize_t sent = send(play.stream, bytes, length, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (sent > 0)
		keep_out(bytes, (size_t)sent);
}

static void hang_up(void)
{
	if (play.stream >= 0)
		close(play.stream);
	play.stream = -1;
	play.in_used = 0;
}

static void take_question(const char *line)
{
	if (play.line_count == MAX_LINES)
		return;
	struct line *kept = &play.lines[play.line_count];
	kept->connection = play.connection;
	if (strncmp(line, "VERSION\t", 8) == 0)
		return;
	FUZZ_EXPECT(sscanf(line, "USER\t%15[0-9]\t%512[^\t]\tservice=lmtp\tprotocol=lmtp", kept->id,
			   kept->name) == 2);
	play.line_count++;
}

static void server_read(void)
{
	if (play.stream < 0)
		return;
	ssize_t got = recv(play.stream, play.in + play.in_used, sizeof play.in - play.in_used - 1,
			   MSG_DONTWAIT);
	if (got <= 0)
		return;
	play.in_used += (size_t)got;
	char *start = play.in, *end;
	while ((end = memchr(start, '\n', play.in_used - (size_t)(start - play.in)))) {
		*end = '\0';
		take_question(start);
		start = end + 1;
	}
	play.in_used -= (size_t)(start - play.in);
	memmove(play.in, start, play.in_used);
}

static void server_accept(void)
{
	char text[32];
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	hang_up();
	play.stream = fd;
	play.connection++;
	/* a line end, so that the first line begins as all others do */
	keep_out(text, (size_t)snprintf(text, sizeof text, "\n#%u\n", play.connection));
}

/* The client. */

static void look(void)
{
	for (int i = 0; i < 3; i++) {
		uv_run(&play.loop, UV_RUN_NOWAIT);
		server_accept();
		server_read();
	}
}

static void check(const struct asked *asked)
{
	const struct existence_question *question = asked->question;

	if (asked->existence == EXISTS)
		FUZZ_EXPECT(has_said(question->name, "USER") ||
			    has_said(question->without_detail, "USER"));
	if (asked->existence == EXISTS_NOT)
		FUZZ_EXPECT(!question->name[0] || strchr(question->name, '\t') ||
			    (has_said(question->name, "NOTFOUND") &&
			     (!question->without_detail[0] ||
			      has_said(question->without_detail, "NOTFOUND"))));
}

static void on_answer(void *context, enum existence existence)
{
	struct asked *asked = context;

	FUZZ_EXPECT(asked->waits && !asked->called);
	asked->waits = false;
	asked->called = true;
	asked->existence = existence;
	check(asked);
}

static void ask(unsigned which)
{
	if (play.asked_count == MAX_ASKED)
		return;
	struct asked *asked = &play.asked[play.asked_count++];
	*asked = (struct asked){.question = &questions[which % QUESTIONS], .waits = true};
	if (userdb_ask(play.userdb, asked->question, on_answer, asked, &asked->existence)) {
		FUZZ_EXPECT(asked->waits);
		asked->waits = false;
		check(asked);
	}
}

static void forget(unsigned which)
{
	if (play.asked_count == 0)
		return;
	struct asked *asked = &play.asked[which % play.asked_count];
	userdb_cancel(play.userdb, asked);
	asked->waits = false;
}

static void answer(unsigned which, unsigned kind)
{
	static const char *const formats[] = {"USER\t%s\tx\n", "NOTFOUND\t%s\n", "FAIL\t%s\n",
					      "USER\t%s\tx\tuid=1\thome=/x\n", "USER\t%s9\tx\n",
					      "FAIL\t%s\treason=x\n", "NOTFOUND\t%s", "DONE\t%s\n"};
	char text[64];

	if (play.line_count == 0)
		return;
	int length = snprintf(text, sizeof text, formats[kind % 8],
			      play.lines[which % play.line_count].id);
	server_send(text, (size_t)length);
}

static bool step(struct input *input)
{
	static const char greeting[] = "VERSION\t1\t1\nSPID\t7\n";
	unsigned what = input_byte(input) % 8, number = what < 3 || what > 4 ? input_byte(input) : 0;

	switch (what) {
	case 0: {
		size_t length = number < input->left ? number : input->left;
		char *bytes = input_take(input, length);

		server_send(bytes, length);
		free(bytes);
		break;
	}
	case 1:
		answer(number, input_byte(input));
		break;
	case 2:
		ask(number);
		break;
	case 3:
		hang_up();
		break;
	case 4:
		server_send(greeting, sizeof greeting - 1);
		break;
	case 5:
		forget(number);
		break;
	case 6:
		passed_ms += number * 40;
		break;
	default:
		break;
	}
	look();
	return input->left > 0;
}

static void start(void)
{
	struct userdb_settings settings = userdb_defaults;

	memset(&play.metrics, 0, sizeof play.metrics);
	play.asked_count = play.line_count = play.in_used = play.out_used = 0;
	play.connection = 0;
	play.stream = -1;
	settings.path = path;
	settings.max_outstanding = 8;
	settings.max_kept = 4;
	if (uv_loop_init(&play.loop) != 0)
		support_die("no loop");
	play.userdb = userdb_create(&play.loop, &settings, &play.metrics);
	FUZZ_EXPECT(play.userdb);
	ask(0);
	look();
}

static void end(void)
{
	userdb_destroy(&play.userdb);
	for (size_t i = 0; i < play.asked_count; i++)
		FUZZ_EXPECT(!play.asked[i].waits);
	hang_up();
	for (int i = 0; i < 100 && uv_loop_alive(&play.loop); i++)
		uv_run(&play.loop, UV_RUN_NOWAIT);
	FUZZ_EXPECT(uv_loop_close(&play.loop) == 0);
	for (int fd; (fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0;)
		close(fd);
	FUZZ_EXPECT(atomic_load(&play.metrics.userdb_outstanding) == 0);
	FUZZ_EXPECT(atomic_load(&play.metrics.userdb_connected) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct input input = input_of(bytes, length);

	listen_once();
	start();
	for (int i = 0; i < MAX_STEPS && step(&input); i++)
		;
	end();
	return 0;
}
