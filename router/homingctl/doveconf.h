/* Dovecot's settings, as doveconf prints them: a tree of `name = value` and `type name { }`. */
#ifndef HOMINGCTL_DOVECONF_H
#define HOMINGCTL_DOVECONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "command.h"

struct setting {
	char *name;  /* "auth_cache_size"; of a block its type, as "passdb" */
	char *value; /* of a block its name, "" if it has none */
	bool is_block;
	struct setting *settings; /* of a block, in the order of the file */
	size_t count;
};

struct command_output {
	char *text;   /* standard output, ended by NUL */
	char *errors; /* standard error */
	int status;   /* exit code; 127 if it could not be run */
};

/* Runs a program with arguments, without a shell. False after a complaint; true even where the
 * program failed. Free with command_output_finish. */
bool command_run(char *const argv[], struct command_output *output_r);
/* The same with a file as standard input, from where it stands; NULL leaves it as it is. */
bool command_run_input(char *const argv[], FILE *input, struct command_output *output_r);
void command_output_finish(struct command_output *output);

/* The settings as they are: `doveconf -a`, or what --doveconf and -c name instead. 0; 66 there is no
 * doveconf, 78 it fails, or another exit code. What it said is in *problem_r (free it; may be NULL). */
int doveconf_load(const struct call *call, struct setting **root_r, char **problem_r);

/* Parses what `doveconf -a` prints. NULL out of memory. */
struct setting *doveconf_parse(const char *text);
void doveconf_free(struct setting *root);

/* The value of a setting directly in a block; NULL if it is not there. */
const char *setting_get(const struct setting *block, const char *name);
const char *setting_or(const struct setting *block, const char *name, const char *otherwise);
/* Does a list have this word? A list is `name = a b, c`, which says all that there is, or (2.4) a
 * block `name { a = yes; b = no }`, which adds to what is said outside. 1 yes, 0 no, -1: this block
 * leaves it as it is outside. */
int setting_list_has(const struct setting *block, const char *name, const char *word);
/* The block of a type and name ("" for any name) directly in another; NULL if none. */
const struct setting *setting_block(const struct setting *block, const char *type,
				    const char *name);

#endif
