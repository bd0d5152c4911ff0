/* The thread, its loop, and the queue through which it gets its connections. */
#include "worker.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <uv.h>

#include "connection.h"
#include "log.h"
#include "serve.h"

struct given {
	enum service service;
	int fd;
};

/* What other threads ask for; behind its lock. */
struct orders {
	uv_mutex_t lock;
	struct given *given;
	size_t given_count, given_size;
	bool stop;
	unsigned stop_ms;
};

struct worker {
	struct metrics metrics; /* first, because it is aligned */
	struct orders orders;
	uv_thread_t thread;
	uv_loop_t loop;
	uv_async_t wake;     /* there are orders */
	uv_timer_t tick;     /* once a second */
	uv_timer_t end;	     /* while draining: the last moment */
	uv_prepare_t before; /* while draining: is all done? */
	bool draining;
	uint64_t last_moment; /* uv_now(); of all, once draining */
	struct serve serve;
	struct connections connections;
};

enum {
	TICK_MS = 1000,
	/* For what Dovecot owes when all clients are gone; 2.4 takes two to three seconds for a failure. */
	OWED_MS = 5000,
	OWED_AT_LEAST_MS = 1000,
};

/* What was given since the last time; free() it. */
static struct given *take_orders(struct worker *worker, size_t *count_r, bool *stop_r,
				 unsigned *stop_ms_r)
{
	struct orders *orders = &worker->orders;

	uv_mutex_lock(&orders->lock);
	struct given *given = orders->given;
	*count_r = orders->given_count;
	*stop_r = orders->stop;
	*stop_ms_r = orders->stop_ms;
	orders->given = NULL;
	orders->given_count = orders->given_size = 0;
	uv_mutex_unlock(&orders->lock);
	return given;
}

static unsigned owed_ms(const struct worker *worker)
{
	uint64_t now = uv_now(&worker->loop);

	if (worker->last_moment <= now)
		return 0;
	uint64_t left = worker->last_moment - now;
	return left < OWED_MS ? (unsigned)left : OWED_MS;
}

/* The loop ends once the closing callbacks have run, and Dovecot has answered what it was asked. */
static void finish(struct worker *worker)
{
	struct userdb *userdb = worker->serve.userdb;

	if (uv_is_closing((uv_handle_t *)&worker->wake))
		return;
	worker->serve.userdb = NULL; /* requests behind those that waited ask nobody any more */
	userdb_end(&userdb, owed_ms(worker)); /* answers all that wait */
	connections_close(&worker->connections);
	uv_close((uv_handle_t *)&worker->wake, NULL);
	uv_close((uv_handle_t *)&worker->tick, NULL);
	uv_close((uv_handle_t *)&worker->end, NULL);
	uv_close((uv_handle_t *)&worker->before, NULL);
}

static void on_end(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	log_line(LOG_LEVEL_WARNING, "%lu connections are closed that did not take their replies in "
		 "time", worker->connections.count);
	finish(worker);
}

static void before_waiting(uv_prepare_t *prepare)
{
	struct worker *worker = prepare->data;

	if (worker->connections.count == 0)
		finish(worker);
}

/* Again for connections that were given after the order to stop. */
static void drain(struct worker *worker, unsigned milliseconds)
{
	connections_drain(&worker->connections);
	if (worker->draining)
		return;
	worker->draining = true;
	worker->last_moment = uv_now(&worker->loop) + milliseconds + OWED_AT_LEAST_MS;
	uv_timer_start(&worker->end, on_end, milliseconds, 0);
	uv_prepare_start(&worker->before, before_waiting);
}

static void on_wake(uv_async_t *async)
{
	struct worker *worker = async->data;
	size_t count;
	bool stop;
	unsigned stop_ms;
	struct given *given = take_orders(worker, &count, &stop, &stop_ms);

	for (size_t i = 0; i < count; i++)
		connection_open(&worker->connections, given[i].service, given[i].fd);
	free(given);
	if (stop)
		drain(worker, stop_ms);
}

static void on_tick(uv_timer_t *timer)
{
	struct worker *worker = timer->data;

	connections_tick(&worker->connections);
}

static void run(void *context)
{
	struct worker *worker = context;

	uv_run(&worker->loop, UV_RUN_DEFAULT);
	directory_view_finish(&worker->serve.view);
}

static int init_handles(struct worker *worker)
{
	uv_loop_t *loop = &worker->loop;
	int rc = uv_async_init(loop, &worker->wake, on_wake);

	if (rc < 0)
		return rc;
	uv_timer_init(loop, &worker->tick);
	uv_timer_init(loop, &worker->end);
	uv_prepare_init(loop, &worker->before);
	worker->wake.data = worker->tick.data = worker->end.data = worker->before.data = worker;
	return uv_timer_start(&worker->tick, on_tick, TICK_MS, TICK_MS);
}

