/* Answers of Dovecot's userdb kept from before: a table of fixed size, in which a new answer takes
 * the place of the one that is nearest to its end. */
#ifndef HOMING_USERDB_KEPT_H
#define HOMING_USERDB_KEPT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct userdb_kept;

/* Room for at most `max` answers; 0: nothing is kept. NULL: out of memory. */
struct userdb_kept *userdb_kept_create(size_t max);
void userdb_kept_destroy(struct userdb_kept **kept);

/* True: there is an answer whose time is not over, in *exists_r. Times are of one clock, in
 * milliseconds. */
bool userdb_kept_find(const struct userdb_kept *kept, const char *name, uint64_t now,
		      bool *exists_r);

/* Keeps an answer that counts before `end`, in place of any other one for the name. One that is over
 * already removes what was kept. Out of memory, nothing is kept for the name. */
void userdb_kept_put(struct userdb_kept *kept, const char *name, bool exists, uint64_t now,
		     uint64_t end);

#endif
