/* The routing pipeline. walk_once() is the numbered list of homing-routing(7), in its order;
 * each step is one function. A step that changes the name ends the round, and the next round
 * starts at the first step. */
#include "route.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "directory-private.h"
#include "route-trace.h"
#include "string-set.h"

enum next {
	GO_ON,	 /* the step had nothing to say */
	RESTART, /* it changed the name */
	DONE,	 /* the answer is there */
	FAILED,	 /* the directory could not say; walk->error is set */
};

struct walk {
	struct directory_reader *reader;
	const struct route_question *question;
	struct route_answer *answer;
	struct route_trace *trace;
	struct error *error;
	enum name_kind kind;

	char name[NAME_SIZE]; /* as it is now */
	size_t length;

	/* Of the round: made by step_domain. */
	char local[NAME_SIZE]; /* as typed */
	char domain[DOMAIN_SIZE];
	bool quoted;  /* the local part needs its quotes: a name, never a route */
	bool literal; /* the domain is an address literal that nobody owns */
	char folded_buffer[LOCAL_SIZE];
	const char *folded; /* NULL: too long to be a name in the directory */
	struct domain_rules rules;

	/* Where the walk ended at a forwarder or a group, for the expansion. */
	enum entry_kind list_kind;
};

static const char *const result_names[] = {"account", "forward", "remote", "discard", "refuse"};
static const char *const reason_names[] = {"none",	     "malformed", "unknown-domain",
					   "unknown-account", "loop",	   "error"};

const char *route_result_name(enum route_result result)
{
	return result_names[result];
}

const char *route_reason_name(enum route_reason reason)
{
	return reason_names[reason];
}

static enum next refuse(struct walk *walk, enum route_reason reason, int smtp, const char *status,
			const char *text)
{
	struct route_answer *answer = walk->answer;

	answer->result = ROUTE_REFUSE;
	answer->reason = reason;
	answer->smtp = smtp;
	snprintf(answer->status, sizeof answer->status, "%s", status);
	snprintf(answer->text, sizeof answer->text, "%s", text);
	route_trace_add(walk->trace, "refuse", walk->name, route_reason_name(reason), "%s", text);
	return DONE;
}

static enum next refuse_malformed(struct walk *walk, const char *why)
{
	char text[200];

	snprintf(text, sizeof text, "malformed name: %s", why);
	return refuse(walk, REASON_MALFORMED, 501, "5.1.3", text);
}

static enum next refuse_unknown_account(struct walk *walk, const char *text)
{
	return refuse(walk, REASON_UNKNOWN_ACCOUNT, 550, "5.1.1", text);
}

/* Takes a new name, which may be a part of the old one. */
static enum next rewrite(struct walk *walk, const char *rule, const char *name, const char *why)
{
	size_t length = strlen(name);

	if (length > NAME_MAX_BYTES)
		return refuse_malformed(walk, "longer than 512 bytes after a rewrite");
	route_trace_add(walk->trace, rule, walk->name, name, why ? "%s" : NULL, why);
	memmove(walk->name, name, length + 1);
	walk->length = length;
	return RESTART;
}

/* rewrite() to `local@domain` from pieces that may not fit. */
static enum next rewrite_parts(struct walk *walk, const char *rule, const char *local,
			       size_t local_length, const char *domain, size_t domain_length,
			       const char *why)
{
	char name[NAME_SIZE];

	if (local_length == 0 || domain_length == 0)
		return refuse_malformed(walk, local_length ? "empty domain" : "empty local part");
	if (local_length + 1 + domain_length > NAME_MAX_BYTES)
		return refuse_malformed(walk, "longer than 512 bytes after a rewrite");
	memcpy(name, local, local_length);
	name[local_length] = '@';
	memcpy(name + local_length + 1, domain, domain_length);
	name[local_length + 1 + domain_length] = '\0';
	return rewrite(walk, rule, name, why);
}

/* Step 1. */
static enum next step_malformed(struct walk *walk)
{
	const char *why = name_refusal(walk->kind, walk->name, walk->length);

	return why ? refuse_malformed(walk, why) : GO_ON;
}

