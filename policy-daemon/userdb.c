/* Who waits for what. A lookup is one name that Dovecot is asked for; a waiter is one question,
 * which waits for a lookup, together with all who ask for the same name. An answer decides its
 * waiters; those are called from the loop itself, never from within what decided them, so that a
 * callback may do as it likes: ask, cancel, destroy.
 *
 * A name that nobody waits for any more stays until Dovecot has answered, because its answer will
 * come and its number is taken. So Dovecot never has more than max_outstanding of our questions,
 * beside what it was asked on a connection that was given up, and an answer to a number that is not
 * out is none.
 *
 * Dovecot is taken for hung where nothing at all comes for timeout_ms while a question is out, or
 * where one of many answers stays away for LATE_FACTOR times that. Then the connection is made again.
 *
 * FAIL has two meanings. A Dovecot that stops or reloads fails what it cannot finish, and its successor
 * knows after a moment. A Dovecot whose database is away fails too; 2.4 takes two to three seconds for
 * it (auth_internal_failure_delay). So what failed is asked again once, a second after it was asked or
 * at once, on a new connection; the second FAIL counts. */
#include "userdb.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "list.h"
#include "log.h"
#include "userdb-kept.h"
#include "userdb-line.h"
#include "userdb-link.h"

enum {
	MAX_SENDS = 2,	  /* of a lookup: once more where it failed or the connection broke */
	LATE_FACTOR = 12, /* Dovecot itself gives up a lookup after a minute */
	RETRY_MS = 1000,  /* from when it was sent until what failed is asked again */
	/* Questions out before the first answer; each answer allows one more. Dovecot 2.4.1 learns from
	 * its first auth worker how many it may have; flooded before, it starts too many, fails some
	 * questions and crashes. */
	FIRST_QUESTIONS = 8,
	WANTED_MS = 60000, /* after the last question, a connection is still made again */
	/* Dovecot itself gives up a lookup after a minute, or answers a failure some seconds late. */
	LINGER_MS = 75000,
	FAIL_LOG_SECONDS = 60,
};

const struct userdb_settings userdb_defaults = {
	.timeout_ms = 5000,
	.max_outstanding = 1000,
	.keep_found_ms = 10000,
	.keep_none_ms = 2000,
	.max_kept = 10000,
	.linger_ms = LINGER_MS,
};

struct lookup {
	struct link link;    /* in userdb.queued, userdb.failed, or `sent` of a connection */
	struct link waiters; /* in order of time */
	struct lookup *next_by_name, *next_by_id;
	uint32_t id;	 /* 0 unless sent */
	unsigned number; /* of the connection, when sent */
	unsigned sends;
	uint64_t sent_at; /* uv_now() */
	uint64_t hash;
	char name[];
};

struct waiter {
	struct link link;	  /* in userdb.waiting or userdb.decided */
	struct link lookup_link;  /* in lookup->waiters */
	struct lookup *lookup;	  /* NULL when decided */
	enum existence existence; /* when decided */
	uint64_t deadline;
	userdb_answer_cb *answer;
	void *context;
	char rest[]; /* the name to ask for if there is none of the first; "": none */
};

/* What is out on a connection. Only the current one and the one before it are alive at a time. */
struct connection {
	unsigned number;
	struct link sent;	/* lookups, in order of time */
	size_t count, answered; /* of the lookups in `sent`; of those before */
	uint64_t last_line;	/* uv_now() */
};

enum { CONNECTIONS = 2 };

struct userdb {
	uv_loop_t *loop;
	struct userdb_settings settings;
	struct metrics *metrics;
	struct userdb_kept *kept;
	struct userdb_link *link;
	uv_idle_t soon;	  /* calls the decided, and wakes the link */
	uv_timer_t timer; /* the next deadline */
	unsigned open_handles;
	bool closing;
	bool is_connected;
	bool one_is_to_blame; /* the connection breaks for one lookup, and that one is answered */
	struct link queued, failed; /* lookups; the failed ones in the order in which they failed */
	struct connection connections[CONNECTIONS]; /* by its number */
	struct link waiting, decided; /* waiters; the first in order of deadlines */
	size_t lookup_count, waiter_count;
	uint32_t last_id;
	uint64_t last_question; /* uv_now() */
	size_t buckets;		/* a power of two */
	struct lookup **by_name, **by_id;
};

