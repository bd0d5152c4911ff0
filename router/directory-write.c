/* The directory for writing: its files, and the commands on one account. Names that lead to others
 * are in directory-names.c, many accounts in directory-import.c, homing.json in
 * directory-apply.c. */
#include "directory-write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "directory-account.h"
#include "directory-credential.h"
#include "directory-edit.h"
#include "directory-follow.h"
#include "directory-grants.h"
#include "sharing-edit.h"
#include "store-write-private.h"

static const struct store_kind directory_kind_of_file = {
	.name = "directory",
	.tables = directory_tables,
	.dupsort = DIRECTORY_DUPSORT,
	.mode = 0640,
	.group = HOMING_GROUP,
};
static const struct store_kind credentials_kind_of_file = {
	.name = "credentials",
	.tables = credentials_tables,
	.mode = 0640,
	.group = HOMING_AUTH_GROUP,
};

enum { FOLDER_MODE = 0750 };

/* Under another name until it has its rights, as the files in it. */
static int make_folder(const char *path, struct error *error)
{
	gid_t gid = store_group_id(HOMING_GROUP);
	char *fresh;

	if (asprintf(&fresh, "%s.new", path) < 0)
		return store_error(error, ENOMEM, "create", path);
	int rc = mkdir(fresh, 0700) < 0 && errno != EEXIST ? errno : 0;
	int fd = rc == 0 ? open(fresh, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC) : -1;
	if (rc == 0 && (fd < 0 || (gid != (gid_t)-1 && fchown(fd, (uid_t)-1, gid) < 0) ||
			fchmod(fd, FOLDER_MODE) < 0 || rename(fresh, path) < 0))
		rc = errno;
	if (fd >= 0)
		close(fd);
	/* somebody else may have made it meanwhile */
	if (rc == ENOTEMPTY || rc == EEXIST)
		rc = rmdir(fresh) < 0 ? errno : 0;
	free(fresh);
	if (rc == ENOENT)
		return error_set(error, ERROR_MISSING, "%s: create: the folder above it is missing: make "
				 "that one first, or choose another --directory", path);
	return rc == 0 ? 0 : store_error(error, rc, "create", path);
}

static bool exists(const char *path)
{
	struct stat status;

	return stat(path, &status) == 0 || errno != ENOENT;
}

static int open_store(const char *folder, const char *name, const struct store_kind *kind,
		      bool create, struct store_writer **store_r, struct error *error)
{
	char *path;

	if (asprintf(&path, "%s/%s", folder, name) < 0)
		return store_error(error, ENOMEM, "open", folder);
	int answer = store_writer_open(path, kind, create, store_r, error);
	free(path);
	return answer;
}

/* An older directory may be without it. */
static int open_sharing(const char *folder, bool create, struct sharing_writer **sharing_r,
			struct error *error)
{
	char *path;

	if (asprintf(&path, "%s/%s", folder, SHARING_FILE) < 0)
		return store_error(error, ENOMEM, "open", folder);
	int answer = create || exists(path) ? sharing_writer_make(folder, create, sharing_r, error) : 0;
	free(path);
	return answer;
}

int directory_writer_open(const char *path, bool create, struct directory_writer **writer_r,
			  struct error *error)
{
	if (create && !exists(path) && make_folder(path, error) < 0)
		return -1;
	struct directory_writer *writer = calloc(1, sizeof *writer);
	if (!writer)
		return store_error(error, ENOMEM, "open", path);
	int answer = open_store(path, DIRECTORY_FILE, &directory_kind_of_file, create,
				&writer->names, error);
	if (answer == 0)
		answer = open_store(path, CREDENTIALS_FILE, &credentials_kind_of_file, create,
				    &writer->credentials, error);
	if (answer == 0)
		answer = open_sharing(path, create, &writer->sharing, error);
	if (answer == 0)
		answer = grants_recover(writer, error);
	if (answer < 0)
		directory_writer_close(&writer);
	else
		*writer_r = writer;
	return answer;
}

void directory_writer_close(struct directory_writer **writer)
{
	if (!*writer)
		return;
	store_writer_close(&(*writer)->names);
	store_writer_close(&(*writer)->credentials);
	sharing_writer_close(&(*writer)->sharing);
	free(*writer);
	*writer = NULL;
}

/* One command on an account, for the callback of store_write. */
struct account_command {
	const struct account_change *account; /* of an addition */
	const char *local, *domain, *new_local, *new_domain;
	bool force;
	struct edit_name name;     /* whose password is written: of a renaming, the new name */
	struct edit_name old_name; /* of a renaming */
	struct credential_change credential;
	struct sharing_writer *sharing;
};

static struct edit begin(MDB_txn *txn, const MDB_dbi *tables, struct error *error)
{
	return (struct edit){.txn = txn, .tables = tables, .error = error};
}

/* Runs it on directory.mdb; the callback's last step writes credentials.mdb. */
static int run(struct directory_writer *writer, store_change_cb *change,
	       struct account_command *command, struct error *error)
{
	command->sharing = writer->sharing;
	command->credential.store = writer->credentials;
	command->credential.name = &command->name;
	int answer = store_write(writer->names, change, command, error);
	credential_change_finish(&command->credential, answer < 0);
	return answer < 0 ? -1 : 0;
}

