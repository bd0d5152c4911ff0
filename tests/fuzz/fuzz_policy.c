/* Bytes as policy requests: framed in one piece and in many, parsed, and what they hold as actions.
 * The first byte says how the pieces are cut. */
#include "policy.h"

#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "support.h"

struct framed {
	ssize_t length;
	const char *why;
};

/* In a block of its own, so that a step behind its end shows. */
static struct framed frame_part(const char *data, size_t length, size_t *seen)
{
	struct framed framed = {0};
	char *copy = malloc(length > 0 ? length : 1);

	FUZZ_EXPECT(copy);
	memcpy(copy, data, length);
	framed.length = policy_frame(copy, length, seen, &framed.why);
	FUZZ_EXPECT(framed.length >= -1 && framed.length <= POLICY_MAX_REQUEST);
	FUZZ_EXPECT(framed.length <= (ssize_t)length);
	FUZZ_EXPECT((framed.length < 0) == (framed.why != NULL));
	FUZZ_EXPECT(framed.length <= 0 || *seen == 0);
	FUZZ_EXPECT(*seen <= length);
	free(copy);
	return framed;
}

/* A piece of 1 to 7 bytes mostly, sometimes one of up to 4 KiB; larger ones behind more, so that
 * what is long is not looked at too often. */
static size_t piece_length(uint64_t *seed, size_t have)
{
	uint64_t number = support_random(seed);

	return number % 8 == 0 ? 1 + number / 8 % 4096 : 1 + number / 8 % (7 + have / 32);
}

static struct framed frame_in_pieces(const char *data, size_t length, uint64_t seed)
{
	size_t seen = 0, have = 0;

	for (;;) {
		struct framed framed = frame_part(data, have, &seen);

		if (framed.length != 0 || have == length)
			return framed;
		size_t more = piece_length(&seed, have);
		have = more < length - have ? have + more : length;
	}
}

static void check_value(const struct policy_value *value, const char *data, size_t length)
{
	if (!value->text) {
		FUZZ_EXPECT(value->length == 0);
		return;
	}
	FUZZ_EXPECT(value->text > data && value->text[-1] == '=');
	FUZZ_EXPECT(value->text + value->length < data + length);
	FUZZ_EXPECT(value->length == 0 || (!memchr(value->text, '\n', value->length) &&
					   !memchr(value->text, '\0', value->length)));
}

/* Whatever it says, a reply is one line and an empty one, and no request's end comes sooner. */
static void try_action(const struct policy_value *value, size_t size)
{
	char *action = strndup(value->text ? value->text : "", value->length);
	char *out = malloc(size);

	FUZZ_EXPECT(action && out);
	size_t length = policy_format(action, out, size);
	size_t seen = 0;
	const char *why;
	FUZZ_EXPECT(length < size && length >= strlen("action=\n\n"));
	FUZZ_EXPECT(memcmp(out, "action=", 7) == 0);
	FUZZ_EXPECT(memchr(out, '\n', length) == out + length - 2);
	FUZZ_EXPECT(policy_frame(out, length, &seen, &why) == (ssize_t)length);
	free(out);
	free(action);
}

static void try_request(const char *data, size_t length)
{
	struct policy_request request;
	const char *why = NULL;
	char *copy = malloc(length > 0 ? length : 1);

	FUZZ_EXPECT(copy);
	memcpy(copy, data, length);
	bool parsed = policy_parse(copy, length, &request, &why);
	FUZZ_EXPECT(parsed == (why == NULL));
	if (parsed) {
		const struct policy_value *const values[] = {
			&request.request, &request.protocol_state, &request.protocol_name,
			&request.helo_name, &request.queue_id, &request.instance, &request.sender,
			&request.recipient, &request.client_name, &request.client_address,
			&request.sasl_username,
		};
		size_t seen = 0;

		FUZZ_EXPECT(policy_frame(copy, length, &seen, &why) == (ssize_t)length);
		for (size_t i = 0; i < sizeof values / sizeof values[0]; i++)
			check_value(values[i], copy, length);
		try_action(&request.recipient, 1024);
		try_action(&request.helo_name, 1025 + request.helo_name.length);
	}
	free(copy);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	if (length == 0)
		return 0;
	const char *next = (const char *)bytes + 1;
	size_t left = length - 1;
	struct policy_value all = {next, left};

	for (uint64_t seed = bytes[0];; seed++) {
		size_t seen = 0;
		struct framed whole = frame_part(next, left, &seen);
		struct framed pieces = frame_in_pieces(next, left, seed);

		FUZZ_EXPECT(whole.length == pieces.length && whole.why == pieces.why);
		if (whole.length <= 0)
			break;
		try_request(next, (size_t)whole.length);
		next += whole.length;
		left -= (size_t)whole.length;
	}
	try_request(next, left);
	try_action(&all, 1024);
	return 0;
}
