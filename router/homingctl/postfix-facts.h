/* What Postfix's settings depend on: the domains of the directory, and where the policy daemon's
 * sockets are. */
#ifndef HOMINGCTL_POSTFIX_FACTS_H
#define HOMINGCTL_POSTFIX_FACTS_H

#include "postconf.h"
#include "session.h"

/* Postfix's maps that the daemon answers, and its names for them. */
struct postfix_map {
	const char *setting, *map;
};
enum { POSTFIX_MAPS = 5 };
extern const struct postfix_map postfix_maps[POSTFIX_MAPS];

/* Postfix takes no longer replies (dict_sockmap.c). */
enum { POSTFIX_MAX_REPLY = 100000 };

struct postfix_facts {
	struct session session;
	char main_domain[DOMAIN_SIZE];
	char delimiters[64];		/* of all domains, `+` first */
	char main_delimiter;		/* of the main domain */
	bool asks_dovecot;		/* a domain has its accounts in Dovecot alone */
	char largest[ADDRESS_SIZE];	/* the group or forwarder with the most addresses; "" */
	size_t largest_count;
	size_t largest_bytes;		/* of the addresses, with a comma each */
	const char *queue_directory;
	char socket_dir[96];		/* as in main.cf: "homing" is below the queue directory */
};

/* Opens the directory and reads what counts. `postconf` may be NULL; it must live as long. `sizes`:
 * also look for the largest group. 0, or an exit code after a complaint. */
int postfix_facts_load(const struct call *call, const struct postconf *postconf, bool sizes,
		       struct postfix_facts *facts_r);
void postfix_facts_finish(struct postfix_facts *facts);

/* Is this domain ours, by its name, an alias, or a record for whole domains? */
bool postfix_is_ours(const struct postfix_facts *facts, const char *domain, size_t length);

/* "unix:homing/policy"; "socketmap:unix:homing/map:alias". */
enum { POSTFIX_ENDPOINT_SIZE = 160 };
void postfix_policy_endpoint(const struct postfix_facts *facts, char text_r[POSTFIX_ENDPOINT_SIZE]);
void postfix_map_name(const struct postfix_facts *facts, const char *map,
		      char text_r[POSTFIX_ENDPOINT_SIZE]);
/* Where the socket is for who is not chrooted. */
void postfix_socket_path(const struct postfix_facts *facts, const char *socket, char *path_r,
			 size_t size);

/* Does this item of a list, as `socketmap:unix:homing/map:alias`, ask that map of the daemon? */
bool postfix_item_is_map(const struct postfix_facts *facts, const char *item, size_t length,
			 const char *map);
/* Does what follows check_policy_service, as `unix:homing/policy` or `{ unix:..., ... }`, name the
 * daemon? */
bool postfix_item_is_policy(const struct postfix_facts *facts, const char *item, size_t length);

#endif
