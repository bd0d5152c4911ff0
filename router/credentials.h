/* Password hashes: made and verified with libsodium (Argon2id, RFC 9106), named as Dovecot names
 * them. Every buffer that held a secret is wiped. */
#ifndef HOMING_CREDENTIALS_H
#define HOMING_CREDENTIALS_H

#include <stdbool.h>
#include <stddef.h>

#include "directory.h"
#include "error.h"

enum { PASSWORD_MAX_BYTES = 1024 };

/* `{ARGON2ID}$argon2id$...` of the password, at libsodium's interactive limits (64 MiB). The
 * buffer is the caller's to wipe. Takes about a tenth of a second. */
MUST_CHECK int credential_make(const char *password, size_t length,
			       char credential_r[CREDENTIAL_SIZE], struct error *error);

/* 1 right, 0 wrong, -1 not a scheme that we can verify without Dovecot. */
MUST_CHECK int credential_verify(const char *credential, const char *password, size_t length,
				 struct error *error);

/* A well-formed hash that no known password has, as costly to verify as credential_make's. It is
 * verified where there is no account, so that a stranger cannot tell by the time it takes. */
#define CREDENTIAL_DECOY                                                                           \
	"{ARGON2ID}$argon2id$v=19$m=65536,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA"                          \
	"$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"

#endif
