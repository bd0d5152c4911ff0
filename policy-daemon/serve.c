/* One request, from bytes to reply. What is decided is in decide.c and maps.c; here it is brought
 * together with the directory, with Dovecot, the counters and the log. */
#include "serve.h"

#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "policy.h"
#include "socketmap.h"

struct serve_waiting {
	uint64_t began; /* uv_hrtime() */
	void *context;	/* of the question to userdb */
	enum service service;
	union {
		struct policy_decision policy;
		struct map_decision map;
	};
};

enum { LOG_SECONDS = 10 };

static void directory_failed(struct serve *serve, const struct error *error)
{
	atomic_fetch_add_explicit(&serve->metrics->directory_failures, 1, memory_order_relaxed);
	log_seldom("directory", LOG_SECONDS, LOG_LEVEL_ERROR,
		   "the directory cannot be used: %s", error->text);
}

/* Counts a reply that is ready, and begins the next request's time. */
static void count(struct serve *serve, enum service service, enum metric_outcome outcome,
		  uint64_t began)
{
	enum metric_protocol protocol = service == SERVICE_POLICY ? METRIC_POLICY : METRIC_MAP;
	uint64_t now = uv_hrtime();

	metrics_request(serve->metrics, protocol, outcome, now - began);
	serve->clock = now;
}

/* True: *existence_r is known. False: `request` waits, in *waiting_r. */
static bool ask(struct serve *serve, const struct serve_request *request,
		const struct existence_question *question, enum existence *existence_r,
		struct serve_waiting **waiting_r)
{
	*existence_r = EXISTENCE_UNKNOWN;
	if (!serve->userdb || userdb_ask(serve->userdb, question, request->answer,
					 request->context, existence_r))
		return true;
	struct serve_waiting *waiting = malloc(sizeof *waiting);
	if (!waiting) {
		userdb_cancel(serve->userdb, request->context);
		*existence_r = EXISTENCE_UNKNOWN;
		return true;
	}
	waiting->began = serve->clock;
	waiting->context = request->context;
	waiting->service = request->service;
	*waiting_r = waiting;
	return false;
}

/* For "%.*s". */
#define SHOWN(value) (int)(value).length, (value).text ? (value).text : ""

/* What names the message in Postfix's own log lines. */
static struct policy_value message_id(const struct policy_request *request)
{
	if (request->queue_id.length > 0)
		return request->queue_id;
	if (request->instance.length > 0)
		return request->instance;
	return (struct policy_value){.text = "NOQUEUE", .length = 7};
}

static void log_policy(enum log_level level, const struct policy_request *request,
		       const struct policy_decision *decision, const char *what)
{
	struct policy_value id = message_id(request);

	log_line(level, "%.*s: policy: %s: %.*s from %.*s[%.*s]: %s; from=<%.*s> to=<%.*s> "
		 "proto=%.*s helo=<%.*s> reason=%s", SHOWN(id), what, SHOWN(request->protocol_state),
		 SHOWN(request->client_name), SHOWN(request->client_address), decision->action,
		 SHOWN(request->sender), SHOWN(request->recipient), SHOWN(request->protocol_name),
		 SHOWN(request->helo_name), decision->reason ? decision->reason : "none");
}

static size_t reply_policy(struct serve *serve, const struct policy_request *request,
			   const struct policy_decision *decision, uint64_t began, char *out)
{
	const char *action = decision->action;
	enum metric_outcome outcome = strcmp(action, "OK") == 0 ? METRIC_PERMIT : METRIC_DUNNO;

	if (decision->refuses) {
		bool defers = action[0] == '4';
		if (serve->dry_run) {
			log_policy(LOG_LEVEL_INFO, request, decision,
				   defers ? "would defer" : "would reject");
			action = "DUNNO";
		} else {
			outcome = defers ? METRIC_DEFER : METRIC_REJECT;
			log_policy(LOG_LEVEL_INFO, request, decision, defers ? "defer" : "reject");
		}
	} else if (log_is_verbose()) {
		log_policy(LOG_LEVEL_DEBUG, request, decision,
			   outcome == METRIC_PERMIT ? "permit" : "dunno");
	}
	size_t length = policy_format(action, out, SERVE_REPLY_SIZE);
	count(serve, SERVICE_POLICY, outcome, began);
	return length;
}

/* What is known of names, by kind. */
enum {
	KNOWN_POLICY, /* the decision about this recipient is DUNNO */
	KNOWN_MAP,    /* + map: the answer is the key itself; of `alias` and `transport`: none */
};

/* 0: nothing is known of such a request. */
static uint64_t statement_of(const struct serve *serve, const struct policy_request *request)
{
	const struct policy_value *state = &request->protocol_state;
	const struct policy_value *recipient = &request->recipient;

	/* Where each request is logged, the log says why. */
	if (log_is_verbose() || state->length != 4 || memcmp(state->text, "RCPT", 4) != 0 ||
	    recipient->length == 0)
		return 0;
	return known_statement(serve->known, KNOWN_POLICY, recipient->text, recipient->length);
}

