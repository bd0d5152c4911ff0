/* Mails of shared mailboxes are read as long as the right to read them is there. */
#ifndef HOMING_MAIL_H
#define HOMING_MAIL_H

struct mail;
struct mailbox;

/* Does it belong to another user, and our grants count for it? */
bool homing_mail_is_of_others(struct mailbox *box);

/* The hook. */
void homing_mail_allocated(struct mail *mail);

/* After a mail was copied, perhaps as a link to its file: -1, told to its storage, if it must not have
 * been read. */
int homing_mail_copied(struct mail *mail);

#endif
