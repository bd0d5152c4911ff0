/* The passdb: `route` rewrites the name and hands on to the next passdb; `accounts` verifies the
 * directory's own passwords.
 *
 * What must hold, whatever the result_* settings say:
 * - route never answers that a password is right: with `result_success = continue` that would let
 *   in any password;
 * - a name that routing refuses, or cannot decide now, reaches no other passdb: the request ends
 *   here. The client sees the same answer as for a wrong password, or a temporary failure;
 * - names change in the main process, before Dovecot's cache is asked for the next passdb. */
#include "compat.h"

#include <passdb-blocking.h>
#include <password-scheme.h>
#include <safe-memset.h>

#include "module.h"
#include "question.h"
#include "router/credentials.h"
#include "router/route.h"
#include "settings.h"
#include "sources.h"

struct homing_passdb {
	struct passdb_module module;
	enum homing_mode mode;
	struct source *names, *credentials; /* credentials: accounts alone */
};

static struct homing_passdb *passdb_of(struct auth_request *request)
{
	return container_of(request->passdb->passdb, struct homing_passdb, module);
}

static struct passdb_module *create_passdb(pool_t pool, const char *args, struct event *event,
					   const char **error_r)
{
	struct homing_settings settings;

	if (!homing_settings_read(pool, args, event, &settings, error_r))
		return NULL;
	struct homing_passdb *passdb = p_new(pool, struct homing_passdb, 1);
	passdb->mode = settings.mode;
	passdb->names = homing_source_names(settings.directory);
	if (settings.mode == HOMING_ACCOUNTS)
		passdb->credentials = homing_source_credentials(settings.directory);
	return &passdb->module;
}

COMPAT_PREINIT(passdb, create_passdb)

/* Whatever the configuration says: names change in the main process. Nothing of ours is cached, so
 * that a change counts at once: there is no default_cache_key. */
static void passdb_init_module(struct passdb_module *module)
{
	module->blocking = FALSE;
}

/* While a master user logs in for somebody, `user` is the master, whom we do not know. */
static bool is_master(const struct auth_request *request)
{
	return request->fields.requested_login_user != NULL;
}

static void log_refusal(struct auth_request *request, const char *reason)
{
	e_info(authdb_event(request), "unknown user: %s", reason);
}

/* Route */

static bool route_name(struct homing_passdb *passdb, struct auth_request *request,
		       enum passdb_result *result_r)
{
	const char *account, *reason;

	switch (homing_ask(passdb->names, request, &account, &reason)) {
	case ROUTED_ACCOUNT:
	case ROUTED_EXTERNAL:
		homing_set_user(request, account);
		if (compat_set_passdb_fields(request))
			return TRUE;
		*result_r = PASSDB_RESULT_INTERNAL_FAILURE;
		return FALSE;
	case ROUTED_REFUSED:
		log_refusal(request, reason);
		compat_keep_fields_of_refusal(request);
		*result_r = PASSDB_RESULT_USER_UNKNOWN;
		return FALSE;
	case ROUTED_FAILED:
		*result_r = PASSDB_RESULT_INTERNAL_FAILURE;
		return FALSE;
	}
	i_unreached();
}

/* The accounts block behind this one, if there is one. */
static const struct auth_passdb *find_accounts_behind(const struct auth_request *request)
{
	const struct auth_passdb *next = request->passdb->next;

	for (; next != NULL; next = next->next) {
		if (strcmp(next->passdb->iface.name, homing_passdb_interface.name) != 0)
			continue;
		const struct homing_passdb *ours =
			container_of(next->passdb, struct homing_passdb, module);
		if (ours->mode == HOMING_ACCOUNTS)
			return next;
	}
	return NULL;
}

/* Ends a refused login: where the accounts are ours, after as long as for one that exists. */
static void refuse_verify_plain(struct auth_request *request)
{
	const struct auth_passdb *accounts = passdb_of(request)->mode == HOMING_ACCOUNTS
						     ? request->passdb
						     : find_accounts_behind(request);

	if (accounts != NULL)
		compat_verify_in_worker_and_refuse(request, accounts->passdb->id);
	else
		compat_end_verify_plain(request, PASSDB_RESULT_USER_UNKNOWN);
}

