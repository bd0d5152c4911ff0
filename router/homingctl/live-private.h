/* The parts of check --live for Dovecot. */
#ifndef HOMINGCTL_LIVE_PRIVATE_H
#define HOMINGCTL_LIVE_PRIVATE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

#include "command.h"
#include "doveconf.h"
#include "findings.h"

struct live {
	const struct call *call;
	struct setting *root;
	bool named_blocks; /* Dovecot 2.4: `passdb NAME {`, settings named one by one */
	char directory[1024];
	bool has_blocks; /* a passdb or userdb is Homing's */
	bool has_accounts;
	struct findings *findings;
};

/* A finding: `setting` is what it is about, `change` the line to change. */
void live_report(struct live *live, const char *setting, const char *change, const char *format,
		 ...) HOMING_PRINTF(4, 5);
/* What harms nothing but is good to know. */
void live_note(struct live *live, const char *setting, const char *format, ...)
	HOMING_PRINTF(3, 4);

/* The name of a user or group, as settings say it: `$default_internal_user` (2.4:
 * `$SET:default_internal_user`) is what that setting says. */
const char *live_resolve(const struct live *live, const char *name);
/* Whom a process runs as, and where else its groups are said: settings of these blocks. */
struct live_process {
	uid_t uid; /* (uid_t)-1: not known here */
	gid_t gid;
	const struct setting *service; /* `group` and `extra_groups`; NULL: the defaults */
	const struct setting *mail;    /* `mail_access_groups`; NULL: no mail process */
};
/* What the settings of a service (NULL: none) say; its user's own group and no other of the
 * system's: Dovecot gives it no more. `*user_r` is the name that they say. */
struct live_process live_process_of(const struct live *live, const struct setting *service,
				    const char *default_user, const char **user_r);
/* May it do this with the file (R_OK | W_OK | X_OK)? */
bool live_may(const struct live *live, const struct live_process *process,
	      const struct stat *file, int access);

/* How much address space the map of a file in this folder takes; 0 where it cannot be opened. */
unsigned long long live_map_size(const char *directory, const char *file);
/* Reports the service if its vsz_limit leaves no room for maps of this size. */
void live_check_space(struct live *live, const char *service_name, unsigned long long maps);

/* auth and auth-worker: may they read the files, and do they have the address space? */
void live_check_services(struct live *live);
/* Shared mailboxes: the plugins, the namespaces, who may read and write the grants. Nothing is said
 * where neither a setting nor a grant asks for them. */
void live_check_sharing(struct live *live);

#endif
