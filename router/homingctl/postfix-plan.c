/* What has to change in Postfix's settings. What an administrator has stays, behind ours. */
#include "postfix-plan.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "output.h"

static bool item_is(const char *item, size_t length, const char *word)
{
	return strlen(word) == length && strncmp(item, word, length) == 0;
}

static bool is_any_map(const struct postfix_facts *facts, const char *item, size_t length)
{
	for (size_t i = 0; i < POSTFIX_MAPS; i++)
		if (postfix_item_is_map(facts, item, length, postfix_maps[i].map))
			return true;
	return false;
}

char *plan_policy(const struct postfix_facts *facts, bool for_master)
{
	char endpoint[POSTFIX_ENDPOINT_SIZE], *text;

	postfix_policy_endpoint(facts, endpoint);
	int length = asprintf(&text,
		"check_policy_service { %s, timeout=15s, try_limit=4, retry_delay=1s, %s }", endpoint,
		for_master ? "default_action=451"
			   : "{ default_action = 451 4.3.5 Try again later }");
	return length < 0 ? NULL : text;
}

/* Does white space at this place, with `before` and `after` around it, mean nothing? */
static bool is_idle(char before, char after)
{
	return before == '\0' || after == '\0' || strchr("{,", before) || strchr("},", after);
}

bool plan_squeeze(char *list)
{
	char *out = list;
	int depth = 0;
	bool fine = true;

	for (const char *in = list; *in;) {
		size_t space = strspn(in, " \t\r\n");
		char before = out > list ? out[-1] : '\0';

		if (space > 0 && is_idle(before, in[space])) {
			in += space;
		} else if (space > 0) {
			fine = fine && depth == 0;
			*out++ = depth == 0 ? ',' : ' ';
			in += space;
		} else {
			depth += (*in == '{') - (*in == '}');
			*out++ = *in++;
		}
	}
	*out = '\0';
	return fine;
}

char *plan_put_first(const struct postfix_facts *facts, const char *front, const char *list)
{
	char *text = NULL;
	size_t size, length;
	FILE *out = open_memstream(&text, &size);

	if (!out)
		return NULL;
	fputs(front, out);
	for (const char *item; (item = postfix_item(&list, &length));) {
		const char *ahead = list;
		size_t next_length;

		if (is_any_map(facts, item, length))
			continue;
		if (item_is(item, length, "check_policy_service")) {
			const char *next = postfix_item(&ahead, &next_length);
			if (next && postfix_item_is_policy(facts, next, next_length)) {
				list = ahead;
				continue;
			}
		}
		fprintf(out, "%s%.*s", ftell(out) > 0 ? ", " : "", (int)length, item);
	}
	fclose(out);
	return text;
}

static size_t count_items(const char *list)
{
	size_t count = 0, length;

	while (postfix_item(&list, &length))
		count++;
	return count;
}

char *plan_without_ours(const struct postfix_facts *facts, const char *raw, const char *expanded,
			bool *found_r)
{
	/* `$name` that gives none or several items: then its value is written */
	const char *shown = count_items(raw) == count_items(expanded) ? raw : expanded;
	char *text = NULL;
	size_t size, length, shown_length;
	FILE *out = open_memstream(&text, &size);

	*found_r = false;
	if (!out)
		return NULL;
	for (const char *item; (item = postfix_item(&expanded, &length));) {
		const char *written = postfix_item(&shown, &shown_length);
		bool ours = postfix_is_ours(facts, item, length) || is_any_map(facts, item, length);

		*found_r = *found_r || ours;
		if (!ours)
			fprintf(out, "%s%.*s", ftell(out) > 0 ? ", " : "", (int)shown_length, written);
	}
	fclose(out);
	return text;
}

bool plan_delivers_itself(const char *transport)
{
	static const char *const words[] = {"virtual", "local", "error", "discard", "$local_transport"};
	size_t length = strcspn(transport, ":");

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (item_is(transport, length, words[i]))
			return true;
	return length == 0;
}

static bool has_item(const char *list, const char *const *words)
{
	size_t length;

	for (const char *item; (item = postfix_item(&list, &length));)
		for (size_t i = 0; words[i]; i++)
			if (item_is(item, length, words[i]))
				return true;
	return false;
}

bool plan_stops_relaying(const char *restrictions)
{
	static const char *const words[] = {
		"reject_unauth_destination", "defer_unauth_destination", "reject", "defer", NULL};

	return has_item(restrictions, words);
}

bool plan_compares_senders(const char *restrictions)
{
	static const char *const words[] = {"reject_sender_login_mismatch",
		"reject_authenticated_sender_login_mismatch", "reject_known_sender_login_mismatch", NULL};

	return has_item(restrictions, words);
}

