/* homing-policyd: answers Postfix's policy requests and map lookups. This file starts it, hands
 * connections out, and ends it. */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sysexits.h>
#include <time.h>
#include <unistd.h>
#include <uv.h>

#include "directory-watch.h"
#include "endpoint.h"
#include "listener.h"
#include "log.h"
#include "metrics-server.h"
#include "metrics.h"
#include "options.h"
#include "ready.h"
#include "sandbox.h"
#include "shared-directory.h"
#include "userdb-linger.h"
#include "worker.h"

enum {
	BACKLOG = 4096, /* the kernel's net.core.somaxconn counts if it is lower */
	DRAIN_MS = 7000, /* for clients; after it Dovecot has at least a second more */
	END_SECONDS = 10, /* after SIGTERM it is over in any case */
	/* Descriptors beside connections: sockets, the directory, those of an event loop. */
	FIXED_DESCRIPTORS = 64 + METRICS_SERVER_MAX_CLIENTS,
	DESCRIPTORS_A_WORKER = 16 + USERDB_LINGERING_MAX,
	SIGNALS = 3,
};

static const int signals[SIGNALS] = {SIGTERM, SIGINT, SIGHUP};

struct daemon {
	struct options options;
	char *directory, *userdb; /* absolute */
	const char *user;	  /* to become; NULL: stay */
	struct endpoint *endpoints;
	size_t endpoint_count;
	unsigned long max_connections;
	struct ready ready;
	bool may_restart; /* systemd starts it again, on the same sockets */
	struct shared_directory *shared;
	uv_loop_t loop;
	uv_signal_t signals[SIGNALS];
	unsigned signal_count; /* that are watched */
	struct directory_watch watch;
	struct metrics_server *metrics_server;
	struct listener *listener;
	struct worker **workers;
	const struct metrics **metrics; /* of each */
	unsigned worker_count, next_worker;
	double start_time;
	int status; /* to exit with */
};

static int fail(const struct daemon *daemon, int status, const char *format, ...)
	HOMING_PRINTF(3, 4);
/* What keeps it from starting goes to whoever started it, and to the log. */
static int fail(const struct daemon *daemon, int status, const char *format, ...)
{
	char text[1200];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(text, sizeof text, format, arguments);
	va_end(arguments);
	log_line(LOG_LEVEL_ERROR, "%s", text);
	if (!daemon->options.foreground)
		fprintf(stderr, "homing-policyd: error: %s\n", text);
	return status;
}

static int fail_with(const struct daemon *daemon, int status, char *error)
{
	fail(daemon, status, "%s", error ? error : "out of memory");
	free(error);
	return status;
}

/* So that no socket gets a number to which somebody writes messages. */
static void open_standard_descriptors(void)
{
	int fd;

	do
		fd = open("/dev/null", O_RDWR);
	while (fd >= 0 && fd <= STDERR_FILENO);
	if (fd >= 0)
		close(fd);
}

/* The working directory changes in the background. NULL: out of memory. */
static char *make_absolute(const char *path)
{
	char *absolute;
	char *here = path[0] == '/' ? strdup("") : getcwd(NULL, 0);

	if (!here || asprintf(&absolute, "%s%s%s", here, path[0] == '/' ? "" : "/", path) < 0)
		absolute = NULL;
	free(here);
	return absolute;
}

static int find_paths(struct daemon *daemon)
{
	const struct options *options = &daemon->options;

	daemon->directory = make_absolute(options->directory);
	daemon->userdb = options->userdb ? make_absolute(options->userdb) : NULL;
	if (!daemon->directory || (options->userdb && !daemon->userdb))
		return fail(daemon, EX_OSERR, "a path cannot be made absolute: %s", strerror(errno));
	return EX_OK;
}

/* Whom to become. */
static int find_user(struct daemon *daemon)
{
	const char *wanted = daemon->options.user;

	if (geteuid() == 0) {
		daemon->user = wanted ? wanted : "homing-policyd";
		const struct passwd *user = getpwnam(daemon->user);
		if (!user)
			return fail(daemon, EX_CONFIG, "there is no user %s to become: make one "
				    "(`adduser --system --group homing-policyd`, and `adduser "
				    "homing-policyd " HOMING_GROUP "`), or name another with --user",
				    daemon->user);
		if (user->pw_uid == 0)
			return fail(daemon, EX_CONFIG, "the user %s is root by another name: choose a "
				    "user of its own", daemon->user);
		return EX_OK;
	}
	const struct passwd *user = wanted ? getpwnam(wanted) : NULL;
	if (wanted && (!user || user->pw_uid != geteuid()))
		return fail(daemon, EX_CONFIG, "only root can become the user %s: start it as root, or "
			    "as this user", wanted);
	return EX_OK;
}

