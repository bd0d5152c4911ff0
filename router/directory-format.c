/* Keys and values of the directory's tables, for both sides. */
#include "directory-format.h"

#include <stdlib.h>
#include <string.h>

#include "directory.h"

const char *const directory_tables[] = {"meta",	   "domains", "hosts",	    "networks", "records",
					"names",   "members", "references", NULL};
const char *const credentials_tables[] = {"meta", "credentials", NULL};

size_t name_key(const char *local, const char *domain, char key_r[NAME_KEY_SIZE])
{
	size_t domain_length = strnlen(domain, DOMAIN_MAX_BYTES);
	size_t local_length = strnlen(local, LOCAL_MAX_BYTES);

	memcpy(key_r, domain, domain_length);
	key_r[domain_length] = '\0';
	memcpy(key_r + domain_length + 1, local, local_length);
	return domain_length + 1 + local_length;
}

size_t name_domain_key(const char *domain, char key_r[NAME_KEY_SIZE])
{
	return name_key("", domain, key_r);
}

bool is_name_domain_key(const void *key, size_t length)
{
	return length > 1 && ((const char *)key)[length - 1] == '\0';
}

bool name_key_split(const void *key, size_t length, char local_r[LOCAL_SIZE],
		    char domain_r[DOMAIN_SIZE])
{
	const char *start = key;
	const char *nul = memchr(start, '\0', length);

	if (!nul)
		return false;
	size_t domain_length = (size_t)(nul - start);
	size_t local_length = length - domain_length - 1;
	if (domain_length == 0 || domain_length > DOMAIN_MAX_BYTES || local_length == 0 ||
	    local_length > LOCAL_MAX_BYTES || memchr(nul + 1, '\0', local_length))
		return false;
	memcpy(domain_r, start, domain_length);
	domain_r[domain_length] = '\0';
	memcpy(local_r, nul + 1, local_length);
	local_r[local_length] = '\0';
	return true;
}

static bool is_scheme_byte(char byte)
{
	return (byte >= 'A' && byte <= 'Z') || (byte >= 'a' && byte <= 'z') ||
	       (byte >= '0' && byte <= '9') || byte == '-' || byte == '.' || byte == '_';
}

const char *credential_refusal(const char *credential, size_t length)
{
	const char *close = memchr(credential, '}', length);

	if (length >= CREDENTIAL_SIZE)
		return "longer than 1023 bytes";
	if (length == 0 || credential[0] != '{' || !close || close == credential + 1)
		return "not of the form {SCHEME}hash";
	if (close == credential + length - 1)
		return "nothing behind the {SCHEME}";
	for (const char *byte = credential + 1; byte < close; byte++)
		if (!is_scheme_byte(*byte))
			return "a scheme has letters, digits, `-`, `.` and `_` alone";
	for (size_t i = 0; i < length; i++)
		if ((unsigned char)credential[i] < ' ' || (unsigned char)credential[i] >= 0x7f)
			return "has bytes that are not printable ASCII";
	return NULL;
}

bool home_expand(const char *template, const char *local, const char *domain, char *home_r,
		 size_t size)
{
	size_t used = 0;

	while (*template) {
		const char *piece = template;
		size_t length = strcspn(template + 1, "%") + 1, skip = length;

		if (strncmp(template, "%{domain}", 9) == 0) {
			piece = domain;
			length = strlen(domain);
			skip = 9;
		} else if (strncmp(template, "%{local}", 8) == 0) {
			piece = local;
			length = strlen(local);
			skip = 8;
		}
		if (length >= size - used)
			return false;
		memcpy(home_r + used, piece, length);
		used += length;
		template += skip;
	}
	home_r[used] = '\0';
	return true;
}

static bool has(struct value_reader *reader, size_t bytes)
{
	if (!reader->failed && (size_t)(reader->end - reader->next) < bytes)
		reader->failed = true;
	return !reader->failed;
}

uint8_t value_u8(struct value_reader *reader)
{
	return has(reader, 1) ? *reader->next++ : 0;
}

uint32_t value_u32(struct value_reader *reader)
{
	if (!has(reader, 4))
		return 0;
	const unsigned char *bytes = reader->next;
	reader->next += 4;
	return bytes[0] | (uint32_t)bytes[1] << 8 | (uint32_t)bytes[2] << 16 |
	       (uint32_t)bytes[3] << 24;
}

const char *value_string(struct value_reader *reader, size_t *length_r)
{
	const unsigned char *start = reader->next;
	const unsigned char *nul =
		has(reader, 1) ? memchr(start, '\0', (size_t)(reader->end - start)) : NULL;

	if (!nul) {
		reader->failed = true;
		if (length_r)
			*length_r = 0;
		return "";
	}
	reader->next = nul + 1;
	if (length_r)
		*length_r = (size_t)(nul - start);
	return (const char *)start;
}

void value_put(struct value_writer *writer, const void *bytes, size_t length)
{
	if (writer->failed)
		return;
	if (writer->size - writer->length < length) {
		size_t size = writer->size ? writer->size * 2 : 256;

		while (size - writer->length < length)
			size *= 2;
		unsigned char *data = realloc(writer->data, size);
		if (!data) {
			writer->failed = true;
			return;
		}
		writer->data = data;
		writer->size = size;
	}
	if (length > 0)
		memcpy(writer->data + writer->length, bytes, length);
	writer->length += length;
}

void value_put_u8(struct value_writer *writer, uint8_t number)
{
	value_put(writer, &number, 1);
}

void value_put_u32(struct value_writer *writer, uint32_t number)
{
	const unsigned char bytes[4] = {
		(unsigned char)number,
		(unsigned char)(number >> 8),
		(unsigned char)(number >> 16),
		(unsigned char)(number >> 24),
	};
	value_put(writer, bytes, sizeof bytes);
}

void value_put_string(struct value_writer *writer, const char *text)
{
	value_put(writer, text, strlen(text) + 1);
}
