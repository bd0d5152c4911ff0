/* A line of `homingctl route --batch`. */
#include "batch-line.h"

#include <string.h>

enum field { KIND, NAME, LOCAL_IP, SERVER_NAME, FIELDS };

struct fields {
	char *text[FIELDS]; /* each ended by NUL; NULL: left out */
	size_t length[FIELDS];
};

static const char *split(char *line, size_t length, struct fields *fields_r)
{
	char *end = line + length;

	*fields_r = (struct fields){0};
	for (int i = 0; i < FIELDS; i++) {
		char *tab = memchr(line, '\t', (size_t)(end - line));
		char *stop = tab ? tab : end;

		fields_r->text[i] = line;
		fields_r->length[i] = (size_t)(stop - line);
		*stop = '\0';
		if (!tab)
			return i >= NAME ? NULL
					 : "a line is: kind TAB name TAB local IP TAB server name";
		line = tab + 1;
	}
	return "more than four fields";
}

const char *batch_line_parse(char *line, size_t length, struct route_question *question_r,
			     struct ip *ip_r)
{
	struct route_question question = {0};
	struct fields fields;
	const char *why = split(line, length, &fields);

	if (why)
		return why;
	if (strcmp(fields.text[KIND], "login") == 0)
		question.kind = NAME_LOGIN;
	else if (strcmp(fields.text[KIND], "address") == 0)
		question.kind = NAME_ADDRESS;
	else
		return "the kind is neither \"login\" nor \"address\"";
	question.name = fields.text[NAME];
	question.name_length = fields.length[NAME];
	if (fields.length[LOCAL_IP] > 0) {
		if (!ip_parse(fields.text[LOCAL_IP], fields.length[LOCAL_IP], ip_r))
			return "the local IP is not an IP address";
		question.local_ip = ip_r;
	}
	if (fields.length[SERVER_NAME] > 0) {
		if (strlen(fields.text[SERVER_NAME]) != fields.length[SERVER_NAME])
			return "a NUL in the server name";
		question.server_name = fields.text[SERVER_NAME];
	}
	*question_r = question;
	return NULL;
}
