/* share import-vfile: takes over the grants of Dovecot's own ACL backend, all in one transaction, and
 * says of each line that cannot be taken where it is and why. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "folder-open.h"
#include "output.h"
#include "share-folders.h"
#include "shared-dict.h"
#include "sharing-write.h"
#include "string-set.h"
#include "vfile-line.h"
#include "vfile-tree.h"

/* Users can make files of any size, and name them as they like. */
enum { MAX_ACL_BYTES = 1 << 20, MAX_LIST_BYTES = 16 << 20 };

struct imported {
	const char *owner; /* of the list of folders */
	char *mailbox;
	struct grant_change change;
};

struct import {
	const struct call *call;
	struct session session;
	struct share_folders folders;
	const struct share_folder *at;
	struct imported *grants;
	size_t count, allocated;
	size_t mailbox_begin; /* of the mailbox at hand, in `grants` */
	struct string_set with_file; /* mailboxes of the owner at hand that have an ACL file */
	size_t files, not_taken;
	json_t *problems; /* with --json */
	struct error error;
	size_t next; /* of writing */
};

static void report(struct import *import, const char *path, size_t line, const char *text,
		   const char *why)
{
	import->not_taken++;
	if (import->problems)
		json_array_append_new(import->problems,
				      json_pack("{s:o,s:I,s:o,s:o}", "file", json_text(path), "line",
						(json_int_t)line, "text", json_text(text), "why",
						json_text(why)));
	else if (line > 0)
		complain("%s:%zu: %s: %s", path, line, text, why);
	else
		complain("%s: %s", path, why);
}

static int out_of_memory(struct import *import)
{
	return error_set(&import->error, ERROR_MEMORY, "out of memory");
}

static void apply_line(struct grant_change *change, const struct vfile_line *line)
{
	/* the same identifier twice in a file adds up */
	if (line->negative) {
		change->negative_mode = GRANT_REPLACE;
		change->negative |= line->rights;
	} else {
		change->mode = GRANT_REPLACE;
		change->rights |= line->rights;
	}
}

static int keep(struct import *import, const char *mailbox, const struct grantee *who,
		const struct vfile_line *line)
{
	for (size_t i = import->mailbox_begin; i < import->count; i++) {
		if (grantee_compare(&import->grants[i].change.who, who) != 0)
			continue;
		apply_line(&import->grants[i].change, line);
		return 0;
	}
	if (import->count == import->allocated) {
		size_t size = import->allocated ? import->allocated * 2 : 64;
		struct imported *grown = realloc(import->grants, size * sizeof *grown);

		if (!grown)
			return out_of_memory(import);
		import->grants = grown;
		import->allocated = size;
	}
	/* not NULL: where a folder has no mailbox, it has a reason for that */
	char *copy = strdup(mailbox); // NOLINT(clang-analyzer-core.NonNullParamChecker)
	if (!copy)
		return out_of_memory(import);
	struct imported *grant = &import->grants[import->count++];
	*grant = (struct imported){.owner = import->at->owner.name, .mailbox = copy};
	grant->change.who = *who;
	apply_line(&grant->change, line);
	return 0;
}

static int take_line(struct import *import, const struct vfile_folder *folder, const char *path,
		     size_t number, const char *text, size_t length)
{
	char why[GRANTEE_WHY_SIZE];
	struct vfile_line line;
	struct grantee who;
	const char *refusal = vfile_line_parse(text, length, &line);

	if (!refusal && line.who[0] == '\0')
		return 0;
	if (!refusal && !folder->mailbox)
		refusal = folder->why;
	if (!refusal) {
		int found = grantee_parse(import->session.reader, line.who, import->at->owner.domain, &who,
					  why, &import->error);
		if (found < 0)
			return -1;
		if (found > 0 && who.kind == line.kind)
			return keep(import, folder->mailbox, &who, &line);
		refusal = found > 0 ? VFILE_OTHER_KIND : why;
	}
	char *shown = strndup(text, length);
	if (!shown)
		return out_of_memory(import);
	report(import, path, number, shown, refusal);
	free(shown);
	return 0;
}

