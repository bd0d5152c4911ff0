/* Answers as addresses. Quoting: RFC 5321, 4.1.2, with the UTF-8 of RFC 6531. */
#include "delivery.h"

#include <stdio.h>
#include <string.h>

#include "directory-private.h"

/* Where an account's mail is to go. */
struct place {
	const char *local, *domain;
	const char *suffix; /* the detail or the mailbox; NULL: none */
};

static bool is_atext(unsigned char byte)
{
	return byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= 'a' && byte <= 'z') || (byte && strchr("!#$%&'*+-/=?^_`{|}~", byte));
}

static bool needs_quotes(const char *local, size_t length)
{
	if (length == 0 || local[0] == '.' || local[length - 1] == '.')
		return true;
	for (size_t i = 0; i < length; i++)
		if (local[i] == '.' ? local[i + 1] == '.' : !is_atext((unsigned char)local[i]))
			return true;
	return false;
}

/* Text that may not fit. */
struct output {
	char *bytes;
	size_t used, size;
	bool failed;
};

static void put(struct output *out, const char *bytes, size_t length)
{
	if (length >= out->size - out->used)
		out->failed = true;
	if (out->failed)
		return;
	memcpy(out->bytes + out->used, bytes, length);
	out->used += length;
	out->bytes[out->used] = '\0';
}

static void put_local(struct output *out, const char *local, size_t length)
{
	if (!needs_quotes(local, length)) {
		put(out, local, length);
		return;
	}
	put(out, "\"", 1);
	for (size_t i = 0; i < length; i++) {
		if (local[i] == '"' || local[i] == '\\')
			put(out, "\\", 1);
		put(out, local + i, 1);
	}
	put(out, "\"", 1);
}

/* The length of `@a,@b:` in front. Mail servers take off one at a time, so that what stands behind
 * it may be another one, and look for no more than the first colon: one in `@[IPv6:::1]:` ends the
 * route for them. The router, which knows better, then refuses what is left. */
static size_t source_routes(const char *name, size_t length)
{
	size_t skipped = 0;

	while (skipped < length && name[skipped] == '@') {
		const char *colon = memchr(name + skipped, ':', length - skipped);

		if (!colon)
			break;
		skipped = (size_t)(colon - name) + 1;
	}
	return skipped;
}

int delivery_name(const char *internal, size_t length, char name_r[NAME_SIZE])
{
	struct output out = {.bytes = name_r, .size = NAME_SIZE};
	size_t start = source_routes(internal, length);
	const char *local = internal + start, *end = internal + length;
	const char *at = memrchr(local, '@', length - start);
	const char *local_end = at ? at : end;

	name_r[0] = '\0';
	put(&out, internal, start);
	if (local_end > local) /* an empty one is left to the router to refuse */
		put_local(&out, local, (size_t)(local_end - local));
	put(&out, local_end, (size_t)(end - local_end));
	return out.failed ? -1 : (int)out.used;
}

/* Takes the quotes and backslashes off a local part. False: it is not one quoted string.
 */
static bool unquote(const char *quoted, size_t length, struct output *out)
{
	if (length < 2 || quoted[length - 1] != '"')
		return false;
	for (size_t i = 1; i < length - 1; i++) {
		if (quoted[i] == '"' || (quoted[i] == '\\' && ++i == length - 1))
			return false;
		put(out, quoted + i, 1);
	}
	return true;
}

bool delivery_is_external(const char *address, size_t length)
{
	char internal[NAME_SIZE], again[NAME_SIZE];
	struct output out = {.bytes = internal, .size = sizeof internal};
	const char *at = name_find_at(address, length);

	if (!at)
		return false;
	size_t local_length = (size_t)(at - address);
	if (address[0] != '"')
		put(&out, address, local_length);
	else if (!unquote(address, local_length, &out))
		return false;
	put(&out, at, length - local_length);
	// cppcheck-suppress uninitvar; put() has filled it
	if (out.failed || internal[0] == '@')
		return false; /* a server would read it as a source route */
	int again_length = delivery_name(internal, out.used, again);
	return again_length == (int)length && memcmp(again, address, length) == 0;
}

bool delivery_remote(const char *address, char address_r[DELIVERY_SIZE])
{
	struct output out = {.bytes = address_r, .size = NAME_SIZE};
	const char *at = strrchr(address, '@');

	if (address[0] == '"') /* routing leaves quotes where they are needed, and checks them */
		put(&out, address, strlen(address));
	else {
		put_local(&out, address, (size_t)(at - address));
		put(&out, at, strlen(at));
	}
	return !out.failed;
}

static bool is_place(const struct route_answer *answer, const struct place *place,
		     const struct domain_rules *rules)
{
	char whole[2 * NAME_SIZE], folded[LOCAL_SIZE];

	if (answer->result != ROUTE_ACCOUNT || strcmp(answer->domain, place->domain) != 0 ||
	    answer->mailbox[0])
		return false;
	if (!place->suffix)
		return !answer->has_detail && strcmp(answer->local, place->local) == 0;
	if (answer->has_detail)
		return strcmp(answer->local, place->local) == 0 &&
		       strcmp(answer->detail, place->suffix) == 0;
	/* In a domain with accounts elsewhere a detail is not told from the name. */
	int length = snprintf(whole, sizeof whole, "%s%c%s", place->local, rules->delimiter,
			      place->suffix);
	return rules->accounts != ACCOUNTS_DIRECTORY &&
	       local_fold(whole, (size_t)length, folded) >= 0 && strcmp(answer->local, folded) == 0;
}

