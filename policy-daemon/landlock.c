/* The system calls of landlock(7). Its numbers are written down here as far as they are younger than
 * Debian 12's <linux/landlock.h>. */
#include "landlock.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* struct landlock_ruleset_attr as of ABI 6. A kernel that is older takes it if what it does not know
 * is 0. */
struct ruleset {
	uint64_t files, network, scopes;
};

enum {
	FILES_ABI_1 = (1 << 13) - 1, /* from EXECUTE to MAKE_SYM */
	FILES_REFER = 1 << 13,	     /* ABI 2 */
	FILES_TRUNCATE = 1 << 14,    /* ABI 3 */
	FILES_IOCTL_DEVICE = 1 << 15, /* ABI 5 */
	NETWORK_ABI_4 = 3,	     /* bind and connect of TCP */
	SCOPES_ABI_6 = 3,	     /* abstract UNIX sockets, signals */
};

/* All that this ABI can forbid. */
static struct ruleset forbid_all(long abi)
{
	struct ruleset ruleset = {.files = FILES_ABI_1};

	if (abi >= 2)
		ruleset.files |= FILES_REFER;
	if (abi >= 3)
		ruleset.files |= FILES_TRUNCATE;
	if (abi >= 5)
		ruleset.files |= FILES_IOCTL_DEVICE;
	if (abi >= 4)
		ruleset.network = NETWORK_ABI_4;
	if (abi >= 6)
		ruleset.scopes = SCOPES_ABI_6;
	return ruleset;
}

/* Cuts the last component off. False: there is none. */
static bool go_up(char *path)
{
	char *slash = strrchr(path, '/');

	if (!slash || path[1] == '\0')
		return false;
	slash[slash == path ? 1 : 0] = '\0';
	return true;
}

/* The folder, or the nearest one above it that is there. */
static int open_folder(const char *path)
{
	char nearest[PATH_MAX];

	if (strlen(path) >= sizeof nearest) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(nearest, path);
	int fd = open(nearest, O_PATH | O_DIRECTORY | O_CLOEXEC);
	while (fd < 0 && errno == ENOENT && go_up(nearest))
		fd = open(nearest, O_PATH | O_DIRECTORY | O_CLOEXEC);
	return fd;
}

static int allow(int ruleset, const char *folder, uint64_t access)
{
	struct landlock_path_beneath_attr rule = {.allowed_access = access};

	rule.parent_fd = open_folder(folder);
	if (rule.parent_fd < 0)
		return -1;
	long rc = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
	int reason = errno;
	close(rule.parent_fd);
	errno = reason;
	return rc < 0 ? -1 : 0;
}

static int allow_removal(int ruleset, const char *socket)
{
	char folder[PATH_MAX];

	if (strlen(socket) >= sizeof folder) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(folder, socket);
	return go_up(folder) ? allow(ruleset, folder, LANDLOCK_ACCESS_FS_REMOVE_FILE) : 0;
}

static int allow_all(int ruleset, uint64_t known, const char *directory,
		     const char *const *sockets, size_t socket_count)
{
	const uint64_t access = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
				(known & FILES_TRUNCATE); /* LMDB resizes its lock file */
	int rc = allow(ruleset, directory, access);

	for (size_t i = 0; rc == 0 && i < socket_count; i++)
		rc = allow_removal(ruleset, sockets[i]);
	return rc;
}

int landlock_enter(const char *directory, const char *const *sockets, size_t socket_count)
{
	long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);

	if (abi < 0) /* EPERM: a container whose filter does not know these calls */
		return errno == ENOSYS || errno == EOPNOTSUPP || errno == EPERM ? 0 : -1;
	struct ruleset forbidden = forbid_all(abi);
	long ruleset = syscall(SYS_landlock_create_ruleset, &forbidden, sizeof forbidden, 0);
	if (ruleset < 0)
		return -1;
	int rc = allow_all((int)ruleset, forbidden.files, directory, sockets, socket_count);
	if (rc == 0 && syscall(SYS_landlock_restrict_self, ruleset, 0) < 0)
		rc = -1;
	int reason = errno;
	close((int)ruleset);
	errno = reason;
	return rc < 0 ? -1 : 1;
}
