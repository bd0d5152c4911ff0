/* share grant, revoke, list, with, verify: rights on mailboxes. */
#include "command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "output.h"
#include "share-names.h"
#include "sharing-write.h"

/* OWNER MAILBOX [WHO] of a call; the session is open, for the identifier's sake. */
struct target {
	struct session session;
	struct share_owner owner;
	char mailbox[MAILBOX_SIZE];
	char separator;
	struct grant_change change;
	bool negative;
};

static int open_target(const struct call *call, struct target *target)
{
	int code = share_separator(call, &target->separator);

	if (code == 0)
		code = session_open(call, DIRECTORY_NAMES, &target->session);
	if (code == 0)
		code = share_owner_parse(&target->session, call->arguments[0], &target->owner);
	if (code == 0 && call->argument_count > 1)
		code = share_mailbox_parse(call->arguments[1], target->separator, target->mailbox);
	if (code == 0 && call->argument_count > 2)
		code = share_who_parse(&target->session, call->arguments[2], target->owner.domain,
				       &target->change.who, &target->negative);
	return code;
}

/* `lrs`, `+w`, `-t`, `all`, and "" for none. */
static int parse_rights(const char *text, struct target *target)
{
	enum grant_change_mode mode = GRANT_REPLACE;
	const char *letters = text;
	uint16_t rights = RIGHTS_ALL;

	if (*letters == '+' || *letters == '-')
		mode = *letters++ == '+' ? GRANT_ADD : GRANT_REMOVE;
	const char *why = strcmp(letters, "all") == 0
				  ? NULL
				  : rights_parse(letters, strlen(letters), &rights);
	if (why) {
		complain("%s: %s; or `all`, with + or - in front to add "
			 "them to what is there or take them away", text, why);
		return EX_DATAERR;
	}
	if (target->negative) {
		target->change.negative_mode = mode;
		target->change.negative = rights;
	} else {
		target->change.mode = mode;
		target->change.rights = rights;
	}
	return 0;
}

static int open_writer(const struct call *call, struct sharing_writer **writer_r)
{
	struct error error = {0};

	if (sharing_writer_open(call->directory, writer_r, &error) < 0)
		return fail(&error, EX_NOINPUT);
	return 0;
}

static int open_sharing(const struct call *call, struct sharing **sharing_r)
{
	struct error error = {0};

	if (sharing_open(call->directory, sharing_r, &error) < 0)
		return fail(&error, EX_NOINPUT);
	if (sharing_begin(*sharing_r, &error) == 0)
		return 0;
	sharing_close(sharing_r);
	return fail(&error, EX_NOINPUT);
}

static void close_sharing(struct sharing **sharing)
{
	sharing_end(*sharing);
	sharing_close(sharing);
}

static int write_change(const struct call *call, const struct target *target)
{
	static const struct sharing_actor server = {.allow_anyone = true};
	struct sharing_writer *writer;
	struct error error = {0};
	int code = open_writer(call, &writer);

	if (code != 0)
		return code;
	if (sharing_change(writer, &server, target->owner.name, target->mailbox, &target->change,
			   &error) < 0)
		code = fail(&error, EX_NOUSER);
	sharing_writer_close(&writer);
	return code;
}

static int run_grant(const struct call *call)
{
	struct target target = {0};
	int code = open_target(call, &target);

	if (code == 0)
		code = parse_rights(call->arguments[3], &target);
	session_close(&target.session);
	return code == 0 ? write_change(call, &target) : code;
}

/* Every grant of a mailbox, to be taken back one by one in one transaction. */
struct revocation {
	const struct target *target;
	struct grantee *who;
	size_t count, next;
};

static int collect_grantee(const struct grant *grant, void *context)
{
	struct revocation *revocation = context;
	struct grantee *grown =
		realloc(revocation->who, (revocation->count + 1) * sizeof *revocation->who);

	if (!grown)
		return 1;
	revocation->who = grown;
	grown[revocation->count++] = grant->who;
	return 0;
}

static int next_revocation(void *context, const char **owner, const char **mailbox,
			   struct grant_change *change, struct error *error)
{
	struct revocation *revocation = context;

	(void)error;
	if (revocation->next == revocation->count)
		return 0;
	*owner = revocation->target->owner.name;
	*mailbox = revocation->target->mailbox;
	*change = (struct grant_change){
		.who = revocation->who[revocation->next++],
		.mode = GRANT_CLEAR,
		.negative_mode = GRANT_CLEAR,
	};
	return 1;
}

