/* Bytes as a name, a domain, a literal, a local part. */
#include "name.h"

#include <string.h>

#include "fuzz.h"

static void try_domain(const char *text, size_t length)
{
	char domain[DOMAIN_SIZE], again[DOMAIN_SIZE];

	if (!domain_parse(text, length, domain))
		return;
	size_t canonical = strlen(domain);
	FUZZ_EXPECT(canonical > 0 && canonical <= DOMAIN_MAX_BYTES);
	FUZZ_EXPECT(domain_parse(domain, canonical, again) && strcmp(domain, again) == 0);
	FUZZ_EXPECT(!name_refusal(NAME_LOGIN, domain, canonical));
	FUZZ_EXPECT(strcspn(domain, "/@%!#*[]\" ") == canonical);
}

static void try_literal(const char *text, size_t length)
{
	struct ip ip, again;
	char shown[IP_TEXT_SIZE];

	if (!domain_literal_parse(text, length, &ip))
		return;
	ip_format(&ip, shown);
	FUZZ_EXPECT(ip_parse(shown, strlen(shown), &again));
	FUZZ_EXPECT(memcmp(&ip, &again, sizeof ip) == 0);
}

static void try_prefix(const char *text, size_t length)
{
	struct ip_prefix prefix, again;
	char shown[IP_TEXT_SIZE];

	if (!ip_prefix_parse(text, length, &prefix))
		return;
	ip_prefix_format(&prefix, shown);
	FUZZ_EXPECT(ip_prefix_parse(shown, strlen(shown), &again));
	FUZZ_EXPECT(prefix.length == again.length);
	FUZZ_EXPECT(memcmp(&prefix.ip, &again.ip, sizeof prefix.ip) == 0);
}

static void try_local(const char *text, size_t length)
{
	char folded[LOCAL_SIZE], again[LOCAL_SIZE];
	int folded_length = local_fold(text, length, folded);

	if (folded_length < 0)
		return;
	FUZZ_EXPECT((size_t)folded_length == strlen(folded) && folded_length <= LOCAL_MAX_BYTES);
	FUZZ_EXPECT(local_fold(folded, (size_t)folded_length, again) == folded_length);
	FUZZ_EXPECT(strcmp(folded, again) == 0);
	if (!local_refusal(text, length))
		FUZZ_EXPECT((size_t)folded_length == length && memcmp(text, folded, length) == 0);
}

static void try_address(const char *text, size_t length)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];

	if (address_parse(text, length, local, domain))
		return;
	FUZZ_EXPECT(!local_refusal(local, strlen(local)));
	FUZZ_EXPECT(domain[0] != '\0');
}

static void try_find(const char *text, size_t length)
{
	const char *first = name_find(text, length, '@', false);
	const char *last = name_find(text, length, '@', true);

	FUZZ_EXPECT(last == name_find_at(text, length));
	FUZZ_EXPECT((first == NULL) == (last == NULL) && (!first || first <= last));
	if (first)
		FUZZ_EXPECT(first >= text && last < text + length && *first == '@' && *last == '@');
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	const char *text = (const char *)bytes;
	const char *login = name_refusal(NAME_LOGIN, text, length);
	const char *address = name_refusal(NAME_ADDRESS, text, length);

	FUZZ_EXPECT(!address || login); /* a login may have less */
	try_find(text, length);
	try_domain(text, length);
	try_literal(text, length);
	try_prefix(text, length);
	try_local(text, length);
	try_address(text, length);
	return 0;
}