static void route_verify_plain(struct homing_passdb *passdb, struct auth_request *request,
			       verify_plain_callback_t *callback)
{
	enum passdb_result result;

	if (is_master(request) || route_name(passdb, request, &result))
		callback(PASSDB_RESULT_NEXT, request);
	else if (result == PASSDB_RESULT_USER_UNKNOWN)
		refuse_verify_plain(request);
	else
		compat_end_verify_plain(request, result);
}

static void route_lookup_credentials(struct homing_passdb *passdb, struct auth_request *request,
				     lookup_credentials_callback_t *callback)
{
	enum passdb_result result;

	if (is_master(request) || route_name(passdb, request, &result))
		passdb_handle_credentials(PASSDB_RESULT_NEXT, NULL, NULL, callback, request);
	else
		compat_end_lookup_credentials(request, result);
}

/* Accounts, in a worker: hashing takes a tenth of a second, and the main process has others to
 * answer. The name is canonical by now where there is an account. */

/* The stored hash of an account: 1, 0 there is none, -1 failed and logged. On the data stack. */
static int find_credential(struct homing_passdb *passdb, struct auth_request *request,
			   const char *local, const char *domain, const char **credential_r)
{
	char credential[CREDENTIAL_SIZE];
	struct error error = {0};
	int found = -1;

	if (homing_source_ready(passdb->credentials, &error) == 0 &&
	    directory_begin(passdb->credentials->reader, &error) == 0) {
		found = credential_lookup(passdb->credentials->reader, local, domain, credential, &error);
		directory_end(passdb->credentials->reader);
	}
	if (found < 0)
		homing_source_failed(passdb->credentials, authdb_event(request), &error);
	else if (found > 0)
		*credential_r = t_strdup(credential);
	safe_memset(credential, 0, sizeof(credential));
	return found;
}

/* Routes, and finds the account's hash: 1 with the hash, 0 there is none, -1 failed. */
static int find_account(struct homing_passdb *passdb, struct auth_request *request,
			enum routed *routed_r, const char **credential_r, const char **reason_r)
{
	struct source *names = passdb->names;
	struct route_answer answer = {0};
	struct error error = {0};

	*routed_r = ROUTED_FAILED;
	if (homing_source_ready(names, &error) < 0 || directory_begin(names->reader, &error) < 0) {
		homing_source_failed(names, authdb_event(request), &error);
		return -1;
	}
	*routed_r = homing_ask_within(names, request, &answer, reason_r);
	directory_end(names->reader);
	int found = *routed_r == ROUTED_FAILED ? -1 : 0;
	if (*routed_r == ROUTED_ACCOUNT)
		found = find_credential(passdb, request, answer.local, answer.domain, credential_r);
	route_answer_finish(&answer);
	return found;
}

/* For a userdb prefetch behind: what the userdb of ours would answer. */
static bool has_prefetch(struct auth_request *request)
{
	const struct auth_userdb *userdb = auth_request_get_auth(request)->userdbs;

	for (; userdb != NULL; userdb = userdb->next) {
		if (strcmp(userdb->userdb->iface->name, "prefetch") == 0)
			return TRUE;
	}
	return FALSE;
}

static void accounts_verify_in_worker(struct homing_passdb *passdb, struct auth_request *request,
				      const char *password, verify_plain_callback_t *callback)
{
	const char *credential, *reason;
	enum routed routed;
	enum passdb_result result = PASSDB_RESULT_INTERNAL_FAILURE;
	int found = find_account(passdb, request, &routed, &credential, &reason);

	if (found > 0) {
		result = compat_verify_password(request, password, credential, TRUE);
		if (result == PASSDB_RESULT_OK && has_prefetch(request) &&
		    homing_userdb_prefetch(passdb->names, request) < 0)
			result = PASSDB_RESULT_INTERNAL_FAILURE;
		if (result == PASSDB_RESULT_OK && !compat_set_passdb_fields(request))
			result = PASSDB_RESULT_INTERNAL_FAILURE;
	} else if (found == 0) {
		/* As long as for an account: no stranger shall learn who has one. */
		(void)compat_verify_password(request, password, CREDENTIAL_DECOY, FALSE);
		if (routed == ROUTED_ACCOUNT)
			log_refusal(request, "the account has no password in the directory");
		result = PASSDB_RESULT_USER_UNKNOWN;
	}
	callback(result, request);
}