static bool is_domain_or_literal(const char *text, size_t length)
{
	char domain[DOMAIN_SIZE];
	struct ip ip;

	return domain_parse(text, length, domain) || domain_literal_parse(text, length, &ip);
}

/* Step 2: `@a,@b:user@c` (RFC 5321, appendix C). */
static enum next step_source_route(struct walk *walk)
{
	const char *next = walk->name;

	if (walk->kind != NAME_ADDRESS || *next != '@')
		return GO_ON;
	while (*next == '@') {
		const char *start = next + 1;
		const char *close = *start == '[' ? strchr(start, ']') : start;

		if (!close)
			return refuse_malformed(walk, "a source route that does not end");
		next = close + strcspn(close, ",:");
		if (!is_domain_or_literal(start, (size_t)(next - start)))
			return refuse_malformed(walk, "a source route through something that is no domain");
		if (*next == ',')
			next++;
		else if (*next == ':')
			return rewrite(walk, "source-route", next + 1, "a source route is dropped");
	}
	return refuse_malformed(walk, "empty local part");
}

/* Characters of a dot-string (RFC 5321, 4.1.2; RFC 6531 adds all of UTF-8). */
static bool is_atext(unsigned char byte)
{
	return byte >= 0x80 || (byte >= '0' && byte <= '9') || (byte >= 'A' && byte <= 'Z') ||
	       (byte >= 'a' && byte <= 'z') || strchr("!#$%&'*+-/=?^_`{|}~", byte);
}

static bool needs_quotes(const char *text, size_t length)
{
	if (length == 0 || text[0] == '.' || text[length - 1] == '.')
		return true;
	for (size_t i = 0; i < length; i++)
		if (text[i] == '.' ? text[i + 1] == '.' : !is_atext((unsigned char)text[i]))
			return true;
	return false;
}

/* The content of a quoted string that is `length` bytes with its quotes. Returns the length of
 * the content, or -1 if it is none. */
static int unquote(const char *quoted, size_t length, char content_r[NAME_SIZE])
{
	size_t used = 0;

	if (length < 2 || quoted[0] != '"' || quoted[length - 1] != '"')
		return -1;
	for (size_t i = 1; i < length - 1; i++) {
		if (quoted[i] == '"')
			return -1;
		if (quoted[i] == '\\' && ++i == length - 1)
			return -1;
		content_r[used++] = quoted[i];
	}
	content_r[used] = '\0';
	return (int)used;
}

/* Step 2: `"info"@c` is `info@c`; what needs its quotes keeps them. */
static enum next step_unquote(struct walk *walk)
{
	char content[NAME_SIZE], name[2 * NAME_SIZE];

	walk->quoted = false;
	if (!memchr(walk->name, '"', walk->length))
		return GO_ON;
	const char *at = name_find_at(walk->name, walk->length);
	size_t local_length = at ? (size_t)(at - walk->name) : walk->length;
	int content_length = unquote(walk->name, local_length, content);
	if (content_length < 0)
		return refuse_malformed(walk, "a double quote that does not enclose the local part");
	if (content_length == 0)
		return refuse_malformed(walk, "empty local part");
	walk->quoted = needs_quotes(content, (size_t)content_length);
	if (walk->quoted)
		return GO_ON;
	snprintf(name, sizeof name, "%s%s", content, walk->name + local_length);
	return rewrite(walk, "unquote", name, "the quotes are not needed");
}

/* The domain of a bare login by the TLS server name: 1, 0, -1. */
static int domain_by_server_name(struct walk *walk, char domain_r[DOMAIN_SIZE])
{
	const char *server_name = walk->question->server_name;
	char canonical[DOMAIN_SIZE];

	if (walk->kind != NAME_LOGIN || !server_name || !*server_name)
		return 0;
	size_t length = strnlen(server_name, NAME_SIZE);
	if (length == NAME_SIZE || name_refusal(NAME_LOGIN, server_name, length) ||
	    !domain_parse(server_name, length, canonical))
		return 0; /* chosen by the client: what is no name selects nothing */
	int found = server_name_lookup(walk->reader, canonical, domain_r, walk->error);
	if (found == 1 && walk->trace) {
		char why[DOMAIN_SIZE + 64];

		snprintf(why, sizeof why, "the TLS server name %s selects it", canonical);
		rewrite_parts(walk, "server-name", walk->name, walk->length, domain_r,
			      strlen(domain_r), why);
	} else if (found == 1) {
		rewrite_parts(walk, "server-name", walk->name, walk->length, domain_r,
			      strlen(domain_r), NULL);
	}
	return found;
}