static void look_up_policy(struct serve *serve, struct directory_reader *reader,
			   const struct policy_request *request,
			   struct policy_decision *decision_r, struct error *error)
{
	uint64_t statement = statement_of(serve, request);

	known_at(serve->known, directory_snapshot(reader));
	if (known_has(serve->known, statement)) {
		strcpy(decision_r->action, "DUNNO");
		decision_r->must_ask = decision_r->refuses = false;
		return;
	}
	policy_decide(reader, request, serve->trusted, decision_r, error);
	if (decision_r->lasting && !decision_r->must_ask)
		known_add(serve->known, statement);
}

static void decide_policy(struct serve *serve, const struct policy_request *request,
			  struct policy_decision *decision_r)
{
	struct error error;

	error_clear(&error); /* not all of its text, which takes time */
	struct directory_reader *reader =
		directory_view_begin(&serve->view, uv_now(serve->loop), &error);

	if (reader) {
		look_up_policy(serve, reader, request, decision_r, &error);
		directory_view_end(&serve->view);
	} else {
		policy_decide_failed(decision_r);
	}
	if (error.code != ERROR_NONE)
		directory_failed(serve, &error);
}

static ssize_t serve_policy(struct serve *serve, const struct serve_request *request, char *out,
			    struct serve_waiting **waiting_r, const char **why_r)
{
	const struct policy_request *policy = request->policy;
	struct policy_request parsed;
	struct policy_decision decision;

	if (!policy && !policy_parse(request->data, request->length, &parsed, why_r))
		return -1;
	if (!policy)
		policy = &parsed;
	decide_policy(serve, policy, &decision);
	if (decision.must_ask) {
		enum existence existence;
		if (!ask(serve, request, &decision.question, &existence, waiting_r)) {
			(*waiting_r)->policy = decision;
			return 0;
		}
		policy_decide_existence(&decision, existence);
	}
	return (ssize_t)reply_policy(serve, policy, &decision, serve->clock, out);
}

static enum metric_outcome map_outcome(enum socketmap_status status)
{
	switch (status) {
	case SOCKETMAP_OK:
		return METRIC_OK;
	case SOCKETMAP_NOTFOUND:
		return METRIC_NOTFOUND;
	case SOCKETMAP_TEMP:
	case SOCKETMAP_TIMEOUT:
		return METRIC_TEMP;
	case SOCKETMAP_PERM:
		break;
	}
	return METRIC_PERM;
}

static void log_map(enum log_level level, const struct socketmap_request *request,
		    const struct map_decision *decision)
{
	log_line(level, "map: %.*s: %s: key=<%.*s> value=<%.*s>", (int)request->name_length,
		 request->name, socketmap_status_name(decision->status), (int)request->key_length,
		 request->key, (int)decision->value_length, decision->value ? decision->value : "");
}

static size_t reply_map(struct serve *serve, const struct socketmap_request *request,
			struct map_decision *decision, uint64_t began, char *out)
{
	const char *value = decision->value ? decision->value : "";
	size_t length = socketmap_format(decision->status, value, decision->value_length, out,
					 SERVE_REPLY_SIZE);
	enum metric_outcome outcome = map_outcome(decision->status);

	/* Postfix defers or refuses for these, and its own line does not say of which map. */
	if (outcome == METRIC_TEMP || outcome == METRIC_PERM)
		log_map(LOG_LEVEL_INFO, request, decision);
	else if (log_is_verbose())
		log_map(LOG_LEVEL_DEBUG, request, decision);
	count(serve, SERVICE_MAP, outcome, began);
	map_decision_finish(decision);
	return length;
}

/* Without an answer of the directory. `value` is a constant. */
static size_t reply_no_map(struct serve *serve, enum socketmap_status status, const char *value,
			   char *out)
{
	size_t length = socketmap_format(status, value, strlen(value), out, SERVE_REPLY_SIZE);

	count(serve, SERVICE_MAP, map_outcome(status), serve->clock);
	return length;
}

static bool has_key_as_value(enum map map)
{
	return map != MAP_ALIAS && map != MAP_TRANSPORT;
}

static bool is_worth_knowing(enum map map, const struct socketmap_request *request,
			     const struct map_decision *decision)
{
	if (decision->must_ask)
		return false;
	if (!has_key_as_value(map))
		return decision->status == SOCKETMAP_NOTFOUND && decision->none_needed;
	return decision->status == SOCKETMAP_OK &&
	       decision->value_length == request->key_length &&
	       memcmp(decision->value, request->key, request->key_length) == 0;
}

