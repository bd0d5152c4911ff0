/* The keys of a domain, each value by itself. What is a name that only one may have becomes a
 * claim, for config-check.c. */
#include "config-private.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum domain_key {
	DOMAIN_ALIASES,
	DOMAIN_ADDRESSES,
	DOMAIN_SERVER_NAMES,
	DOMAIN_ACCOUNTS,
	DOMAIN_UNKNOWN,
	DOMAIN_ADMINISTRATORS,
	DOMAIN_DELIMITER,
};

static const char *const domain_names[] = {
	[DOMAIN_ALIASES] = "aliases",
	[DOMAIN_ADDRESSES] = "addresses",
	[DOMAIN_SERVER_NAMES] = "server_names",
	[DOMAIN_ACCOUNTS] = "accounts",
	[DOMAIN_UNKNOWN] = "unknown",
	[DOMAIN_ADMINISTRATORS] = "administrators",
	[DOMAIN_DELIMITER] = "subaddress_delimiter",
	NULL,
};

/* One value, and whose it is. */
struct domain_value {
	struct draft *draft;
	struct config_domain *domain;
	struct config_key key;
	struct config_place place;
};

static void claim(const struct domain_value *value, enum config_namespace space,
		  enum config_claim_kind kind, const void *name, size_t length)
{
	draft_claim(value->draft, space, name, length,
		    (struct config_claim){
			    .kind = kind,
			    .owner = (uint32_t)value->key.owner,
			    .item = (uint32_t)value->key.item,
			    .place = value->place,
		    });
}

static void read_alias(const struct domain_value *value, const char *text)
{
	char alias[DOMAIN_SIZE], quoted[SHOWN_SIZE];

	if (!domain_parse(text, strlen(text), alias)) {
		draft_mistake(value->draft, value->place, &value->key,
			      strchr(text, '*')
				      ? "%s is not a domain name, expected one as mail.company.com; "
					"wildcards go into server_names"
				      : "%s is not a domain name, expected one as mail.company.com",
			      shown(text, quoted));
		return;
	}
	if (draft_list_add(value->draft, &value->domain->aliases, alias))
		claim(value, SPACE_HOST, CLAIM_ALIAS, alias, strlen(alias));
}

static void read_server_name(const struct domain_value *value, const char *text)
{
	bool wildcard = strncmp(text, "*.", 2) == 0;
	const char *rest = wildcard ? text + 2 : text;
	char name[DOMAIN_SIZE], full[DOMAIN_SIZE + 2], quoted[SHOWN_SIZE];

	if (!domain_parse(rest, strlen(rest), name)) {
		draft_mistake(value->draft, value->place, &value->key,
			      strchr(rest, '*')
				      ? "%s: a `*` stands for the whole first label and nothing else, "
					"expected as *.client2.com"
				      : "%s is not a TLS server name, expected as imap.client2.com or "
					"*.client2.com",
			      shown(text, quoted));
		return;
	}
	snprintf(full, sizeof full, "%s%s", wildcard ? "*." : "", name);
	if (draft_list_add(value->draft, &value->domain->server_names, full))
		claim(value, SPACE_SERVER, CLAIM_SERVER_NAME, full, strlen(full));
}

/* ADDRESS/BITS where only the bits behind the length are wrong: the prefix that was meant. */
static bool masked_prefix(const char *text, char out[IP_TEXT_SIZE])
{
	const char *slash = strchr(text, '/');
	struct ip_prefix prefix;
	unsigned bits;
	char end;

	if (!slash || !ip_parse(text, (size_t)(slash - text), &prefix.ip) ||
	    strlen(slash + 1) > 3 || !isdigit((unsigned char)slash[1]) ||
	    sscanf(slash + 1, "%3u%c", &bits, &end) != 1)
		return false;
	bool dotted = !memchr(text, ':', (size_t)(slash - text));
	if (bits > (dotted ? 32 : 128))
		return false;
	prefix.length = dotted ? bits + 96 : bits;
	prefix.ip = ip_mask(&prefix.ip, prefix.length);
	ip_prefix_format(&prefix, out);
	return true;
}

static void refuse_address(const struct domain_value *value, const char *text)
{
	char quoted[SHOWN_SIZE], masked[IP_TEXT_SIZE];

	shown(text, quoted);
	if (masked_prefix(text, masked))
		draft_mistake(value->draft, value->place, &value->key,
			      "%s has bits behind its prefix length, expected %s", quoted, masked);
	else
		draft_mistake(value->draft, value->place, &value->key,
			      "%s is not an IP address or prefix, expected as 192.0.2.1, 192.0.2.0/24, "
			      "2001:db8::1 or 2001:db8::/32",
			      quoted);
}

static void read_address(const struct domain_value *value, const char *text)
{
	struct config_domain *domain = value->domain;
	struct ip_prefix prefix;
	unsigned char key[1 + sizeof prefix.ip.bytes];

	if (!ip_prefix_parse(text, strlen(text), &prefix)) {
		refuse_address(value, text);
		return;
	}
	if (!DRAFT_GROW(value->draft, domain->addresses, domain->address_count))
		return;
	domain->addresses[domain->address_count++] = prefix;
	key[0] = (unsigned char)prefix.length;
	memcpy(key + 1, prefix.ip.bytes, sizeof prefix.ip.bytes);
	claim(value, SPACE_NETWORK, CLAIM_ADDRESS, key, sizeof key);
}