/* Does the name lead to the place? */
static int leads_to(struct directory_reader *reader, const char *name, const struct place *place,
		    const struct domain_rules *rules, struct error *error)
{
	struct route_question question = {
		.kind = NAME_ADDRESS, .name = name, .name_length = strlen(name)};
	struct route_answer answer;
	int result = route(reader, &question, &answer, NULL, error);

	if (result == 0)
		result = is_place(&answer, place, rules);
	route_answer_finish(&answer);
	return result;
}

static int place_address(struct directory_reader *reader, const struct place *place,
			 char address_r[DELIVERY_SIZE], struct error *error)
{
	char name[NAME_SIZE], internal[4 * NAME_SIZE];
	struct domain_rules rules;

	if (!place->suffix && !needs_quotes(place->local, strlen(place->local))) {
		/* the account's own address, which routes to itself */
		snprintf(address_r, DELIVERY_SIZE, "%s@%s", place->local, place->domain);
		return 1;
	}
	int found = domain_lookup(reader, place->domain, &rules, error);
	if (found <= 0)
		return found;
	const char delimiter[2] = {place->suffix ? rules.delimiter : '\0'};
	int length = snprintf(internal, sizeof internal, "%s%s%s@%s", place->local, delimiter,
			      place->suffix ? place->suffix : "", place->domain);
	if (delivery_name(internal, (size_t)length, name) < 0)
		return 0;
	found = leads_to(reader, name, place, &rules, error);
	if (found == 1)
		strcpy(address_r, name);
	return found;
}

int delivery_address(struct directory_reader *reader, const struct route_answer *answer,
		     char address_r[DELIVERY_SIZE], struct error *error)
{
	struct place place = {.local = answer->local, .domain = answer->domain};

	if (answer->mailbox[0])
		place.suffix = answer->mailbox;
	else if (answer->has_detail)
		place.suffix = answer->detail;
	return place_address(reader, &place, address_r, error);
}

int delivery_target(struct directory_reader *reader, const struct route_target *target,
		    char address_r[DELIVERY_SIZE], struct error *error)
{
	char local[NAME_SIZE];
	struct place place = {.local = local};
	const char *at = strrchr(target->address, '@');

	if (target->remote)
		return delivery_remote(target->address, address_r);
	snprintf(local, sizeof local, "%.*s", (int)(at - target->address), target->address);
	place.domain = at + 1;
	place.suffix = target->mailbox ? target->mailbox : target->detail;
	return place_address(reader, &place, address_r, error);
}

/* A domain, or another name of one. */
static int is_domain(struct directory_reader *reader, const char *domain, struct error *error)
{
	struct domain_rules rules;
	char owner[DOMAIN_SIZE];
	int found = domain_lookup(reader, domain, &rules, error);

	return found != 0 ? found : domain_alias_lookup(reader, domain, owner, error);
}

static int is_own_literal(struct directory_reader *reader, const char *text, size_t length,
			  struct error *error)
{
	char owner[DOMAIN_SIZE];
	unsigned prefix;
	struct ip ip;

	if (!domain_literal_parse(text, length, &ip))
		return 0;
	return network_lookup(reader, &ip, owner, &prefix, error);
}

static bool domain_of(const char *address, char domain_r[DOMAIN_SIZE])
{
	const char *at = strrchr(address, '@');

	return domain_parse(at + 1, strlen(at + 1), domain_r);
}

/* A record made an address of every name in some domain: is it ours? Where it leads to a
 * server elsewhere, only an administrator's rule for one of our domains may have sent it
 * there. */
static int is_ours(struct directory_reader *reader, const char *name, struct error *error)
{
	struct route_question question = {
		.kind = NAME_ADDRESS, .name = name, .name_length = strlen(name)};
	struct route_answer answer;
	char domain[DOMAIN_SIZE];
	int result = route(reader, &question, &answer, NULL, error);

	if (result == 0) {
		result = answer.result == ROUTE_REFUSE ? answer.reason == REASON_UNKNOWN_ACCOUNT
						       : answer.result != ROUTE_REMOTE;
		if (answer.result == ROUTE_REMOTE && !answer.relay && domain_of(name, domain))
			result = is_domain(reader, domain, error);
	}
	route_answer_finish(&answer);
	return result;
}

int delivery_domain(struct directory_reader *reader, const char *domain, size_t length,
		    struct error *error)
{
	char current[DOMAIN_SIZE], name[NAME_SIZE], any[LOCAL_MAX_BYTES + 2];
	struct record record;
	enum record_action action;
	uint32_t order;

	if (length > 0 && domain[0] == '[')
		return is_own_literal(reader, domain, length, error);
	if (!domain_parse(domain, length, current))
		return 0;
	/* Too long for the directory, so that no record takes it but those for all names. */
	memset(any, 'x', sizeof any - 1);
	any[sizeof any - 1] = '\0';
	for (unsigned rewrites = 0; rewrites <= ROUTE_MAX_REWRITES; rewrites++) {
		int found = is_domain(reader, current, error);

		if (found != 0)
			return found;
		found = record_find(reader, any, NULL, current, &record, &order, error);
		if (found <= 0)
			return found;
		if (record_apply(&record, any, NULL, current, &action, name) < 0)
			return 0;
		if (action != RECORD_REWRITE)
			return action == RECORD_DISCARD;
		if (strchr(record.to, '@'))
			return is_ours(reader, name, error);
		if (!domain_of(name, current))
			return 0;
	}
	return 0;
}
