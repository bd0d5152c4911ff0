/* Postfix's settings, as postconf prints them: main.cf, what is built in, and master.cf. */
#ifndef HOMINGCTL_POSTCONF_H
#define HOMINGCTL_POSTCONF_H

#include <stdbool.h>
#include <stddef.h>

struct postconf;

/* One line of master.cf. */
struct postfix_service {
	char *name;    /* as postconf names it: "submission/inet" */
	char *command; /* "smtpd" */
	bool chrooted;
};

/* Reads the configuration that postconf(1) reads: /etc/postfix, or the folder that the environment
 * variable MAIL_CONFIG names. 0; EX_NOINPUT without a complaint if there is no Postfix; another
 * exit code after a complaint, EX_CONFIG if Postfix itself does not take its settings. */
int postconf_load(struct postconf **postconf_r);
void postconf_free(struct postconf **postconf);

/* The value of a setting, what is built in included; "" if it is not known. Valid until
 * postconf_free, as all that these functions return. */
const char *postconf_raw(const struct postconf *postconf, const char *name);
/* The same with each $name replaced by its value. */
const char *postconf_value(const struct postconf *postconf, const char *name);
/* What main.cf itself says; NULL if it does not mention the setting. */
const char *postconf_written(const struct postconf *postconf, const char *name);

const struct postfix_service *postconf_services(const struct postconf *postconf, size_t *count_r);
const struct postfix_service *postconf_service(const struct postconf *postconf, const char *name);
/* What `-o` says in the service's lines of master.cf, with each $name replaced or as it stands
 * there; NULL if it says nothing. */
const char *postconf_override(const struct postconf *postconf, const char *service,
			      const char *name);
const char *postconf_override_raw(const struct postconf *postconf, const char *service,
				  const char *name);
/* What counts in a service: its override, or the setting. */
const char *postconf_effective(const struct postconf *postconf, const char *service,
			       const char *name);

/* Takes the next item from a list: separated by commas and white space, what stands in braces is
 * one. NULL at the end; else the item, not ended by NUL, and *rest behind it. */
const char *postfix_item(const char **rest, size_t *length_r);

/* "3.7.11": its major and minor number. False if it is none. */
bool postfix_version_parse(const char *text, int *major_r, int *minor_r);
/* Can Homing work with it? */
bool postfix_version_suits(int major, int minor);

#endif
