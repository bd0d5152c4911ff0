/* The policy daemon: are its sockets there, may Postfix use them, does it answer? */
#include "live-postfix-private.h"

#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "output.h"

enum { SECONDS = 5, MAX_GROUPS = 256 };
#define START "systemctl enable --now homing-policyd"

/* -1 with errno. Neither connecting, nor writing, nor reading takes more than some seconds. */
static int connect_to(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct timeval patience = {.tv_sec = SECONDS};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -1;
	if (strlen(path) >= sizeof address.sun_path) {
		errno = ENAMETOOLONG;
	} else {
		strcpy(address.sun_path, path);
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
		setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
		if (connect(fd, (struct sockaddr *)&address, sizeof address) == 0)
			return fd;
	}
	int why = errno;
	close(fd);
	errno = why;
	return -1;
}

/* Sends the question and reads until `end` comes. False with errno; 0 for a closed connection. */
static bool ask(const char *path, const char *question, char end, char *answer_r, size_t size)
{
	int fd = connect_to(path);
	size_t length = 0;
	ssize_t got = 0;

	answer_r[0] = '\0';
	if (fd < 0)
		return false;
	if (send(fd, question, strlen(question), MSG_NOSIGNAL) == (ssize_t)strlen(question)) {
		while (length + 1 < size && (got = recv(fd, answer_r + length, size - length - 1, 0)) > 0) {
			length += (size_t)got;
			answer_r[length] = '\0';
			if (strchr(answer_r, end))
				break;
		}
	}
	int why = got == 0 && length == 0 ? 0 : errno;
	close(fd);
	errno = why;
	return strchr(answer_r, end) != NULL;
}

/* May Postfix's own user write to the socket, which is what connecting needs? */
static bool postfix_may_connect(const struct look *look, const struct stat *socket_file)
{
	struct passwd *owner = getpwnam(postconf_value(look->postconf, "mail_owner"));
	gid_t groups[MAX_GROUPS];
	int count = MAX_GROUPS;

	if (!owner)
		return true; /* Postfix will say more about that */
	if (owner->pw_uid == socket_file->st_uid)
		return (socket_file->st_mode & S_IWUSR) != 0;
	if (getgrouplist(owner->pw_name, owner->pw_gid, groups, &count) < 0)
		return true;
	for (int i = 0; i < count; i++)
		if (groups[i] == socket_file->st_gid)
			return (socket_file->st_mode & S_IWGRP) != 0;
	return (socket_file->st_mode & S_IWOTH) != 0;
}

/* Is the socket there and open to Postfix? */
static bool look_at_file(const struct look *look, const char *path)
{
	struct stat file;

	if (stat(path, &file) < 0) {
		if (errno == EACCES && geteuid() != 0) {
			complain("note: %s cannot be seen by this user: run this as root", path);
			return false;
		}
		findings_add(look->findings, path, START, "the daemon's socket: %s", strerror(errno));
		return false;
	}
	if (!S_ISSOCK(file.st_mode)) {
		findings_add(look->findings, path, "remove it, and " START, "it is no socket");
		return false;
	}
	if (!postfix_may_connect(look, &file))
		findings_add(look->findings, path, "SocketGroup=postfix and SocketMode=0660, or --socket-group",
			"Postfix, which runs as %s, may not connect to it",
			postconf_value(look->postconf, "mail_owner"));
	return true;
}

static void report_silence(const struct look *look, const char *path, const char *answer)
{
	if (errno == EACCES && geteuid() != 0)
		complain("note: %s is closed to this user: run this as root", path);
	else if (answer[0])
		findings_add(look->findings, path, "let homing-policyd listen there",
			"who answers is not the daemon: `%.60s`", answer);
	else
		findings_add(look->findings, path, "systemctl restart homing-policyd, and look at its log",
			"the daemon does not answer: %s",
			errno == 0 ? "it closes the connection"
			: errno == EAGAIN ? "no reply in 5 seconds" : strerror(errno));
}

/* `domain MAIN` must be found: else it serves another directory. */
static void look_at_map_socket(const struct look *look)
{
	char path[1200], question[DOMAIN_SIZE + 32], answer[1024];
	const char *domain = look->facts.main_domain;

	postfix_socket_path(&look->facts, "map", path, sizeof path);
	if (!look_at_file(look, path))
		return;
	snprintf(question, sizeof question, "%zu:domain %s,", strlen("domain ") + strlen(domain), domain);
	if (!ask(path, question, ',', answer, sizeof answer)) {
		report_silence(look, path, answer);
		return;
	}
	const char *reply = strchr(answer, ':');
	answer[strcspn(answer, ",")] = '\0';
	if (reply && strncmp(reply, ":OK", 3) == 0)
		return;
	if (reply && strncmp(reply, ":NOTFOUND", 9) == 0)
		findings_add(look->findings, path, "homing-policyd --directory DIR",
			"the daemon does not know the main domain, %s: it reads another directory", domain);
	else
		findings_add(look->findings, path, "look at the log of homing-policyd",
			"asked for %s, the daemon says: %s", domain, reply ? reply + 1 : answer);
}

static void look_at_policy_socket(const struct look *look)
{
	char path[1200], question[DOMAIN_SIZE + 200], answer[2048];

	postfix_socket_path(&look->facts, "policy", path, sizeof path);
	if (!look_at_file(look, path))
		return;
	snprintf(question, sizeof question,
		"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
		"client_address=127.0.0.1\nclient_name=localhost\nhelo_name=homingctl\nsender=\n"
		"recipient=postmaster@%s\n\n",
		look->facts.main_domain);
	if (!ask(path, question, '\n', answer, sizeof answer) || strncmp(answer, "action=", 7) != 0)
		report_silence(look, path, answer);
	else if (strncmp(answer, "action=451", 10) == 0) {
		answer[strcspn(answer, "\n")] = '\0';
		findings_add(look->findings, path, "look at the log of homing-policyd",
			"asked for postmaster@%s, the daemon says: %s", look->facts.main_domain, answer + 7);
	}
}

void look_at_sockets(const struct look *look)
{
	look_at_policy_socket(look);
	look_at_map_socket(look);
}
