/* What a mail process keeps for its user: the opened files, and who the user is as the directory
 * knows the account now. Made at the first use, by mail_user_created. */
#ifndef HOMING_SESSION_H
#define HOMING_SESSION_H

#include "router/directory.h"
#include "router/sharing-write.h"
#include "router/sharing.h"

struct mail_user;
struct homing_session;

/* The hook, behind acl's. */
void homing_session_created(struct mail_user *user);

/* NULL: the plugin is off for this user (acl is off, or is not ours to serve). For the user of an
 * automatic shared namespace's owner (ns->owner), it is the session of the user who logged in. */
HOMING_EXPORT struct homing_session *homing_session_of(struct mail_user *user);

/* Whose rights count: acl_user (or master_user) where it is set, else the user; "" anonymous. As it was
 * logged in; what the directory calls it is in homing_session_me(). */
const char *homing_session_actor(struct homing_session *session);

/* Is it the other side of `doveadm sync` or `backup` between an account and a folder? Its mailboxes are
 * a copy of the account's, and what happens to them is nothing to the account's grants. */
bool homing_session_is_copy(const struct homing_session *session);

/* Opens snapshots of directory.mdb and sharing.mdb, in this order, and brings `me` up to date if the
 * directory changed. May be nested; end as often as begun. -1: logged, *error_r for a client that
 * may only learn that something failed. Once in each round of the event loop it looks whether the
 * files are still the same. */
int homing_session_begin(struct homing_session *session, const char **error_r);
void homing_session_end(struct homing_session *session);
/* Between begin and end. */
struct sharing *homing_session_sharing(struct homing_session *session);
struct directory_reader *homing_session_directory(struct homing_session *session);
const struct rights_user *homing_session_me(struct homing_session *session);

/* Logs why something of this session failed: as an error, but the same one not again and again. */
void homing_session_failed(struct homing_session *session, const char *doing,
			   const struct error *error);

/* Changes with every change of grants, groups, or administrators; what was computed from them holds
 * while it is equal. Needs no snapshot and (but once a round of the event loop) no system call. Never 0. */
uint64_t homing_session_version(struct homing_session *session);

/* The account that a name means: canonical, where the directory knows it or its domain; else the
 * name as it is, as also while the directory cannot be read. Without a domain no account is meant: it
 * is a user of an administrator's own. On the data stack. */
const char *homing_session_account(struct homing_session *session, const char *name);

/* Runs a change: closes the readers (which must not be inside a snapshot), opens the writer, calls
 * `change`, closes it. The answer of `change`; -1 also where the writer cannot be opened, in *error.
 * In doveadm the actor is the server's administrator (`me` NULL), else the session's. */
typedef int homing_change_cb(struct sharing_writer *writer, const struct sharing_actor *actor,
			     void *context, struct error *error);
int homing_session_change(struct homing_session *session, homing_change_cb *change, void *context,
			  struct error *error);

#endif
