/* Mailboxes on disk. Names are in modified UTF-7 (RFC 3501, 5.1.3), which iconv(3) of glibc knows; one
 * with bytes beyond ASCII is taken as UTF-8 (mailbox_list_utf8). */
#include "vfile-tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <iconv.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vfile-line.h"

enum { MAX_DEPTH = 64, MAX_PATH = 8192 };

#define MESSAGES "dbox-Mails"

struct walk {
	vfile_folder_cb *each;
	void *context;
	struct error *error;
	size_t root_length;
	char path[MAX_PATH];
	char mailbox[MAILBOX_SIZE];
};

static int fail_at(struct walk *walk, const char *doing)
{
	return error_set(walk->error, errno == EACCES || errno == EPERM ? ERROR_PERMISSION : ERROR_IO,
			 "%s: %s: %s", walk->path, doing, strerror(errno));
}

static bool is_ascii(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80)
			return false;
	return true;
}

static bool convert(const char *to, const char *from, const char *text, char *converted_r,
		    size_t size)
{
	char *in = (char *)text, *out = converted_r;
	size_t in_left = strlen(text), out_left = size - 1;
	iconv_t converter = iconv_open(to, from);

	if (converter == (iconv_t)-1) // NOLINT(performance-no-int-to-ptr): iconv_open(3) says so
		return false;
	bool good = iconv(converter, &in, &in_left, &out, &out_left) != (size_t)-1 && in_left == 0 &&
		    iconv(converter, NULL, NULL, &out, &out_left) != (size_t)-1;
	iconv_close(converter);
	*out = '\0';
	return good;
}

static const char *decode(const char *text, char *decoded_r, size_t size)
{
	static const char utf7[] = "UTF-7-IMAP", utf8[] = "UTF-8";
	char again[MAX_PATH];

	if (!is_ascii(text)) {
		snprintf(decoded_r, size, "%s", text);
		return NULL;
	}
	/* what does not come out again as it went in is no name that Dovecot made */
	if (convert(utf8, utf7, text, decoded_r, size) &&
	    convert(utf7, utf8, decoded_r, again, sizeof again) && strcmp(again, text) == 0)
		return NULL;
	return "the folder's name is no modified UTF-7";
}

/* LAYOUT=index keeps mailboxes in folders called by their GUID; the names are in a file of indexes. */
static bool is_guid(const char *name)
{
	return strlen(name) == 32 && strspn(name, "0123456789abcdef") == 32;
}

/* The listescape plugin, and mailbox_list_storage_escape_char: `\2e` is a dot inside a part. What cannot
 * be told from a name that is really so must not become a grant on another mailbox. */
static bool is_escaped(const char *name)
{
	static const char hex[] = "0123456789abcdefABCDEF";

	while ((name = strchr(name, '\\')) != NULL)
		if (strspn(++name, hex) >= 2)
			return true;
	return false;
}

const char *vfile_name_parse(const char *stored, char separator, char mailbox_r[MAILBOX_SIZE])
{
	char name[MAX_PATH];

	if (is_escaped(stored))
		return "the folder's name is escaped (listescape); share it again by IMAP";
	const char *why = decode(stored, name, sizeof name);
	if (why)
		return why;
	/* here it is a mailbox that is called so, and not the whole account */
	if (strcmp(name, "*") == 0) {
		strcpy(mailbox_r, name);
		return NULL;
	}
	return mailbox_parse(name, separator, mailbox_r);
}

/* `relative` is the folder below the root, without dbox-Mails. */
static const char *name_mailbox(struct walk *walk, const char *relative, bool root_is_inbox)
{
	static const char of_root[] =
		"of the root: it counts for mailboxes that have none of their own; share these instead, or "
		"the whole account (*)";
	char separator = '/';

	if (relative[0] == '\0') {
		if (!root_is_inbox)
			return of_root;
		strcpy(walk->mailbox, "INBOX");
		return NULL;
	}
	if (strcmp(relative, "mailboxes") == 0)
		return of_root;
	if (strncmp(relative, "mailboxes/", 10) == 0) {
		relative += 10;
	} else if (strncmp(relative, ".imap/", 6) == 0) { /* the control folder of mbox */
		relative += 6;
	} else if (relative[0] == '.') {
		relative++;
		separator = '.';
		if (strchr(relative, '/'))
			return "in a folder below a mailbox's that is no mailbox";
	}
	if (is_guid(relative))
		return "LAYOUT=index: the mailbox's name is not in the folder's; share it again by IMAP";
	return vfile_name_parse(relative, separator, walk->mailbox);
}

