/* From an endpoint's text to a listening socket. */
#include "endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "router/error.h"

static const char *const service_names[SERVICES] = {"policy", "map", "metrics"};

const char *service_name(enum service service)
{
	return service_names[service];
}

static int fail(char **error_r, const char *format, ...) HOMING_PRINTF(2, 3);
static int fail(char **error_r, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(error_r, format, arguments) < 0)
		*error_r = NULL;
	va_end(arguments);
	return -1;
}

/* Takes the descriptor over, in any case. */
static int append(struct endpoint **endpoints, size_t *count, const struct endpoint *template,
		  char **error_r)
{
	struct endpoint *grown = reallocarray(*endpoints, *count + 1, sizeof *grown);
	char *text = strdup(template->text);
	char *path = template->path ? strdup(template->path) : NULL;

	if (grown)
		*endpoints = grown;
	if (!grown || !text || (template->path && !path)) {
		close(template->fd);
		free(text);
		free(path);
		return fail(error_r, "%s: out of memory", template->text);
	}
	grown[(*count)++] = (struct endpoint){
		.service = template->service,
		.text = text,
		.fd = template->fd,
		.path = path,
		.inherited = template->inherited,
	};
	return 0;
}

struct host {
	char name[256]; /* "" for all addresses */
	char port[6];
};

static bool is_port(const char *text)
{
	size_t length = strlen(text);

	return length > 0 && length <= 5 && strspn(text, "0123456789") == length &&
	       strtol(text, NULL, 10) > 0 && strtol(text, NULL, 10) <= 65535;
}

/* HOST:PORT, the host perhaps in brackets. */
static bool host_parse(const char *text, struct host *host_r)
{
	const char *colon = strrchr(text, ':'), *start = text;
	size_t length = colon ? (size_t)(colon - text) : 0;

	if (length == 0 || !is_port(colon + 1))
		return false;
	strcpy(host_r->port, colon + 1);
	if (text[0] == '[' && colon[-1] == ']') {
		start++;
		length -= 2;
	} else if (memchr(text, ':', length)) {
		return false;
	}
	if (length == 0 || length >= sizeof host_r->name)
		return false;
	memcpy(host_r->name, start, length);
	host_r->name[length] = '\0';
	if (strcmp(host_r->name, "*") == 0)
		host_r->name[0] = '\0';
	return true;
}

const char *endpoint_refusal(const char *text)
{
	struct host host;

	if (strncmp(text, "unix:", 5) == 0 && text[5] != '/')
		return "the path must begin with a /";
	if (strncmp(text, "unix:", 5) == 0)
		return strlen(text + 5) < sizeof((struct sockaddr_un *)0)->sun_path
			       ? NULL
			       : "the path is too long for a UNIX socket (107 bytes)";
	if (strncmp(text, "inet:", 5) == 0)
		return host_parse(text + 5, &host)
			       ? NULL
			       : "want inet:HOST:PORT, with HOST a name, an address, [IPv6] or *";
	return "want unix:/PATH or inet:HOST:PORT";
}

/* Does anybody answer there? 1, 0 nobody does; -1 and errno: that cannot be said. */
static int is_answered(const struct sockaddr_un *address)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	int rc = connect(fd, (const struct sockaddr *)address, sizeof *address);
	int reason = errno;
	close(fd);
	if (rc == 0 || reason == EAGAIN) /* or its queue is full */
		return 1;
	errno = reason;
	return reason == ECONNREFUSED || reason == ENOENT ? 0 : -1;
}

/* Makes room for a socket where a dead daemon left one. */
static int remove_stale(const char *text, const struct sockaddr_un *address, char **error_r)
{
	const char *path = address->sun_path;
	struct stat status;

	if (lstat(path, &status) < 0)
		return errno == ENOENT ? 0 : fail(error_r, "%s: %s", text, strerror(errno));
	if (!S_ISSOCK(status.st_mode))
		return fail(error_r, "%s: a file that is no socket is there: remove it, or choose "
			    "another path", text);
	int answered = is_answered(address);
	if (answered < 0)
		return fail(error_r, "%s: the socket there cannot be tried: %s", text,
			    strerror(errno));
	if (answered > 0)
		return fail(error_r, "%s: another process listens there: stop it, or choose another "
			    "path", text);
	if (unlink(path) < 0 && errno != ENOENT)
		return fail(error_r, "%s: the socket that is left there cannot be removed: %s", text,
			    strerror(errno));
	return 0;
}

