/* What differs between the versions of Dovecot, and nothing else. Sources of the plugin include
 * this first; it includes Dovecot's headers in the order that they want.
 *
 * meson probes each interface and defines (none of them is a version number):
 *
 * DOVECOT_SETTINGS        settings_get() and settings structs (2.4); else `plugin {}` (2.3)
 * DOVECOT_ACL_REGISTER    acl_backend_register() and `acl_driver` (2.4); else the table of functions
 *                         of the one backend there is, vfile, is exported and can be written (2.3)
 * DOVECOT_ACL_GLOBAL_PATH the setting acl_global_path (2.4.0 to 2.4.2)
 */
#ifndef HOMING_COMPAT_H
#define HOMING_COMPAT_H

#include <config.h>
#include <lib.h>
#include <array.h>
#include <ioloop.h>
#include <str.h>
#include <mail-namespace.h>
#include <mail-storage-hooks.h>
#include <mail-storage-private.h>
#include <mail-user.h>
#include <mailbox-list-private.h>
#include <module-context.h>
#include <acl-api-private.h>
#include <acl-cache.h>
#include <acl-plugin.h>
#include <acl-storage.h>

/* What imap_homing_acl, an object of its own, finds in this one. */
#define HOMING_EXPORT __attribute__((visibility("default")))

struct homing_settings;

/* The administrator's settings, on the user's pool. 1; 0 the user has no ACLs; -1 *error_r. */
int compat_settings_read(struct mail_user *user, struct homing_settings *settings_r,
			 const char **error_r);

/* The functions of a backend, without the ones that differ from version to version. */
struct compat_backend {
	void (*deinit)(struct acl_backend *backend);
	struct acl_mailbox_list_context *(*nonowner_init)(struct acl_backend *backend);
	bool (*nonowner_next)(struct acl_mailbox_list_context *context, const char **name_r);
	int (*nonowner_deinit)(struct acl_mailbox_list_context *context);
	int (*nonowner_rebuild)(struct acl_backend *backend);
	struct acl_object *(*object_init)(struct acl_backend *backend, const char *name);
	struct acl_object *(*object_init_parent)(struct acl_backend *backend,
						 const char *child_name);
	void (*object_deinit)(struct acl_object *object);
	int (*object_refresh)(struct acl_object *object);
	int (*object_update)(struct acl_object *object, const struct acl_rights_update *update);
	int (*last_changed)(struct acl_object *object, time_t *last_changed_r);
	struct acl_object_list_iter *(*list_init)(struct acl_object *object);
	bool (*list_next)(struct acl_object_list_iter *iterator, struct acl_rights *rights_r);
	int (*list_deinit)(struct acl_object_list_iter *iterator);
	/* bytes that the backend keeps with each name in acl's cache */
	size_t validity_size;
};

/* Makes it the backend that is called `homing` (2.4), or that serves users of this plugin in place
 * of vfile (2.3). Once in a process. */
void compat_backend_register(const struct compat_backend *functions);
void compat_backend_unregister(void);
/* Is this backend ours? */
bool compat_backend_is_ours(const struct acl_backend *backend);

#endif
