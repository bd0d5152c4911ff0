/* Changing the directory: used by homingctl alone. Each call is one transaction in each file it
 * touches (a renaming, two in credentials.mdb); where it touches two, in the order that leaves no
 * password behind for a name that somebody else gets later. Errors name what is in the way. */
#ifndef HOMING_DIRECTORY_WRITE_H
#define HOMING_DIRECTORY_WRITE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "directory.h"
#include "error.h"

struct directory_writer;
struct config;

/* Opens the three files under `path`. With `create` the folder (0750) and missing files are made:
 * directory.mdb 0640 root:homing, credentials.mdb 0640 root:dovecot, sharing.mdb 0660
 * root:homing (the groups where they exist and we are root), lock files 0660 of the same groups. */
MUST_CHECK int directory_writer_open(const char *path, bool create,
				     struct directory_writer **writer_r, struct error *error);
void directory_writer_close(struct directory_writer **writer);

/* One difference that an apply makes or would make. `what` is "add", "change" or "remove";
 * `key` as in homing.json: `domains."client1.com"`, `main_domain`, `router[3]`. */
struct config_change {
	const char *what, *key;
	const char *old_text, *new_text; /* short JSON; NULL where there is none */
};
typedef void config_change_cb(const struct config_change *change, void *context);

/* Replaces all that homing.json says, in one transaction. Accounts and other names stay. With
 * dry_run nothing is written, and `writer` may be NULL where there is no directory yet. `change`
 * may be NULL. */
MUST_CHECK int directory_apply(struct directory_writer *writer, const struct config *config,
			       bool dry_run, config_change_cb *change, void *context,
			       struct error *error);

struct account_change {
	const char *local, *domain;	/* canonical */
	const char *home, *uid, *gid;	/* NULL or "": the default */
	const char *credential;		/* {SCHEME}hash, or NULL: no password */
	const char *const *groups;	/* names `group@domain`, ended by NULL; or NULL */
};
MUST_CHECK int directory_account_add(struct directory_writer *writer,
				     const struct account_change *account, struct error *error);
/* Adds many, as one transaction a file; those that exist are an error (ERROR_EXISTS) unless
 * `replace`. `next` fills *account and returns 1, 0 at the end, -1 on failure; it is called again
 * from the start, after `rewind`, when the map had to grow. Sorted by name key it is many times
 * faster. */
struct account_source {
	int (*next)(void *context, struct account_change *account, struct error *error);
	void (*rewind)(void *context);
	void *context;
	bool replace;
};
MUST_CHECK int directory_account_import(struct directory_writer *writer,
					const struct account_source *source,
					struct error *error);
/* Also takes it out of groups; aliases and forwarders that lead to it are an error unless `force`,
 * which deletes the aliases and takes the address out of the forwarders. */
MUST_CHECK int directory_account_delete(struct directory_writer *writer, const char *local,
					const char *domain, bool force, struct error *error);
/* Aliases, forwarders and groups follow. Another domain is allowed. A default home is kept where it
 * was: it becomes the account's own, so that the mail stays with it. */
MUST_CHECK int directory_account_rename(struct directory_writer *writer, const char *local,
					const char *domain, const char *new_local,
					const char *new_domain, struct error *error);
/* `credential` NULL takes the password away. ERROR_MISSING if there is no such account. */
MUST_CHECK int directory_password_set(struct directory_writer *writer, const char *local,
				      const char *domain, const char *credential,
				      struct error *error);

MUST_CHECK int directory_alias_add(struct directory_writer *writer, const char *local,
				   const char *domain, const char *target, struct error *error);
MUST_CHECK int directory_forwarder_add(struct directory_writer *writer, const char *local,
				       const char *domain, const char *const *targets,
				       size_t count, struct error *error);
/* Makes the group if it does not exist, and adds the members to it. */
MUST_CHECK int directory_group_add(struct directory_writer *writer, const char *local,
				   const char *domain, const char *const *members, size_t count,
				   struct error *error);
/* Takes members out of a group; ERROR_MISSING if one is not in it. */
MUST_CHECK int directory_group_remove(struct directory_writer *writer, const char *local,
				      const char *domain, const char *const *members,
				      size_t count, struct error *error);
/* Deletes an alias, a forwarder or a whole group. */
MUST_CHECK int directory_name_delete(struct directory_writer *writer, enum entry_kind kind,
				     const char *local, const char *domain,
				     struct error *error);

#endif
