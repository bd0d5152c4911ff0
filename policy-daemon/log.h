/* Log lines in Postfix's habit, to stderr or to syslog (facility mail). */
#ifndef HOMING_LOG_H
#define HOMING_LOG_H

#include <stdbool.h>

#include "router/error.h"

enum log_level { LOG_LEVEL_DEBUG, LOG_LEVEL_INFO, LOG_LEVEL_WARNING, LOG_LEVEL_ERROR };

/* Before anything is logged. To syslog as `homing-policyd[PID]`; to stderr each line begins with
 * `homing-policyd: `, or, where stderr is systemd's journal (JOURNAL_STREAM), with the `<N>` that
 * tells it the priority. Warnings and errors then say `warning: ` or `error: `, as Postfix's do.
 * Debug lines are dropped unless verbose. Threads may log at once: a line is one write. */
void log_open(bool to_syslog, bool verbose);
/* SIGHUP: closes and opens the connection to syslog. */
void log_reopen(void);
bool log_is_verbose(void);

/* One line. Control characters and broken UTF-8 come out as \xHH, so no text from outside can
 * forge another line; over 2,000 bytes it is cut. Never pass a secret. */
void log_line(enum log_level level, const char *format, ...) HOMING_PRINTF(2, 3);

/* The same, but of a `kind` of message (a constant string, told apart by its address) at most one
 * every `seconds`; says how many were left out when the next one comes. For failures that every
 * request would repeat. */
void log_seldom(const char *kind, unsigned seconds, enum log_level level, const char *format, ...)
	HOMING_PRINTF(4, 5);

#endif
