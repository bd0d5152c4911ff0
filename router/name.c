/* Names as people type them, from bytes to values. Grammar: RFC 5321 (4.1.2 mailboxes, 4.1.3
 * literals), RFC 6531 (UTF-8 local parts), RFC 5890 (A-labels and U-labels). */
#include "name.h"

#include <idn2.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unicase.h>
#include <uninorm.h>
#include <unistr.h>

static bool is_ascii(const char *text, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)text[i] >= 0x80)
			return false;
	return true;
}

/* Controls C0 and C1, DEL, and the two separators that end a line. */
static bool is_control(ucs4_t character)
{
	return character < 0x20 || (character >= 0x7f && character < 0xa0) ||
	       character == 0x2028 || character == 0x2029;
}

/* Unicode's White_Space property, without what is_control has. */
static bool is_space(ucs4_t character)
{
	return character == 0x20 || character == 0xa0 || character == 0x1680 ||
	       (character >= 0x2000 && character <= 0x200a) || character == 0x202f ||
	       character == 0x205f || character == 0x3000;
}

static const char *refused_character(enum name_kind kind, ucs4_t character)
{
	if (is_control(character))
		return "a control character";
	if (kind == NAME_LOGIN && is_space(character))
		return "white space in a login";
	if (kind == NAME_LOGIN && character == '/')
		return "`/` in a login";
	return NULL;
}

/* ASCII that every kind of name may have. */
static bool is_plain(unsigned char byte)
{
	return byte > ' ' && byte < 0x7f && byte != '/';
}

const char *name_refusal(enum name_kind kind, const char *name, size_t length)
{
	const uint8_t *next = (const uint8_t *)name;
	size_t left = length;

	if (length == 0)
		return "empty";
	if (length > NAME_MAX_BYTES)
		return "longer than 512 bytes";
	while (left > 0) {
		ucs4_t character = *next;
		int step = 1;

		/* nearly every byte of nearly every name */
		if (is_plain((unsigned char)character)) {
			next++;
			left--;
			continue;
		}
		if (character >= 0x80) {
			step = u8_mbtoucr(&character, next, left);
			if (step <= 0)
				return "not UTF-8";
		}
		const char *why = refused_character(kind, character);
		if (why)
			return why;
		next += step;
		left -= (size_t)step;
	}
	return NULL;
}

const char *name_find_at(const char *name, size_t length)
{
	return name_find(name, length, '@', true);
}

const char *name_find(const char *name, size_t length, char wanted, bool last)
{
	const char *found = NULL;
	bool quoted = false;

	for (size_t i = 0; i < length; i++) {
		if (quoted && name[i] == '\\') {
			i++;
		} else if (name[i] == '"') {
			quoted = !quoted;
		} else if (!quoted && name[i] == wanted) {
			found = name + i;
			if (!last)
				break;
		}
	}
	return found;
}

static bool is_label_byte(unsigned char byte)
{
	return (byte >= 'a' && byte <= 'z') || (byte >= '0' && byte <= '9') || byte == '-' ||
	       byte == '_';
}

/* Lower-cases and checks an ASCII name; one trailing dot goes. */
static bool ascii_domain(const char *text, size_t length, char domain_r[DOMAIN_SIZE])
{
	size_t label = 0;

	if (length > 0 && text[length - 1] == '.')
		length--;
	if (length == 0 || length > DOMAIN_MAX_BYTES)
		return false;
	for (size_t i = 0; i < length; i++) {
		unsigned char byte = (unsigned char)text[i];

		if (byte >= 'A' && byte <= 'Z')
			byte = (unsigned char)(byte + ('a' - 'A'));
		if (byte == '.') {
			if (label == 0)
				return false;
			label = 0;
		} else if (!is_label_byte(byte) || ++label > 63) {
			return false;
		}
		domain_r[i] = (char)byte;
	}
	domain_r[length] = '\0';
	return label > 0;
}

/* U-labels, through libidn2. The result goes through ascii_domain again, because UTS 46 maps
 * characters such as a full-width dot or letter to ASCII. */
static bool unicode_domain(const char *text, size_t length, char domain_r[DOMAIN_SIZE])
{
	uint8_t copy[NAME_SIZE];
	uint8_t *converted = NULL;

	if (length >= sizeof copy)
		return false;
	memcpy(copy, text, length);
	copy[length] = '\0';
	if (idn2_lookup_u8(copy, &converted, IDN2_NFC_INPUT | IDN2_NONTRANSITIONAL) != IDN2_OK)
		return false;
	bool fine = ascii_domain((char *)converted, strlen((char *)converted), domain_r);
	idn2_free(converted);
	return fine;
}

