/* Readable sockets, and a pause where the system has no descriptor to give: the socket would stay
 * readable, and the loop would run hot. */
#include "listener.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "log.h"

enum {
	BATCH = 64, /* connections of one socket in one turn, so that the others get theirs */
	MOST_WAITING = 65536, /* at the end; more than a queue holds */
	PAUSE_MS = 200,
};

struct watch {
	struct listener *listener;
	const struct endpoint *endpoint;
	uv_poll_t poll;
};

struct listener {
	uv_loop_t *loop;
	uv_timer_t pause;
	listener_accepted_cb *accepted;
	void *context;
	size_t open_handles; /* that have not been closed yet */
	size_t count;
	struct watch watches[];
};

static void on_readable(uv_poll_t *poll, int status, int events);

static void watch_all(struct listener *listener)
{
	for (size_t i = 0; i < listener->count; i++)
		uv_poll_start(&listener->watches[i].poll, UV_READABLE, on_readable);
}

static void on_pause_over(uv_timer_t *timer)
{
	watch_all(timer->data);
}

static void pause_all(struct listener *listener, int reason)
{
	log_seldom("accept", 10, LOG_LEVEL_ERROR, "no connection can be accepted: %s: it waits and "
		   "tries again (raise the limit of open files, or lower --max-connections)",
		   strerror(reason));
	for (size_t i = 0; i < listener->count; i++)
		uv_poll_stop(&listener->watches[i].poll);
	uv_timer_start(&listener->pause, on_pause_over, PAUSE_MS, 0);
}

/* What is over with this one connection, or with this turn. The errors of a new TCP connection come
 * out of accept() on Linux: accept(2). */
static bool is_passing(int reason)
{
	switch (reason) {
	case EINTR:
	case ECONNABORTED:
	case EPROTO:
	case ENOPROTOOPT:
	case ENETDOWN:
	case ENETUNREACH:
	case EHOSTDOWN:
	case EHOSTUNREACH:
	case ENONET:
	case EOPNOTSUPP:
		return true;
	default:
		return false;
	}
}

/* At most so many. 0, or errno where no more can be accepted for now. */
static int accept_waiting(const struct watch *watch, unsigned most)
{
	struct listener *listener = watch->listener;

	while (most-- > 0) {
		// cppcheck-suppress nullPointer; accept(2): NULL where nobody wants the address
		int fd = accept4(watch->endpoint->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd >= 0)
			listener->accepted(listener->context, watch->endpoint->service, fd);
		else if (errno == EAGAIN)
			return 0;
		else if (!is_passing(errno))
			return errno;
	}
	return 0;
}

static void on_readable(uv_poll_t *poll, int status, int events)
{
	const struct watch *watch = poll->data;

	(void)status; /* accept4() says what is wrong */
	(void)events;
	int reason = accept_waiting(watch, BATCH);
	if (reason != 0)
		pause_all(watch->listener, reason);
}

static void on_closed(uv_handle_t *handle)
{
	struct listener *listener = handle->type == UV_POLL
					    ? ((struct watch *)handle->data)->listener
					    : handle->data;

	if (--listener->open_handles == 0)
		free(listener);
}

static int add_watch(struct listener *listener, const struct endpoint *endpoint)
{
	struct watch *watch = &listener->watches[listener->count];

	*watch = (struct watch){.listener = listener, .endpoint = endpoint};
	int rc = uv_poll_init(listener->loop, &watch->poll, endpoint->fd);
	if (rc < 0)
		return rc;
	watch->poll.data = watch;
	listener->count++;
	listener->open_handles++;
	return 0;
}

struct listener *listener_start(uv_loop_t *loop, const struct endpoint *endpoints, size_t count,
				listener_accepted_cb *accepted, void *context)
{
	struct listener *listener =
		calloc(1, sizeof *listener + count * sizeof listener->watches[0]);

	if (!listener)
		return NULL;
	listener->loop = loop;
	listener->accepted = accepted;
	listener->context = context;
	uv_timer_init(loop, &listener->pause);
	listener->pause.data = listener;
	listener->open_handles = 1;
	for (size_t i = 0; i < count; i++)
		if (add_watch(listener, &endpoints[i]) < 0) {
			listener_stop(&listener);
			return NULL;
		}
	watch_all(listener);
	return listener;
}

void listener_stop(struct listener **listener_p)
{
	struct listener *listener = *listener_p;

	if (!listener)
		return;
	for (size_t i = 0; i < listener->count; i++) {
		struct watch *watch = &listener->watches[i];
		if (!watch->endpoint->inherited)
			accept_waiting(watch, MOST_WAITING);
		uv_close((uv_handle_t *)&watch->poll, on_closed);
	}
	uv_close((uv_handle_t *)&listener->pause, on_closed);
	*listener_p = NULL;
}