/* The domain of a bare login by the address it came to: 1, 0, -1. */
static int domain_by_address(struct walk *walk, char domain_r[DOMAIN_SIZE])
{
	const struct ip *ip = walk->question->local_ip;
	unsigned length;

	if (walk->kind != NAME_LOGIN || !ip)
		return 0;
	int found = network_lookup(walk->reader, ip, domain_r, &length, walk->error);
	if (found == 1) {
		char why[128], text[IP_TEXT_SIZE];

		why[0] = '\0';
		if (walk->trace)
			snprintf(why, sizeof why, "the local address %s is dedicated to it",
				 ip_format(ip, text));
		rewrite_parts(walk, "local-ip", walk->name, walk->length, domain_r,
			      strlen(domain_r), why);
	}
	return found;
}

static enum next bare_name(struct walk *walk)
{
	char domain[DOMAIN_SIZE];
	int found = domain_by_server_name(walk, domain);

	if (found == 0)
		found = domain_by_address(walk, domain);
	if (found != 0)
		return found < 0 ? FAILED : walk->answer->result == ROUTE_REFUSE ? DONE : RESTART;
	const struct routing_header *header = directory_header(walk->reader, walk->error);
	if (!header)
		return FAILED;
	return rewrite_parts(walk, "main-domain", walk->name, walk->length, header->main_domain,
			     strlen(header->main_domain),
			     walk->kind == NAME_ADDRESS
				     ? "a bare address belongs to the main domain"
				     : "neither a TLS server name nor the local address says more");
}

/* Step 3: without an `@`. */
static enum next step_no_at(struct walk *walk)
{
	if (name_find_at(walk->name, walk->length))
		return GO_ON;
	const char *end = walk->name + walk->length;
	const char *percent = name_find(walk->name, walk->length, '%', true);
	if (percent)
		return rewrite_parts(walk, "percent", walk->name, (size_t)(percent - walk->name),
				     percent + 1, (size_t)(end - percent - 1),
				     "without `@`, the last `%` stands for it");
	const char *bang = walk->kind == NAME_ADDRESS
				   ? name_find(walk->name, walk->length, '!', false)
				   : NULL;
	if (bang)
		return rewrite_parts(walk, "bang", bang + 1, (size_t)(end - bang - 1), walk->name,
				     (size_t)(bang - walk->name), "domain!user is user@domain");
	return bare_name(walk);
}

/* Step 4, for `[address]`: the domain that owns it. */
static enum next literal_domain(struct walk *walk, const char *text, size_t length)
{
	struct ip ip;
	char owner[DOMAIN_SIZE], shown[IP_TEXT_SIZE];
	unsigned prefix;

	if (!domain_literal_parse(text, length, &ip))
		return refuse_malformed(walk, "not an address literal: expected [192.0.2.1] or "
					      "[IPv6:2001:db8::1]");
	int found = network_lookup(walk->reader, &ip, owner, &prefix, walk->error);
	if (found < 0)
		return FAILED;
	ip_format(&ip, shown);
	if (found == 1) {
		char why[128];

		walk->answer->flags |= ROUTE_LITERAL;
		snprintf(why, sizeof why, "the address %s is dedicated to it", shown);
		return rewrite_parts(walk, "literal", walk->local, strlen(walk->local), owner,
				     strlen(owner), why);
	}
	walk->literal = true;
	snprintf(walk->domain, sizeof walk->domain, strchr(shown, ':') ? "[IPv6:%s]" : "[%s]", shown);
	return GO_ON;
}

