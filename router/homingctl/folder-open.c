/* A path, step by step, so that each link on it can be looked at. */
#include "folder-open.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { MAX_LINKS = 40, STEP = O_PATH | O_NOFOLLOW | O_CLOEXEC };

struct way {
	int fd;		     /* how far we are; -1: not at all */
	char rest[PATH_MAX]; /* from there */
	unsigned links;
};

static int move_to(struct way *way, int fd)
{
	if (fd < 0)
		return -1;
	if (way->fd >= 0)
		close(way->fd);
	way->fd = fd;
	return 0;
}

static int go_to_root(struct way *way)
{
	return move_to(way, open("/", O_PATH | O_DIRECTORY | O_CLOEXEC));
}

/* Puts what the link says in front of the rest. -1 with errno. */
static int follow(struct way *way, int link, const struct stat *status)
{
	char path[PATH_MAX];

	if ((status->st_uid != 0 && status->st_uid != geteuid()) || ++way->links > MAX_LINKS) {
		errno = ELOOP;
		return -1;
	}
	ssize_t length = readlinkat(link, "", path, sizeof path);
	if (length < 0)
		return -1;
	size_t rest = strlen(way->rest);
	if ((size_t)length + 1 + rest >= sizeof path) {
		errno = ENAMETOOLONG;
		return -1;
	}
	path[length] = '/';
	memcpy(path + length + 1, way->rest, rest + 1);
	memcpy(way->rest, path, (size_t)length + 1 + rest + 1);
	return path[0] == '/' ? go_to_root(way) : 0;
}

/* Takes the first name off the rest, and goes there. */
static int go_on(struct way *way)
{
	char name[NAME_MAX + 1];
	struct stat status;
	const char *start = way->rest + strspn(way->rest, "/");
	size_t length = strcspn(start, "/");

	if (length >= sizeof name) {
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(name, start, length);
	name[length] = '\0';
	memmove(way->rest, start + length, strlen(start + length) + 1);
	if (length == 0)
		return 0;
	int fd = openat(way->fd, name, STEP);
	if (fd < 0)
		return -1;
	if (fstat(fd, &status) < 0 || !S_ISLNK(status.st_mode))
		return move_to(way, fd);
	int answer = follow(way, fd, &status);
	int cause = errno;
	close(fd);
	errno = cause;
	return answer;
}

static int open_here(const struct way *way)
{
	return openat(way->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

int folder_open(const char *path, struct error *error)
{
	struct way way = {.fd = -1};
	int fd = -1;

	if (strlen(path) >= sizeof way.rest)
		return error_set(error, ERROR_INVALID, "%s: too long", path);
	strcpy(way.rest, path);
	bool fine = path[0] == '/' ? go_to_root(&way) == 0
				   : move_to(&way, open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)) == 0;
	while (fine && way.rest[0] != '\0')
		fine = go_on(&way) == 0;
	if (fine)
		fd = open_here(&way);
	int cause = errno;
	if (way.fd >= 0)
		close(way.fd);
	if (fd >= 0)
		return fd;
	enum error_code code = cause == ENOENT			    ? ERROR_MISSING
			       : cause == EACCES || cause == EPERM ? ERROR_PERMISSION
								   : ERROR_IO;
	return error_set(error, code, "%s: open: %s", path,
			 cause == ELOOP ? "a symbolic link on the way is a user's own, who could lead us "
					  "elsewhere: name the folder that is meant"
					: strerror(cause));
}
