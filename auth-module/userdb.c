/* The userdb: `route` rewrites the name and goes on to the next userdb; `accounts` says home, uid,
 * gid and groups of the directory's accounts, and lists them.
 *
 * As in the passdb, a name that routing refuses or cannot decide now reaches no other userdb. */
#include "compat.h"

#include "module.h"
#include "question.h"
#include "router/route.h"
#include "settings.h"
#include "sources.h"

struct homing_userdb {
	struct userdb_module module;
	enum homing_mode mode;
	struct source *names;
};

static struct userdb_module *create_userdb(pool_t pool, const char *args, struct event *event,
					   const char **error_r)
{
	struct homing_settings settings;

	if (!homing_settings_read(pool, args, event, &settings, error_r))
		return NULL;
	struct homing_userdb *userdb = p_new(pool, struct homing_userdb, 1);
	userdb->mode = settings.mode;
	userdb->names = homing_source_names(settings.directory);
	return &userdb->module;
}

COMPAT_PREINIT(userdb, create_userdb)

static void userdb_init_module(struct userdb_module *module)
{
	module->blocking = FALSE;
}

static void end_refused(struct auth_request *request, const char *reason)
{
	e_info(authdb_event(request), "unknown user: %s", reason);
	compat_end_userdb_lookup(request, USERDB_RESULT_USER_UNKNOWN);
}

static void route_lookup(struct homing_userdb *userdb, struct auth_request *request,
			 userdb_callback_t *callback)
{
	const char *account, *reason;

	switch (homing_ask(userdb->names, request, &account, &reason)) {
	case ROUTED_ACCOUNT:
	case ROUTED_EXTERNAL:
		homing_set_user(request, account);
		callback(compat_set_userdb_fields(request) ? USERDB_RESULT_USER_UNKNOWN
							   : USERDB_RESULT_INTERNAL_FAILURE,
			 request);
		return;
	case ROUTED_REFUSED:
		end_refused(request, reason);
		return;
	case ROUTED_FAILED:
		compat_end_userdb_lookup(request, USERDB_RESULT_INTERNAL_FAILURE);
		return;
	}
	i_unreached();
}

/* Sets a field of the reply: in a userdb lookup, or from the passdb for a prefetch. */
typedef void set_field_t(struct auth_request *request, const char *name, const char *value);

static void set_field(struct auth_request *request, const char *name, const char *value)
{
	auth_request_set_userdb_field(request, name, value);
}

static void set_prefetch_field(struct auth_request *request, const char *name, const char *value)
{
	auth_request_set_field(request, t_strconcat("userdb_", name, NULL), value, NULL);
}

static int append_group(const char *group, void *context)
{
	string_t *groups = context;

	if (str_len(groups) > 0)
		str_append_c(groups, ',');
	str_append(groups, group);
	return 0;
}

/* Between begin and end. 1 set, 0 no such account, -1 failed. */
static int set_account_fields(struct directory_reader *reader, struct auth_request *request,
			      const char *local, const char *domain, set_field_t *set,
			      struct error *error)
{
	string_t *groups = t_str_new(128);
	struct account account;
	int found = account_lookup(reader, local, domain, &account, error);

	if (found <= 0)
		return found;
	if (account_groups(reader, local, domain, append_group, groups, error) < 0)
		return -1;
	if (account.uid[0] != '\0')
		set(request, "uid", account.uid);
	if (account.gid[0] != '\0')
		set(request, "gid", account.gid);
	if (account.home[0] != '\0')
		set(request, "home", account.home);
	if (str_len(groups) > 0)
		set(request, "acl_groups", str_c(groups));
	return 1;
}

int homing_userdb_prefetch(struct source *names, struct auth_request *request)
{
	struct error error = {0};
	struct route_answer answer;
	const char *reason;
	int found = -1;

	if (directory_begin(names->reader, &error) == 0) {
		if (homing_ask_within(names, request, &answer, &reason) == ROUTED_ACCOUNT)
			found = set_account_fields(names->reader, request, answer.local, answer.domain,
						   set_prefetch_field, &error);
		route_answer_finish(&answer);
		directory_end(names->reader);
	}
	if (error.code != ERROR_NONE)
		homing_source_failed(names, authdb_event(request), &error);
	return found > 0 ? 0 : -1;
}

/* Between begin and end: what the name is, and for an account its fields. */
static enum routed look_up_account(struct homing_userdb *userdb, struct auth_request *request,
				   const char **reason_r)
{
	struct directory_reader *reader = userdb->names->reader;
	struct error error = {0};
	struct route_answer answer;
	enum routed routed = homing_ask_within(userdb->names, request, &answer, reason_r);

	if (routed == ROUTED_ACCOUNT || routed == ROUTED_EXTERNAL)
		homing_set_user(request, answer.address);
	if (routed == ROUTED_ACCOUNT) {
		int found = set_account_fields(reader, request, answer.local, answer.domain, set_field,
					       &error);
		if (found == 0)
			error_set(&error, ERROR_CORRUPT, "%s: the account is not where routing found it",
				  answer.address);
		if (found <= 0) {
			homing_source_failed(userdb->names, authdb_event(request), &error);
			routed = ROUTED_FAILED;
		}
	}
	route_answer_finish(&answer);
	return routed;
}