/* As long as nobody asked for another one: Postfix's, where there is one and we may. */
static const char *socket_group(const struct options *options)
{
	if (options->socket_group)
		return options->socket_group;
	return geteuid() == 0 && getgrnam("postfix") ? "postfix" : NULL;
}

static int listen_everywhere(struct daemon *daemon)
{
	const struct options *options = &daemon->options;
	const struct endpoint_options how = {
		.mode = options->socket_mode,
		.group = socket_group(options),
		.backlog = BACKLOG,
	};
	char *error = NULL;

	for (size_t i = 0; i < options->endpoint_count; i++)
		if (endpoint_listen(options->endpoints[i].service, options->endpoints[i].text, &how,
				    &daemon->endpoints, &daemon->endpoint_count, &error) < 0)
			return fail_with(daemon, EX_UNAVAILABLE, error);
	return EX_OK;
}

/* Takes systemd's sockets in any case, so that nobody after us takes them for his; they count where the
 * command line names none. */
static int find_endpoints(struct daemon *daemon)
{
	char *error = NULL;

	if (endpoint_inherit(&daemon->endpoints, &daemon->endpoint_count, &error) < 0)
		return fail_with(daemon, EX_CONFIG, error);
	if (daemon->options.endpoint_count > 0)
		endpoints_finish(&daemon->endpoints, &daemon->endpoint_count);
	else if (daemon->endpoint_count == 0)
		return fail(daemon, EX_USAGE, "nowhere to listen: give --policy, --map or --metrics an "
			    "endpoint (as unix:/var/spool/postfix/homing/policy), or start it by "
			    "systemd's socket units");
	return EX_OK;
}

/* Raises the limit of open files to what max_connections takes, or lowers max_connections to what the
 * limit leaves. */
static void fit_descriptors(struct daemon *daemon)
{
	const struct options *options = &daemon->options;
	rlim_t fixed = FIXED_DESCRIPTORS + daemon->endpoint_count +
		       (rlim_t)options->workers * DESCRIPTORS_A_WORKER;
	rlim_t needed = fixed + options->max_connections;
	struct rlimit limit;

	daemon->max_connections = options->max_connections;
	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= needed)
		return;
	struct rlimit raised = {needed, needed > limit.rlim_max ? needed : limit.rlim_max};
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		return;
	raised = (struct rlimit){limit.rlim_max, limit.rlim_max};
	if (setrlimit(RLIMIT_NOFILE, &raised) == 0)
		limit = raised;
	daemon->max_connections = limit.rlim_cur > fixed + options->workers
					  ? limit.rlim_cur - fixed
					  : options->workers;
	log_line(LOG_LEVEL_WARNING, "the limit of open files is %llu: at most %lu connections are "
		 "served, not %lu (raise it: LimitNOFILE= in the unit, or `ulimit -n`)",
		 (unsigned long long)limit.rlim_cur, daemon->max_connections,
		 options->max_connections);
}

/* The sockets that are ours to remove; free() the array alone. */
static const char **socket_paths(const struct daemon *daemon, size_t *count_r)
{
	const char **paths = calloc(daemon->endpoint_count, sizeof *paths);

	*count_r = 0;
	for (size_t i = 0; paths && i < daemon->endpoint_count; i++)
		if (daemon->endpoints[i].path)
			paths[(*count_r)++] = daemon->endpoints[i].path;
	return paths;
}

static int enter_sandbox(struct daemon *daemon)
{
	size_t count;
	const char **paths = socket_paths(daemon, &count);
	char *error = NULL;

	if (!paths)
		return fail(daemon, EX_OSERR, "out of memory");
	const struct sandbox sandbox = {
		.user = daemon->user,
		.directory = daemon->directory,
		.connects = daemon->userdb || !daemon->options.foreground,
		.sockets = paths,
		.socket_count = count,
	};
	tzset(); /* times in the log: its file cannot be read later */
	int answer = sandbox_enter(&sandbox, &error);
	free(paths);
	return answer < 0 ? fail_with(daemon, EX_OSERR, error) : EX_OK;
}

