/* The command line of homing-policyd(8). */
#ifndef HOMING_OPTIONS_H
#define HOMING_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "decide.h"
#include "endpoint.h"

struct wanted_endpoint {
	enum service service;
	const char *text;
};

struct options {
	const char *directory;
	struct wanted_endpoint *endpoints; /* in the order of the command line */
	size_t endpoint_count;
	unsigned workers;
	const char *userdb; /* NULL: nobody is asked */
	mode_t socket_mode;
	const char *socket_group; /* NULL: not given */
	struct trusted trusted;
	const char *user; /* NULL: not given */
	unsigned long max_connections;
	bool dry_run, foreground, verbose;
};

enum { OPTIONS_GO_ON = -1 };

/* OPTIONS_GO_ON with *options_r filled, whose strings are argv's; else the exit status, after --help
 * and --version (0) and mistakes (64), of which it has told. options_finish() in any case. */
int options_parse(int argc, char **argv, struct options *options_r);
void options_finish(struct options *options);

#endif
