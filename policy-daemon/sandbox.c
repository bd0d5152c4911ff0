/* Giving up, step by step, and looking afterwards whether it is gone. */
#include "sandbox.h"

#include <errno.h>
#include <grp.h>
#include <linux/capability.h>
#include <pwd.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "landlock.h"
#include "log.h"
#include "router/error.h"
#include "system-calls.h"

static int fail(char **error_r, const char *format, ...) HOMING_PRINTF(2, 3);
static int fail(char **error_r, const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	if (vasprintf(error_r, format, arguments) < 0)
		*error_r = NULL;
	va_end(arguments);
	return -1;
}

static int become(const char *name, char **error_r)
{
	errno = 0;
	const struct passwd *user = getpwnam(name);

	if (!user)
		return fail(error_r, "there is no user %s%s%s", name, errno ? ": " : "",
			    errno ? strerror(errno) : "");
	if (user->pw_uid == 0)
		return fail(error_r, "the user %s is root by another name", name);
	uid_t uid = user->pw_uid;
	gid_t gid = user->pw_gid;
	if (initgroups(name, gid) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
		return fail(error_r, "it cannot become the user %s: %s", name, strerror(errno));
	return 0;
}

static bool has_capabilities(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct sets[2] = {{0}, {0}};

	if (syscall(SYS_capget, &header, sets) < 0)
		return true;
	for (size_t i = 0; i < 2; i++)
		if (sets[i].effective || sets[i].permitted || sets[i].inheritable)
			return true;
	return false;
}

/* Only where there are some: systemd has taken them already, and the call that does it with them. */
static int drop_capabilities(char **error_r)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	const struct __user_cap_data_struct none[2] = {{0}, {0}};

	if (!has_capabilities())
		return 0;
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capset, &header, none) < 0)
		return fail(error_r, "it cannot give its capabilities up: %s", strerror(errno));
	return 0;
}

/* Believes nobody. */
static int verify(char **error_r)
{
	uid_t real, effective, saved;
	gid_t group_real, group_effective, group_saved;

	if (getresuid(&real, &effective, &saved) < 0 ||
	    getresgid(&group_real, &group_effective, &group_saved) < 0)
		return fail(error_r, "it cannot tell which user it is: %s", strerror(errno));
	if (real == 0 || effective == 0 || saved == 0)
		return fail(error_r, "it is still root");
	if (real != effective || real != saved || group_real != group_effective ||
	    group_real != group_saved)
		return fail(error_r, "it is still two users, or in two groups, at once");
	if (has_capabilities())
		return fail(error_r, "it still has capabilities");
	if (setuid(0) == 0 || seteuid(0) == 0)
		return fail(error_r, "it could become root again");
	return 0;
}

static int forbid_programs_and_dumps(char **error_r)
{
	const struct rlimit none = {0, 0};

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return fail(error_r, "no_new_privs cannot be set: %s", strerror(errno));
	if (setrlimit(RLIMIT_CORE, &none) < 0)
		return fail(error_r, "core dumps cannot be switched off: %s", strerror(errno));
	if (!SANDBOX_SANITIZED && prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return fail(error_r, "other processes cannot be kept from looking into it: %s",
			    strerror(errno));
	return 0;
}

static int restrict_files(const struct sandbox *sandbox, char **error_r)
{
	int answer = landlock_enter(sandbox->directory, sandbox->sockets, sandbox->socket_count);

	if (answer < 0 && errno == ENOTDIR)
		return fail(error_r, "--directory %s: not a folder: name the one that holds "
			    "directory.mdb", sandbox->directory);
	if (answer < 0)
		return fail(error_r, "Landlock cannot keep it to the folder %s: %s",
			    sandbox->directory, strerror(errno));
	if (answer == 0)
		log_line(LOG_LEVEL_INFO, "Landlock is not to be had here: file permissions alone keep it "
			 "from files other than the directory's");
	return 0;
}

int sandbox_enter(const struct sandbox *sandbox, char **error_r)
{
	if (sandbox->user && become(sandbox->user, error_r) < 0)
		return -1;
	if (drop_capabilities(error_r) < 0 || verify(error_r) < 0 ||
	    forbid_programs_and_dumps(error_r) < 0)
		return -1;
	if (SANDBOX_SANITIZED) {
		log_line(LOG_LEVEL_INFO, "a build with sanitizers: without Landlock and seccomp");
		return 0;
	}
	if (restrict_files(sandbox, error_r) < 0)
		return -1;
	if (system_calls_restrict(sandbox->connects) < 0)
		return fail(error_r, "the seccomp filter cannot be installed: %s", strerror(errno));
	return 0;
}
