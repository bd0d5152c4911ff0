/* What a block of the configuration says. */
#ifndef HOMING_SETTINGS_H
#define HOMING_SETTINGS_H

enum homing_mode {
	HOMING_ROUTE,	 /* rewrites the name; never authenticates */
	HOMING_ACCOUNTS, /* the directory's own accounts */
};

struct homing_settings {
	enum homing_mode mode;
	const char *directory;
};

struct event;

/* From `args` (2.3) or, where that is NULL, from the settings at the event (2.4). Allocates from
 * the pool. FALSE: *error_r says what is wrong. */
bool homing_settings_read(pool_t pool, const char *args, struct event *event,
			  struct homing_settings *settings_r, const char **error_r);

#endif