static int start_workers(struct daemon *daemon)
{
	const struct options *options = &daemon->options;
	struct worker_settings settings = {
		.directory = daemon->shared,
		.trusted = &options->trusted,
		.userdb = userdb_defaults,
		.dry_run = options->dry_run,
		.max_connections =
			(daemon->max_connections + options->workers - 1) / options->workers,
		.request_seconds = WORKER_REQUEST_SECONDS,
		.idle_seconds = WORKER_IDLE_SECONDS,
	};
	char *error = NULL;

	settings.userdb.path = daemon->userdb;
	daemon->workers = calloc(options->workers, sizeof daemon->workers[0]);
	daemon->metrics = calloc(options->workers, sizeof daemon->metrics[0]);
	if (!daemon->workers || !daemon->metrics)
		return fail(daemon, EX_OSERR, "out of memory");
	while (daemon->worker_count < options->workers) {
		struct worker **worker = &daemon->workers[daemon->worker_count];
		if (worker_start(&settings, worker, &error) < 0)
			return fail_with(daemon, EX_OSERR, error);
		daemon->metrics[daemon->worker_count++] = worker_metrics(*worker);
	}
	return EX_OK;
}

static size_t format_metrics(void *context, char **text_r)
{
	const struct daemon *daemon = context;
	const struct metrics_facts facts = {
		.directory_sequence = daemon->watch.sequence,
		.directory_usable = daemon->watch.usable,
		.workers = daemon->worker_count,
		.start_time = daemon->start_time,
		.max_connections = daemon->max_connections,
	};

	return metrics_format(daemon->metrics, &facts, text_r);
}

static void on_accepted(void *context, enum service service, int fd)
{
	struct daemon *daemon = context;

	if (service == SERVICE_METRICS) {
		metrics_server_give(daemon->metrics_server, fd);
		return;
	}
	worker_give(daemon->workers[daemon->next_worker], service, fd);
	daemon->next_worker = (daemon->next_worker + 1) % daemon->worker_count;
}

/* A second SIGTERM, or the end of its time. */
static void end_at_once(int number)
{
	_exit(number == SIGALRM ? EX_SOFTWARE : EX_OK);
}

/* The main loop ends with this; what is in flight is the workers'. */
static void stop(struct daemon *daemon)
{
	ready_stopping(&daemon->ready);
	listener_stop(&daemon->listener);
	endpoints_finish(&daemon->endpoints, &daemon->endpoint_count);
	metrics_server_destroy(&daemon->metrics_server);
	directory_watch_stop(&daemon->watch);
	while (daemon->signal_count > 0)
		uv_close((uv_handle_t *)&daemon->signals[--daemon->signal_count], NULL);
	signal(SIGTERM, end_at_once);
	signal(SIGINT, end_at_once);
	signal(SIGHUP, SIG_IGN);
	signal(SIGALRM, end_at_once);
	alarm(END_SECONDS);
	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_stop(daemon->workers[i], DRAIN_MS);
}

/* Landlock's permission cannot be widened. Under systemd the next process gets its own, and no request
 * is lost; elsewhere nobody would start it again, so it goes on with temporary failures. */
static void on_folder_replaced(void *context)
{
	struct daemon *daemon = context;

	if (!daemon->may_restart || !daemon->listener)
		return;
	daemon->status = EX_TEMPFAIL;
	stop(daemon);
}

static long long open_connections(const struct daemon *daemon)
{
	long long count = 0;

	for (unsigned i = 0; i < daemon->worker_count; i++)
		for (unsigned protocol = 0; protocol < METRIC_PROTOCOLS; protocol++)
			count += atomic_load(&daemon->metrics[i]->open[protocol]);
	return count;
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct daemon *daemon = handle->data;

	if (number == SIGHUP) {
		log_reopen();
		log_line(LOG_LEVEL_INFO, "version=%s sequence=%" PRIu64 " connections=%lld: log opened "
			 "again", HOMING_VERSION, daemon->watch.sequence, open_connections(daemon));
		return;
	}
	log_line(LOG_LEVEL_INFO, "stopping: %s, connections=%lld", strsignal(number),
		 open_connections(daemon));
	stop(daemon);
}

