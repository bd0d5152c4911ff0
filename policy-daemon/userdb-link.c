/* A stream is what belongs to one connection. There is one that counts and at most one old one. When
 * the link gives a stream up, it lingers if it owes answers, is closed and frees itself, and whatever
 * the system still has to say about it is nobody's. */
#include "userdb-link.h"

#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "log.h"
#include "userdb-line.h"
#include "userdb-linger.h"

enum {
	PAUSE_MIN_MS = 50,
	PAUSE_MAX_MS = 2000,
	RENEW_MS = 5000,     /* the age of a connection; Dovecot kills what is left after some more */
	SUSPECT_MS = 1000,   /* a younger one is of the Dovecot of now */
	GREETING_LINES = 64, /* at most; Dovecot has two */
	IN_SIZE = 4 * USERDB_LINE_MAX,
	OUT_SIZE = 65536,
	LOG_SECONDS = 60,
};

enum state {
	OFF,	    /* for somebody who wants a connection */
	PAUSING,    /* for the time of the next try */
	CONNECTING, /* for the system */
	GREETING,   /* for Dovecot's greeting */
	READY,	    /* for answers */
};

struct stream {
	uv_pipe_t pipe;
	uv_connect_t connect;
	uv_write_t write;
	struct userdb_link *link; /* NULL: given up */
	unsigned number;	  /* once greeted */
	bool greeted;
	bool writing;
	unsigned greeting_lines;
	size_t owed;	    /* answers: a line for each line of a question */
	size_t used, taken; /* of `in`; of that, lines that were read */
	char in[IN_SIZE];
	char out[OUT_SIZE];
};

struct userdb_link {
	uv_loop_t *loop;
	uv_timer_t timer; /* the end of a pause, of the patience with a greeting, of a connection */
	enum state state;
	struct stream *stream; /* NULL while OFF and PAUSING */
	struct stream *old;    /* NULL: none; it has been greeted */
	struct userdb_linger *linger;
	unsigned last_number;
	unsigned pause_ms; /* the next one */
	unsigned greeting_ms;
	/* By uv_now(). */
	uint64_t ready_since;
	uint64_t down_since; /* 0: it is not, or nobody tries */
	uint64_t suspected;  /* the last time; 0: never */
	bool is_connected;   /* as the owner knows it */
	bool was_lost;
	bool complained; /* of this time down */
	const struct userdb_link_owner *owner;
	void *context;
	char path[];
};

static void on_timer(uv_timer_t *timer);

static void tell_connected(struct userdb_link *link, bool connected)
{
	if (connected != link->is_connected)
		link->owner->connected(link->context, connected, link->was_lost);
	link->is_connected = connected;
}

static void on_stream_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static size_t count_lines(const char *text, size_t length)
{
	size_t count = 0;

	for (size_t i = 0; i < length; i++)
		count += text[i] == '\n';
	return count;
}

static void give_up(struct stream **stream_p)
{
	struct stream *stream = *stream_p;

	if (!stream)
		return;
	struct userdb_linger *linger = stream->link->linger;
	size_t here = count_lines(stream->in + stream->taken, stream->used - stream->taken);

	*stream_p = NULL;
	stream->link = NULL;
	if (stream->owed > here)
		userdb_linger_take(linger, &stream->pipe, stream->owed - here, on_stream_closed);
	else
		uv_close((uv_handle_t *)&stream->pipe, on_stream_closed);
}

static void give_old_up(struct userdb_link *link)
{
	unsigned number = link->old->number;

	give_up(&link->old);
	link->owner->lost(link->context, number);
}

/* Ends a try or a connection; the next one comes after a pause. */
static void fail(struct userdb_link *link, enum log_level level, const char *what, const char *why)
{
	bool was_ready = link->state == READY;

	log_seldom(was_ready ? "userdb-lost" : "userdb-down", LOG_SECONDS, level,
		   "userdb: %s: %s: %s", link->path, what, why);
	link->complained = true;
	give_up(&link->stream);
	link->state = PAUSING;
	link->was_lost |= link->is_connected;
	if (link->down_since == 0)
		link->down_since = uv_now(link->loop);
	uv_timer_start(&link->timer, on_timer, link->pause_ms, 0);
	link->pause_ms = 2 * link->pause_ms < PAUSE_MAX_MS ? 2 * link->pause_ms : PAUSE_MAX_MS;
	tell_connected(link, false);
	if (was_ready)
		link->owner->lost(link->context, link->last_number);
}

static void stream_failed(struct stream *stream, enum log_level level, const char *what,
			  const char *why)
{
	if (stream == stream->link->old)
		give_old_up(stream->link);
	else
		fail(stream->link, level, what, why);
}

static void broken(struct stream *stream, const char *why)
{
	stream_failed(stream, LOG_LEVEL_WARNING, "the connection is closed and made again", why);
}

/* Nothing can come on it any more. */
static void broken_for_good(struct stream *stream, int status)
{
	stream->owed = 0;
	broken(stream, uv_strerror(status));
}

