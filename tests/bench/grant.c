/* bench-grant DIRECTORY: writes grants into its sharing.mdb, as one transaction. Each
 * line of the standard input is OWNER TAB MAILBOX TAB USER TAB RIGHTS, with canonical
 * accounts that are not looked up: `homingctl share grant` is for people and gives one
 * right at a time. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sharing-write.h"

struct line {
	char *text;
	size_t size;
	unsigned long number;
	char mailbox[MAILBOX_SIZE];
};

static int bad_line(const struct line *line, const char *why, struct error *error)
{
	return error_set(error, ERROR_INVALID, "line %lu: %s", line->number, why);
}

static int next_grant(void *context, const char **owner, const char **mailbox,
	struct grant_change *change, struct error *error)
{
	struct line *line = context;

	if (getline(&line->text, &line->size, stdin) < 0)
		return 0;
	line->number++;

	char *rest = line->text;
	*owner = strsep(&rest, "\t");
	const char *box = strsep(&rest, "\t");
	const char *user = strsep(&rest, "\t");
	const char *rights = strsep(&rest, "\n");
	if (!rights || strlen(user) >= sizeof change->who.name)
		return bad_line(line, "not OWNER, MAILBOX, USER and RIGHTS", error);

	memset(change, 0, sizeof *change);
	change->who.kind = GRANTEE_USER;
	strcpy(change->who.name, user);
	change->mode = GRANT_REPLACE;

	const char *why = rights_parse(rights, strlen(rights), &change->rights);
	if (!why)
		why = mailbox_parse(box, '/', line->mailbox);
	*mailbox = line->mailbox;
	return why ? bad_line(line, why, error) : 1;
}

/* The map had to grow. */
static void start_again(void *context)
{
	struct line *line = context;

	rewind(stdin);
	line->number = 0;
}

int main(int argc, char **argv)
{
	struct error error = {0};
	struct sharing_writer *writer = NULL;
	struct line line = {0};
	struct sharing_source source = {next_grant, start_again, &line};

	if (argc != 2) {
		fprintf(stderr, "usage: bench-grant DIRECTORY <GRANTS\n");
		return 64;
	}

	int status = sharing_writer_open(argv[1], &writer, &error);
	if (status == 0)
		status = sharing_import(writer, &source, &error);
	sharing_writer_close(&writer);
	free(line.text);
	if (status < 0) {
		fprintf(stderr, "bench-grant: %s\n", error.text);
		return 1;
	}
	return 0;
}
