/* share export-vfile: the way back, files dovecot-acl for Dovecot's own ACL backend.
 *
 * The folders belong to the mail user, who may do anything in them. So that no link there leads us
 * where only root may go, or to another user's mail, files are written as the owner of the list's
 * folder, which is opened once and by no link of a user's. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "folder-open.h"
#include "output.h"
#include "share-folders.h"
#include "vfile-line.h"
#include "vfile-tree.h"

#define NEW_NAME VFILE_NAME ".homing"

struct grants {
	struct grant *list;
	size_t count;
};

struct written {
	char *mailbox;
	bool seen; /* there is a folder */
};

struct export {
	const struct call *call;
	struct session session;
	struct sharing *sharing;
	const struct share_folder *at;
	struct grants whole; /* of the account */
	struct written *mailboxes; /* of the owner at hand: those with grants */
	size_t mailbox_count;
	const char *mailbox; /* at hand */
	size_t whole_files;  /* of this owner, into which the grants of the whole account went */
	size_t files, problems;
	struct error error;
};

static int out_of_memory(struct export *export)
{
	return error_set(&export->error, ERROR_MEMORY, "out of memory");
}

static void HOMING_PRINTF(2, 3) report(struct export *export, const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	export->problems++;
	complain("%s", text);
}

static int collect_grant(const struct grant *grant, void *context)
{
	struct grants *grants = context;
	struct grant *grown = realloc(grants->list, (grants->count + 1) * sizeof *grown);

	if (!grown)
		return 1;
	grants->list = grown;
	grown[grants->count++] = *grant;
	return 0;
}

/* 0, or -1. */
static int read_grants(struct export *export, const char *mailbox, struct grants *grants)
{
	*grants = (struct grants){0};
	int answer = sharing_each_grant(export->sharing, export->at->owner.name, mailbox, collect_grant,
					grants, &export->error);
	return answer > 0 ? out_of_memory(export) : answer;
}

static bool has_grantee(const struct grants *grants, const struct grantee *who)
{
	for (size_t i = 0; i < grants->count; i++)
		if (grantee_compare(&grants->list[i].who, who) == 0)
			return true;
	return false;
}

/* The text of one file */

static int put_halves(struct export *export, FILE *text, const struct grant *grant,
		      const struct grantee *who)
{
	char line[ADDRESS_SIZE + 64];

	for (int negative = 0; negative < 2; negative++) {
		if (!(negative ? grant->has_negative : grant->has_rights))
			continue;
		if (!vfile_line_format(who, negative, negative ? grant->negative : grant->rights, line,
				       sizeof line))
			return error_set(&export->error, ERROR_INVALID, "%s: cannot be written", who->name);
		fputs(line, text);
	}
	return 0;
}

struct expansion {
	struct export *export;
	FILE *text;
	const struct grant *grant;
	const struct grants *own; /* an account with a grant of its own has a line already */
	size_t accounts;
};

static int put_account(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	struct expansion *expansion = context;
	struct grantee who = {.kind = GRANTEE_USER};

	(void)kind;
	snprintf(who.name, sizeof who.name, "%s@%s", local, domain);
	if (has_grantee(expansion->own, &who) ||
	    strcmp(who.name, expansion->export->at->owner.name) == 0)
		return 0;
	expansion->accounts++;
	return put_halves(expansion->export, expansion->text, expansion->grant, &who);
}

/* vfile has no identifier for a domain: every account that it has today, by name. */
static int put_domain(struct export *export, FILE *text, const struct grant *grant,
		      const struct grants *all)
{
	struct expansion expansion = {.export = export, .text = text, .grant = grant, .own = all};
	struct domain_rules rules;
	int found = domain_lookup(export->session.reader, grant->who.name, &rules, &export->error);

	if (found < 0)
		return -1;
	if (found == 0 || rules.accounts != ACCOUNTS_DIRECTORY) {
		report(export, "%s: anyone@%s cannot be written: the directory does not know its accounts",
		       export->at->owner.name, grant->who.name);
		return 0;
	}
	if (directory_each_entry(export->session.reader, grant->who.name, ENTRY_ACCOUNT, put_account,
				 &expansion, &export->error) < 0)
		return -1;
	char *mailbox = share_mailbox_text(export->mailbox, '/');
	if (!mailbox)
		return out_of_memory(export);
	print("%s: %s: anyone@%s is written as %zu accounts\n", export->at->owner.name, mailbox,
	      grant->who.name, expansion.accounts);
	free(mailbox);
	return 0;
}