/* Step 4: the last `@` splits; the domain gets its canonical form. */
static enum next step_domain(struct walk *walk)
{
	const char *at = name_find_at(walk->name, walk->length);
	size_t local_length = (size_t)(at - walk->name);
	size_t domain_length = walk->length - local_length - 1;

	if (local_length == 0)
		return refuse_malformed(walk, "empty local part");
	if (domain_length == 0)
		return refuse_malformed(walk, "empty domain");
	if (name_find_at(walk->name, local_length))
		return refuse_malformed(walk, "more than one `@`");
	memcpy(walk->local, walk->name, local_length);
	walk->local[local_length] = '\0';
	if (walk->kind == NAME_LOGIN &&
	    (strcmp(walk->local, ".") == 0 || strcmp(walk->local, "..") == 0))
		return refuse_malformed(walk, "`.` and `..` are not names");
	walk->literal = false;
	enum next next = GO_ON;
	if (at[1] == '[')
		next = literal_domain(walk, at + 1, domain_length);
	else if (!domain_parse(at + 1, domain_length, walk->domain))
		return refuse_malformed(walk, "not a domain name behind the `@`");
	if (next != GO_ON)
		return next;
	if (strcmp(walk->domain, at + 1) != 0) {
		char from[NAME_SIZE];
		size_t canonical_length = strlen(walk->domain);

		if (local_length + 1 + canonical_length > NAME_MAX_BYTES)
			return refuse_malformed(walk, "longer than 512 bytes with its domain in ASCII");
		memcpy(from, walk->name, walk->length + 1);
		memcpy(walk->name + local_length + 1, walk->domain, canonical_length + 1);
		walk->length = local_length + 1 + canonical_length;
		route_trace_add(walk->trace, "domain", from, walk->name,
				"the domain in its canonical form");
	}
	int folded = local_fold(walk->local, local_length, walk->folded_buffer);
	walk->folded = folded < 0 ? NULL : walk->folded_buffer;
	return GO_ON;
}

static enum next discard(struct walk *walk, const char *why)
{
	if (walk->kind == NAME_LOGIN)
		return refuse_unknown_account(walk, "no such account: mail to this name is discarded");
	walk->answer->result = ROUTE_DISCARD;
	route_trace_add(walk->trace, "discard", walk->name, "discard", "%s", why);
	return DONE;
}

/* Step 5. */
static enum next step_records(struct walk *walk)
{
	struct record record;
	uint32_t order;
	enum record_action action;
	char name[NAME_SIZE], why[3 * NAME_SIZE], status[12];
	const char *text;
	int smtp;
	int found = record_find(walk->reader, walk->local, walk->folded, walk->domain, &record,
				&order, walk->error);

	if (found <= 0)
		return found < 0 ? FAILED : GO_ON;
	if (record_apply(&record, walk->local, walk->folded, walk->domain, &action, name) < 0)
		return refuse_malformed(walk, "longer than 512 bytes after a router record");
	why[0] = '\0';
	if (walk->trace)
		snprintf(why, sizeof why, "router[%u]: %s -> %s", (unsigned)order, record.match,
			 record.to);
	if (action == RECORD_REWRITE)
		return rewrite(walk, "record", name, why);
	route_trace_add(walk->trace, "record", walk->name, record.to, "%s", why);
	if (action == RECORD_DISCARD)
		return discard(walk, why);
	if (!record_error(record.to, &smtp, status, &text)) {
		directory_corrupt(walk->error, walk->reader, "records", record.to);
		return FAILED;
	}
	return refuse(walk, REASON_ERROR, smtp, status, text);
}

/* Steps 6 and 7: whose domain it is. */
static enum next step_whose_domain(struct walk *walk)
{
	char domain[DOMAIN_SIZE];
	int found = 0;

