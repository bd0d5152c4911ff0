/* Bytes as socketmap requests: framed in one piece and in many, split, and what they hold as
 * replies, which must frame again. The first byte says how the pieces are cut. */
#include "socketmap.h"

#include <string.h>

#include "fuzz.h"
#include "netstring.h"
#include "support.h"

enum { OUT_SIZE = SOCKETMAP_MAX + 16 };

struct framed {
	ssize_t length;
	size_t offset, content_length;
	const char *why;
};

/* In a block of its own, so that a step behind its end shows. */
static struct framed frame_part(const char *data, size_t length, size_t limit)
{
	struct framed framed = {0};
	const char *start = NULL;
	char *copy = malloc(length > 0 ? length : 1);

	FUZZ_EXPECT(copy);
	memcpy(copy, data, length);
	framed.length = netstring_frame(copy, length, limit, &start, &framed.content_length,
					&framed.why);
	FUZZ_EXPECT(framed.length >= -1 && framed.length <= (ssize_t)length);
	FUZZ_EXPECT((framed.length < 0) == (framed.why != NULL));
	FUZZ_EXPECT((framed.length > 0) == (start != NULL));
	if (start) {
		framed.offset = (size_t)(start - copy);
		FUZZ_EXPECT(framed.content_length <= limit);
		FUZZ_EXPECT(framed.offset + framed.content_length + 1 == (size_t)framed.length);
		FUZZ_EXPECT(start[-1] == ':' && start[framed.content_length] == ',');
	}
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

static struct framed frame_in_pieces(const char *data, size_t length, size_t limit, uint64_t seed)
{
	for (size_t have = 0;;) {
		struct framed framed = frame_part(data, have, limit);

		if (framed.length != 0 || have == length)
			return framed;
		size_t more = piece_length(&seed, have);
		have = more < length - have ? have + more : length;
	}
}

/* A reply is one netstring that says what it should: the status and a blank, or a PERM instead
 * of an OK, and nothing that could be more than one line of Postfix's log. */
static void try_reply(enum socketmap_status status, const char *value, size_t length, char *out)
{
	static const char *const words[] = {"OK ", "NOTFOUND ", "TEMP ", "TIMEOUT ", "PERM "};
	size_t written = socketmap_format(status, value, length, out, OUT_SIZE);
	const char *content, *why;
	size_t content_length;

	FUZZ_EXPECT(written > 0 && written <= OUT_SIZE);
	FUZZ_EXPECT(netstring_frame(out, written, SOCKETMAP_MAX, &content, &content_length, &why) ==
		    (ssize_t)written);
	if (status == SOCKETMAP_OK && memcmp(content, words[SOCKETMAP_OK], 3) == 0) {
		FUZZ_EXPECT(content_length == 3 + length);
		FUZZ_EXPECT(memcmp(content + 3, value, length) == 0);
	} else {
		const char *word = words[status == SOCKETMAP_OK ? SOCKETMAP_PERM : status];

		FUZZ_EXPECT(content_length >= strlen(word));
		FUZZ_EXPECT(memcmp(content, word, strlen(word)) == 0);
		FUZZ_EXPECT(status == SOCKETMAP_OK || content_length <= strlen(word) + length);
		FUZZ_EXPECT(status != SOCKETMAP_NOTFOUND || content_length == strlen(word));
	}
	for (size_t i = 0; i < content_length; i++)
		FUZZ_EXPECT((unsigned char)content[i] >= 0x20 && content[i] != 0x7f);
}

static void try_request(const char *content, size_t length)
{
	struct socketmap_request request;
	char *out = malloc(OUT_SIZE);

	FUZZ_EXPECT(out);
	if (socketmap_parse(content, length, &request)) {
		FUZZ_EXPECT(request.name == content && !memchr(content, ' ', request.name_length));
		FUZZ_EXPECT(request.key == content + request.name_length + 1);
		FUZZ_EXPECT(request.key[-1] == ' ');
		FUZZ_EXPECT(request.key + request.key_length == content + length);
	} else {
		FUZZ_EXPECT(!memchr(content, ' ', length));
	}
	for (int status = SOCKETMAP_OK; status <= SOCKETMAP_PERM; status++)
		try_reply((enum socketmap_status)status, content, length, out);
	/* and as it is, in a netstring */
	size_t written = netstring_format(content, length, out, OUT_SIZE);
	struct framed again = frame_part(out, written, SOCKETMAP_MAX);
	FUZZ_EXPECT(again.length == (ssize_t)written && again.content_length == length);
	FUZZ_EXPECT(memcmp(out + again.offset, content, length) == 0);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const size_t limits[] = {SOCKETMAP_MAX, 0, 100, SIZE_MAX};

	if (length == 0)
		return 0;
	const char *next = (const char *)bytes + 1;
	size_t left = length - 1, limit = limits[bytes[0] % 4];

	for (uint64_t seed = bytes[0];; seed++) {
		struct framed whole = frame_part(next, left, limit);
		struct framed pieces = frame_in_pieces(next, left, limit, seed);

		FUZZ_EXPECT(memcmp(&whole, &pieces, sizeof whole) == 0);
		if (whole.length <= 0)
			break;
		if (whole.content_length <= SOCKETMAP_MAX)
			try_request(next + whole.offset, whole.content_length);
		next += whole.length;
		left -= (size_t)whole.length;
	}
	if (left <= SOCKETMAP_MAX)
		try_request(next, left);
	return 0;
}
