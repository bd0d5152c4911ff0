/* For LD_PRELOAD: another time of day, and a slow disk, as the file says that HOMING_TEST_SHIM names. Its
 * two numbers are looked at with each call, so that a test can change them under running processes. */
#undef _FILE_OFFSET_BITS /* which would make one name of two below */
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>

struct control {
	int64_t clock_offset; /* seconds */
	int64_t disk_delay; /* milliseconds of each write that is to be on the disk */
};

static const struct control nothing;
static const struct control *control = &nothing;

/* Before the program takes away its own right to open files. */
__attribute__((constructor)) static void begin(void)
{
	const char *path = getenv("HOMING_TEST_SHIM");
	int fd = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;

	if (fd < 0)
		return;
	void *map = mmap(NULL, sizeof *control, PROT_READ, MAP_SHARED, fd, 0);
	close(fd);
	if (map != MAP_FAILED)
		control = map;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
	int rc = (int)syscall(SYS_clock_gettime, clock, now);

	if (rc == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += control->clock_offset;
	return rc;
}

int gettimeofday(struct timeval *now, void *zone)
{
	struct timespec precise;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &precise);
	now->tv_sec = precise.tv_sec;
	now->tv_usec = precise.tv_nsec / 1000;
	return 0;
}

time_t time(time_t *now_r)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (now_r)
		*now_r = now.tv_sec;
	return now.tv_sec;
}

static void wait_for_disk(void)
{
	const struct timespec delay = {control->disk_delay / 1000, control->disk_delay % 1000 * 1000000};

	if (control->disk_delay > 0)
		nanosleep(&delay, NULL);
}

int fsync(int fd)
{
	wait_for_disk();
	return (int)syscall(SYS_fsync, fd);
}

int fdatasync(int fd)
{
	wait_for_disk();
	return (int)syscall(SYS_fdatasync, fd);
}

ssize_t pwrite(int fd, const void *bytes, size_t count, off_t offset)
{
	wait_for_disk();
	return syscall(SYS_pwrite64, fd, bytes, count, offset);
}

ssize_t pwrite64(int fd, const void *bytes, size_t count, off64_t offset)
{
	wait_for_disk();
	return syscall(SYS_pwrite64, fd, bytes, count, offset);
}
