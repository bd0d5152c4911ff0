/* Bytes as an HTTP request for the metrics, as they come in: nothing is said before the request is
 * whole, and then one answer that is well-formed and does not depend on how it was cut. The first byte
 * says how many bytes more there are each time. */
#include "metrics.h"

#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "input.h"

static const char metrics_text[] = "# HELP x y\nx 1\n";
enum { MAX_REQUEST = 8192 };

static bool begins(const char *text, const char *front)
{
	return strncmp(text, front, strlen(front)) == 0;
}

static void check_reply(const char *request, size_t length, const char *reply, size_t reply_length)
{
	const char *body = strstr(reply, "\r\n\r\n"), *said = strstr(reply, "\r\nContent-Length: ");

	FUZZ_EXPECT(strlen(reply) == reply_length);
	FUZZ_EXPECT(begins(reply, "HTTP/1.1 200 OK\r\n") || begins(reply, "HTTP/1.1 400 ") ||
		    begins(reply, "HTTP/1.1 404 ") || begins(reply, "HTTP/1.1 405 ") ||
		    begins(reply, "HTTP/1.1 431 "));
	FUZZ_EXPECT(body && said && said < body && strstr(reply, "\r\nConnection: close\r\n"));
	size_t body_length = strlen(body + 4), announced = strtoul(said + 18, NULL, 10);
	bool head = length > 5 && memcmp(request, "HEAD ", 5) == 0;
	FUZZ_EXPECT(body_length == announced || (head && body_length == 0));
	if (begins(reply, "HTTP/1.1 200"))
		FUZZ_EXPECT(length > 5 && (head || memcmp(request, "GET ", 4) == 0));
	if (strstr(reply, metrics_text))
		FUZZ_EXPECT(memcmp(request, "GET /metrics", 12) == 0);
	FUZZ_EXPECT(!begins(reply, "HTTP/1.1 431") || length > MAX_REQUEST);
}

static size_t ask(const char *data, size_t length, char **reply_r)
{
	char *copy = malloc(length > 0 ? length : 1);

	FUZZ_EXPECT(copy);
	memcpy(copy, data, length);
	*reply_r = NULL;
	size_t written = metrics_http(copy, length, metrics_text, strlen(metrics_text), reply_r);
	FUZZ_EXPECT((written > 0) == (*reply_r != NULL));
	free(copy);
	return written;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct input input = input_of(bytes, length);
	size_t step = 1 + input_byte(&input) * (size_t)16;
	const char *data = (const char *)input.next;
	char *reply = NULL, *again;

	for (size_t have = 0;; have += step < input.left - have ? step : input.left - have) {
		size_t written = ask(data, have, &reply);

		if (written > 0) {
			check_reply(data, have, reply, written);
			/* more of it changes nothing, but that what was too long stays so */
			size_t whole = ask(data, input.left, &again);
			FUZZ_EXPECT(whole == written && memcmp(reply, again, whole) == 0);
			free(again);
			break;
		}
		FUZZ_EXPECT(have <= MAX_REQUEST);
		if (have == input.left)
			break;
	}
	free(reply);
	return 0;
}
