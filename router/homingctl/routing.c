/* route: which account a name means, and why. */
#include "command.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>
#include <unistd.h>

#include "batch-line.h"
#include "output.h"
#include "route.h"
#include "session.h"

static int json_add(json_t *object, const char *key, json_t *value)
{
	return json_object_set_new(object, key, value);
}

static json_t *steps_json(const struct route_trace *trace)
{
	json_t *steps = json_array();

	for (size_t i = 0; i < trace->count; i++) {
		const struct route_step *step = &trace->steps[i];
		json_t *object = json_object();

		json_add(object, "rule", json_text(step->rule));
		json_add(object, "from", json_text(step->from));
		json_add(object, "to", json_text(step->to));
		if (step->why)
			json_add(object, "why", json_text(step->why));
		json_array_append_new(steps, object);
	}
	return steps;
}

/* A target as mail is sent to it: with its detail and mailbox. */
static char *target_text(struct directory_reader *reader, const struct route_target *target)
{
	const char *at = name_find_at(target->address, strlen(target->address));
	struct domain_rules rules = {.delimiter = '+'};
	struct error ignored = {0};
	char *text;

	if (target->remote || !at || (!target->detail && !target->mailbox))
		return strdup(target->address);
	if (domain_lookup(reader, at + 1, &rules, &ignored) <= 0)
		rules.delimiter = '+';
	if (asprintf(&text, "%s%s%.*s%.*s%s%s", target->mailbox ? target->mailbox : "",
		     target->mailbox ? "#" : "", (int)(at - target->address), target->address,
		     target->detail ? 1 : 0, &rules.delimiter, target->detail ? target->detail : "",
		     at) < 0)
		return NULL;
	return text;
}

static void add_result(json_t *object, struct directory_reader *reader,
		       const struct route_answer *answer)
{
	json_add(object, "result", json_text(route_result_name(answer->result)));
	switch (answer->result) {
	case ROUTE_ACCOUNT:
		json_add(object, "account", json_text(answer->address));
		json_add(object, "detail", json_text(answer->has_detail ? answer->detail : NULL));
		json_add(object, "mailbox", json_text(answer->mailbox[0] ? answer->mailbox : NULL));
		if (answer->flags & (ROUTE_EXTERNAL | ROUTE_DOVECOT))
			json_add(object, "external", json_true());
		break;
	case ROUTE_FORWARD: {
		json_t *targets = json_array();
		for (size_t i = 0; i < answer->target_count; i++) {
			char *text = target_text(reader, &answer->targets[i]);
			json_array_append_new(targets, json_text(text));
			free(text);
		}
		json_add(object, "targets", targets);
		break;
	}
	case ROUTE_REMOTE:
		json_add(object, "address", json_text(answer->address));
		json_add(object, "relay", json_boolean(answer->relay));
		break;
	case ROUTE_DISCARD:
		break;
	case ROUTE_REFUSE:
		json_add(object, "reason", json_text(route_reason_name(answer->reason)));
		json_add(object, "smtp", json_integer(answer->smtp));
		json_add(object, "status", json_text(answer->status));
		json_add(object, "text", json_text(answer->text));
		break;
	}
	if (answer->flags & ROUTE_EXPLICIT)
		json_add(object, "explicit", json_true());
	if (answer->flags & ROUTE_LITERAL)
		json_add(object, "literal", json_true());
}

static json_t *answer_json(struct directory_reader *reader, const struct route_question *question,
			   const struct route_answer *answer, const struct route_trace *trace)
{
	json_t *object = json_object();

	json_add(object, "input", json_bytes(question->name, question->name_length));
	add_result(object, reader, answer);
	if (trace)
		json_add(object, "steps", steps_json(trace));
	return object;
}

/* The answer as one line for people, or several for a forward. */
static void print_answer(struct directory_reader *reader, const struct route_answer *answer)
{
	print("%s", route_result_name(answer->result));
	switch (answer->result) {
	case ROUTE_ACCOUNT:
		print(" %s", answer->address);
		if (answer->has_detail)
			print(" detail=%s", answer->detail);
		if (answer->mailbox[0])
			print(" mailbox=%s", answer->mailbox);
		if (answer->flags & (ROUTE_EXTERNAL | ROUTE_DOVECOT))
			print(" external");
		break;
	case ROUTE_FORWARD:
		for (size_t i = 0; i < answer->target_count; i++) {
			char *text = target_text(reader, &answer->targets[i]);
			print(" %s", text ? text : "");
			free(text);
		}
		break;
	case ROUTE_REMOTE:
		print(" %s%s", answer->address, answer->relay ? " relay" : "");
		break;
	case ROUTE_DISCARD:
		break;
	case ROUTE_REFUSE:
		print(" %s %d %s %s", route_reason_name(answer->reason), answer->smtp, answer->status,
		      answer->text);
		break;
	}
	print("\n");
}

