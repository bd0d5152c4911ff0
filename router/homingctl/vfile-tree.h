/* The mailboxes of one owner on disk, and the ACL files of Dovecot's own backend in them: Maildir++
 * (`.A.B`), LAYOUT=fs (`A/B`), dbox (`mailboxes/A/B/dbox-Mails`), and the control folder of mbox
 * (`.imap/A/B`). */
#ifndef HOMINGCTL_VFILE_TREE_H
#define HOMINGCTL_VFILE_TREE_H

#include <stdbool.h>

#include "error.h"
#include "sharing.h"

struct vfile_folder {
	int fd;		  /* of the folder in which the ACL file is, or would be; the walk closes it */
	const char *path; /* of that folder */
	/* as sharing.h names it; NULL: `why` says why it has none */
	const char *mailbox, *why;
	bool is_mailbox; /* there are messages, or could be */
	bool has_acl;	 /* there is an ACL file */
};
/* 0 goes on; others end the walk, which returns them. */
typedef int vfile_folder_cb(const struct vfile_folder *folder, void *context);

/* Walks the folders below the mail location's that are mailboxes or have an ACL file. `root` is open
 * for reading, and stays so; `path` is what it is called. Symbolic links are not followed. -1 failed. */
MUST_CHECK int vfile_tree_walk(int root, const char *path, vfile_folder_cb *each, void *context,
			       struct error *error);

/* From a name as Dovecot stores it (modified UTF-7, or UTF-8). NULL if fine, else why not. */
const char *vfile_name_parse(const char *stored, char separator, char mailbox_r[MAILBOX_SIZE]);

#endif
