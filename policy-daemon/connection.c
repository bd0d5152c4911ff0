/* A connection: bytes in, replies out. How requests are framed is in policy.c and netstring.c, how
 * they are answered in serve.c.
 *
 * libuv only says when a socket can be read or written. Reading and writing is done here, because
 * one read and one write for all requests that came together is what the speed of this program
 * depends on, and because a connection must not hold a buffer that it does not need. */
#include "connection.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buffer.h"
#include "log.h"
#include "netstring.h"
#include "policy.h"

enum connection_state {
	CONNECTION_OPEN,   /* waits for (the rest of) a request, or for its replies to be taken */
	CONNECTION_ASKING, /* the first request of `input` waits for Dovecot */
	CONNECTION_CLOSED, /* waits for libuv to let go of the handle */
};

struct connection {
	uv_poll_t poll;
	struct connections *all;
	struct link by_activity, by_deadline;
	uint64_t active_ms;   /* when a request was last answered, or it was opened */
	uint64_t deadline_ms; /* when it is in by_deadline */
	int fd;
	int events; /* what poll waits for */
	enum service service;
	enum connection_state state;
	bool ended;	      /* nothing more will be read */
	size_t seen;	      /* of policy_frame */
	struct buffer input;  /* requests that are not whole, or have to wait */
	struct buffer output; /* replies that the socket did not take */
	struct serve_waiting *waiting;
	size_t asked_length; /* of the request that waits, frame and all */
};

enum { LOG_SECONDS = 10 };

/* Room for the longest request and for seeing that one is longer. */
static size_t input_limit(enum service service)
{
	return (service == SERVICE_POLICY ? POLICY_MAX_REQUEST : SOCKETMAP_MAX) + 4096;
}

bool connections_init(struct connections *all)
{
	all->requests = malloc(CONNECTION_READ_SIZE);
	all->replies = malloc(CONNECTION_REPLIES_SIZE);
	all->replies_length = 0;
	all->count = 0;
	list_init(&all->by_activity);
	list_init(&all->by_deadline);
	if (all->requests && all->replies)
		return true;
	connections_finish(all);
	return false;
}

void connections_finish(struct connections *all)
{
	free(all->requests);
	free(all->replies);
	all->requests = all->replies = NULL;
}

static enum metric_protocol protocol_of(const struct connection *connection)
{
	return connection->service == SERVICE_POLICY ? METRIC_POLICY : METRIC_MAP;
}

static void on_closed(uv_handle_t *handle)
{
	free(handle->data);
}

static void connection_close(struct connection *connection)
{
	struct connections *all = connection->all;

	if (connection->state == CONNECTION_CLOSED)
		return;
	serve_cancel(all->serve, &connection->waiting);
	connection->state = CONNECTION_CLOSED;
	list_remove(&connection->by_activity);
	list_remove(&connection->by_deadline);
	buffer_finish(&connection->input);
	buffer_finish(&connection->output);
	all->count--;
	atomic_fetch_sub_explicit(&all->serve->metrics->open[protocol_of(connection)], 1,
				  memory_order_relaxed);
	uv_close((uv_handle_t *)&connection->poll, on_closed);
	close(connection->fd);
}

static void count_cut(struct connection *connection, enum metric_cut cut)
{
	atomic_fetch_add_explicit(&connection->all->serve->metrics->cut[cut], 1,
				  memory_order_relaxed);
}

static void out_of_memory(struct connection *connection)
{
	log_seldom("memory", LOG_SECONDS, LOG_LEVEL_ERROR,
		   "%s: a connection was closed: out of memory", service_name(connection->service));
	connection_close(connection);
}

/* What came is no request: the requests before it still get their replies. */
static void cut_malformed(struct connection *connection, const char *why)
{
	bool too_long = why == policy_too_long || why == netstring_too_long;

	serve_malformed(connection->all->serve, connection->service);
	count_cut(connection, too_long ? METRIC_CUT_TOO_LONG : METRIC_CUT_MALFORMED);
	log_seldom(connection->service == SERVICE_POLICY ? "policy-malformed" : "map-malformed",
		   LOG_SECONDS, LOG_LEVEL_WARNING, "%s: a connection was closed, because a client "
		   "sent what is no request: %s", service_name(connection->service), why);
	connection->ended = true;
}

