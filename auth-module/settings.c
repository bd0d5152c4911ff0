/* What a block of the configuration says: words in `args` (2.3), settings (2.4). */
#include "compat.h"

#include "settings.h"

#ifdef DOVECOT_SETTINGS
#include <settings.h>
#include "settings-definition.h"
#endif

static bool parse_mode(const char *text, struct homing_settings *settings, const char *setting,
		       const char **error_r)
{
	if (strcmp(text, "route") == 0) {
		settings->mode = HOMING_ROUTE;
	} else if (strcmp(text, "accounts") == 0) {
		settings->mode = HOMING_ACCOUNTS;
	} else {
		*error_r = t_strdup_printf("%s says `%s`: expected `route` or `accounts`", setting, text);
		return FALSE;
	}
	return TRUE;
}

static bool check_directory(const struct homing_settings *settings, const char **error_r)
{
	if (settings->directory[0] == '/')
		return TRUE;
	*error_r = t_strdup_printf("the directory `%s` is not an absolute path", settings->directory);
	return FALSE;
}

#ifdef DOVECOT_SETTINGS
static bool read_event(pool_t pool, struct event *event, struct homing_settings *settings,
		       const char **error_r)
{
	const struct homing_block_settings *set;

	if (settings_get(event, &homing_setting_parser_info, 0, &set, error_r) < 0)
		return FALSE;
	bool fine = parse_mode(set->homing_mode, settings, "homing_mode", error_r);
	settings->directory = p_strdup(pool, set->homing_directory);
	settings_free(set);
	return fine;
}
#else
static bool read_event(pool_t pool ATTR_UNUSED, struct event *event ATTR_UNUSED,
		       struct homing_settings *settings ATTR_UNUSED, const char **error_r)
{
	*error_r = "no arguments: expected `args = route` or `args = accounts`";
	return FALSE;
}
#endif

static bool read_args(pool_t pool, const char *args, struct homing_settings *settings,
		      const char **error_r)
{
	const char *const *words = t_strsplit_spaces(args, " \t");
	bool has_mode = FALSE;

	for (; *words != NULL; words++) {
		if (strncmp(*words, "directory=", 10) == 0) {
			settings->directory = p_strdup(pool, *words + 10);
		} else if (has_mode) {
			*error_r = t_strdup_printf("`%s` in args: expected `route` or `accounts`, and "
						   "`directory=PATH` or nothing", *words);
			return FALSE;
		} else if (!parse_mode(*words, settings, "args", error_r)) {
			return FALSE;
		} else {
			has_mode = TRUE;
		}
	}
	if (!has_mode)
		*error_r = "args say neither `route` nor `accounts`";
	return has_mode;
}

bool homing_settings_read(pool_t pool, const char *args, struct event *event,
			  struct homing_settings *settings_r, const char **error_r)
{
	settings_r->directory = HOMING_DIRECTORY;
	bool fine = args != NULL ? read_args(pool, args, settings_r, error_r)
				 : read_event(pool, event, settings_r, error_r);
	return fine && check_directory(settings_r, error_r);
}
