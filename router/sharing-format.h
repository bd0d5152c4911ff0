/* The layout of sharing.mdb, for the two sides that read and write it.
 *
 * As in directory-format.h, but that ids are 8 bytes, big-endian, so that they are sorted as numbers.
 * An older Homing made the file with `meta` alone; the first change makes the other tables.
 *
 * table       key                           value
 * meta        "kind", "format", "sequence"  as in directory.mdb
 *             "next-principal"              the id that the next principal gets; none is used twice
 *             "renaming"                    while homingctl renames an account or a group, until
 *                                           directory.mdb has it too: u8 kind, strings old, new name
 * principals  'A' name key                  id. An account, as an owner and as somebody to whom
 *                                           rights are given; without a domain where a login has none
 *             'G' name key                  id. A group
 *             'D' domain                    id
 *             'P' prefix                    id. Who owns the mailboxes of a public namespace
 * names       id                            the key in `principals`
 * grants      id of the owner, mailbox key  string mailbox, "" where the key has all of it; then for
 *                                           each grantee 14 bytes, sorted: u8 kind, id (0 for
 *                                           anyone, authenticated and owner), u8 halves (1 rights, 2
 *                                           negative), u16 rights, u16 negative, 0 without the half
 * received    u8 kind, id of the grantee,   nothing. One for each grant: what somebody received is
 *             id of the owner, mailbox key  one range of keys
 *
 * A mailbox key is the mailbox as sharing.h names it, "" for the whole account. A longer one than
 * LMDB has room for is cut, and a hash of the whole stands behind the byte 0xff, which no mailbox has.
 *
 * Renaming an account is its entries in `principals` and `names`, and no other. A principal that
 * nothing refers to any more is deleted. */
#ifndef HOMING_SHARING_FORMAT_H
#define HOMING_SHARING_FORMAT_H

#include <lmdb.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "directory-format.h"
#include "sharing.h"
#include "store.h"

enum sharing_table {
	TABLE_PRINCIPALS = 1,
	TABLE_PRINCIPAL_NAMES,
	TABLE_GRANTS,
	TABLE_RECEIVED,
	SHARING_TABLE_COUNT,
};
extern const char *const sharing_tables[];
enum { SHARING_SINCE = TABLE_PRINCIPALS }; /* see store_open_grown() */

#define SHARING_NEXT "next-principal"
#define SHARING_RENAMING "renaming"

enum principal_type {
	PRINCIPAL_ACCOUNT = 'A',
	PRINCIPAL_GROUP = 'G',
	PRINCIPAL_DOMAIN = 'D',
	PRINCIPAL_PUBLIC = 'P',
};

enum {
	ID_BYTES = 8,
	PRINCIPAL_KEY_SIZE = 511,
	MAILBOX_KEY_PLAIN = 400, /* a mailbox of up to this many bytes is its own key */
	MAILBOX_KEY_CUT = 384,	 /* of a longer one, so many */
	MAILBOX_KEY_SIZE = MAILBOX_KEY_PLAIN + 1,
	GRANTS_KEY_SIZE = ID_BYTES + MAILBOX_KEY_SIZE,
	RECEIVED_KEY_FRONT = 1 + ID_BYTES,
	RECEIVED_KEY_SIZE = RECEIVED_KEY_FRONT + GRANTS_KEY_SIZE,
	GRANT_BYTES = 14,
	/* For one mailbox. More is a case for a group. */
	GRANTS_MAX = 10000,
};

void id_put(uint64_t id, unsigned char *bytes);
uint64_t id_take(const void *bytes);

/* Keys in `principals`; 0 for what cannot be one. */
size_t owner_key(const char *owner, char key_r[PRINCIPAL_KEY_SIZE]);
/* Of a user, a group or a domain; the other kinds have no principal. */
size_t grantee_key(const struct grantee *who, char key_r[PRINCIPAL_KEY_SIZE]);
/* Back from a key: the type, 0 if it does not parse. */
int principal_parse(const void *key, size_t length, char name_r[OWNER_SIZE]);
/* What a grantee's principal is; 0 for anyone, authenticated and owner, which have none. */
int grantee_principal_type(int kind);

/* A mailbox key, and the front that the keys of all mailboxes below begin with, though others may too:
 * compare the names. Returns the length. `mailbox` within MAILBOX_MAX_BYTES. */
size_t mailbox_key(const char *mailbox, char key_r[MAILBOX_KEY_SIZE]);
size_t mailbox_key_below(const char *mailbox, char key_r[MAILBOX_KEY_SIZE]);
bool mailbox_key_is_cut(const void *key, size_t length);

size_t grants_key(uint64_t owner, const char *mailbox, unsigned char key_r[GRANTS_KEY_SIZE]);
size_t received_key(int kind, uint64_t grantee, uint64_t owner, const char *mailbox,
		    unsigned char key_r[RECEIVED_KEY_SIZE]);

/* A grant as it is stored. */
struct stored_grant {
	uint64_t id;
	uint16_t rights, negative;
	uint8_t kind;
	bool has_rights, has_negative;
};
/* By kind, then by id. */
int stored_grant_compare(const struct stored_grant *a, const struct stored_grant *b);

/* A value of `grants`, seen through and found whole. Points into the value. */
struct grants_value {
	const char *mailbox; /* "" where the key has it */
	const unsigned char *items;
	size_t count;
};
/* False if it does not parse. */
bool grants_value_parse(const void *bytes, size_t length, struct grants_value *value_r);
void stored_grant_take(const struct grants_value *value, size_t number,
		       struct stored_grant *grant_r);
void grants_value_format(const char *mailbox, const struct stored_grant *grants, size_t count,
			 struct value_writer *value);

#endif
