/* The clients that may relay without authentication: a short list of prefixes. */
#include <stdlib.h>
#include <string.h>

#include "decide.h"

/* IPv4 lives in ::ffff:0:0/96. */
static bool has_all_of_ipv4(const struct ip_prefix *prefix)
{
	const struct ip first = ip_from_v4((const unsigned char[4]){0});
	struct ip masked = ip_mask(&first, prefix->length);

	return prefix->length <= 96 && memcmp(&masked, &prefix->ip, sizeof masked) == 0;
}

static bool parse_prefix(const char *text, size_t length, struct ip_prefix *prefix_r,
			 const char **why_r)
{
	if (!ip_prefix_parse(text, length, prefix_r)) {
		*why_r = "expected ADDRESS or ADDRESS/BITS, with no bits set behind the "
			 "first BITS";
		return false;
	}
	if (prefix_r->length == 0 || has_all_of_ipv4(prefix_r)) {
		*why_r = "it would let everybody relay";
		return false;
	}
	return true;
}

static bool add_prefix(struct trusted *trusted, const struct ip_prefix *prefix, const char **why_r)
{
	struct ip_prefix *prefixes =
		reallocarray(trusted->prefixes, trusted->count + 1, sizeof *prefixes);

	if (!prefixes) {
		*why_r = "out of memory";
		return false;
	}
	trusted->prefixes = prefixes;
	prefixes[trusted->count++] = *prefix;
	return true;
}

bool trusted_add(struct trusted *trusted, const char *text, const char **why_r)
{
	size_t count = trusted->count;

	for (;;) {
		struct ip_prefix prefix;

		text += strspn(text, " ");
		size_t whole = strcspn(text, ","), length = whole;
		while (length > 0 && text[length - 1] == ' ')
			length--;
		if (!parse_prefix(text, length, &prefix, why_r) ||
		    !add_prefix(trusted, &prefix, why_r)) {
			trusted->count = count;
			return false;
		}
		if (text[whole] == '\0')
			return true;
		text += whole + 1;
	}
}

bool trusted_has(const struct trusted *trusted, const char *address, size_t length)
{
	struct ip ip;

	if (length == 0 ||
	    !ip_parse(address, length, &ip)) /* "unknown", or a UNIX socket's client */
		return false;
	for (size_t i = 0; i < trusted->count; i++) {
		struct ip masked = ip_mask(&ip, trusted->prefixes[i].length);

		if (memcmp(&masked, &trusted->prefixes[i].ip, sizeof masked) == 0)
			return true;
	}
	return false;
}

void trusted_finish(struct trusted *trusted)
{
	free(trusted->prefixes);
	*trusted = (struct trusted){0};
}
