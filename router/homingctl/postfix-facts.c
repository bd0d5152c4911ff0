/* What Postfix's settings depend on. */
#include "postfix-facts.h"

#include <stdio.h>
#include <string.h>
#include <sysexits.h>

#include "delivery.h"
#include "output.h"
#include "route.h"

const struct postfix_map postfix_maps[POSTFIX_MAPS] = {
	{"virtual_mailbox_domains", "domain"}, {"virtual_alias_maps", "alias"},
	{"virtual_mailbox_maps", "mailbox"},   {"transport_maps", "transport"},
	{"smtpd_sender_login_maps", "sender-login"},
};

#define QUEUE_DIRECTORY "/var/spool/postfix"

static int note_delimiter(const char *domain, void *context)
{
	struct postfix_facts *facts = context;
	struct domain_rules rules;
	struct error error = {0};
	size_t count = strlen(facts->delimiters);

	if (domain_lookup(facts->session.reader, domain, &rules, &error) < 0)
		return fail(&error, EX_CONFIG);
	if (strcmp(domain, facts->main_domain) == 0)
		facts->main_delimiter = rules.delimiter;
	facts->asks_dovecot = facts->asks_dovecot || rules.accounts == ACCOUNTS_DOVECOT;
	if (!strchr(facts->delimiters, rules.delimiter) && count + 1 < sizeof facts->delimiters)
		facts->delimiters[count] = rules.delimiter;
	return 0;
}

/* `+` in front, where any domain has it: what people read first is what they expect. */
static void sort_delimiters(char *delimiters)
{
	char *plus = strchr(delimiters, '+');

	if (plus) {
		memmove(delimiters + 1, delimiters, (size_t)(plus - delimiters));
		delimiters[0] = '+';
	}
}

static int measure(const char *local, const char *domain, struct postfix_facts *facts)
{
	struct route_question question = {.kind = NAME_ADDRESS};
	struct route_answer answer = {0};
	struct error error = {0};
	char name[ADDRESS_SIZE];

	question.name_length = (size_t)snprintf(name, sizeof name, "%s@%s", local, domain);
	question.name = name;
	int failed = route(facts->session.reader, &question, &answer, NULL, &error);
	if (failed == 0 && answer.target_count > facts->largest_count) {
		facts->largest_count = answer.target_count;
		facts->largest_bytes = 0;
		for (size_t i = 0; i < answer.target_count; i++)
			facts->largest_bytes += strlen(answer.targets[i].address) + 1;
		memcpy(facts->largest, name, question.name_length + 1);
	}
	route_answer_finish(&answer);
	return failed < 0 ? fail(&error, EX_CONFIG) : 0;
}

static int measure_entry(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	return kind == ENTRY_GROUP || kind == ENTRY_FORWARDER ? measure(local, domain, context) : 0;
}

static int find_largest(struct postfix_facts *facts)
{
	static const enum entry_kind kinds[] = {ENTRY_GROUP, ENTRY_FORWARDER};
	struct error error = {0};

	for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
		int code = directory_each_entry(facts->session.reader, NULL, kinds[i], measure_entry,
			facts, &error);

		if (code != 0)
			return code < 0 ? fail(&error, EX_CONFIG) : code;
	}
	return 0;
}

/* What would end the endpoint, an item or the setting cannot be in the path. */
static bool is_plain_path(const char *path)
{
	for (const char *c = path; *c; c++)
		if ((unsigned char)*c <= ' ' || *c == 0x7f || strchr(":,{}$#\"'\\", *c))
			return false;
	return path[0] != '\0';
}

/* Below the queue directory the path is written without it: this serves processes that are chrooted
 * there, and those that are not, because every Postfix daemon has it as its working directory. */
static int choose_socket_dir(const struct call *call, struct postfix_facts *facts)
{
	const char *given = call->options[OPTION_SOCKET_DIR], *dir = given ? given : "homing";
	size_t queue = strlen(facts->queue_directory);

	if (strncmp(dir, facts->queue_directory, queue) == 0 && dir[queue] == '/')
		dir += queue + strspn(dir + queue, "/");
	size_t length = strlen(dir);
	while (length > 1 && dir[length - 1] == '/')
		length--;
	if (!is_plain_path(dir) || length >= sizeof facts->socket_dir) {
		complain("--socket-dir %s: a path without spaces and signs that mean something to "
			 "Postfix is needed, at most %zu bytes long",
			 given, sizeof facts->socket_dir - 1);
		return EX_USAGE;
	}
	snprintf(facts->socket_dir, sizeof facts->socket_dir, "%.*s", (int)length, dir);
	return 0;
}

