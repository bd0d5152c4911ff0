/* Lines: the prefix of a shared namespace, an owner, one's own domain, and what follows the prefix in a
 * LIST pattern or a mailbox's name. An owner that can be shown is read back as the same. The first
 * byte is the separator. */
#include "plugins/prefix.h"

#include <string.h>

#include "fuzz.h"
#include "input.h"

static void try_parse(const char *pattern, char separator, const char *name)
{
	struct prefix_owner owner;

	if (!prefix_parse(pattern, separator, name, &owner))
		return;
	FUZZ_EXPECT(owner.typed[0] != '\0' && memchr(owner.typed, '\0', sizeof owner.typed));
	FUZZ_EXPECT(owner.length <= strlen(name) && strlen(owner.typed) <= owner.length + 1);
	FUZZ_EXPECT(owner.tail >= pattern && owner.tail <= pattern + strlen(pattern));
}

static void try_format(const char *pattern, char separator, const char *owner, const char *domain)
{
	char text[PREFIX_TEXT_SIZE], more[PREFIX_TEXT_SIZE + 8];
	struct prefix_owner read;

	if (!prefix_format(pattern, separator, owner, domain, text))
		return;
	FUZZ_EXPECT(strlen(text) < sizeof text);
	FUZZ_EXPECT(prefix_parse(pattern, separator, text, &read));
	size_t typed = strlen(read.typed);
	FUZZ_EXPECT(strncmp(owner, read.typed, typed) == 0);
	FUZZ_EXPECT(owner[typed] == '\0' ||
		    (owner[typed] == '@' && strcmp(owner + typed + 1, domain) == 0));
	/* and with a mailbox behind it, where the prefix ends with the separator */
	size_t length = strlen(pattern);
	if (length == 0 || pattern[length - 1] != separator || strlen(read.tail) > 0)
		return;
	snprintf(more, sizeof more, "%sBox", text);
	FUZZ_EXPECT(prefix_parse(pattern, separator, more, &read));
	FUZZ_EXPECT(read.length == strlen(text) && strlen(read.typed) == typed);
}

static void try_literal(const char *list_pattern, char separator)
{
	size_t length = prefix_literal_length(list_pattern, separator);

	FUZZ_EXPECT(length <= strlen(list_pattern));
	FUZZ_EXPECT(strcspn(list_pattern, "*%") >= length);
	FUZZ_EXPECT(length == 0 || list_pattern[length] == '\0' || list_pattern[length] == separator);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static const char separators[] = {'/', '.', '^', '\\', '|', '-', '@', '%'};
	struct input input = input_of(bytes, length);
	char separator = separators[input_byte(&input) % sizeof separators];
	char *pattern = input_line(&input), *owner = input_line(&input);
	char *domain = input_line(&input), *name = input_line(&input);

	try_parse(pattern, separator, name);
	if (strlen(owner) < NAME_SIZE)
		try_format(pattern, separator, owner, domain);
	try_literal(name, separator);
	free(pattern);
	free(owner);
	free(domain);
	free(name);
	return 0;
}
