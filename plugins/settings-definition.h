/* Our settings as Dovecot 2.4 wants them described, for mail processes and for its config process,
 * which load it from objects of their own. */
#ifndef HOMING_ACL_SETTINGS_DEFINITION_H
#define HOMING_ACL_SETTINGS_DEFINITION_H

struct homing_acl_settings {
	pool_t pool;
	const char *homing_directory;
	bool homing_allow_anyone;
};

extern const struct setting_parser_info homing_acl_setting_parser_info;

#endif
