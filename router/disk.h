/* What kind of disk a file is on. */
#ifndef HOMING_DISK_H
#define HOMING_DISK_H

#include <stdbool.h>

/* Can nobody on this machine write to the disk that has PATH? So it is after an error of the disk, or
 * `mount -o remount,ro`. A mount alone that is read-only does not count: others may see the same disk
 * writable elsewhere. Where that cannot be found out, as in a process that sees no /proc, the answer is
 * no. Reads a file of /proc. */
bool disk_is_read_only(const char *path);

/* Does this line of that file speak of a disk to which nobody can write? */
bool disk_line_says_read_only(const char *line);

#endif