/* Hands the replies to the socket, as far as it takes them now. */
static void flush(struct connection *connection)
{
	struct connections *all = connection->all;
	const char *data = all->replies;
	size_t length = all->replies_length;

	all->replies_length = 0;
	if (length == 0 || connection->state == CONNECTION_CLOSED)
		return;
	if (connection->output.length == 0) {
		ssize_t sent = send(connection->fd, data, length, MSG_NOSIGNAL);
		if (sent < 0 && errno != EAGAIN && errno != EINTR) {
			connection_close(connection);
			return;
		}
		if (sent > 0) {
			data += sent;
			length -= (size_t)sent;
		}
	}
	if (!buffer_add(&connection->output, data, length))
		out_of_memory(connection);
}

static void send_rest(struct connection *connection)
{
	struct buffer *output = &connection->output;

	if (output->length == 0)
		return;
	ssize_t sent = send(connection->fd, output->data, output->length, MSG_NOSIGNAL);
	if (sent > 0)
		buffer_drop(output, (size_t)sent);
	else if (sent < 0 && errno != EAGAIN && errno != EINTR)
		connection_close(connection);
}

/* The usual case: the bytes are one request, whole and nothing behind it. Then one look at each is
 * enough for framing and parsing, which costs as much as all the rest of answering. */
static bool is_one_request(struct connection *connection, const char *data, size_t length)
{
	const char *why;

	return connection->seen == 0 && length > 2 && data[length - 1] == '\n' &&
	       data[length - 2] == '\n' &&
	       policy_parse(data, length, &connection->all->policy, &why);
}

/* The request at the start of the bytes: how many they are with what frames it, as policy_frame. */
static ssize_t frame(struct connection *connection, const char *data, size_t length,
		     struct serve_request *request_r, const char **why_r)
{
	ssize_t framed;

	if (connection->service == SERVICE_POLICY && is_one_request(connection, data, length)) {
		framed = (ssize_t)length;
		request_r->data = data;
		request_r->length = length;
		request_r->policy = &connection->all->policy;
	} else if (connection->service == SERVICE_POLICY) {
		framed = policy_frame(data, length, &connection->seen, why_r);
		request_r->data = data;
		request_r->length = framed > 0 ? (size_t)framed : 0;
	} else {
		framed = netstring_frame(data, length, SOCKETMAP_MAX, &request_r->data,
					 &request_r->length, why_r);
	}
	return framed;
}

static void on_existence(void *context, enum existence existence);

static struct serve_request request_of(struct connection *connection)
{
	return (struct serve_request){
		.service = connection->service,
		.answer = on_existence,
		.context = connection,
	};
}

/* A reply is in `replies`. */
static void answered(struct connection *connection, size_t reply_length)
{
	struct connections *all = connection->all;

	all->replies_length += reply_length;
	connection->seen = 0;
	connection->active_ms = uv_now(all->loop);
	list_remove(&connection->by_activity);
	list_append(&all->by_activity, &connection->by_activity);
	list_remove(&connection->by_deadline); /* what begins now has time of its own */
	if (all->replies_length > CONNECTION_REPLIES_SIZE - SERVE_REPLY_SIZE)
		flush(connection);
}

/* Answers the first request of the bytes. Returns its length, 0 if it has to wait, -1 if the
 * connection ends here. */
static ssize_t answer_one(struct connection *connection, const char *data, size_t length)
{
	struct connections *all = connection->all;
	struct serve_request request = request_of(connection);
	const char *why = NULL;
	ssize_t framed = frame(connection, data, length, &request, &why);

	if (framed == 0)
		return 0;
	if (framed < 0) {
		cut_malformed(connection, why);
		return -1;
	}
	ssize_t reply = serve_answer(all->serve, &request, all->replies + all->replies_length,
				     &connection->waiting, &why);
	if (reply < 0) {
		cut_malformed(connection, why);
		return -1;
	}
	if (reply == 0) {
		connection->state = CONNECTION_ASKING;
		connection->asked_length = (size_t)framed;
		return 0;
	}
	answered(connection, (size_t)reply);
	return framed;
}

static bool may_answer(const struct connection *connection)
{
	return connection->state == CONNECTION_OPEN &&
	       connection->output.length <= CONNECTION_MAX_PENDING;
}

/* Answers what is whole; returns how many bytes are done with. */
static size_t answer_all(struct connection *connection, const char *data, size_t length)
{
	size_t done = 0;

	while (done < length && may_answer(connection)) {
		ssize_t used = answer_one(connection, data + done, length - done);
		if (used < 0)
			done = length;
		if (used <= 0)
			break;
		done += (size_t)used;
	}
	flush(connection);
	return done;
}