static void add_administrator(const struct domain_value *value, const char *local,
			      const char *domain)
{
	struct draft *draft = value->draft;
	struct config_list *list = &value->domain->administrators;
	char address[ADDRESS_SIZE];

	snprintf(address, sizeof address, "%s@%s", local, domain);
	if (!draft_list_add(draft, list, address) ||
	    !DRAFT_GROW(draft, draft->administrators, draft->administrator_count))
		return;
	draft->administrators[draft->administrator_count++] = (struct config_administrator){
		.owner = (uint32_t)value->key.owner,
		.item = (uint32_t)value->key.item,
		.listed = (uint32_t)(list->count - 1),
		.place = value->place,
	};
}

/* A bare name is one of the domain's own. */
static void read_administrator(const struct domain_value *value, const char *text)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE], quoted[SHOWN_SIZE];
	const char *why;

	if (strchr(text, '@')) {
		why = address_parse(text, strlen(text), local, domain);
	} else {
		int length = local_fold(text, strlen(text), local);

		why = length < 0 ? "longer than 255 bytes" : local_refusal(local, (size_t)length);
		snprintf(domain, sizeof domain, "%s", value->domain->name);
	}
	if (why)
		draft_mistake(value->draft, value->place, &value->key,
			      "%s is not an account: %s; expected a name of this domain, or name@domain",
			      shown(text, quoted), why);
	else if (domain[0])
		add_administrator(value, local, domain);
}

typedef void read_item(const struct domain_value *value, const char *text);

static void read_list(struct domain_value value, const char *expected, const char *expected_item,
		      read_item *read)
{
	struct draft *draft = value.draft;
	char text[JSON_STRING_SIZE];

	if (!draft_expect(draft, value.place, &value.key, '[', expected))
		return;
	struct draft_elements elements = draft_elements(draft, value.place);
	for (value.key.item = 0; draft_elements_next(&elements, &value.place); value.key.item++)
		if (draft_string(draft, value.place, &value.key, expected_item, text))
			read(&value, text);
}

static void read_accounts(const struct domain_value *value, const char *text)
{
	static const char *const modes[] = {
		[ACCOUNTS_DIRECTORY] = "directory",
		[ACCOUNTS_EXTERNAL] = "external",
		[ACCOUNTS_DOVECOT] = "dovecot",
		NULL,
	};
	char quoted[SHOWN_SIZE];

	for (int mode = 0; modes[mode]; mode++)
		if (strcmp(modes[mode], text) == 0) {
			value->domain->accounts = (enum accounts_mode)mode;
			return;
		}
	draft_mistake(value->draft, value->place, &value->key,
		      "%s, expected \"directory\", \"external\" or \"dovecot\"", shown(text, quoted));
}

/* NULL if mail can be sent there; else why not. Writes the local part as typed and the domain in
 * its canonical form. */
static const char *reroute_refusal(const char *address, char out[NAME_SIZE])
{
	size_t length = strlen(address);
	const char *why = name_refusal(NAME_ADDRESS, address, length);
	char domain[DOMAIN_SIZE];

	if (why)
		return why;
	const char *at = name_find_at(address, length);
	if (!at)
		return "no `@`";
	size_t local_length = (size_t)(at - address);
	if (local_length == 0)
		return "nothing before the `@`";
	if (address[0] != '"' && memchr(address, ' ', local_length))
		return "a space before the `@`";
	if (name_find_at(address, local_length))
		return "more than one `@`";
	if (!domain_parse(at + 1, length - local_length - 1, domain))
		return "not a domain name behind the `@`";
	if (local_length + 1 + strlen(domain) > NAME_MAX_BYTES)
		return "longer than 512 bytes with its domain in ASCII";
	snprintf(out, NAME_SIZE, "%.*s@%s", (int)local_length, address, domain);
	return NULL;
}

static void read_reroute(const struct domain_value *value, const char *address)
{
	char canonical[NAME_SIZE], quoted[SHOWN_SIZE];
	const char *why = reroute_refusal(address, canonical);

	if (why) {
		draft_mistake(value->draft, value->place, &value->key,
			      "%s is not an address: %s; expected as reroute:postmaster@company.com",
			      shown(address, quoted), why);
		return;
	}
	free(value->domain->reroute);
	value->domain->reroute = draft_copy(value->draft, canonical);
	value->domain->unknown = 't';
}

static void read_unknown(const struct domain_value *value, const char *text)
{
	static const char reroute[] = "reroute:";
	char quoted[SHOWN_SIZE];

	if (strcmp(text, "reject") == 0)
		value->domain->unknown = 'r';
	else if (strcmp(text, "discard") == 0)
		value->domain->unknown = 'd';
	else if (strncmp(text, reroute, sizeof reroute - 1) == 0)
		read_reroute(value, text + sizeof reroute - 1);
	else
		draft_mistake(value->draft, value->place, &value->key,
			      "%s, expected \"reject\", \"discard\" or \"reroute:ADDRESS\"",
			      shown(text, quoted));
}