static void on_soon(uv_idle_t *soon);

/* Has the loop call on_soon, from its next round on. */
static void stir(struct userdb *userdb)
{
	if (!userdb->closing)
		uv_idle_start(&userdb->soon, on_soon);
}

static void count_answer(struct userdb *userdb, enum metric_userdb what)
{
	atomic_fetch_add_explicit(&userdb->metrics->userdb[what], 1, memory_order_relaxed);
}

static void add_to_gauge(atomic_llong *gauge, long long change)
{
	atomic_fetch_add_explicit(gauge, change, memory_order_relaxed);
}

static struct connection *connection_of(struct userdb *userdb, unsigned number)
{
	return &userdb->connections[number % CONNECTIONS];
}

/* Lookups */

static uint64_t hash_of(const char *name)
{
	uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a; at worst all of max_outstanding collide */

	for (; *name != '\0'; name++)
		hash = (hash ^ (unsigned char)*name) * 0x100000001b3u;
	return hash ^ hash >> 32;
}

static struct lookup **name_bucket(struct userdb *userdb, uint64_t hash)
{
	return &userdb->by_name[hash & (userdb->buckets - 1)];
}

static struct lookup **id_bucket(struct userdb *userdb, uint32_t id)
{
	return &userdb->by_id[id & (userdb->buckets - 1)];
}

static struct lookup *lookup_of_name(struct userdb *userdb, const char *name, uint64_t hash)
{
	struct lookup *lookup = *name_bucket(userdb, hash);

	while (lookup && (lookup->hash != hash || strcmp(lookup->name, name) != 0))
		lookup = lookup->next_by_name;
	return lookup;
}

static struct lookup *lookup_of_id(struct userdb *userdb, uint32_t id)
{
	struct lookup *lookup = *id_bucket(userdb, id);

	while (lookup && lookup->id != id)
		lookup = lookup->next_by_id;
	return lookup;
}

static void lookup_forget_id(struct userdb *userdb, struct lookup *lookup)
{
	struct lookup **at = id_bucket(userdb, lookup->id);

	if (lookup->id == 0)
		return;
	while (*at != lookup)
		at = &(*at)->next_by_id;
	*at = lookup->next_by_id;
	lookup->id = 0;
	connection_of(userdb, lookup->number)->count--;
}

static void lookup_take_id(struct userdb *userdb, struct lookup *lookup)
{
	do
		userdb->last_id++;
	while (userdb->last_id == 0 || lookup_of_id(userdb, userdb->last_id));
	lookup->id = userdb->last_id;
	lookup->next_by_id = *id_bucket(userdb, lookup->id);
	*id_bucket(userdb, lookup->id) = lookup;
}

/* A queued lookup of the name; NULL if there are too many, or no memory. */
static struct lookup *lookup_create(struct userdb *userdb, const char *name, uint64_t hash)
{
	if (userdb->lookup_count >= userdb->settings.max_outstanding)
		return NULL;
	struct lookup *lookup = calloc(1, sizeof *lookup + strlen(name) + 1);
	if (!lookup)
		return NULL;
	strcpy(lookup->name, name);
	lookup->hash = hash;
	list_init(&lookup->waiters);
	list_append(&userdb->queued, &lookup->link);
	lookup->next_by_name = *name_bucket(userdb, hash);
	*name_bucket(userdb, hash) = lookup;
	userdb->lookup_count++;
	add_to_gauge(&userdb->metrics->userdb_outstanding, 1);
	return lookup;
}

