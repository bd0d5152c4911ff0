/* From an auth request to a question for the router.
 *
 * Who asks decides what counts. A login has the address that the client came to and the TLS server
 * name. Delivery (lmtp, lda) has a mail address, and neither: an address means the same account
 * wherever it comes in. So it is for doveadm and whoever else looks up a user. */
#include "compat.h"

#include "answers.h"
#include "question.h"
#include "router/route.h"
#include "sources.h"

/* Mechanisms in which the client proves that it knows the password of the account that the name
 * leads to. All others (EXTERNAL, GSSAPI, OAUTHBEARER...) prove another identity; there a bare name
 * would let the client choose the domain, by its TLS server name, and open the account of somebody
 * who is called the same elsewhere. */
static const char *const password_mechanisms[] = {
	"PLAIN",       "LOGIN",		    "CRAM-MD5",	     "DIGEST-MD5",
	"SCRAM-SHA-1", "SCRAM-SHA-1-PLUS", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS",
	"APOP",	       "OTP",		    NULL,
};

static bool proves_password(const struct auth_request *request)
{
	const char *mechanism = request->fields.mech_name;

	if (mechanism == NULL)
		return TRUE; /* a lookup by an administrator or a proxy, no login */
	for (unsigned int i = 0; password_mechanisms[i] != NULL; i++) {
		if (strcasecmp(mechanism, password_mechanisms[i]) == 0)
			return TRUE;
	}
	return FALSE;
}

static bool is_bare(const char *name, size_t length)
{
	return name_find(name, length, '@', TRUE) == NULL &&
	       name_find(name, length, '%', TRUE) == NULL;
}

/* Who asks, as a letter for the keys of kept answers. */
enum asker {
	ASKER_DELIVERY = 'd',
	ASKER_ADMINISTRATOR = 'u', /* doveadm, and whoever else looks up a user */
	ASKER_PASSWORD = 'p',	   /* a login by a mechanism that verifies a password */
	ASKER_IDENTITY = 'e',	   /* a login by one that does not */
};

static bool is_delivery(const char *protocol)
{
	return protocol[0] == 'l' && (strcmp(protocol, "lmtp") == 0 || strcmp(protocol, "lda") == 0);
}

static enum asker asker_of(const struct auth_request *request)
{
	if (is_delivery(compat_protocol(request)))
		return ASKER_DELIVERY;
	/* A userdb lookup that follows a login has the client's process id. */
	if (request->userdb_lookup && request->client_pid == 0)
		return ASKER_ADMINISTRATOR;
	return proves_password(request) ? ASKER_PASSWORD : ASKER_IDENTITY;
}

static bool is_login(enum asker asker)
{
	return asker == ASKER_PASSWORD || asker == ASKER_IDENTITY;
}

/* What is routed. Debian 13 takes the domain off in lmtp (`auth_username_format` in 20-lmtp.conf), for
 * users of the system: what is left would be a name of the main domain, and mail for client1's `info` would
 * be in the mailbox of the main domain's. A delivery is to the address that was given. */
static const char *name_of(const struct auth_request *request, enum asker asker)
{
	const char *user = request->fields.user, *original = request->fields.original_username;

	if (asker == ASKER_DELIVERY && original != NULL && is_bare(user, strlen(user)) &&
	    !is_bare(original, strlen(original)))
		return original;
	return user;
}

static struct ip ip_of(const struct ip_addr *address)
{
	if (IPADDR_IS_V4(address))
		return ip_from_v4((const unsigned char *)&address->u.ip4);
	return ip_from_v6((const unsigned char *)&address->u.ip6);
}

/* The IP is the caller's storage. FALSE: *reason_r. */
static bool make_question(const struct auth_request *request, enum asker asker,
			  struct route_question *question_r, struct ip *ip_r, const char **reason_r)
{
	const struct auth_request_fields *fields = &request->fields;

	*question_r = (struct route_question){
		.kind = asker == ASKER_DELIVERY ? NAME_ADDRESS : NAME_LOGIN,
		.name = name_of(request, asker),
	};
	question_r->name_length = strlen(question_r->name);
	if (!is_login(asker))
		return TRUE;
	if (asker == ASKER_IDENTITY && is_bare(fields->user, question_r->name_length)) {
		*reason_r = "a name without a domain, by a mechanism that verifies no password";
		return FALSE;
	}
	if (fields->local_ip.family != 0) {
		*ip_r = ip_of(&fields->local_ip);
		question_r->local_ip = ip_r;
	}
	question_r->server_name = fields->local_name;
	return TRUE;
}

