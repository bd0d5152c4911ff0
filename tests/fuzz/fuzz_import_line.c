/* Bytes as a line of `homingctl account import`: an account that may be added, or mistakes. */
#include "import-line.h"

#include <string.h>

#include "fuzz.h"

static void count_mistake(const char *key, const char *why, void *context)
{
	int *count = context;

	FUZZ_EXPECT(key && why && *why);
	(*count)++;
}

static void check(const struct account_change *account)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];

	FUZZ_EXPECT(!local_refusal(account->local, strlen(account->local)));
	FUZZ_EXPECT(domain_parse(account->domain, strlen(account->domain), domain));
	FUZZ_EXPECT(strcmp(account->domain, domain) == 0);
	for (size_t i = 0; account->groups && account->groups[i]; i++)
		FUZZ_EXPECT(!address_parse(account->groups[i], strlen(account->groups[i]), local,
					   domain));
	if (account->credential)
		FUZZ_EXPECT(strlen(account->credential) < CREDENTIAL_SIZE);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct import_line *line;
	int mistakes = 0;

	if (length > LINE_MAX_BYTES) /* lines.c hands on none */
		return 0;
	line = calloc(1, sizeof *line);
	if (!line)
		abort();
	bool fine = import_line_parse(line, (const char *)bytes, length, count_mistake, &mistakes);
	FUZZ_EXPECT(fine == (mistakes == 0));
	if (fine)
		check(&line->account);
	import_line_finish(line);
	free(line);
	return 0;
}