static bool exists_at(int fd, const char *name, mode_t type)
{
	struct stat status;

	return fstatat(fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 && (status.st_mode & S_IFMT) == type;
}

/* A dbox mailbox may be called `cur` too. */
static bool is_maildir(int fd)
{
	return exists_at(fd, "cur", S_IFDIR) && !exists_at(fd, "cur/" MESSAGES, S_IFDIR);
}

/* Tells of one folder, whose ACL file is in it or in its dbox-Mails. */
static int tell(struct walk *walk, int fd)
{
	size_t length = strlen(walk->path);
	bool dbox = exists_at(fd, MESSAGES, S_IFDIR);
	bool maildir = is_maildir(fd);
	const char *relative = walk->path + walk->root_length;
	struct vfile_folder folder = {.fd = fd, .is_mailbox = dbox || maildir};

	folder.why = name_mailbox(walk, relative + (relative[0] == '/'), folder.is_mailbox);
	folder.mailbox = folder.why ? NULL : walk->mailbox;
	folder.path = walk->path;
	if (dbox) {
		if (length + sizeof "/" MESSAGES > sizeof walk->path)
			return 0;
		strcpy(walk->path + length, "/" MESSAGES);
		folder.fd = openat(fd, MESSAGES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (folder.fd < 0)
			return fail_at(walk, "open");
	}
	folder.has_acl = exists_at(folder.fd, VFILE_NAME, S_IFREG);
	int answer = folder.is_mailbox || folder.has_acl ? walk->each(&folder, walk->context) : 0;
	if (dbox)
		close(folder.fd);
	walk->path[length] = '\0';
	return answer;
}

static bool is_skipped(const char *name, bool maildir)
{
	static const char *const names[] = {".", "..", MESSAGES, "cur", "new", "tmp"};

	for (size_t i = 0; i < (maildir ? 6 : 3); i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return false;
}

static int descend(struct walk *walk, int fd, unsigned depth);

static int visit(struct walk *walk, int fd, const char *name, unsigned depth)
{
	size_t length = strlen(walk->path);

	if (length + strlen(name) + 2 > sizeof walk->path || depth == MAX_DEPTH)
		return error_set(walk->error, ERROR_INVALID, "%s/%s: too deep", walk->path, name);
	sprintf(walk->path + length, "/%s", name);
	int child = openat(fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	/* a file, a link, or gone meanwhile */
	bool skip = child < 0 && (errno == ENOTDIR || errno == ELOOP || errno == ENOENT);
	int answer = child >= 0 ? descend(walk, child, depth + 1) : skip ? 0 : fail_at(walk, "open");
	walk->path[length] = '\0';
	return answer;
}

/* Takes the descriptor. */
static int descend(struct walk *walk, int fd, unsigned depth)
{
	bool maildir = is_maildir(fd);
	int answer = tell(walk, fd);
	DIR *folder = answer == 0 ? fdopendir(fd) : NULL;

	if (!folder) {
		if (answer == 0)
			answer = fail_at(walk, "read");
		close(fd);
		return answer;
	}
	for (;;) {
		errno = 0;
		const struct dirent *entry = readdir(folder);
		if (!entry) {
			answer = errno == 0 ? 0 : fail_at(walk, "read");
			break;
		}
		bool could_be = entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN;
		if (!could_be || is_skipped(entry->d_name, maildir))
			continue;
		answer = visit(walk, dirfd(folder), entry->d_name, depth);
		if (answer != 0)
			break;
	}
	closedir(folder);
	return answer;
}

int vfile_tree_walk(int root, const char *path, vfile_folder_cb *each, void *context,
		    struct error *error)
{
	size_t length = strlen(path);
	struct walk *walk = calloc(1, sizeof *walk);

	if (!walk)
		return error_set(error, ERROR_MEMORY, "out of memory");
	*walk = (struct walk){.each = each, .context = context, .error = error};
	while (length > 1 && path[length - 1] == '/')
		length--;
	int answer;
	if (length >= sizeof walk->path) {
		answer = error_set(error, ERROR_INVALID, "%s: too long", path);
	} else {
		memcpy(walk->path, path, length);
		walk->root_length = length;
		int fd = fcntl(root, F_DUPFD_CLOEXEC, 0);
		answer = fd < 0 ? fail_at(walk, "open") : descend(walk, fd, 0);
	}
	free(walk);
	return answer;
}