static void explain_typed(const struct route_question *question, const char *local_ip)
{
	fputs("typed: ", stdout);
	print_bytes(stdout, question->name, question->name_length);
	fputs(question->kind == NAME_LOGIN ? " (a login" : " (a mail address", stdout);
	if (local_ip)
		print(", to the server's address %s", local_ip);
	if (question->server_name && question->server_name[0])
		print(", TLS server name %s", question->server_name);
	fputs(")\n", stdout);
}

static void explain_steps(const struct route_trace *trace)
{
	for (size_t i = 0; i < trace->count; i++) {
		const struct route_step *step = &trace->steps[i];

		print("%4zu. %-14s %s", i + 1, step->rule, step->from ? step->from : "");
		if (step->to && (!step->from || strcmp(step->from, step->to) != 0))
			print(" -> %s", step->to);
		print("\n");
		if (step->why)
			print("      %-14s because: %s\n", "", step->why);
	}
	if (trace->failed)
		print("      (out of memory: steps are missing)\n");
}

static void explain_account(const struct route_answer *answer, bool login)
{
	print(login ? "it opens the account %s" : "mail goes to the account %s", answer->address);
	if (answer->mailbox[0])
		print(", mailbox %s", answer->mailbox);
	if (answer->has_detail)
		print(", with the detail %s", answer->detail);
	if (answer->flags & (ROUTE_EXTERNAL | ROUTE_DOVECOT))
		print(", if the server's own user database knows it: Homing does not keep the accounts of "
		      "%s", answer->domain);
	print(".\n");
}

static void explain_result(struct directory_reader *reader, const struct route_question *question,
			   const struct route_answer *answer)
{
	bool login = question->kind == NAME_LOGIN;

	print("result: ");
	switch (answer->result) {
	case ROUTE_ACCOUNT:
		explain_account(answer, login);
		break;
	case ROUTE_FORWARD:
		print("mail goes to %zu address%s:\n", answer->target_count,
		      answer->target_count == 1 ? "" : "es");
		for (size_t i = 0; i < answer->target_count; i++) {
			char *text = target_text(reader, &answer->targets[i]);
			print("      %s%s\n", text ? text : "", answer->targets[i].remote ? " (elsewhere)" : "");
			free(text);
		}
		break;
	case ROUTE_REMOTE:
		print("mail goes on to %s, which is not ours%s.\n", answer->address,
		      answer->relay ? "; an explicit route leads there, so the client must be allowed to "
				      "relay" : "");
		break;
	case ROUTE_DISCARD:
		print("mail is accepted and dropped.\n");
		break;
	case ROUTE_REFUSE:
		print("it is refused (%s)", route_reason_name(answer->reason));
		if (!login)
			print(" with %d %s", answer->smtp, answer->status);
		print(": %s\n", answer->text);
		break;
	}
}

static int answer_code(const struct route_answer *answer)
{
	return answer->result == ROUTE_REFUSE ? EX_NOUSER : EX_OK;
}

/* The kind from --login and --address. */
static int question_kind(const struct call *call, enum name_kind *kind_r)
{
	if (has_option(call, OPTION_LOGIN) == has_option(call, OPTION_ADDRESS)) {
		complain("route: give either --login or --address");
		return EX_USAGE;
	}
	*kind_r = has_option(call, OPTION_LOGIN) ? NAME_LOGIN : NAME_ADDRESS;
	return 0;
}

static int route_one(const struct call *call, struct session *session,
		     const struct route_question *question)
{
	bool json = has_option(call, OPTION_JSON), explain = has_option(call, OPTION_EXPLAIN);
	struct route_trace trace = {0};
	struct route_answer answer = {0};
	struct error error = {0};
	int code;

	if (route(session->reader, question, &answer, json || explain ? &trace : NULL, &error) < 0) {
		fail(&error, EX_TEMPFAIL);
		code = EX_TEMPFAIL;
	} else {
		code = answer_code(&answer);
		if (json) {
			int printed = print_json(answer_json(session->reader, question, &answer, &trace));
			code = printed != EX_OK ? printed : code;
		} else if (explain) {
			explain_typed(question, call->options[OPTION_LOCAL_IP]);
			explain_steps(&trace);
			explain_result(session->reader, question, &answer);
		} else {
			print_answer(session->reader, &answer);
		}
	}
	route_answer_finish(&answer);
	route_trace_finish(&trace);
	return code;
}

static int batch_error(size_t number, const char *text)
{
	json_t *object = json_object();

	json_add(object, "error", json_text(text));
	json_add(object, "line", json_integer((json_int_t)number));
	return print_json(object);
}

static int batch_route(const struct call *call, struct directory_reader *reader, size_t number,
		       const struct route_question *question)
{
	bool explain = has_option(call, OPTION_EXPLAIN);
	struct route_trace trace = {0};
	struct route_answer answer = {0};
	struct error error = {0};
	int code = EX_OK;

	/* A snapshot for each line: a long batch sees what is applied meanwhile. */
	if (directory_begin(reader, &error) < 0 ||
	    route(reader, question, &answer, explain ? &trace : NULL, &error) < 0) {
		batch_error(number, error.text);
		code = EX_TEMPFAIL;
	} else {
		code = print_json(answer_json(reader, question, &answer, explain ? &trace : NULL));
	}
	route_answer_finish(&answer);
	route_trace_finish(&trace);
	directory_end(reader);
	return code;
}

