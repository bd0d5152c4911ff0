/* A mail of somebody else's, at the moment that it is read.
 *
 * Dovecot asks for the right to read when a mailbox is opened, and never again. But its files are opened
 * by their paths, one by one, as long as the mailbox is open: if the owner has deleted it meanwhile and
 * made another of the same name, what is there now is the new one's, for which nobody was given
 * anything. (The index often tells that the mailbox was deleted, but not always in time.) So the right
 * is asked for again, after the file was opened: grants go when a mailbox is deleted, before another can
 * be made (mailbox.c). Whoever lost the right to read otherwise reads no further either. */
#include "compat.h"

#include "backend.h"
#include "mail.h"
#include "mailbox.h"

#define HOMING_MAIL_CONTEXT(obj) MODULE_CONTEXT_REQUIRE(obj, homing_mail_module)

static MODULE_CONTEXT_DEFINE_INIT(homing_mail_module, &mail_module_register);

bool homing_mail_is_of_others(struct mailbox *box)
{
	struct acl_backend *backend;

	if (!homing_mailbox_is_served(box) || (box->flags & MAILBOX_FLAG_IGNORE_ACLS) != 0)
		return FALSE;
	backend = homing_backend_of(box->list);
	return backend != NULL && !backend->owner;
}

/* 0; -1: told to the storage. Of a mailbox that is not open, acl and mailbox.c answer. */
static int may_still_read(struct mailbox *box)
{
	return !box->opened || acl_mailbox_right_lookup(box, ACL_STORAGE_RIGHT_READ) > 0 ? 0 : -1;
}

static int istream_opened(struct mail *mail, struct istream **input)
{
	union mail_module_context *super = HOMING_MAIL_CONTEXT((struct mail_private *)mail);

	if (may_still_read(mail->box) < 0)
		return -1;
	return super->super.istream_opened != NULL ? super->super.istream_opened(mail, input) : 0;
}

void homing_mail_allocated(struct mail *mail)
{
	struct mail_private *private = (struct mail_private *)mail;
	struct mail_vfuncs *v = private->vlast;
	union mail_module_context *ours;

	if (!homing_mail_is_of_others(mail->box))
		return;
	ours = p_new(private->pool, union mail_module_context, 1);
	ours->super = *v;
	private->vlast = &ours->super;
	v->istream_opened = istream_opened;
	MODULE_CONTEXT_SET_SELF(private, homing_mail_module, ours);
}

int homing_mail_copied(struct mail *mail)
{
	if (!homing_mail_is_of_others(mail->box) || may_still_read(mail->box) == 0)
		return 0;
	return -1;
}