/* What the settings are planned from. */
struct planning {
	const struct postfix_facts *facts;
	const struct postconf *postconf; /* or NULL */
	struct plan *plan;
};

static const char *written(const struct planning *planning, const char *name)
{
	return planning->postconf ? postconf_written(planning->postconf, name) : NULL;
}

static const char *value_of(const struct planning *planning, const char *name)
{
	return planning->postconf ? postconf_value(planning->postconf, name) : "";
}

/* Takes the value. */
static void add(const struct planning *planning, const char *name, char *value, const char *why)
{
	struct plan *plan = planning->plan;

	if (!value || plan->setting_count == PLAN_SETTINGS) {
		plan->failed = true;
		free(value);
		return;
	}
	plan->settings[plan->setting_count++] = (struct plan_setting){
		.name = name, .value = value, .old = written(planning, name), .why = why};
}

static void add_text(const struct planning *planning, const char *name, const char *value,
		     const char *why)
{
	add(planning, name, strdup(value), why);
}

/* An address in UTF-8 in Postfix's own Received header makes the whole message one that only a server
 * with SMTPUTF8 may get (cleanup: SMTPUTF8_FLAG_HEADER), although its recipient is rewritten. */
static void plan_received(const struct planning *planning)
{
	static const char ours[] = "regexp:{{/^(Received:.*)for <[^>]*[^ -~][^>]*>(.*)$$/ "
				   "REPLACE $${1}$${2}}}";
	const char *old = written(planning, "header_checks");
	char *value = NULL;

	if (old && strstr(old, ours))
		value = strdup(old);
	else if (asprintf(&value, "%s%s%s", ours, old && *old ? ", " : "", old ? old : "") < 0)
		value = NULL;
	add(planning, "header_checks", value,
		"Such an address would also stand in the Received header that Postfix writes, and keep the\n"
		"whole message from Dovecot. There it is left out.");
}

static void plan_names(const struct planning *planning)
{
	add_text(planning, "myorigin", planning->facts->main_domain,
		"A bare name is one of the main domain, as at a login without further information. Mail to\n"
		"root and to other users of the system, as cron sends it, goes there too: give them names\n"
		"with `homingctl alias add root postmaster`.");
	add_text(planning, "append_dot_mydomain", "no",
		"Names without a dot are not completed behind Homing's back. (allow_percent_hack and\n"
		"swap_bangpath stay as they are: info%client2.com and client2.com!info mean the same to\n"
		"Postfix as to Homing.)");
	if (strcmp(value_of(planning, "allow_untrusted_routing"), "yes") == 0)
		add_text(planning, "allow_untrusted_routing", "no",
			"Would relay info%elsewhere.example@" "ours for everybody.");
	add_text(planning, "smtputf8_enable", "yes",
		"Addresses outside ASCII. Dovecot's LMTP does not take them: mail to one arrives if Homing\n"
		"turns it into an account with an ASCII name, and is returned to its sender otherwise.");
	plan_received(planning);
}

static void plan_domain_list(const struct planning *planning, const char *name, const char *least,
			     const char *why)
{
	const char *raw = planning->postconf ? postconf_raw(planning->postconf, name) : "";
	bool found;
	char *kept = plan_without_ours(planning->facts, raw, value_of(planning, name), &found);

	if (kept && !found) {
		free(kept);
		return;
	}
	if (kept && !kept[0]) {
		free(kept);
		kept = strdup(least);
	}
	add(planning, name, kept, why);
}

/* By default all that is in virtual_alias_maps would be a virtual alias domain. What relied on that
 * goes on: its maps are written here. */
static void plan_alias_domains(const struct planning *planning)
{
	const char *domains = written(planning, "virtual_alias_domains");
	const char *maps = written(planning, "virtual_alias_maps");
	bool by_default = !domains || strstr(domains, "virtual_alias_maps");
	bool ignored;

	const char *kept = by_default ? (maps ? maps : "") : domains;
	const char *expanded = planning->postconf
				       ? postconf_value(planning->postconf,
						 by_default ? "virtual_alias_maps" : "virtual_alias_domains")
				       : "";
	add(planning, "virtual_alias_domains",
		plan_without_ours(planning->facts, kept, maps || !by_default ? expanded : "", &ignored),
		"Must be written: by default the alias map is asked for domains too, and one that it knows\n"
		"would lose its mailboxes.");
}

static void plan_map(const struct planning *planning, const char *setting, const char *why)
{
	char name[POSTFIX_ENDPOINT_SIZE] = "";
	const char *others = written(planning, setting);

	for (size_t i = 0; i < POSTFIX_MAPS; i++)
		if (strcmp(postfix_maps[i].setting, setting) == 0)
			postfix_map_name(planning->facts, postfix_maps[i].map, name);
	add(planning, setting, plan_put_first(planning->facts, name, others ? others : ""), why);
}

