/* What the parts of config_load share: the configuration while it is being read.
 *
 *	config-file.c	  files to valid JSON text
 *	config-mistake.c  mistakes, in the order of the text, each with its place
 *	config-read.c	  the keys at the top, and account_defaults
 *	config-domain.c	  the keys of a domain
 *	config-router.c	  router records, each by itself
 *	config-check.c	  what takes more than one key to see: the same name twice, a loop
 *
 * Every function here that fails to get memory sets `no_memory` and goes on without; config_load
 * looks at it in the end. */
#ifndef HOMING_CONFIG_PRIVATE_H
#define HOMING_CONFIG_PRIVATE_H

#include <stdint.h>

#include "config.h"
#include "directory-format.h"
#include "json-text.h"
#include "record.h"

/* All files together, in bytes. */
#define CONFIG_MAX_BYTES ((size_t)1 << 30)

/* A key or a value: where it begins. */
struct config_place {
	uint32_t file, offset;
};

struct config_file {
	char *path;
	char *bytes;		/* as read; the text begins behind a byte order mark */
	struct json_text text;
	bool broken;		/* not JSON: what it would have said is unknown */
};

/* The key path of a mistake. */
enum config_section { SECTION_TOP, SECTION_DEFAULTS, SECTION_DOMAIN, SECTION_RECORD };
enum { NO_ITEM = -1 };
struct config_key {
	enum config_section section;
	size_t owner;	  /* SECTION_DOMAIN: index in domains; SECTION_RECORD: number in its list */
	const char *name; /* NULL: the owner itself */
	long item;	  /* of a list; or NO_ITEM */
};

struct config_mistake {
	struct config_place place;
	uint32_t number; /* in order of discovery, for those at one place */
	char *text;	 /* key path and what is wrong */
};

enum top_key { TOP_MAIN_DOMAIN, TOP_ACCOUNT_DEFAULTS, TOP_DOMAINS, TOP_ROUTER, TOP_KEYS };

/* A name that only one may have. Claims of one namespace and key are a conflict. */
enum config_claim_kind { /* in order of who keeps the name */
	CLAIM_DOMAIN,
	CLAIM_ALIAS,
	CLAIM_SERVER_NAME,
	CLAIM_ADDRESS,
	CLAIM_RECORD,
};
struct config_claim {
	size_t key; /* offset in `names`: the namespace and the canonical name */
	uint32_t key_length;
	uint32_t owner; /* index of the domain or record */
	uint32_t item;
	enum config_claim_kind kind;
	struct config_place place;
};

/* An administrator, until it is known which domains are ours. */
struct config_administrator {
	uint32_t owner, item;
	uint32_t listed; /* index among the domain's administrators */
	struct config_place place;
};

struct config_record_place {
	struct config_place match, to;
	uint32_t number; /* in its own `router` */
};

struct draft {
	struct config *config;
	struct config_file *files;
	size_t file_count;
	struct config_mistake *mistakes;
	size_t mistake_count;
	struct config_place top[TOP_KEYS]; /* of the key, where it was seen first */
	bool top_seen[TOP_KEYS];
	struct config_place main_domain;
	struct config_place *domain_places; /* of the key of each of config->domains */
	struct config_record_place *record_places; /* of each of config->records */
	struct config_claim *claims;
	size_t claim_count;
	struct value_writer names;
	struct config_administrator *administrators;
	size_t administrator_count;
	bool no_memory;
};

/* Room for one more in an array that has no size of its own: it doubles where the count is a power
 * of two. False: out of memory, and the array is as it was. */
bool draft_grow(struct draft *draft, void **items, size_t count, size_t item_size);
#define DRAFT_GROW(draft, items, count) \
	draft_grow(draft, (void **)&(items), count, sizeof *(items))
/* NULL: out of memory. */
char *draft_copy(struct draft *draft, const char *text);
bool draft_list_add(struct draft *draft, struct config_list *list, const char *text);

/* config-file.c: reads the files, and reports those that are not JSON. -1: could not read. */
MUST_CHECK int draft_read_files(struct draft *draft, const char *const *paths, size_t count,
				struct error *error);

/* config-mistake.c */
void draft_mistake(struct draft *draft, struct config_place place, const struct config_key *key,
		   const char *format, ...) HOMING_PRINTF(4, 5);
/* Reports them in order. */
void draft_report(struct draft *draft, config_mistake_cb *mistake, void *context);
/* `file:line:column`, for a mistake that has two places. Returns out. */
enum { PLACE_SIZE = 400 };
const char *draft_place(struct draft *draft, struct config_place place, char out[PLACE_SIZE]);
/* A string for a mistake: in double quotes, cut where it is long. Returns out. */
enum { SHOWN_SIZE = 96 };
const char *shown(const char *text, char out[SHOWN_SIZE]);
/* The name among `names` (ended by NULL) that was probably meant, or NULL. */
const char *nearest_name(const char *text, const char *const *names);

/* Values, for the readers of keys. Each reports what it does not find. */
const struct json_text *draft_text(const struct draft *draft, struct config_place place);
char draft_type(const struct draft *draft, struct config_place place);
bool draft_expect(struct draft *draft, struct config_place place, const struct config_key *key,
		  char type, const char *expected);
bool draft_string(struct draft *draft, struct config_place place, const struct config_key *key,
		  const char *expected, char out[JSON_STRING_SIZE]);

/* The members of an object whose keys are known. Finds the index of each key among `names`;
 * unknown keys and those that stand twice are mistakes, and are passed over. At most 8 names. */
struct draft_members {
	struct json_walk walk;
	struct draft *draft;
	uint32_t file;
	struct config_key key;
	const char *const *names;
	struct config_place seen[8];
	unsigned seen_bits;
};
struct draft_members draft_members(struct draft *draft, struct config_place object,
				   struct config_key owner, const char *const *names);
bool draft_members_next(struct draft_members *members, int *index_r,
			struct config_place *value_r);

/* The elements of a list. */
struct draft_elements {
	struct json_walk walk;
	uint32_t file;
};
struct draft_elements draft_elements(struct draft *draft, struct config_place list);
bool draft_elements_next(struct draft_elements *elements, struct config_place *value_r);

/* config-read.c, config-domain.c, config-router.c */
void draft_read_top(struct draft *draft, uint32_t file);
void draft_read_domains(struct draft *draft, struct config_place object);
void draft_read_router(struct draft *draft, struct config_place list);

/* config-check.c */
enum config_namespace {
	SPACE_HOST = 'h',    /* domains and their aliases */
	SPACE_SERVER = 's',  /* server_names, wildcards as they are written */
	SPACE_NETWORK = 'n', /* a length in bits and the bytes of an address */
	SPACE_RECORD = 'r',  /* match */
};
void draft_claim(struct draft *draft, enum config_namespace space, const void *name,
		 size_t length, struct config_claim claim);
/* After draft_check_names: who has the name; NULL: nobody. */
const struct config_claim *draft_find(const struct draft *draft, enum config_namespace space,
				      const void *name, size_t length);
void draft_check_names(struct draft *draft);
void draft_check_loops(struct draft *draft); /* config-loop.c */

#endif
