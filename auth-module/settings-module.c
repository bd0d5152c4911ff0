/* libhoming_settings.so: tells Dovecot 2.4's config process which settings there are. */
#include <config.h>
#include <lib.h>
#include <settings.h>

#include "settings-definition.h"
#include "../plugins/settings-definition.h"

#define EXPORT __attribute__((visibility("default")))

extern EXPORT const char *homing_settings_version;
extern EXPORT const struct setting_parser_info *homing_settings_set_infos[];

const char *homing_settings_version = DOVECOT_ABI_VERSION;
const struct setting_parser_info *homing_settings_set_infos[] = {
	&homing_setting_parser_info,
	&homing_acl_setting_parser_info,
	NULL,
};
