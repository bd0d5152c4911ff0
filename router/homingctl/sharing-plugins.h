/* The processes of Dovecot that open other people's mailboxes, and the plugins that each needs. */
#ifndef HOMINGCTL_SHARING_PLUGINS_H
#define HOMINGCTL_SHARING_PLUGINS_H

enum { SHARING_PROTOCOLS = 4, SHARING_PLUGINS = 4 };

struct sharing_protocol {
	const char *name;	  /* as in `protocol NAME {` */
	const char *what_for;	  /* what goes on there unchecked without them */
	const char *plugins[SHARING_PLUGINS + 1]; /* of mail_plugins, ended by NULL */
};
extern const struct sharing_protocol sharing_protocols[SHARING_PROTOCOLS];

#endif
