/* Log lines, as they come out of standard error. */
#include "log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

/* Standard error goes into a file from start_capture() to end_capture(), which returns what came;
 * free() it. */
static int real_stderr;
static FILE *captured;

static void start_capture(void)
{
	captured = tmpfile();
	assert_non_null(captured);
	real_stderr = dup(STDERR_FILENO);
	assert_int_equal(dup2(fileno(captured), STDERR_FILENO), STDERR_FILENO);
}

static char *end_capture(void)
{
	off_t length = lseek(fileno(captured), 0, SEEK_END);
	char *text = calloc(1, (size_t)length + 1);

	assert_non_null(text);
	assert_int_equal(pread(fileno(captured), text, (size_t)length, 0), length);
	assert_int_equal(dup2(real_stderr, STDERR_FILENO), STDERR_FILENO);
	close(real_stderr);
	fclose(captured);
	return text;
}

static void assert_captured(const char *expected)
{
	char *text = end_capture();

	assert_string_equal(text, expected);
	free(text);
}

static void lines_say_who_and_how_bad(void **state)
{
	(void)state;
	unsetenv("JOURNAL_STREAM");
	start_capture();
	log_open(false, false);
	log_line(LOG_LEVEL_DEBUG, "no");
	log_line(LOG_LEVEL_INFO, "4Xq: to=<%s>", "info@company.com");
	log_line(LOG_LEVEL_WARNING, "hm");
	log_line(LOG_LEVEL_ERROR, "oh");
	log_reopen();
	log_open(false, true);
	log_line(LOG_LEVEL_DEBUG, "yes");
	assert_captured("homing-policyd: 4Xq: to=<info@company.com>\n"
			"homing-policyd: warning: hm\n"
			"homing-policyd: error: oh\n"
			"homing-policyd: yes\n");
	assert_true(log_is_verbose());
}

/* JOURNAL_STREAM names a device and an inode, as in systemd.exec(5). */
static void the_journal_is_told_priorities(void **state)
{
	struct stat status;
	char stream[60];

	(void)state;
	start_capture();
	assert_int_equal(fstat(STDERR_FILENO, &status), 0);
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open(false, true);
	log_line(LOG_LEVEL_DEBUG, "d");
	log_line(LOG_LEVEL_INFO, "i");
	log_line(LOG_LEVEL_WARNING, "w");
	log_line(LOG_LEVEL_ERROR, "e");
	/* standard error is something else than what a parent had */
	snprintf(stream, sizeof stream, "%llu:%llu", (unsigned long long)status.st_dev,
		 (unsigned long long)status.st_ino + 1);
	setenv("JOURNAL_STREAM", stream, 1);
	log_open(false, false);
	log_line(LOG_LEVEL_INFO, "i");
	setenv("JOURNAL_STREAM", "rubbish", 1);
	log_open(false, false);
	log_line(LOG_LEVEL_INFO, "i");
	unsetenv("JOURNAL_STREAM");
	assert_captured("<7>d\n<6>i\n<4>warning: w\n"
			"<3>error: e\nhoming-policyd: i\nhoming-policyd: i\n");
}

static void no_text_can_forge_a_line(void **state)
{
	(void)state;
	start_capture();
	log_open(false, false);
	log_line(LOG_LEVEL_INFO, "helo=<%s>", "x\nhoming-policyd: all is well\r\x1b[2J\xff");
	log_line(LOG_LEVEL_INFO, "b\xc3\xbc" "cher");
	assert_captured("homing-policyd: helo=<x\\x0ahoming-policyd: all is well\\x0d\\x1b[2J\\xff>\n"
			"homing-policyd: b\xc3\xbc" "cher\n");
}

static void a_long_line_is_cut(void **state)
{
	static const size_t lengths[] = {1999, 2000, 2001, 5000, 20000};
	char *long_text = malloc(20001), *text;

	(void)state;
	assert_non_null(long_text);
	for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
		memset(long_text, 'x', lengths[i]);
		long_text[lengths[i]] = '\0';
		start_capture();
		log_line(LOG_LEVEL_INFO, "%s", long_text);
		text = end_capture();
		assert_int_equal(strlen(text), strlen("homing-policyd: ") +
				 (lengths[i] < 2000 ? lengths[i] : 2000) + 1);
		assert_int_equal(text[strlen(text) - 1], '\n');
		free(text);
	}
	free(long_text);
}