	if (!walk->literal)
		found = domain_lookup(walk->reader, walk->domain, &walk->rules, walk->error);
	if (found != 0)
		return found < 0 ? FAILED : GO_ON;
	if (!walk->literal)
		found = domain_alias_lookup(walk->reader, walk->domain, domain, walk->error);
	if (found < 0)
		return FAILED;
	if (found == 1)
		return rewrite_parts(walk, "domain-alias", walk->local, strlen(walk->local), domain,
				     strlen(domain), "another name of the domain");
	if (walk->kind == NAME_LOGIN)
		return refuse(walk, REASON_UNKNOWN_DOMAIN, 550, "5.1.2", "no such domain here");
	struct route_answer *answer = walk->answer;
	answer->result = ROUTE_REMOTE;
	answer->relay = (answer->flags & ROUTE_EXPLICIT) != 0;
	memcpy(answer->address, walk->name, walk->length + 1);
	route_trace_add(walk->trace, "remote", walk->name, walk->name,
			answer->relay ? "not our domain, and an explicit route led there"
				      : "not our domain");
	return DONE;
}

/* Step 8: `a%b@ours` is `a@b`; for an address also `b!a@ours`. */
static enum next step_explicit_route(struct walk *walk)
{
	const char *local = walk->local, *end = local + strlen(local);
	const char *percent = strrchr(local, '%');
	const char *bang = walk->kind == NAME_ADDRESS ? strchr(local, '!') : NULL;

	if (walk->quoted || (!percent && !bang))
		return GO_ON;
	walk->answer->flags |= ROUTE_EXPLICIT;
	if (percent)
		return rewrite_parts(walk, "explicit-route", local, (size_t)(percent - local),
				     percent + 1, (size_t)(end - percent - 1),
				     "in our domain, `%` in a local part is an explicit route");
	return rewrite_parts(walk, "explicit-route", bang + 1, (size_t)(end - bang - 1), local,
			     (size_t)(bang - local),
			     "in our domain, `!` in a local part is an explicit route");
}

/* Step 9: `box#account@ours`. */
static enum next step_mailbox(struct walk *walk)
{
	struct route_answer *answer = walk->answer;
	const char *hash = walk->quoted ? NULL : strrchr(walk->local, '#');

	if (!hash)
		return GO_ON;
	size_t box_length = (size_t)(hash - walk->local);
	if (box_length == 0)
		return refuse_malformed(walk, "empty mailbox before the `#`");
	if (answer->mailbox[0] == '\0') {
		memcpy(answer->mailbox, walk->local, box_length);
		answer->mailbox[box_length] = '\0';
	}
	return rewrite_parts(walk, "mailbox", hash + 1, strlen(hash + 1), walk->domain,
			     strlen(walk->domain), "direct mailbox addressing");
}

static enum next found_account(struct walk *walk, const char *rule, const char *why)
{
	struct route_answer *answer = walk->answer;

	answer->result = ROUTE_ACCOUNT;
	memcpy(answer->local, walk->folded, strlen(walk->folded) + 1);
	memcpy(answer->domain, walk->domain, strlen(walk->domain) + 1);
	char *end = stpcpy(answer->address, answer->local);
	*end++ = '@';
	strcpy(end, answer->domain);
	route_trace_add(walk->trace, rule, walk->name, answer->address, "%s", why);
	return DONE;
}

/* A name of ours that is not an account. */
static enum next follow_entry(struct walk *walk, enum entry_kind kind, struct value_reader *value)
{
	size_t length;

	if (kind == ENTRY_ALIAS) {
		const char *target = value_string(value, &length);

		if (value->failed || length == 0 || length > NAME_MAX_BYTES) {
			directory_corrupt(walk->error, walk->reader, "names", walk->name);
			return FAILED;
		}
		return rewrite(walk, "alias", target, "an alias");
	}
	const char *word = kind == ENTRY_GROUP ? "group" : "forwarder";
	if (walk->kind == NAME_LOGIN)
		return refuse_unknown_account(
			walk, kind == ENTRY_GROUP ? "no such account: the name is a group's"
						  : "no such account: the name is a forwarder's");
	route_trace_add(walk->trace, word, walk->name, walk->name, "a %s", word);
	walk->answer->result = ROUTE_FORWARD;
	walk->list_kind = kind;
	memcpy(walk->answer->local, walk->folded, strlen(walk->folded) + 1);
	memcpy(walk->answer->domain, walk->domain, strlen(walk->domain) + 1);
	return DONE;
}