static void wait_for(struct connection *connection, int events)
{
	if (events == connection->events)
		return;
	connection->events = events;
	if (events == 0)
		uv_poll_stop(&connection->poll);
	else
		uv_poll_start(&connection->poll, events, connection->poll.poll_cb);
}

/* Something is unfinished, and it is the client's turn. */
static void watch_deadline(struct connection *connection)
{
	struct connections *all = connection->all;
	bool unfinished = connection->output.length > 0 ||
			  (connection->input.length > 0 && connection->state == CONNECTION_OPEN);
	bool watched = !list_is_empty(&connection->by_deadline);

	if (unfinished && !watched) {
		connection->deadline_ms = uv_now(all->loop) + all->request_ms;
		list_append(&all->by_deadline, &connection->by_deadline);
	} else if (!unfinished && watched) {
		list_remove(&connection->by_deadline);
	}
}

/* After all that happens to a connection: what it waits for now, or that it is done. */
static void settle(struct connection *connection)
{
	if (connection->state == CONNECTION_CLOSED)
		return;
	bool asking = connection->state == CONNECTION_ASKING;
	if (connection->ended && !asking && connection->output.length == 0) {
		connection_close(connection); /* what is left in `input` is no whole request */
		return;
	}
	watch_deadline(connection);
	int events = connection->output.length > 0 ? UV_WRITABLE : 0;
	if (!connection->ended && connection->output.length <= CONNECTION_MAX_PENDING &&
	    connection->input.length < input_limit(connection->service))
		events |= UV_READABLE;
	wait_for(connection, events);
}

/* Answers what waits in `input`, where that may go on. */
static void go_on(struct connection *connection)
{
	struct buffer *input = &connection->input;

	if (input->length == 0 || !may_answer(connection))
		return;
	size_t done = answer_all(connection, input->data, input->length);
	if (connection->state != CONNECTION_CLOSED)
		buffer_drop(input, done);
}

static void on_existence(void *context, enum existence existence)
{
	struct connection *connection = context;
	struct connections *all = connection->all;
	struct serve_request request = request_of(connection);
	const char *why;

	connection->seen = 0;
	if (frame(connection, connection->input.data, connection->input.length, &request, &why) <= 0)
		request.length = 0; /* it was one before, and is unchanged */
	connection->state = CONNECTION_OPEN;
	size_t reply = serve_existence(all->serve, &request, &connection->waiting, existence,
				       all->replies);
	buffer_drop(&connection->input, connection->asked_length);
	answered(connection, reply);
	go_on(connection);
	flush(connection);
	settle(connection);
}

/* The usual case: nothing is left from before, and nothing will be. */
static ssize_t read_shared(struct connection *connection)
{
	struct connections *all = connection->all;
	ssize_t length = recv(connection->fd, all->requests, CONNECTION_READ_SIZE, 0);

	if (length <= 0)
		return length;
	all->serve->clock = uv_hrtime();
	size_t done = answer_all(connection, all->requests, (size_t)length);
	if (connection->state != CONNECTION_CLOSED &&
	    !buffer_add(&connection->input, all->requests + done, (size_t)length - done))
		out_of_memory(connection);
	return length;
}

static ssize_t read_behind(struct connection *connection)
{
	struct buffer *input = &connection->input;
	size_t room = input_limit(connection->service) - input->length;

	if (!buffer_reserve(input, room < 4096 ? room : 4096)) {
		out_of_memory(connection);
		return 1;
	}
	if (room > input->size - input->length)
		room = input->size - input->length;
	if (room > CONNECTION_READ_SIZE)
		room = CONNECTION_READ_SIZE;
	ssize_t length = read(connection->fd, input->data + input->length, room);
	if (length <= 0)
		return length;
	input->length += (size_t)length;
	connection->all->serve->clock = uv_hrtime();
	go_on(connection);
	return length;
}

static void read_more(struct connection *connection)
{
	ssize_t length = connection->input.length == 0 ? read_shared(connection)
						       : read_behind(connection);

	if (length == 0)
		connection->ended = true;
	else if (length < 0 && errno != EAGAIN && errno != EINTR)
		connection_close(connection);
}

