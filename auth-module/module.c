/* libauthdb_homing.so: what Dovecot's auth process loads for `driver = homing`. */
#include "compat.h"

#include "module.h"
#include "sources.h"

#define EXPORT __attribute__((visibility("default")))

struct module;

extern EXPORT const char *authdb_homing_version;
EXPORT void authdb_homing_init(struct module *module);
EXPORT void authdb_homing_deinit(void);

const char *authdb_homing_version = DOVECOT_ABI_VERSION;

void authdb_homing_init(struct module *module ATTR_UNUSED)
{
	passdb_register_module(&homing_passdb_interface);
	userdb_register_module(&homing_userdb_interface);
}

void authdb_homing_deinit(void)
{
	passdb_unregister_module(&homing_passdb_interface);
	userdb_unregister_module(&homing_userdb_interface);
	homing_sources_deinit();
}
