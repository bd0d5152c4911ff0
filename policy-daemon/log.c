/* Log lines. The one file of the daemon with state of its own: whoever has something to say should
 * not need a struct handed down for it. All of it but the table of log_seldom is set before threads
 * start. */
#include "log.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "router/printable.h"

enum {
	MAX_LINE = 2000,
	MAX_NOTE = 60,	  /* of how many were left out; part of the line */
	MAX_RAW = 8192,	  /* a message before it is cut */
	MAX_KINDS = 32,
};

static const char program[] = "homing-policyd";

static struct {
	bool to_syslog, verbose, to_journal;
} output;

/* What log_seldom knows of a kind. */
struct seldom {
	const char *kind;
	int64_t last; /* monotonic, in ms */
	unsigned long left_out;
};

static struct seldom kinds[MAX_KINDS];
static pthread_mutex_t kinds_lock = PTHREAD_MUTEX_INITIALIZER;

static const struct {
	int priority;
	const char *word; /* in front, as Postfix's msg(3) does */
} levels[] = {
	[LOG_LEVEL_DEBUG] = {LOG_DEBUG, ""},
	[LOG_LEVEL_INFO] = {LOG_INFO, ""},
	[LOG_LEVEL_WARNING] = {LOG_WARNING, "warning: "},
	[LOG_LEVEL_ERROR] = {LOG_ERR, "error: "},
};

/* Is standard error what systemd names in JOURNAL_STREAM, as `device:inode` (systemd.exec(5))? A
 * parent may have been the one and have pointed our standard error elsewhere. */
static bool is_journal(int fd)
{
	const char *text = getenv("JOURNAL_STREAM");
	unsigned long long device, inode;
	struct stat status;

	return text && sscanf(text, "%llu:%llu", &device, &inode) == 2 &&
	       fstat(fd, &status) == 0 && status.st_dev == device && status.st_ino == inode;
}

void log_open(bool to_syslog, bool verbose)
{
	output.to_syslog = to_syslog;
	output.verbose = verbose;
	output.to_journal = !to_syslog && is_journal(STDERR_FILENO);
	if (to_syslog)
		openlog(program, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

void log_reopen(void)
{
	if (!output.to_syslog)
		return;
	closelog();
	openlog(program, LOG_PID | LOG_NDELAY, LOG_MAIL);
}

bool log_is_verbose(void)
{
	return output.verbose;
}

static bool is_wanted(enum log_level level)
{
	return level != LOG_LEVEL_DEBUG || output.verbose;
}

/* One write, so that the lines of threads do not run into each other. If nobody takes it there is
 * nobody to tell. */
static void write_line(enum log_level level, const char *line)
{
	char whole[MAX_LINE + 64];
	int length;

	if (output.to_syslog) {
		syslog(levels[level].priority, "%s", line);
		return;
	}
	if (output.to_journal) /* which knows the program's name by itself */
		length = snprintf(whole, sizeof whole, "<%d>%s\n", levels[level].priority, line);
	else
		length = snprintf(whole, sizeof whole, "%s: %s\n", program, line);
	ssize_t written = write(STDERR_FILENO, whole, (size_t)length);
	(void)written;
}

static void put(enum log_level level, const char *note, const char *format, va_list args)
	HOMING_PRINTF(3, 0);
static void put(enum log_level level, const char *note, const char *format, va_list args)
{
	char raw[MAX_RAW], line[MAX_LINE + 1];
	size_t word = strlen(levels[level].word), noted = strlen(note), used;

	if (vsnprintf(raw, sizeof raw, format, args) < 0)
		return;
	memcpy(line, levels[level].word, word);
	used = word + printable_escape(line + word, sizeof line - word - noted, raw, strlen(raw));
	memcpy(line + used, note, noted + 1);
	write_line(level, line);
}

void log_line(enum log_level level, const char *format, ...)
{
	va_list args;

	if (!is_wanted(level))
		return;
	va_start(args, format);
	put(level, "", format, args);
	va_end(args);
}

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000) + now.tv_nsec / 1000000;
}

/* The kind's place; else a free one, else the one that was silent longest. Holds the lock. */
static struct seldom *place_of(const char *kind, bool *known_r)
{
	struct seldom *place = &kinds[0];

	*known_r = true;
	for (size_t i = 0; i < MAX_KINDS; i++) {
		if (kinds[i].kind == kind)
			return &kinds[i];
		if (place->kind && (!kinds[i].kind || kinds[i].last < place->last))
			place = &kinds[i];
	}
	*known_r = false;
	return place;
}

/* May this one be logged? Then *left_out_r says how many were not since the last one. */
static bool is_time(const char *kind, unsigned seconds, unsigned long *left_out_r)
{
	int64_t now = now_ms();
	bool known, yes;

	pthread_mutex_lock(&kinds_lock);
	struct seldom *seldom = place_of(kind, &known);
	yes = !known || now - seldom->last >= seconds * INT64_C(1000);
	if (yes) {
		*left_out_r = known ? seldom->left_out : 0;
		*seldom = (struct seldom){.kind = kind, .last = now};
	} else {
		seldom->left_out++;
	}
	pthread_mutex_unlock(&kinds_lock);
	return yes;
}

void log_seldom(const char *kind, unsigned seconds, enum log_level level, const char *format, ...)
{
	char note[MAX_NOTE] = "";
	unsigned long left_out;
	va_list args;

	if (!is_wanted(level) || !is_time(kind, seconds, &left_out))
		return;
	if (left_out > 0)
		snprintf(note, sizeof note, " (and %lu more like it before)", left_out);
	va_start(args, format);
	put(level, note, format, args);
	va_end(args);
}