/* Postfix's own virtual(8) cannot deliver: it takes no map from a socket. */
static bool has_own_transport(const struct planning *planning)
{
	const char *transport = written(planning, "virtual_transport");

	return transport && !plan_delivers_itself(transport);
}

static void plan_domains(const struct planning *planning)
{
	plan_domain_list(planning, "mydestination", "localhost",
		"Without Homing's domains, which would otherwise go to users and aliases of the system.");
	plan_domain_list(planning, "relay_domains", "",
		"Without Homing's domains: this server is where their mail ends.");
	plan_alias_domains(planning);
	plan_map(planning, "virtual_mailbox_domains",
		"Which domains are ours: names, aliases, and what router records lead to them. The path is\n"
		"relative to the queue directory, so it is right for chrooted processes and for others.");
	plan_map(planning, "virtual_alias_maps",
		"Rewrites each recipient to the account that it means: aliases, forwarders, groups,\n"
		"domain aliases, info%client2.com@ours, info@[192.0.2.2], Box#info@ours.");
	plan_map(planning, "virtual_mailbox_maps", "Which accounts there are.");
	plan_map(planning, "transport_maps",
		"Answers `discard:` for what a router record or a domain discards, that recipient alone,\n"
		"and nothing for all other addresses.");
	if (!has_own_transport(planning))
		add_text(planning, "virtual_transport", "lmtp:unix:private/dovecot-lmtp",
			"Dovecot delivers: it knows where the mailboxes are. The listener is shown below.");
	add_text(planning, "recipient_delimiter", planning->facts->delimiters,
		"What may stand before a detail, as in info+lists, in any of the domains.");
	if (atoi(value_of(planning, "virtual_alias_expansion_limit")) < 20000)
		add_text(planning, "virtual_alias_expansion_limit", "20000",
			"A group may have more than 1000 addresses. (More than fit in the 100,000 bytes of a reply\n"
			"are no use; virtual_alias_recursion_limit may stay, groups in groups come resolved.)");
}

static void plan_relaying(const struct planning *planning)
{
	const char *others = written(planning, "smtpd_relay_restrictions");
	char *policy = plan_policy(planning->facts, false);

	if (!others || !plan_stops_relaying(others))
		others = "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination";
	add(planning, "smtpd_relay_restrictions",
		policy ? plan_put_first(planning->facts, policy, others) : NULL,
		"The policy service stands first, in front of every permit: so unknown recipients are\n"
		"refused to everybody while the sender is still connected. It says OK only where an explicit\n"
		"route or an address literal leads to one of our accounts, else DUNNO or a refusal. Its\n"
		"settings are its own, those of other policy services stay: a restart of the daemon is not\n"
		"seen by clients, and while it is away for longer mail waits (451).");
	free(policy);
}

static void plan_senders(const struct planning *planning)
{
	const char *others = written(planning, "smtpd_sender_restrictions");

	plan_map(planning, "smtpd_sender_login_maps",
		"Which logins may send as an address: the account, as this address or as its aliases.\n"
		"reject_sender_login_mismatch asks for it, in the submission service of master.cf.");
	if (strcmp(value_of(planning, "smtpd_sasl_auth_enable"), "yes") != 0 ||
	    plan_compares_senders(others ? others : ""))
		return;
	add(planning, "smtpd_sender_restrictions",
		plan_put_first(planning->facts, "reject_authenticated_sender_login_mismatch",
			others ? others : ""),
		"Clients can log in on every port (smtpd_sasl_auth_enable = yes): those who did send as\n"
		"themselves.");
}

static bool is_smtpd(const struct postfix_service *service)
{
	return strcmp(service->command, "smtpd") == 0;
}

static void add_override(const struct planning *planning, const char *service, const char *name,
			 const char *front)
{
	struct plan *plan = planning->plan;
	const char *old = postconf_override_raw(planning->postconf, service, name);
	char *value = plan_put_first(planning->facts, front, old ? old : "");

	if (!value || plan->override_count == PLAN_OVERRIDES) {
		plan->failed = true;
		free(value);
		return;
	}
	plan->overrides[plan->override_count++] =
		(struct plan_override){.service = service, .name = name, .value = value, .old = old};
}

bool plan_has_policy_first(const struct postfix_facts *facts, const char *restrictions)
{
	size_t length;
	const char *item = postfix_item(&restrictions, &length);

	if (!item || !item_is(item, length, "check_policy_service"))
		return false;
	item = postfix_item(&restrictions, &length);
	return item && postfix_item_is_policy(facts, item, length);
}