static int put_grants(struct export *export, FILE *text, const struct grants *grants,
		      const struct grants *all)
{
	for (size_t i = 0; i < grants->count; i++) {
		const struct grant *grant = &grants->list[i];

		if (grants != all && has_grantee(all, &grant->who))
			continue;
		int answer = grant->who.kind == GRANTEE_DOMAIN
				     ? put_domain(export, text, grant, all)
				     : put_halves(export, text, grant, &grant->who);
		if (answer < 0)
			return -1;
	}
	return 0;
}

/* Free *text_r. An empty text: no grants. */
static int make_text(struct export *export, const char *mailbox, char **text_r)
{
	struct grants own;
	size_t size;

	export->mailbox = mailbox;
	if (read_grants(export, mailbox, &own) < 0) {
		free(own.list);
		return -1;
	}
	FILE *text = open_memstream(text_r, &size);
	int answer = text ? put_grants(export, text, &own, &own) : out_of_memory(export);
	if (answer == 0)
		answer = put_grants(export, text, &export->whole, &own);
	if (text && fclose(text) != 0)
		answer = out_of_memory(export);
	free(own.list);
	return answer;
}

/* Files */

static int write_file(const struct vfile_folder *folder, const char *text)
{
	struct stat status;
	size_t length = strlen(text);

	if (fstat(folder->fd, &status) < 0 || (unlinkat(folder->fd, NEW_NAME, 0) < 0 && errno != ENOENT))
		return -1;
	int fd = openat(folder->fd, NEW_NAME, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0)
		return -1;
	bool good = fchmod(fd, (status.st_mode & 0660) | 0600) == 0 &&
		    write(fd, text, length) == (ssize_t)length && fsync(fd) == 0;
	int failure = errno;
	close(fd);
	if (good && renameat(folder->fd, NEW_NAME, folder->fd, VFILE_NAME) == 0)
		return 0;
	failure = good ? errno : failure;
	unlinkat(folder->fd, NEW_NAME, 0);
	errno = failure;
	return -1;
}

static int put_file(struct export *export, const struct vfile_folder *folder, const char *text)
{
	bool dry = has_option(export->call, OPTION_DRY_RUN);

	if (text[0] == '\0' && !folder->has_acl)
		return 0;
	/* an old file would give its rights again */
	if (folder->has_acl && !has_option(export->call, OPTION_FORCE)) {
		report(export, "%s/" VFILE_NAME ": there is one already; --force %s it", folder->path,
		       text[0] ? "replaces" : "removes");
		return 0;
	}
	export->files++;
	if (dry)
		print("%s/" VFILE_NAME "\n", folder->path);
	else if (text[0] == '\0' ? unlinkat(folder->fd, VFILE_NAME, 0) < 0
				 : write_file(folder, text) < 0)
		report(export, "%s/" VFILE_NAME ": %s", folder->path, strerror(errno));
	return 0;
}

static void mark_seen(struct export *export, const char *mailbox)
{
	for (size_t i = 0; i < export->mailbox_count; i++)
		if (strcmp(export->mailboxes[i].mailbox, mailbox) == 0)
			export->mailboxes[i].seen = true;
}

static int export_folder(const struct vfile_folder *folder, void *context)
{
	struct export *export = context;
	char *text = NULL;

	if (!folder->is_mailbox)
		return 0;
	if (!folder->mailbox) {
		report(export, "%s: %s", folder->path, folder->why);
		return 0;
	}
	mark_seen(export, folder->mailbox);
	export->whole_files += export->whole.count > 0;
	int answer = make_text(export, folder->mailbox, &text);
	if (answer == 0)
		answer = put_file(export, folder, text);
	free(text);
	return answer;
}

static int note_mailbox(const char *owner, const char *mailbox, const struct grant *grant,
			void *context)
{
	struct export *export = context;
	size_t count = export->mailbox_count;

	(void)owner;
	(void)grant;
	if (mailbox[0] == '\0' ||
	    (count > 0 && strcmp(export->mailboxes[count - 1].mailbox, mailbox) == 0))
		return 0;
	struct written *grown = realloc(export->mailboxes, (count + 1) * sizeof *grown);
	if (!grown)
		return 1;
	export->mailboxes = grown;
	char *copy = strdup(mailbox);
	if (!copy)
		return 1;
	grown[export->mailbox_count++] = (struct written){.mailbox = copy};
	return 0;
}

static void forget_owner(struct export *export)
{
	for (size_t i = 0; i < export->mailbox_count; i++)
		free(export->mailboxes[i].mailbox);
	free(export->mailboxes);
	free(export->whole.list);
	export->mailboxes = NULL;
	export->mailbox_count = 0;
	export->whole_files = 0;
	export->whole = (struct grants){0};
}

static void report_unseen(struct export *export)
{
	for (size_t i = 0; i < export->mailbox_count; i++) {
		if (export->mailboxes[i].seen)
			continue;
		char *text = share_mailbox_text(export->mailboxes[i].mailbox, '/');
		report(export, "%s: %s: no such mailbox below %s", export->at->owner.name,
		       text ? text : "?", export->at->folder);
		free(text);
	}
}

