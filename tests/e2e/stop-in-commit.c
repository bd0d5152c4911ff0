/* For LD_PRELOAD in front of LMDB: a writer that stops itself (SIGSTOP) in its first commit, when the new
 * state is in the file and no reader is led to it yet. On a real disk that lasts as long as a flush. */
#undef _FILE_OFFSET_BITS /* which would make one name of the two below */
#include <signal.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

enum { LESS_THAN_A_PAGE = 512 }; /* only the head of the file is written so */

static ssize_t write_and_stop(int fd, const void *bytes, size_t count, off_t offset)
{
	static int stopped;
	ssize_t written = syscall(SYS_pwrite64, fd, bytes, count, offset);

	if (count < LESS_THAN_A_PAGE && !stopped++)
		raise(SIGSTOP);
	return written;
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
	return write_and_stop(fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
	return write_and_stop(fd, bytes, count, offset);
}
