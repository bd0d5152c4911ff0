/* Lines: a list of trusted prefixes, then addresses of clients. A client is trusted if one of the
 * prefixes, read by itself, has its address; and no single prefix has everybody's. */
#include "decide.h"

#include <string.h>

#include "fuzz.h"
#include "input.h"

static bool bits_are_equal(const struct ip *a, const struct ip *b, unsigned bits)
{
	struct ip left = ip_mask(a, bits), right = ip_mask(b, bits);

	return memcmp(&left, &right, sizeof left) == 0;
}

static bool plain_has(const char *list, const struct ip *ip)
{
	char *copy = strdup(list), *rest = copy, *item;
	bool has = false;

	FUZZ_EXPECT(copy);
	while ((item = strsep(&rest, ","))) {
		struct ip_prefix prefix;

		item += strspn(item, " ");
		size_t length = strlen(item);
		while (length > 0 && item[length - 1] == ' ')
			length--;
		FUZZ_EXPECT(ip_prefix_parse(item, length, &prefix));
		has = has || bits_are_equal(ip, &prefix.ip, prefix.length);
	}
	free(copy);
	return has;
}

static void check_not_everybody(const struct trusted *trusted)
{
	static const char *const far[][2] = {{"0.0.0.1", "255.255.255.254"}, {"::1", "ffff::1"}};

	for (size_t i = 0; trusted->count == 1 && i < 2; i++)
		FUZZ_EXPECT(!trusted_has(trusted, far[i][0], strlen(far[i][0])) ||
			    !trusted_has(trusted, far[i][1], strlen(far[i][1])));
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct input input = input_of(bytes, length);
	struct trusted trusted = {0};
	const char *why = NULL;
	char *list = input_line(&input);

	bool added = trusted_add(&trusted, list, &why);
	FUZZ_EXPECT(added == (why == NULL) && (added || input_is_message(why)));
	FUZZ_EXPECT(added == (trusted.count > 0));
	if (added)
		check_not_everybody(&trusted);
	while (added && input.left > 0) {
		char *address = input_line(&input);
		struct ip ip;

		bool is_address = ip_parse(address, strlen(address), &ip);
		FUZZ_EXPECT(trusted_has(&trusted, address, strlen(address)) ==
			    (is_address && plain_has(list, &ip)));
		free(address);
	}
	trusted_finish(&trusted);
	FUZZ_EXPECT(trusted.count == 0);
	free(list);
	return 0;
}