static void rewind_revocation(void *context)
{
	struct revocation *revocation = context;

	revocation->next = 0;
}

static int collect_grantees(const struct call *call, struct revocation *revocation)
{
	const struct target *target = revocation->target;
	struct sharing *sharing;
	struct error error = {0};
	int code = open_sharing(call, &sharing);

	if (code != 0)
		return code;
	int answer = sharing_each_grant(sharing, target->owner.name, target->mailbox, collect_grantee,
					revocation, &error);
	if (answer != 0)
		code = answer < 0 ? fail(&error, EX_NOINPUT) : fail_memory();
	close_sharing(&sharing);
	return code;
}

static int revoke_all(const struct call *call, const struct target *target)
{
	struct revocation revocation = {.target = target};
	struct sharing_source source = {
		.next = next_revocation,
		.rewind = rewind_revocation,
		.context = &revocation,
	};
	struct sharing_writer *writer;
	struct error error = {0};
	int code = collect_grantees(call, &revocation);

	if (code == 0 && revocation.count > 0) {
		code = open_writer(call, &writer);
		if (code == 0) {
			if (sharing_import(writer, &source, &error) < 0)
				code = fail(&error, EX_NOUSER);
			sharing_writer_close(&writer);
		}
	}
	free(revocation.who);
	return code;
}

/* One that is not there is as good as taken back. */
static int run_revoke(const struct call *call)
{
	struct target target = {0};
	int code = open_target(call, &target);

	session_close(&target.session);
	if (code != 0)
		return code;
	if (call->argument_count < 3)
		return revoke_all(call, &target);
	if (target.negative)
		target.change.negative_mode = GRANT_CLEAR;
	else
		target.change.mode = GRANT_CLEAR;
	return write_change(call, &target);
}

/* Listing */

struct listing {
	bool json;
	char separator;
	json_t *rows;
	const char *only_mailbox; /* NULL: all */
	bool memory;		  /* ran out of it */
};

static void add_rights(json_t *row, const char *key, bool has, uint16_t rights)
{
	char letters[RIGHTS_SIZE];

	rights_format(rights, letters);
	json_object_set_new(row, key, has ? json_text(letters) : json_null());
}

static void print_grant(const char *owner, const char *mailbox, const char *who,
			const struct grant *grant)
{
	char letters[RIGHTS_SIZE];

	if (grant->has_rights) {
		rights_format(grant->rights, letters);
		print("%s %s %s %s\n", owner, mailbox, who, letters[0] ? letters : "\"\"");
	}
	if (grant->has_negative) {
		rights_format(grant->negative, letters);
		print("%s %s -%s %s\n", owner, mailbox, who, letters[0] ? letters : "\"\"");
	}
}

static int list_grant(const char *owner, const char *mailbox, const struct grant *grant,
		      void *context)
{
	struct listing *listing = context;
	char who[GRANTEE_SIZE];

	if (listing->only_mailbox && strcmp(listing->only_mailbox, mailbox) != 0)
		return 0;
	char *text = share_mailbox_text(mailbox, listing->separator);
	if (!text) {
		listing->memory = true;
		return 1;
	}
	grantee_format(&grant->who, who);
	if (listing->json) {
		json_t *row = json_object();

		json_object_set_new(row, "owner", json_text(owner));
		json_object_set_new(row, "mailbox", json_text(text));
		json_object_set_new(row, "who", json_text(who));
		add_rights(row, "rights", grant->has_rights, grant->rights);
		add_rights(row, "negative", grant->has_negative, grant->negative);
		json_array_append_new(listing->rows, row);
	} else {
		print_grant(owner, text, who, grant);
	}
	free(text);
	return 0;
}

static int run_list(const struct call *call)
{
	struct target target = {0};
	struct listing listing = {.json = has_option(call, OPTION_JSON)};
	struct sharing *sharing;
	struct error error = {0};
	int code = call->argument_count > 0 ? open_target(call, &target)
					    : share_separator(call, &target.separator);

	session_close(&target.session);
	if (code == 0)
		code = open_sharing(call, &sharing);
	if (code != 0)
		return code;
	listing.separator = target.separator;
	listing.only_mailbox = call->argument_count > 1 ? target.mailbox : NULL;
	listing.rows = listing.json ? json_array() : NULL;
	if (sharing_each_of_owner(sharing, call->argument_count > 0 ? target.owner.name : NULL,
				  list_grant, &listing, &error) < 0)
		code = fail(&error, EX_NOINPUT);
	else if (listing.memory)
		code = fail_memory();
	close_sharing(&sharing);
	if (listing.json && code == 0)
		return print_json(listing.rows);
	json_decref(listing.rows);
	return code;
}

