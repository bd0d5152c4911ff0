/* What a worker knows of names already: statements such as "policy has nothing against
 * this recipient", true for as long as the directory is as it was. A server hears of the
 * same names all day, and asking the directory for one costs as much as reading and
 * writing the sockets does.
 *
 * A statement is kept as a keyed hash of 64 bits, so that a million of them fit into 16
 * MiB, which is the most that a worker takes, and takes only for as many names. That
 * another name has the same hash as any of these happens once in 2^44 questions, and
 * nobody who does not see the key can bring it about; such a name would pass for one that
 * exists, so keep nothing here that must never be wrong. */
#ifndef HOMING_KNOWN_H
#define HOMING_KNOWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct known;

/* NULL: out of memory. */
struct known *known_create(void);
void known_destroy(struct known **known);

/* The directory is at this version: forgets what was known of another one. */
void known_at(struct known *known, uint64_t version);

/* The name of a statement, of its kind and the text that it is about. 0, which is never
 * known, where the text is too long to be kept. */
uint64_t known_statement(
	const struct known *known, unsigned kind, const char *text, size_t length);
bool known_has(const struct known *known, uint64_t statement);
/* One more; it may take the place of another one. */
void known_add(struct known *known, uint64_t statement);

/* SipHash-2-4 (Aumasson and Bernstein, 2012). */
uint64_t known_hash(const uint64_t key[2], const unsigned char *bytes, size_t length);

#endif