static int change_add(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	struct account_command *command = context;
	struct edit edit = begin(txn, tables, error);
	struct edit_name *name = &command->name;
	struct value_writer value = {0};

	if (edit_name_init(&edit, command->account->local, command->account->domain, name) < 0 ||
	    account_check(command->account, error) < 0 ||
	    edit_check_domain(&edit, name->domain, true) < 0 || edit_expect_free(&edit, name) < 0)
		return -1;
	int answer = account_value(command->account, &value, error);
	if (answer == 0)
		answer = edit_put(&edit, TABLE_NAMES, name->key, name->key_length, value.data,
				  value.length);
	free(value.data);
	if (answer == 0)
		answer = account_join(&edit, name, command->account->groups, false);
	if (answer == 0)
		answer = grants_forget(command->sharing, ENTRY_ACCOUNT, name, error);
	return answer < 0 ? -1 : credential_change_write(&command->credential, error);
}

int directory_account_add(struct directory_writer *writer, const struct account_change *account,
			  struct error *error)
{
	struct account_command command = {
		.account = account,
		.credential = {.credential = account->credential},
	};

	return run(writer, change_add, &command, error);
}

static int change_delete(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	struct account_command *command = context;
	struct edit edit = begin(txn, tables, error);
	struct edit_name *name = &command->name;

	if (edit_name_init(&edit, command->local, command->domain, name) < 0 ||
	    edit_expect(&edit, name, ENTRY_ACCOUNT) < 0 ||
	    (!command->force && follow_expect_none(&edit, name) < 0) ||
	    follow_remove(&edit, name) < 0 ||
	    edit_delete(&edit, TABLE_NAMES, name->key, name->key_length, NULL) < 0 ||
	    credential_change_write(&command->credential, error) < 0)
		return -1;
	/* The last step: unlike a password, grants cannot be put back. */
	return grants_forget(command->sharing, ENTRY_ACCOUNT, name, error);
}

int directory_account_delete(struct directory_writer *writer, const char *local,
			     const char *domain, bool force, struct error *error)
{
	struct account_command command = {.local = local, .domain = domain, .force = force};

	return run(writer, change_delete, &command, error);
}

static int change_rename(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	struct account_command *command = context;
	struct edit edit = begin(txn, tables, error);
	struct edit_name *old = &command->old_name, *new = &command->name;
	char home[ACCOUNT_HOME_SIZE];

	if (edit_name_init(&edit, command->local, command->domain, old) < 0 ||
	    edit_name_init(&edit, command->new_local, command->new_domain, new) < 0 ||
	    edit_expect(&edit, old, ENTRY_ACCOUNT) < 0 || edit_expect_free(&edit, new) < 0 ||
	    edit_check_domain(&edit, new->domain, true) < 0 ||
	    account_home(&edit, old, home) < 0 || follow_rename(&edit, old, new) < 0 ||
	    account_copy(&edit, old, new, home) < 0 ||
	    edit_delete(&edit, TABLE_NAMES, old->key, old->key_length, NULL) < 0 ||
	    credential_change_write(&command->credential, error) < 0)
		return -1;
	return grants_rename_start(command->sharing, old, new, error);
}

/* What is left of a renaming. The transaction on directory.mdb, which stays as it is, keeps others
 * from making an account of the old name, whose password this would be. */
static int change_forget(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	struct account_command *command = context;
	struct edit edit = begin(txn, tables, error);
	int kind = edit_kind(&edit, &command->old_name);

	if (kind < 0 || (kind != ENTRY_ACCOUNT &&
			 credential_delete(command->credential.store, &command->old_name, error) < 0))
		return -1;
	return 1;
}

static int forget_old_password(struct directory_writer *writer, struct account_command *command,
			       struct error *error)
{
	struct error failure = {0};

	if (store_write(writer->names, change_forget, command, &failure) >= 0)
		return 0;
	return error_set(error, failure.code, "%s is %s now, but the password under the old name could "
			 "not be deleted: %s", command->old_name.address, command->name.address,
			 failure.text);
}

int directory_account_rename(struct directory_writer *writer, const char *local,
			     const char *domain, const char *new_local, const char *new_domain,
			     struct error *error)
{
	struct account_command command = {
		.local = local,
		.domain = domain,
		.new_local = new_local,
		.new_domain = new_domain,
	};

	command.credential.from = &command.old_name;
	int answer = run(writer, change_rename, &command, error);
	grants_rename_end(writer->sharing, answer < 0);
	if (answer < 0)
		return -1;
	return forget_old_password(writer, &command, error);
}

/* Leaves directory.mdb as it is; its transaction keeps the account from going meanwhile. */
static int change_password(MDB_txn *txn, const MDB_dbi *tables, void *context,
			   struct error *error)
{
	struct account_command *command = context;
	struct edit edit = begin(txn, tables, error);

	if (edit_name_init(&edit, command->local, command->domain, &command->name) < 0 ||
	    edit_expect(&edit, &command->name, ENTRY_ACCOUNT) < 0 ||
	    credential_change_write(&command->credential, error) < 0)
		return -1;
	return 1;
}

int directory_password_set(struct directory_writer *writer, const char *local, const char *domain,
			   const char *credential, struct error *error)
{
	const char *why = credential
				  ? credential_refusal(credential, strnlen(credential, CREDENTIAL_SIZE))
				  : NULL;
	struct account_command command = {
		.local = local,
		.domain = domain,
		.credential = {.credential = credential}, // cppcheck-suppress unknownEvaluationOrder
	};

	if (why)
		return error_set(error, ERROR_INVALID, "%s@%s: password: %s", local, domain, why);
	return run(writer, change_password, &command, error);
}
