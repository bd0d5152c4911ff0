/* What the directory's writers ask of a store beside store-write.h. */
#ifndef HOMING_STORE_WRITE_PRIVATE_H
#define HOMING_STORE_WRITE_PRIVATE_H

#include <stddef.h>
#include <sys/types.h>

#include "store-write.h"

/* Says that about `bytes` of new keys and values are to come: the map grows to hold them at the
 * next growth or the next store_write, in one step instead of one for every doubling. */
void store_writer_reserve(struct store_writer *writer, size_t bytes);

/* The id of a group that new files may be given: (gid_t)-1 if we are not root, or if there is
 * no such group. */
gid_t store_group_id(const char *group);

#endif
