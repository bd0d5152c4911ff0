/* directory.mdb and credentials.mdb with entries that nobody wrote: whatever stands there, a lookup
 * answers or says in one printable line what does not parse. Then a change, as homingctl makes them,
 * and all lookups again. The format of the input is in stored.h; the last byte chooses the change. */
#include <string.h>

#include "config.h"
#include "decide.h"
#include "delivery.h"
#include "directory-format.h"
#include "directory-write.h"
#include "fuzz.h"
#include "input.h"
#include "printable.h"
#include "rights.h"
#include "stored.h"
#include "support.h"

static char *folder;
static struct stored directory_file, credentials_file;
static struct config *config; /* of the golden cases */

static const char *const names[] = {
	"info@company.com", "info", "nobody@client1.com", "chef@company.com", "chain1@company.com",
	"staff@company.com", "web-admin@a.example", "sales@company.com", "x@old.example",
	"info@south.branch.example", "a.b@people.example", "f-t@mixed.example", "spamtrap@x.example",
	"closed@client1.com", "anna@sqlsite.org", "x@dovesite.org", "x@discard.example",
	"x@reroute.example", "info-x@dash.example", "info@[198.51.100.200]", "box#info@client2.com",
	"info%client2.com@company.com", "m\xc3\xbcller@client2.com", "info@mail.client2.com",
	"elsewhere@company.com", "info@b\xc3\xbc\x63her.example", "old-x@client1.com", "kurt+a@client2.com",
};
enum { NAMES = sizeof names / sizeof names[0], NAMES_ASKED = 8 };

static void finish(void)
{
	config_free(&config);
	stored_finish(&directory_file);
	stored_finish(&credentials_file);
	support_folder_remove(&folder);
}

static void no_mistake(const char *line, void *context)
{
	(void)context;
	support_die("%s", line);
}

static void make_once(void)
{
	if (folder)
		return;
	folder = support_folder();
	support_golden(folder);
	struct directory_writer *writer;
	struct error error = {0};
	if (directory_writer_open(folder, false, &writer, &error) < 0 ||
	    directory_password_set(writer, "info", "company.com", "{PLAIN}secret", &error) < 0 ||
	    directory_password_set(writer, "bob", "client1.com", "{PLAIN}secret", &error) < 0)
		support_die("%s", error.text);
	directory_writer_close(&writer);
	stored_keep(&directory_file, folder, DIRECTORY_FILE, directory_tables, DIRECTORY_DUPSORT);
	stored_keep(&credentials_file, folder, CREDENTIALS_FILE, credentials_tables, 0);
	const char *const paths[] = {HOMING_CASES "/homing.json"};
	if (config_load(paths, 1, &config, no_mistake, NULL, &error) != 0)
		support_die("%s", error.text);
	atexit(finish);
}

static bool is_printable(const char *text)
{
	while (*text) {
		size_t used = printable_character(text, strlen(text));
		if (used == 0)
			return false;
		text += used;
	}
	return true;
}

/* A result of -1 has its reason. Anything else has none. */
static int judge(int result, struct error *error)
{
	FUZZ_EXPECT(result >= -1);
	if (result < 0) {
		FUZZ_EXPECT(error->code != ERROR_NONE && error->text[0] && is_printable(error->text));
		FUZZ_EXPECT(!strchr(error->text, '\n'));
	} else {
		FUZZ_EXPECT(error->code == ERROR_NONE);
	}
	error_clear(error);
	return result;
}

static int take_text(const char *text, void *context)
{
	*(size_t *)context += strlen(text);
	return 0;
}

static int take_entry(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	FUZZ_EXPECT(kind == ENTRY_ACCOUNT || kind == ENTRY_ALIAS || kind == ENTRY_FORWARDER ||
		    kind == ENTRY_GROUP);
	FUZZ_EXPECT(strlen(local) < LOCAL_SIZE && strlen(domain) < DOMAIN_SIZE);
	return take_text(local, context);
}

