/* homing_directory and homing_allow_anyone of mail processes. */
#include <config.h>
#include <lib.h>
#include <settings.h>

#include "settings-definition.h"

static const struct setting_define defines[] = {
	SETTING_DEFINE_STRUCT_STR("homing_directory", homing_directory, struct homing_acl_settings),
	SETTING_DEFINE_STRUCT_BOOL("homing_allow_anyone", homing_allow_anyone,
				   struct homing_acl_settings),
	SETTING_DEFINE_LIST_END
};

static const struct homing_acl_settings defaults = {
	.homing_directory = HOMING_DIRECTORY,
	.homing_allow_anyone = FALSE,
};

const struct setting_parser_info homing_acl_setting_parser_info = {
	.name = "homing_acl",
	.plugin_dependency = "lib05_homing_acl_plugin",
	.defines = defines,
	.defaults = &defaults,
	.struct_size = sizeof(struct homing_acl_settings),
	.pool_offset1 = 1 + offsetof(struct homing_acl_settings, pool),
};
