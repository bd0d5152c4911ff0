/* Postfix's smtpd: whom it relays for, and who may send as whom, in main.cf and in each service of
 * master.cf that has other rules. */
#include "live-postfix-private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "postfix-plan.h"

#define RELAY "smtpd_relay_restrictions"
#define SENDER "smtpd_sender_restrictions"

static bool is_yes(const char *value)
{
	return strcasecmp(value, "yes") == 0;
}

static bool item_is(const char *item, size_t length, const char *word)
{
	return strlen(word) == length && strncmp(item, word, length) == 0;
}

static bool starts_with(const char *item, size_t length, const char *start)
{
	return length >= strlen(start) && strncmp(item, start, strlen(start)) == 0;
}

/* Where a setting counts: main.cf (service NULL), or the service that overrides it. */
struct place {
	const struct look *look;
	const char *service;
};

static const char *effective(const struct place *place, const char *name)
{
	return place->service ? postconf_effective(place->look->postconf, place->service, name)
			      : postconf_value(place->look->postconf, name);
}

/* A finding about a setting of main.cf, or of a service with the command that changes it. */
static void HOMING_PRINTF(4, 5) report(const struct place *place, const char *name,
				       const char *value, const char *format, ...)
{
	const char *service = place->service ? place->service : "";
	char *setting = NULL, *change = NULL, *squeezed = strdup(value);
	int made = asprintf(&setting, "%s%s%s", service, service[0] ? "/" : "", name);
	va_list args;

	if (made >= 0 && squeezed && service[0])
		made = plan_squeeze(squeezed)
			       ? asprintf(&change, "postconf -P '%s=%s'", setting, squeezed)
			       : asprintf(&change, "in master.cf: %s = %s", setting, value);
	else if (made >= 0)
		made = asprintf(&change, "%s =%s%s", name, value[0] ? " " : "", value);
	va_start(args, format);
	if (made >= 0)
		findings_add_args(place->look->findings, setting, change, format, args);
	va_end(args);
	free(squeezed);
	free(setting);
	free(change);
}

/* The list as it is written, behind `front`. Free it. */
static char *put_first(const struct place *place, const char *name, const char *front)
{
	const struct look *look = place->look;
	const char *raw = place->service
				  ? postconf_override_raw(look->postconf, place->service, name)
				  : postconf_written(look->postconf, name);

	if (!raw && strcmp(name, RELAY) == 0)
		raw = "permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination";
	return plan_put_first(&look->facts, front, raw ? raw : "");
}

static char *relay_change(const struct place *place)
{
	char *policy = plan_policy(&place->look->facts, place->service != NULL);
	char *change = policy ? put_first(place, RELAY, policy) : NULL;

	free(policy);
	return change;
}

/* Where the daemon's policy stands in a list. */
struct position {
	bool found, inet;
	const char *argument; /* as `unix:homing/policy` or `{ ... }`, of the daemon */
	size_t argument_length;
	char before[ITEM_SIZE]; /* the item in front, a permit if there is one; "" */
	char inet_argument[ITEM_SIZE];
};

static bool is_inet(const char *argument, size_t length)
{
	if (length > 0 && argument[0] == '{') {
		argument++;
		argument = postfix_item(&argument, &length);
	}
	return argument && starts_with(argument, length, "inet:");
}

static void note_before(struct position *position, const char *item, size_t length)
{
	bool permit = starts_with(item, length, "permit");

	if (!position->before[0] || (permit && strncmp(position->before, "permit", 6) != 0))
		item_text(item, length, position->before);
}

static struct position find_policy(const struct look *look, const char *list)
{
	struct position position = {0};
	size_t length, argument_length;

	for (const char *item; !position.found && (item = postfix_item(&list, &length));) {
		if (!item_is(item, length, "check_policy_service")) {
			note_before(&position, item, length);
			continue;
		}
		const char *argument = postfix_item(&list, &argument_length);
		if (!argument)
			break;
		if (postfix_item_is_policy(&look->facts, argument, argument_length)) {
			position.found = true;
			position.argument = argument;
			position.argument_length = argument_length;
			continue;
		}
		if (is_inet(argument, argument_length) && !position.inet) {
			position.inet = true;
			item_text(argument, argument_length, position.inet_argument);
		}
		note_before(&position, item, length);
	}
	return position;
}

/* The text behind `default_action =` in `{ unix:..., ... }`; "" if there is none. */
static const char *own_default_action(const struct position *position, char text_r[ITEM_SIZE])
{
	static const char name[] = "default_action";
	char whole[4 * ITEM_SIZE], *found;

	text_r[0] = '\0';
	snprintf(whole, sizeof whole, "%.*s",
		(int)(position->argument_length < sizeof whole ? position->argument_length
							       : sizeof whole - 1),
		position->argument);
	found = whole[0] == '{' ? strstr(whole, name) : NULL;
	if (found) {
		found += sizeof name - 1;
		found += strspn(found, " \t=");
		snprintf(text_r, ITEM_SIZE, "%.*s", (int)strcspn(found, ",}"), found);
	}
	return text_r;
}