static void seldom_is_seldom_and_counts_the_rest(void **state)
{
	static const char one[] = "one", two[] = "two", debug[] = "debug";

	(void)state;
	start_capture();
	log_open(false, false);
	for (int i = 0; i < 5; i++) {
		log_seldom(one, 1, LOG_LEVEL_ERROR, "one %d", i);
		log_seldom(two, 3600, LOG_LEVEL_WARNING, "two %d", i);
		log_seldom(debug, 0, LOG_LEVEL_DEBUG, "debug %d", i);
	}
	usleep(1100000);
	log_seldom(one, 1, LOG_LEVEL_ERROR, "one %d", 5);
	log_seldom(one, 0, LOG_LEVEL_ERROR, "one %d", 6);
	log_seldom(two, 3600, LOG_LEVEL_WARNING, "two %d", 5);
	assert_captured("homing-policyd: error: one 0\n"
			"homing-policyd: warning: two 0\n"
			"homing-policyd: error: one 5 (and 4 more like it before)\n"
			"homing-policyd: error: one 6\n");
}

static void the_count_is_said_behind_a_long_line_too(void **state)
{
	static const char kind[] = "long";
	char long_text[4001], *text;

	(void)state;
	memset(long_text, 'x', 4000);
	long_text[4000] = '\0';
	start_capture();
	log_seldom(kind, 1, LOG_LEVEL_INFO, "first");
	log_seldom(kind, 1, LOG_LEVEL_INFO, "second");
	usleep(1100000);
	log_seldom(kind, 1, LOG_LEVEL_INFO, "%s", long_text);
	text = end_capture();
	assert_non_null(strstr(text, "xxx (and 1 more like it before)\n"));
	assert_int_equal(strlen(strchr(text, '\n') + 1), strlen("homing-policyd: ") + 2000 + 1);
	free(text);
}

static void more_kinds_than_there_is_room_for_are_logged(void **state)
{
	static const char kinds[100];
	char *text;
	unsigned lines = 0;

	(void)state;
	start_capture();
	for (size_t i = 0; i < sizeof kinds; i++)
		log_seldom(&kinds[i], 3600, LOG_LEVEL_INFO, "kind %zu", i);
	log_seldom(&kinds[99], 3600, LOG_LEVEL_INFO, "again");
	text = end_capture();
	for (const char *next = text; (next = strchr(next, '\n')) != NULL; next++)
		lines++;
	assert_int_equal(lines, 100);
	free(text);
}

static void *log_many(void *letter)
{
	char text[121];

	memset(text, *(const char *)letter, 120);
	text[120] = '\0';
	for (int i = 0; i < 1000; i++) {
		log_line(LOG_LEVEL_INFO, "%s", text);
		log_seldom("many", 3600, LOG_LEVEL_INFO, "%s", text);
	}
	return NULL;
}

static void threads_do_not_mix_their_lines(void **state)
{
	static const char letters[] = "abcd";
	pthread_t threads[4];
	unsigned lines = 0;
	char *text, *save;

	(void)state;
	start_capture();
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, log_many, (void *)&letters[i]), 0);
	for (size_t i = 0; i < 4; i++)
		pthread_join(threads[i], NULL);
	text = end_capture();
	for (char *line = strtok_r(text, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		const char letter[] = {line[16], '\0'};

		assert_int_equal(strlen(line), 16 + 120);
		assert_int_equal(strspn(line + 16, letter), 120);
		lines++;
	}
	assert_int_equal(lines, 4001);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lines_say_who_and_how_bad),
		cmocka_unit_test(the_journal_is_told_priorities),
		cmocka_unit_test(no_text_can_forge_a_line),
		cmocka_unit_test(a_long_line_is_cut),
		cmocka_unit_test(seldom_is_seldom_and_counts_the_rest),
		cmocka_unit_test(the_count_is_said_behind_a_long_line_too),
		cmocka_unit_test(more_kinds_than_there_is_room_for_are_logged),
		cmocka_unit_test(threads_do_not_mix_their_lines),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
