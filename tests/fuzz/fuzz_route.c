/* Bytes as a question, in the directory of the golden cases: lines with the kind (`l` is a login),
 * the local IP and the TLS server name; what follows them is the name. */
#include "route.h"

#include <string.h>

#include "fuzz.h"
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

/* The next line and its length; what is left stands behind it. */
static const char *take_line(const char **next, const char *end, size_t *length_r)
{
	const char *start = *next, *stop = memchr(start, '\n', (size_t)(end - start));

	*length_r = (size_t)((stop ? stop : end) - start);
	*next = stop ? stop + 1 : end;
	return start;
}

static void check(const struct route_question *question, const struct route_answer *answer,
		  const struct route_trace *trace)
{
	if (question->kind == NAME_LOGIN)
		FUZZ_EXPECT(answer->result == ROUTE_ACCOUNT || answer->result == ROUTE_REFUSE);
	if (answer->result == ROUTE_ACCOUNT) {
		const char *why = support_not_idempotent(golden.reader, answer);

		if (why)
			fprintf(stderr, "%s\n", why);
		FUZZ_EXPECT(!why);
	}
	FUZZ_EXPECT((answer->result == ROUTE_FORWARD) == (answer->target_count > 0));
	FUZZ_EXPECT(trace->count > 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const char *next = (const char *)bytes, *end = next + length;
	size_t kind_length, ip_length, server_name_length;
	struct route_answer answer = {0};
	struct route_trace trace = {0};
	struct error error = {0};
	struct ip ip;

	open_once();
	const char *kind = take_line(&next, end, &kind_length);
	const char *ip_text = take_line(&next, end, &ip_length);
	const char *server_name = take_line(&next, end, &server_name_length);
	char *server_name_copy = strndup(server_name, server_name_length);
	struct route_question question = {
		.kind = kind_length > 0 && kind[0] == 'l' ? NAME_LOGIN : NAME_ADDRESS,
		.name = next,
		.name_length = (size_t)(end - next),
		.local_ip = ip_parse(ip_text, ip_length, &ip) ? &ip : NULL,
		.server_name = server_name_copy,
	};

	FUZZ_EXPECT(directory_begin(golden.reader, &error) == 0);
	FUZZ_EXPECT(route(golden.reader, &question, &answer, &trace, &error) == 0);
	check(&question, &answer, &trace);
	directory_end(golden.reader);
	route_answer_finish(&answer);
	route_trace_finish(&trace);
	free(server_name_copy);
	return 0;
}
