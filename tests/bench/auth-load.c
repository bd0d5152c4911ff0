/* bench-auth SOCKET SECONDS WINDOW < LOGINS: logs in over Dovecot's auth socket as fast as it answers.
 *
 * Each line of LOGINS: name TAB password TAB local IP TAB account that must open. They are asked
 * for in turn, WINDOW of them outstanding on one connection. Prints logins a second and how many were
 * wrong. The protocol is Dovecot's own (VERSION, CPID, AUTH, OK, FAIL), as a login process
 * speaks it. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

enum { MAX_LOGINS = 1 << 20, BUFFER = 1 << 16 };

struct login {
	char *request; /* what follows the number of an AUTH line */
	char *wanted;  /* "user=ACCOUNT" */
};

static struct login *logins;
static size_t login_count;

static void die(const char *what)
{
	fprintf(stderr, "bench-auth: %s: %s\n", what, strerror(errno));
	exit(1);
}

static char *base64(const unsigned char *bytes, size_t length)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	char *text = malloc((length + 2) / 3 * 4 + 1), *next = text;

	for (size_t i = 0; i < length; i += 3) {
		unsigned group = (unsigned)bytes[i] << 16 |
				 (i + 1 < length ? (unsigned)bytes[i + 1] << 8 : 0) |
				 (i + 2 < length ? bytes[i + 2] : 0);

		*next++ = digits[group >> 18];
		*next++ = digits[group >> 12 & 63];
		*next++ = i + 1 < length ? digits[group >> 6 & 63] : '=';
		*next++ = i + 2 < length ? digits[group & 63] : '=';
	}
	*next = '\0';
	return text;
}

static void add_login(char *line)
{
	char *name = strtok(line, "\t"), *password = strtok(NULL, "\t"), *ip = strtok(NULL, "\t");
	char *account = strtok(NULL, "\n");
	unsigned char response[2048];
	struct login *login = &logins[login_count];

	if (!account || login_count == MAX_LOGINS) {
		fprintf(stderr, "bench-auth: a bad line\n");
		exit(64);
	}
	int length = snprintf((char *)response, sizeof response, "%c%s%c%s", 0, name, 0, password);
	char *text = base64(response, (size_t)length);
	if (asprintf(&login->request,
		     "\tPLAIN\tservice=imap\tsecured\tnologin\tno-penalty\tlip=%s\trip=127.0.0.99\tresp=%s\n",
		     ip, text) < 0 ||
	    asprintf(&login->wanted, "user=%s", account) < 0)
		die("memory");
	free(text);
	login_count++;
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
		die(path);
	return fd;
}

static double now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Reads on until there is at least one whole line; *end_r is behind the last whole one. */
static size_t fill(int fd, char *buffer, size_t filled, size_t *end_r)
{
	for (;;) {
		char *newline = filled ? memrchr(buffer, '\n', filled) : NULL;

		if (newline) {
			*end_r = (size_t)(newline - buffer) + 1;
			return filled;
		}
		ssize_t got = read(fd, buffer + filled, BUFFER - filled);
		if (got <= 0)
			die("read");
		filled += (size_t)got;
	}
}

static void send_all(int fd, const char *bytes, size_t length)
{
	while (length > 0) {
		ssize_t put = write(fd, bytes, length);

		if (put < 0)
			die("write");
		bytes += put;
		length -= (size_t)put;
	}
}

static void shake_hands(int fd)
{
	char buffer[BUFFER], hello[64];
	size_t filled = 0, end;

	snprintf(hello, sizeof hello, "VERSION\t1\t1\nCPID\t%d\n", (int)getpid());
	send_all(fd, hello, strlen(hello));
	do {
		filled = fill(fd, buffer, filled, &end);
		if (memmem(buffer, filled, "DONE\n", 5))
			return;
		ssize_t got = read(fd, buffer + filled, BUFFER - filled);
		if (got <= 0)
			die("handshake");
		filled += (size_t)got;
	} while (true);
}

/* Is the answer an OK with the account that was to be expected? */
static bool is_right(const char *line, size_t length)
{
	unsigned long number = 0;

	if (length < 4 || memcmp(line, "OK\t", 3) != 0)
		return false;
	number = strtoul(line + 3, NULL, 10);
	const char *wanted = logins[(number - 1) % login_count].wanted;
	const char *user = memmem(line, length, "\tuser=", 6);
	return user && strncmp(user + 1, wanted, strlen(wanted)) == 0 &&
	       (user[1 + strlen(wanted)] == '\t' || user[1 + strlen(wanted)] == '\n');
}

int main(int argc, char **argv)
{
	static char in[BUFFER], out[BUFFER];
	char line[4096];

	if (argc != 4) {
		fprintf(stderr, "usage: bench-auth SOCKET SECONDS WINDOW < LOGINS\n");
		return 64;
	}
	logins = calloc(MAX_LOGINS, sizeof *logins);
	while (fgets(line, sizeof line, stdin))
		add_login(line);
	if (login_count == 0)
		return 64;
	double seconds = atof(argv[2]);
	unsigned long window = strtoul(argv[3], NULL, 10), sent = 0, answered = 0, wrong = 0;
	int fd = connect_to(argv[1]);
	shake_hands(fd);

	double start = now(), end_time = start + seconds, last = start;
	size_t filled = 0, end = 0;
	while (true) {
		size_t used = 0;

		last = now();
		while (last < end_time && sent - answered < window && used + 4096 < sizeof out) {
			used += (size_t)snprintf(out + used, sizeof out - used, "AUTH\t%lu%s", sent + 1,
						 logins[sent % login_count].request);
			sent++;
		}
		send_all(fd, out, used);
		if (sent == answered)
			break;
		filled = fill(fd, in, filled, &end);
		for (size_t at = 0; at < end;) {
			size_t length = (size_t)((char *)memchr(in + at, '\n', end - at) - (in + at)) + 1;

			if (memcmp(in + at, "OK\t", 3) == 0 || memcmp(in + at, "FAIL\t", 5) == 0) {
				answered++;
				if (!is_right(in + at, length))
					wrong++;
			}
			at += length;
		}
		memmove(in, in + end, filled - end);
		filled -= end;
	}
	printf("{\"rate\": %.0f, \"logins\": %lu, \"wrong\": %lu}\n",
	       (double)answered / (last - start), answered, wrong);
	return 0;
}
