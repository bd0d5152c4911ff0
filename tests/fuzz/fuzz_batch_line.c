/* Bytes as a file of `homingctl route --batch` or `account import`: the lines as lines.c finds them, in
 * order and each by its place, and each as a question, which has what stands between the tabs. */
#include "batch-line.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "fuzz.h"
#include "input.h"
#include "lines.h"

static const char *field(const char *line, size_t length, int number, size_t *length_r)
{
	const char *end = line + length;

	for (; number > 0; number--) {
		line = memchr(line, '\t', (size_t)(end - line));
		if (!line)
			return NULL;
		line++;
	}
	const char *tab = memchr(line, '\t', (size_t)(end - line));
	*length_r = (size_t)((tab ? tab : end) - line);
	return line;
}

static bool is(const char *text, size_t length, const char *word)
{
	return text && length >= strlen(word) && memcmp(text, word, strlen(word)) == 0 &&
	       (length == strlen(word) || text[strlen(word)] == '\0');
}

static void try_question(const char *line, size_t length)
{
	struct route_question question = {.name_length = 77};
	struct ip ip;
	char *copy = malloc(length + 1);
	size_t kind_length = 0, name_length = 0, ip_length = 0, server_length = 0, rest;

	FUZZ_EXPECT(copy);
	memcpy(copy, line, length);
	copy[length] = '\0';
	const char *why = batch_line_parse(copy, length, &question, &ip);
	const char *kind = field(line, length, 0, &kind_length);
	const char *name = field(line, length, 1, &name_length);
	const char *ip_text = field(line, length, 2, &ip_length);
	const char *server = field(line, length, 3, &server_length);
	if (why) {
		FUZZ_EXPECT(input_is_message(why) && question.name_length == 77);
	} else {
		FUZZ_EXPECT(name && !field(line, length, 4, &rest));
		FUZZ_EXPECT(is(kind, kind_length, question.kind == NAME_LOGIN ? "login" : "address"));
		FUZZ_EXPECT(question.name_length == name_length &&
			    memcmp(question.name, name, name_length) == 0);
		FUZZ_EXPECT((question.local_ip != NULL) == (ip_text && ip_length > 0));
		FUZZ_EXPECT((question.server_name != NULL) == (server && server_length > 0));
		if (question.server_name)
			FUZZ_EXPECT(strlen(question.server_name) == server_length &&
				    memcmp(question.server_name, server, server_length) == 0);
	}
	free(copy);
}

static void check_line(const char *bytes, size_t length, uint64_t offset, int got, const char *line,
		       size_t line_length, uint64_t next)
{
	const char *end = memchr(bytes + offset, '\n', length - offset);
	size_t wanted = end ? (size_t)(end - bytes) - offset : length - offset;

	FUZZ_EXPECT(got == (wanted > LINE_MAX_BYTES ? -2 : 1));
	FUZZ_EXPECT(next == offset + wanted + (end ? 1 : 0));
	if (got == 1)
		FUZZ_EXPECT(line_length == wanted && memcmp(line, bytes + offset, wanted) == 0);
}

/* From the front, going back to another place now and then. */
static void try_lines(int fd, const char *bytes, size_t length)
{
	struct lines lines;
	uint64_t offset = 0, next = 0, before = 0;
	const char *line;
	size_t line_length;
	int got;

	FUZZ_EXPECT(lines_init(&lines, fd) == 0);
	for (unsigned number = 0; offset < length; number++) {
		if (number % 3 == 2 && before < length) {
			got = lines_get(&lines, before, &line, &line_length, &next);
			check_line(bytes, length, before, got, line, line_length, next);
		}
		got = lines_get(&lines, offset, &line, &line_length, &next);
		check_line(bytes, length, offset, got, line, line_length, next);
		if (got == 1)
			try_question(line, line_length);
		before = offset / 2;
		while (before > 0 && bytes[before - 1] != '\n')
			before--;
		offset = next;
	}
	FUZZ_EXPECT(lines_get(&lines, offset, &line, &line_length, &next) == 0);
	lines_finish(&lines);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	int fd = memfd_create("lines", MFD_CLOEXEC);

	FUZZ_EXPECT(fd >= 0 && write(fd, bytes, length) == (ssize_t)length);
	try_lines(fd, (const char *)bytes, length);
	close(fd);
	return 0;
}
