/* The IMAP plugin imap_homing_acl: SETACL and DELETEACL (RFC 4314) for mailboxes whose ACLs are ours.
 *
 * imap_acl would do, but it takes every identifier that it does not know for a user's name, tells its
 * client of any failure that there was an internal error, and allows `anyone` to all or nobody. So
 * these two commands are ours, with the words for who may not, or meant somebody who is not there;
 * for all other mailboxes the ones of imap_acl are called, which read the arguments again. */
#include "compat.h"

#include <imap-common.h>
#include <imap-commands.h>
#include <imap-resp-code.h>

#include "backend.h"
#include "change.h"
#include "router/rights.h"
#include "session.h"
#include "words.h"

HOMING_EXPORT void imap_homing_acl_plugin_init(struct module *module);
HOMING_EXPORT void imap_homing_acl_plugin_deinit(void);
extern HOMING_EXPORT const char *imap_homing_acl_plugin_version;
extern HOMING_EXPORT const char *imap_homing_acl_plugin_dependencies[];
extern HOMING_EXPORT const char imap_homing_acl_plugin_binary_dependency[];

const char *imap_homing_acl_plugin_version = DOVECOT_ABI_VERSION;
const char *imap_homing_acl_plugin_dependencies[] = {"homing_acl", "imap_acl", NULL};
const char imap_homing_acl_plugin_binary_dependency[] = "imap";

static command_func_t *imap_acl_setacl, *imap_acl_deleteacl;

/* One of the two commands, with its arguments. */
struct request {
	struct client_command_context *cmd;
	const char *mailbox;	/* as the client wrote it */
	const char *identifier; /* without a leading `-` */
	bool negative;
	struct mailbox *box;
	struct homing_change change;
};

static void no(struct request *request, const char *code, const char *why)
{
	why = homing_printable(why);
	client_send_tagline(request->cmd, code == NULL ? t_strdup_printf("NO %s", why)
						       : t_strdup_printf("NO [%s] %s", code, why));
}

/* Somebody who may not look a mailbox up learns nothing about it, not that it is there. */
static void no_such_mailbox(struct request *request)
{
	no(request, IMAP_RESP_CODE_NONEXISTENT,
	   t_strdup_printf(MAIL_ERRSTR_MAILBOX_NOT_FOUND, request->mailbox));
}

static bool may_administer(struct request *request)
{
	enum mailbox_existence existence = MAILBOX_EXISTENCE_NONE;
	struct mailbox *box = request->box;

	int administer = acl_mailbox_right_lookup(box, ACL_STORAGE_RIGHT_ADMIN);
	int see = acl_mailbox_right_lookup(box, ACL_STORAGE_RIGHT_LOOKUP);
	if (administer < 0 || see < 0) {
		client_send_internal_error(request->cmd);
		return FALSE;
	}
	/* without a look at the mailbox, which would take its time */
	if (administer == 0 && see == 0) {
		no_such_mailbox(request);
		return FALSE;
	}
	bool exists = mailbox_exists(box, TRUE, &existence) == 0 &&
		      existence == MAILBOX_EXISTENCE_SELECT;
	if (!exists)
		no_such_mailbox(request);
	else if (administer == 0)
		no(request, IMAP_RESP_CODE_NOPERM, "You may not change who has rights on this mailbox.");
	return exists && administer > 0;
}

/* The change is made; now for dsync. */
static void note(struct request *request, const struct acl_rights *who)
{
	bool gone = request->change.mode == GRANT_CLEAR ||
		    request->change.negative_mode == GRANT_CLEAR;
	struct acl_rights_update update = {
		.rights = *who,
		.modify_mode = gone ? ACL_MODIFY_MODE_CLEAR : ACL_MODIFY_MODE_REPLACE,
		.neg_modify_mode = gone ? ACL_MODIFY_MODE_CLEAR : ACL_MODIFY_MODE_REPLACE,
	};

	(void)homing_change_note(request->box, &update);
}

static void change(struct request *request, const char *done)
{
	struct acl_backend *backend = homing_backend_of(request->box->list);
	struct acl_rights who;
	const char *why;

	if (!may_administer(request))
		return;
	if (mailbox_open(request->box) < 0) {
		no(request, NULL, mailbox_get_last_error(request->box, NULL));
		return;
	}
	request->change.identifier = request->identifier;
	switch (homing_change(backend, mailbox_get_name(request->box), &request->change, &who, &why)) {
	case HOMING_CHANGED:
		note(request, &who);
		client_send_tagline(request->cmd, done);
		return;
	case HOMING_FORBIDDEN:
		no(request, IMAP_RESP_CODE_NOPERM, why);
		return;
	case HOMING_IMPOSSIBLE:
		no(request, IMAP_RESP_CODE_CANNOT, why);
		return;
	case HOMING_FAILED:
		client_send_internal_error(request->cmd);
		return;
	}
	i_unreached();
}