static bool find_group(const char *text, gid_t *gid_r)
{
	const struct group *group = getgrnam(text);
	char *end;

	if (group) {
		*gid_r = group->gr_gid;
		return true;
	}
	errno = 0;
	unsigned long number = strtoul(text, &end, 10);
	*gid_r = (gid_t)number;
	return errno == 0 && text[0] >= '0' && text[0] <= '9' && *end == '\0' &&
	       number < (gid_t)-1;
}

/* Bound with no access for anybody, then given to those who may have it: nobody else can get in
 * between. */
static int bind_unix(int fd, const char *text, const struct sockaddr_un *address,
		     const struct endpoint_options *options, char **error_r)
{
	const char *path = address->sun_path;
	gid_t gid;

	mode_t before = umask(0777);
	int rc = bind(fd, (const struct sockaddr *)address, sizeof *address);
	umask(before);
	if (rc < 0)
		return fail(error_r, "%s: %s%s", text, strerror(errno),
			    errno == ENOENT ? ": make its folder first" : "");
	if (options->group && !find_group(options->group, &gid)) {
		unlink(path);
		return fail(error_r, "%s: there is no group %s: choose another --socket-group", text,
			    options->group);
	}
	if (options->group && chown(path, (uid_t)-1, gid) < 0)
		rc = fail(error_r, "%s: it cannot be given to the group %s: %s", text,
			  options->group, strerror(errno));
	else if (chmod(path, options->mode) < 0)
		rc = fail(error_r, "%s: %s", text, strerror(errno));
	if (rc < 0)
		unlink(path);
	return rc;
}

static int listen_unix(const struct endpoint *template, const char *path,
		       const struct endpoint_options *options, struct endpoint **endpoints,
		       size_t *count, char **error_r)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct endpoint endpoint = *template;

	strcpy(address.sun_path, path);
	if (remove_stale(template->text, &address, error_r) < 0)
		return -1;
	endpoint.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (endpoint.fd < 0)
		return fail(error_r, "%s: %s", template->text, strerror(errno));
	if (bind_unix(endpoint.fd, template->text, &address, options, error_r) < 0) {
		close(endpoint.fd);
		return -1;
	}
	endpoint.path = address.sun_path;
	if (listen(endpoint.fd, options->backlog) < 0) {
		fail(error_r, "%s: %s", template->text, strerror(errno));
		unlink(path);
		close(endpoint.fd);
		return -1;
	}
	return append(endpoints, count, &endpoint, error_r);
}

static int listen_address(const struct addrinfo *address, int backlog)
{
	const int on = 1;
	int fd = socket(address->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
	if (address->ai_family == AF_INET6) /* so that `*` can have a socket for each family */
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
	if (bind(fd, address->ai_addr, address->ai_addrlen) < 0 || listen(fd, backlog) < 0) {
		int reason = errno;
		close(fd);
		errno = reason;
		return -1;
	}
	return fd;
}

/* Where all addresses are wanted, a system without IPv6 (or without IPv4) is no failure. */
static bool may_be_left_out(const char *host, int reason)
{
	return !host && (reason == EAFNOSUPPORT || reason == EADDRNOTAVAIL);
}

static int listen_all(const struct endpoint *template, const char *host,
		      const struct addrinfo *addresses, int backlog, struct endpoint **endpoints,
		      size_t *count, char **error_r)
{
	size_t before = *count;

	for (const struct addrinfo *address = addresses; address; address = address->ai_next) {
		struct endpoint endpoint = *template;
		endpoint.fd = listen_address(address, backlog);
		if (endpoint.fd < 0 && may_be_left_out(host, errno))
			continue;
		if (endpoint.fd < 0)
			return fail(error_r, "%s: %s", template->text, strerror(errno));
		if (append(endpoints, count, &endpoint, error_r) < 0)
			return -1;
	}
	if (*count == before)
		return fail(error_r, "%s: there is no address to listen on", template->text);
	return 0;
}

static int listen_inet(const struct endpoint *template, const struct host *host, int backlog,
		       struct endpoint **endpoints, size_t *count, char **error_r)
{
	const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
				       .ai_flags = AI_PASSIVE};
	const char *name = host->name[0] ? host->name : NULL;
	struct addrinfo *addresses;
	int rc = getaddrinfo(name, host->port, &hints, &addresses);

	if (rc != 0)
		return fail(error_r, "%s: %s", template->text,
			    rc == EAI_SYSTEM ? strerror(errno) : gai_strerror(rc));
	int answer = listen_all(template, name, addresses, backlog, endpoints, count, error_r);
	freeaddrinfo(addresses);
	return answer;
}

