/* Sockets and deadlines around metrics_http(). */
#include "metrics-server.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "metrics.h"

enum { REQUEST_SIZE = 8192 + 1 /* one byte more than metrics_http() waits for */ };

enum state {
	STATE_READING, /* waits for the end of the request */
	STATE_WRITING, /* waits for room to send the reply */
	STATE_LEAVING, /* all is sent; waits for the client's end, so that closing is no reset */
	STATE_CLOSED,  /* waits for the loop's closing callbacks */
};

struct client {
	struct metrics_server *server;
	struct client *next; /* in server->clients */
	enum state state;
	int fd;
	uv_poll_t poll;
	uv_timer_t deadline;
	unsigned open_handles;
	char *reply;
	size_t reply_length, sent;
	size_t request_length;
	char request[REQUEST_SIZE];
};

struct metrics_server {
	uv_loop_t *loop;
	metrics_server_text_cb *text;
	void *context;
	bool destroyed; /* goes with its last client */
	size_t client_count;
	struct client *clients;
};

static void unlink_client(struct client *client)
{
	struct metrics_server *server = client->server;
	struct client **link = &server->clients;

	while (*link != client)
		link = &(*link)->next;
	*link = client->next;
	server->client_count--;
	if (server->destroyed && server->client_count == 0)
		free(server);
}

static void on_closed(uv_handle_t *handle)
{
	struct client *client = handle->data;

	if (--client->open_handles > 0)
		return;
	close(client->fd);
	unlink_client(client);
	free(client->reply);
	free(client);
}

static void client_close(struct client *client)
{
	if (client->state == STATE_CLOSED)
		return;
	client->state = STATE_CLOSED;
	uv_close((uv_handle_t *)&client->poll, on_closed);
	uv_close((uv_handle_t *)&client->deadline, on_closed);
}

static void on_deadline(uv_timer_t *timer)
{
	client_close(timer->data);
}

static void on_event(uv_poll_t *poll, int status, int events);

/* Asks the parser without the metrics, which are not put together for each byte that comes. */
static bool is_whole(const struct client *client)
{
	char *reply = NULL;
	size_t length = metrics_http(client->request, client->request_length, "", 0, &reply);

	free(reply);
	return length > 0;
}

static bool prepare_reply(struct client *client)
{
	struct metrics_server *server = client->server;
	char *text = NULL;
	size_t length = server->text(server->context, &text);

	if (length > 0)
		client->reply_length = metrics_http(client->request, client->request_length, text,
						    length, &client->reply);
	free(text);
	return client->reply_length > 0;
}

/* Reads what is there; goes on to writing once metrics_http() has an answer. */
static void client_read(struct client *client)
{
	size_t room = sizeof client->request - client->request_length;

	if (room == 0) { /* metrics_http() answers before */
		client_close(client);
		return;
	}
	ssize_t got = recv(client->fd, client->request + client->request_length, room, 0);
	if (got < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (got <= 0) {
		client_close(client);
		return;
	}
	client->request_length += (size_t)got;
	if (!is_whole(client))
		return;
	if (!prepare_reply(client)) {
		client_close(client);
		return;
	}
	client->state = STATE_WRITING;
	uv_poll_start(&client->poll, UV_WRITABLE, on_event);
}

static void client_write(struct client *client)
{
	ssize_t sent = send(client->fd, client->reply + client->sent,
			    client->reply_length - client->sent, MSG_NOSIGNAL);

	if (sent < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (sent < 0) {
		client_close(client);
		return;
	}
	client->sent += (size_t)sent;
	if (client->sent < client->reply_length)
		return;
	shutdown(client->fd, SHUT_WR);
	client->state = STATE_LEAVING;
	uv_poll_start(&client->poll, UV_READABLE, on_event);
}

static void client_leave(struct client *client)
{
	ssize_t got = recv(client->fd, client->request, sizeof client->request, 0);

	if (got == 0 || (got < 0 && errno != EAGAIN && errno != EINTR))
		client_close(client);
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct client *client = poll->data;

	(void)events;
	if (status < 0)
		client_close(client);
	else if (client->state == STATE_READING)
		client_read(client);
	else if (client->state == STATE_WRITING)
		client_write(client);
	else if (client->state == STATE_LEAVING)
		client_leave(client);
}

struct metrics_server *metrics_server_create(uv_loop_t *loop, metrics_server_text_cb *text,
					     void *context)
{
	struct metrics_server *server = calloc(1, sizeof *server);

	if (server)
		*server = (struct metrics_server){.loop = loop, .text = text, .context = context};
	return server;
}

void metrics_server_give(struct metrics_server *server, int fd)
{
	if (server->client_count >= METRICS_SERVER_MAX_CLIENTS) {
		log_seldom("metrics", 60, LOG_LEVEL_WARNING, "a request for metrics is turned away: "
			   "%d are under way", METRICS_SERVER_MAX_CLIENTS);
		close(fd);
		return;
	}
	struct client *client = calloc(1, sizeof *client);
	if (!client || uv_poll_init(server->loop, &client->poll, fd) < 0) {
		free(client);
		close(fd);
		return;
	}
	client->server = server;
	client->fd = fd;
	client->next = server->clients;
	server->clients = client;
	server->client_count++;
	uv_timer_init(server->loop, &client->deadline);
	client->open_handles = 2;
	client->poll.data = client->deadline.data = client;
	uv_timer_start(&client->deadline, on_deadline, 1000u * METRICS_SERVER_SECONDS, 0);
	uv_poll_start(&client->poll, UV_READABLE, on_event);
}

void metrics_server_destroy(struct metrics_server **server_p)
{
	struct metrics_server *server = *server_p;

	if (!server)
		return;
	*server_p = NULL;
	server->destroyed = true;
	for (struct client *client = server->clients; client; client = client->next)
		client_close(client);
	if (server->client_count == 0)
		free(server);
}
