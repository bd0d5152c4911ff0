/* Our settings as Dovecot 2.4 wants them described, for the auth process and for its config
 * process, which load it from objects of their own. */
#ifndef HOMING_SETTINGS_DEFINITION_H
#define HOMING_SETTINGS_DEFINITION_H

struct homing_block_settings {
	pool_t pool;
	const char *homing_mode;
	const char *homing_directory;
};

extern const struct setting_parser_info homing_setting_parser_info;

#endif