bool domain_parse(const char *text, size_t length, char domain_r[DOMAIN_SIZE])
{
	if (memchr(text, '\0', length))
		return false;
	return is_ascii(text, length) ? ascii_domain(text, length, domain_r)
				      : unicode_domain(text, length, domain_r);
}

bool domain_literal_parse(const char *text, size_t length, struct ip *ip_r)
{
	static const char tag[] = "IPv6:";
	const size_t tag_length = sizeof tag - 1;

	if (length < 3 || text[0] != '[' || text[length - 1] != ']')
		return false;
	text++;
	length -= 2;
	bool tagged = length > tag_length && strncasecmp(text, tag, tag_length) == 0;
	if (tagged) {
		text += tag_length;
		length -= tag_length;
	}
	return tagged == (memchr(text, ':', length) != NULL) && ip_parse(text, length, ip_r);
}

static int ascii_fold(const char *local, size_t length, char folded_r[LOCAL_SIZE])
{
	for (size_t i = 0; i < length; i++) {
		char byte = local[i];

		folded_r[i] = byte >= 'A' && byte <= 'Z' ? (char)(byte + ('a' - 'A')) : byte;
	}
	folded_r[length] = '\0';
	return (int)length;
}

int local_fold(const char *local, size_t length, char folded_r[LOCAL_SIZE])
{
	uint8_t folded[4 * LOCAL_SIZE];
	size_t folded_length = sizeof folded;

	if (length > LOCAL_MAX_BYTES || memchr(local, '\0', length))
		return -1;
	if (is_ascii(local, length))
		return ascii_fold(local, length, folded_r);
	if (u8_check((const uint8_t *)local, length))
		return -1;
	uint8_t *result = u8_tolower((const uint8_t *)local, length, NULL, UNINORM_NFC, folded,
				     &folded_length);
	if (!result)
		return -1;
	bool fits = folded_length <= LOCAL_MAX_BYTES;
	if (fits) {
		memcpy(folded_r, result, folded_length);
		folded_r[folded_length] = '\0';
	}
	if (result != folded)
		free(result);
	return fits ? (int)folded_length : -1;
}

const char *local_refusal(const char *folded, size_t length)
{
	const char *why;

	if (length == 0)
		return "empty name";
	if (length > LOCAL_MAX_BYTES)
		return "longer than 255 bytes";
	why = name_refusal(NAME_LOGIN, folded, length);
	if (why)
		return why;
	if (length == 1 && folded[0] == '.')
		return "`.` is not a name";
	if (length == 2 && memcmp(folded, "..", 2) == 0)
		return "`..` is not a name";
	if (folded[0] == '-' || folded[0] == '~')
		return "a leading `-` or `~`";
	for (size_t i = 0; i < length; i++)
		if (!is_label_byte((unsigned char)folded[i]) &&
		    strchr("/@%!#\"`\\*,:;<>()[]|&$", folded[i]))
			return "a character that routing, mail or access rights use for "
			       "something else: / @ % ! # \" ` \\ * , : ; < > ( ) [ ] | & $";
	char again[LOCAL_SIZE];
	int again_length = local_fold(folded, length, again);
	if (again_length != (int)length || memcmp(again, folded, length) != 0)
		return "not in lower case and NFC";
	return NULL;
}

const char *address_parse(const char *text, size_t length, char local_r[LOCAL_SIZE],
			  char domain_r[DOMAIN_SIZE])
{
	const char *at = memrchr(text, '@', length);

	if (!at)
		return "no `@`: expected name@domain";
	if (!domain_parse(at + 1, length - (size_t)(at - text) - 1, domain_r))
		return "not a domain name behind the `@`";
	int folded = local_fold(text, (size_t)(at - text), local_r);
	if (folded < 0)
		return "a name longer than 255 bytes, or not UTF-8";
	return local_refusal(local_r, (size_t)folded);
}

bool address_is(const char *typed, const char *canonical)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];

	if (address_parse(typed, strlen(typed), local, domain) != NULL)
		return false;
	size_t length = strlen(local);
	return strncmp(canonical, local, length) == 0 && canonical[length] == '@' &&
	       strcmp(canonical + length + 1, domain) == 0;
}
