/* The maps that Postfix asks.
 *
 * Postfix knows two forms of an address and does not say which one a key is in: it asks
 * in external form (`"in fo"@d`), and if that is not found and differs, in internal form
 * (`in fo@d`). One string can be both: the internal `"a%b"@d`, sent as `"\"a%b\""@d`, is
 * a name that begins with a quote, and read as an external form it would be an explicit
 * route that the policy never saw. So only what is the external form of something is
 * answered; whatever else comes is NOTFOUND, as are the partial keys (`user`, `@domain`)
 * of Postfix's search.
 *
 * No `@`, no answer (but of `domain`), not even where `%` or `!` would make an address of
 * the key: Postfix has completed every address before it asks, so such a key is a domain,
 * a user name, `*`. */
#include "decide.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "router/delivery.h"
#include "router/route.h"

static const char *const map_names[MAPS] = {
	[MAP_ALIAS] = "alias",	       [MAP_DOMAIN] = "domain",
	[MAP_MAILBOX] = "mailbox",     [MAP_SENDER_LOGIN] = "sender-login",
	[MAP_TRANSPORT] = "transport",
};

enum map map_parse(const char *name, size_t length)
{
	for (int map = 0; map < MAPS; map++)
		if (strlen(map_names[map]) == length && memcmp(map_names[map], name, length) == 0)
			return (enum map)map;
	return MAP_NONE;
}

const char *map_name(enum map map)
{
	return map < MAPS ? map_names[map] : "none";
}

/* One lookup on its way. */
struct lookup {
	struct directory_reader *reader;
	const char *key;
	size_t key_length;
	struct map_decision *decision;
	struct error *error;
};

static int set(struct lookup *lookup, enum socketmap_status status, const char *value,
	       size_t length)
{
	struct map_decision *decision = lookup->decision;

	free(decision->value);
	decision->value = malloc(length + 1);
	if (!decision->value)
		return error_set(lookup->error, ERROR_MEMORY, "out of memory");
	memcpy(decision->value, value, length);
	decision->value[length] = '\0';
	decision->value_length = length;
	decision->status = status;
	return 0;
}

static int found(struct lookup *lookup, const char *value)
{
	return set(lookup, SOCKETMAP_OK, value, strlen(value));
}

static int permanent(struct lookup *lookup, const char *reason)
{
	return set(lookup, SOCKETMAP_PERM, reason, strlen(reason));
}

static void fail(struct map_decision *decision, const char *reason)
{
	char *value = NULL;
	int length = asprintf(&value, "temporary lookup failure: %s", reason);

	free(decision->value);
	decision->value = length < 0 ? NULL : value;
	decision->value_length = length < 0 ? 0 : (size_t)length;
	decision->status = SOCKETMAP_TEMP;
}

/* Postfix may have folded the key to lower case. */
static bool is_key(const struct lookup *lookup, const char *address)
{
	return strlen(address) == lookup->key_length &&
	       strncasecmp(address, lookup->key, lookup->key_length) == 0;
}

/* Likewise with the case of all of Unicode: in a domain with accounts elsewhere a name is folded with
 * its detail, and the detail in the key must not be lost for that. */
static bool is_key_of_external(const struct lookup *lookup, const char *address)
{
	char left[LOCAL_SIZE], right[LOCAL_SIZE];
	const char *key_at = name_find_at(lookup->key, lookup->key_length);
	const char *at = strrchr(address, '@');
	size_t key_local = (size_t)(key_at - lookup->key), domain_length = strlen(at);

	return lookup->key_length == key_local + domain_length &&
	       strncasecmp(key_at, at, domain_length) == 0 &&
	       local_fold(lookup->key, key_local, left) >= 0 &&
	       local_fold(address, (size_t)(at - address), right) >= 0 && strcmp(left, right) == 0;
}

static bool is_same_domain(const char *text, size_t length, const char *domain)
{
	char canonical[DOMAIN_SIZE];
	struct ip left, right;

	if (domain_literal_parse(text, length, &left))
		return domain_literal_parse(domain, strlen(domain), &right) &&
		       memcmp(&left, &right, sizeof left) == 0;
	return domain_parse(text, length, canonical) && strcmp(canonical, domain) == 0;
}

