/* What the daemon can do no more, and what it still can. Each case is a child process that enters the
 * sandbox and then tries one thing; a case of its own says that the same thing works without it. */
#include "sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <pthread.h>
#include <pwd.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#include <cmocka.h>

#include "support.h"

enum { SANITIZED = SANDBOX_SANITIZED };

/* How a child ends. */
enum {
	DONE = 0,    /* it worked */
	REFUSED = 1, /* the system said no */
	NOT_IN = 2,  /* the sandbox could not be entered */
	KILLED = 3,  /* by the filter */
};

struct place {
	char *top, *folder, *inside, *outside, *run, *socket;
};

static struct place place;
static pid_t parent;

typedef int attempt_fn(void);

static bool has_landlock(void)
{
	return !SANITIZED && syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
}

/* Somebody whom root can become; NULL where the tests are not root's. */
static const char *user(void)
{
	return geteuid() == 0 ? "nobody" : NULL;
}

static struct sandbox usual(void)
{
	return (struct sandbox){
		.user = user(),
		.directory = place.folder,
		.connects = true,
		.sockets = (const char *const *)&place.socket,
		.socket_count = 1,
	};
}

static void enter(const struct sandbox *sandbox)
{
	char *error = NULL;

	if (sandbox_enter(sandbox, &error) == 0)
		return;
	fprintf(stderr, "%s\n", error);
	_exit(NOT_IN);
}

static int end_of(pid_t child)
{
	int status;

	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFSIGNALED(status)) {
		assert_int_equal(WTERMSIG(status), SIGSYS);
		assert_false(WCOREDUMP(status));
		return KILLED;
	}
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int in_sandbox_of(const struct sandbox *sandbox, attempt_fn *attempt)
{
	fflush(NULL);
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0) {
		enter(sandbox);
		_exit(attempt());
	}
	return end_of(child);
}

static int in_sandbox(attempt_fn *attempt)
{
	const struct sandbox sandbox = usual();

	return in_sandbox_of(&sandbox, attempt);
}

static int outside_sandbox(attempt_fn *attempt)
{
	fflush(NULL);
	pid_t child = fork();

	assert_true(child >= 0);
	if (child == 0)
		_exit(attempt());
	return end_of(child);
}

static int done_if(bool yes)
{
	return yes ? DONE : REFUSED;
}

/* Files */

static int read_inside(void)
{
	char byte;
	int fd = open(place.inside, O_RDWR | O_CREAT | O_CLOEXEC, 0660); /* as LMDB its lock file */

	return done_if(fd >= 0 && read(fd, &byte, 1) == 1 && ftruncate(fd, 8192) == 0);
}

static int read_outside(void)
{
	return done_if(open(place.outside, O_RDONLY) >= 0);
}

static int read_passwd(void)
{
	return done_if(open("/etc/passwd", O_RDONLY) >= 0);
}

static int read_process(void)
{
	return done_if(open("/proc/self/maps", O_RDONLY) >= 0);
}

static int list_inside(void)
{
	return done_if(open(place.folder, O_RDONLY | O_DIRECTORY) >= 0);
}

static int make_inside(void)
{
	char *path = support_path(place.folder, "new");

	return done_if(open(path, O_RDWR | O_CREAT, 0600) >= 0);
}

static int remove_inside(void)
{
	return done_if(unlink(place.inside) == 0);
}

static int remove_socket(void)
{
	return done_if(unlink(place.socket) == 0);
}

static void test_files_below_the_folder_open(void **state)
{
	(void)state;
	assert_int_equal(in_sandbox(read_inside), DONE);
}

static void test_no_other_file_opens(void **state)
{
	(void)state;
	if (!has_landlock()) {
		print_message("skipped: no Landlock in this kernel, or a build with sanitizers\n");
		skip();
	}
	assert_int_equal(outside_sandbox(read_outside), DONE);
	assert_int_equal(in_sandbox(read_outside), REFUSED);
	assert_int_equal(in_sandbox(read_passwd), REFUSED);
	assert_int_equal(in_sandbox(read_process), REFUSED);
	assert_int_equal(in_sandbox(list_inside), REFUSED);
}

static void test_files_are_neither_made_nor_removed(void **state)
{
	(void)state;
	if (!has_landlock())
		skip();
	assert_int_equal(in_sandbox(make_inside), REFUSED);
	assert_int_equal(in_sandbox(remove_inside), REFUSED);
}

static void test_a_socket_of_ours_can_be_removed(void **state)
{
	(void)state;
	support_write_file(place.socket, "", 0);
	assert_int_equal(in_sandbox(remove_socket), DONE);
}