static void write_more(struct connection *connection)
{
	send_rest(connection);
	connection->all->serve->clock = uv_hrtime();
	go_on(connection);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct connection *connection = poll->data;

	if (status < 0) {
		connection_close(connection);
		return;
	}
	if (events & UV_WRITABLE)
		write_more(connection);
	if (events & UV_READABLE && connection->state != CONNECTION_CLOSED && !connection->ended)
		read_more(connection);
	settle(connection);
}

/* At the limit: closes the one that is silent longest and has no request under way. */
static bool make_room(struct connections *all)
{
	struct link *link = all->by_activity.next;

	if (all->count < all->limit)
		return true;
	log_seldom("crowd", LOG_SECONDS, LOG_LEVEL_WARNING, "%lu connections are open, and no more "
		   "are allowed: the one without a request for longest is closed (see "
		   "--max-connections)", all->count);
	for (; link != &all->by_activity; link = link->next) {
		struct connection *connection = LINK_OF(link, struct connection, by_activity);
		if (connection->state == CONNECTION_OPEN) {
			count_cut(connection, METRIC_CUT_CROWD);
			connection_close(connection);
			return true;
		}
	}
	return false;
}

static void refuse(int fd, enum service service, const char *why)
{
	log_seldom("refuse", LOG_SECONDS, LOG_LEVEL_ERROR, "%s: a new connection was closed: %s",
		   service_name(service), why);
	close(fd);
}

static void begin(struct connection *connection)
{
	struct connections *all = connection->all;
	struct metrics *metrics = all->serve->metrics;
	enum metric_protocol protocol = protocol_of(connection);

	list_init(&connection->by_deadline);
	list_append(&all->by_activity, &connection->by_activity);
	all->count++;
	atomic_fetch_add_explicit(&metrics->accepted[protocol], 1, memory_order_relaxed);
	atomic_fetch_add_explicit(&metrics->open[protocol], 1, memory_order_relaxed);
	connection->poll.data = connection;
	connection->events = UV_READABLE;
	uv_poll_start(&connection->poll, UV_READABLE, on_event);
}

void connection_open(struct connections *all, enum service service, int fd)
{
	int on = 1;

	if (!make_room(all)) {
		refuse(fd, service, "all others wait for Dovecot");
		return;
	}
	struct connection *connection = calloc(1, sizeof *connection);
	if (!connection) {
		refuse(fd, service, "out of memory");
		return;
	}
	*connection = (struct connection){
		.all = all,
		.fd = fd,
		.service = service,
		.active_ms = uv_now(all->loop),
	};
	/* On a UNIX socket it fails and is not needed. */
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	int rc = uv_poll_init(all->loop, &connection->poll, fd);
	if (rc < 0) {
		refuse(fd, service, uv_strerror(rc));
		free(connection);
		return;
	}
	begin(connection);
}

static void cut_slow(struct connections *all, uint64_t now)
{
	while (!list_is_empty(&all->by_deadline)) {
		struct connection *connection =
			LINK_OF(all->by_deadline.next, struct connection, by_deadline);
		if (connection->deadline_ms > now)
			break;
		count_cut(connection, METRIC_CUT_SLOW);
		log_seldom("slow", LOG_SECONDS, LOG_LEVEL_WARNING, "%s: a connection was closed: a "
			   "client %s for %u seconds", service_name(connection->service),
			   connection->output.length > 0 ? "did not read its replies"
							 : "did not finish its request",
			   (unsigned)(all->request_ms / 1000));
		connection_close(connection);
	}
}

static void cut_idle(struct connections *all, uint64_t now)
{
	struct link *link = all->by_activity.next;

	while (link != &all->by_activity) {
		struct connection *connection = LINK_OF(link, struct connection, by_activity);
		link = link->next;
		if (connection->active_ms + all->idle_ms > now)
			break;
		if (connection->state == CONNECTION_OPEN) {
			count_cut(connection, METRIC_CUT_IDLE);
			connection_close(connection);
		}
	}
}

void connections_tick(struct connections *all)
{
	uint64_t now = uv_now(all->loop);

	cut_slow(all, now);
	cut_idle(all, now);
}

void connections_drain(struct connections *all)
{
	for (struct link *link = all->by_activity.next; link != &all->by_activity; link = link->next)
		shutdown(LINK_OF(link, struct connection, by_activity)->fd, SHUT_RD);
}

void connections_close(struct connections *all)
{
	while (!list_is_empty(&all->by_activity))
		connection_close(
			LINK_OF(all->by_activity.next, struct connection, by_activity));
}
