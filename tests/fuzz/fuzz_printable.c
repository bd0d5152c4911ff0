/* Bytes as text on its way to a log or to a line protocol. The first two bytes are the room there is. */
#include "printable.h"

#include <stdbool.h>
#include <string.h>

#include "fuzz.h"
#include "input.h"

static bool is_printable(const char *text, size_t length)
{
	while (length > 0) {
		size_t used = printable_character(text, length);

		if (used == 0)
			return false;
		FUZZ_EXPECT(used <= length && used <= 4);
		text += used;
		length -= used;
	}
	return true;
}

/* What stands for a byte is four; everything else is itself. False: `out` is no escaped `text`. */
static bool is_escaped(const char *out, size_t out_length, const char *text, size_t length)
{
	size_t o = 0, t = 0;

	while (t < length && o < out_length) {
		size_t used = printable_character(text + t, length - t);
		char escape[8];

		if (used == 0) {
			snprintf(escape, sizeof escape, "\\x%02x", (unsigned char)text[t]);
			if (out_length - o < 4 || memcmp(out + o, escape, 4) != 0)
				return false;
			o += 4;
			t++;
			continue;
		}
		if (out_length - o < used || memcmp(out + o, text + t, used) != 0)
			return false;
		o += used;
		t += used;
	}
	return o == out_length;
}

static void check_ascii(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		FUZZ_EXPECT((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct input input = input_of(bytes, length);
	size_t size = 1 + input_byte(&input);
	size += (size_t)(input_byte(&input) % 8) * 256;
	size_t left = input.left, whole_size = 4 * left + 1;
	char *text = malloc(left > 0 ? left : 1), *out = malloc(size), *whole = malloc(whole_size);

	FUZZ_EXPECT(text && out && whole);
	if (left > 0)
		memcpy(text, input.next, left);
	size_t whole_length = printable_escape(whole, whole_size, text, left);
	FUZZ_EXPECT(whole_length == strlen(whole) && is_escaped(whole, whole_length, text, left));
	FUZZ_EXPECT(is_printable(whole, whole_length));
	check_ascii(whole, whole_length);
	FUZZ_EXPECT(whole_length >= left);
	FUZZ_EXPECT((whole_length == left) == is_printable(text, left));

	size_t used = printable_escape(out, size, text, left);
	FUZZ_EXPECT(used < size && used == strlen(out) && memcmp(out, whole, used) == 0);
	FUZZ_EXPECT(is_printable(out, used));
	FUZZ_EXPECT(used == whole_length || used + 4 >= size); /* cut no sooner than it must be */

	used = printable_replace(whole, whole_size, text, left);
	FUZZ_EXPECT(used == left && used == strlen(whole) && is_printable(whole, used));
	size_t cut = printable_replace(out, size, text, left);
	FUZZ_EXPECT(cut < size && cut <= used && memcmp(out, whole, cut) == 0);
	FUZZ_EXPECT(is_printable(out, cut));
	free(text);
	free(out);
	free(whole);
	return 0;
}
