/* The layout of directory.mdb and credentials.mdb, for the two sides that read and write them.
 *
 * Numbers are little-endian unless said otherwise. A "string" is bytes and a NUL. A "name key" is
 * domain NUL local, both canonical: names of one domain lie together, in order.
 *
 * table       key                       value
 * meta        "kind"                    string: "directory", "credentials" or "sharing"
 *             "format"                  u32: STORE_FORMAT
 *             "sequence"                u64
 *             "routing"                 strings main domain, default home, uid, gid; then u32 number
 *                                       of records of each class (x, u, d, s, g); then 17 bytes:
 *                                       bit N set if there is a prefix of length N (0 to 128)
 * domains     domain                    u8 accounts mode, u8 unknown, u8 delimiter, string reroute;
 *                                       then four lists, each u32 count and strings: aliases,
 *                                       addresses, server names, administrators, as export
 *                                       prints them
 * hosts       'a' alias                 string domain
 *             's' server name           string domain
 *             'w' rest of a wildcard    string domain; `*.client2.com` is stored as client2.com
 * networks    u8 length, 16 bytes       string domain; the bytes masked to the length
 * records     'o' u32 big-endian order  strings match, to: every record, in file order from 0
 *             'x' local NUL domain      u32 order: no `*` in either part
 *             'u' local                 u32 order: `local@*`
 *             'd' domain                u32 order: `domain` or `*@domain`
 *             's' suffix                u32 order: `*.suffix` or `*@*.suffix`, no other `*`
 *             'g'                       for each remaining record, in order: u32 order, strings
 *                                       match, to
 * names       domain NUL                u8 'D', u8 accounts mode, u8 unknown, u8 delimiter, string
 *                                       reroute: the front of the value in `domains`, of which
 *                                       this is made, as hosts and networks are. It stands in front
 *                                       of the domain's names, because a page that is not in the
 *                                       processor's cache is most of what a route costs
 *             name key                  u8 kind (enum entry_kind), then
 *                                         account: strings home, uid, gid ("" is the default)
 *                                         alias: string target
 *                                         forwarder: u32 count, strings
 *                                         group: nothing; its members are in `members`
 * members     name key of a group       sorted values: address of a member, no NUL
 * references  name key of an account    sorted values: u8 kind and name key of each alias,
 *             or other target           forwarder or group that names it, no NUL at the end
 *
 * credentials name key                  string {SCHEME}hash
 */
#ifndef HOMING_DIRECTORY_FORMAT_H
#define HOMING_DIRECTORY_FORMAT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "name.h"

enum directory_table {
	TABLE_META,
	TABLE_DOMAINS,
	TABLE_HOSTS,
	TABLE_NETWORKS,
	TABLE_RECORDS,
	TABLE_NAMES,
	TABLE_MEMBERS,
	TABLE_REFERENCES,
	TABLE_COUNT,
};
enum credentials_table { TABLE_CREDENTIALS = 1 };

extern const char *const directory_tables[];
extern const char *const credentials_tables[];
enum { DIRECTORY_DUPSORT = 1u << TABLE_MEMBERS | 1u << TABLE_REFERENCES };

#define DIRECTORY_FILE "directory.mdb"
#define CREDENTIALS_FILE "credentials.mdb"
#define SHARING_FILE "sharing.mdb"

enum record_class { RECORD_X, RECORD_U, RECORD_D, RECORD_S, RECORD_G, RECORD_CLASSES };

enum { NAME_KEY_SIZE = DOMAIN_SIZE + LOCAL_SIZE };

/* domain NUL local. Returns the length. Both must be in bounds. */
size_t name_key(const char *local, const char *domain, char key_r[NAME_KEY_SIZE]);
/* The key of a domain's rules in `names`, and their kind there. */
enum { NAME_DOMAIN = 'D' };
size_t name_domain_key(const char *domain, char key_r[NAME_KEY_SIZE]);
bool is_name_domain_key(const void *key, size_t length);
/* From a name key back; false if it is none. */
bool name_key_split(const void *key, size_t length, char local_r[LOCAL_SIZE],
		    char domain_r[DOMAIN_SIZE]);

/* account_defaults.home for one account: %{domain} and %{local} replaced. False if that does not
 * fit. */
bool home_expand(const char *template, const char *local, const char *domain, char *home_r,
		 size_t size);

/* Reads a value piece by piece; after a piece that is not there all later ones are "" or 0 and
 * `failed` is set. Strings point into the value. */
struct value_reader {
	const unsigned char *next, *end;
	bool failed;
};
uint8_t value_u8(struct value_reader *reader);
uint32_t value_u32(struct value_reader *reader);
const char *value_string(struct value_reader *reader, size_t *length_r);

/* Builds a value in memory that grows. `data` is the caller's to free(). */
struct value_writer {
	unsigned char *data;
	size_t length, size;
	bool failed; /* out of memory */
};
void value_put(struct value_writer *writer, const void *bytes, size_t length);
void value_put_u8(struct value_writer *writer, uint8_t number);
void value_put_u32(struct value_writer *writer, uint32_t number);
void value_put_string(struct value_writer *writer, const char *text);

#endif