static bool refuses(const char *action)
{
	return action[0] == '4' || action[0] == '5' || strncasecmp(action, "defer", 5) == 0 ||
	       strncasecmp(action, "reject", 6) == 0;
}

static void look_at_default_action(const struct place *place, const struct position *position)
{
	char own[ITEM_SIZE];
	const char *action = own_default_action(position, own);

	if (!action[0])
		action = effective(place, "smtpd_policy_service_default_action");
	if (refuses(action))
		return;
	char *change = relay_change(place);
	if (change)
		report(place, RELAY, change,
			"`%s` is the answer while the daemon is away: unknown recipients would be taken", action);
	free(change);
}

static void look_at_policy_path(const struct place *place, const struct position *position)
{
	const struct look *look = place->look;
	size_t count;
	const struct postfix_service *services = postconf_services(look->postconf, &count);
	const char *path = memmem(position->argument, position->argument_length, "unix:/", 6);

	for (size_t i = 0; path && i < count; i++) {
		if (strcmp(services[i].command, "smtpd") != 0 || !services[i].chrooted ||
		    (place->service && strcmp(place->service, services[i].name) != 0))
			continue;
		char *change = relay_change(place);
		if (change)
			report(place, RELAY, change,
				"%s is chrooted in %s and does not find the socket from there: let the daemon "
				"listen below the queue directory and write the path without it, or `postconf -F "
				"'%s/chroot=n'`",
				services[i].name, look->facts.queue_directory, services[i].name);
		free(change);
		return;
	}
}

static void look_at_policy(const struct place *place, const char *list)
{
	struct position position = find_policy(place->look, list);
	char *change = relay_change(place);

	if (!change)
		return;
	if (!position.found && position.inet)
		report(place, RELAY, change,
			"`%s` asks over TCP, where every user of the machine could answer in the daemon's "
			"place: a UNIX socket is safe, and faster",
			position.inet_argument);
	else if (!position.found)
		report(place, RELAY, change,
			"Homing's policy service is missing: unknown recipients are found too late, and "
			"explicit routes and literals that lead to our accounts are refused");
	else if (strncmp(position.before, "permit", 6) == 0)
		report(place, RELAY, change,
			"Homing's policy service stands behind `%s`: those clients' unknown recipients are "
			"taken, and returned later",
			position.before);
	else if (position.before[0])
		report(place, RELAY, change,
			"Homing's policy service is not the first: `%s` decides before it about addresses "
			"that an explicit route or a literal makes ours",
			position.before);
	free(change);
	if (position.found) {
		look_at_default_action(place, &position);
		look_at_policy_path(place, &position);
	}
}

/* What would relay for everybody, or for whom the client says it is. */
static bool relays_for_all(const char *item, size_t length)
{
	static const char *const words[] = {"permit", "permit_tls_all_clientcerts", "check_helo_access",
		"check_sender_access", "check_helo_a_access", "check_helo_mx_access", "check_helo_ns_access",
		"check_sender_a_access", "check_sender_mx_access", "check_sender_ns_access"};

	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		if (item_is(item, length, words[i]))
			return true;
	return false;
}

static bool stops_relaying(const char *item, size_t length)
{
	char text[ITEM_SIZE];

	return plan_stops_relaying(item_text(item, length, text));
}

/* The list without what relays for all in front of the stop. Free it. */
static char *without_relays(const struct place *place)
{
	char *list = relay_change(place), *text = NULL;
	const char *rest = list;
	size_t size, length;
	FILE *out = list ? open_memstream(&text, &size) : NULL;
	bool stopped = false;

	for (const char *item; out && (item = postfix_item(&rest, &length));) {
		stopped = stopped || stops_relaying(item, length);
		if (!stopped && relays_for_all(item, length)) {
			if (starts_with(item, length, "check_"))
				postfix_item(&rest, &length);
			continue;
		}
		fprintf(out, "%s%.*s", ftell(out) > 0 ? ", " : "", (int)length, item);
	}
	if (out) {
		if (!stopped)
			fprintf(out, ", reject_unauth_destination");
		fclose(out);
	}
	free(list);
	return text;
}