/* The longest name that stands before a delimiter and that somebody has. */
static enum next without_detail(struct walk *walk)
{
	struct route_answer *answer = walk->answer;
	bool in_directory = walk->rules.accounts == ACCOUNTS_DIRECTORY;

	if (walk->quoted)
		return GO_ON;
	for (size_t cut = strlen(walk->local); cut-- > 1;) {
		char folded[LOCAL_SIZE];
		enum entry_kind kind;
		struct value_reader value;

		if (walk->local[cut] != walk->rules.delimiter ||
		    local_fold(walk->local, cut, folded) < 0)
			continue;
		int found = name_lookup(walk->reader, folded, walk->domain, &kind, &value,
					walk->error);
		if (found < 0)
			return FAILED;
		if (found == 0 || (kind == ENTRY_ACCOUNT && !in_directory))
			continue;
		if (!answer->has_detail) {
			answer->has_detail = true;
			strcpy(answer->detail, walk->local + cut + 1);
		}
		return rewrite_parts(walk, "detail", walk->local, cut, walk->domain,
				     strlen(walk->domain), "nobody has the whole name; the detail is set aside");
	}
	return GO_ON;
}

/* Step 10. */
static enum next step_look_up(struct walk *walk)
{
	enum entry_kind kind;
	struct value_reader value;
	bool in_directory = walk->rules.accounts == ACCOUNTS_DIRECTORY;

	if (walk->folded) {
		int found = name_lookup(walk->reader, walk->folded, walk->domain, &kind, &value,
					walk->error);
		if (found < 0)
			return FAILED;
		if (found == 1 && kind != ENTRY_ACCOUNT)
			return follow_entry(walk, kind, &value);
		if (found == 1 && in_directory)
			return found_account(walk, "account", "an account of the directory");
	}
	return without_detail(walk);
}

/* An external account's name becomes a login, a key in somebody's database and perhaps a path, and
 * must route to itself again, as a login and as an address. */
static bool external_name_is_safe(const char *folded)
{
	return !name_refusal(NAME_LOGIN, folded, strlen(folded)) && strcmp(folded, ".") != 0 &&
	       strcmp(folded, "..") != 0 && !strpbrk(folded, "\"!%#\\");
}

/* Step 10, where the accounts are not in the directory: any name is one that could be an account's. */
static enum next step_external(struct walk *walk)
{
	struct route_answer *answer = walk->answer;

	if (walk->rules.accounts == ACCOUNTS_DIRECTORY || !walk->folded || walk->quoted ||
	    !external_name_is_safe(walk->folded))
		return GO_ON;
	answer->flags |= walk->rules.accounts == ACCOUNTS_DOVECOT ? ROUTE_EXTERNAL | ROUTE_DOVECOT
								  : ROUTE_EXTERNAL;
	return found_account(walk, "external", "the domain's accounts are kept outside the directory");
}

/* Step 11. */
static enum next step_unknown(struct walk *walk)
{
	struct route_answer *answer = walk->answer;

	if (walk->kind == NAME_LOGIN || walk->rules.unknown == 'r')
		return refuse_unknown_account(walk, "no such account here");
	if (walk->rules.unknown == 'd')
		return discard(walk, "the domain discards mail to unknown names");
	answer->has_detail = false;
	answer->detail[0] = '\0';
	answer->mailbox[0] = '\0';
	answer->flags |= ROUTE_UNKNOWN;
	return rewrite(walk, "unknown", walk->rules.reroute,
		       "the domain reroutes mail to unknown names");
}

static enum next walk_once(struct walk *walk)
{
	static enum next (*const steps[])(struct walk *) = {
		step_malformed,	     step_source_route,	  step_unquote, step_no_at,
		step_domain,	     step_records,	  step_whose_domain,
		step_explicit_route, step_mailbox,	  step_look_up, step_external,
		step_unknown,
	};
	enum next next = GO_ON;

	for (size_t i = 0; next == GO_ON; i++)
		next = steps[i](walk); /* the last one never goes on */
	return next;
}

