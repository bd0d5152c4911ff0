/* homing_mode and homing_directory: in a passdb or userdb block, or for all of them. */
#include <config.h>
#include <lib.h>
#include <settings.h>

#include "settings-definition.h"

static const struct setting_define defines[] = {
	SETTING_DEFINE_STRUCT_STR("homing_mode", homing_mode, struct homing_block_settings),
	SETTING_DEFINE_STRUCT_STR("homing_directory", homing_directory, struct homing_block_settings),
	/* a passdb or userdb that is called `homing` has its driver's name as a filter */
	{ .type = SET_FILTER_NAME, .key = "passdb_homing" },
	{ .type = SET_FILTER_NAME, .key = "userdb_homing" },
	SETTING_DEFINE_LIST_END
};

static const struct homing_block_settings defaults = {
	.homing_mode = "",
	.homing_directory = HOMING_DIRECTORY,
};

const struct setting_parser_info homing_setting_parser_info = {
	.name = "homing",
	.defines = defines,
	.defaults = &defaults,
	.struct_size = sizeof(struct homing_block_settings),
	.pool_offset1 = 1 + offsetof(struct homing_block_settings, pool),
};