static void check_answer(struct directory_reader *reader, enum name_kind kind,
			 const struct route_answer *answer)
{
	char address[DELIVERY_SIZE];
	struct error error = {0};

	FUZZ_EXPECT(kind == NAME_ADDRESS || answer->result == ROUTE_ACCOUNT ||
		    answer->result == ROUTE_REFUSE);
	switch (answer->result) {
	case ROUTE_ACCOUNT:
		FUZZ_EXPECT(answer->local[0] && answer->domain[0]);
		FUZZ_EXPECT(!name_refusal(NAME_ADDRESS, answer->address, strlen(answer->address)));
		judge(delivery_address(reader, answer, address, &error), &error);
		break;
	case ROUTE_FORWARD:
		FUZZ_EXPECT(answer->target_count > 0);
		for (size_t i = 0; i < answer->target_count; i++)
			judge(delivery_target(reader, &answer->targets[i], address, &error), &error);
		break;
	case ROUTE_REMOTE:
		FUZZ_EXPECT(!name_refusal(NAME_ADDRESS, answer->address, strlen(answer->address)));
		break;
	case ROUTE_DISCARD:
		break;
	case ROUTE_REFUSE:
		FUZZ_EXPECT(answer->smtp >= 400 && answer->smtp < 600 && answer->status[0]);
		FUZZ_EXPECT(answer->text[0] && is_printable(answer->text));
		break;
	}
}

static void ask_route(struct directory_reader *reader, const char *name)
{
	static const char *const server_names[] = {"imap.client2.com", "special.client2.com", NULL};
	static const char *const addresses[] = {"192.0.2.2", "2001:db8:2:5::9", NULL};

	for (size_t i = 0; i < 3; i++) {
		struct route_answer answer = {0};
		struct route_trace trace = {0};
		struct error error = {0};
		struct ip ip;
		enum name_kind kind = i == 0 ? NAME_ADDRESS : NAME_LOGIN;
		struct route_question question = {
			.kind = kind, .name = name, .name_length = strlen(name),
			.server_name = server_names[i],
			.local_ip = addresses[i] && ip_parse(addresses[i], strlen(addresses[i]), &ip)
					    ? &ip : NULL};

		if (judge(route(reader, &question, &answer, &trace, &error), &error) == 0)
			check_answer(reader, kind, &answer);
		route_answer_finish(&answer);
		route_trace_finish(&trace);
	}
}

/* What cannot be decided is deferred, never accepted. */
static void ask_policy(struct directory_reader *reader, const char *name)
{
	struct policy_request request = {
		.request = {"smtpd_access_policy", 19},
		.protocol_state = {"RCPT", 4},
		.recipient = {name, strlen(name)},
	};
	struct policy_decision decision;
	struct error error = {0};

	policy_decide(reader, &request, NULL, &decision, &error);
	FUZZ_EXPECT(decision.reason && input_is_message(decision.action));
	if (error.code != ERROR_NONE)
		FUZZ_EXPECT(strncmp(decision.action, "451 4.3.0", 9) == 0 && decision.refuses);
	error_clear(&error);
	for (int map = 0; map < MAPS; map++) {
		struct map_decision answer;

		map_decide(reader, (enum map)map, name, strlen(name), &answer, &error);
		FUZZ_EXPECT(error.code == ERROR_NONE || answer.status == SOCKETMAP_TEMP);
		error_clear(&error);
		map_decision_finish(&answer);
	}
}

static void ask_name(struct directory_reader *reader, const char *name)
{
	static const enum entry_kind kinds[] = {ENTRY_ALIAS, ENTRY_FORWARDER, ENTRY_GROUP};
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE], credential[CREDENTIAL_SIZE];
	struct account account;
	struct domain_rules rules;
	struct rights_user user = {0};
	struct error error = {0};
	size_t sum = 0;

	ask_route(reader, name);
	ask_policy(reader, name);
	if (address_parse(name, strlen(name), local, domain))
		return;
	if (judge(account_lookup(reader, local, domain, &account, &error), &error) == 1)
		FUZZ_EXPECT(strlen(account.home) < sizeof account.home &&
			    strlen(account.uid) < sizeof account.uid);
	judge(account_groups(reader, local, domain, take_text, &sum, &error), &error);
	judge(directory_kind(reader, local, domain, &error), &error);
	if (judge(domain_lookup(reader, domain, &rules, &error), &error) == 1)
		FUZZ_EXPECT(strlen(rules.reroute) < sizeof rules.reroute);
	judge(credential_lookup(reader, local, domain, credential, &error), &error);
	for (size_t i = 0; i < 3; i++)
		judge(directory_each_target(reader, kinds[i], local, domain, take_text, &sum, &error),
		      &error);
	judge(rights_user_init(reader, name, &user, &error), &error);
	rights_user_finish(&user);
}