static void answer_init(struct route_answer *answer)
{
	answer->result = ROUTE_ACCOUNT;
	answer->flags = 0;
	answer->address[0] = answer->local[0] = answer->domain[0] = '\0';
	answer->detail[0] = answer->mailbox[0] = '\0';
	answer->has_detail = answer->relay = false;
	answer->targets = NULL;
	answer->target_count = 0;
	answer->reason = REASON_NONE;
	answer->smtp = 0;
	answer->status[0] = answer->text[0] = '\0';
}

/* One name to its end. A forwarder or group is left to the caller to expand. */
static enum next walk_to_end(struct walk *walk)
{
	answer_init(walk->answer);
	for (unsigned rewrites = 0; rewrites <= ROUTE_MAX_REWRITES; rewrites++) {
		enum next next = walk_once(walk);

		if (next != RESTART)
			return next;
	}
	return refuse(walk, REASON_LOOP, 554, "5.4.6", "routing loop: more than 32 rewrites");
}

/* The addresses that a forwarder or group ends in. */
struct expansion {
	struct walk *walk;	    /* of the question; holds the final answer */
	struct string_set lists;    /* u8 kind and name key: expanded, or waiting for it */
	struct string_set finals;   /* u8 remote, then address NUL detail-flag detail NUL mailbox */
	bool discarded, looped, failed;
};

static int expansion_fail(struct expansion *expansion, enum error_code code, const char *text)
{
	error_set(expansion->walk->error, code, "%s: %s", expansion->walk->name, text);
	expansion->failed = true;
	return 1;
}

static int add_list(struct expansion *expansion, enum entry_kind kind, const char *local,
		    const char *domain)
{
	char key[1 + NAME_KEY_SIZE];

	key[0] = (char)kind;
	int added = string_set_add(&expansion->lists, key, 1 + name_key(local, domain, key + 1));
	if (added < 0)
		return expansion_fail(expansion, ERROR_MEMORY, "out of memory");
	if (added == 0)
		expansion->looped = true;
	return 0;
}

static int add_final(struct expansion *expansion, const struct route_answer *answer)
{
	char key[4 * NAME_SIZE];
	bool remote = answer->result == ROUTE_REMOTE;
	int length = snprintf(key, sizeof key, "%c%s%c%c%s%c%s", remote ? 'r' : 'a', answer->address,
			      '\0', !remote && answer->has_detail ? '+' : '-',
			      remote ? "" : answer->detail, '\0', remote ? "" : answer->mailbox);

	if (expansion->finals.count >= ROUTE_MAX_TARGETS)
		return expansion_fail(expansion, ERROR_INVALID, "it leads to more than 100000 addresses");
	if (string_set_add(&expansion->finals, key, (size_t)length) < 0)
		return expansion_fail(expansion, ERROR_MEMORY, "out of memory");
	return 0;
}

static int expand_target(const char *address, void *context)
{
	struct expansion *expansion = context;
	struct route_question question = {.kind = NAME_ADDRESS};
	struct route_answer answer = {0};
	struct walk walk = {
		.reader = expansion->walk->reader,
		.question = &question,
		.answer = &answer,
		.trace = expansion->walk->trace,
		.error = expansion->walk->error,
		.kind = NAME_ADDRESS,
		.length = strlen(address),
	};

	memcpy(walk.name, address, walk.length + 1);
	if (walk_to_end(&walk) == FAILED) {
		expansion->failed = true;
		return 1;
	}
	switch (answer.result) {
	case ROUTE_ACCOUNT:
	case ROUTE_REMOTE:
		return add_final(expansion, &answer);
	case ROUTE_FORWARD:
		return add_list(expansion, walk.list_kind, answer.local, answer.domain);
	case ROUTE_DISCARD:
		expansion->discarded = true;
		return 0;
	case ROUTE_REFUSE:
		if (answer.reason == REASON_LOOP)
			expansion->looped = true;
		return 0; /* one member that is gone must not keep the mail from the others */
	}
	return 0;
}

