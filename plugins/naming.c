/* Names of owners and mailboxes. */
#include "compat.h"

#include "naming.h"
#include "router/sharing.h"
#include "session.h"

#define NAMESPACE_MARK "#ns:"

static struct mailbox_list *real_list(struct mailbox_list *list)
{
	return list->ns->alias_for != NULL ? list->ns->alias_for->list : list;
}

static bool is_owned(const struct mail_namespace *ns)
{
	return ns->type == MAIL_NAMESPACE_TYPE_PRIVATE ||
	       (ns->flags & NAMESPACE_FLAG_AUTOCREATED) != 0;
}

const char *homing_owner_of(struct mailbox_list *list)
{
	struct mail_namespace *ns = real_list(list)->ns;

	if (!is_owned(ns))
		return t_strconcat("public:", ns->prefix, NULL);
	struct mail_user *owner = ns->owner != NULL ? ns->owner : ns->user;
	struct homing_session *session = homing_session_of(ns->user);
	return session == NULL ? t_strdup(owner->username)
			       : homing_session_account(session, owner->username);
}

/* Is the mailbox named `INBOX` in storage the INBOX of the owner? */
static bool has_inbox(const struct mail_namespace *ns)
{
	return (ns->flags & (NAMESPACE_FLAG_INBOX_USER | NAMESPACE_FLAG_INBOX_ANY)) != 0;
}

/* The mailboxes of any other private namespace must not be mixed with those beside the INBOX. In an
 * automatic one, also its owner's own, there are the owner's mailboxes as the INBOX's namespace
 * has them. */
static bool is_apart(struct mail_namespace *ns)
{
	return ns->type == MAIL_NAMESPACE_TYPE_PRIVATE && !has_inbox(ns) &&
	       !ns->user->autocreated;
}

bool homing_mailbox_is_apart(const char *mailbox)
{
	return strncmp(mailbox, NAMESPACE_MARK, strlen(NAMESPACE_MARK)) == 0;
}

static void append_prefix(string_t *mailbox, struct mail_namespace *ns)
{
	size_t length = ns->prefix_len;

	if (length > 0 && ns->prefix[length - 1] == mail_namespace_get_sep(ns))
		length--;
	str_append(mailbox, NAMESPACE_MARK);
	str_append_data(mailbox, ns->prefix, length);
}

static const char *below_prefix(const struct mail_namespace *ns, const char *vname)
{
	return strncmp(vname, ns->prefix, ns->prefix_len) == 0 ? vname + ns->prefix_len : vname;
}

const char *homing_mailbox_of(struct mailbox_list *list, const char *storage_name)
{
	const char *error;

	list = real_list(list);
	struct mail_namespace *ns = list->ns;
	if (storage_name[0] == '\0')
		return "";
	if (strcmp(storage_name, "INBOX") == 0 && has_inbox(ns))
		return "INBOX";
	if (!mailbox_list_is_valid_name(list, storage_name, &error))
		return NULL;
	const char *name = below_prefix(ns, mailbox_list_get_vname(list, storage_name));
	/* what stands for another namespace cannot be a mailbox here */
	if (homing_mailbox_is_apart(name))
		return NULL;

	string_t *mailbox = t_str_new(128);
	if (is_apart(ns)) {
		append_prefix(mailbox, ns);
		str_append_c(mailbox, MAILBOX_SEPARATOR);
	}
	char separator = mail_namespace_get_sep(ns);
	for (; *name != '\0'; name++) {
		if (*name == MAILBOX_SEPARATOR)
			return NULL;
		str_append_c(mailbox, *name == separator ? MAILBOX_SEPARATOR : *name);
	}
	return mailbox_refusal(str_c(mailbox)) == NULL ? str_c(mailbox) : NULL;
}

const char *homing_vname_of(struct mailbox_list *list, const char *mailbox)
{
	struct mail_namespace *ns = list->ns;
	char separator = mail_namespace_get_sep(ns);
	string_t *head = t_str_new(64), *vname = t_str_new(128);

	if (strcmp(mailbox, "INBOX") == 0 && (ns->flags & NAMESPACE_FLAG_INBOX_USER) != 0)
		return "INBOX";
	if (is_apart(ns)) {
		append_prefix(head, ns);
		str_append_c(head, MAILBOX_SEPARATOR);
	}
	if (strncmp(mailbox, str_c(head), str_len(head)) != 0)
		return NULL;
	mailbox += str_len(head);
	if (homing_mailbox_is_apart(mailbox))
		return NULL;
	str_append(vname, ns->prefix);
	for (; *mailbox != '\0'; mailbox++) {
		if (*mailbox == separator)
			return NULL;
		str_append_c(vname, *mailbox == MAILBOX_SEPARATOR ? separator : *mailbox);
	}
	return str_c(vname);
}
