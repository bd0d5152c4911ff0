/* What is made of the domains in other tables; directory-format.h has the keys. */
#include "directory-derived.h"

#include <string.h>

static size_t server_name_key(const char *name, char key_r[1 + DOMAIN_SIZE])
{
	bool wildcard = strncmp(name, "*.", 2) == 0;
	const char *rest = wildcard ? name + 2 : name;
	size_t length = strnlen(rest, DOMAIN_MAX_BYTES);

	key_r[0] = wildcard ? 'w' : 's';
	memcpy(key_r + 1, rest, length);
	return 1 + length;
}

static size_t alias_key(const char *name, char key_r[1 + DOMAIN_SIZE])
{
	size_t length = strnlen(name, DOMAIN_MAX_BYTES);

	key_r[0] = 'a';
	memcpy(key_r + 1, name, length);
	return 1 + length;
}

enum { NETWORK_KEY_SIZE = 17 };

static void network_key(const struct ip_prefix *prefix, unsigned char key_r[NETWORK_KEY_SIZE])
{
	key_r[0] = (unsigned char)prefix->length;
	memcpy(key_r + 1, prefix->ip.bytes, sizeof prefix->ip.bytes);
}

static int remove_host(struct edit *edit, const char *name, bool alias)
{
	char key[1 + DOMAIN_SIZE];
	size_t length = alias ? alias_key(name, key) : server_name_key(name, key);

	return edit_delete(edit, TABLE_HOSTS, key, length, NULL);
}

static int remove_network(struct edit *edit, const char *text, size_t length)
{
	unsigned char key[NETWORK_KEY_SIZE];
	struct ip_prefix prefix;

	if (!ip_prefix_parse(text, length, &prefix))
		return 0; /* then it is not in the table either */
	network_key(&prefix, key);
	return edit_delete(edit, TABLE_NETWORKS, key, sizeof key, NULL);
}

int derived_remove(struct edit *edit, const struct string_set_item *item)
{
	const unsigned char *start = (const unsigned char *)item->bytes;
	struct value_reader rest = {.next = start, .end = start + item->length};
	size_t length;

	value_u8(&rest); /* accounts, unknown, delimiter, reroute */
	value_u8(&rest);
	value_u8(&rest);
	value_string(&rest, NULL);
	for (int list = 0; list < 3; list++)
		for (uint32_t count = value_u32(&rest); count > 0 && !rest.failed; count--) {
			const char *text = value_string(&rest, &length);
			int answer = rest.failed ? 0
				     : list == 1 ? remove_network(edit, text, length)
						 : remove_host(edit, text, list == 0);
			if (answer < 0)
				return -1;
		}
	return rest.failed ? error_set(edit->error, ERROR_CORRUPT, "domains: a value does not parse") : 0;
}

bool derived_rules(const MDB_val *value, struct value_writer *rules)
{
	const unsigned char *start = value->mv_data;
	struct value_reader rest = {.next = start, .end = start + value->mv_size};

	value_u8(&rest); /* accounts, unknown, delimiter, reroute */
	value_u8(&rest);
	value_u8(&rest);
	value_string(&rest, NULL);
	rules->length = 0;
	value_put_u8(rules, NAME_DOMAIN);
	value_put(rules, start, rest.failed ? 0 : (size_t)(rest.next - start));
	return !rest.failed;
}

void derived_add(const struct config_domain *domain, struct batch *hosts, struct batch *networks)
{
	size_t name_size = strlen(domain->name) + 1;
	char key[1 + DOMAIN_SIZE];
	unsigned char network[NETWORK_KEY_SIZE];

	for (size_t i = 0; i < domain->aliases.count; i++)
		batch_add(hosts, key, alias_key(domain->aliases.items[i], key), domain->name, name_size);
	for (size_t i = 0; i < domain->server_names.count; i++)
		batch_add(hosts, key, server_name_key(domain->server_names.items[i], key), domain->name,
			  name_size);
	for (size_t i = 0; i < domain->address_count; i++) {
		network_key(&domain->addresses[i], network);
		batch_add(networks, network, sizeof network, domain->name, name_size);
	}
}
