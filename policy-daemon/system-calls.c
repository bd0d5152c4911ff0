/* The list of system calls, and what their arguments may be. What a call gives access to decides, not
 * how rare it is: so nothing here starts a program or another process, makes memory executable, opens
 * a network socket, changes who or where the process is, or looks into another one. */
#include "system-calls.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* Calls that this processor does not have, as open() on arm64, are left out by libseccomp. */
static const int allowed[] = {
	/* memory: malloc, thread stacks */
	SCMP_SYS(brk),
	SCMP_SYS(madvise),
	SCMP_SYS(mremap),
	SCMP_SYS(munmap),
	/* files: what Landlock and the user leave; LMDB opens, maps and locks */
	SCMP_SYS(close),
	SCMP_SYS(fstat),
	SCMP_SYS(fstatfs),
	SCMP_SYS(ftruncate),
	SCMP_SYS(lseek),
	SCMP_SYS(lstat),
	SCMP_SYS(newfstatat),
	SCMP_SYS(open),
	SCMP_SYS(openat),
	SCMP_SYS(pread64),
	SCMP_SYS(read),
	SCMP_SYS(readv),
	SCMP_SYS(stat),
	SCMP_SYS(statx),
	SCMP_SYS(unlink), /* our sockets, at the end */
	SCMP_SYS(unlinkat),
	SCMP_SYS(write),
	SCMP_SYS(writev),
	/* sockets that are there */
	SCMP_SYS(accept),
	SCMP_SYS(accept4),
	SCMP_SYS(getpeername),
	SCMP_SYS(getsockname),
	SCMP_SYS(getsockopt),
	SCMP_SYS(recvfrom),
	SCMP_SYS(recvmsg),
	SCMP_SYS(sendmsg),
	SCMP_SYS(sendto),
	SCMP_SYS(setsockopt),
	SCMP_SYS(shutdown),
	/* the event loop */
	SCMP_SYS(dup3),
	SCMP_SYS(epoll_create1),
	SCMP_SYS(epoll_ctl),
	SCMP_SYS(epoll_pwait),
	SCMP_SYS(epoll_pwait2),
	SCMP_SYS(epoll_wait),
	SCMP_SYS(eventfd2),
	SCMP_SYS(pipe2),
	SCMP_SYS(poll),
	SCMP_SYS(ppoll),
	/* threads */
	SCMP_SYS(exit),
	SCMP_SYS(exit_group),
	SCMP_SYS(futex),
	SCMP_SYS(gettid),
	SCMP_SYS(rseq),
	SCMP_SYS(sched_getaffinity),
	SCMP_SYS(sched_yield),
	SCMP_SYS(set_robust_list),
	/* signals */
	SCMP_SYS(alarm),
	SCMP_SYS(restart_syscall),
	SCMP_SYS(rt_sigaction),
	SCMP_SYS(rt_sigprocmask),
	SCMP_SYS(rt_sigreturn),
	SCMP_SYS(setitimer), /* what alarm() is on some processors */
	/* time, and what the process is */
	SCMP_SYS(clock_getres),
	SCMP_SYS(clock_gettime),
	SCMP_SYS(clock_nanosleep),
	SCMP_SYS(getegid),
	SCMP_SYS(geteuid),
	SCMP_SYS(getgid),
	SCMP_SYS(getpid),
	SCMP_SYS(getrandom),
	SCMP_SYS(gettimeofday),
	SCMP_SYS(getuid),
	SCMP_SYS(nanosleep),
	SCMP_SYS(time),
	SCMP_SYS(uname),
};

/* Answered with ENOSYS, behind which glibc and libuv have another way. The arguments of clone3() lie
 * in memory, where no filter can look; io_uring would do its work past the filter. */
static const int unknown[] = {
	SCMP_SYS(clone3),
	SCMP_SYS(io_uring_setup),
};

/* System calls that came after all those known here: a newer glibc tries them first. */
enum { FIRST_YOUNGER = 451, LAST_YOUNGER = 511 };

/* Only where the argument, as far as the mask says, has the value. */
struct condition {
	int call;
	unsigned argument;
	uint64_t mask, value;
};

/* Descriptors, commands and domains are int: what is above them in the register means nothing. */
static const struct condition conditions[] = {
	{SCMP_SYS(clone), 0, CLONE_THREAD | CLONE_VM, CLONE_THREAD | CLONE_VM},
	{SCMP_SYS(mmap), 2, PROT_EXEC, 0},
	{SCMP_SYS(mprotect), 2, PROT_EXEC, 0},
	{SCMP_SYS(fcntl), 1, UINT32_MAX, F_DUPFD_CLOEXEC},
	{SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETFD},
	{SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETFD},
	{SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETFL},
	{SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETFL},
	{SCMP_SYS(fcntl), 1, UINT32_MAX, F_GETLK},
	{SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETLK},
	{SCMP_SYS(fcntl), 1, UINT32_MAX, F_SETLKW},
	{SCMP_SYS(ioctl), 1, UINT32_MAX, 0x5421 /* FIONBIO */},
	{SCMP_SYS(ioctl), 1, UINT32_MAX, 0x5401 /* TCGETS, with which stdio asks for a terminal */},
	{SCMP_SYS(prctl), 0, UINT32_MAX, PR_SET_NAME}, /* of a thread */
	{SCMP_SYS(prlimit64), 2, UINT64_MAX, 0},       /* reads limits, sets none */
};

static const struct condition connecting[] = {
	{SCMP_SYS(socket), 0, UINT32_MAX, AF_UNIX},
	{SCMP_SYS(connect), 0, 0, 0},
};

static int add_condition(scmp_filter_ctx filter, const struct condition *condition)
{
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, condition->call, 1,
				SCMP_CMP(condition->argument, SCMP_CMP_MASKED_EQ, condition->mask,
					 condition->value));
}

static int add_unknown(scmp_filter_ctx filter)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof unknown / sizeof unknown[0]; i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), unknown[i], 0);
	for (int call = FIRST_YOUNGER; rc == 0 && call <= LAST_YOUNGER; call++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ERRNO(ENOSYS), call, 0);
	return rc;
}

static int add_allowed(scmp_filter_ctx filter, bool connects)
{
	/* abort() is for the process itself, and nobody else */
	const struct condition own = {SCMP_SYS(tgkill), 0, UINT32_MAX, (uint32_t)getpid()};
	int rc = add_condition(filter, &own);

	for (size_t i = 0; rc == 0 && i < sizeof allowed / sizeof allowed[0]; i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, allowed[i], 0);
	for (size_t i = 0; rc == 0 && i < sizeof conditions / sizeof conditions[0]; i++)
		rc = add_condition(filter, &conditions[i]);
	for (size_t i = 0; rc == 0 && connects && i < sizeof connecting / sizeof connecting[0]; i++)
		rc = add_condition(filter, &connecting[i]);
	return rc;
}

int system_calls_restrict(bool connects)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_KILL_PROCESS);

	if (!filter) {
		errno = ENOMEM;
		return -1;
	}
	int rc = add_allowed(filter, connects);
	if (rc == 0)
		rc = add_unknown(filter);
	if (rc == 0) {
		/* a tree rather than a list of comparisons; libseccomp before 2.5 had none */
		(void)seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2);
		rc = seccomp_load(filter);
	}
	seccomp_release(filter);
	errno = -rc;
	return rc == 0 ? 0 : -1;
}
