/* What differs between the versions of Dovecot. */
#include "compat.h"

#ifdef DOVECOT_WORKER_ARGS
#include <auth-worker-connection.h>
#else
#include <auth-worker-server.h>
#endif
#ifndef DOVECOT_POST_FIELDS
#include <passdb-template.h>
#endif
#include <password-scheme.h>
#include <strescape.h>

const char *compat_protocol(const struct auth_request *request)
{
#ifdef DOVECOT_PROTOCOL_FIELD
	const char *name = request->fields.protocol;
#else
	const char *name = request->fields.service;
#endif
	return name == NULL ? "" : name;
}

#ifdef DOVECOT_POST_FIELDS
/* Setting them asks for the settings again, which costs more than all that we do: only where the
 * block has some. */
static bool has_fields(const ARRAY_TYPE(const_string) *fields)
{
	return array_is_created(fields) && array_count(fields) > 0;
}

bool compat_set_passdb_fields(struct auth_request *request)
{
	return !has_fields(&request->passdb->unexpanded_post_set->fields) ||
	       auth_request_set_passdb_fields(request, NULL) == 0;
}

static void set_override_fields(struct auth_request *request)
{
	(void)compat_set_passdb_fields(request);
}

bool compat_set_userdb_fields(struct auth_request *request)
{
	return !has_fields(&request->userdb->unexpanded_post_set->fields) ||
	       auth_request_set_userdb_fields(request, NULL) == 0;
}
#else
bool compat_set_passdb_fields(struct auth_request *request ATTR_UNUSED)
{
	return TRUE;
}

/* Dovecot does it itself, but not where we end a request. */
static void set_override_fields(struct auth_request *request)
{
	const char *error;

	if (passdb_template_export(request->passdb->override_fields_tmpl, request, &error) < 0)
		e_error(authdb_event(request), "Failed to expand override_fields: %s", error);
}

bool compat_set_userdb_fields(struct auth_request *request ATTR_UNUSED)
{
	return TRUE;
}
#endif

void compat_keep_fields_of_refusal(struct auth_request *request)
{
	set_override_fields(request);
	auth_fields_remove(request->fields.extra_fields, "nopassword");
	auth_fields_remove(request->fields.extra_fields, "noauthenticate");
}

void compat_drop_fields_of_refusal(struct auth_request *request)
{
	auth_fields_rollback(request->fields.extra_fields);
	if (request->fields.userdb_reply != NULL)
		auth_fields_rollback(request->fields.userdb_reply);
}

enum passdb_result compat_verify_password(struct auth_request *request, const char *password,
					  const char *credential, bool log)
{
	const char *hash = credential;
	const char *scheme = password_get_scheme(&hash);

	if (scheme == NULL)
		return PASSDB_RESULT_INTERNAL_FAILURE;
#ifdef DOVECOT_DB_PASSWORD_VERIFY
	return auth_request_db_password_verify_log(request, password, hash, scheme, log);
#else
	return auth_request_password_verify_log(request, password, hash, scheme, AUTH_SUBSYS_DB,
						log) > 0
		       ? PASSDB_RESULT_OK
		       : PASSDB_RESULT_PASSWORD_MISMATCH;
#endif
}

/* The end of a passdb lookup, as auth_request_verify_plain_callback() and its like do it when
 * they go on to no other passdb. */
static void end_passdb_lookup(struct auth_request *request, enum passdb_result result)
{
	auth_request_set_state(request, AUTH_REQUEST_STATE_MECH_CONTINUE);
	auth_request_passdb_lookup_end(request, result);
	request->passdb_result = result;
}

void compat_end_verify_plain(struct auth_request *request, enum passdb_result result)
{
	end_passdb_lookup(request, result);
	auth_request_ref(request);
	request->private_callback.verify_plain(result, request);
	auth_request_unref(&request);
}

void compat_end_lookup_credentials(struct auth_request *request, enum passdb_result result)
{
	end_passdb_lookup(request, result);
	auth_request_ref(request);
#ifdef DOVECOT_CREDENTIALS_SCHEME
	request->private_callback.lookup_credentials(result, uchar_empty_ptr, 0, NULL, request);
#else
	request->private_callback.lookup_credentials(result, uchar_empty_ptr, 0, request);
#endif
	auth_request_unref(&request);
}

void compat_end_userdb_lookup(struct auth_request *request, enum userdb_result result)
{
	auth_request_userdb_lookup_end(request, result);
	auth_request_ref(request);
	request->private_callback.userdb(result, request);
	auth_request_unref(&request);
}

#ifdef DOVECOT_WORKER_ARGS
static bool refuse_callback(struct auth_worker_connection *conn ATTR_UNUSED,
			    const char *const *reply ATTR_UNUSED, void *context)
#else
static bool refuse_callback(struct auth_worker_connection *conn ATTR_UNUSED,
			    const char *reply ATTR_UNUSED, void *context)
#endif
{
	struct auth_request *request = context;

	compat_end_verify_plain(request, PASSDB_RESULT_USER_UNKNOWN);
	auth_request_unref(&request);
	return TRUE;
}

/* The same words to the worker as passdb_blocking_verify_plain() sends. */
void compat_verify_in_worker_and_refuse(struct auth_request *request, unsigned int passdb_id)
{
	string_t *line = t_str_new(256);

	str_printfa(line, "PASSV\t%u\t", passdb_id);
	str_append_tabescaped(line, request->mech_password);
	str_append_c(line, '\t');
	auth_request_export(request, line);
	auth_request_ref(request);
	auth_worker_call(request->pool, request->fields.user, str_c(line), refuse_callback, request);
}
