/* The trace of a route: made only where it was asked for. */
#ifndef HOMING_ROUTE_TRACE_H
#define HOMING_ROUTE_TRACE_H

#include "route.h"

/* Adds a step; does nothing for a NULL trace. `why` may be NULL and is printf's. */
void route_trace_add(struct route_trace *trace, const char *rule, const char *from, const char *to,
		     const char *why, ...) HOMING_PRINTF(5, 6);

#endif
