/* The directory: domains, router records, accounts, aliases, forwarders, groups, and the
 * password hashes beside them. Read side. What is where is in directory-format.h.
 *
 *	struct directory *directory;
 *	if (directory_open("/var/lib/homing", DIRECTORY_NAMES, &directory, &error) < 0) ...
 *	struct directory_reader *reader;
 *	if (directory_reader_create(directory, &reader, &error) < 0) ...
 *	if (directory_begin(reader, &error) < 0) ...
 *	... route(), account_lookup(): all see one state ...
 *	directory_end(reader);
 */
#ifndef HOMING_DIRECTORY_H
#define HOMING_DIRECTORY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "error.h"
#include "name.h"

struct directory;
struct directory_reader;

enum directory_part {
	DIRECTORY_NAMES = 0,	       /* directory.mdb alone */
	DIRECTORY_CREDENTIALS = 1 << 0, /* and credentials.mdb */
	/* credentials.mdb by itself: what is wrong with it keeps nobody from the names. Of a reader's
	 * calls, only credential_lookup is allowed then. */
	DIRECTORY_CREDENTIALS_ALONE = 1 << 1,
};

/* Opens the files under the folder `path`, read-only. -1 and an error that names the file. */
MUST_CHECK int directory_open(const char *path, unsigned parts, struct directory **directory_r,
			      struct error *error);
void directory_close(struct directory **directory);

/* store_version() and store_check() of directory.mdb (check: of each open file). */
uint64_t directory_version(struct directory *directory);
MUST_CHECK int directory_check(struct directory *directory, struct error *error);

/* A reader belongs to one thread at a time. */
MUST_CHECK int directory_reader_create(struct directory *directory,
				       struct directory_reader **reader_r, struct error *error);
void directory_reader_destroy(struct directory_reader **reader);

/* Opens and closes a snapshot of directory.mdb (and credentials.mdb where opened). Works after
 * a fork too: the child opens the files again. */
MUST_CHECK int directory_begin(struct directory_reader *reader, struct error *error);
void directory_end(struct directory_reader *reader);
uint64_t directory_snapshot(const struct directory_reader *reader);
/* The sequence number of directory.mdb. */
MUST_CHECK int directory_sequence(struct directory_reader *reader, uint64_t *sequence_r,
				  struct error *error);

/* An account's record. Strings are in the struct itself; "" means not set. */
struct account {
	char local[LOCAL_SIZE];	  /* canonical local part */
	char domain[DOMAIN_SIZE]; /* canonical domain */
	char home[1024];	  /* absolute path, %{domain} and %{local} expanded */
	char uid[64], gid[64];	  /* a name or a number, as Dovecot takes them */
	bool home_is_default, uid_is_default, gid_is_default;
};

/* The account LOCAL@DOMAIN, both canonical as route() answers them. For a domain with
 * `accounts: external` or `dovecot` there is none. 1 found, 0 none, -1 failed. */
MUST_CHECK int account_lookup(struct directory_reader *reader, const char *local,
			      const char *domain, struct account *account_r,
			      struct error *error);

/* Calls `group` for each group the account is a member of, as "name@domain", sorted. Stops at the
 * first answer that is not 0 and returns it; 0 at the end; -1 failed. */
typedef int account_group_cb(const char *group, void *context);
MUST_CHECK int account_groups(struct directory_reader *reader, const char *local,
			      const char *domain, account_group_cb *group, void *context,
			      struct error *error);

enum entry_kind {
	ENTRY_ACCOUNT = 'A',
	ENTRY_ALIAS = 'L',
	ENTRY_FORWARDER = 'F',
	ENTRY_GROUP = 'G',
};

/* Walks names in order of domain, then local part: all, or one canonical domain's; of one kind or
 * (0) of all. Stops at the first answer that is not 0 and returns it. Corrupt entries end the
 * walk with -1 and an error that names the key. */
typedef int directory_entry_cb(enum entry_kind kind, const char *local, const char *domain,
			       void *context);
MUST_CHECK int directory_each_entry(struct directory_reader *reader, const char *domain,
				    int kind, directory_entry_cb *entry, void *context,
				    struct error *error);
/* Walks on behind LOCAL@DOMAIN (from the beginning if they are NULL), for who must not keep one
 * snapshot open for all of a long walk. */
MUST_CHECK int directory_each_after(struct directory_reader *reader, const char *local,
				    const char *domain, int kind, directory_entry_cb *entry,
				    void *context, struct error *error);

/* What an alias, a forwarder or a group leads to: calls `target` with each address, as stored. */
typedef int directory_target_cb(const char *address, void *context);
MUST_CHECK int directory_each_target(struct directory_reader *reader, enum entry_kind kind,
				     const char *local, const char *domain,
				     directory_target_cb *target, void *context,
				     struct error *error);

/* The kind of LOCAL@DOMAIN (canonical): an entry_kind, 0 none, -1 failed. */
MUST_CHECK int directory_kind(struct directory_reader *reader, const char *local,
			      const char *domain, struct error *error);

enum accounts_mode {
	ACCOUNTS_DIRECTORY = 0,
	ACCOUNTS_EXTERNAL = 1,
	ACCOUNTS_DOVECOT = 2,
};

/* A domain's rules. 1 found, 0 not ours (an alias is not found here), -1 failed. */
struct domain_rules {
	enum accounts_mode accounts;
	char unknown;	/* 'r' reject, 'd' discard, 't' reroute to the address */
	char delimiter; /* between name and detail */
	char reroute[NAME_SIZE];
};
MUST_CHECK int domain_lookup(struct directory_reader *reader, const char *domain,
			     struct domain_rules *rules_r, struct error *error);

/* Walks the domains in order. `rules` may be NULL where the callback needs names only. */
typedef int directory_domain_cb(const char *domain, void *context);
MUST_CHECK int directory_each_domain(struct directory_reader *reader, directory_domain_cb *each,
				     void *context, struct error *error);

/* "" before the first apply. Valid until directory_end. NULL: failed. */
const char *directory_main_domain(struct directory_reader *reader, struct error *error);

/* The stored password hash, `{SCHEME}hash`, of LOCAL@DOMAIN. The buffer holds secrets: wipe it.
 * 1 found, 0 none, -1 failed or not opened with DIRECTORY_CREDENTIALS. */
enum { CREDENTIAL_SIZE = 1024 };
MUST_CHECK int credential_lookup(struct directory_reader *reader, const char *local,
				 const char *domain, char credential_r[CREDENTIAL_SIZE],
				 struct error *error);

/* Can this be stored as a password hash: the form `{SCHEME}hash`, printable, within
 * CREDENTIAL_SIZE? NULL, or what is wrong. */
const char *credential_refusal(const char *credential, size_t length);

struct directory_statistics {
	uint64_t domains, names, records, credentials, sequence;
};
MUST_CHECK int directory_statistics(struct directory_reader *reader,
				    struct directory_statistics *statistics_r,
				    struct error *error);

/* How many password hashes belong to no account. Walks all of them, and all names. -1 failed or not
 * opened with DIRECTORY_CREDENTIALS. */
MUST_CHECK int directory_count_orphans(struct directory_reader *reader, uint64_t *count_r,
				       struct error *error);

/* For status: the store behind, which = "directory" or "credentials"; NULL if not open. */
struct store *directory_store(struct directory *directory, const char *which);
/* For homingctl's own walks; between begin and end. */
struct store_reader *directory_store_reader(struct directory_reader *reader);

#endif
