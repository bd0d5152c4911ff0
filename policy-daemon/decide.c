/* The policy at RCPT TO.
 *
 * What makes an OK safe. Postfix behaves in three ways that could turn one into an open
 * relay:
 *  - It has the recipient in internal form and asks the maps in external form, then in
 * internal form. delivery_name() makes the former of the latter, and maps.c answers
 * external forms alone.
 *  - Where the alias map has nothing, it resolves the address itself, takes domains of
 * its own and its own address literals off, and follows the `%`, `!` and even the quoted
 * `@` that it finds. So OK is said only of what the alias map rewrites; it is asked here,
 * with what Postfix will ask. A discarded recipient is not rewritten (the transport map
 * knows it), so it is never OK.
 *  - It completes what has no `@`, and (append_dot_mydomain) domains of one label, to
 * other names than the one routed here. These are never OK; Postfix decides about what it
 * makes of them. */
#include "decide.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "router/delivery.h"
#include "router/printable.h"
#include "router/route.h"

static const char failed_text[] = "temporary lookup failure";

static bool is_value(const struct policy_value *value, const char *text)
{
	return value->text && value->length == strlen(text) &&
	       memcmp(value->text, text, value->length) == 0;
}

static void accept(struct policy_decision *decision, const char *action, const char *reason)
{
	snprintf(decision->action, sizeof decision->action, "%s", action);
	decision->reason = reason;
	decision->refuses = false;
}

static void refuse(struct policy_decision *decision, const char *reason, int smtp,
		   const char *status, const char *text)
{
	snprintf(decision->action, sizeof decision->action, "%d %s <%s>: %s", smtp, status,
		 decision->recipient, text);
	decision->reason = reason;
	decision->refuses = true;
	decision->must_ask = false;
}

static void refuse_failed(struct policy_decision *decision, const char *reason)
{
	refuse(decision, reason, 451, "4.3.0", failed_text);
}

void policy_decide_failed(struct policy_decision *decision_r)
{
	*decision_r = (struct policy_decision){.reason = "failed", .refuses = true};
	snprintf(decision_r->action, sizeof decision_r->action, "451 4.3.0 %s", failed_text);
}

int existence_question_set(struct directory_reader *reader, const struct route_answer *answer,
			   struct existence_question *question_r, struct error *error)
{
	struct domain_rules rules;
	int found = domain_lookup(reader, answer->domain, &rules, error);

	if (found < 0)
		return -1;
	snprintf(question_r->name, sizeof question_r->name, "%s", answer->address);
	question_r->without_detail[0] = '\0';
	/* Dovecot takes the first delimiter, too. */
	const char *cut = found ? strchr(answer->local, rules.delimiter) : NULL;
	if (cut && cut > answer->local)
		snprintf(question_r->without_detail, sizeof question_r->without_detail, "%.*s@%s",
			 (int)(cut - answer->local), answer->local, answer->domain);
	return 0;
}

/* Will Postfix ask the alias map for this recipient, and not for something that it
 * completed? 1, 0, -1. The domain must be ours too: then mail that no map rewrote would
 * go nowhere else. */
static int is_asked_as_it_is(struct directory_reader *reader, const struct policy_value *recipient,
			     struct error *error)
{
	const char *at =
		recipient->text ? memrchr(recipient->text, '@', recipient->length) : NULL;

	if (!at)
		return 0;
	const char *domain = at + 1;
	size_t length = recipient->length - (size_t)(domain - recipient->text);
	if (length > 1 && domain[0] != '[' && !memchr(domain, '.', length - 1))
		return 0;
	return delivery_domain(reader, domain, length, error);
}

/* Does the alias map rewrite the name? 1, 0, -1. */
static int is_rewritten(struct directory_reader *reader, const char *name, size_t length,
			struct error *error)
{
	struct map_decision decision = {0};

	map_decide(reader, MAP_ALIAS, name, length, &decision, error);
	int result = decision.status == SOCKETMAP_TEMP ? -1 : decision.status == SOCKETMAP_OK;
	map_decision_finish(&decision);
	return result;
}

/* Mail that ends in accounts: OK if Postfix could not see that by itself. -1: failed. */
static int accept_ours(struct directory_reader *reader, const struct policy_request *request,
		       const char *name, const struct route_answer *answer,
		       struct policy_decision *decision, struct error *error)
{
	const char *reason = route_result_name(answer->result);
	int ok = 0;