static void on_written(uv_write_t *request, int status);

static void start_write(struct stream *stream, size_t length)
{
	uv_buf_t buffer = uv_buf_init(stream->out, (unsigned)length);
	int rc = uv_write(&stream->write, (uv_stream_t *)&stream->pipe, &buffer, 1, on_written);

	if (rc < 0)
		broken_for_good(stream, rc);
	else
		stream->writing = true;
}

static void send_more(struct userdb_link *link)
{
	struct stream *stream = link->stream;

	if (link->state != READY || stream->writing)
		return;
	size_t length = link->owner->fill(link->context, stream->number, stream->out, OUT_SIZE);
	if (length == 0)
		return;
	stream->owed += count_lines(stream->out, length);
	start_write(stream, length);
}

static void on_written(uv_write_t *request, int status)
{
	struct stream *stream = request->data;

	stream->writing = false;
	if (!stream->link)
		return;
	if (status < 0)
		broken_for_good(stream, status);
	else
		send_more(stream->link);
}

static void become_ready(struct userdb_link *link)
{
	struct stream *stream = link->stream;

	if (link->complained)
		log_line(LOG_LEVEL_INFO, "userdb: %s: connected", link->path);
	stream->greeted = true;
	stream->number = ++link->last_number;
	if (link->old && link->old->number != stream->number - 1)
		give_old_up(link); /* there was one between them, which broke */
	link->state = READY;
	link->ready_since = uv_now(link->loop);
	uv_timer_start(&link->timer, on_timer, RENEW_MS, 0);
	tell_connected(link, true);
	link->down_since = 0;
	link->was_lost = link->complained = false;
	send_more(link);
}

static void take_answer(struct stream *stream, const char *line, size_t length)
{
	struct userdb_link *link = stream->link;
	/* whoever takes the line may give the stream up */
	// cppcheck-suppress nullPointerRedundantCheck
	const char *why = link->owner->line(link->context, stream->number, line, length);

	if (!stream->link)
		return;
	if (why)
		broken(stream, why);
	else if (stream != link->old)
		link->pause_ms = PAUSE_MIN_MS; /* not before: it may break at each question */
	else if (!link->owner->owes(link->context, stream->number))
		give_old_up(link);
}

static void take_greeting(struct stream *stream, const char *line, size_t length)
{
	const char *why;
	int greeted = userdb_greeting_parse(line, length, &why);

	if (greeted > 0)
		become_ready(stream->link);
	else if (greeted < 0)
		broken(stream, why);
	else if (++stream->greeting_lines >= GREETING_LINES)
		broken(stream, "its greeting does not end");
}

static void take_line(struct stream *stream, const char *line, size_t length)
{
	if (stream->greeted)
		take_answer(stream, line, length);
	else
		take_greeting(stream, line, length);
}

static void take_lines(struct stream *stream)
{
	while (stream->link) {
		const char *line = stream->in + stream->taken;
		const char *end = memchr(line, '\n', stream->used - stream->taken);
		if (!end)
			break;
		stream->taken += (size_t)(end - line) + 1;
		if (stream->owed > 0)
			stream->owed--;
		take_line(stream, line, (size_t)(end - line));
	}
	stream->used -= stream->taken;
	memmove(stream->in, stream->in + stream->taken, stream->used);
	stream->taken = 0;
	if (stream->link && stream->used > USERDB_LINE_MAX)
		take_line(stream, stream->in, stream->used);
}

static void give_room(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer_r)
{
	struct stream *stream = handle->data;

	(void)suggested;
	*buffer_r = uv_buf_init(stream->in + stream->used, (unsigned)(IN_SIZE - stream->used));
}

static void on_read(uv_stream_t *pipe, ssize_t length, const uv_buf_t *buffer)
{
	struct stream *stream = pipe->data;

	(void)buffer;
	if (!stream->link || length == 0)
		return;
	if (length > 0) {
		stream->used += (size_t)length;
		take_lines(stream);
		return;
	}
	stream->owed = 0;
	if (length == UV_EOF && stream->greeted) {
		/* As a Dovecot does it that stops. */
		stream_failed(stream, LOG_LEVEL_INFO, "connecting again",
			      "Dovecot closed the connection");
	} else {
		broken(stream, length == UV_EOF ? "closed without a greeting"
						: uv_strerror((int)length));
	}
}

static void cannot_connect(struct userdb_link *link, int status)
{
	const char *why = uv_strerror(status);

	if (status == UV_EACCES || status == UV_EPERM)
		why = "permission denied: let this daemon's user use the socket, by the `mode` and "
		      "`group` of `service auth { unix_listener auth-userdb }` in Dovecot";
	else if (status == UV_ENOENT || status == UV_ECONNREFUSED)
		why = "nobody listens: is Dovecot running?";
	else if (status == UV_ENAMETOOLONG)
		why = "the path is too long for a socket";
	fail(link, LOG_LEVEL_WARNING,
	     "cannot connect, so mail for domains with `accounts: dovecot` is deferred", why);
}

