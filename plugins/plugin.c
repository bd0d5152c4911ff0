/* The mail plugin homing_acl: shared mailboxes. */
#include "compat.h"

#include "backend.h"
#include "listing.h"
#include "mail.h"
#include "mailbox.h"
#include "session.h"

HOMING_EXPORT void homing_acl_plugin_init(struct module *module);
HOMING_EXPORT void homing_acl_plugin_deinit(void);
extern HOMING_EXPORT const char *homing_acl_plugin_version;
extern HOMING_EXPORT const char *homing_acl_plugin_dependencies[];

const char *homing_acl_plugin_version = DOVECOT_ABI_VERSION;
const char *homing_acl_plugin_dependencies[] = {"acl", NULL};

static struct mail_storage_hooks hooks = {
	.mail_user_created = homing_session_created,
	.mailbox_list_created = homing_listing_created,
	.mailbox_allocated = homing_mailbox_allocated,
	.mail_allocated = homing_mail_allocated,
};

void homing_acl_plugin_init(struct module *module)
{
	homing_backend_register();
	mail_storage_hooks_add(module, &hooks);
}

void homing_acl_plugin_deinit(void)
{
	mail_storage_hooks_remove(&hooks);
	homing_backend_unregister();
}
