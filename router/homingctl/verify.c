/* verify: does every name in the directory lead where it says? */
#include "command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "directory-format.h"
#include "output.h"
#include "progress.h"
#include "route.h"
#include "session.h"
#include "store.h"

struct verify {
	struct directory_reader *reader;
	struct progress progress;
	json_t *found; /* with --json */
	size_t findings, names;
	struct error error;
};

static void HOMING_PRINTF(3, 4) report(struct verify *verify, const char *name,
				       const char *format, ...)
{
	char text[2048];
	va_list args;

	va_start(args, format);
	vsnprintf(text, sizeof text, format, args);
	va_end(args);
	verify->findings++;
	progress_clear(&verify->progress);
	if (verify->found)
		json_array_append_new(verify->found, json_pack("{s:o,s:o}", "name", json_text(name),
							       "problem", json_text(text)));
	else
		print("%s: %s\n", name, text);
}

static int ask(struct verify *verify, enum name_kind kind, const char *name,
	       struct route_answer *answer)
{
	struct route_question question = {
		.kind = kind,
		.name = name,
		.name_length = strlen(name),
	};

	*answer = (struct route_answer){0};
	return route(verify->reader, &question, answer, NULL, &verify->error);
}

/* What an answer says, for a sentence. */
static const char *describe(const struct route_answer *answer, char *text, size_t size)
{
	if (answer->result == ROUTE_REFUSE)
		snprintf(text, size, "is refused (%s)", route_reason_name(answer->reason));
	else if (answer->address[0])
		snprintf(text, size, "leads to %s", answer->address);
	else
		snprintf(text, size, "is a %s", route_result_name(answer->result));
	return text;
}

static bool is_account(const struct route_answer *answer, const char *address)
{
	return answer->result == ROUTE_ACCOUNT && strcmp(answer->address, address) == 0;
}

static void judge_account(struct verify *verify, const char *address,
			  const struct route_answer *login, const struct route_answer *mail)
{
	char text[NAME_SIZE + 64];

	if (!is_account(login, address))
		report(verify, address, "the account cannot log in by its own name: a login %s",
		       describe(login, text, sizeof text));
	if (!is_account(mail, address))
		report(verify, address, "the account does not get its own mail: the address %s",
		       describe(mail, text, sizeof text));
}

/* An alias of an account opens that account; any other alias cannot log in. */
static void judge_alias(struct verify *verify, const char *address,
			const struct route_answer *login, const struct route_answer *mail)
{
	char text[NAME_SIZE + 64], other[NAME_SIZE + 64];

	if (mail->result == ROUTE_REFUSE)
		report(verify, address, "the alias leads nowhere: mail %s",
		       describe(mail, text, sizeof text));
	else if (mail->result == ROUTE_ACCOUNT ? !is_account(login, mail->address)
					       : login->result != ROUTE_REFUSE)
		report(verify, address, "the alias means two things: mail %s, a login %s",
		       describe(mail, text, sizeof text), describe(login, other, sizeof other));
}

static int verify_routes(struct verify *verify, enum entry_kind kind, const char *address)
{
	struct route_answer login = {0}, mail = {0};
	int answer = 0;

	if (ask(verify, NAME_LOGIN, address, &login) < 0 ||
	    ask(verify, NAME_ADDRESS, address, &mail) < 0) {
		answer = -1;
	} else if (kind == ENTRY_ACCOUNT) {
		judge_account(verify, address, &login, &mail);
	} else if (kind == ENTRY_ALIAS) {
		judge_alias(verify, address, &login, &mail);
	} else {
		char text[NAME_SIZE + 64];
		if (login.result != ROUTE_REFUSE)
			report(verify, address, "neither an account nor an alias, but a login %s",
			       describe(&login, text, sizeof text));
	}
	route_answer_finish(&login);
	route_answer_finish(&mail);
	return answer;
}

/* An alias, a forwarder or a group on its way through its targets. */
struct holder {
	struct verify *verify;
	enum entry_kind kind;
	const char *address;
};

static int verify_target(const char *target, void *context)
{
	const struct holder *holder = context;
	struct verify *verify = holder->verify;
	struct route_answer mail;
	const char *what = holder->kind == ENTRY_GROUP ? "member" : "target";
	int answer = ask(verify, NAME_ADDRESS, target, &mail);

	if (answer == 0 && mail.result == ROUTE_REFUSE)
		report(verify, holder->address, "the %s %s does not exist: it is refused (%s)", what,
		       target, route_reason_name(mail.reason));
	route_answer_finish(&mail);
	return answer;
}

