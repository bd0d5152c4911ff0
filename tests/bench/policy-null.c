/* bench-policy-null KIND=ADDRESS[=REPLY]...: answers every request with a constant.
 *
 * KIND is policy (policy delegation) or map (socketmap), ADDRESS the path of a UNIX
 * socket or HOST:PORT, REPLY what the action or the map's answer is. One thread on raw
 * epoll that looks at no more of a request than where it ends: the most that a server of
 * these protocols can do. It stops at SIGTERM. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

enum { READ_SIZE = 16384, REPLIES_SIZE = 65536, EVENTS = 256, MAX_LISTENERS = 16 };

struct listener {
	int fd;
	bool is_map;
	char *reply;
	size_t reply_length;
};

/* What epoll gives back: a connection, or with `client` false a listener. */
struct source {
	int fd;
	bool client;
	const struct listener *listener;
	bool line_ended;     /* policy: the last byte was a LF */
	bool in_length;      /* map: digits are being read */
	size_t length, left; /* map: of the length, of the content with its comma */
};

static char requests[READ_SIZE], replies[REPLIES_SIZE];

static void die(const char *what)
{
	fprintf(stderr, "bench-policy-null: %s: %s\n", what, strerror(errno));
	exit(1);
}

/* How many requests end in these bytes. */
static size_t count_policy(struct source *source, const char *data, size_t length)
{
	const char *next = data, *end = data + length;
	size_t count = 0;

	if (source->line_ended && data[0] == '\n') {
		count++;
		next++;
	}
	/* The usual case: one request, and nothing behind it. */
	while (next < end &&
		(next = memmem(next, (size_t)(end - next), "\n\n", 2)) != NULL) {
		count++;
		next += 2;
	}
	source->line_ended = !(length >= 2 && end[-2] == '\n') && end[-1] == '\n';
	return count;
}

static size_t count_map(struct source *source, const char *data, size_t length)
{
	size_t count = 0, i = 0;

	while (i < length) {
		if (source->left > 0) {
			size_t part =
				length - i < source->left ? length - i : source->left;

			i += part;
			source->left -= part;
			count += source->left == 0;
		} else if (data[i] == ':') {
			source->left = source->length + 1;
			source->length = 0;
			i++;
		} else {
			source->length = source->length * 10 + (size_t)(data[i++] - '0');
		}
	}
	return count;
}

static void finish(struct source *source)
{
	close(source->fd);
	free(source);
}

static void serve(struct source *source)
{
	const struct listener *listener = source->listener;
	ssize_t length = recv(source->fd, requests, sizeof requests, 0);

	if (length < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (length <= 0) {
		finish(source);
		return;
	}
	size_t count = listener->is_map ? count_map(source, requests, (size_t)length)
					: count_policy(source, requests, (size_t)length);
	const char *out = listener->reply;
	size_t used = listener->reply_length * count;
	if (count > 1) {
		if (used > sizeof replies) {
			finish(source); /* no client of the bench does that */
			return;
		}
		for (size_t i = 0; i < count; i++)
			memcpy(replies + i * listener->reply_length, listener->reply,
				listener->reply_length);
		out = replies;
	}
	if (count > 0 && send(source->fd, out, used, MSG_NOSIGNAL) != (ssize_t)used)
		finish(source);
}

static void watch(int epoll, int fd, const struct listener *listener, bool client)
{
	struct source *source = calloc(1, sizeof *source);

	if (!source)
		die("memory");
	source->fd = fd;
	source->client = client;
	source->listener = listener;
	struct epoll_event event = {.events = EPOLLIN, .data.ptr = source};
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		die("epoll_ctl");
}

static void take_client(int epoll, const struct source *source)
{
	int on = 1, fd = accept4(source->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on,
		sizeof on); /* fails on a UNIX socket */
	watch(epoll, fd, source->listener, true);
}

static int listen_unix(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
	unlink(path);
	if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
		chmod(path, 0666) < 0 || listen(fd, 4096) < 0)
		die(path);
	return fd;
}

static int listen_inet(char *text)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	int on = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	char *colon = strchr(text, ':');

	errno = EINVAL;
	if (!colon)
		die(text);
	*colon = '\0';
	address.sin_port = htons((unsigned short)atoi(colon + 1));
	if (fd < 0 || inet_pton(AF_INET, text, &address.sin_addr) != 1 ||
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 ||
		bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
		listen(fd, 4096) < 0)
		die(text);
	return fd;
}

static void listener_init(struct listener *listener, char *text)
{
	char *kind = strsep(&text, "="), *address = strsep(&text, "=");

	errno = EINVAL;
	if (!address)
		die(kind);
	listener->is_map = strcmp(kind, "map") == 0;
	const char *reply = text ? text : listener->is_map ? "NOTFOUND " : "DUNNO";
	int length = listener->is_map
			     ? asprintf(&listener->reply, "%zu:%s,", strlen(reply), reply)
			     : asprintf(&listener->reply, "action=%s\n\n", reply);
	if (length < 0)
		die("memory");
	listener->reply_length = (size_t)length;
	listener->fd = address[0] == '/' ? listen_unix(address) : listen_inet(address);
}

int main(int argc, char **argv)
{
	static struct listener listeners[MAX_LISTENERS];
	static struct epoll_event events[EVENTS];
	struct rlimit files;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (argc < 2 || argc > MAX_LISTENERS + 1) {
		fprintf(stderr, "usage: bench-policy-null "
				"policy|map=PATH|HOST:PORT[=REPLY]...\n");
		return 64;
	}
	if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
	}
	for (int i = 1; i < argc; i++) {
		listener_init(&listeners[i - 1], argv[i]);
		watch(epoll, listeners[i - 1].fd, &listeners[i - 1], false);
	}
	for (;;) {
		int count = epoll_wait(epoll, events, EVENTS, -1);

		for (int i = 0; i < count; i++) {
			struct source *source = events[i].data.ptr;
			if (source->client)
				serve(source);
			else
				take_client(epoll, source);
		}
	}
}
