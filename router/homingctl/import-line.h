/* One line of `account import`: {"account":..., "password":"{SCHEME}hash", "home":..., "uid":...,
 * "gid":..., "groups":[...]}, strict JSON, only "account" needed. */
#ifndef HOMINGCTL_IMPORT_LINE_H
#define HOMINGCTL_IMPORT_LINE_H

#include <jansson.h>
#include <stdbool.h>

#include "directory-write.h"
#include "lines.h"
#include "name.h"

enum import_key {
	IMPORT_ACCOUNT,
	IMPORT_PASSWORD,
	IMPORT_HOME,
	IMPORT_UID,
	IMPORT_GID,
	IMPORT_KEYS,
};
enum { IMPORT_MAX_GROUPS = 1024 };

struct import_text {
	char *text; /* NULL: not given */
	size_t length;
};

/* Zero it before the first use; import_line_finish at the end. About 100 KiB: allocate it. */
struct import_line {
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];
	struct account_change account; /* what the line says; points into this struct */

	char copy[LINE_MAX_BYTES + 1];
	json_t *json; /* NULL where the quick scanner sufficed */
	struct import_text values[IMPORT_KEYS];
	struct import_text groups[IMPORT_MAX_GROUPS];
	size_t group_count;
	char numbers[2][24]; /* uid and gid given as numbers */
	char *group_names[IMPORT_MAX_GROUPS + 1];
};

/* Called for each mistake in a line: the key ("" for the line as a whole) and what is wrong. */
typedef void import_mistake_cb(const char *key, const char *why, void *context);

/* True if the line is fine; then line->account is filled, until the next call. */
bool import_line_parse(struct import_line *line, const char *bytes, size_t length,
		       import_mistake_cb *mistake, void *context);
void import_line_finish(struct import_line *line);

#endif