static int verify_targets(struct verify *verify, enum entry_kind kind, const char *local,
			  const char *domain, const char *address)
{
	struct holder holder = {.verify = verify, .kind = kind, .address = address};

	if (kind != ENTRY_FORWARDER && kind != ENTRY_GROUP)
		return 0;
	return directory_each_target(verify->reader, kind, local, domain, verify_target, &holder,
				     &verify->error);
}

static int verify_entry(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	struct verify *verify = context;
	struct domain_rules rules;
	char address[ADDRESS_SIZE];
	int found = domain_lookup(verify->reader, domain, &rules, &verify->error);

	progress_step(&verify->progress, ++verify->names);
	snprintf(address, sizeof address, "%s@%s", local, domain);
	if (found < 0)
		return -1;
	if (found == 0) {
		report(verify, address, "out of reach: its domain is not in homing.json");
		return 0;
	}
	if (kind == ENTRY_ACCOUNT && rules.accounts != ACCOUNTS_DIRECTORY) {
		report(verify, address, "out of reach: the accounts of its domain are kept outside the "
					"directory");
		return 0;
	}
	if (verify_routes(verify, kind, address) < 0)
		return -1;
	return verify_targets(verify, kind, local, domain, address);
}

/* Calls `each` with every key and value of a table. 0, or -1 with the error. */
typedef int pair_cb(struct verify *verify, const MDB_val *key, const MDB_val *value);

static int each_pair(struct verify *verify, struct store_reader *store, unsigned table,
		     pair_cb *each)
{
	MDB_cursor *cursor;
	MDB_val key, value;
	int answer = store_cursor(store, table, &cursor, &verify->error);

	if (answer < 0)
		return -1;
	int rc = mdb_cursor_get(cursor, &key, &value, MDB_FIRST);
	while (rc == 0 && answer == 0) {
		answer = each(verify, &key, &value);
		rc = mdb_cursor_get(cursor, &key, &value, MDB_NEXT);
	}
	mdb_cursor_close(cursor);
	if (answer == 0 && rc != MDB_NOTFOUND)
		return error_set(&verify->error, ERROR_IO, "%s", mdb_strerror(rc));
	return answer;
}

struct target_search {
	const char *wanted;
	bool found;
};

static int match_target(const char *target, void *context)
{
	struct target_search *search = context;

	search->found = address_is(target, search->wanted);
	return search->found ? 1 : 0;
}

/* A reference says that something leads to the key: does that exist? */
static int verify_reference(struct verify *verify, const MDB_val *key, const MDB_val *value)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE], to_local[LOCAL_SIZE], to_domain[DOMAIN_SIZE];
	char address[ADDRESS_SIZE], target[ADDRESS_SIZE];
	const char *bytes = value->mv_data;

	if (!name_key_split(key->mv_data, key->mv_size, to_local, to_domain) || value->mv_size < 1 ||
	    !name_key_split(bytes + 1, value->mv_size - 1, local, domain))
		return error_set(&verify->error, ERROR_CORRUPT, "references: an entry does not parse");
	snprintf(address, sizeof address, "%s@%s", local, domain);
	snprintf(target, sizeof target, "%s@%s", to_local, to_domain);
	int kind = directory_kind(verify->reader, local, domain, &verify->error);
	if (kind < 0)
		return -1;
	if (kind != (unsigned char)bytes[0]) {
		report(verify, target, "an orphan reference: %s, which led here, is gone", address);
		return 0;
	}
	struct target_search search = {.wanted = target};
	if (directory_each_target(verify->reader, (enum entry_kind)kind, local, domain, match_target,
				  &search, &verify->error) < 0)
		return -1;
	if (!search.found)
		report(verify, target, "an orphan reference: %s does not lead here", address);
	return 0;
}

static int verify_credential(struct verify *verify, const MDB_val *key, const MDB_val *value)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE], address[ADDRESS_SIZE];

	if (!name_key_split(key->mv_data, key->mv_size, local, domain))
		return error_set(&verify->error, ERROR_CORRUPT, "credentials: a key does not parse");
	snprintf(address, sizeof address, "%s@%s", local, domain);
	int kind = directory_kind(verify->reader, local, domain, &verify->error);
	if (kind < 0)
		return -1;
	if (kind != ENTRY_ACCOUNT)
		report(verify, address, "an orphan password: there is no such account");
	const char *text = value->mv_data;
	if (value->mv_size < 2 || text[0] != '{' || text[value->mv_size - 1] != '\0')
		report(verify, address, "the stored password is not of the form {SCHEME}hash");
	return 0;
}

