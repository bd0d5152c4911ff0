/* Is a configuration one that the directory can hold? config_load has seen to all of this, with
 * better words; here it keeps the tables sound whoever calls. */
#include "directory-apply-check.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "record.h"

static bool is_domain(const char *text)
{
	char canonical[DOMAIN_SIZE];
	size_t length = strnlen(text, DOMAIN_SIZE);

	return domain_parse(text, length, canonical) && strcmp(text, canonical) == 0;
}

static const char *domain_refusal(const struct config_domain *domain)
{
	for (size_t i = 0; i < domain->aliases.count; i++)
		if (!is_domain(domain->aliases.items[i]))
			return "an alias that is no domain name in canonical form";
	for (size_t i = 0; i < domain->server_names.count; i++) {
		const char *name = domain->server_names.items[i];

		if (!is_domain(strncmp(name, "*.", 2) == 0 ? name + 2 : name))
			return "a server name that is none";
	}
	for (size_t i = 0; i < domain->address_count; i++) {
		const struct ip_prefix *prefix = &domain->addresses[i];
		struct ip masked = ip_mask(&prefix->ip, prefix->length);

		if (prefix->length > 128 || memcmp(&masked, &prefix->ip, sizeof masked) != 0)
			return "an address that is no prefix";
	}
	if (domain->accounts > ACCOUNTS_DOVECOT || domain->delimiter < '!' || domain->delimiter > '~')
		return "no such kind of accounts, or no such delimiter";
	if (domain->unknown != 'r' && domain->unknown != 'd' &&
	    (domain->unknown != 't' || !domain->reroute || !domain->reroute[0] ||
	     strnlen(domain->reroute, NAME_SIZE) == NAME_SIZE))
		return "no such rule for unknown names";
	return NULL;
}

static int compare_name(const void *name, const void *domain)
{
	return strcmp(name, ((const struct config_domain *)domain)->name);
}

static const struct config_domain *find_domain(const struct config *config, const char *name)
{
	if (config->domain_count == 0)
		return NULL;
	return bsearch(name, config->domains, config->domain_count, sizeof *config->domains,
		       compare_name);
}

static int check_domains(const struct config *config, struct error *error)
{
	for (size_t i = 0; i < config->domain_count; i++) {
		const struct config_domain *domain = &config->domains[i];
		const char *why = domain_refusal(domain);

		if (!is_domain(domain->name))
			why = "not a domain name in canonical form";
		else if (i > 0 && strcmp(domain[-1].name, domain->name) >= 0)
			why = "the domains are not sorted, or it is there twice";
		for (size_t j = 0; !why && j < domain->aliases.count; j++)
			if (find_domain(config, domain->aliases.items[j]))
				why = "an alias that is also a domain";
		if (why)
			return error_set(error, ERROR_INVALID, "domains.\"%.253s\": %s", domain->name, why);
	}
	return 0;
}

int apply_check(const struct config *config, struct error *error)
{
	char match[NAME_SIZE], to[NAME_SIZE];
	bool in_to;

	if (!config->main_domain || !find_domain(config, config->main_domain))
		return error_set(error, ERROR_INVALID, "main_domain: not one of the domains");
	if (strlen(config->home) >= sizeof ((struct account *)0)->home ||
	    strlen(config->uid) >= sizeof ((struct account *)0)->uid ||
	    strlen(config->gid) >= sizeof ((struct account *)0)->gid)
		return error_set(error, ERROR_INVALID, "account_defaults: a value is too long");
	if (config->record_count >= UINT32_MAX)
		return error_set(error, ERROR_INVALID, "router: too many records");
	for (size_t i = 0; i < config->record_count; i++) {
		const struct config_record *record = &config->records[i];
		const char *why = record_canonical(record->match, record->to, match, to, &in_to);

		if (why)
			return error_set(error, ERROR_INVALID, "router[%zu].%s: %s", i,
					 in_to ? "to" : "match", why);
	}
	return check_domains(config, error);
}