static void ask_all(struct directory_reader *reader, size_t first)
{
	struct directory_statistics statistics;
	struct error error = {0};
	size_t sum = 0;
	uint64_t number;

	judge(directory_main_domain(reader, &error) ? 0 : -1, &error);
	judge(directory_sequence(reader, &number, &error), &error);
	judge(directory_statistics(reader, &statistics, &error), &error);
	judge(directory_count_orphans(reader, &number, &error), &error);
	judge(directory_each_domain(reader, take_text, &sum, &error), &error);
	judge(directory_each_entry(reader, NULL, 0, take_entry, &sum, &error), &error);
	judge(directory_each_entry(reader, "client2.com", ENTRY_ALIAS, take_entry, &sum, &error),
	      &error);
	judge(directory_each_after(reader, "info", "company.com", 0, take_entry, &sum, &error), &error);
	json_t *json = config_export(reader, &error);
	judge(json ? 0 : -1, &error);
	json_decref(json);
	for (size_t i = 0; i < NAMES_ASKED; i++)
		ask_name(reader, names[(first * NAMES_ASKED + i) % NAMES]);
}

static void open_and_ask(size_t first)
{
	struct directory *directory;
	struct directory_reader *reader = NULL;
	struct error error = {0};

	if (judge(directory_open(folder, DIRECTORY_CREDENTIALS, &directory, &error), &error) < 0)
		return;
	if (judge(directory_reader_create(directory, &reader, &error), &error) == 0 &&
	    judge(directory_begin(reader, &error), &error) == 0) {
		ask_all(reader, first);
		directory_end(reader);
	}
	directory_reader_destroy(&reader);
	directory_close(&directory);
}

static void count_change(const struct config_change *change, void *context)
{
	*(size_t *)context += strlen(change->key);
}

static int change(struct directory_writer *writer, unsigned choice, struct error *error)
{
	size_t sum = 0;

	switch (choice % 8) {
	case 0:
		return directory_apply(writer, config, false, count_change, &sum, error);
	case 1:
		return directory_account_delete(writer, "info", "company.com", true, error);
	case 2:
		return directory_account_rename(writer, "bob", "client1.com", "rob", "company.com",
						error);
	case 3:
		return directory_alias_add(writer, "new", "company.com", "chain1@company.com", error);
	case 4:
		return directory_group_remove(writer, "inner", "client1.com",
					      (const char *const[]){"bob@client1.com"}, 1, error);
	case 5:
		return directory_name_delete(writer, ENTRY_GROUP, "staff", "company.com", error);
	case 6:
		return directory_account_add(
			writer,
			&(struct account_change){.local = "new", .domain = "client1.com",
						 .groups = (const char *const[]){"staff@company.com",
										 NULL}},
			error);
	default:
		return directory_password_set(writer, "info", "company.com", NULL, error);
	}
}

static void write_and_ask(unsigned choice)
{
	struct directory_writer *writer;
	struct error error = {0};

	if (judge(directory_writer_open(folder, false, &writer, &error), &error) < 0)
		return;
	int result = judge(change(writer, choice, &error), &error);
	directory_writer_close(&writer);
	if (result >= 0)
		open_and_ask(choice);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	if (length == 0)
		return 0;
	unsigned choice = bytes[length - 1];
	struct input input = input_of(bytes, length - 1);

	make_once();
	stored_change(&directory_file, &input, 16);
	stored_change(&credentials_file, &input, 4);
	open_and_ask(choice);
	if (choice < 128)
		write_and_ask(choice);
	stored_forget();
	return 0;
}