/* Is it an open relay? Only what stands in front of the first stop counts. */
static void look_at_relaying(const struct place *place, const char *list)
{
	char text[ITEM_SIZE], *change = without_relays(place);
	bool stopped = false;
	size_t length;

	for (const char *item; change && !stopped && (item = postfix_item(&list, &length));) {
		stopped = stops_relaying(item, length);
		if (relays_for_all(item, length))
			report(place, RELAY, change,
				"`%s` in front of reject_unauth_destination relays for %s", item_text(item, length, text),
				starts_with(item, length, "check_") ? "whom a client claims to be" : "everybody");
	}
	if (change && !stopped && !plan_stops_relaying(effective(place, "smtpd_recipient_restrictions")))
		report(place, RELAY, change, "nothing in it refuses to relay");
	free(change);
}

/* Restrictions that are evaluated for each recipient. */
static const char *const restriction_lists[] = {"smtpd_client_restrictions",
	"smtpd_helo_restrictions", SENDER, RELAY, "smtpd_recipient_restrictions"};

/* Is the comparison reached by clients that have logged in? */
static bool reaches_comparison(const char *list)
{
	size_t length;

	for (const char *item; (item = postfix_item(&list, &length));) {
		char text[ITEM_SIZE];

		if (plan_compares_senders(item_text(item, length, text)))
			return true;
		if (item_is(item, length, "permit") || item_is(item, length, "permit_sasl_authenticated"))
			return false;
	}
	return false;
}

static void look_at_senders(const struct place *place)
{
	bool compares = false, reached = false;

	if (!is_yes(effective(place, "smtpd_sasl_auth_enable")))
		return;
	for (size_t i = 0; i < sizeof restriction_lists / sizeof restriction_lists[0]; i++) {
		const char *list = effective(place, restriction_lists[i]);
		compares = compares || plan_compares_senders(list);
		reached = reached || reaches_comparison(list);
	}
	if (!reached) {
		char *change = put_first(place, SENDER,
			place->service && plan_is_submission(place->service)
				? "reject_sender_login_mismatch"
				: "reject_authenticated_sender_login_mismatch");
		if (change)
			report(place, SENDER, change,
				"%s: whoever logs in may send as everybody",
				compares ? "reject_sender_login_mismatch stands behind a permit"
					 : "reject_sender_login_mismatch is missing");
		free(change);
	}
	if (strcmp(effective(place, "smtpd_sasl_type"), "dovecot") != 0)
		report(place, "smtpd_sasl_type", "dovecot",
			"logins are verified by `%s`, not by Dovecot, so they are not routed",
			effective(place, "smtpd_sasl_type"));
}

/* Without virtual_alias_maps nothing is rewritten; fine only in front of a filter. */
static void look_at_mappings(const struct place *place)
{
	const char *options = effective(place, "receive_override_options");

	if (strstr(options, "no_address_mappings") && !effective(place, "content_filter")[0])
		report(place, "receive_override_options", "",
			"no_address_mappings turns virtual_alias_maps off: aliases, forwarders and groups lead "
			"nowhere");
}

static void look_at_relay_rules(const struct place *place)
{
	const char *list = effective(place, RELAY);

	look_at_policy(place, list);
	look_at_relaying(place, list);
}

static void look_at_routing(const struct place *place)
{
	if (is_yes(effective(place, "allow_untrusted_routing")))
		report(place, "allow_untrusted_routing", "no",
			"relays user%%elsewhere@ours for everybody, in front of every restriction");
}

/* One question, and the settings that its answer comes from. */
struct topic {
	void (*look)(const struct place *place);
	const char *settings[9];
};

static const struct topic topics[] = {
	{look_at_relay_rules, {RELAY}},
	{look_at_routing, {"allow_untrusted_routing"}},
	{look_at_senders,
	 {"smtpd_sasl_auth_enable", "smtpd_sasl_type", SENDER, RELAY, "smtpd_client_restrictions",
	  "smtpd_helo_restrictions", "smtpd_recipient_restrictions"}},
	{look_at_mappings, {"receive_override_options", "content_filter"}},
};

static bool overrides(const struct look *look, const char *service, const struct topic *topic)
{
	for (size_t i = 0; topic->settings[i]; i++)
		if (postconf_override(look->postconf, service, topic->settings[i]))
			return true;
	return false;
}

/* A service is looked at by itself where master.cf has something of its own about the topic; what all
 * others have in common is main.cf's. */
static void look_at_topic(const struct look *look, const struct topic *topic)
{
	struct place place = {.look = look};
	size_t count;
	const struct postfix_service *services = postconf_services(look->postconf, &count);
	bool common = false;

	for (size_t i = 0; i < count; i++) {
		if (strcmp(services[i].command, "smtpd") != 0 || plan_is_inner_service(services[i].name))
			continue;
		place.service = services[i].name;
		if (overrides(look, services[i].name, topic))
			topic->look(&place);
		else
			common = true;
	}
	place.service = NULL;
	if (common)
		topic->look(&place);
}

void look_at_smtpd(const struct look *look)
{
	for (size_t i = 0; i < sizeof topics / sizeof topics[0]; i++)
		look_at_topic(look, &topics[i]);
}