/* Does the mailbox's ACL belong to us? Then request->box is allocated. */
static bool is_ours(struct request *request, struct mail_namespace *ns, const char *vname)
{
	if (homing_backend_of(ns->list) == NULL)
		return FALSE;
	request->box = mailbox_alloc(ns->list, vname,
				     MAILBOX_FLAG_READONLY | MAILBOX_FLAG_IGNORE_ACLS);
	/* imap_acl can hand the command on to the server where such a mailbox really is */
	if (strcmp(request->box->storage->name, "imapc") != 0 &&
	    homing_backend_of(request->box->list) != NULL)
		return TRUE;
	mailbox_free(&request->box);
	return FALSE;
}

static bool has_session(const struct client_command_context *cmd)
{
	return homing_session_of(cmd->client->user) != NULL;
}

static void split_identifier(struct request *request, const char *identifier)
{
	request->negative = identifier[0] == '-';
	request->identifier = request->negative ? identifier + 1 : identifier;
}

static void set_mode(struct request *request, enum grant_change_mode mode, uint16_t rights)
{
	if (request->negative) {
		request->change.negative_mode = mode;
		request->change.negative = rights;
	} else {
		request->change.mode = mode;
		request->change.rights = rights;
		request->change.protects_owner = mode != GRANT_CLEAR;
	}
}

static enum grant_change_mode mode_of(const char **letters)
{
	switch (**letters) {
	case '+':
		(*letters)++;
		return GRANT_ADD;
	case '-':
		(*letters)++;
		return GRANT_REMOVE;
	default:
		return GRANT_REPLACE;
	}
}

/* Bad arguments are answered, and FALSE. */
static bool parse(struct request *request, const char *identifier, const char *letters)
{
	uint16_t rights = 0;

	split_identifier(request, identifier);
	if (request->identifier[0] == '\0') {
		client_send_command_error(request->cmd, "Invalid arguments: no identifier.");
		return FALSE;
	}
	if (letters == NULL) {
		set_mode(request, GRANT_CLEAR, 0);
		return TRUE;
	}
	enum grant_change_mode mode = mode_of(&letters);
	const char *why = rights_parse(letters, strlen(letters), &rights);
	if (why != NULL) {
		client_send_command_error(request->cmd,
					  t_strdup_printf("Invalid rights `%s`: %s",
							  homing_printable(letters), why));
		return FALSE;
	}
	set_mode(request, mode, rights);
	return TRUE;
}

/* With `letters` NULL it is DELETEACL. */
static bool run(struct client_command_context *cmd, const char *mailbox, const char *identifier,
		const char *letters, const char *done, command_func_t *imap_acl)
{
	struct request request = {.cmd = cmd, .mailbox = mailbox};
	const char *vname = mailbox;

	struct mail_namespace *ns = client_find_namespace(cmd, &vname);
	if (ns == NULL)
		return TRUE;
	if (!is_ours(&request, ns, vname))
		return imap_acl(cmd);
	if (parse(&request, identifier, letters))
		change(&request, done);
	mailbox_free(&request.box);
	return TRUE;
}

static bool cmd_setacl(struct client_command_context *cmd)
{
	const char *mailbox, *identifier, *letters;

	if (!has_session(cmd))
		return imap_acl_setacl(cmd);
	if (!client_read_string_args(cmd, 3, &mailbox, &identifier, &letters))
		return FALSE;
	return run(cmd, mailbox, identifier, letters, "OK Setacl complete.", imap_acl_setacl);
}

static bool cmd_deleteacl(struct client_command_context *cmd)
{
	const char *mailbox, *identifier;

	if (!has_session(cmd))
		return imap_acl_deleteacl(cmd);
	if (!client_read_string_args(cmd, 2, &mailbox, &identifier))
		return FALSE;
	return run(cmd, mailbox, identifier, NULL, "OK Deleteacl complete.", imap_acl_deleteacl);
}

/* imap_acl was loaded before us, as our dependency. */
static command_func_t *take_over(const char *name, command_func_t *ours)
{
	const struct command *command = command_find(name);

	i_assert(command != NULL);
	command_func_t *theirs = command->func;
	enum command_flags flags = command->flags;
	command_unregister(name);
	command_register(name, ours, flags);
	return theirs;
}

static void give_back(const char *name, command_func_t *ours, command_func_t *theirs)
{
	const struct command *command = command_find(name);

	if (command == NULL || command->func != ours)
		return;
	enum command_flags flags = command->flags;
	command_unregister(name);
	command_register(name, theirs, flags);
}

void imap_homing_acl_plugin_init(struct module *module ATTR_UNUSED)
{
	imap_acl_setacl = take_over("SETACL", cmd_setacl);
	imap_acl_deleteacl = take_over("DELETEACL", cmd_deleteacl);
}

void imap_homing_acl_plugin_deinit(void)
{
	give_back("SETACL", cmd_setacl, imap_acl_setacl);
	give_back("DELETEACL", cmd_deleteacl, imap_acl_deleteacl);
}