static int read_directory(struct postfix_facts *facts, bool sizes)
{
	struct error error = {0};
	const char *main_domain = directory_main_domain(facts->session.reader, &error);

	if (!main_domain)
		return fail(&error, EX_CONFIG);
	if (!main_domain[0]) {
		complain("the directory has no domains yet: homingctl apply FILE");
		return EX_CONFIG;
	}
	snprintf(facts->main_domain, sizeof facts->main_domain, "%s", main_domain);
	int code = directory_each_domain(facts->session.reader, note_delimiter, facts, &error);
	if (code != 0)
		return code < 0 ? fail(&error, EX_CONFIG) : code;
	sort_delimiters(facts->delimiters);
	return sizes ? find_largest(facts) : 0;
}

int postfix_facts_load(const struct call *call, const struct postconf *postconf, bool sizes,
		       struct postfix_facts *facts)
{
	*facts = (struct postfix_facts){
		.queue_directory =
			postconf ? postconf_value(postconf, "queue_directory") : QUEUE_DIRECTORY,
	};
	int code = choose_socket_dir(call, facts);
	if (code == 0)
		code = session_open(call, DIRECTORY_NAMES, &facts->session);
	if (code == 0)
		code = read_directory(facts, sizes);
	if (code != 0)
		postfix_facts_finish(facts);
	return code;
}

void postfix_facts_finish(struct postfix_facts *facts)
{
	session_close(&facts->session);
}

bool postfix_is_ours(const struct postfix_facts *facts, const char *domain, size_t length)
{
	struct error ignored = {0};

	return delivery_domain(facts->session.reader, domain, length, &ignored) > 0;
}

void postfix_policy_endpoint(const struct postfix_facts *facts, char text_r[POSTFIX_ENDPOINT_SIZE])
{
	snprintf(text_r, POSTFIX_ENDPOINT_SIZE, "unix:%s/policy", facts->socket_dir);
}

void postfix_map_name(const struct postfix_facts *facts, const char *map,
		      char text_r[POSTFIX_ENDPOINT_SIZE])
{
	snprintf(text_r, POSTFIX_ENDPOINT_SIZE, "socketmap:unix:%s/map:%s", facts->socket_dir, map);
}

void postfix_socket_path(const struct postfix_facts *facts, const char *socket, char *path_r,
			 size_t size)
{
	bool below = facts->socket_dir[0] != '/';

	snprintf(path_r, size, "%s%s%s/%s", below ? facts->queue_directory : "", below ? "/" : "",
		facts->socket_dir, socket);
}

static bool starts_with(const char *text, size_t length, const char *start)
{
	return length >= strlen(start) && strncmp(text, start, strlen(start)) == 0;
}

/* Does `unix:PATH` name that socket of the daemon, whether or not PATH begins with the queue
 * directory? */
static bool is_endpoint(const struct postfix_facts *facts, const char *text, size_t length,
			const char *socket)
{
	char path[1200], relative[128];

	if (!starts_with(text, length, "unix:"))
		return false;
	text += 5, length -= 5;
	postfix_socket_path(facts, socket, path, sizeof path);
	snprintf(relative, sizeof relative, "%s/%s", facts->socket_dir, socket);
	return (strlen(path) == length && memcmp(text, path, length) == 0) ||
	       (strlen(relative) == length && memcmp(text, relative, length) == 0);
}

bool postfix_item_is_map(const struct postfix_facts *facts, const char *item, size_t length,
			 const char *map)
{
	size_t name = strlen(map);

	if (starts_with(item, length, "proxy:"))
		item += 6, length -= 6;
	if (!starts_with(item, length, "socketmap:"))
		return false;
	item += 10, length -= 10;
	return length > name + 1 && item[length - name - 1] == ':' &&
	       memcmp(item + length - name, map, name) == 0 &&
	       is_endpoint(facts, item, length - name - 1, "map");
}

bool postfix_item_is_policy(const struct postfix_facts *facts, const char *item, size_t length)
{
	if (length >= 2 && item[0] == '{') {
		item++;
		item = postfix_item(&item, &length);
		if (item && length > 0 && item[length - 1] == '}') /* `{unix:homing/policy}` */
			length--;
	}
	return item && is_endpoint(facts, item, length, "policy");
}
