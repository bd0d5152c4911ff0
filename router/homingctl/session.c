/* The directory as a command opens it, and the names that its arguments mean. */
#include "session.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "output.h"

int session_open(const struct call *call, unsigned parts, struct session *session)
{
	struct error error = {0};

	*session = (struct session){0};
	if (directory_open(call->directory, parts, &session->directory, &error) < 0 ||
	    directory_reader_create(session->directory, &session->reader, &error) < 0 ||
	    directory_begin(session->reader, &error) < 0) {
		directory_reader_destroy(&session->reader);
		session_close(session);
		return fail(&error, EX_NOINPUT);
	}
	return 0;
}

void session_close(struct session *session)
{
	if (session->reader)
		directory_end(session->reader);
	directory_reader_destroy(&session->reader);
	directory_close(&session->directory);
}

int writer_open(const struct call *call, struct directory_writer **writer_r)
{
	struct error error = {0};

	if (directory_writer_open(call->directory, false, writer_r, &error) < 0)
		return fail(&error, EX_NOINPUT);
	return 0;
}

static bool is_bare(const char *name)
{
	return !name_find_at(name, strlen(name));
}

static int main_domain_get(const struct call *call, char domain_r[DOMAIN_SIZE])
{
	struct session session;
	struct error error = {0};
	int code = session_open(call, DIRECTORY_NAMES, &session);

	if (code != 0)
		return code;
	const char *domain = directory_main_domain(session.reader, &error);
	if (!domain) {
		code = fail(&error, EX_NOINPUT);
	} else if (domain[0] == '\0') {
		complain("%s: there is no main domain yet: homingctl apply comes first",
			 call->directory);
		code = EX_CONFIG;
	} else {
		snprintf(domain_r, DOMAIN_SIZE, "%s", domain);
	}
	session_close(&session);
	return code;
}

int names_qualify(const struct call *call, const char *const *names, size_t count,
		  char ***names_r)
{
	char domain[DOMAIN_SIZE] = "";
	char **qualified = calloc(count + 1, sizeof *qualified);

	if (!qualified)
		return fail_memory();
	for (size_t i = 0; i < count; i++) {
		int code = 0;

		if (is_bare(names[i]) && domain[0] == '\0')
			code = main_domain_get(call, domain);
		if (code == 0 && (is_bare(names[i])
					  ? asprintf(&qualified[i], "%s@%s", names[i], domain)
					  : asprintf(&qualified[i], "%s", names[i])) < 0) {
			qualified[i] = NULL;
			code = fail_memory();
		}
		if (code != 0) {
			names_free(qualified);
			return code;
		}
	}
	*names_r = qualified;
	return 0;
}

void names_free(char **names)
{
	if (!names)
		return;
	for (char **name = names; *name; name++)
		free(*name);
	free(names);
}

static int parse_qualified(const char *typed, const char *qualified, struct entry_name *name_r)
{
	const char *why =
		address_parse(qualified, strlen(qualified), name_r->local, name_r->domain);

	if (why) {
		complain("%s: %s", typed, why);
		return EX_DATAERR;
	}
	snprintf(name_r->address, sizeof name_r->address, "%s@%s", name_r->local, name_r->domain);
	return 0;
}

static int parse_names(const struct call *call, const char *const *texts, size_t count,
		       struct entry_name *names)
{
	char **qualified = NULL;
	int code = names_qualify(call, texts, count, &qualified);

	if (!qualified)
		return code;
	for (size_t i = 0; code == 0 && i < count; i++)
		code = parse_qualified(texts[i], qualified[i], &names[i]);
	names_free(qualified);
	return code;
}

int entry_name_parse(const struct call *call, const char *text, struct entry_name *name_r)
{
	return parse_names(call, &text, 1, name_r);
}

int entry_names_parse(const struct call *call, size_t first, struct entry_name **names_r,
		      size_t *count_r)
{
	size_t count = call->argument_count - first;
	struct entry_name *names = calloc(count + 1, sizeof *names);

	if (!names)
		return fail_memory();
	int code = parse_names(call, call->arguments + first, count, names);
	if (code != 0) {
		free(names);
		return code;
	}
	*names_r = names;
	*count_r = count;
	return 0;
}

int domain_argument(const char *text, char domain_r[DOMAIN_SIZE])
{
	if (domain_parse(text, strlen(text), domain_r))
		return 0;
	complain("%s: not a domain name", text);
	return EX_DATAERR;
}