/* Nobody may be waiting for it. */
static void lookup_free(struct userdb *userdb, struct lookup *lookup)
{
	struct lookup **at = name_bucket(userdb, lookup->hash);

	while (*at != lookup)
		at = &(*at)->next_by_name;
	*at = lookup->next_by_name;
	lookup_forget_id(userdb, lookup);
	list_remove(&lookup->link);
	userdb->lookup_count--;
	add_to_gauge(&userdb->metrics->userdb_outstanding, -1);
	free(lookup);
}

/* Waiters */

static void leave_lookup(struct waiter *waiter)
{
	list_remove(&waiter->lookup_link);
	waiter->lookup = NULL;
}

static void decide(struct userdb *userdb, struct waiter *waiter, enum existence existence)
{
	leave_lookup(waiter);
	list_remove(&waiter->link);
	list_append(&userdb->decided, &waiter->link);
	waiter->existence = existence;
	stir(userdb);
}

static void decide_all(struct userdb *userdb, struct lookup *lookup, enum existence existence)
{
	while (!list_is_empty(&lookup->waiters))
		decide(userdb, LINK_OF(lookup->waiters.next, struct waiter, lookup_link), existence);
}

/* Nobody needs to ask for what nobody waits for; what was sent has to be answered first. */
static void drop_if_idle(struct userdb *userdb, struct lookup *lookup)
{
	if (list_is_empty(&lookup->waiters) && lookup->id == 0)
		lookup_free(userdb, lookup);
}

static void waiter_free(struct userdb *userdb, struct waiter *waiter)
{
	struct lookup *lookup = waiter->lookup;

	leave_lookup(waiter);
	if (lookup)
		drop_if_idle(userdb, lookup);
	list_remove(&waiter->link);
	userdb->waiter_count--;
	free(waiter);
}

/* Waits for the name, with others if it is asked for already. False: there is no room. */
static bool wait_for(struct userdb *userdb, struct waiter *waiter, const char *name)
{
	uint64_t hash = hash_of(name);
	struct lookup *lookup = lookup_of_name(userdb, name, hash);

	if (!lookup)
		lookup = lookup_create(userdb, name, hash);
	if (!lookup)
		return false;
	waiter->lookup = lookup;
	list_append(&lookup->waiters, &waiter->lookup_link);
	stir(userdb);
	return true;
}

/* Is the answer for a name known? */
static bool is_known(struct userdb *userdb, const char *name, enum existence *existence_r)
{
	bool exists = false;

	if (userdb_name_is_sendable(name) &&
	    !userdb_kept_find(userdb->kept, name, uv_now(userdb->loop), &exists))
		return false;
	*existence_r = exists ? EXISTS : EXISTS_NOT;
	return true;
}

/* There is none of the first name: what about the second? */
static void go_on(struct userdb *userdb, struct waiter *waiter)
{
	enum existence existence = EXISTS_NOT;

	leave_lookup(waiter);
	if (waiter->rest[0] == '\0' || is_known(userdb, waiter->rest, &existence))
		decide(userdb, waiter, existence);
	else if (!wait_for(userdb, waiter, waiter->rest))
		decide(userdb, waiter, EXISTENCE_UNKNOWN);
	else
		waiter->rest[0] = '\0';
}

/* What becomes of a lookup */

static void lookup_answered(struct userdb *userdb, struct lookup *lookup, bool exists)
{
	uint64_t keep = exists ? userdb->settings.keep_found_ms : userdb->settings.keep_none_ms;
	struct link waiters;

	/* From when it was sent, because since then it may have ceased to be so. */
	userdb_kept_put(userdb->kept, lookup->name, exists, uv_now(userdb->loop),
			lookup->sent_at + keep);
	if (exists)
		decide_all(userdb, lookup, EXISTS);
	/* The lookup goes first, to leave its place to that of the second name. */
	list_init(&waiters);
	while (!list_is_empty(&lookup->waiters)) {
		struct waiter *waiter =
			LINK_OF(lookup->waiters.next, struct waiter, lookup_link);
		leave_lookup(waiter);
		list_append(&waiters, &waiter->lookup_link);
	}
	lookup_free(userdb, lookup);
	while (!list_is_empty(&waiters))
		go_on(userdb, LINK_OF(waiters.next, struct waiter, lookup_link));
}

