/* IP addresses and prefixes, IPv4 as IPv4-mapped IPv6. */
#include "ip.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static const unsigned char v4_prefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

static bool is_v4(const struct ip *ip)
{
	return memcmp(ip->bytes, v4_prefix, sizeof v4_prefix) == 0;
}

struct ip ip_from_v4(const unsigned char bytes[4])
{
	struct ip ip;

	memcpy(ip.bytes, v4_prefix, sizeof v4_prefix);
	memcpy(ip.bytes + sizeof v4_prefix, bytes, 4);
	return ip;
}

struct ip ip_from_v6(const unsigned char bytes[16])
{
	struct ip ip;

	memcpy(ip.bytes, bytes, sizeof ip.bytes);
	return ip;
}

bool ip_parse(const char *text, size_t length, struct ip *ip_r)
{
	char copy[INET6_ADDRSTRLEN];
	unsigned char bytes[16];

	if (length >= sizeof copy || memchr(text, '\0', length))
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	if (inet_pton(AF_INET, copy, bytes) == 1) {
		*ip_r = ip_from_v4(bytes);
		return true;
	}
	if (inet_pton(AF_INET6, copy, bytes) != 1)
		return false;
	*ip_r = ip_from_v6(bytes);
	return true;
}

/* One to three digits, no sign, no leading zero but for "0" itself. */
static bool parse_bits(const char *text, size_t length, unsigned *bits_r)
{
	unsigned bits = 0;

	if (length < 1 || length > 3 || (length > 1 && text[0] == '0'))
		return false;
	for (size_t i = 0; i < length; i++) {
		if (text[i] < '0' || text[i] > '9')
			return false;
		bits = bits * 10 + (unsigned)(text[i] - '0');
	}
	*bits_r = bits;
	return true;
}

bool ip_prefix_parse(const char *text, size_t length, struct ip_prefix *prefix_r)
{
	const char *slash = memchr(text, '/', length);
	size_t ip_length = slash ? (size_t)(slash - text) : length;
	struct ip_prefix prefix = {.length = 128};

	if (!ip_parse(text, ip_length, &prefix.ip))
		return false;
	if (slash) {
		bool dotted = !memchr(text, ':', ip_length);
		unsigned bits;

		if (!parse_bits(slash + 1, length - ip_length - 1, &bits) ||
		    bits > (dotted ? 32 : 128))
			return false;
		prefix.length = dotted ? bits + 96 : bits;
	}
	struct ip masked = ip_mask(&prefix.ip, prefix.length);
	if (memcmp(&masked, &prefix.ip, sizeof masked) != 0)
		return false;
	*prefix_r = prefix;
	return true;
}

const char *ip_format(const struct ip *ip, char out[IP_TEXT_SIZE])
{
	if (is_v4(ip))
		inet_ntop(AF_INET, ip->bytes + sizeof v4_prefix, out, IP_TEXT_SIZE);
	else
		inet_ntop(AF_INET6, ip->bytes, out, IP_TEXT_SIZE);
	return out;
}

const char *ip_prefix_format(const struct ip_prefix *prefix, char out[IP_TEXT_SIZE])
{
	bool v4 = prefix->length >= 96 && is_v4(&prefix->ip);

	if (v4)
		ip_format(&prefix->ip, out);
	else
		inet_ntop(AF_INET6, prefix->ip.bytes, out, IP_TEXT_SIZE);
	if (prefix->length < 128) {
		size_t used = strlen(out);
		snprintf(out + used, IP_TEXT_SIZE - used, "/%u",
			 v4 ? prefix->length - 96 : prefix->length);
	}
	return out;
}

struct ip ip_mask(const struct ip *ip, unsigned length)
{
	struct ip masked = *ip;

	for (unsigned i = 0; i < sizeof masked.bytes; i++) {
		unsigned before = i * 8;

		if (length <= before)
			masked.bytes[i] = 0;
		else if (length < before + 8)
			masked.bytes[i] &= (unsigned char)(0xff << (before + 8 - length));
	}
	return masked;
}