	if (answer->flags & (ROUTE_EXPLICIT | ROUTE_LITERAL))
		ok = is_asked_as_it_is(reader, &request->recipient, error);
	if (ok == 1)
		ok = is_rewritten(reader, name, strlen(name), error);
	if (ok < 0)
		return -1;
	accept(decision, ok ? "OK" : "DUNNO", reason);
	decision->lasting = !ok;
	return 0;
}

/* 1: every target has an address; 0, -1. */
static int targets_have_addresses(struct directory_reader *reader,
				  const struct route_answer *answer, struct error *error)
{
	char address[DELIVERY_SIZE];
	int result = 1;

	for (size_t i = 0; result == 1 && i < answer->target_count; i++)
		result = delivery_target(reader, &answer->targets[i], address, error);
	return result;
}

static int decide_ours(struct directory_reader *reader, const struct policy_request *request,
		       const char *name, const struct route_answer *answer,
		       struct policy_decision *decision, struct error *error)
{
	char address[DELIVERY_SIZE];
	int found = answer->result == ROUTE_ACCOUNT
			    ? delivery_address(reader, answer, address, error)
			    : targets_have_addresses(reader, answer, error);

	if (found < 0)
		return -1;
	if (found == 0) {
		refuse(decision, "no-address", 550, "5.1.1",
		       "no address leads to this mailbox or detail: another name is in "
		       "its way");
		return 0;
	}
	if (accept_ours(reader, request, name, answer, decision, error) < 0)
		return -1;
	if (answer->result == ROUTE_ACCOUNT && (answer->flags & ROUTE_DOVECOT)) {
		decision->must_ask = true;
		return existence_question_set(reader, answer, &decision->question, error);
	}
	return 0;
}

static void decide_remote(const struct policy_request *request, const struct trusted *trusted,
			  const struct route_answer *answer, struct policy_decision *decision)
{
	const struct policy_value *client = &request->client_address;
	bool may_relay =
		request->sasl_username.length > 0 ||
		(trusted && client->text && trusted_has(trusted, client->text, client->length));

	if (!answer->relay)
		accept(decision, "DUNNO", "remote");
	else if (may_relay)
		accept(decision, "DUNNO", "relay");
	else
		refuse(decision, "relay", 554, "5.7.1",
		       "Relay access denied: explicit route to another server");
}

static int decide_answer(struct directory_reader *reader, const struct policy_request *request,
			 const struct trusted *trusted, const char *name,
			 const struct route_answer *answer, struct policy_decision *decision,
			 struct error *error)
{
	switch (answer->result) {
	case ROUTE_ACCOUNT:
	case ROUTE_FORWARD:
		return decide_ours(reader, request, name, answer, decision, error);
	case ROUTE_REMOTE:
		decide_remote(request, trusted, answer, decision);
		break;
	case ROUTE_DISCARD:
		accept(decision, "DUNNO", "discard");
		break;
	case ROUTE_REFUSE:
		refuse(decision, route_reason_name(answer->reason), answer->smtp, answer->status,
		       answer->text);
		break;
	}
	return 0;
}

void policy_decide(struct directory_reader *reader, const struct policy_request *request,
		   const struct trusted *trusted, struct policy_decision *decision_r,
		   struct error *error)
{
	const char *recipient = request->recipient.text ? request->recipient.text : "";
	char name[NAME_SIZE];
	struct route_answer answer;

	*decision_r = (struct policy_decision){0};
	if (!is_value(&request->request, "smtpd_access_policy") ||
	    !is_value(&request->protocol_state, "RCPT")) {
		accept(decision_r, "DUNNO", "other-state");
		return;
	}
	printable_replace(decision_r->recipient, sizeof decision_r->recipient, recipient,
			  request->recipient.length);
	int length = delivery_name(recipient, request->recipient.length, name);
	if (length < 0) {
		refuse(decision_r, route_reason_name(REASON_MALFORMED), 501, "5.1.3",
		       "malformed name: longer than 512 bytes");
		return;
	}
	struct route_question question = {
		.kind = NAME_ADDRESS, .name = name, .name_length = (size_t)length};
	int result = route(reader, &question, &answer, NULL, error);
	if (result == 0)
		result = decide_answer(reader, request, trusted, name, &answer, decision_r, error);
	if (result < 0)
		refuse_failed(decision_r, "failed");
	route_answer_finish(&answer);
}

void policy_decide_existence(struct policy_decision *decision, enum existence existence)
{
	decision->must_ask = false;
	if (existence == EXISTS_NOT)
		refuse(decision, route_reason_name(REASON_UNKNOWN_ACCOUNT), 550, "5.1.1",
		       "no such account here");
	else if (existence != EXISTS)
		refuse_failed(decision, "userdb");
}
