/* From one framed request to its reply: parsed, decided by the directory and, where that says so,
 * by Dovecot; counted and logged. No sockets here. */
#ifndef HOMING_SERVE_H
#define HOMING_SERVE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <uv.h>

#include "decide.h"
#include "endpoint.h"
#include "known.h"
#include "metrics.h"
#include "shared-directory.h"
#include "userdb.h"

/* What answering takes; a worker has one. */
struct serve {
	uv_loop_t *loop; /* for its clock */
	struct directory_view view;
	const struct trusted *trusted;
	struct userdb *userdb; /* NULL: nobody to ask */
	struct known *known;   /* names that need not be looked up again */
	struct metrics *metrics;
	bool dry_run;
	/* uv_hrtime() when the time of the next request begins. Set it when requests were read; each
	 * reply moves it on, so that a request costs one look at the clock. */
	uint64_t clock;
};

struct serve_request {
	enum service service;
	const char *data; /* what policy_frame measured, or the content of a netstring */
	size_t length;
	const struct policy_request *policy; /* the same parsed; NULL: it is not yet */
	/* Called with the context where Dovecot has to be asked first. */
	userdb_answer_cb *answer;
	void *context;
};

/* A request that waits for Dovecot. */
struct serve_waiting;

enum { SERVE_REPLY_SIZE = SOCKETMAP_MAX + 16 /* room for any reply */ };

/* Writes the reply to `out` and returns its length. 0: the answer waits for Dovecot in *waiting_r;
 * request->answer will be called, then serve_existence() gives the reply. -1: this is no request,
 * *why_r (a constant) says why. */
ssize_t serve_answer(struct serve *serve, const struct serve_request *request, char *out,
		     struct serve_waiting **waiting_r, const char **why_r);

/* Counts what was no request, here or already to policy_frame() or netstring_frame(). */
void serve_malformed(struct serve *serve, enum service service);

/* The reply to the same request, which must be there unchanged. Frees *waiting. */
size_t serve_existence(struct serve *serve, const struct serve_request *request,
		       struct serve_waiting **waiting, enum existence existence, char *out);

/* For a request whose client is gone: userdb_cancel(), then frees. NULL inside is fine. */
void serve_cancel(struct serve *serve, struct serve_waiting **waiting);

#endif
