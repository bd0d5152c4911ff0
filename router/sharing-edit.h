/* Changing the tables of sharing.mdb inside a write transaction: what the calls of sharing-write.h
 * are made of. A mailbox's grants are replaced as a whole; the index, the names and the ids follow
 * by themselves. */
#ifndef HOMING_SHARING_EDIT_H
#define HOMING_SHARING_EDIT_H

#include "sharing-view.h"
#include "sharing-write.h"
#include "store-write.h"

struct sharing_writer {
	struct store_writer *store;
	char *path;
};

/* Also makes the file where `create` says so. */
MUST_CHECK int sharing_writer_make(const char *path, bool create, struct sharing_writer **writer_r,
				   struct error *error);

struct sharing_edit {
	struct sharing_view view;
	MDB_txn *txn;
	const MDB_dbi *tables;
	struct error *error;
	bool changed; /* something was put or deleted */
	bool keep_principals; /* for a while: those that nothing refers to stay */
};

/* Runs `change` in a write transaction. Its answer 0 or more: whether to commit is decided by
 * edit->changed, and returned: 1 changed, 0 nothing was. May run several times. */
typedef int sharing_edit_cb(struct sharing_edit *edit, void *context);
MUST_CHECK int sharing_edit_run(struct sharing_writer *writer, sharing_edit_cb *change,
				void *context, struct error *error);
/* Runs `look` in a snapshot, without the writer's lock. Its answer. */
typedef int sharing_look_cb(const struct sharing_view *view, void *context, struct error *error);
MUST_CHECK int sharing_look(struct sharing_writer *writer, sharing_look_cb *look, void *context,
			    struct error *error);

/* Grants of one mailbox in memory: zero it, and finish it in any case. */
struct grant_list {
	struct stored_grant *items; /* sorted, each identifier once */
	size_t count, size;
};
void grant_list_finish(struct grant_list *list);
/* The place for an identifier: where it is, or a new one without halves; NULL: no memory. */
struct stored_grant *grant_list_at(struct grant_list *list, int kind, uint64_t id);
void grant_list_remove(struct grant_list *list, int kind, uint64_t id);
/* Gives the grant of one id to another, unless that has one. False: no memory. */
bool grant_list_move(struct grant_list *list, int kind, uint64_t from, uint64_t to);

/* 0 or -1, *error is set; likewise everything below. */
MUST_CHECK int sharing_edit_read(struct sharing_edit *edit, uint64_t owner, const char *mailbox,
				 struct grant_list *list);
/* Puts the list in place of what is there; grants without halves, and then empty lists, go. */
MUST_CHECK int sharing_edit_replace(struct sharing_edit *edit, uint64_t owner, const char *mailbox,
				    const struct grant_list *list);

/* The id of a name, made if there is none. */
MUST_CHECK int sharing_edit_owner(struct sharing_edit *edit, const char *owner, uint64_t *id_r);
MUST_CHECK int sharing_edit_grantee(struct sharing_edit *edit, const struct grantee *who,
				    uint64_t *id_r);
/* Forgets a principal to which nothing refers any more; one in use, or 0, stays. */
MUST_CHECK int sharing_edit_release(struct sharing_edit *edit, uint64_t id);

/* 1 found; 0 none; -1. */
MUST_CHECK int sharing_edit_put(struct sharing_edit *edit, enum sharing_table table,
				const void *key, size_t key_length, const void *value,
				size_t value_length);
MUST_CHECK int sharing_edit_delete(struct sharing_edit *edit, enum sharing_table table,
				   const void *key, size_t key_length);

/* Names of mailboxes, collected before a change moves them. Zero it; finish in any case. */
struct mailbox_names {
	char **items;
	size_t count, size;
};
MUST_CHECK int mailbox_names_add(struct mailbox_names *names, const char *mailbox,
				 struct error *error);
void mailbox_names_finish(struct mailbox_names *names);
/* The mailbox where it has grants, and all below it that have some; with `mailbox` "" all. */
MUST_CHECK int sharing_collect(const struct sharing_view *view, uint64_t owner,
			       const char *mailbox, struct mailbox_names *names,
			       struct error *error);

#endif