/* Routing may read a domain's rules from either of two places. */
static int verify_rules(struct verify *verify, const MDB_val *key, const MDB_val *value)
{
	char domain[DOMAIN_SIZE], rules_key[NAME_KEY_SIZE];
	MDB_val rules;

	snprintf(domain, sizeof domain, "%.*s", (int)key->mv_size, (const char *)key->mv_data);
	int found = store_get(directory_store_reader(verify->reader), TABLE_NAMES, rules_key,
			      name_domain_key(domain, rules_key), &rules, &verify->error);
	if (found < 0)
		return -1;
	const char *bytes = rules.mv_data;
	if (found == 0 || rules.mv_size < 1 || rules.mv_size - 1 > value->mv_size ||
	    bytes[0] != NAME_DOMAIN || memcmp(bytes + 1, value->mv_data, rules.mv_size - 1) != 0)
		report(verify, domain, "the domain's rules in front of its names are not those of the "
				       "domain: apply homing.json to a new place, and import the accounts");
	return 0;
}

/* The passwords have a file of their own, which not everybody may read. */
static int verify_credentials(struct verify *verify, const struct call *call, bool *skipped_r)
{
	struct store *store = NULL;
	struct store_reader *reader = NULL;
	struct error error = {0};
	char *path;
	int answer = -1;

	if (asprintf(&path, "%s/%s", call->directory, CREDENTIALS_FILE) < 0)
		return error_set(&verify->error, ERROR_MEMORY, "out of memory");
	if (store_open(path, credentials_tables, &store, &error) < 0) {
		*skipped_r = error.code == ERROR_PERMISSION;
		answer = *skipped_r ? 0 : error_set(&verify->error, error.code, "%s", error.text);
	} else if (store_reader_create(store, &reader, &verify->error) == 0 &&
		   store_begin(reader, &verify->error) == 0) {
		answer = each_pair(verify, reader, TABLE_CREDENTIALS, verify_credential);
	}
	store_reader_destroy(&reader);
	store_close(&store);
	free(path);
	return answer;
}

static int verify_all(struct verify *verify, const struct call *call, bool *skipped_r)
{
	struct directory_statistics counts;

	if (directory_statistics(verify->reader, &counts, &verify->error) < 0)
		return -1;
	progress_phase(&verify->progress, "verifying", counts.names);
	if (directory_each_entry(verify->reader, NULL, 0, verify_entry, verify, &verify->error) != 0)
		return -1;
	if (verify->names != counts.names)
		report(verify, "names", "the rules of domains that are no more stand in front of names: "
					"apply homing.json to a new place, and import the accounts");
	if (each_pair(verify, directory_store_reader(verify->reader), TABLE_DOMAINS, verify_rules) < 0)
		return -1;
	if (each_pair(verify, directory_store_reader(verify->reader), TABLE_REFERENCES,
		      verify_reference) < 0)
		return -1;
	return verify_credentials(verify, call, skipped_r);
}

static int run_verify(const struct call *call)
{
	struct verify verify = {.found = has_option(call, OPTION_JSON) ? json_array() : NULL};
	struct session session;
	bool skipped = false;
	int code = session_open(call, DIRECTORY_NAMES, &session);

	if (code != 0) {
		json_decref(verify.found);
		return code;
	}
	verify.reader = session.reader;
	progress_init(&verify.progress);
	int answer = verify_all(&verify, call, &skipped);
	progress_clear(&verify.progress);
	code = verify.findings > 0 ? EX_DATAERR : EX_OK;
	if (answer != 0)
		code = fail(&verify.error, EX_NOINPUT);
	if (skipped)
		complain("%s/%s: may not be read: the passwords are not checked", call->directory,
			 CREDENTIALS_FILE);
	if (verify.found)
		print_json(json_pack("{s:I,s:o}", "names", (json_int_t)verify.names, "found",
				     verify.found));
	else if (answer == 0)
		print("%zu name%s checked, %zu problem%s\n", verify.names, verify.names == 1 ? "" : "s",
		      verify.findings, verify.findings == 1 ? "" : "s");
	session_close(&session);
	return code;
}

const struct command verify_command = {
	.name = "verify",
	.usage = "[--json]",
	.summary = "Route every name as a login and as an address: they must agree",
	.help = "Reports accounts that their own name does not reach, aliases that mean two things or\n"
		"nothing, forwarder targets and group members that do not exist, and passwords and\n"
		"references that belong to nobody. Exits 65 if anything is found.\n",
	.run = run_verify,
};