static int answer_line(const struct call *call, struct directory_reader *reader, size_t number,
		       char *line, size_t length)
{
	struct route_question question;
	struct ip ip;
	const char *why = batch_line_parse(line, length, &question, &ip);

	if (why) {
		int code = batch_error(number, why);
		return code != EX_OK ? code : EX_DATAERR;
	}
	return batch_route(call, reader, number, &question);
}

static int route_batch(const struct call *call, struct session *session)
{
	char *line = NULL;
	size_t size = 0, number = 0;
	ssize_t length;
	int worst = EX_OK;

	/* A program that asks and waits for each answer gets it at once. */
	if (isatty(STDOUT_FILENO) || lseek(STDIN_FILENO, 0, SEEK_CUR) < 0)
		setvbuf(stdout, NULL, _IOLBF, BUFSIZ);
	directory_end(session->reader);
	while ((length = getline(&line, &size, stdin)) >= 0) {
		if (length > 0 && line[length - 1] == '\n')
			line[--length] = '\0';
		int code = answer_line(call, session->reader, ++number, line, (size_t)length);
		if (code == EX_TEMPFAIL || worst == EX_OK)
			worst = code;
		if (code == EX_IOERR || code == EX_OSERR) {
			worst = code;
			break;
		}
	}
	if (ferror(stdin)) {
		complain("standard input: %s", strerror(errno));
		worst = EX_IOERR;
	}
	free(line);
	return worst;
}

static int parse_question(const struct call *call, struct route_question *question, struct ip *ip)
{
	const char *local_ip = call->options[OPTION_LOCAL_IP];

	if (call->argument_count != 1) {
		complain("usage: homingctl route %s", call->command->usage);
		return EX_USAGE;
	}
	int code = question_kind(call, &question->kind);
	if (code != 0)
		return code;
	if (local_ip && !ip_parse(local_ip, strlen(local_ip), ip)) {
		complain("--local-ip %s: not an IP address", local_ip);
		return EX_USAGE;
	}
	question->local_ip = local_ip ? ip : NULL;
	question->server_name = call->options[OPTION_SERVER_NAME];
	question->name = call->arguments[0];
	question->name_length = strlen(call->arguments[0]);
	return 0;
}

static int check_batch(const struct call *call)
{
	static const enum option_id others[] = {OPTION_LOGIN, OPTION_ADDRESS, OPTION_LOCAL_IP,
						OPTION_SERVER_NAME};

	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++) {
		if (has_option(call, others[i])) {
			complain("route --batch: %s is a matter of each line", option_name(others[i]));
			return EX_USAGE;
		}
	}
	if (call->argument_count > 0) {
		complain("route --batch reads the names from standard input");
		return EX_USAGE;
	}
	return 0;
}

static int run_route(const struct call *call)
{
	bool batch = has_option(call, OPTION_BATCH);
	struct route_question question = {0};
	struct session session;
	struct ip ip;
	int code = batch ? check_batch(call) : parse_question(call, &question, &ip);

	if (code != 0)
		return code;
	/* Whatever is wrong with the directory: no name was decided, ask again later. */
	if (session_open(call, DIRECTORY_NAMES, &session) != 0)
		return EX_TEMPFAIL;
	code = batch ? route_batch(call, &session) : route_one(call, &session, &question);
	session_close(&session);
	return code;
}

const struct command route_command = {
	.name = "route",
	.usage = "(--login|--address) NAME [--local-ip IP] [--server-name TLSNAME]\n"
		 "           [--explain] [--json]\n"
		 "       homingctl route --batch [--explain]",
	.summary = "Say which account a login or an address means",
	.help = "  --login           NAME is what was typed as the user name\n"
		"  --address         NAME is a mail address\n"
		"  --local-ip IP     the server's address that the client came to\n"
		"  --server-name N   the TLS server name that the client asked for (SNI)\n"
		"  --explain         each step: the rule, from, to, and why\n"
		"  --batch           read lines `login|address TAB name TAB local-ip TAB server-name`,\n"
		"                    the last two may be empty; print a JSON object for each. With\n"
		"                    --explain the objects have the steps. A bad line gives an object\n"
		"                    with \"error\", and exit code 65 at the end.\n\n"
		"Exits 67 where the name is refused, 75 where the directory cannot be read.\n",
	.options = OPTION(OPTION_LOGIN) | OPTION(OPTION_ADDRESS) | OPTION(OPTION_LOCAL_IP) |
		   OPTION(OPTION_SERVER_NAME) | OPTION(OPTION_EXPLAIN) | OPTION(OPTION_BATCH),
	.most = ANY_NUMBER,
	.run = run_route,
};
