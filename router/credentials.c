/* Password hashes by libsodium: crypto_pwhash_str is Argon2id (RFC 9106) in the string form that
 * Dovecot's {ARGON2ID} takes as well. */
#include "credentials.h"

#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

/* In front of what libsodium makes, and of what it can verify. */
static const char scheme[] = "{ARGON2ID}";

int credential_make(const char *password, size_t length, char credential_r[CREDENTIAL_SIZE],
		    struct error *error)
{
	char hash[crypto_pwhash_STRBYTES];

	if (sodium_init() < 0)
		return error_set(error, ERROR_IO, "libsodium does not start");
	if (length == 0 || length > PASSWORD_MAX_BYTES)
		return error_set(error, ERROR_INVALID, "a password has 1 to %d bytes",
				 PASSWORD_MAX_BYTES);
	if (memchr(password, '\0', length))
		return error_set(error, ERROR_INVALID, "a password has no NUL byte");
	if (crypto_pwhash_str_alg(hash, password, length, crypto_pwhash_OPSLIMIT_INTERACTIVE,
				  crypto_pwhash_MEMLIMIT_INTERACTIVE, crypto_pwhash_ALG_ARGON2ID13) != 0)
		return error_set(error, ERROR_MEMORY, "no memory to hash a password: Argon2id needs "
				 "64 MiB for a moment");
	snprintf(credential_r, CREDENTIAL_SIZE, "%s%s", scheme, hash);
	sodium_memzero(hash, sizeof hash);
	return 0;
}

/* Only what crypto_pwhash_str makes: libsodium also verifies Argon2i, Dovecot's {ARGON2I}. */
static const char *sodium_hash(const char *credential)
{
	static const char other[] = "{ARGON2I}";

	if (strncasecmp(credential, scheme, sizeof scheme - 1) == 0)
		return credential + sizeof scheme - 1;
	if (strncasecmp(credential, other, sizeof other - 1) == 0)
		return credential + sizeof other - 1;
	return NULL;
}

int credential_verify(const char *credential, const char *password, size_t length,
		      struct error *error)
{
	const char *hash = sodium_hash(credential);

	if (sodium_init() < 0)
		return error_set(error, ERROR_IO, "libsodium does not start");
	if (!hash)
		return error_set(error, ERROR_INVALID, "the hash is of a scheme that only Dovecot knows");
	/* libsodium's parameter is a string of this size; a longer one is none of its. */
	if (strlen(hash) >= crypto_pwhash_STRBYTES)
		return error_set(error, ERROR_INVALID, "the hash is longer than libsodium's");
	if (length > PASSWORD_MAX_BYTES)
		return 0;
	return crypto_pwhash_str_verify(hash, password, length) == 0 ? 1 : 0;
}
