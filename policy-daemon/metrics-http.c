/* As much HTTP/1.1 (RFC 9112) as it takes to be scraped. Header fields do not matter to us and are
 * not looked at; a body is not read, for the connection is closed after the answer. */
#include "metrics.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_REQUEST = 8192 };

struct piece {
	const char *text;
	size_t length;
};

struct answer {
	const char *status; /* "200 OK" */
	const char *fields; /* further header fields, each with its line end */
	struct piece body;
	bool only_head;
};

/* Where the header ends; an empty line, with or without CR. NULL: not there yet. */
static const char *header_end(const char *request, size_t length)
{
	const char *next = request, *stop = request + length, *end;

	while ((end = memchr(next, '\n', (size_t)(stop - next))) != NULL) {
		if (next != request && (end == next || (end == next + 1 && *next == '\r')))
			return end + 1;
		next = end + 1;
	}
	return NULL;
}

/* The next word of the request line, up to one blank. */
static struct piece take_word(struct piece *line)
{
	const char *blank = memchr(line->text, ' ', line->length);
	struct piece word = *line;

	if (blank)
		word.length = (size_t)(blank - line->text);
	line->text += word.length + (blank ? 1 : 0);
	line->length -= word.length + (blank ? 1 : 0);
	return word;
}

static bool piece_is(struct piece piece, const char *text)
{
	return piece.length == strlen(text) && memcmp(piece.text, text, piece.length) == 0;
}

static struct piece piece_of(const char *text)
{
	return (struct piece){text, strlen(text)};
}

static struct piece without_query(struct piece target)
{
	const char *query = memchr(target.text, '?', target.length);

	if (query)
		target.length = (size_t)(query - target.text);
	return target;
}

static bool is_version(struct piece word)
{
	return piece_is(word, "HTTP/1.1") || piece_is(word, "HTTP/1.0");
}

static const char plain[] = "Content-Type: text/plain; charset=utf-8\r\n";

static struct answer refusal(const char *status, const char *fields, const char *body)
{
	return (struct answer){.status = status, .fields = fields, .body = piece_of(body)};
}

static struct answer answer_path(struct piece path, struct piece metrics)
{
	struct answer answer = {.status = "200 OK", .fields = plain};

	if (piece_is(path, "/metrics")) {
		answer.fields = "Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n";
		answer.body = metrics;
	} else if (piece_is(path, "/")) {
		answer.body = piece_of("homing-policyd: the metrics are at /metrics\n");
	} else {
		answer = refusal("404 Not Found", plain, "The metrics are at /metrics.\n");
	}
	return answer;
}

static struct answer answer_line(struct piece line, struct piece metrics)
{
	struct piece method = take_word(&line), target = take_word(&line);
	struct answer answer;

	if (method.length == 0 || target.length == 0 || target.text[0] != '/' || !is_version(line))
		return refusal("400 Bad Request", plain, "This is no HTTP/1.1 request for a path.\n");
	if (!piece_is(method, "GET") && !piece_is(method, "HEAD"))
		return refusal("405 Method Not Allowed",
			       "Allow: GET, HEAD\r\nContent-Type: text/plain; charset=utf-8\r\n",
			       "There is nothing to do here but GET and HEAD.\n");
	answer = answer_path(without_query(target), metrics);
	answer.only_head = piece_is(method, "HEAD");
	return answer;
}

static size_t write_answer(const struct answer *answer, char **reply_r)
{
	size_t length = answer->only_head ? 0 : answer->body.length;
	char *head, *reply;
	int head_length = asprintf(&head,
		"HTTP/1.1 %s\r\n%sContent-Length: %zu\r\nCache-Control: no-store\r\n"
		"X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
		answer->status, answer->fields, answer->body.length);

	if (head_length < 0)
		return 0;
	reply = realloc(head, (size_t)head_length + length + 1);
	if (!reply) {
		free(head);
		return 0;
	}
	memcpy(reply + head_length, answer->body.text, length);
	reply[(size_t)head_length + length] = '\0';
	*reply_r = reply;
	return (size_t)head_length + length;
}

size_t metrics_http(const char *request, size_t length, const char *text, size_t text_length,
		    char **reply_r)
{
	const char *end = header_end(request, length < MAX_REQUEST ? length : MAX_REQUEST);
	struct answer answer;

	if (end) {
		struct piece line = {request, (size_t)((char *)memchr(request, '\n', length) - request)};

		if (line.length > 0 && line.text[line.length - 1] == '\r')
			line.length--;
		answer = answer_line(line, (struct piece){text, text_length});
	} else if (length > MAX_REQUEST) {
		answer = refusal("431 Request Header Fields Too Large", plain,
				 "The request is longer than 8192 bytes.\n");
	} else {
		return 0;
	}
	return write_answer(&answer, reply_r);
}
