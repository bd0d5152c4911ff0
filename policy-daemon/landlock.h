/* Landlock: which files this process may still open. By system calls alone, without a library. */
#ifndef HOMING_LANDLOCK_H
#define HOMING_LANDLOCK_H

#include <stddef.h>

/* From now on, for this thread and those it starts: files below `directory` may be read and written
 * (as far as the user may), none made; of the folders that `sockets` are in, entries may be removed;
 * nothing else is opened by a path, no TCP port is bound or connected to, no abstract UNIX socket, and
 * no process outside gets a signal. What the kernel's Landlock does not know yet is left out.
 * 1: so it is. 0: this kernel has no Landlock, or keeps it from us. -1: errno. Needs no_new_privs. */
int landlock_enter(const char *directory, const char *const *sockets, size_t socket_count);

#endif