static void lookup_failed(struct userdb *userdb, struct lookup *lookup)
{
	decide_all(userdb, lookup, EXISTENCE_UNKNOWN);
	lookup_free(userdb, lookup);
}

/* It will not be answered where it was sent. */
static void ask_again(struct userdb *userdb, struct lookup *lookup)
{
	lookup_forget_id(userdb, lookup);
	if (lookup->sends >= MAX_SENDS)
		decide_all(userdb, lookup, EXISTENCE_UNKNOWN);
	list_remove(&lookup->link);
	list_append(userdb->queued.next, &lookup->link); /* in front of the first */
	drop_if_idle(userdb, lookup);
	stir(userdb);
}

static void ask_again_later(struct userdb *userdb, struct lookup *lookup)
{
	lookup_forget_id(userdb, lookup);
	list_remove(&lookup->link);
	list_append(&userdb->failed, &lookup->link);
	drop_if_idle(userdb, lookup);
	stir(userdb);
}

static uint64_t first_retry(const struct userdb *userdb)
{
	return LINK_OF(userdb->failed.next, struct lookup, link)->sent_at + RETRY_MS;
}

static void ask_failed_again(struct userdb *userdb)
{
	while (!list_is_empty(&userdb->failed) && first_retry(userdb) <= uv_now(userdb->loop)) {
		struct link *first = userdb->failed.next;
		list_remove(first);
		list_append(&userdb->queued, first);
		stir(userdb);
	}
}

/* Time */

static uint64_t earlier(uint64_t a, uint64_t b)
{
	return a < b ? a : b;
}

static uint64_t patience_ends(const struct userdb *userdb, const struct connection *connection)
{
	const struct lookup *first = LINK_OF(connection->sent.next, struct lookup, link);
	uint64_t timeout = userdb->settings.timeout_ms, last_line = connection->last_line;

	if (list_is_empty(&connection->sent))
		return UINT64_MAX;
	uint64_t last_sign = first->sent_at > last_line ? first->sent_at : last_line;
	return earlier(last_sign + timeout, first->sent_at + LATE_FACTOR * timeout);
}

static void on_timer(uv_timer_t *timer);

static void set_timer(struct userdb *userdb)
{
	uint64_t now = uv_now(userdb->loop), next = UINT64_MAX;

	if (userdb->closing)
		return;
	if (!list_is_empty(&userdb->waiting))
		next = LINK_OF(userdb->waiting.next, struct waiter, link)->deadline;
	if (!list_is_empty(&userdb->failed))
		next = earlier(next, first_retry(userdb));
	for (size_t i = 0; i < CONNECTIONS; i++)
		next = earlier(next, patience_ends(userdb, &userdb->connections[i]));
	if (next == UINT64_MAX)
		uv_timer_stop(&userdb->timer);
	else
		uv_timer_start(&userdb->timer, on_timer, next > now ? next - now : 0, 0);
}

static void expire(struct userdb *userdb)
{
	uint64_t now = uv_now(userdb->loop);

	while (!list_is_empty(&userdb->waiting)) {
		struct waiter *waiter = LINK_OF(userdb->waiting.next, struct waiter, link);
		struct lookup *lookup = waiter->lookup;
		if (waiter->deadline > now)
			return;
		decide(userdb, waiter, EXISTENCE_UNKNOWN);
		drop_if_idle(userdb, lookup);
	}
}

static void on_timer(uv_timer_t *timer)
{
	struct userdb *userdb = timer->data;

	expire(userdb);
	ask_failed_again(userdb);
	for (size_t i = 0; i < CONNECTIONS; i++) {
		const struct connection *connection = &userdb->connections[i];
		if (patience_ends(userdb, connection) <= uv_now(userdb->loop))
			userdb_link_break(userdb->link,
					  LINK_OF(connection->sent.next, struct lookup, link)->number,
					  "no answer in time");
	}
	set_timer(userdb);
}