static int init_serving(struct worker *worker, const struct worker_settings *settings)
{
	worker->serve = (struct serve){
		.loop = &worker->loop,
		.view.shared = settings->directory,
		.trusted = settings->trusted,
		.metrics = &worker->metrics,
		.dry_run = settings->dry_run,
	};
	worker->connections = (struct connections){
		.loop = &worker->loop,
		.serve = &worker->serve,
		.limit = settings->max_connections,
		.request_ms = 1000ull * settings->request_seconds,
		.idle_ms = 1000ull * settings->idle_seconds,
	};
	if (!connections_init(&worker->connections))
		return UV_ENOMEM;
	worker->serve.known = known_create();
	if (!worker->serve.known)
		return UV_ENOMEM;
	if (!settings->userdb.path)
		return 0;
	worker->serve.userdb =
		userdb_create(&worker->loop, &settings->userdb, &worker->metrics);
	return worker->serve.userdb ? 0 : UV_ENOMEM;
}

static struct worker *worker_allocate(void)
{
	struct worker *worker = aligned_alloc(_Alignof(struct worker), sizeof *worker);

	if (worker)
		memset(worker, 0, sizeof *worker);
	return worker;
}

/* Only what is its own; the loop is closed by who knows that it was opened. */
static void worker_free(struct worker *worker)
{
	struct orders *orders = &worker->orders;

	for (size_t i = 0; i < orders->given_count; i++)
		close(orders->given[i].fd);
	free(orders->given);
	uv_mutex_destroy(&orders->lock);
	connections_finish(&worker->connections);
	known_destroy(&worker->serve.known);
	free(worker);
}

/* Undoes init_handles, if it did anything, and init_serving where there is no thread. */
static void unwind(struct worker *worker)
{
	if (worker->wake.data)
		finish(worker);
	uv_run(&worker->loop, UV_RUN_DEFAULT);
	uv_loop_close(&worker->loop);
}

int worker_start(const struct worker_settings *settings, struct worker **worker_r, char **error_r)
{
	struct worker *worker = worker_allocate();
	int rc = worker ? uv_mutex_init(&worker->orders.lock) : UV_ENOMEM;

	if (rc < 0) {
		free(worker);
		goto fail;
	}
	rc = uv_loop_init(&worker->loop);
	if (rc < 0) {
		worker_free(worker);
		goto fail;
	}
	rc = init_handles(worker);
	if (rc == 0)
		rc = init_serving(worker, settings);
	if (rc == 0)
		rc = uv_thread_create(&worker->thread, run, worker);
	if (rc < 0) {
		unwind(worker);
		worker_free(worker);
		goto fail;
	}
	*worker_r = worker;
	return 0;
fail:
	if (asprintf(error_r, "a worker cannot be started: %s", uv_strerror(rc)) < 0)
		*error_r = NULL;
	return -1;
}

static bool order_connection(struct orders *orders, enum service service, int fd)
{
	if (orders->given_count == orders->given_size) {
		size_t size = orders->given_size > 0 ? 2 * orders->given_size : 16;
		struct given *given = reallocarray(orders->given, size, sizeof *given);
		if (!given)
			return false;
		orders->given = given;
		orders->given_size = size;
	}
	orders->given[orders->given_count++] = (struct given){.service = service, .fd = fd};
	return true;
}

void worker_give(struct worker *worker, enum service service, int fd)
{
	uv_mutex_lock(&worker->orders.lock);
	bool ordered = order_connection(&worker->orders, service, fd);
	uv_mutex_unlock(&worker->orders.lock);
	if (ordered)
		uv_async_send(&worker->wake);
	else
		close(fd);
}

void worker_stop(struct worker *worker, unsigned milliseconds)
{
	uv_mutex_lock(&worker->orders.lock);
	worker->orders.stop = true;
	worker->orders.stop_ms = milliseconds;
	uv_mutex_unlock(&worker->orders.lock);
	uv_async_send(&worker->wake);
}

void worker_join(struct worker **worker_p)
{
	struct worker *worker = *worker_p;

	if (!worker)
		return;
	uv_thread_join(&worker->thread);
	uv_loop_close(&worker->loop);
	worker_free(worker);
	*worker_p = NULL;
}

struct metrics *worker_metrics(struct worker *worker)
{
	return &worker->metrics;
}