/* The directory may come after the daemon. */
static void test_a_folder_that_is_missing_may_come_later(void **state)
{
	struct sandbox sandbox = usual();
	char *later = support_path(place.top, "later");
	char *file = support_path(later, "directory.mdb");
	char *inside = place.inside;
	int ends[2];

	(void)state;
	assert_int_equal(pipe(ends), 0);
	sandbox.directory = later;
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		char byte;
		enter(&sandbox);
		close(ends[1]);
		place.inside = file;
		_exit(read(ends[0], &byte, 1) == 0 ? read_inside() : NOT_IN);
	}
	assert_int_equal(mkdir(later, 0777), 0);
	support_write_file(file, "x", 1);
	assert_int_equal(chmod(later, 0777) + chmod(file, 0666), 0);
	close(ends[1]);
	assert_int_equal(end_of(child), DONE);
	close(ends[0]);
	place.inside = inside;
	unlink(file);
	rmdir(later);
	free(file);
	free(later);
}

/* Programs, processes, memory, networks */

static int run_program(void)
{
	char *const arguments[] = {(char[]){"true"}, NULL};

	execv("/bin/true", arguments);
	return REFUSED;
}

static int fork_process(void)
{
	pid_t child = fork();

	if (child == 0)
		_exit(0);
	return done_if(child > 0);
}

static int map_executable(void)
{
	return done_if(mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) !=
		       MAP_FAILED);
}

static int make_executable(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	return done_if(page != MAP_FAILED && mprotect(page, 4096, PROT_READ | PROT_EXEC) == 0);
}

static int open_network(void)
{
	return done_if(socket(AF_INET, SOCK_STREAM, 0) >= 0);
}

static int open_network_v6(void)
{
	return done_if(socket(AF_INET6, SOCK_DGRAM, 0) >= 0);
}

static int open_netlink(void)
{
	return done_if(socket(AF_NETLINK, SOCK_RAW, 0) >= 0);
}

static int open_unix(void)
{
	return done_if(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) >= 0);
}

static int signal_parent(void)
{
	return done_if(kill(parent, 0) == 0);
}

static int trace_parent(void)
{
	return done_if(syscall(SYS_ptrace, 16 /* PTRACE_ATTACH */, parent, 0, 0) == 0);
}

static int raise_limit(void)
{
	const struct rlimit limit = {1, 1};

	return done_if(setrlimit(RLIMIT_CORE, &limit) == 0);
}

static int leave_root_folder(void)
{
	return done_if(chroot("/") == 0 || chdir("/") == 0);
}

static int use_io_uring(void)
{
	char parameters[128] = {0};

	return done_if(syscall(SYS_io_uring_setup, 4, parameters) >= 0 || errno != ENOSYS);
}

/* What the filter is for, and that it is the filter which ends these. */
static void test_the_filter_ends_what_a_daemon_never_does(void **state)
{
	static attempt_fn *const attempts[] = {
		run_program, fork_process, map_executable, make_executable, open_network,
		open_network_v6, open_netlink, signal_parent, trace_parent, raise_limit,
		leave_root_folder,
	};

	(void)state;
	if (SANITIZED) {
		print_message("skipped: a build with sanitizers has no filter\n");
		skip();
	}
	for (size_t i = 0; i < sizeof attempts / sizeof attempts[0]; i++)
		assert_int_equal(in_sandbox(attempts[i]), KILLED);
	assert_int_equal(outside_sandbox(map_executable), DONE);
	assert_int_equal(outside_sandbox(open_network), DONE);
	assert_int_equal(outside_sandbox(fork_process), DONE);
}

static void test_io_uring_seems_not_to_exist(void **state)
{
	(void)state;
	if (SANITIZED)
		skip();
	assert_int_equal(in_sandbox(use_io_uring), REFUSED);
}

static void test_unix_sockets_are_for_who_connects(void **state)
{
	struct sandbox sandbox = usual();

	(void)state;
	assert_int_equal(in_sandbox(open_unix), DONE);
	sandbox.connects = false;
	assert_int_equal(in_sandbox_of(&sandbox, open_unix), SANITIZED ? DONE : KILLED);
}