/* The owner of the link */

static void on_connected(void *context, bool connected, bool again)
{
	struct userdb *userdb = context;
	struct metrics *metrics = userdb->metrics;

	userdb->is_connected = connected;
	add_to_gauge(&metrics->userdb_connected, connected ? 1 : -1);
	if (connected && again)
		atomic_fetch_add_explicit(&metrics->userdb_reconnects, 1, memory_order_relaxed);
}

/* Puts the first of the queue on the connection. */
static size_t send_first(struct userdb *userdb, struct connection *connection,
			 char out[USERDB_QUESTION_MAX])
{
	struct lookup *lookup = LINK_OF(userdb->queued.next, struct lookup, link);

	lookup_take_id(userdb, lookup);
	lookup->number = connection->number;
	lookup->sends++;
	lookup->sent_at = uv_now(userdb->loop);
	list_remove(&lookup->link);
	list_append(&connection->sent, &lookup->link);
	connection->count++;
	return userdb_question_format(lookup->id, lookup->name, out);
}

static size_t on_fill(void *context, unsigned number, char *out, size_t size)
{
	struct userdb *userdb = context;
	struct connection *connection = connection_of(userdb, number);
	size_t used = 0;

	if (connection->number != number) {
		connection->number = number;
		connection->answered = 0;
	}
	while (!list_is_empty(&userdb->queued) && size - used >= USERDB_QUESTION_MAX &&
	       connection->count < FIRST_QUESTIONS + connection->answered)
		used += send_first(userdb, connection, out + used);
	if (used > 0)
		set_timer(userdb);
	return used;
}

static void on_fail(struct userdb *userdb, struct lookup *lookup)
{
	if (lookup->sends < MAX_SENDS) {
		ask_again_later(userdb, lookup);
	} else {
		log_seldom("userdb-fail", FAIL_LOG_SECONDS, LOG_LEVEL_WARNING,
			   "userdb: %s: Dovecot cannot look up %s now, and says why in its log",
			   userdb->settings.path, lookup->name);
		lookup_failed(userdb, lookup);
	}
	/* The lookup goes first: the connection that it was sent on may be given up here. */
	userdb_link_suspect(userdb->link);
}

static const char *on_line(void *context, unsigned number, const char *line, size_t length)
{
	struct userdb *userdb = context;
	struct connection *connection = connection_of(userdb, number);
	enum userdb_reply reply;
	uint32_t id;
	const char *why = userdb_answer_parse(line, length, &reply, &id);
	struct lookup *lookup = id != 0 ? lookup_of_id(userdb, id) : NULL;

	connection->last_line = uv_now(userdb->loop);
	if (!lookup || lookup->number != number)
		return why ? why : "an answer to what was not asked";
	if (why) {
		/* Asked again it would break the next connection too. The others are not at fault. */
		lookup_failed(userdb, lookup);
		userdb->one_is_to_blame = true;
	} else if (reply == USERDB_FAIL) {
		on_fail(userdb, lookup);
	} else {
		connection->answered++;
		lookup_answered(userdb, lookup, reply == USERDB_USER);
	}
	stir(userdb); /* there may be room for another question */
	return why;
}

static bool owes(void *context, unsigned number)
{
	struct userdb *userdb = context;

	return !list_is_empty(&connection_of(userdb, number)->sent);
}

static void on_lost(void *context, unsigned number)
{
	struct userdb *userdb = context;
	struct link *sent = &connection_of(userdb, number)->sent;

	while (!list_is_empty(sent)) { /* the last one first, so that the first is in front */
		struct lookup *lookup = LINK_OF(sent->previous, struct lookup, link);
		if (userdb->one_is_to_blame)
			lookup->sends--;
		ask_again(userdb, lookup);
	}
	userdb->one_is_to_blame = false;
	set_timer(userdb);
}