static void on_connected(uv_connect_t *request, int status)
{
	struct stream *stream = request->data;
	struct userdb_link *link = stream->link;

	if (!link)
		return;
	if (status == 0)
		status = uv_read_start((uv_stream_t *)&stream->pipe, give_room, on_read);
	if (status < 0) {
		cannot_connect(link, status);
		return;
	}
	link->state = GREETING;
	memcpy(stream->out, USERDB_GREETING, sizeof USERDB_GREETING - 1);
	start_write(stream, sizeof USERDB_GREETING - 1);
}

static struct stream *stream_create(struct userdb_link *link)
{
	struct stream *stream = malloc(sizeof *stream);

	if (!stream)
		return NULL;
	memset(stream, 0, offsetof(struct stream, in));
	stream->link = link;
	stream->pipe.data = stream->connect.data = stream->write.data = stream;
	if (uv_pipe_init(link->loop, &stream->pipe, 0) < 0) {
		free(stream);
		return NULL;
	}
	return stream;
}

static void start_connecting(struct userdb_link *link)
{
	link->state = CONNECTING;
	/* libuv would cut it. */
	if (strlen(link->path) >= sizeof ((struct sockaddr_un *)NULL)->sun_path) {
		cannot_connect(link, UV_ENAMETOOLONG);
		return;
	}
	link->stream = stream_create(link);
	if (!link->stream) {
		cannot_connect(link, UV_ENOMEM);
		return;
	}
	uv_timer_start(&link->timer, on_timer, link->greeting_ms, 0);
	uv_pipe_connect(&link->stream->connect, &link->stream->pipe, link->path, on_connected);
}

static void connect_if_wanted(struct userdb_link *link)
{
	if (link->owner->wanted(link->context)) {
		start_connecting(link);
		return;
	}
	uv_timer_stop(&link->timer);
	link->state = OFF;
	link->down_since = 0;
	link->pause_ms = PAUSE_MIN_MS;
	tell_connected(link, false);
}

/* The connection becomes the old one; READY ends. */
static void renew(struct userdb_link *link)
{
	if (link->old)
		give_old_up(link);
	link->old = link->stream;
	link->stream = NULL;
	if (!link->owner->owes(link->context, link->old->number))
		give_old_up(link);
	connect_if_wanted(link);
}

static void on_timer(uv_timer_t *timer)
{
	struct userdb_link *link = timer->data;

	switch (link->state) {
	case OFF:
		break;
	case PAUSING:
		connect_if_wanted(link);
		break;
	case CONNECTING:
	case GREETING:
		broken(link->stream, "it does not greet in time");
		break;
	case READY:
		if (link->old)
			uv_timer_start(timer, on_timer, RENEW_MS, 0); /* first things first */
		else
			renew(link);
		break;
	}
}

struct userdb_link *userdb_link_create(uv_loop_t *loop,
				       const struct userdb_link_settings *settings,
				       const struct userdb_link_owner *owner, void *context)
{
	struct userdb_link *link = calloc(1, sizeof *link + strlen(settings->path) + 1);

	if (!link)
		return NULL;
	link->linger = userdb_linger_create(loop, settings->linger_ms);
	if (!link->linger) {
		free(link);
		return NULL;
	}
	link->loop = loop;
	link->greeting_ms = settings->greeting_ms;
	link->pause_ms = PAUSE_MIN_MS;
	link->owner = owner;
	link->context = context;
	strcpy(link->path, settings->path);
	uv_timer_init(loop, &link->timer);
	link->timer.data = link;
	return link;
}

static void on_timer_closed(uv_handle_t *handle)
{
	free(handle->data);
}

void userdb_link_end(struct userdb_link **link_p, unsigned linger_ms)
{
	struct userdb_link *link = *link_p;

	if (!link)
		return;
	give_up(&link->stream);
	give_up(&link->old);
	userdb_linger_end(&link->linger, linger_ms);
	uv_close((uv_handle_t *)&link->timer, on_timer_closed);
	*link_p = NULL;
}

void userdb_link_wake(struct userdb_link *link)
{
	if (link->state == OFF)
		start_connecting(link);
	else
		send_more(link);
}

void userdb_link_suspect(struct userdb_link *link)
{
	uint64_t now = uv_now(link->loop);

	if (link->state != READY || now - link->ready_since < SUSPECT_MS ||
	    (link->suspected != 0 && now - link->suspected < RENEW_MS))
		return;
	link->suspected = now;
	renew(link);
}

void userdb_link_break(struct userdb_link *link, unsigned number, const char *why)
{
	if (link->old && link->old->number == number)
		give_old_up(link);
	else if (link->state == READY && link->stream->number == number)
		broken(link->stream, why);
}

bool userdb_link_is_down(const struct userdb_link *link, unsigned ms)
{
	return link->down_since != 0 && uv_now(link->loop) - link->down_since > ms;
}

const char *userdb_link_path(const struct userdb_link *link)
{
	return link->path;
}
