/* The trace of a route, step by step. */
#include "route-trace.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool grow(struct route_trace *trace)
{
	if (trace->count < trace->size)
		return true;
	size_t size = trace->size ? trace->size * 2 : 16;
	struct route_step *steps = realloc(trace->steps, size * sizeof *steps);
	if (!steps)
		return false;
	trace->steps = steps;
	trace->size = size;
	return true;
}

static void step_free(struct route_step *step)
{
	free(step->from);
	free(step->to);
	free(step->why);
}

void route_trace_add(struct route_trace *trace, const char *rule, const char *from, const char *to,
		     const char *why, ...)
{
	struct route_step step = {.rule = rule};
	bool fine = true;

	if (!trace || trace->failed)
		return;
	if (why) {
		va_list args;

		va_start(args, why);
		fine = vasprintf(&step.why, why, args) >= 0;
		va_end(args);
		if (!fine)
			step.why = NULL;
	}
	step.from = strdup(from);
	step.to = strdup(to);
	if (!fine || !step.from || !step.to || !grow(trace)) {
		step_free(&step);
		trace->failed = true;
		return;
	}
	trace->steps[trace->count++] = step;
}

void route_trace_finish(struct route_trace *trace)
{
	for (size_t i = 0; i < trace->count; i++)
		step_free(&trace->steps[i]);
	free(trace->steps);
	*trace = (struct route_trace){0};
}