static bool is_wanted(void *context)
{
	struct userdb *userdb = context;

	return !list_is_empty(&userdb->queued) ||
	       uv_now(userdb->loop) - userdb->last_question < WANTED_MS;
}

static const struct userdb_link_owner link_owner = {
	.connected = on_connected,
	.fill = on_fill,
	.line = on_line,
	.owes = owes,
	.lost = on_lost,
	.wanted = is_wanted,
};

/* The loop's round */

static void count_decided(struct userdb *userdb, enum existence existence)
{
	switch (existence) {
	case EXISTS:
		count_answer(userdb, METRIC_USERDB_FOUND);
		return;
	case EXISTS_NOT:
		count_answer(userdb, METRIC_USERDB_NONE);
		return;
	case EXISTENCE_UNKNOWN:
		count_answer(userdb, METRIC_USERDB_FAILED);
		return;
	}
}

/* Each callback may ask, cancel or destroy. */
static void call_decided(struct userdb *userdb)
{
	while (!list_is_empty(&userdb->decided)) {
		struct waiter *waiter = LINK_OF(userdb->decided.next, struct waiter, link);
		/* clang 14 loses what list_remove() took out of a list of two */
		userdb_answer_cb *answer = waiter->answer; // NOLINT(clang-analyzer-unix.Malloc)
		void *context = waiter->context;
		enum existence existence = waiter->existence;

		waiter_free(userdb, waiter);
		count_decided(userdb, existence);
		answer(context, existence);
	}
}

static void on_soon(uv_idle_t *soon)
{
	struct userdb *userdb = soon->data;

	uv_idle_stop(soon);
	if (!list_is_empty(&userdb->queued))
		userdb_link_wake(userdb->link);
	set_timer(userdb);
	call_decided(userdb);
}

/* From outside */

static void on_handle_closed(uv_handle_t *handle)
{
	struct userdb *userdb = handle->data;

	if (--userdb->open_handles > 0)
		return;
	free(userdb->by_name);
	free(userdb->by_id);
	free(userdb);
}

static void close_handles(struct userdb *userdb)
{
	userdb->closing = true;
	userdb->open_handles = 2;
	uv_close((uv_handle_t *)&userdb->soon, on_handle_closed);
	uv_close((uv_handle_t *)&userdb->timer, on_handle_closed);
}

struct userdb *userdb_create(uv_loop_t *loop, const struct userdb_settings *settings,
			     struct metrics *metrics)
{
	struct userdb *userdb = calloc(1, sizeof *userdb);

	if (!userdb)
		return NULL;
	userdb->loop = loop;
	userdb->settings = *settings;
	userdb->metrics = metrics;
	list_init(&userdb->queued);
	list_init(&userdb->failed);
	for (size_t i = 0; i < CONNECTIONS; i++)
		list_init(&userdb->connections[i].sent);
	list_init(&userdb->waiting);
	list_init(&userdb->decided);
	for (userdb->buckets = 16; userdb->buckets < settings->max_outstanding;)
		userdb->buckets *= 2;
	uv_idle_init(loop, &userdb->soon);
	uv_timer_init(loop, &userdb->timer);
	userdb->soon.data = userdb->timer.data = userdb;
	userdb->by_name = calloc(userdb->buckets, sizeof *userdb->by_name);
	userdb->by_id = calloc(userdb->buckets, sizeof *userdb->by_id);
	userdb->kept = userdb_kept_create(settings->max_kept);
	const struct userdb_link_settings link_settings = {
		.path = settings->path,
		.greeting_ms = settings->timeout_ms,
		.linger_ms = settings->linger_ms,
	};
	userdb->link = userdb_link_create(loop, &link_settings, &link_owner, userdb);
	if (!userdb->by_name || !userdb->by_id || !userdb->kept || !userdb->link)
		userdb_destroy(&userdb);
	else
		userdb->settings.path = userdb_link_path(userdb->link);
	return userdb;
}