/* A character that can stand in a name without meaning anything, and that is no letter or digit: it
 * would cut names where nobody expects it. */
static bool is_delimiter(const char *text)
{
	const char name[] = {'a', text[0], 'b', '\0'};

	return strlen(text) == 1 && isascii((unsigned char)text[0]) &&
	       ispunct((unsigned char)text[0]) && !local_refusal(name, 3);
}

static void read_delimiter(const struct domain_value *value, const char *text)
{
	char quoted[SHOWN_SIZE];

	if (is_delimiter(text))
		value->domain->delimiter = text[0];
	else
		draft_mistake(value->draft, value->place, &value->key,
			      "%s, expected one character of + - = _ . ' ? ^ { } ~",
			      shown(text, quoted));
}

static void read_key(struct domain_value value, enum domain_key index)
{
	static const struct {
		bool list;
		const char *expected, *expected_item;
		read_item *read;
	} readers[] = {
		[DOMAIN_ALIASES] = {true, "a list of domain names", "a domain name", read_alias},
		[DOMAIN_ADDRESSES] = {true, "a list of IP addresses or prefixes",
				      "an IP address or prefix as a string", read_address},
		[DOMAIN_SERVER_NAMES] = {true, "a list of TLS server names",
					 "a TLS server name, as *.client2.com", read_server_name},
		[DOMAIN_ADMINISTRATORS] = {true, "a list of accounts", "an account as a string",
					   read_administrator},
		[DOMAIN_ACCOUNTS] = {false, "\"directory\", \"external\" or \"dovecot\"", NULL,
				     read_accounts},
		[DOMAIN_UNKNOWN] = {false, "\"reject\", \"discard\" or \"reroute:ADDRESS\"", NULL,
				    read_unknown},
		[DOMAIN_DELIMITER] = {false, "one character as a string", NULL, read_delimiter},
	};
	char text[JSON_STRING_SIZE];

	if (readers[index].list)
		read_list(value, readers[index].expected, readers[index].expected_item,
			  readers[index].read);
	else if (draft_string(value.draft, value.place, &value.key, readers[index].expected, text))
		readers[index].read(&value, text);
}

/* Adds the domain of a key. A bad name is kept as "", so that its values are checked as well. */
static bool add_domain(struct draft *draft, struct config_place place, size_t *owner_r)
{
	struct config *config = draft->config;
	const struct config_key key = {.section = SECTION_DOMAIN,
				       .owner = config->domain_count,
				       .item = NO_ITEM};
	char text[JSON_STRING_SIZE], name[DOMAIN_SIZE] = "";

	if (json_text_string(draft_text(draft, place), place.offset, text) < 0 ||
	    !DRAFT_GROW(draft, config->domains, config->domain_count) ||
	    !DRAFT_GROW(draft, draft->domain_places, config->domain_count)) {
		draft->no_memory = true;
		return false;
	}
	draft->domain_places[key.owner] = place;
	bool fine = domain_parse(text, strlen(text), name);
	if (!fine) {
		name[0] = '\0';
		draft_mistake(draft, place, &key, "not a domain name, expected one as client1.com");
	}
	config->domains[key.owner] = (struct config_domain){
		.name = draft_copy(draft, name),
		.unknown = 'r',
		.delimiter = '+',
	};
	if (!config->domains[key.owner].name)
		return false;
	*owner_r = config->domain_count++;
	if (fine)
		draft_claim(draft, SPACE_HOST, name, strlen(name),
			    (struct config_claim){.kind = CLAIM_DOMAIN,
						  .owner = (uint32_t)*owner_r,
						  .place = place});
	return true;
}

static void read_domain(struct draft *draft, struct config_place place, struct config_place object)
{
	struct config_key key = {.section = SECTION_DOMAIN, .item = NO_ITEM};
	struct config_place value;
	int index;

	if (!add_domain(draft, place, &key.owner) ||
	    !draft_expect(draft, object, &key, '{',
			  "an object; {} is a domain without special rules"))
		return;
	struct draft_members members = draft_members(draft, object, key, domain_names);
	while (draft_members_next(&members, &index, &value)) {
		key.name = domain_names[index];
		read_key((struct domain_value){.draft = draft,
					       .domain = &draft->config->domains[key.owner],
					       .key = key,
					       .place = value},
			 (enum domain_key)index);
	}
}

void draft_read_domains(struct draft *draft, struct config_place object)
{
	const struct config_key key = {.name = "domains", .item = NO_ITEM};
	size_t name, value;

	if (!draft_expect(draft, object, &key, '{',
			  "an object: a key for each domain, { \"company.com\": {} }"))
		return;
	struct json_walk walk = json_walk(draft_text(draft, object), object.offset);
	while (json_walk_next(&walk, &name, &value))
		read_domain(draft, (struct config_place){object.file, (uint32_t)name},
			    (struct config_place){object.file, (uint32_t)value});
}
