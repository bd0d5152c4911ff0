/* What differs between the versions of Dovecot, and nothing else. Sources of the module include
 * this first; it includes Dovecot's headers in the order that they want.
 *
 * meson probes each interface and defines (none of them is a version number):
 *
 * DOVECOT_SETTINGS           settings_get() and settings structs (2.4); else `args` (2.3)
 * DOVECOT_PREINIT_ARGS       preinit(pool, args) (2.3)
 * DOVECOT_PREINIT_EVENT      preinit(pool, event, ...) (2.4.0 to 2.4.2)
 * DOVECOT_PREINIT_PARAMETERS preinit(pool, event, parameters, ...) (2.4.3 and later)
 * DOVECOT_PROTOCOL_FIELD     fields.protocol (2.4); else fields.service (2.3)
 * DOVECOT_POST_FIELDS        `fields {}` of a block are set by the driver (2.4)
 * DOVECOT_DB_PASSWORD_VERIFY auth_request_db_password_verify_log() (2.4)
 * DOVECOT_CREDENTIALS_SCHEME a credentials callback is told the scheme (after 2.4.4)
 * DOVECOT_WORKER_ARGS        a worker's reply comes split (2.4)
 */
#ifndef HOMING_COMPAT_H
#define HOMING_COMPAT_H

#include <config.h>
#include <lib.h>

/* The cache of Dovecot looks names up by translated_username, which is const for most of its own
 * code; a driver that rewrites names must rewrite this one too. */
#define AUTH_REQUEST_FIELDS_CONST
#include <array.h>
#include <ioloop.h>
#include <net.h>
#include <str.h>
#include <auth-common.h>
#include <auth-request.h>
#include <auth.h>
#include <passdb.h>
#include <userdb.h>

/* "imap", "lmtp", "doveadm"... never NULL. */
const char *compat_protocol(const struct auth_request *request);

/* The administrator's `fields {}` of the block, where that is the driver's to do. FALSE: failed,
 * and it is logged. */
bool compat_set_passdb_fields(struct auth_request *request);
bool compat_set_userdb_fields(struct auth_request *request);

/* The administrator's fields in a refusal of ours: those of a block that hands names on, as they
 * stay in the refusal of a wrong password by the passdb behind it; none of a block that verifies
 * passwords, as none stay of one that found a wrong password. Else the fields, or the time where
 * `nodelay` is one, would tell a stranger which accounts exist. */
void compat_keep_fields_of_refusal(struct auth_request *request);
void compat_drop_fields_of_refusal(struct auth_request *request);

/* Verifies a password against `{SCHEME}hash`. A wrong one is logged if `log` says so. */
enum passdb_result compat_verify_password(struct auth_request *request, const char *password,
					  const char *credential, bool log);

/* End the lookup with this result, for the request as a whole: no further passdb or userdb is
 * asked, whatever the result_* settings say. For the main process; in a worker there is a
 * callback to answer to. */
void compat_end_verify_plain(struct auth_request *request, enum passdb_result result);
void compat_end_lookup_credentials(struct auth_request *request, enum passdb_result result);
void compat_end_userdb_lookup(struct auth_request *request, enum userdb_result result);

/* Has a worker verify the password with the passdb of that number, as passdb_blocking_verify_plain()
 * does, but whatever it answers the request ends with `unknown user`. */
void compat_verify_in_worker_and_refuse(struct auth_request *request, unsigned int passdb_id);

/* preinit() of a driver as each version wants it, around one function that does the same:
 * COMPAT_PREINIT(passdb, create) defines passdb_preinit_compat(), which calls
 * `struct passdb_module *create(pool_t pool, const char *args, struct event *event,
 * const char **error_r)`; `args` is NULL in 2.4, `event` in 2.3. */
#if defined(DOVECOT_PREINIT_ARGS)
#define COMPAT_PREINIT(type, create)                                                               \
	static struct type##_module *type##_preinit_compat(pool_t pool, const char *args)          \
	{                                                                                          \
		const char *error;                                                                 \
		struct type##_module *module = create(pool, args, NULL, &error);                   \
		if (module == NULL)                                                                \
			i_fatal(#type " homing: %s", error);                                       \
		return module;                                                                     \
	}
#else
#if defined(DOVECOT_PREINIT_PARAMETERS)
#define COMPAT_PREINIT_PARAMETERS(type) const struct type##_parameters *parameters ATTR_UNUSED,
#else
#define COMPAT_PREINIT_PARAMETERS(type)
#endif
#define COMPAT_PREINIT(type, create)                                                               \
	static int type##_preinit_compat(pool_t pool, struct event *event,                         \
					 COMPAT_PREINIT_PARAMETERS(type) struct type##_module **   \
						 module_r,                                         \
					 const char **error_r)                                     \
	{                                                                                          \
		*module_r = create(pool, NULL, event, error_r);                                    \
		return *module_r == NULL ? -1 : 0;                                                 \
	}
#endif

#endif