/* abort() is how assertions end. */
static void test_abort_works(void **state)
{
	int status;

	(void)state;
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		const struct sandbox sandbox = usual();
		enter(&sandbox);
		abort();
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

/* Threads and loops */

static void *use_memory(void *context)
{
	void *volatile block = malloc(4 << 20); /* from mmap() */

	if (block)
		memset(block, 1, 4 << 20);
	free(block);
	for (size_t size = 16; size < 100000; size *= 3)
		free(malloc(size));
	return context;
}

static int start_threads(void)
{
	pthread_t threads[20];

	for (size_t i = 0; i < 20; i++)
		if (pthread_create(&threads[i], NULL, use_memory, NULL) != 0)
			return REFUSED;
	for (size_t i = 0; i < 20; i++)
		if (pthread_join(threads[i], NULL) != 0)
			return REFUSED;
	return DONE;
}

static void on_timer(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

static void on_async(uv_async_t *async)
{
	(void)async;
}

static void on_signal(uv_signal_t *handle, int number)
{
	(void)handle;
	(void)number;
}

static int run_loop(void)
{
	uv_loop_t loop;
	uv_timer_t timer;
	uv_async_t async;
	uv_signal_t sighup;
	uv_pipe_t pipe;

	if (uv_loop_init(&loop) < 0 || uv_async_init(&loop, &async, on_async) < 0 ||
	    uv_signal_init(&loop, &sighup) < 0 || uv_signal_start(&sighup, on_signal, SIGHUP) < 0 ||
	    uv_timer_init(&loop, &timer) < 0 || uv_pipe_init(&loop, &pipe, 0) < 0)
		return REFUSED;
	uv_timer_start(&timer, on_timer, 5, 0);
	uv_async_send(&async);
	uv_run(&loop, UV_RUN_DEFAULT);
	return DONE;
}

/* LMDB's own files, opened twice: as after another directory took the place of the first one. */
static int read_directory(void)
{
	for (int i = 0; i < 2; i++) {
		struct support_open open = support_open(place.folder, DIRECTORY_NAMES);
		struct error error = {0};
		uint64_t sequence = 0;
		if (directory_begin(open.reader, &error) < 0 ||
		    directory_sequence(open.reader, &sequence, &error) < 0 || sequence == 0)
			return REFUSED;
		directory_end(open.reader);
		support_close(&open);
	}
	return DONE;
}

static void test_threads_start(void **state)
{
	(void)state;
	assert_int_equal(in_sandbox(start_threads), DONE);
}

static void test_an_event_loop_runs(void **state)
{
	(void)state;
	assert_int_equal(in_sandbox(run_loop), DONE);
}

static void test_the_directory_opens_again(void **state)
{
	(void)state;
	assert_int_equal(in_sandbox(read_directory), DONE);
}

/* Users */

static int become_root_again(void)
{
	return done_if(setuid(0) == 0 || seteuid(0) == 0 || setresuid(0, 0, 0) == 0);
}

static int start_as_root(void)
{
	struct sandbox sandbox = usual();
	char *error = NULL;

	sandbox.user = NULL;
	int answer = sandbox_enter(&sandbox, &error);
	return done_if(answer < 0 && strcmp(error, "it is still root") == 0);
}

static int start_as_missing_user(void)
{
	struct sandbox sandbox = usual();
	char *error = NULL;

	sandbox.user = "no-such-user";
	int answer = sandbox_enter(&sandbox, &error);
	return done_if(answer < 0 && strcmp(error, "there is no user no-such-user") == 0 &&
		       geteuid() == 0);
}

static void test_root_does_not_come_back(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(in_sandbox(become_root_again), SANITIZED ? REFUSED : KILLED);
}

static void test_it_refuses_to_stay_root(void **state)
{
	(void)state;
	if (geteuid() != 0)
		skip();
	assert_int_equal(outside_sandbox(start_as_root), DONE);
	assert_int_equal(outside_sandbox(start_as_missing_user), DONE);
}

/* A line of a file below /proc/PID that begins with `name`, without that and the blanks behind it. */
static void read_process_line(pid_t pid, const char *file_name, const char *name, char value_r[256])
{
	char path[64], line[256];
	size_t length = strlen(name);

	snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, file_name);
	FILE *file = fopen(path, "r");
	assert_non_null(file);
	value_r[0] = '\0';
	while (fgets(line, sizeof line, file))
		if (strncmp(line, name, length) == 0)
			strcpy(value_r, line + length + strspn(line + length, " \t"));
	fclose(file);
	value_r[strcspn(value_r, "\n")] = '\0';
}

static void assert_status(pid_t pid, const char *name, const char *expected)
{
	char value[256], with_colon[32];

	snprintf(with_colon, sizeof with_colon, "%s:", name);
	read_process_line(pid, "status", with_colon, value);
	assert_string_equal(value, expected);
}

static void assert_user(pid_t pid)
{
	const struct passwd *nobody = getpwnam(user());
	char expected[256];
	gid_t groups[64];
	int count = 64;

	snprintf(expected, sizeof expected, "%u\t%u\t%u\t%u", nobody->pw_uid, nobody->pw_uid,
		 nobody->pw_uid, nobody->pw_uid);
	assert_status(pid, "Uid", expected);
	snprintf(expected, sizeof expected, "%u\t%u\t%u\t%u", nobody->pw_gid, nobody->pw_gid,
		 nobody->pw_gid, nobody->pw_gid);
	assert_status(pid, "Gid", expected);
	assert_true(getgrouplist(user(), nobody->pw_gid, groups, &count) >= 0);
	size_t length = 0;
	for (int i = 0; i < count; i++)
		length += (size_t)snprintf(expected + length, sizeof expected - length, "%u ",
					   groups[i]);
	assert_status(pid, "Groups", expected);
}

/* As others see the process: its own filter does not let it look. */
static void test_nothing_is_left_of_what_it_was(void **state)
{
	int go_on[2], entered[2];
	char byte, path[64], value[256];
	struct stat process;

	(void)state;
	assert_int_equal(pipe(go_on) + pipe(entered), 0);
	fflush(NULL);
	pid_t child = fork();
	if (child == 0) {
		const struct sandbox sandbox = usual();
		close(go_on[1]);
		enter(&sandbox);
		_exit(write(entered[1], "", 1) == 1 && read(go_on[0], &byte, 1) == 0 ? DONE : REFUSED);
	}
	close(entered[1]);
	assert_int_equal(read(entered[0], &byte, 1), 1);
	if (user())
		assert_user(child);
	assert_status(child, "NoNewPrivs", "1");
	assert_status(child, "CapPrm", "0000000000000000");
	assert_status(child, "CapEff", "0000000000000000");
	assert_status(child, "CapInh", "0000000000000000");
	assert_status(child, "CapAmb", "0000000000000000");
	assert_status(child, "Seccomp", SANITIZED ? "0" : "2");
	read_process_line(child, "limits", "Max core file size", value);
	assert_int_equal(strspn(value, "0 "), strcspn(value, "b")); /* of bytes */
	snprintf(path, sizeof path, "/proc/%d/fd", (int)child);
	assert_int_equal(stat(path, &process), 0);
	if (!SANITIZED)
		assert_int_equal(process.st_uid, 0); /* not dumpable: proc(5) */
	close(go_on[1]);
	assert_int_equal(end_of(child), DONE);
	close(go_on[0]);
	close(entered[0]);
}

static int setup(void **state)
{
	(void)state;
	parent = getpid();
	place.top = support_folder();
	place.folder = support_path(place.top, "directory");
	place.inside = support_path(place.folder, "directory.mdb-lock");
	place.outside = support_path(place.top, "outside");
	place.run = support_path(place.top, "run");
	place.socket = support_path(place.run, "socket");
	if (mkdir(place.folder, 0755) < 0 || mkdir(place.run, 0755) < 0)
		support_die("%s: %s", place.top, strerror(errno));
	support_apply(place.folder,
		      "{\"main_domain\": \"a.example\", \"domains\": {\"a.example\": {}}}");
	support_write_file(place.outside, "x", 1);
	char *data = support_path(place.folder, "directory.mdb");
	/* for whoever the sandbox makes of us */
	if (chmod(place.top, 0777) < 0 || chmod(place.folder, 0777) < 0 ||
	    chmod(place.run, 0777) < 0 || chmod(place.inside, 0666) < 0 || chmod(data, 0644) < 0 || chmod(place.outside, 0644) < 0)
		support_die("%s: %s", place.top, strerror(errno));
	free(data);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	support_folder_remove(&place.top);
	free(place.folder);
	free(place.inside);
	free(place.outside);
	free(place.run);
	free(place.socket);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_files_below_the_folder_open),
		cmocka_unit_test(test_no_other_file_opens),
		cmocka_unit_test(test_files_are_neither_made_nor_removed),
		cmocka_unit_test(test_a_socket_of_ours_can_be_removed),
		cmocka_unit_test(test_a_folder_that_is_missing_may_come_later),
		cmocka_unit_test(test_the_filter_ends_what_a_daemon_never_does),
		cmocka_unit_test(test_io_uring_seems_not_to_exist),
		cmocka_unit_test(test_unix_sockets_are_for_who_connects),
		cmocka_unit_test(test_abort_works),
		cmocka_unit_test(test_threads_start),
		cmocka_unit_test(test_an_event_loop_runs),
		cmocka_unit_test(test_the_directory_opens_again),
		cmocka_unit_test(test_root_does_not_come_back),
		cmocka_unit_test(test_it_refuses_to_stay_root),
		cmocka_unit_test(test_nothing_is_left_of_what_it_was),
	};

	return cmocka_run_group_tests(tests, setup, teardown);
}
