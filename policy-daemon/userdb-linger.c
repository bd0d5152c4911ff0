/* All have the same limit, so the list in order of time is that of their ends. */
#include "userdb-linger.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "list.h"

enum {
	LINE_MAX_BYTES = 1 << 20, /* none is so long, even of a user in thousands of groups */
	SCRAP_SIZE = 16384,
};

struct lingering {
	struct link link; /* in linger.all */
	struct userdb_linger *linger;
	uv_pipe_t *pipe;
	void *data; /* the pipe's own */
	uv_close_cb closed;
	uint64_t until; /* uv_now() */
	size_t owed;	/* lines */
	size_t unended; /* bytes of a line whose end has not come */
};

struct userdb_linger {
	uv_loop_t *loop;
	uv_timer_t timer; /* the end of the first */
	unsigned limit_ms;
	bool ending; /* goes with the last */
	struct link all;
	size_t count;
	char scrap[SCRAP_SIZE]; /* what is read, which nobody looks at */
};

static void on_timer(uv_timer_t *timer);

static struct lingering *first_of(const struct userdb_linger *linger)
{
	/* clang 14 loses what list_remove() took out of a list of two */
	return LINK_OF(linger->all.next, struct lingering, link); // NOLINT(clang-analyzer-unix.Malloc)
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void set_timer(struct userdb_linger *linger)
{
	uint64_t now = uv_now(linger->loop);

	if (!list_is_empty(&linger->all)) {
		uint64_t until = first_of(linger)->until;
		uv_timer_start(&linger->timer, on_timer, until > now ? until - now : 0, 0);
	} else if (linger->ending) {
		uv_close((uv_handle_t *)&linger->timer, on_timer_closed);
	} else {
		uv_timer_stop(&linger->timer);
	}
}

static void close_one(struct lingering *lingering)
{
	struct userdb_linger *linger = lingering->linger;

	list_remove(&lingering->link);
	linger->count--;
	lingering->pipe->data = lingering->data;
	uv_close((uv_handle_t *)lingering->pipe, lingering->closed);
	free(lingering);
	set_timer(linger);
}

static void on_timer(uv_timer_t *timer)
{
	struct userdb_linger *linger = timer->data;
	uint64_t now = uv_now(linger->loop);
	size_t count = linger->count; /* with the last one the timer may go */

	while (count-- > 0 && first_of(linger)->until <= now)
		close_one(first_of(linger));
}

/* True: there is nothing more to wait for. */
static bool throw_away(struct lingering *lingering, const char *bytes, size_t length)
{
	const char *end = bytes + length, *lf;

	while ((lf = memchr(bytes, '\n', (size_t)(end - bytes))) != NULL) {
		if (--lingering->owed == 0)
			return true;
		lingering->unended = 0;
		bytes = lf + 1;
	}
	lingering->unended += (size_t)(end - bytes);
	return lingering->unended > LINE_MAX_BYTES;
}

static void give_scrap(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer_r)
{
	struct lingering *lingering = handle->data;

	(void)suggested;
	*buffer_r = uv_buf_init(lingering->linger->scrap, SCRAP_SIZE);
}

static void on_read(uv_stream_t *pipe, ssize_t length, const uv_buf_t *buffer)
{
	struct lingering *lingering = pipe->data;

	if (length < 0 || throw_away(lingering, buffer->base, (size_t)length))
		close_one(lingering);
}

struct userdb_linger *userdb_linger_create(uv_loop_t *loop, unsigned limit_ms)
{
	struct userdb_linger *linger = calloc(1, sizeof *linger);

	if (!linger)
		return NULL;
	linger->loop = loop;
	linger->limit_ms = limit_ms;
	list_init(&linger->all);
	uv_timer_init(loop, &linger->timer);
	linger->timer.data = linger;
	return linger;
}

void userdb_linger_take(struct userdb_linger *linger, uv_pipe_t *pipe, size_t owed,
			uv_close_cb closed)
{
	struct lingering *lingering = malloc(sizeof *lingering);

	uv_read_stop((uv_stream_t *)pipe);
	if (!lingering || uv_read_start((uv_stream_t *)pipe, give_scrap, on_read) < 0) {
		uv_close((uv_handle_t *)pipe, closed);
		free(lingering);
		return;
	}
	*lingering = (struct lingering){
		.linger = linger,
		.pipe = pipe,
		.data = pipe->data,
		.closed = closed,
		.until = uv_now(linger->loop) + linger->limit_ms,
		.owed = owed,
	};
	pipe->data = lingering;
	list_append(&linger->all, &lingering->link);
	linger->count++;
	if (linger->count > USERDB_LINGERING_MAX)
		close_one(first_of(linger));
	set_timer(linger);
}

void userdb_linger_end(struct userdb_linger **linger_p, unsigned ms)
{
	struct userdb_linger *linger = *linger_p;

	if (!linger)
		return;
	*linger_p = NULL;
	while (ms == 0 && !list_is_empty(&linger->all))
		close_one(first_of(linger));
	uint64_t end = uv_now(linger->loop) + ms;
	for (struct link *link = linger->all.next; link != &linger->all; link = link->next) {
		struct lingering *lingering = LINK_OF(link, struct lingering, link);
		if (lingering->until > end) // NOLINT(clang-analyzer-unix.Malloc): see first_of()
			lingering->until = end;
	}
	linger->ending = true;
	set_timer(linger);
}
