/* What the administrator sets: `plugin { homing_directory, homing_allow_anyone }` in Dovecot 2.3,
 * settings of these names in 2.4. */
#ifndef HOMING_SETTINGS_H
#define HOMING_SETTINGS_H

struct homing_settings {
	const char *directory; /* the folder of directory.mdb and sharing.mdb */
	bool allow_anyone;     /* users may grant to `anyone` and `authenticated` */
	const char *acl_user;  /* acl's: whose rights count, where it is not the user; or NULL */
};

#endif
