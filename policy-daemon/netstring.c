/* Netstrings (http://cr.yp.to/proto/netstrings.txt): `5:hello,`. The length is decimal, without a
 * sign and without leading zeros; Postfix reads leading zeros and writes none. What can be told
 * from the first bytes is told then, so that nobody makes us wait for a length that is too long. */
#include "netstring.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

const char netstring_too_long[] = "longer than allowed";

enum { MAX_DIGITS = 10 };

/* The digits in front. Returns how many; *value_r is what they say. */
static size_t read_digits(const char *data, size_t length, uint64_t *value_r)
{
	uint64_t value = 0;
	size_t count = 0;

	while (count < length && count <= MAX_DIGITS && data[count] >= '0' && data[count] <= '9')
		value = value * 10 + (uint64_t)(data[count++] - '0');
	*value_r = value;
	return count;
}

/* NULL, or what is wrong with the length as far as it is there. */
static const char *length_refusal(const char *data, size_t length, size_t digits, uint64_t value,
				  size_t limit)
{
	if (length > 0 && digits == 0)
		return "no length in digits at the start";
	if (digits > 1 && data[0] == '0')
		return "a length with leading zeros";
	if (digits > MAX_DIGITS)
		return netstring_too_long;
	if (value > limit)
		return netstring_too_long;
	if (digits < length && data[digits] != ':')
		return "no colon behind the length";
	return NULL;
}

ssize_t netstring_frame(const char *data, size_t length, size_t limit, const char **start_r,
			size_t *length_r, const char **why_r)
{
	uint64_t value;
	size_t digits = read_digits(data, length, &value);
	const char *why = length_refusal(data, length, digits, value, limit);

	if (why) {
		*why_r = why;
		return -1;
	}
	/* digits + 1 is where the content starts */
	if (length < digits + 1 || length - (digits + 1) <= value)
		return 0;
	if (data[digits + 1 + value] != ',') {
		*why_r = "no comma at the end";
		return -1;
	}
	*start_r = data + digits + 1;
	*length_r = value;
	return (ssize_t)(digits + 1 + value + 1);
}

size_t netstring_format(const char *content, size_t length, char *out, size_t size)
{
	char head[24];
	int used = snprintf(head, sizeof head, "%zu:", length);
	size_t head_length = (size_t)used;

	if (size < head_length + 1 || size - head_length - 1 < length)
		return 0;
	memmove(out + head_length, content, length);
	memcpy(out, head, head_length);
	out[head_length + length] = ',';
	return head_length + length + 1;
}
