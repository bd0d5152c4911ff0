/* homing.json: reading, checking, and printing it again. Used by homingctl alone (jansson). */
#ifndef HOMING_CONFIG_H
#define HOMING_CONFIG_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "directory.h"
#include "error.h"
#include "ip.h"
#include "name.h"

/* A list of canonical strings. */
struct config_list {
	char **items;
	size_t count;
};

struct config_domain {
	char *name; /* canonical */
	struct config_list aliases, server_names, administrators;
	struct ip_prefix *addresses;
	size_t address_count;
	enum accounts_mode accounts;
	char unknown; /* as in struct domain_rules */
	char delimiter;
	char *reroute; /* NULL unless unknown is 't' */
};

struct config_record {
	char *match, *to; /* canonical, see record.h */
};

struct config {
	char *main_domain;
	char *home, *uid, *gid;		/* account_defaults; "" where not given */
	struct config_domain *domains;	/* sorted by name */
	size_t domain_count;
	struct config_record *records;	/* in file order */
	size_t record_count;
};

/* One mistake: `file:line:column: key.path: what is wrong, what is expected`. */
typedef void config_mistake_cb(const char *line, void *context);

/* Reads the files (or the *.json of directories, in order of name) and merges them. All mistakes
 * of all files are reported through `mistake`; then *config_r is NULL and the answer is the number
 * of them. 0: fine. -1: could not read (error). */
MUST_CHECK int config_load(const char *const *paths, size_t count, struct config **config_r,
			   config_mistake_cb *mistake, void *context, struct error *error);
void config_free(struct config **config);

/* The configuration that the directory holds, as JSON that config_load takes (new reference). */
json_t *config_export(struct directory_reader *reader, struct error *error);

#endif