static int list_visible(const char *owner, const char *mailbox, uint16_t rights, void *context)
{
	struct listing *listing = context;
	char letters[RIGHTS_SIZE];
	char *text = share_mailbox_text(mailbox, listing->separator);

	if (!text) {
		listing->memory = true;
		return 1;
	}
	rights_format(rights, letters);
	if (listing->json)
		json_array_append_new(listing->rows,
				      json_pack("{s:o,s:o,s:s}", "owner", json_text(owner), "mailbox",
						json_text(text), "rights", letters));
	else
		print("%s %s %s\n", owner, text, letters);
	free(text);
	return 0;
}

/* What a group, a domain or `anyone` was given: the very grants. */
struct received {
	struct listing *listing;
	struct sharing *sharing;
	const struct grantee *who;
	struct error *error;
	const char *owner, *mailbox;
};

static int list_if_received(const struct grant *grant, void *context)
{
	struct received *received = context;

	if (grantee_compare(&grant->who, received->who) != 0)
		return 0;
	return list_grant(received->owner, received->mailbox, grant, received->listing);
}

static int list_received(const char *owner, const char *mailbox, void *context)
{
	struct received *received = context;

	received->owner = owner;
	received->mailbox = mailbox;
	return sharing_each_grant(received->sharing, owner, mailbox, list_if_received, received,
				  received->error);
}

static int print_visible(struct session *session, struct sharing *sharing, const char *user,
			 struct listing *listing)
{
	struct rights_user me = {0};
	struct error error = {0};
	int answer = rights_user_init(session->reader, user, &me, &error);

	if (answer == 0)
		answer = sharing_each_visible(sharing, &me, list_visible, listing, &error);
	rights_user_finish(&me);
	return answer < 0 ? fail(&error, EX_NOINPUT) : 0;
}

static int print_received(struct sharing *sharing, const struct grantee *who,
			  struct listing *listing)
{
	struct error error = {0};
	struct received received = {
		.listing = listing,
		.sharing = sharing,
		.who = who,
		.error = &error,
	};

	if (sharing_each_received(sharing, who, list_received, &received, &error) < 0)
		return fail(&error, EX_NOINPUT);
	return 0;
}

static int main_domain_of(struct session *session, char domain_r[DOMAIN_SIZE])
{
	struct error error = {0};
	const char *domain = directory_main_domain(session->reader, &error);

	if (!domain)
		return fail(&error, EX_NOINPUT);
	snprintf(domain_r, DOMAIN_SIZE, "%s", domain);
	return 0;
}

static int run_with(const struct call *call)
{
	struct listing listing = {.json = has_option(call, OPTION_JSON)};
	struct session session = {0};
	struct sharing *sharing = NULL;
	struct grantee who = {0};
	char domain[DOMAIN_SIZE];
	bool negative = false;
	int code = share_separator(call, &listing.separator);

	if (code == 0)
		code = session_open(call, DIRECTORY_NAMES, &session);
	if (code == 0)
		code = main_domain_of(&session, domain);
	if (code == 0)
		code = share_who_parse(&session, call->arguments[0], domain, &who, &negative);
	if (code == 0 && (negative || who.kind == GRANTEE_OWNER)) {
		complain("%s: whom? An account, $group, anyone@domain, anyone or authenticated",
			 call->arguments[0]);
		code = EX_DATAERR;
	}
	if (code == 0)
		code = open_sharing(call, &sharing);
	if (code == 0) {
		listing.rows = listing.json ? json_array() : NULL;
		code = who.kind == GRANTEE_USER
			       ? print_visible(&session, sharing, who.name, &listing)
			       : print_received(sharing, &who, &listing);
		close_sharing(&sharing);
	}
	session_close(&session);
	if (code == 0 && listing.memory)
		code = fail_memory();
	if (listing.json && code == 0)
		return print_json(listing.rows);
	json_decref(listing.rows);
	return code;
}

/* Verification */