/* Is a remote address the key itself, with its domain in canonical form? */
static bool is_key_canonical(const struct lookup *lookup, const char *address)
{
	const char *key_at = name_find_at(lookup->key, lookup->key_length);
	const char *at = strrchr(address, '@');
	size_t local_length = (size_t)(key_at - lookup->key);

	return local_length == (size_t)(at - address) &&
	       strncasecmp(lookup->key, address, local_length) == 0 &&
	       is_same_domain(key_at + 1, lookup->key_length - local_length - 1, at + 1);
}

static int alias_account(struct lookup *lookup, const struct route_answer *answer)
{
	char address[DELIVERY_SIZE];
	int result = delivery_address(lookup->reader, answer, address, lookup->error);

	if (result < 0)
		return -1;
	if (result == 0)
		return permanent(lookup,
				 "no address leads to this mailbox or detail: another name of "
				 "the directory is in its way");
	lookup->decision->none_needed = answer->flags & ROUTE_EXTERNAL
						? is_key_of_external(lookup, address)
						: is_key(lookup, address);
	return lookup->decision->none_needed ? 0 : found(lookup, address);
}

static int alias_remote(struct lookup *lookup, const struct route_answer *answer)
{
	char address[DELIVERY_SIZE];

	if (is_key_canonical(lookup, answer->address))
		return 0;
	if (!delivery_remote(answer->address, address))
		return permanent(lookup, "the address that it leads to is longer than 512 bytes");
	return found(lookup, address);
}

/* Addresses joined with commas: as much as Postfix takes, and how much there is. */
struct list {
	char *text;
	size_t used, size, whole;
};

enum { LIST_MAX = SOCKETMAP_MAX - 3 /* "OK " */ };

static bool list_add(struct list *list, const char *address)
{
	size_t length = strlen(address), before = list->whole ? 2 : 0;

	list->whole += before + length;
	if (list->whole > LIST_MAX)
		return true;
	if (!list->text || list->whole >= list->size) {
		size_t size = 2 * list->size + NAME_SIZE + before;
		char *text = realloc(list->text, size);

		if (!text)
			return false;
		list->text = text;
		list->size = size;
	}
	memcpy(list->text + list->used, ", ", before);
	memcpy(list->text + list->used + before, address, length);
	list->used += before + length;
	return true;
}

static int list_found(struct lookup *lookup, const struct list *list)
{
	char reason[120];

	if (list->whole <= LIST_MAX)
		return set(lookup, SOCKETMAP_OK, list->text ? list->text : "", list->used);
	snprintf(reason, sizeof reason,
		 "its addresses take %zu bytes, and Postfix takes %d at most", list->whole,
		 LIST_MAX);
	return permanent(lookup, reason);
}

static int list_target(struct lookup *lookup, const struct route_target *target, struct list *list)
{
	char address[DELIVERY_SIZE];
	int result = delivery_target(lookup->reader, target, address, lookup->error);

	if (result == 1 && !list_add(list, address))
		return error_set(lookup->error, ERROR_MEMORY, "out of memory");
	return result;
}

static int alias_forward(struct lookup *lookup, const struct route_answer *answer)
{
	struct list list = {0};
	char reason[2 * NAME_SIZE];
	int result = 1;

	for (size_t i = 0; result == 1 && i < answer->target_count; i++) {
		result = list_target(lookup, &answer->targets[i], &list);
		if (result == 0)
			snprintf(reason, sizeof reason,
				 "no address leads to a mailbox or detail of %s",
				 answer->targets[i].address);
	}
	if (result == 0)
		result = permanent(lookup, reason);
	else if (result == 1)
		result = list_found(lookup, &list);
	free(list.text);
	return result;
}

/* Explicit routes through us are rewritten for everybody: who may send them was decided
 * at RCPT. */
static int decide_alias(struct lookup *lookup, const struct route_answer *answer)
{
	switch (answer->result) {
	case ROUTE_ACCOUNT:
		return alias_account(lookup, answer);
	case ROUTE_FORWARD:
		return alias_forward(lookup, answer);
	case ROUTE_REMOTE:
		return alias_remote(lookup, answer);
	case ROUTE_DISCARD: /* the transport map's */
	case ROUTE_REFUSE:
		return 0;
	}
	return 0;
}