static void accounts_lookup(struct homing_userdb *userdb, struct auth_request *request,
			    userdb_callback_t *callback)
{
	struct source *names = userdb->names;
	struct error error = {0};
	const char *reason;
	enum routed routed = ROUTED_FAILED;

	if (homing_source_ready(names, &error) < 0 || directory_begin(names->reader, &error) < 0) {
		homing_source_failed(names, authdb_event(request), &error);
	} else {
		routed = look_up_account(userdb, request, &reason);
		directory_end(names->reader);
	}
	switch (routed) {
	case ROUTED_ACCOUNT:
		callback(compat_set_userdb_fields(request) ? USERDB_RESULT_OK
							   : USERDB_RESULT_INTERNAL_FAILURE,
			 request);
		return;
	case ROUTED_EXTERNAL:
		callback(USERDB_RESULT_USER_UNKNOWN, request);
		return;
	case ROUTED_REFUSED:
		end_refused(request, reason);
		return;
	case ROUTED_FAILED:
		compat_end_userdb_lookup(request, USERDB_RESULT_INTERNAL_FAILURE);
		return;
	}
	i_unreached();
}

static void homing_lookup(struct auth_request *request, userdb_callback_t *callback)
{
	struct homing_userdb *userdb =
		container_of(request->userdb->userdb, struct homing_userdb, module);

	if (userdb->mode == HOMING_ROUTE)
		route_lookup(userdb, request, callback);
	else
		accounts_lookup(userdb, request, callback);
}

/* Listing: some hundred accounts at a time, each batch in a snapshot of its own, so that a long
 * list keeps no old pages of the directory alive. */

#define BATCH 500

struct listing {
	struct userdb_iterate_context ctx;
	struct source *names; /* NULL: there is nothing to list */
	pool_t pool;	      /* of the batch */
	ARRAY_TYPE(const_string) batch;
	unsigned int next; /* in the batch */
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE]; /* the last name seen; "" before the first */
	bool started, finished;
	/* of the domain at hand: are its accounts the directory's? */
	char judged_domain[DOMAIN_SIZE];
	bool is_listed;
	struct error error;
};

static struct userdb_iterate_context *homing_iterate_init(struct auth_request *request,
							   userdb_iter_callback_t *callback,
							   void *context)
{
	struct homing_userdb *userdb =
		container_of(request->userdb->userdb, struct homing_userdb, module);
	struct listing *listing = i_new(struct listing, 1);

	listing->ctx.auth_request = request;
	listing->ctx.callback = callback;
	listing->ctx.context = context;
	listing->pool = pool_alloconly_create("homing accounts", 16384);
	if (userdb->mode == HOMING_ACCOUNTS)
		listing->names = userdb->names;
	return &listing->ctx;
}

/* The accounts of a domain that is gone, or that keeps its accounts elsewhere, open for nobody. */
static bool is_listed_domain(struct listing *listing, const char *domain)
{
	struct domain_rules rules;

	if (strcmp(listing->judged_domain, domain) != 0) {
		i_strocpy(listing->judged_domain, domain, sizeof(listing->judged_domain));
		listing->is_listed = domain_lookup(listing->names->reader, domain, &rules,
						   &listing->error) > 0 &&
				     rules.accounts == ACCOUNTS_DIRECTORY;
	}
	return listing->is_listed;
}

static int add_account(enum entry_kind kind ATTR_UNUSED, const char *local, const char *domain,
		       void *context)
{
	struct listing *listing = context;

	if (is_listed_domain(listing, domain)) {
		const char *name = p_strconcat(listing->pool, local, "@", domain, NULL);

		array_push_back(&listing->batch, &name);
	}
	i_strocpy(listing->local, local, sizeof(listing->local));
	i_strocpy(listing->domain, domain, sizeof(listing->domain));
	listing->started = TRUE;
	return listing->error.code != ERROR_NONE ? -1 : array_count(&listing->batch) >= BATCH ? 1 : 0;
}

static int read_batch(struct listing *listing)
{
	struct source *names = listing->names;

	p_clear(listing->pool);
	p_array_init(&listing->batch, listing->pool, BATCH);
	listing->next = 0;
	listing->judged_domain[0] = '\0';
	if (homing_source_ready(names, &listing->error) < 0 ||
	    directory_begin(names->reader, &listing->error) < 0)
		return -1;
	int answer = directory_each_after(names->reader, listing->started ? listing->local : NULL,
					  listing->started ? listing->domain : NULL, ENTRY_ACCOUNT,
					  add_account, listing, &listing->error);
	directory_end(names->reader);
	if (answer == 0)
		listing->finished = TRUE;
	return answer < 0 ? -1 : 0;
}

static void homing_iterate_next(struct userdb_iterate_context *ctx)
{
	struct listing *listing = container_of(ctx, struct listing, ctx);

	while (listing->names != NULL && !ctx->failed) {
		if (array_is_created(&listing->batch) && listing->next < array_count(&listing->batch)) {
			ctx->callback(array_idx_elem(&listing->batch, listing->next++), ctx->context);
			return;
		}
		if (listing->finished)
			break;
		if (read_batch(listing) < 0) {
			homing_source_failed(listing->names, ctx->auth_request->event, &listing->error);
			ctx->failed = TRUE;
		}
	}
	ctx->callback(NULL, ctx->context);
}

static int homing_iterate_deinit(struct userdb_iterate_context *ctx)
{
	struct listing *listing = container_of(ctx, struct listing, ctx);
	int answer = ctx->failed ? -1 : 0;

	pool_unref(&listing->pool);
	i_free(listing);
	return answer;
}

struct userdb_module_interface homing_userdb_interface = {
	.name = "homing",
	.preinit = userdb_preinit_compat,
	.init = userdb_init_module,
	.lookup = homing_lookup,
	.iterate_init = homing_iterate_init,
	.iterate_next = homing_iterate_next,
	.iterate_deinit = homing_iterate_deinit,
};