static int take_lines(struct import *import, const struct vfile_folder *folder, const char *path,
		      const char *bytes, size_t length)
{
	const char *end = bytes + length;

	import->mailbox_begin = import->count;
	for (size_t number = 1; bytes < end; number++) {
		const char *newline = memchr(bytes, '\n', (size_t)(end - bytes));
		const char *stop = newline ? newline : end;

		if (take_line(import, folder, path, number, bytes, (size_t)(stop - bytes)) < 0)
			return -1;
		bytes = newline ? newline + 1 : end;
	}
	return 0;
}

/* The whole file; -1 with errno. Free *bytes_r. */
static ssize_t read_file(int folder, const char *name, size_t most, char **bytes_r)
{
	int fd = openat(folder, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	ssize_t got = 0;
	size_t length = 0;

	if (fd < 0)
		return -1;
	char *bytes = malloc(most + 1);
	while (bytes && length <= most && (got = read(fd, bytes + length, most + 1 - length)) > 0)
		length += (size_t)got;
	int failure = !bytes ? ENOMEM : got < 0 ? errno : length > most ? EFBIG : 0;
	close(fd);
	if (failure == 0) {
		*bytes_r = bytes;
		return (ssize_t)length;
	}
	free(bytes);
	errno = failure;
	return -1;
}

static int take_folder(const struct vfile_folder *folder, void *context)
{
	struct import *import = context;
	char *path, *bytes;

	if (!folder->has_acl)
		return 0;
	if (folder->mailbox &&
	    string_set_add(&import->with_file, folder->mailbox, strlen(folder->mailbox)) < 0)
		return out_of_memory(import);
	if (asprintf(&path, "%s/" VFILE_NAME, folder->path) < 0)
		return out_of_memory(import);
	ssize_t length = read_file(folder->fd, VFILE_NAME, MAX_ACL_BYTES, &bytes);
	int answer = 0;
	if (length < 0) {
		report(import, path, 0, "", strerror(errno));
	} else {
		import->files++;
		answer = take_lines(import, folder, path, bytes, (size_t)length);
		free(bytes);
	}
	free(path);
	return answer;
}

/* dovecot-acl-list names the mailboxes on which others have rights. One without a file has them from
 * elsewhere: the global ACLs, or the defaults. */

static bool has_file(struct import *import, const char *stored)
{
	char mailbox[MAILBOX_SIZE];

	/* whose separator it has depends on the layout */
	for (const char *separator = "./"; *separator; separator++) {
		if (vfile_name_parse(stored, *separator, mailbox) != NULL)
			continue;
		for (size_t i = 0; i < import->with_file.count; i++)
			if (strcmp(import->with_file.items[i].bytes, mailbox) == 0)
				return true;
	}
	return false;
}

static int check_list_line(struct import *import, const char *path, size_t number, const char *line,
			   size_t length)
{
	char *text = strndup(line, length);

	if (!text)
		return out_of_memory(import);
	/* the time of the file, and the mailbox */
	const char *name = strchr(text, ' ');
	if (name && !has_file(import, name + 1))
		report(import, path, number, text,
		       "others have rights there, but not from a " VFILE_NAME
		       " of its own: from global ACLs or defaults, or it is gone");
	free(text);
	return 0;
}

static int check_list(struct import *import, int folder, const char *path)
{
	char *bytes;
	ssize_t length = read_file(folder, VFILE_NAME "-list", MAX_LIST_BYTES, &bytes);
	int answer = 0;

	if (length < 0) {
		if (errno != ENOENT)
			report(import, path, 0, "", strerror(errno));
		return 0;
	}
	const char *end = bytes + length, *next = bytes;
	for (size_t number = 1; answer == 0 && next < end; number++) {
		const char *newline = memchr(next, '\n', (size_t)(end - next));
		const char *stop = newline ? newline : end;

		answer = check_list_line(import, path, number, next, (size_t)(stop - next));
		next = newline ? newline + 1 : end;
	}
	free(bytes);
	return answer;
}

static int check_lists(struct import *import, int root)
{
	static const char *const places[] = {".", "mailboxes", ".imap"};
	int answer = 0;

	for (size_t i = 0; i < sizeof places / sizeof places[0] && answer == 0; i++) {
		int fd = openat(root, places[i], O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		char *path;

		if (fd < 0)
			continue;
		if (asprintf(&path, "%s/%s%s" VFILE_NAME "-list", import->at->folder,
			     i > 0 ? places[i] : "", i > 0 ? "/" : "") < 0) {
			close(fd);
			return out_of_memory(import);
		}
		answer = check_list(import, fd, path);
		close(fd);
		free(path);
	}
	return answer;
}

static int take_owner(struct import *import)
{
	int folder = folder_open(import->at->folder, &import->error);

	if (folder < 0)
		return -1;
	int answer = vfile_tree_walk(folder, import->at->folder, take_folder, import, &import->error);
	if (answer == 0)
		answer = check_lists(import, folder);
	close(folder);
	string_set_finish(&import->with_file);
	return answer;
}

/* acl_shared_dict names owners. One without a folder in the list would be forgotten. */

static bool has_folder(const struct import *import, const char *owner)
{
	for (size_t i = 0; i < import->folders.count; i++)
		if (strcmp(import->folders.list[i].owner.name, owner) == 0)
			return true;
	return false;
}

struct dict_line {
	struct import *import;
	const char *file;
	size_t number;
	struct string_set seen; /* owners stand there once for each whom they share with */
	const char *domain;	 /* of a bare name: the main domain */
};

static void check_owner(const char *owner, void *context)
{
	struct dict_line *line = context;
	struct import *import = line->import;
	char why[GRANTEE_WHY_SIZE];
	struct grantee known;

	int added = string_set_add(&line->seen, owner, strlen(owner));
	if (added < 0)
		out_of_memory(import);
	if (added <= 0)
		return;
	int found = grantee_parse(import->session.reader, owner, line->domain, &known, why,
				  &import->error);
	if (found == 0)
		report(import, line->file, line->number, owner, why);
	else if (found > 0 && known.kind != GRANTEE_USER)
		report(import, line->file, line->number, owner, "is no account");
	else if (found > 0 && !has_folder(import, known.name))
		report(import, line->file, line->number, owner,
		       "shares mailboxes, but the list has no folder of this owner");
}

static int check_dict_lines(struct import *import, FILE *stream, struct dict_line *line)
{
	struct shared_dict state = {0};
	char *text = NULL;
	size_t size = 0;

	while (import->error.code == ERROR_NONE && getline(&text, &size, stream) >= 0) {
		char *shown = strdup(text);

		if (!shown)
			return out_of_memory(import);
		shown[strcspn(shown, "\r\n")] = '\0';
		line->number++;
		if (!shared_dict_line(&state, text, check_owner, line))
			report(import, line->file, line->number, shown,
			       "no line of an acl_shared_dict, or of a dump of its tables");
		free(shown);
	}
	free(text);
	if (ferror(stream))
		error_set(&import->error, ERROR_IO, "%s: %s", line->file, strerror(errno));
	return import->error.code == ERROR_NONE ? 0 : -1;
}

static int check_dict(struct import *import)
{
	const char *file = import->call->options[OPTION_SHARED_DICT];

	if (!file)
		return 0;
	struct dict_line line = {.import = import, .file = file};
	line.domain = directory_main_domain(import->session.reader, &import->error);
	if (!line.domain)
		return -1;
	FILE *stream = fopen(file, "re");
	if (!stream)
		return error_set(&import->error, errno == ENOENT ? ERROR_MISSING : ERROR_IO, "%s: %s", file,
				 strerror(errno));
	int answer = check_dict_lines(import, stream, &line);
	string_set_finish(&line.seen);
	fclose(stream);
	return answer;
}

/* Writing */

static int next_grant(void *context, const char **owner, const char **mailbox,
		      struct grant_change *change, struct error *error)
{
	struct import *import = context;

	(void)error;
	if (import->next == import->count)
		return 0;
	const struct imported *grant = &import->grants[import->next++];
	*owner = grant->owner;
	*mailbox = grant->mailbox;
	*change = grant->change;
	return 1;
}

static void rewind_grants(void *context)
{
	struct import *import = context;

	import->next = 0;
}

static int write_grants(struct import *import)
{
	struct sharing_source source = {
		.next = next_grant,
		.rewind = rewind_grants,
		.context = import,
	};
	struct sharing_writer *writer;
	int answer = sharing_writer_open(import->call->directory, &writer, &import->error);

	if (answer < 0)
		return -1;
	answer = sharing_import(writer, &source, &import->error);
	sharing_writer_close(&writer);
	return answer < 0 ? -1 : 0;
}

static int collect(struct import *import)
{
	for (size_t i = 0; i < import->folders.count; i++) {
		import->at = &import->folders.list[i];
		if (take_owner(import) < 0)
			return -1;
	}
	return check_dict(import);
}

static int conclude(struct import *import, bool written)
{
	bool left = import->not_taken > 0 && !has_option(import->call, OPTION_FORCE);

	if (import->problems) {
		int code = print_json(json_pack("{s:I,s:I,s:b,s:O}", "grants", (json_int_t)import->count,
						"files", (json_int_t)import->files, "written", written,
						"not_taken", import->problems));
		return code != 0 ? code : left ? EX_DATAERR : 0;
	}
	print("%zu grants in %zu files; %s\n", import->count, import->files,
	      written ? "taken over" : "nothing was written");
	if (left)
		complain("%zu lines or files cannot be taken, see above: mend them, or take the rest with "
			 "--force", import->not_taken);
	return left ? EX_DATAERR : 0;
}

static int run_import(const struct call *call)
{
	struct import import = {.call = call};
	bool written = false;
	int code = session_open(call, DIRECTORY_NAMES, &import.session);

	if (code != 0)
		return code;
	import.problems = has_option(call, OPTION_JSON) ? json_array() : NULL;
	code = share_folders_read(&import.session, call->arguments[0], &import.folders);
	if (code == 0) {
		int answer = collect(&import);

		written = !has_option(call, OPTION_DRY_RUN) &&
			  (import.not_taken == 0 || has_option(call, OPTION_FORCE));
		if (answer == 0 && written)
			answer = write_grants(&import);
		code = answer < 0 ? fail(&import.error, EX_NOINPUT) : conclude(&import, written);
	}
	for (size_t i = 0; i < import.count; i++)
		free(import.grants[i].mailbox);
	free(import.grants);
	share_folders_finish(&import.folders);
	json_decref(import.problems);
	session_close(&import.session);
	return code;
}

const struct command share_import_command = {
	.name = "share import-vfile",
	.usage = "LIST [--shared-dict FILE] [--dry-run] [--force] [--json]",
	.summary = "Take over the grants of Dovecot's own ACL backend",
	.help = "LIST (- is standard input) has a line `OWNER TAB FOLDER` for each account: the folder of\n"
		"the mail location, as /var/vmail/example.org/info/Maildir. The files dovecot-acl in it are\n"
		"read, in Maildir++, LAYOUT=fs, dbox and mbox folders; they stay as they are. Global ACL files\n"
		"are not read; a mailbox in dovecot-acl-list without a file of its own is reported. --shared-dict\n"
		"names the file of acl_shared_dict, or a dump or CSV of the tables of an SQL one: who shares there\n"
		"and is not in LIST is reported. Each line that cannot be taken is reported with its file and the reason, and then\n"
		"nothing is written and the exit code is 65; --force takes the rest.\n",
	.options = OPTION(OPTION_SHARED_DICT) | OPTION(OPTION_DRY_RUN) | OPTION(OPTION_FORCE),
	.least = 1,
	.most = 1,
	.run = run_import,
};