/* Root's supplementary groups, put away while it works as somebody else. */
struct groups {
	gid_t *list;
	int count;
};

/* As the folder's owner, where we are root: with no right that the owner has not. */
static int become(const struct stat *status, struct groups *kept)
{
	if (geteuid() != 0)
		return 0;
	kept->count = getgroups(0, NULL);
	if (kept->count < 0)
		return -1;
	kept->list = calloc((size_t)kept->count + 1, sizeof(*kept->list));
	if (!kept->list || (kept->count = getgroups(kept->count, kept->list)) < 0)
		return -1;
	return setgroups(1, &status->st_gid) < 0 || setegid(status->st_gid) < 0 ||
			       seteuid(status->st_uid) < 0
		       ? -1
		       : 0;
}

static int become_root_again(struct groups *kept)
{
	int answer = 0;

	if (kept->list && (seteuid(0) < 0 || setegid(getgid()) < 0 ||
			   setgroups((size_t)kept->count, kept->list) < 0))
		answer = -1;
	free(kept->list);
	kept->list = NULL;
	return answer;
}

static int write_files(struct export *export, int folder)
{
	struct stat status;
	struct groups kept = {0};
	int answer;

	if (fstat(folder, &status) < 0 || become(&status, &kept) < 0)
		answer = error_set(&export->error, ERROR_PERMISSION, "%s: become its owner: %s",
				   export->at->folder, strerror(errno));
	else
		answer = vfile_tree_walk(folder, export->at->folder, export_folder, export,
					 &export->error);
	if (become_root_again(&kept) < 0)
		return error_set(&export->error, ERROR_PERMISSION, "become root again: %s",
				 strerror(errno));
	return answer;
}

static int export_owner(struct export *export)
{
	int folder = folder_open(export->at->folder, &export->error);

	if (folder < 0)
		return -1;
	int answer = read_grants(export, "", &export->whole);
	if (answer == 0 && (answer = sharing_each_of_owner(export->sharing, export->at->owner.name,
							   note_mailbox, export, &export->error)) > 0)
		answer = out_of_memory(export);
	if (answer == 0)
		answer = write_files(export, folder);
	close(folder);
	if (answer == 0 && export->whole.count > 0)
		print("%s: *: written into each of %zu mailboxes\n", export->at->owner.name,
		      export->whole_files);
	if (answer == 0)
		report_unseen(export);
	return answer;
}

static int export_all(struct export *export, const struct share_folders *folders)
{
	for (size_t i = 0; i < folders->count; i++) {
		export->at = &folders->list[i];
		int answer = export_owner(export);
		forget_owner(export);
		if (answer < 0)
			return -1;
	}
	return 0;
}

static int run_export(const struct call *call)
{
	struct export export = {.call = call};
	struct share_folders folders = {0};
	int code = session_open(call, DIRECTORY_NAMES, &export.session);

	if (code != 0)
		return code;
	code = share_folders_read(&export.session, call->arguments[0], &folders);
	if (code == 0) {
		int answer = sharing_open(call->directory, &export.sharing, &export.error);

		if (answer == 0 && (answer = sharing_begin(export.sharing, &export.error)) == 0) {
			answer = export_all(&export, &folders);
			sharing_end(export.sharing);
		}
		sharing_close(&export.sharing);
		code = answer < 0 ? fail(&export.error, EX_NOINPUT) : export.problems > 0 ? EX_DATAERR : 0;
		if (answer == 0)
			print("%zu files%s\n", export.files,
			      has_option(call, OPTION_DRY_RUN) ? " would be written" : "");
	}
	share_folders_finish(&folders);
	session_close(&export.session);
	return code;
}

const struct command share_export_command = {
	.name = "share export-vfile",
	.usage = "LIST [--dry-run] [--force]",
	.summary = "Write the grants as files of Dovecot's own ACL backend",
	.help = "LIST (- is standard input) has a line `OWNER TAB FOLDER` for each account, as for share\n"
		"import-vfile. A file dovecot-acl goes into the folder of each mailbox with grants. Where one is\n"
		"already, --force replaces it, and removes those of mailboxes without grants. What that backend\n"
		"does not have is written out: * into every mailbox that there is, anyone@domain as every account\n"
		"that the directory has today; each is said. Afterwards `doveadm acl recalc -A` makes its lists anew.\n"
		"Exit code 65 if something could not be written; each is reported.\n",
	.options = OPTION(OPTION_DRY_RUN) | OPTION(OPTION_FORCE),
	.least = 1,
	.most = 1,
	.run = run_export,
};