/* OK means that mail to this very address ends here: in an account, whatever led to it,
 * or nowhere. Postfix looks at the alias map first, both for RCPT TO
 * (reject_unlisted_recipient) and for VRFY, so a forward exists for it by that map, and
 * must not by this one: where the alias map is left out, its mail would be accepted and
 * then bounced by LMTP, which knows accounts alone. An account that only a rewrite leads
 * to does no harm: Dovecot takes the same way to it. */
static int decide_mailbox(struct lookup *lookup, const struct route_answer *answer)
{
	char address[DELIVERY_SIZE];

	if (answer->result == ROUTE_DISCARD)
		return found(lookup, "discard");
	if (answer->result != ROUTE_ACCOUNT)
		return 0;
	int result = delivery_address(lookup->reader, answer, address, lookup->error);
	if (result <= 0)
		return result;
	if (answer->flags & ROUTE_DOVECOT) {
		struct map_decision *decision = lookup->decision;

		decision->must_ask = true;
		if (existence_question_set(lookup->reader, answer, &decision->question,
					   lookup->error) < 0)
			return -1;
	}
	return found(lookup, answer->address);
}

/* Who may use a sender address: the account that it leads to, on whatever way its owner
 * or an administrator made. Not the one that a domain gives all its unknown names to:
 * those are nobody's. A forwarder or a group is nobody's own address either: many receive
 * its mail, none is it. Postfix splits the value at commas and white space, so a name
 * with one would be two others. */
static int decide_sender_login(struct lookup *lookup, const struct route_answer *answer)
{
	if (answer->result != ROUTE_ACCOUNT || (answer->flags & ROUTE_UNKNOWN) ||
	    strpbrk(answer->address, ", \t\r\n"))
		return 0;
	return found(lookup, answer->address);
}

static int decide_transport(struct lookup *lookup, const struct route_answer *answer)
{
	lookup->decision->none_needed = answer->result == ROUTE_ACCOUNT;
	return answer->result == ROUTE_DISCARD ? found(lookup, "discard:") : 0;
}

/* An address literal is ours or not by Postfix's inet_interfaces, and is never a mailbox
 * domain. */
static int decide_domain(struct lookup *lookup)
{
	char domain[DOMAIN_SIZE];

	if (!domain_parse(lookup->key, lookup->key_length, domain))
		return 0;
	int result = delivery_domain(lookup->reader, domain, strlen(domain), lookup->error);
	return result == 1 ? found(lookup, domain) : result;
}

typedef int decide_route(struct lookup *lookup, const struct route_answer *answer);

static int decide_address(struct lookup *lookup, decide_route *decide)
{
	struct route_question question = {
		.kind = NAME_ADDRESS, .name = lookup->key, .name_length = lookup->key_length};
	struct route_answer answer;

	if (!delivery_is_external(lookup->key, lookup->key_length))
		return 0;
	int result = route(lookup->reader, &question, &answer, NULL, lookup->error);
	if (result == 0)
		result = decide(lookup, &answer);
	route_answer_finish(&answer);
	return result;
}

void map_decide(struct directory_reader *reader, enum map map, const char *key, size_t key_length,
		struct map_decision *decision_r, struct error *error)
{
	static decide_route *const decides[MAPS] = {
		[MAP_ALIAS] = decide_alias,
		[MAP_MAILBOX] = decide_mailbox,
		[MAP_SENDER_LOGIN] = decide_sender_login,
		[MAP_TRANSPORT] = decide_transport,
	};
	struct lookup lookup = {reader, key, key_length, decision_r, error};
	int result;

	*decision_r = (struct map_decision){.status = SOCKETMAP_NOTFOUND};
	if (map == MAP_DOMAIN)
		result = decide_domain(&lookup);
	else if (map < MAPS)
		result = decide_address(&lookup, decides[map]);
	else
		result = permanent(&lookup, "there is no map of this name");
	if (result < 0) {
		decision_r->must_ask = false;
		fail(decision_r, error->text);
	}
}

void map_decide_existence(struct map_decision *decision, enum existence existence)
{
	decision->must_ask = false;
	if (existence == EXISTS)
		return;
	if (existence == EXISTENCE_UNKNOWN) {
		fail(decision, "Dovecot could not be asked for the account");
		return;
	}
	map_decision_finish(decision);
	decision->status = SOCKETMAP_NOTFOUND;
}

void map_decision_finish(struct map_decision *decision)
{
	free(decision->value);
	decision->value = NULL;
	decision->value_length = 0;
}
