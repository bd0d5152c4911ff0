/* A pipe to the parent, and a datagram socket to systemd. */
#include "ready.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sysexits.h>
#include <unistd.h>

/* The parent's end: one byte says that all is well, nothing that the child is gone. */
static _Noreturn void wait_for_child(int from, pid_t child)
{
	char byte;
	int status;
	ssize_t got;

	do
		got = read(from, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1)
		_exit(EX_OK);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFEXITED(status))
		_exit(WEXITSTATUS(status));
	fprintf(stderr, "homing-policyd: error: ended by signal %d at its start\n",
		WIFSIGNALED(status) ? WTERMSIG(status) : 0);
	_exit(EX_SOFTWARE);
}

static int go_into_background(struct ready *ready)
{
	int ends[2];

	ready->null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (ready->null < 0 || pipe2(ends, O_CLOEXEC) < 0)
		return -1;
	fflush(NULL);
	pid_t child = fork();
	if (child < 0)
		return -1;
	if (child > 0) {
		close(ends[1]);
		wait_for_child(ends[0], child);
	}
	close(ends[0]);
	ready->parent = ends[1];
	setsid();
	return chdir("/");
}

/* NOTIFY_SOCKET is a path, or `@` and a name in the abstract namespace. 0 also where it makes no
 * sense: that keeps nobody from serving. */
static int connect_to_systemd(struct ready *ready)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	const char *name = getenv("NOTIFY_SOCKET");
	size_t length = name ? strlen(name) : 0;

	if (length < 2 || length >= sizeof address.sun_path || (name[0] != '/' && name[0] != '@'))
		return 0;
	memcpy(address.sun_path, name, length);
	if (name[0] == '@')
		address.sun_path[0] = '\0';
	unsetenv("NOTIFY_SOCKET");
	ready->systemd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (ready->systemd < 0)
		return -1;
	return connect(ready->systemd, (const struct sockaddr *)&address,
		       (socklen_t)(offsetof(struct sockaddr_un, sun_path) + length));
}

int ready_begin(struct ready *ready, bool background)
{
	*ready = (struct ready){.parent = -1, .null = -1, .systemd = -1};
	if (background && go_into_background(ready) < 0)
		return -1;
	return connect_to_systemd(ready);
}

static void tell_systemd(const struct ready *ready, const char *text)
{
	if (ready->systemd >= 0)
		(void)send(ready->systemd, text, strlen(text), MSG_NOSIGNAL);
}

void ready_tell(struct ready *ready)
{
	tell_systemd(ready, "READY=1");
	if (ready->parent < 0)
		return;
	for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
		dup3(ready->null, fd, 0);
	ssize_t written = write(ready->parent, "", 1);
	(void)written; /* a parent that is gone does not wait */
	close(ready->parent);
	ready->parent = -1;
}

void ready_stopping(struct ready *ready)
{
	tell_systemd(ready, "STOPPING=1");
}

void ready_finish(struct ready *ready)
{
	const int open_ones[] = {ready->parent, ready->null, ready->systemd};

	for (size_t i = 0; i < sizeof open_ones / sizeof open_ones[0]; i++)
		if (open_ones[i] >= 0)
			close(open_ones[i]);
}
