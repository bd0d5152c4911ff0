/* Where an owner's mail is, as a shared namespace says it: what Dovecot's settings say of the user's
 * own, with the owner's name and home in place of the user's. */
#ifndef HOMINGCTL_OWNER_PLACE_H
#define HOMINGCTL_OWNER_PLACE_H

#include "doveconf.h"

/* The namespace of the INBOX; NULL if the settings name none. */
const struct setting *inbox_namespace(const struct setting *root);
/* Is it one below which each owner's mailboxes appear? (Not one with a single, fixed owner.) */
bool namespace_is_shared(const struct setting *block);

/* 2.3: `maildir:~/Maildir` becomes `maildir:%%h/Maildir`, without INDEXPVT. NULL: it has a variable
 * that a shared namespace does not know, or says nothing; free the answer. */
char *owner_location(const char *location);
/* 2.4: `~/Maildir` becomes `%{owner_home}/Maildir`. NULL and free as above. */
char *owner_path(const char *path);

#endif
