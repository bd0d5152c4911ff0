/* Where the daemon listens: `unix:/path` or `inet:host:port`, or sockets that systemd passes. */
#ifndef HOMING_ENDPOINT_H
#define HOMING_ENDPOINT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

enum service { SERVICE_POLICY, SERVICE_MAP, SERVICE_METRICS, SERVICES };
const char *service_name(enum service service); /* "policy", "map", "metrics": systemd's too */

struct endpoint {
	enum service service;
	char *text; /* as given, or "systemd:NAME"; for messages */
	int fd;	    /* listening, non-blocking, close-on-exec */
	char *path; /* of a UNIX socket that we made and remove at the end; else NULL */
	bool inherited; /* others serve it after us */
};

struct endpoint_options {
	mode_t mode;	   /* of UNIX sockets */
	const char *group; /* of UNIX sockets, a name or a number; NULL: as it is */
	int backlog;
};

/* Can this be an endpoint: `unix:/PATH`, or `inet:HOST:PORT` with HOST a name, an address, `[IPv6]` or
 * `*` (all)? NULL, or why not (a constant). */
const char *endpoint_refusal(const char *text);

/* Listens. One text may give several sockets, so the endpoints are appended to *endpoints. A UNIX
 * socket that a dead daemon left is replaced; one on which somebody answers is not, nor is a file
 * that is no socket. -1: *error_r (free() it; NULL out of memory) names the endpoint and what to do.
 * May ask the resolver. */
int endpoint_listen(enum service service, const char *text, const struct endpoint_options *options,
		    struct endpoint **endpoints, size_t *count, char **error_r);

/* The sockets of LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES (sd_listen_fds(3)), and takes these
 * variables out of the environment. 0 with no new endpoint where there are none. -1: *error_r: a
 * name that is none of ours, a socket that does not listen. */
int endpoint_inherit(struct endpoint **endpoints, size_t *count, char **error_r);

/* Closes; removes the sockets that we made, as far as we still may. */
void endpoints_finish(struct endpoint **endpoints, size_t *count);

#endif
