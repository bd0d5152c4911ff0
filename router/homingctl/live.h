/* check --live: the settings of the Dovecot that runs here, against what Homing needs. */
#ifndef HOMINGCTL_LIVE_H
#define HOMINGCTL_LIVE_H

#include "command.h"

/* Prints each finding with the line to change. 0, 78 if there is one, or another exit code. */
int check_live(const struct call *call);

/* How much address space a process of Dovecot needs to open the files: `vsz_limit`, in bytes,
 * with room to grow. Without a directory, what suffices for a small one. */
unsigned long long live_address_space(const char *directory, bool credentials);
/* The same of a mail process, which opens directory.mdb and sharing.mdb. */
unsigned long long live_mail_address_space(const char *directory);
/* The vsz_limit of a service, in bytes; 0: none. */
struct setting;
unsigned long long live_space_limit(const struct setting *root, const char *service_name);

#endif
