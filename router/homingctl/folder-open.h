/* Opening a folder whose path may lead through folders of users. */
#ifndef HOMINGCTL_FOLDER_OPEN_H
#define HOMINGCTL_FOLDER_OPEN_H

#include "error.h"

/* Whoever may write into a folder on the way could put a symbolic link there, that leads to somebody
 * else's: links are followed only where they are root's or those of the user that we run as. Returns a
 * descriptor for reading, or -1. */
MUST_CHECK int folder_open(const char *path, struct error *error);

#endif