static void free_lookups(struct userdb *userdb, struct link *lookups)
{
	while (!list_is_empty(lookups))
		lookup_free(userdb, LINK_OF(lookups->next, struct lookup, link));
}

void userdb_end(struct userdb **userdb_p, unsigned ms)
{
	struct userdb *userdb = *userdb_p;

	if (!userdb)
		return;
	*userdb_p = NULL;
	close_handles(userdb);
	if (userdb->is_connected)
		on_connected(userdb, false, false);
	userdb_link_end(&userdb->link, ms);
	while (!list_is_empty(&userdb->waiting))
		decide(userdb, LINK_OF(userdb->waiting.next, struct waiter, link),
		       EXISTENCE_UNKNOWN);
	free_lookups(userdb, &userdb->queued);
	free_lookups(userdb, &userdb->failed);
	for (size_t i = 0; i < CONNECTIONS; i++)
		free_lookups(userdb, &userdb->connections[i].sent);
	call_decided(userdb);
	userdb_kept_destroy(&userdb->kept);
}

void userdb_destroy(struct userdb **userdb_p)
{
	userdb_end(userdb_p, 0);
}

static struct waiter *waiter_create(struct userdb *userdb, const char *rest,
				    userdb_answer_cb *answer, void *context)
{
	struct waiter *waiter = calloc(1, sizeof *waiter + strlen(rest) + 1);

	if (!waiter)
		return NULL;
	strcpy(waiter->rest, rest);
	waiter->answer = answer;
	waiter->context = context;
	waiter->deadline = uv_now(userdb->loop) + userdb->settings.timeout_ms;
	list_init(&waiter->lookup_link);
	list_append(&userdb->waiting, &waiter->link);
	userdb->waiter_count++;
	return waiter;
}

/* False: nobody can be asked for it. */
static bool start_waiting(struct userdb *userdb, const char *name, const char *rest,
			  userdb_answer_cb *answer, void *context)
{
	/* Where Dovecot has been away for long nobody is kept waiting for it: each would hold up a
	 * process of Postfix's, of which there are so many, and so the mail for all. */
	if (userdb->waiter_count >= userdb->settings.max_outstanding ||
	    userdb_link_is_down(userdb->link, userdb->settings.timeout_ms))
		return false;
	struct waiter *waiter = waiter_create(userdb, rest, answer, context);
	if (waiter && !wait_for(userdb, waiter, name)) {
		waiter_free(userdb, waiter);
		return false;
	}
	return waiter != NULL;
}

bool userdb_ask(struct userdb *userdb, const struct existence_question *question,
		userdb_answer_cb *answer, void *context, enum existence *existence_r)
{
	const char *name = question->name, *rest = question->without_detail;

	*existence_r = EXISTENCE_UNKNOWN;
	if (!userdb || userdb->closing)
		return true;
	userdb->last_question = uv_now(userdb->loop);
	if (is_known(userdb, name, existence_r)) {
		bool decided = *existence_r == EXISTS || rest[0] == '\0' ||
			       is_known(userdb, rest, existence_r);
		if (decided) {
			count_answer(userdb, METRIC_USERDB_CACHED);
			return true;
		}
		name = rest;
		rest = "";
	}
	if (start_waiting(userdb, name, rest, answer, context))
		return false;
	count_answer(userdb, METRIC_USERDB_FAILED);
	*existence_r = EXISTENCE_UNKNOWN;
	return true;
}

static void cancel_in(struct userdb *userdb, struct link *list, const void *context)
{
	struct link *next;

	for (struct link *link = list->next; link != list; link = next) {
		struct waiter *waiter = LINK_OF(link, struct waiter, link);
		next = link->next;
		if (waiter->context == context)
			waiter_free(userdb, waiter);
	}
}

void userdb_cancel(struct userdb *userdb, void *context)
{
	if (!userdb)
		return;
	cancel_in(userdb, &userdb->waiting, context);
	cancel_in(userdb, &userdb->decided, context);
}
