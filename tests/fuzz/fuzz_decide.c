/* Bytes as a recipient, in the directory of the golden cases: what the policy daemon says at RCPT, and
 * what its maps say of the same string, which must agree. The first byte is who the client is. */
#include "decide.h"

#include <string.h>

#include "delivery.h"
#include "fuzz.h"
#include "input.h"
#include "support.h"

static char *folder;
static struct support_open golden;

static void finish(void)
{
	support_close(&golden);
	support_folder_remove(&folder);
}

static void open_once(void)
{
	if (folder)
		return;
	folder = support_folder();
	support_golden(folder);
	golden = support_open(folder, DIRECTORY_NAMES);
	atexit(finish);
}

static bool begins(const char *text, const char *front)
{
	return strncmp(text, front, strlen(front)) == 0;
}

static struct map_decision ask_map(enum map map, const char *key, size_t length)
{
	struct map_decision decision;
	struct error error = {0};

	map_decide(golden.reader, map, key, length, &decision, &error);
	FUZZ_EXPECT(error.code == ERROR_NONE && decision.status != SOCKETMAP_TEMP);
	FUZZ_EXPECT(decision.status == SOCKETMAP_OK || decision.status == SOCKETMAP_NOTFOUND ||
		    decision.status == SOCKETMAP_PERM);
	FUZZ_EXPECT((decision.value ? strlen(decision.value) : 0) == decision.value_length);
	if (decision.status == SOCKETMAP_OK)
		FUZZ_EXPECT(decision.value_length > 0 && input_is_message(decision.value));
	return decision;
}

/* The first address of a list as virtual_alias_maps has it: up to a comma outside of quotes. */
static size_t first_length(const char *list)
{
	bool quoted = false;
	size_t i = 0;

	for (; list[i] && (quoted || list[i] != ','); i++) {
		if (quoted && list[i] == '\\' && list[i + 1])
			i++;
		else if (list[i] == '"')
			quoted = !quoted;
	}
	return i;
}

/* What the alias map gives is final: it is its own, or mail would go round. */
static void check_alias(const struct map_decision *alias)
{
	if (alias->status != SOCKETMAP_OK)
		return;
	size_t length = first_length(alias->value);
	struct map_decision again = ask_map(MAP_ALIAS, alias->value, length);
	if (again.status == SOCKETMAP_OK)
		FUZZ_EXPECT(again.value_length == length &&
			    memcmp(again.value, alias->value, length) == 0);
	map_decision_finish(&again);
}

static void check_maps(const char *key, size_t length)
{
	struct map_decision alias = ask_map(MAP_ALIAS, key, length);
	struct map_decision mailbox = ask_map(MAP_MAILBOX, key, length);
	struct map_decision transport = ask_map(MAP_TRANSPORT, key, length);
	struct map_decision login = ask_map(MAP_SENDER_LOGIN, key, length);
	struct map_decision domain = ask_map(MAP_DOMAIN, key, length);

	check_alias(&alias);
	FUZZ_EXPECT(transport.status == SOCKETMAP_NOTFOUND ||
		    (transport.status == SOCKETMAP_OK && strcmp(transport.value, "discard:") == 0));
	FUZZ_EXPECT((transport.status == SOCKETMAP_OK) ==
		    (mailbox.status == SOCKETMAP_OK && strcmp(mailbox.value, "discard") == 0));
	/* whoever may send by an address gets its mail */
	if (login.status == SOCKETMAP_OK && mailbox.status == SOCKETMAP_OK)
		FUZZ_EXPECT(strcmp(login.value, mailbox.value) == 0);
	if (domain.status == SOCKETMAP_OK)
		FUZZ_EXPECT(!strpbrk(domain.value, "@%!/ "));
	map_decision_finish(&alias);
	map_decision_finish(&mailbox);
	map_decision_finish(&transport);
	map_decision_finish(&login);
	map_decision_finish(&domain);
}

/* An answer of three digits and an enhanced status of the same class, then words. */
static bool is_reply(const char *action)
{
	return (action[0] == '4' || action[0] == '5') && action[1] >= '0' && action[1] <= '5' &&
	       action[3] == ' ' && action[4] == action[0] && action[5] == '.' &&
	       strlen(action) < DECISION_TEXT && input_is_message(action);
}

static void check_policy(const char *recipient, size_t length, const struct policy_value *login,
			 const struct policy_value *client)
{
	static const enum existence existences[] = {EXISTS, EXISTS_NOT, EXISTENCE_UNKNOWN};
	const struct policy_request request = {
		.request = {"smtpd_access_policy", 19},
		.protocol_state = {"RCPT", 4},
		.recipient = {recipient, length},
		.sasl_username = *login,
		.client_address = *client,
	};
	struct trusted trusted = {0};
	struct policy_decision decision;
	struct error error = {0};
	const char *why;

	FUZZ_EXPECT(trusted_add(&trusted, "192.0.2.0/24", &why));
	policy_decide(golden.reader, &request, &trusted, &decision, &error);
	FUZZ_EXPECT(error.code == ERROR_NONE && decision.reason);
	bool accepts = strcmp(decision.action, "DUNNO") == 0 || strcmp(decision.action, "OK") == 0;
	FUZZ_EXPECT(accepts != decision.refuses && (accepts || is_reply(decision.action)));
	FUZZ_EXPECT(!begins(decision.action, "451 4.3.0"));
	FUZZ_EXPECT(accepts || !decision.must_ask);
	/* an OK is safe by itself: the alias map rewrites the recipient, to one of ours */
	if (strcmp(decision.action, "OK") == 0) {
		struct map_decision alias = ask_map(MAP_ALIAS, recipient, length);

		FUZZ_EXPECT(alias.status == SOCKETMAP_OK);
		map_decision_finish(&alias);
	}
	/* a stranger's explicit route leads nowhere else, whatever is asked */
	if (strcmp(decision.reason, "relay") == 0)
		FUZZ_EXPECT(accepts == (login->length > 0 || client->length > 0));
	for (size_t i = 0; decision.must_ask && i < 3; i++) {
		struct policy_decision then = decision;

		policy_decide_existence(&then, existences[i]);
		FUZZ_EXPECT(!then.must_ask && input_is_message(then.action));
		FUZZ_EXPECT(begins(then.action, existences[i] == EXISTS ? decision.action
						: existences[i] == EXISTS_NOT ? "550 5.1.1 "
									      : "451 4.3.0 "));
	}
	trusted_finish(&trusted);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const struct policy_value nobody = {NULL, 0}, user = {"info@company.com", 16},
					 trusted = {"192.0.2.7", 9};
	struct input input = input_of(bytes, length);
	struct error error = {0};
	unsigned who = input_byte(&input);
	size_t left = input.left;
	char *recipient = input_take(&input, left);

	open_once();
	/* no recipient or key of the protocols has these */
	if (!memchr(recipient, '\n', left) && !memchr(recipient, '\0', left)) {
		FUZZ_EXPECT(directory_begin(golden.reader, &error) == 0);
		check_policy(recipient, left, who % 4 == 1 ? &user : &nobody,
			     who % 4 == 2 ? &trusted : &nobody);
		check_maps(recipient, left);
		directory_end(golden.reader);
	}
	free(recipient);
	return 0;
}
