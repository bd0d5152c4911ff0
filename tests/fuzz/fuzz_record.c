/* Lines as a router record and a name: match, to, local part, domain. A record that is taken is its own
 * canonical form, matches what a plain comparison finds, is found by its index, and what its `*`s
 * matched, put in their places, is the name again. */
#include "record.h"

#include <string.h>

#include "fuzz.h"
#include "input.h"

/* With backtracking by a table, as slow and as plain as can be. */
static bool plain_glob(const char *pattern, size_t pattern_length, const char *text, size_t length)
{
	bool row[NAME_SIZE] = {true}; /* does the pattern so far match the first N bytes? */

	for (size_t p = 0; p < pattern_length; p++) {
		bool any = false, diagonal = row[0];

		row[0] = row[0] && pattern[p] == '*';
		any = row[0];
		for (size_t n = 1; n <= length; n++) {
			bool above = row[n];

			any = any || above;
			row[n] = pattern[p] == '*' ? any : diagonal && pattern[p] == text[n - 1];
			diagonal = above;
		}
	}
	return row[length];
}

static bool plain_match(const char *match, const char *folded, const char *domain)
{
	const char *at = strrchr(match, '@');
	const char *domain_part = at ? at + 1 : match;

	if (!plain_glob(domain_part, strlen(domain_part), domain, strlen(domain)))
		return false;
	if (!at)
		return true;
	size_t length = (size_t)(at - match);
	return folded ? plain_glob(match, length, folded, strlen(folded))
		      : length == 1 && *match == '*';
}

/* By the rule of its class alone, as record-lookup.c looks. */
static bool class_finds(enum record_class class, const char *key, size_t length, const char *folded,
			const char *domain)
{
	char whole[NAME_KEY_SIZE];
	size_t domain_length = strlen(domain);

	switch (class) {
	case RECORD_X:
		if (!folded || strlen(folded) + 1 + domain_length != length)
			return false;
		memcpy(whole, folded, strlen(folded) + 1);
		memcpy(whole + strlen(folded) + 1, domain, domain_length);
		return memcmp(whole, key, length) == 0;
	case RECORD_U:
		return folded && strlen(folded) == length && memcmp(folded, key, length) == 0;
	case RECORD_D:
		return domain_length == length && memcmp(domain, key, length) == 0;
	case RECORD_S:
		return domain_length > length && domain[domain_length - length - 1] == '.' &&
		       memcmp(domain + domain_length - length, key, length) == 0;
	default:
		return true;
	}
}

static void check_canonical(const char *match, const char *to)
{
	char again[NAME_SIZE], to_again[NAME_SIZE];
	bool in_to;
	int smtp;
	char status[12];
	const char *text;

	FUZZ_EXPECT(strlen(match) < NAME_SIZE && strlen(to) < NAME_SIZE);
	FUZZ_EXPECT(!record_canonical(match, to, again, to_again, &in_to));
	FUZZ_EXPECT(strcmp(match, again) == 0 && strcmp(to, to_again) == 0);
	if (strncmp(to, "error:", 6) == 0) {
		FUZZ_EXPECT(record_error(to, &smtp, status, &text));
		FUZZ_EXPECT(smtp == 450 || smtp == 550);
		FUZZ_EXPECT(strlen(status) >= 5 && strlen(status) < sizeof status && *text);
	}
}

static void check_apply(const struct record *record, const char *local, const char *folded,
			const char *domain)
{
	char made[NAME_SIZE], whole[LOCAL_SIZE + NAME_SIZE];
	enum record_action action;

	int applied = record_apply(record, local, folded, domain, &action, made);
	if (applied == 0 && action == RECORD_REWRITE)
		FUZZ_EXPECT(strlen(made) <= NAME_MAX_BYTES && strrchr(made, '@'));
	/* and to what it is itself, which is the name */
	struct record itself = {record->match, record->match};
	if (strncmp(itself.to, "error:", 6) == 0 || strcmp(itself.to, "discard:") == 0)
		return;
	bool ascii = true;
	for (const char *byte = local; *byte; byte++)
		ascii = ascii && (unsigned char)*byte < 0x80;
	bool shown = !folded || ascii || !strchr(record->match, '@');
	applied = record_apply(&itself, local, folded, domain, &action, made);
	snprintf(whole, sizeof whole, "%s@%s", shown ? local : folded, domain);
	FUZZ_EXPECT(applied == (strlen(whole) > NAME_MAX_BYTES ? -1 : 0));
	if (applied == 0 && strchr(record->match, '@') && ascii)
		FUZZ_EXPECT(strcasecmp(made, whole) == 0);
	else if (applied == 0)
		FUZZ_EXPECT(strcmp(made, whole) == 0);
}

static void check_name(const struct record *record, const char *local, const char *domain_text)
{
	char folded[LOCAL_SIZE], domain[DOMAIN_SIZE], key[NAME_KEY_SIZE];
	size_t key_length;

	if (strlen(local) == 0 || strlen(local) > NAME_MAX_BYTES ||
	    !domain_parse(domain_text, strlen(domain_text), domain))
		return;
	bool folds = local_fold(local, strlen(local), folded) >= 0;
	const char *name = folds ? folded : NULL;
	bool matches = record_matches(record, local, name, domain);
	FUZZ_EXPECT(matches == plain_match(record->match, name, domain));
	enum record_class class = record_class(record->match, key, &key_length);
	FUZZ_EXPECT(class < RECORD_CLASSES && key_length <= NAME_KEY_SIZE);
	if (class == RECORD_G)
		FUZZ_EXPECT(key_length == 0);
	else
		FUZZ_EXPECT(matches == class_finds(class, key, key_length, name, domain));
	if (matches)
		check_apply(record, local, name, domain);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct input input = input_of(bytes, length);
	char *match = input_line(&input), *to = input_line(&input), *local = input_line(&input);
	char *domain = input_line(&input);
	char canonical[NAME_SIZE], canonical_to[NAME_SIZE];
	bool in_to;

	const char *why = record_canonical(match, to, canonical, canonical_to, &in_to);
	if (why) {
		FUZZ_EXPECT(input_is_message(why));
	} else {
		const struct record record = {canonical, canonical_to};

		check_canonical(canonical, canonical_to);
		check_name(&record, local, domain);
	}
	free(match);
	free(to);
	free(local);
	free(domain);
	return 0;
}