/* False: out of memory. */
static bool map_known(enum map map, const struct socketmap_request *request,
		      struct map_decision *decision_r)
{
	decision_r->must_ask = false;
	decision_r->status = SOCKETMAP_NOTFOUND;
	decision_r->value = NULL;
	decision_r->value_length = 0;
	if (!has_key_as_value(map))
		return true;
	decision_r->value = malloc(request->key_length);
	if (!decision_r->value)
		return false;
	memcpy(decision_r->value, request->key, request->key_length);
	decision_r->value_length = request->key_length;
	decision_r->status = SOCKETMAP_OK;
	return true;
}

static void look_up_map(struct serve *serve, struct directory_reader *reader, enum map map,
			const struct socketmap_request *request, struct map_decision *decision_r,
			struct error *error)
{
	uint64_t statement = known_statement(serve->known, KNOWN_MAP + (unsigned)map, request->key,
					     request->key_length);

	known_at(serve->known, directory_snapshot(reader));
	if (known_has(serve->known, statement) && map_known(map, request, decision_r))
		return;
	map_decide(reader, map, request->key, request->key_length, decision_r, error);
	if (is_worth_knowing(map, request, decision_r))
		known_add(serve->known, statement);
}

/* False: the directory cannot be used. */
static bool decide_map(struct serve *serve, enum map map, const struct socketmap_request *request,
		       struct map_decision *decision_r)
{
	struct error error;

	error_clear(&error); /* not all of its text, which takes time */
	struct directory_reader *reader =
		directory_view_begin(&serve->view, uv_now(serve->loop), &error);

	if (reader) {
		look_up_map(serve, reader, map, request, decision_r, &error);
		directory_view_end(&serve->view);
	}
	if (error.code != ERROR_NONE)
		directory_failed(serve, &error);
	return reader != NULL;
}

static ssize_t serve_map(struct serve *serve, const struct serve_request *request, char *out,
			 struct serve_waiting **waiting_r, const char **why_r)
{
	struct socketmap_request parsed;
	struct map_decision decision;

	if (!socketmap_parse(request->data, request->length, &parsed)) {
		*why_r = "a request without a blank between the map's name and the key";
		return -1;
	}
	enum map map = map_parse(parsed.name, parsed.name_length);
	if (map == MAP_NONE) {
		log_seldom("map-name", LOG_SECONDS, LOG_LEVEL_WARNING,
			   "map: there is no map \"%.*s\": see homing-postfix(7) for their names",
			   (int)parsed.name_length, parsed.name);
		return (ssize_t)reply_no_map(serve, SOCKETMAP_PERM, "no such map", out);
	}
	if (!decide_map(serve, map, &parsed, &decision))
		return (ssize_t)reply_no_map(serve, SOCKETMAP_TEMP,
					     "the directory cannot be used now", out);
	if (decision.must_ask) {
		enum existence existence;
		if (!ask(serve, request, &decision.question, &existence, waiting_r)) {
			(*waiting_r)->map = decision;
			return 0;
		}
		map_decide_existence(&decision, existence);
	}
	return (ssize_t)reply_map(serve, &parsed, &decision, serve->clock, out);
}

ssize_t serve_answer(struct serve *serve, const struct serve_request *request, char *out,
		     struct serve_waiting **waiting_r, const char **why_r)
{
	return request->service == SERVICE_POLICY
		       ? serve_policy(serve, request, out, waiting_r, why_r)
		       : serve_map(serve, request, out, waiting_r, why_r);
}

void serve_malformed(struct serve *serve, enum service service)
{
	count(serve, service, METRIC_MALFORMED, serve->clock);
}

size_t serve_existence(struct serve *serve, const struct serve_request *request,
		       struct serve_waiting **waiting_p, enum existence existence, char *out)
{
	struct serve_waiting *waiting = *waiting_p;
	size_t length;

	if (request->service == SERVICE_POLICY) {
		struct policy_request parsed = {0};
		const char *why;
		if (!policy_parse(request->data, request->length, &parsed, &why))
			parsed = (struct policy_request){0}; /* it was parsed before */
		policy_decide_existence(&waiting->policy, existence);
		length = reply_policy(serve, &parsed, &waiting->policy, waiting->began, out);
	} else {
		struct socketmap_request parsed = {.name = "", .key = ""};
		if (!socketmap_parse(request->data, request->length, &parsed))
			parsed = (struct socketmap_request){.name = "", .key = ""};
		map_decide_existence(&waiting->map, existence);
		length = reply_map(serve, &parsed, &waiting->map, waiting->began, out);
	}
	free(waiting);
	*waiting_p = NULL;
	return length;
}

void serve_cancel(struct serve *serve, struct serve_waiting **waiting_p)
{
	struct serve_waiting *waiting = *waiting_p;

	if (!waiting)
		return;
	if (serve->userdb)
		userdb_cancel(serve->userdb, waiting->context);
	if (waiting->service == SERVICE_MAP)
		map_decision_finish(&waiting->map);
	free(waiting);
	*waiting_p = NULL;
}
