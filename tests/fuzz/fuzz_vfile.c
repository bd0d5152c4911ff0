/* Bytes as what `homingctl share import-vfile` reads: a line of dovecot-acl, the name of a folder, and
 * lines of acl_shared_dict. */
#include "vfile-line.h"

#include <string.h>

#include "fuzz.h"
#include "shared-dict.h"
#include "vfile-tree.h"

static void check_line(const char *bytes, size_t length)
{
	struct vfile_line line;

	if (vfile_line_parse(bytes, length, &line)) {
		FUZZ_EXPECT(line.who[0] == '\0' && line.rights == 0);
		return;
	}
	FUZZ_EXPECT(memchr(line.who, '\0', sizeof line.who));
	FUZZ_EXPECT((line.rights & ~RIGHTS_ALL) == 0);
	/* a line of a user never becomes one of many */
	if (length > 5 && memcmp(bytes, "user=", 5) == 0)
		FUZZ_EXPECT(line.who[0] != '$' && strcmp(line.who, "anyone") != 0);
}

static void check_name(const char *text, char separator)
{
	char mailbox[MAILBOX_SIZE];

	if (vfile_name_parse(text, separator, mailbox))
		return;
	/* "" would be the whole account */
	FUZZ_EXPECT(mailbox[0] != '\0');
	FUZZ_EXPECT(!mailbox_refusal(mailbox));
}

static void check_owner(const char *owner, void *context)
{
	size_t *length = context;

	FUZZ_EXPECT(strlen(owner) <= *length);
}

static void check_dict(char *text, size_t length)
{
	struct shared_dict dict = {0};

	for (char *end = text + length; text < end;) {
		char *next = memchr(text, '\n', (size_t)(end - text));

		if (next)
			*next = '\0';
		else
			next = end;
		shared_dict_line(&dict, text, check_owner, &length);
		text = next + 1;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	char *text = malloc(length + 1);

	if (!text)
		abort();
	memcpy(text, bytes, length);
	text[length] = '\0';
	check_line(text, length);
	check_name(text, '.');
	check_name(text, '/');
	check_dict(text, length);
	free(text);
	return 0;
}