static enum routed judge(const struct route_answer *answer, const char **reason_r)
{
	switch (answer->result) {
	case ROUTE_ACCOUNT:
		return (answer->flags & ROUTE_EXTERNAL) != 0 ? ROUTED_EXTERNAL : ROUTED_ACCOUNT;
	case ROUTE_REFUSE:
		*reason_r = t_strdup(answer->text);
		return ROUTED_REFUSED;
	case ROUTE_FORWARD:
		*reason_r = "it leads to a list of addresses, not to an account";
		return ROUTED_REFUSED;
	case ROUTE_REMOTE:
		*reason_r = "no such domain here";
		return ROUTED_REFUSED;
	case ROUTE_DISCARD:
		*reason_r = "mail for it is discarded";
		return ROUTED_REFUSED;
	}
	i_unreached();
}

static enum routed ask_within(struct source *names, struct auth_request *request, enum asker asker,
			      struct route_answer *answer, const char **reason_r)
{
	struct route_question question;
	struct error error = {0};
	struct ip ip;

	*answer = (struct route_answer){0};
	if (!make_question(request, asker, &question, &ip, reason_r))
		return ROUTED_REFUSED;
	if (route(names->reader, &question, answer, NULL, &error) < 0) {
		homing_source_failed(names, authdb_event(request), &error);
		return ROUTED_FAILED;
	}
	return judge(answer, reason_r);
}

enum routed homing_ask_within(struct source *names, struct auth_request *request,
			      struct route_answer *answer, const char **reason_r)
{
	return ask_within(names, request, asker_of(request), answer, reason_r);
}

/* Asks the router and keeps the answer. */
static enum routed ask_router(struct source *names, struct auth_request *request, enum asker asker,
			      const struct answer_key *key, const char **account_r,
			      const char **reason_r)
{
	struct error error = {0};
	struct route_answer answer;

	if (directory_begin(names->reader, &error) < 0) {
		homing_source_failed(names, authdb_event(request), &error);
		return ROUTED_FAILED;
	}
	uint64_t version = directory_snapshot(names->reader);
	enum routed routed = ask_within(names, request, asker, &answer, reason_r);
	directory_end(names->reader);
	if (routed == ROUTED_ACCOUNT || routed == ROUTED_EXTERNAL) {
		struct kept_answer kept = {
			.account = answer.address,
			.external = routed == ROUTED_EXTERNAL,
		};

		*account_r = t_strdup(answer.address);
		if (key != NULL)
			homing_answers_keep(&names->answers, key, version, &kept);
	}
	route_answer_finish(&answer);
	return routed;
}

enum routed homing_ask(struct source *names, struct auth_request *request, const char **account_r,
		       const char **reason_r)
{
	enum asker asker = asker_of(request);
	bool login = is_login(asker);
	struct error error = {0};
	struct answer_key key;
	struct kept_answer kept;

	if (homing_source_ready(names, &error) < 0) {
		homing_source_failed(names, authdb_event(request), &error);
		return ROUTED_FAILED;
	}
	bool keep = homing_answer_key(names->answers, &key, asker,
				      login ? &request->fields.local_ip : NULL,
				      login ? request->fields.local_name : NULL,
				      name_of(request, asker));
	if (keep && homing_answers_find(names->answers, &key, directory_version(names->directory),
					&kept)) {
		*account_r = kept.account;
		return kept.external ? ROUTED_EXTERNAL : ROUTED_ACCOUNT;
	}
	return ask_router(names, request, asker, keep ? &key : NULL, account_r, reason_r);
}

/* Without the `user` field that auth_request_set_field() would add: it is for workers and for the
 * cache of this very block, and makes an empty field in the answers to clients. */
void homing_set_user(struct auth_request *request, const char *account)
{
	if (strcmp(request->fields.user, account) != 0) {
		e_debug(authdb_event(request), "routed %s -> %s", request->fields.user, account);
		auth_request_set_username_forced(request, account);
	}
	/* Dovecot's cache expands the user in its keys from translated_username. Without this, the
	 * password of one domain's `info` would be found for that of another. */
	request->fields.translated_username = request->fields.user;
}