bool plan_is_inner_service(const char *service)
{
	static const char *const hosts[] = {"127.", "localhost:", "[::1]:", "::1:"};

	for (size_t i = 0; i < sizeof hosts / sizeof hosts[0]; i++)
		if (strncmp(service, hosts[i], strlen(hosts[i])) == 0)
			return true;
	return false;
}

bool plan_is_submission(const char *service)
{
	static const char *const names[] = {"submission", "587", "submissions", "smtps", "465"};
	const char *port = strrchr(service, ':');

	port = port ? port + 1 : service;
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strncmp(port, names[i], strlen(names[i])) == 0 && port[strlen(names[i])] == '/')
			return true;
	return false;
}

static void plan_service(const struct planning *planning, const struct postfix_service *service)
{
	const struct postconf *postconf = planning->postconf;
	const char *relay = postconf_override(postconf, service->name, "smtpd_relay_restrictions");
	const char *sender =
		postconf_override(postconf, service->name, "smtpd_sender_restrictions");
	bool sasl = strcmp(postconf_effective(postconf, service->name, "smtpd_sasl_auth_enable"),
			    "yes") == 0;

	if (relay && !plan_has_policy_first(planning->facts, relay) &&
	    !plan_is_inner_service(service->name)) {
		char *policy = plan_policy(planning->facts, true);
		if (policy)
			add_override(planning, service->name, "smtpd_relay_restrictions", policy);
		planning->plan->failed = planning->plan->failed || !policy;
		free(policy);
	}
	/* where main.cf enables logins, main.cf is given the restriction too */
	bool by_main = !sender && strcmp(value_of(planning, "smtpd_sasl_auth_enable"), "yes") == 0;
	if (sasl && !by_main && !plan_compares_senders(sender ? sender : ""))
		add_override(planning, service->name, "smtpd_sender_restrictions",
			plan_is_submission(service->name) ? "reject_sender_login_mismatch"
							  : "reject_authenticated_sender_login_mismatch");
}

static void plan_submission(const struct planning *planning, bool chrooted)
{
	int length = asprintf(&planning->plan->submission,
		"submission inet n - %c - - smtpd"
		" -o syslog_name=postfix/submission"
		" -o smtpd_tls_security_level=encrypt"
		" -o smtpd_sasl_auth_enable=yes"
		" -o smtpd_sasl_type=dovecot"
		" -o smtpd_sasl_path=private/auth"
		" -o smtpd_client_restrictions=permit_sasl_authenticated,reject"
		" -o smtpd_helo_restrictions="
		" -o smtpd_sender_restrictions=reject_sender_login_mismatch"
		" -o smtpd_recipient_restrictions="
		" -o milter_macro_daemon_name=ORIGINATING",
		chrooted ? 'y' : 'n');

	if (length < 0) {
		planning->plan->submission = NULL;
		planning->plan->failed = true;
	}
}

static void plan_master(const struct planning *planning)
{
	bool chrooted = false, submission = false;
	size_t count = 0;
	const struct postfix_service *services =
		planning->postconf ? postconf_services(planning->postconf, &count) : NULL;

	for (size_t i = 0; i < count; i++) {
		if (!is_smtpd(&services[i]))
			continue;
		chrooted = chrooted || services[i].chrooted;
		submission = submission || plan_is_submission(services[i].name);
		plan_service(planning, &services[i]);
	}
	if (!submission)
		plan_submission(planning, chrooted);
}

/* Does any of the settings ask the daemon already? */
static bool is_on(const struct planning *planning)
{
	for (size_t i = 0; i < POSTFIX_MAPS; i++) {
		const char *list = value_of(planning, postfix_maps[i].setting);
		size_t length;

		for (const char *item; (item = postfix_item(&list, &length));)
			if (postfix_item_is_map(planning->facts, item, length, postfix_maps[i].map))
				return true;
	}
	return plan_has_policy_first(planning->facts,
		value_of(planning, "smtpd_relay_restrictions"));
}

int plan_make(const struct postfix_facts *facts, const struct postconf *postconf, struct plan *plan)
{
	struct planning planning = {.facts = facts, .postconf = postconf, .plan = plan};

	*plan = (struct plan){0};
	plan->is_on = is_on(&planning);
	plan_names(&planning);
	plan_domains(&planning);
	plan_relaying(&planning);
	plan_senders(&planning);
	add_text(&planning, "show_user_unknown_table_name", "no",
		"Clients need not learn which table does not know a recipient.");
	plan_master(&planning);
	if (!plan->failed)
		return 0;
	plan_finish(plan);
	return fail_memory();
}

void plan_finish(struct plan *plan)
{
	for (size_t i = 0; i < plan->setting_count; i++)
		free(plan->settings[i].value);
	for (size_t i = 0; i < plan->override_count; i++)
		free(plan->overrides[i].value);
	free(plan->submission);
	*plan = (struct plan){0};
}