static bool target_from_key(const struct string_set_item *item, struct route_target *target)
{
	const char *address = item->bytes + 1;
	const char *detail = address + strlen(address) + 1;
	const char *mailbox = detail + strlen(detail) + 1;

	target->remote = item->bytes[0] == 'r';
	target->address = strdup(address);
	target->detail = *detail == '+' ? strdup(detail + 1) : NULL;
	target->mailbox = *mailbox ? strdup(mailbox) : NULL;
	return target->address && (*detail != '+' || target->detail) && (!*mailbox || target->mailbox);
}

static enum next expansion_answer(struct expansion *expansion)
{
	struct walk *walk = expansion->walk;
	struct route_answer *answer = walk->answer;
	size_t count = expansion->finals.count;

	answer->local[0] = answer->domain[0] = answer->detail[0] = answer->mailbox[0] = '\0';
	answer->has_detail = false;
	if (count == 0 && expansion->discarded)
		return discard(walk, "all that it leads to is discarded");
	if (count == 0 && expansion->looped)
		return refuse(walk, REASON_LOOP, 554, "5.4.6", "routing loop: it leads to itself alone");
	if (count == 0)
		return refuse_unknown_account(walk, "it leads to no account that exists");
	answer->targets = calloc(count, sizeof *answer->targets);
	for (size_t i = 0; answer->targets && i < count; i++) {
		answer->target_count = i + 1;
		if (!target_from_key(&expansion->finals.items[i], &answer->targets[i])) {
			route_answer_finish(answer);
			break;
		}
	}
	if (!answer->targets) {
		error_set(walk->error, ERROR_MEMORY, "%s: out of memory", walk->name);
		return FAILED;
	}
	return DONE;
}

static enum next expand(struct walk *walk)
{
	struct expansion expansion = {.walk = walk};

	/* the kind is there: step 10 sets it where it answers ROUTE_FORWARD */
	add_list(&expansion, walk->list_kind, // NOLINT(clang-analyzer-core.CallAndMessage)
		 walk->answer->local, walk->answer->domain);
	for (size_t i = 0; i < expansion.lists.count && !expansion.failed; i++) {
		const struct string_set_item *item = &expansion.lists.items[i];
		char local[LOCAL_SIZE], domain[DOMAIN_SIZE];

		if (name_key_split(item->bytes + 1, item->length - 1, local, domain) &&
		    directory_each_target(walk->reader, (enum entry_kind)item->bytes[0], local,
					  domain, expand_target, &expansion, walk->error) < 0)
			expansion.failed = true;
	}
	enum next next = expansion.failed ? FAILED : expansion_answer(&expansion);
	string_set_finish(&expansion.lists);
	string_set_finish(&expansion.finals);
	return next;
}

int route(struct directory_reader *reader, const struct route_question *question,
	  struct route_answer *answer_r, struct route_trace *trace, struct error *error)
{
	const struct routing_header *header = directory_header(reader, error);
	struct walk walk;

	walk.reader = reader;
	walk.question = question;
	walk.answer = answer_r;
	walk.trace = trace;
	walk.error = error;
	walk.kind = question->kind;
	walk.name[0] = '\0';
	answer_init(answer_r);
	if (!header)
		return -1;
	if (header->main_domain[0] == '\0')
		return error_set(error, ERROR_MISSING, "no configuration has been applied yet: run "
				 "`homingctl apply`");
	/* What is refused here must not be copied into the trace or anywhere else. */
	const char *why = name_refusal(question->kind, question->name, question->name_length);
	if (why) {
		refuse_malformed(&walk, why);
		return 0;
	}
	memcpy(walk.name, question->name, question->name_length);
	walk.name[question->name_length] = '\0';
	walk.length = question->name_length;
	enum next next = walk_to_end(&walk);
	if (next == DONE && answer_r->result == ROUTE_FORWARD)
		next = expand(&walk);
	return next == FAILED ? -1 : 0;
}

void route_answer_finish(struct route_answer *answer)
{
	for (size_t i = 0; i < answer->target_count; i++) {
		free(answer->targets[i].address);
		free(answer->targets[i].detail);
		free(answer->targets[i].mailbox);
	}
	free(answer->targets);
	answer->targets = NULL;
	answer->target_count = 0;
}