static void found(const char *what, void *context)
{
	json_t *rows = context;

	if (rows)
		json_array_append_new(rows, json_text(what));
	else
		print("%s\n", what);
}

/* Opening the directory for writing ends a renaming in whose midst homingctl was killed: without
 * that, its grants would be those of a name that nobody has. */
static int end_renaming(const struct call *call)
{
	struct directory_writer *writer;
	int code = writer_open(call, &writer);

	if (code == 0)
		directory_writer_close(&writer);
	return code;
}

static int run_verify(const struct call *call)
{
	bool mend = has_option(call, OPTION_MEND);
	struct sharing_writer *writer;
	struct session session;
	struct error error = {0};
	int code = mend ? end_renaming(call) : 0;

	if (code != 0)
		return code;
	json_t *rows = has_option(call, OPTION_JSON) ? json_array() : NULL;
	code = session_open(call, DIRECTORY_NAMES, &session);
	if (code == 0)
		code = open_writer(call, &writer);
	if (code == 0) {
		int count = sharing_verify(writer, session.reader, mend, found, rows, &error);

		if (count < 0)
			code = fail(&error, EX_NOINPUT);
		else if (count > 0 && !mend)
			code = EX_DATAERR;
		sharing_writer_close(&writer);
	}
	session_close(&session);
	if (rows && (code == 0 || code == EX_DATAERR)) {
		int printed = print_json(rows);
		return printed != 0 ? printed : code;
	}
	json_decref(rows);
	return code;
}

#define MAILBOX_HELP                                                                               \
	"OWNER is an account in any form that a login takes, or public:PREFIX for the mailboxes of a\n" \
	"public namespace. MAILBOX has / between its parts (--separator for another), and * is the\n" \
	"whole account: every mailbox, present and future.\n"
#define WHO_HELP                                                                                   \
	"WHO is user, user@domain, user%domain, an alias, $group, $group@domain, anyone@ (everybody in\n" \
	"the owner's domain), anyone@domain, anyone, authenticated or owner; a bare name belongs to the\n" \
	"owner's domain. Behind --, -WHO takes rights away that WHO has otherwise.\n"

const struct command share_grant_command = {
	.name = "share grant",
	.usage = "OWNER MAILBOX WHO RIGHTS [--separator CHARACTER]",
	.summary = "Give rights on a mailbox",
	.help = MAILBOX_HELP WHO_HELP
	"RIGHTS are letters of lrwstipekxa, or `all`; +RIGHTS adds to what is there, and behind --,\n"
	"-RIGHTS takes away from it. See homing-sharing(7).\n",
	.options = OPTION(OPTION_SEPARATOR),
	.least = 4,
	.most = 4,
	.run = run_grant,
};

const struct command share_revoke_command = {
	.name = "share revoke",
	.usage = "OWNER MAILBOX [WHO] [--separator CHARACTER]",
	.summary = "Take rights on a mailbox back",
	.help = "Without WHO, everybody's.\n" MAILBOX_HELP WHO_HELP,
	.options = OPTION(OPTION_SEPARATOR),
	.least = 2,
	.most = 3,
	.run = run_revoke,
};

const struct command share_list_command = {
	.name = "share list",
	.usage = "[OWNER [MAILBOX]] [--separator CHARACTER] [--json]",
	.summary = "List grants: owner, mailbox, whom, rights",
	.help = MAILBOX_HELP,
	.options = OPTION(OPTION_SEPARATOR),
	.most = 2,
	.run = run_list,
};

const struct command share_with_command = {
	.name = "share with",
	.usage = "WHO [--separator CHARACTER] [--json]",
	.summary = "List what is shared with somebody",
	.help = "For an account: what it sees in its list of shared mailboxes, with the rights that it has\n"
		"there by all grants together. For $group, anyone@domain, anyone and authenticated: the grants.\n"
		"A bare name belongs to the main domain.\n",
	.options = OPTION(OPTION_SEPARATOR),
	.least = 1,
	.most = 1,
	.run = run_with,
};

const struct command share_verify_command = {
	.name = "share verify",
	.usage = "[--mend] [--json]",
	.summary = "Look for grants that lead nowhere",
	.help = "Grants of owners and to users, groups and domains that are not there, and an index that does\n"
		"not agree with the grants. With --mend they are put right. Exit code 65 if any are found and\n"
		"left.\n",
	.options = OPTION(OPTION_MEND),
	.run = run_verify,
};
