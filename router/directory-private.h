/* What routing reads of the directory beside directory.h: each call is one or a few lookups. */
#ifndef HOMING_DIRECTORY_PRIVATE_H
#define HOMING_DIRECTORY_PRIVATE_H

#include <lmdb.h>

#include "directory-format.h"
#include "directory.h"
#include "ip.h"
#include "record.h"

/* What every route needs, kept parsed while the snapshot stays the same. */
struct routing_header {
	char main_domain[DOMAIN_SIZE];
	char home[1024], uid[64], gid[64]; /* account_defaults */
	uint32_t records[RECORD_CLASSES];  /* how many of each class */
	unsigned char prefix_lengths[17];  /* bit N: there are prefixes of that length */
	bool few_names;			   /* most names share a page with their domain's rules */
};

/* Valid until directory_end. NULL: failed. */
const struct routing_header *directory_header(struct directory_reader *reader,
					      struct error *error);

/* The domain whose longest prefix has the address. 1, 0, -1; *length_r its length. */
MUST_CHECK int network_lookup(struct directory_reader *reader, const struct ip *ip,
			      char domain_r[DOMAIN_SIZE], unsigned *length_r,
			      struct error *error);

/* The domain that a canonical name selects as a TLS server name: itself, an alias, an exact server
 * name, a wildcard. */
MUST_CHECK int server_name_lookup(struct directory_reader *reader, const char *name,
				  char domain_r[DOMAIN_SIZE], struct error *error);

/* The domain behind an alias. */
MUST_CHECK int domain_alias_lookup(struct directory_reader *reader, const char *alias,
				   char domain_r[DOMAIN_SIZE], struct error *error);

/* The first record, in file order, that matches the name. `folded` as local_fold made it, or NULL
 * if it could not. 1, 0, -1. Strings are valid until directory_end. */
MUST_CHECK int record_find(struct directory_reader *reader, const char *local, const char *folded,
			   const char *domain, struct record *record_r, uint32_t *order_r,
			   struct error *error);

/* Of one name: the kind and the rest of its value. 1, 0, -1. */
MUST_CHECK int name_lookup(struct directory_reader *reader, const char *local, const char *domain,
			   enum entry_kind *kind_r, struct value_reader *value_r,
			   struct error *error);

/* A cursor's movement as 1, 0, -1. */
MUST_CHECK int directory_step(MDB_cursor *cursor, MDB_val *key, MDB_val *value,
			      MDB_cursor_op operation, struct directory_reader *reader,
			      struct error *error);

/* A value that does not parse, with its key in words. Always -1. */
int directory_corrupt(struct error *error, struct directory_reader *reader, const char *table,
		      const char *key);

#endif
