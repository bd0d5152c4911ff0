/* A line of `homingctl route --batch`: kind TAB name TAB local IP TAB server name; the last two may be
 * empty or left out. */
#ifndef HOMINGCTL_BATCH_LINE_H
#define HOMINGCTL_BATCH_LINE_H

#include <stddef.h>

#include "ip.h"
#include "route.h"

/* Fills the question, which points into the line and to *ip_r. The line is cut apart in place, and has
 * room for a NUL behind its `length` bytes. NULL, or what is wrong (a constant). */
const char *batch_line_parse(char *line, size_t length, struct route_question *question_r,
			     struct ip *ip_r);

#endif
