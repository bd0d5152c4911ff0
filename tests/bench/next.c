/* A passdb that answers NEXT and does nothing else: the least that a block in front can cost. */
#include "auth-module/compat.h"

#define EXPORT __attribute__((visibility("default")))

struct module;

extern EXPORT const char *authdb_next_version;
EXPORT void authdb_next_init(struct module *module);
EXPORT void authdb_next_deinit(void);

const char *authdb_next_version = DOVECOT_ABI_VERSION;

static struct passdb_module *create(pool_t pool, const char *args ATTR_UNUSED,
				    struct event *event ATTR_UNUSED, const char **error_r)
{
	*error_r = "";
	return p_new(pool, struct passdb_module, 1);
}

COMPAT_PREINIT(passdb, create)

static void verify_plain(struct auth_request *request, const char *password ATTR_UNUSED,
			 verify_plain_callback_t *callback)
{
	callback(PASSDB_RESULT_NEXT, request);
}

static void lookup_credentials(struct auth_request *request,
			       lookup_credentials_callback_t *callback)
{
	passdb_handle_credentials(PASSDB_RESULT_NEXT, NULL, NULL, callback, request);
}

static struct passdb_module_interface interface = {
	.name = "next",
	.preinit = passdb_preinit_compat,
	.verify_plain = verify_plain,
	.lookup_credentials = lookup_credentials,
};

void authdb_next_init(struct module *module ATTR_UNUSED)
{
	passdb_register_module(&interface);
}

void authdb_next_deinit(void)
{
	passdb_unregister_module(&interface);
}