int endpoint_listen(enum service service, const char *text, const struct endpoint_options *options,
		    struct endpoint **endpoints, size_t *count, char **error_r)
{
	/* append() copies the text */
	const struct endpoint template = {.service = service, .text = (char *)text, .fd = -1};
	const char *why = endpoint_refusal(text);
	struct host host = {"", ""};

	if (why)
		return fail(error_r, "%s: %s", text, why);
	if (strncmp(text, "unix:", 5) == 0)
		return listen_unix(&template, text + 5, options, endpoints, count, error_r);
	(void)host_parse(text + 5, &host); /* which endpoint_refusal() has tried */
	return listen_inet(&template, &host, options->backlog, endpoints, count, error_r);
}

enum { FIRST_INHERITED = 3 /* SD_LISTEN_FDS_START */ };

/* How many sockets systemd passes to this process; -1: the variables make no sense. */
static int count_inherited(const char *pid, const char *fds)
{
	char *end;

	if (!pid || !fds || strtol(pid, &end, 10) != getpid() || *end != '\0')
		return 0;
	long number = strtol(fds, &end, 10);
	return *end == '\0' && number >= 0 && number < 1024 ? (int)number : -1;
}

static bool is_listening(int fd)
{
	int value = 0;
	socklen_t length = sizeof value;

	return getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &value, &length) == 0 && value != 0;
}

static int inherit_one(int fd, const char *name, struct endpoint **endpoints, size_t *count,
		       char **error_r)
{
	char text[64];
	enum service service = 0;

	while (service < SERVICES && strcmp(name, service_names[service]) != 0)
		service++;
	if (service == SERVICES)
		return fail(error_r, "a socket of systemd's is called %.40s: want FileDescriptorName="
			    "policy, map or metrics in its unit", name);
	if (!is_listening(fd))
		return fail(error_r, "the socket %s of systemd's does not listen: want ListenStream= and "
			    "Accept=no in its unit", name);
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
	    fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
		return fail(error_r, "the socket %s of systemd's: %s", name, strerror(errno));
	snprintf(text, sizeof text, "systemd:%s", name);
	const struct endpoint endpoint = {
		.service = service, .text = text, .fd = fd, .inherited = true};
	return append(endpoints, count, &endpoint, error_r);
}

static int inherit_named(char *names, int number, struct endpoint **endpoints, size_t *count,
			 char **error_r)
{
	int answer = 0;

	for (int i = 0; answer == 0 && i < number; i++) {
		const char *name = names ? strsep(&names, ":") : NULL;
		answer = inherit_one(FIRST_INHERITED + i, name ? name : "", endpoints, count,
				     error_r);
	}
	return answer;
}

int endpoint_inherit(struct endpoint **endpoints, size_t *count, char **error_r)
{
	const char *names = getenv("LISTEN_FDNAMES");
	char *copy = names ? strdup(names) : NULL;
	int number = count_inherited(getenv("LISTEN_PID"), getenv("LISTEN_FDS"));

	unsetenv("LISTEN_PID");
	unsetenv("LISTEN_FDS");
	unsetenv("LISTEN_FDNAMES");
	int answer = 0;
	if (number < 0)
		answer = fail(error_r, "LISTEN_FDS is no number of sockets");
	else if (names && !copy)
		answer = fail(error_r, "out of memory");
	else
		answer = inherit_named(copy, number, endpoints, count, error_r);
	free(copy);
	return answer;
}

void endpoints_finish(struct endpoint **endpoints, size_t *count)
{
	for (size_t i = 0; i < *count; i++) {
		struct endpoint *endpoint = &(*endpoints)[i];
		if (endpoint->path)
			unlink(endpoint->path);
		close(endpoint->fd);
		free(endpoint->text);
		free(endpoint->path);
	}
	free(*endpoints);
	*endpoints = NULL;
	*count = 0;
}
