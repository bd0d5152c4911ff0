/* What check --live finds. */
#ifndef HOMINGCTL_FINDINGS_H
#define HOMINGCTL_FINDINGS_H

#include <jansson.h>
#include <stdarg.h>

#include "error.h"

struct findings {
	json_t *list, *notes; /* with --json; else NULL and they are printed at once */
	size_t count;
};

/* `setting`: what it is about; `change`: the line to change; then the problem. */
void findings_add(struct findings *findings, const char *setting, const char *change,
		  const char *format, ...) HOMING_PRINTF(4, 5);
void findings_add_args(struct findings *findings, const char *setting, const char *change,
		       const char *format, va_list args);
/* Something that harms nothing, and does not count. */
void findings_note_args(struct findings *findings, const char *setting, const char *format,
			va_list args);

#endif