/* Accounts, in the main process. */

static void accounts_verify_plain(struct homing_passdb *passdb, struct auth_request *request,
				  verify_plain_callback_t *callback)
{
	const char *account, *reason;

	switch (homing_ask(passdb->names, request, &account, &reason)) {
	case ROUTED_ACCOUNT:
		homing_set_user(request, account);
		passdb_blocking_verify_plain(request);
		return;
	case ROUTED_EXTERNAL:
		homing_set_user(request, account);
		if (request->passdb->next != NULL)
			callback(PASSDB_RESULT_USER_UNKNOWN, request);
		else
			passdb_blocking_verify_plain(request);
		return;
	case ROUTED_REFUSED:
		log_refusal(request, reason);
		compat_drop_fields_of_refusal(request);
		refuse_verify_plain(request);
		return;
	case ROUTED_FAILED:
		compat_end_verify_plain(request, PASSDB_RESULT_INTERNAL_FAILURE);
		return;
	}
	i_unreached();
}

/* The stored hash itself, for CRAM-MD5, SCRAM-SHA-256 and whoever looks a user up. */
static void accounts_lookup_credentials(struct homing_passdb *passdb, struct auth_request *request,
					lookup_credentials_callback_t *callback)
{
	const char *reason, *credential = NULL, *scheme = NULL;
	enum routed routed;
	enum passdb_result result = PASSDB_RESULT_USER_UNKNOWN;
	const char *account;

	/* the name first, for the cache of what follows */
	routed = homing_ask(passdb->names, request, &account, &reason);
	if (routed == ROUTED_FAILED) {
		compat_end_lookup_credentials(request, PASSDB_RESULT_INTERNAL_FAILURE);
		return;
	}
	if (routed == ROUTED_REFUSED) {
		log_refusal(request, reason);
		compat_drop_fields_of_refusal(request);
		compat_end_lookup_credentials(request, PASSDB_RESULT_USER_UNKNOWN);
		return;
	}
	homing_set_user(request, account);
	int found = find_account(passdb, request, &routed, &credential, &reason);
	if (found > 0) {
		credential = p_strdup(request->pool, credential);
		scheme = password_get_scheme(&credential);
		result = PASSDB_RESULT_OK;
		if (scheme == NULL || !compat_set_passdb_fields(request))
			result = PASSDB_RESULT_INTERNAL_FAILURE;
	} else if (found < 0) {
		result = PASSDB_RESULT_INTERNAL_FAILURE;
	} else if (routed == ROUTED_ACCOUNT) {
		log_refusal(request, "the account has no password in the directory");
	}
	passdb_handle_credentials(result, credential, scheme, callback, request);
}

/* What Dovecot calls. */

static void homing_verify_plain(struct auth_request *request, const char *password,
				verify_plain_callback_t *callback)
{
	struct homing_passdb *passdb = passdb_of(request);

	if (passdb->mode == HOMING_ROUTE)
		route_verify_plain(passdb, request, callback);
	else if (is_master(request))
		callback(PASSDB_RESULT_USER_UNKNOWN, request);
	else if (worker)
		accounts_verify_in_worker(passdb, request, password, callback);
	else
		accounts_verify_plain(passdb, request, callback);
}

static void homing_lookup_credentials(struct auth_request *request,
				      lookup_credentials_callback_t *callback)
{
	struct homing_passdb *passdb = passdb_of(request);

	if (passdb->mode == HOMING_ROUTE)
		route_lookup_credentials(passdb, request, callback);
	else if (is_master(request))
		passdb_handle_credentials(PASSDB_RESULT_USER_UNKNOWN, NULL, NULL, callback, request);
	else
		accounts_lookup_credentials(passdb, request, callback);
}

struct passdb_module_interface homing_passdb_interface = {
	.name = "homing",
	.preinit = passdb_preinit_compat,
	.init = passdb_init_module,
	.verify_plain = homing_verify_plain,
	.lookup_credentials = homing_lookup_credentials,
};
