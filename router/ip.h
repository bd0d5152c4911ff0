/* IP addresses and prefixes. IPv4 is kept as IPv4-mapped IPv6 (RFC 4291, 2.5.5.2), so one
 * comparison serves both and a mapped address counts as the IPv4 one. */
#ifndef HOMING_IP_H
#define HOMING_IP_H

#include <stdbool.h>
#include <stddef.h>

struct ip {
	unsigned char bytes[16]; /* network order; IPv4 as ::ffff:a.b.c.d */
};

struct ip_prefix {
	struct ip ip;	 /* bits behind the length are zero */
	unsigned length; /* 0 to 128; an IPv4 /24 is 120 */
};

enum { IP_TEXT_SIZE = 56 }; /* room for any ip_format or ip_prefix_format, with NUL */

/* From the bytes of struct in_addr or struct in6_addr. */
struct ip ip_from_v4(const unsigned char bytes[4]);
struct ip ip_from_v6(const unsigned char bytes[16]);

/* Dotted quad or IPv6 text, no zone, no brackets. False if it is neither. */
bool ip_parse(const char *text, size_t length, struct ip *ip_r);

/* ADDRESS or ADDRESS/BITS. False if it does not parse or bits behind the length are set. */
bool ip_prefix_parse(const char *text, size_t length, struct ip_prefix *prefix_r);

/* The canonical text (RFC 5952; IPv4 as a dotted quad). Returns out. */
const char *ip_format(const struct ip *ip, char out[IP_TEXT_SIZE]);
const char *ip_prefix_format(const struct ip_prefix *prefix, char out[IP_TEXT_SIZE]);

/* Clears the bits behind the first `length`. */
struct ip ip_mask(const struct ip *ip, unsigned length);

#endif
