/* What differs between the versions of Dovecot. */
#include "compat.h"

#include "session.h"
#include "settings.h"

#ifdef DOVECOT_SETTINGS
#include <settings.h>
#include <acl-settings.h>
#include "settings-definition.h"

/* Of a master user who logged in as another. The default of acl_user is %{master_user}, which is empty
 * in mail processes of 2.4: auth calls the field `master_user`, and they look for `master`. */
static const char *master_user(const struct mail_user *user)
{
	static const char name[] = "master_user=";

	for (const char *const *field = user->userdb_fields; field != NULL && *field != NULL; field++) {
		if (strncmp(*field, name, strlen(name)) == 0)
			return p_strdup(user->pool, *field + strlen(name));
	}
	return NULL;
}

int compat_settings_read(struct mail_user *user, struct homing_settings *settings_r,
			 const char **error_r)
{
	const struct homing_acl_settings *ours;
	const struct acl_settings *acl;

	if (ACL_USER_CONTEXT(user) == NULL)
		return 0;
	if (settings_get(user->event, &homing_acl_setting_parser_info, 0, &ours, error_r) < 0)
		return -1;
	settings_r->directory = p_strdup(user->pool, ours->homing_directory);
	settings_r->allow_anyone = ours->homing_allow_anyone;
	settings_free(ours);
	if (settings_get(user->event, &acl_setting_parser_info, 0, &acl, error_r) < 0)
		return -1;
	settings_r->acl_user = acl->acl_user[0] == '\0' ? master_user(user)
							: p_strdup(user->pool, acl->acl_user);
	settings_free(acl);
	return 1;
}
#else
int compat_settings_read(struct mail_user *user, struct homing_settings *settings_r,
			 const char **error_r ATTR_UNUSED)
{
	struct acl_user *acl = ACL_USER_CONTEXT(user);

	if (acl == NULL)
		return 0;
	settings_r->directory = mail_user_plugin_getenv(user, "homing_directory");
	if (settings_r->directory == NULL)
		settings_r->directory = HOMING_DIRECTORY;
	settings_r->allow_anyone = mail_user_plugin_getenv_bool(user, "homing_allow_anyone");
	settings_r->acl_user = acl->acl_user;
	return 1;
}
#endif

static const struct compat_backend *ours;

#ifdef DOVECOT_ACL_REGISTER
static struct acl_backend *backend_alloc(void)
{
	pool_t pool = pool_alloconly_create("homing acl backend", 512);
	struct acl_backend *backend = p_new(pool, struct acl_backend, 1);

	backend->pool = pool;
	return backend;
}

/* Whoever asks for ACLs from elsewhere must not believe that they count. */
static const char *unknown_source(const struct acl_settings *set)
{
#ifdef DOVECOT_ACL_GLOBAL_PATH
	if (set->acl_global_path[0] != '\0')
		return "acl_global_path";
#endif
	if (set->acl_globals_only)
		return "acl_globals_only";
	if (array_is_created(&set->acl_rights) && array_count(&set->acl_rights) > 0)
		return "acl { rights }";
	return NULL;
}

static int backend_init(struct acl_backend *backend, const char **error_r)
{
	const char *source = unknown_source(backend->set);

	backend->cache = acl_cache_init(backend, ours->validity_size);
	if (source == NULL)
		return 0;
	*error_r = t_strdup_printf("%s is set, and the driver homing does not read it: grant these "
				   "rights with homingctl share grant, and remove the setting", source);
	return -1;
}

static struct acl_backend_vfuncs table = {
	.name = "homing",
	.alloc = backend_alloc,
	.init = backend_init,
};
#else
/* The exported functions of the vfile backend, as they were before ours took their place. */
extern struct acl_backend_vfuncs acl_backend_vfile;
static struct acl_backend_vfuncs vfile;

/* A user for whom this plugin is not turned on, in a process that has it for another, gets vfile,
 * whose struct is larger. */
static struct acl_backend *backend_alloc(void)
{
	return vfile.alloc();
}

static int backend_init(struct acl_backend *backend, const char *data)
{
	struct mail_user *user = mailbox_list_get_user(backend->list);

	if (homing_session_of(user) == NULL) {
		backend->v = vfile;
		return vfile.init(backend, data);
	}
	backend->cache = acl_cache_init(backend, ours->validity_size);
	if ((data[0] == '\0' || data[0] == ':') && !backend->globals_only)
		return 0;
	e_error(user->event, "homing: `acl = vfile:%s`%s names global ACL files, which homing_acl does "
		"not read: grant these rights with homingctl share grant, and set `acl = vfile`",
		data, backend->globals_only ? " with acl_globals_only" : "");
	return -1;
}

static struct acl_backend_vfuncs table = {
	.alloc = backend_alloc,
	.init = backend_init,
};
#endif

void compat_backend_register(const struct compat_backend *functions)
{
	ours = functions;
	table.deinit = ours->deinit;
	table.nonowner_lookups_iter_init = ours->nonowner_init;
	table.nonowner_lookups_iter_next = ours->nonowner_next;
	table.nonowner_lookups_iter_deinit = ours->nonowner_deinit;
	table.nonowner_lookups_rebuild = ours->nonowner_rebuild;
	table.object_init = ours->object_init;
	table.object_init_parent = ours->object_init_parent;
	table.object_deinit = ours->object_deinit;
	table.object_refresh_cache = ours->object_refresh;
	table.object_update = ours->object_update;
	table.last_changed = ours->last_changed;
	table.object_list_init = ours->list_init;
	table.object_list_next = ours->list_next;
	table.object_list_deinit = ours->list_deinit;
#ifdef DOVECOT_ACL_REGISTER
	acl_backend_register(&table);
#else
	vfile = acl_backend_vfile;
	acl_backend_vfile = table;
#endif
}

void compat_backend_unregister(void)
{
#ifdef DOVECOT_ACL_REGISTER
	acl_backend_unregister(table.name);
#else
	acl_backend_vfile = vfile;
#endif
}

bool compat_backend_is_ours(const struct acl_backend *backend)
{
#ifdef DOVECOT_ACL_REGISTER
	return backend->v == &table;
#else
	return backend->v.object_update == table.object_update;
#endif
}
