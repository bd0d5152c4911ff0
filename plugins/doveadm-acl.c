/* The doveadm plugin doveadm_homing_acl: `doveadm acl get` and `doveadm acl debug`.
 *
 * doveadm_acl's own would do for mailboxes of other backends, and are called for them. For ours, `get -m`
 * knows of no group or domain that the directory has, and `debug` looks for mailboxes of others in
 * files that we do not have. Only what they run is exchanged; their arguments stay.
 *
 * doveadm loads all modules of its folder, and passes over those that find no symbols: this one, where
 * homing_acl is no mail plugin. */
#include "compat.h"

#include <doveadm.h>
#include <doveadm-cmd.h>
#include <doveadm-mail.h>
#include <doveadm-print.h>

#include "backend.h"
#include "explain.h"

HOMING_EXPORT void doveadm_homing_acl_plugin_init(struct module *module);
HOMING_EXPORT void doveadm_homing_acl_plugin_deinit(void);
extern HOMING_EXPORT const char *doveadm_homing_acl_plugin_version;

const char *doveadm_homing_acl_plugin_version = DOVECOT_ABI_VERSION;

typedef struct doveadm_mail_cmd_context *alloc_func_t(void);
typedef int run_func_t(struct doveadm_mail_cmd_context *ctx, struct mail_user *user);

static alloc_func_t *acl_get_alloc, *acl_debug_alloc;
static run_func_t *acl_get_run, *acl_debug_run;

/* NULL: it is not ours, or there is none; doveadm_acl's command has the words for that. */
static struct mailbox *open_ours(struct doveadm_mail_cmd_context *ctx, struct mail_user *user)
{
	const char *name;

	if (!doveadm_cmd_param_str(ctx->cctx, "mailbox", &name))
		return NULL;
	struct mail_namespace *ns = mail_namespace_find(user->namespaces, name);
	if (homing_backend_of(ns->list) == NULL)
		return NULL;
	struct mailbox *box = mailbox_alloc(ns->list, name,
					    MAILBOX_FLAG_READONLY | MAILBOX_FLAG_IGNORE_ACLS);
	if (homing_backend_of(box->list) == NULL || mailbox_open(box) < 0)
		mailbox_free(&box);
	return box;
}

static void print_rights(const struct acl_rights *rights, bool whole_account,
			 void *context ATTR_UNUSED)
{
	const char *text = "";

	if (rights->rights != NULL)
		text = t_strarray_join(rights->rights, " ");
	if (rights->neg_rights != NULL && rights->neg_rights[0] != NULL) {
		text = t_strconcat(text, text[0] == '\0' ? "-" : " -",
				   t_strarray_join(rights->neg_rights, " -"), NULL);
	}
	doveadm_print(acl_rights_get_id(rights));
	doveadm_print(whole_account ? "account" : "");
	doveadm_print(text);
}

static int run_get(struct doveadm_mail_cmd_context *ctx, struct mail_user *user)
{
	struct mailbox *box = open_ours(ctx, user);
	bool mine = FALSE;

	if (box == NULL)
		return acl_get_run(ctx, user);
	(void)doveadm_cmd_param_bool(ctx->cctx, "match-me", &mine);
	int ret = homing_acl_each(box, mine, print_rights, NULL);
	if (ret < 0)
		doveadm_mail_failed_error(ctx, MAIL_ERROR_TEMP);
	mailbox_free(&box);
	return ret;
}

static void say(struct mailbox *box, const struct homing_explained *explained)
{
	struct mail_user *user = box->storage->user;
	struct event *event = user->event;
	const char *path;

	e_info(event, "Mailbox '%s' belongs to %s", box->vname, explained->owner);
	if (mailbox_get_path_to(box, MAILBOX_LIST_PATH_TYPE_MAILBOX, &path) > 0)
		e_info(event, "Mailbox path: %s", path);
	if (explained->rights[0] == NULL)
		e_info(event, "User %s has no rights for mailbox", user->username);
	else
		e_info(event, "User %s has rights: %s", user->username,
		       t_strarray_join(explained->rights, " "));
	for (const char *const *why = explained->why; *why != NULL; why++)
		e_info(event, "  because %s", *why);
	e_info(event, "Mailbox %s is %s in LIST", box->vname,
	       explained->listed ? "visible" : "NOT visible");
}

static int run_debug(struct doveadm_mail_cmd_context *ctx, struct mail_user *user)
{
	struct mailbox *box = open_ours(ctx, user);
	struct homing_explained explained;

	if (box == NULL)
		return acl_debug_run(ctx, user);
	int ret = homing_explain(box, &explained);
	if (ret < 0)
		doveadm_mail_failed_error(ctx, MAIL_ERROR_TEMP);
	else
		say(box, &explained);
	mailbox_free(&box);
	return ret;
}

static struct doveadm_mail_cmd_context *alloc_get(void)
{
	struct doveadm_mail_cmd_context *ctx = acl_get_alloc();

	acl_get_run = ctx->v.run;
	ctx->v.run = run_get;
	return ctx;
}

static struct doveadm_mail_cmd_context *alloc_debug(void)
{
	struct doveadm_mail_cmd_context *ctx = acl_debug_alloc();

	acl_debug_run = ctx->v.run;
	ctx->v.run = run_debug;
	return ctx;
}

static void take_over(struct doveadm_cmd_ver2 *command, const char *name, alloc_func_t *ours,
		      alloc_func_t **theirs)
{
	if (strcmp(command->name, name) != 0)
		return;
	*theirs = command->mail_cmd;
	command->mail_cmd = ours;
}

void doveadm_homing_acl_plugin_init(struct module *module ATTR_UNUSED)
{
	struct doveadm_cmd_ver2 *command;

	array_foreach_modifiable(&doveadm_cmds_ver2, command) {
		take_over(command, "acl get", alloc_get, &acl_get_alloc);
		take_over(command, "acl debug", alloc_debug, &acl_debug_alloc);
	}
}

void doveadm_homing_acl_plugin_deinit(void)
{
}
