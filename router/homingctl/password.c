/* password: set, verify, delete. */
#include "command.h"

#include <sodium.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "output.h"
#include "secret.h"
#include "session.h"

static int read_password(const struct call *call, int twice, struct secret *secret_r)
{
	if (!has_option(call, OPTION_STDIN) && !isatty(STDIN_FILENO)) {
		complain("%s: give --stdin to read the password from standard input",
			 call->command->name);
		return EX_USAGE;
	}
	return secret_read("password", twice, secret_r);
}

static int set_credential(const struct call *call, const struct entry_name *name,
			  const char *credential)
{
	struct directory_writer *writer;
	struct error error = {0};
	int code = writer_open(call, &writer);

	if (code != 0)
		return code;
	if (directory_password_set(writer, name->local, name->domain, credential, &error) < 0)
		code = fail(&error, EX_NOUSER);
	directory_writer_close(&writer);
	return code;
}

static int run_set(const struct call *call)
{
	char credential[CREDENTIAL_SIZE] = "";
	struct entry_name name;
	struct secret secret;
	struct error error = {0};
	int code = entry_name_parse(call, call->arguments[0], &name);

	if (code == 0)
		code = read_password(call, 1, &secret);
	if (code != 0)
		return code;
	if (credential_make(secret.text, secret.length, credential, &error) < 0)
		code = fail(&error, EX_SOFTWARE);
	else
		code = set_credential(call, &name, credential);
	secret_wipe(&secret);
	sodium_memzero(credential, sizeof credential);
	return code;
}

static int run_delete(const struct call *call)
{
	struct entry_name name;
	int code = entry_name_parse(call, call->arguments[0], &name);

	return code != 0 ? code : set_credential(call, &name, NULL);
}

/* 0 with the credential, or an exit code after a complaint. */
static int look_up(const struct call *call, const struct entry_name *name, char *credential)
{
	struct session session;
	struct error error = {0};
	int code = session_open(call, DIRECTORY_CREDENTIALS, &session);

	if (code != 0)
		return code;
	int kind = directory_kind(session.reader, name->local, name->domain, &error);
	int found = kind < 0 ? -1
			     : credential_lookup(session.reader, name->local, name->domain, credential,
						 &error);
	if (found < 0) {
		code = fail(&error, EX_NOINPUT);
	} else if (kind != ENTRY_ACCOUNT) {
		complain("%s: no such account", name->address);
		code = EX_NOUSER;
	} else if (found == 0) {
		complain("%s has no password", name->address);
		code = EX_NOUSER;
	}
	session_close(&session);
	return code;
}

static int verify(const struct entry_name *name, const char *credential,
		  const struct secret *secret)
{
	struct error error = {0};
	int right = credential_verify(credential, secret->text, secret->length, &error);

	if (right < 0) {
		complain("%s: %s; doveadm auth test asks Dovecot", name->address,
			 error.text[0] ? error.text : "the hash is of a scheme that only Dovecot knows");
		return EX_DATAERR;
	}
	print("%s\n", right ? "right" : "wrong");
	return right ? EX_OK : EX_NOUSER;
}

static int run_verify(const struct call *call)
{
	char credential[CREDENTIAL_SIZE] = "";
	struct entry_name name;
	struct secret secret;
	int code = entry_name_parse(call, call->arguments[0], &name);

	if (code == 0)
		code = read_password(call, 0, &secret);
	if (code != 0)
		return code;
	code = look_up(call, &name, credential);
	if (code == 0)
		code = verify(&name, credential, &secret);
	secret_wipe(&secret);
	sodium_memzero(credential, sizeof credential);
	return code;
}

const struct command password_set_command = {
	.name = "password set",
	.usage = "NAME [--stdin]",
	.summary = "Give an account a password",
	.help = "  --stdin           read one line from standard input; without it, ask on the terminal\n\n"
		"It is stored as {ARGON2ID}. A password is never taken from the command line.\n",
	.options = OPTION(OPTION_STDIN),
	.least = 1,
	.most = 1,
	.run = run_set,
};

const struct command password_verify_command = {
	.name = "password verify",
	.usage = "NAME [--stdin]",
	.summary = "Say whether a password is right",
	.help = "  --stdin           read one line from standard input; without it, ask on the terminal\n\n"
		"Exits 0 if it is right and 67 if it is wrong.\n",
	.options = OPTION(OPTION_STDIN),
	.least = 1,
	.most = 1,
	.run = run_verify,
};

const struct command password_delete_command = {
	.name = "password delete",
	.usage = "NAME",
	.summary = "Take an account's password away, so that nobody can log in",
	.help = "",
	.least = 1,
	.most = 1,
	.run = run_delete,
};
