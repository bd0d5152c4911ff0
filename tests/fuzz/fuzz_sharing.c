/* Bytes as a value and keys of sharing.mdb, as the name of a mailbox, and as rights: what parses is
 * written back as it was, and what does not is refused. The first byte chooses. */
#include "sharing-format.h"

#include <string.h>

#include "fuzz.h"

static void check_value(const uint8_t *bytes, size_t length)
{
	struct grants_value value;
	struct value_writer again = {0};

	if (!grants_value_parse(bytes, length, &value))
		return;
	struct stored_grant *grants = calloc(value.count, sizeof *grants);
	if (!grants)
		abort();
	for (size_t i = 0; i < value.count; i++) {
		stored_grant_take(&value, i, &grants[i]);
		FUZZ_EXPECT(i == 0 || stored_grant_compare(&grants[i - 1], &grants[i]) < 0);
		FUZZ_EXPECT(grants[i].has_rights || grants[i].has_negative);
	}
	/* a name that the key has room for is not written */
	if (value.mailbox[0] == '\0' || strlen(value.mailbox) > MAILBOX_KEY_PLAIN) {
		grants_value_format(value.mailbox, grants, value.count, &again);
		FUZZ_EXPECT(again.length == length && memcmp(again.data, bytes, length) == 0);
	}
	free(again.data);
	free(grants);
}

static void check_principal(const uint8_t *bytes, size_t length)
{
	char name[OWNER_SIZE], key[PRINCIPAL_KEY_SIZE];
	int type = principal_parse(bytes, length, name);

	if (type == 0)
		return;
	struct grantee who = {.kind = type == PRINCIPAL_GROUP	 ? GRANTEE_GROUP
				      : type == PRINCIPAL_DOMAIN ? GRANTEE_DOMAIN
								 : GRANTEE_USER};
	FUZZ_EXPECT(strlen(name) < sizeof name);
	if (type == PRINCIPAL_PUBLIC) {
		FUZZ_EXPECT(owner_key(name, key) == length && memcmp(key, bytes, length) == 0);
		return;
	}
	if (strlen(name) >= sizeof who.name)
		return;
	strcpy(who.name, name);
	FUZZ_EXPECT(grantee_key(&who, key) == length && memcmp(key, bytes, length) == 0);
}

static void check_mailbox(const uint8_t *bytes, size_t length)
{
	char text[MAILBOX_SIZE + 8], mailbox[MAILBOX_SIZE], again[MAILBOX_SIZE], key[MAILBOX_KEY_SIZE];
	char below[MAILBOX_KEY_SIZE], child[MAILBOX_SIZE + 8], child_key[MAILBOX_KEY_SIZE];

	if (length >= sizeof text)
		return;
	memcpy(text, bytes, length);
	text[length] = '\0';
	if (mailbox_parse(text, '/', mailbox))
		return;
	FUZZ_EXPECT(!mailbox_refusal(mailbox));
	if (mailbox_format(mailbox, '/', text, sizeof text)) {
		FUZZ_EXPECT(!mailbox_parse(text, '/', again));
		FUZZ_EXPECT(strcmp(mailbox, again) == 0);
	}
	size_t key_length = mailbox_key(mailbox, key);
	FUZZ_EXPECT(key_length <= sizeof key);
	FUZZ_EXPECT(mailbox_key_is_cut(key, key_length) == (strlen(mailbox) > MAILBOX_KEY_PLAIN));
	if (mailbox[0] == '\0' || strlen(mailbox) + 2 > MAILBOX_MAX_BYTES)
		return;
	snprintf(child, sizeof child, "%s%cc", mailbox, MAILBOX_SEPARATOR);
	size_t below_length = mailbox_key_below(mailbox, below);
	FUZZ_EXPECT(mailbox_key(child, child_key) >= below_length);
	FUZZ_EXPECT(memcmp(child_key, below, below_length) == 0);
}

static void check_rights(const uint8_t *bytes, size_t length)
{
	char letters[RIGHTS_SIZE];
	uint16_t rights, again;

	if (rights_parse((const char *)bytes, length, &rights))
		return;
	FUZZ_EXPECT(rights <= RIGHTS_ALL);
	rights_format(rights, letters);
	FUZZ_EXPECT(!rights_parse(letters, strlen(letters), &again) && rights == again);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	static void (*const checks[])(const uint8_t *, size_t) = {check_value, check_principal,
								  check_mailbox, check_rights};

	if (length == 0)
		return 0;
	/* a copy of its own length, so that a sanitizer sees what is read behind it */
	uint8_t *copy = malloc(length);
	if (!copy)
		abort();
	memcpy(copy, bytes + 1, length - 1);
	checks[bytes[0] % 4](copy, length - 1);
	free(copy);
	return 0;
}
