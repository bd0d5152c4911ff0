/* Reading a password: from standard input only, never from the command line or environment. */
#ifndef HOMINGCTL_SECRET_H
#define HOMINGCTL_SECRET_H

#include <stddef.h>

#include "credentials.h"

/* Wiped with secret_wipe by whoever read it. */
struct secret {
	char text[PASSWORD_MAX_BYTES + 1];
	size_t length;
};

/* Reads one line. On a terminal it asks with `prompt`, echo off, and with `twice` asks again and
 * compares. 0, or an exit code after a complaint; then nothing is left in *secret_r. */
int secret_read(const char *prompt, int twice, struct secret *secret_r);
void secret_wipe(struct secret *secret);

#endif
