/* config dovecot --sharing: what shared mailboxes need in Dovecot's configuration. */
#ifndef HOMINGCTL_SNIPPET_SHARING_H
#define HOMINGCTL_SNIPPET_SHARING_H

#include "command.h"

/* `directory`: NULL is the default. An exit code. */
int snippet_sharing(const struct call *call, const char *version, int minor,
		    const char *directory);

#endif