static int start_loop(struct daemon *daemon)
{
	int rc = uv_loop_init(&daemon->loop);

	if (rc < 0)
		return fail(daemon, EX_OSERR, "no event loop: %s", uv_strerror(rc));
	daemon->shared = shared_directory_create(daemon->directory);
	daemon->metrics_server = metrics_server_create(&daemon->loop, format_metrics, daemon);
	if (!daemon->shared || !daemon->metrics_server)
		return fail(daemon, EX_OSERR, "out of memory");
	for (; daemon->signal_count < SIGNALS; daemon->signal_count++) {
		uv_signal_t *handle = &daemon->signals[daemon->signal_count];
		uv_signal_init(&daemon->loop, handle);
		handle->data = daemon;
		rc = uv_signal_start(handle, on_signal, signals[daemon->signal_count]);
		if (rc < 0)
			return fail(daemon, EX_OSERR, "signals cannot be watched: %s",
				    uv_strerror(rc));
	}
	return EX_OK;
}

static void log_start(const struct daemon *daemon)
{
	log_line(LOG_LEVEL_INFO, "started: version=%s workers=%u max_connections=%lu%s",
		 HOMING_VERSION, daemon->worker_count, daemon->max_connections,
		 daemon->options.dry_run ? ", dry run: nothing is refused" : "");
}

/* All that is left once the endpoints listen. */
static int start(struct daemon *daemon)
{
	fit_descriptors(daemon);
	int status = enter_sandbox(daemon);
	if (status == EX_OK)
		status = start_loop(daemon);
	if (status == EX_OK)
		status = start_workers(daemon);
	if (status != EX_OK)
		return status;
	log_start(daemon);
	daemon->start_time = (double)time(NULL);
	daemon->watch.replaced = on_folder_replaced;
	daemon->watch.context = daemon;
	directory_watch_start(&daemon->watch, &daemon->loop, daemon->shared, daemon->directory);
	daemon->listener = listener_start(&daemon->loop, daemon->endpoints, daemon->endpoint_count,
					  on_accepted, daemon);
	if (!daemon->listener)
		return fail(daemon, EX_OSERR, "the sockets cannot be watched");
	ready_tell(&daemon->ready);
	return EX_OK;
}

static int prepare(struct daemon *daemon)
{
	int status = find_paths(daemon);

	if (status == EX_OK)
		status = find_endpoints(daemon);
	if (status == EX_OK)
		status = find_user(daemon);
	if (status == EX_OK)
		status = listen_everywhere(daemon);
	return status;
}

static int run(struct daemon *daemon)
{
	int status = prepare(daemon);

	if (status != EX_OK)
		return status;
	daemon->may_restart = getenv("NOTIFY_SOCKET") != NULL;
	if (ready_begin(&daemon->ready, !daemon->options.foreground) < 0)
		return fail(daemon, EX_OSERR, "it cannot go into the background, or tell systemd: %s",
			    strerror(errno));
	status = start(daemon);
	if (status != EX_OK)
		return status;
	uv_run(&daemon->loop, UV_RUN_DEFAULT);
	for (unsigned i = 0; i < daemon->worker_count; i++)
		worker_join(&daemon->workers[i]);
	log_line(LOG_LEVEL_INFO, "stopped");
	return daemon->status;
}

/* After a start that failed half way, the process's end is what cleans up; but sockets have names. */
static void finish(struct daemon *daemon, int status)
{
	endpoints_finish(&daemon->endpoints, &daemon->endpoint_count);
	ready_finish(&daemon->ready);
	if (status == EX_OK || daemon->status != EX_OK) {
		uv_loop_close(&daemon->loop);
		shared_directory_destroy(&daemon->shared);
	}
	free(daemon->workers);
	free(daemon->metrics);
	free(daemon->directory);
	free(daemon->userdb);
	options_finish(&daemon->options);
}

int main(int argc, char **argv)
{
	struct daemon daemon = {.ready = {-1, -1, -1}};
	int status = options_parse(argc, argv, &daemon.options);

	if (status != OPTIONS_GO_ON) {
		options_finish(&daemon.options);
		return status;
	}
	open_standard_descriptors();
	signal(SIGPIPE, SIG_IGN);
	log_open(!daemon.options.foreground, daemon.options.verbose);
	status = run(&daemon);
	finish(&daemon, status);
	return status;
}
