/* account import: many accounts from a file, checked as a whole, then written as one
 * transaction in each file.
 *
 * LMDB takes sorted keys many times faster than others, so the accounts are sorted first. What
 * is kept of each is 24 bytes: the front of its name and its place in the file; the rest is read
 * from the file again when it is written. Ten million accounts are 240 MB, twice that while they
 * are sorted, however long their hashes are. */
#include "command.h"

#include <errno.h>
#include <fcntl.h>
#include <sodium.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sysexits.h>
#include <unistd.h>

#include "import-line.h"
#include "lines.h"
#include "output.h"
#include "progress.h"
#include "session.h"

enum {
	MAX_MISTAKES_SHOWN = 100,
	LINES_PER_MARK = 4096,
	OFFSET_BITS = 38,
	MAX_DOMAINS = 1 << (64 - OFFSET_BITS),
};

struct entry {
	uint64_t front[2]; /* the first 16 bytes of the local part, big-endian, padded with 0 */
	uint64_t place;	   /* domain << OFFSET_BITS | offset of its line */
};

struct import_domain {
	char *name;
	uint64_t number; /* as in the entries' places */
	const char *refusal; /* NULL: its accounts are ours */
};

struct import {
	const struct call *call;
	const char *file; /* as messages name it */
	int fd;
	uint64_t size;
	struct lines lines, other_lines; /* the second for comparing two */
	struct import_line *line, *other_line;
	struct session session; /* while checking */
	struct entry *entries;
	size_t count, allocated;
	struct import_domain *domains; /* as they come; sorted by name after the first pass */
	size_t domain_count;
	uint32_t *slots; /* hash table of the first pass: index in `domains` + 1, or 0 */
	size_t slot_count;
	unsigned char hash_key[crypto_shorthash_KEYBYTES];
	size_t last_domain; /* most lines have the domain of the line before */
	uint64_t *marks; /* where every LINES_PER_MARK-th line begins */
	size_t mark_count;
	size_t line_number, mistakes;
	struct progress progress;
	struct error error; /* of reading */
	size_t next; /* of writing */
};

static uint64_t entry_offset(const struct entry *entry)
{
	return entry->place & (((uint64_t)1 << OFFSET_BITS) - 1);
}

static uint64_t entry_domain(const struct entry *entry)
{
	return entry->place >> OFFSET_BITS;
}

static void report_at(struct import *import, size_t line_number, const char *key, const char *why)
{
	if (import->mistakes++ >= MAX_MISTAKES_SHOWN)
		return;
	progress_clear(&import->progress);
	print_bytes(stderr, import->file, strlen(import->file));
	fprintf(stderr, ":%zu: ", line_number);
	print_bytes(stderr, key, strlen(key));
	fputs(key[0] ? ": " : "", stderr);
	print_bytes(stderr, why, strlen(why));
	fputc('\n', stderr);
}

static void report_here(const char *key, const char *why, void *context)
{
	struct import *import = context;

	report_at(import, import->line_number, key, why);
}

/* The number of the line at an offset, counted from the nearest mark. */
static size_t number_at(struct import *import, uint64_t wanted)
{
	size_t mark = import->mark_count;

	while (mark > 1 && import->marks[mark - 1] > wanted)
		mark--;
	uint64_t offset = mark > 0 ? import->marks[mark - 1] : 0;
	size_t number = mark > 0 ? (mark - 1) * LINES_PER_MARK + 1 : 1;
	const char *line;
	size_t length;
	while (offset < wanted) {
		int got = lines_get(&import->other_lines, offset, &line, &length, &offset);
		if (got == 0 || got == -1)
			break;
		number++;
	}
	return number;
}

/* 0, or -1 out of memory. */
static int mark_line(struct import *import, uint64_t offset)
{
	if ((import->line_number - 1) % LINES_PER_MARK != 0)
		return 0;
	if ((import->mark_count & (import->mark_count - 1)) == 0) {
		size_t size = import->mark_count ? import->mark_count * 2 : 1;
		uint64_t *grown = realloc(import->marks, size * sizeof *grown);
		if (!grown)
			return -1;
		import->marks = grown;
	}
	import->marks[import->mark_count++] = offset;
	return 0;
}

/* The place of a domain in the hash table, or the empty place where it belongs. Keyed, so that
 * no file can be made to collide. */
static size_t find_slot(const struct import *import, const char *name)
{
	unsigned char hash[crypto_shorthash_BYTES];
	uint64_t number;

	crypto_shorthash(hash, (const unsigned char *)name, strlen(name), import->hash_key);
	memcpy(&number, hash, sizeof number);
	size_t slot = number & (import->slot_count - 1);
	while (import->slots[slot] != 0 &&
	       strcmp(import->domains[import->slots[slot] - 1].name, name) != 0)
		slot = (slot + 1) & (import->slot_count - 1);
	return slot;
}

/* Makes room for one more domain, with half of the hash table empty. */
static int grow_domains(struct import *import)
{
	if (import->domain_count * 2 < import->slot_count)
		return 0;
	size_t count = import->slot_count ? import->slot_count * 2 : 128;
	struct import_domain *domains =
		realloc(import->domains, count / 2 * sizeof *import->domains);
	if (domains)
		import->domains = domains;
	uint32_t *slots = calloc(count, sizeof *slots);
	if (!domains || !slots) {
		free(slots);
		return error_set(&import->error, ERROR_MEMORY, "out of memory");
	}
	free(import->slots);
	import->slots = slots;
	import->slot_count = count;
	for (size_t i = 0; i < import->domain_count; i++)
		slots[find_slot(import, domains[i].name)] = (uint32_t)i + 1;
	return 0;
}

/* Why accounts of the domain cannot be imported; NULL if they can. -1: failed. */
static int judge_domain(struct import *import, const char *name, const char **refusal_r)
{
	struct domain_rules rules;
	int found = domain_lookup(import->session.reader, name, &rules, &import->error);

	if (found < 0)
		return -1;
	*refusal_r = found == 0 ? "its domain is none of the directory's (homingctl apply makes one)"
		     : rules.accounts != ACCOUNTS_DIRECTORY
			     ? "the accounts of its domain are kept outside the directory"
			     : NULL;
	return 0;
}

static int add_domain(struct import *import, const char *name, size_t slot)
{
	if (import->domain_count == MAX_DOMAINS)
		return error_set(&import->error, ERROR_INVALID, "more than %d domains", MAX_DOMAINS);
	struct import_domain domain = {.name = strdup(name), .number = import->domain_count};
	if (!domain.name)
		return error_set(&import->error, ERROR_MEMORY, "out of memory");
	if (judge_domain(import, name, &domain.refusal) < 0) {
		free(domain.name);
		return -1;
	}
	import->domains[import->domain_count++] = domain;
	import->slots[slot] = (uint32_t)import->domain_count;
	return 0;
}

static const struct import_domain *intern_domain(struct import *import, const char *name)
{
	size_t last = import->last_domain;

	if (last < import->domain_count && strcmp(import->domains[last].name, name) == 0)
		return &import->domains[last];
	if (grow_domains(import) < 0)
		return NULL;
	size_t slot = find_slot(import, name);
	if (import->slots[slot] == 0 && add_domain(import, name, slot) < 0)
		return NULL;
	import->last_domain = import->slots[slot] - 1;
	return &import->domains[import->last_domain];
}

static uint64_t big_endian(const char *text, size_t length)
{
	uint64_t number = 0;

	for (size_t i = 0; i < 8; i++)
		number = number << 8 | (i < length ? (unsigned char)text[i] : 0);
	return number;
}

static int add_entry(struct import *import, uint64_t domain, uint64_t offset)
{
	const char *local = import->line->local;
	size_t length = strlen(local);

	if (import->count == import->allocated) {
		size_t size = import->allocated ? import->allocated + import->allocated / 2 : 4096;
		struct entry *grown = realloc(import->entries, size * sizeof *grown);
		if (!grown)
			return error_set(&import->error, ERROR_MEMORY, "out of memory");
		import->entries = grown;
		import->allocated = size;
	}
	import->entries[import->count++] = (struct entry){
		.front = {big_endian(local, length), length > 8 ? big_endian(local + 8, length - 8) : 0},
		.place = domain << OFFSET_BITS | offset,
	};
	return 0;
}

static bool is_blank(const char *line, size_t length)
{
	for (size_t i = 0; i < length; i++)
		if (line[i] != ' ' && line[i] != '\t' && line[i] != '\r')
			return false;
	return true;
}

/* A line in the first pass. -1: cannot go on (import->error). */
static int scan_line(struct import *import, const char *line, size_t length, uint64_t offset)
{
	if (is_blank(line, length) ||
	    !import_line_parse(import->line, line, length, report_here, import))
		return 0;
	const struct import_domain *domain = intern_domain(import, import->line->domain);
	if (!domain)
		return -1;
	if (domain->refusal) {
		report_here("account", domain->refusal, import);
		return 0;
	}
	return add_entry(import, domain->number, offset);
}

static int scan_file(struct import *import)
{
	uint64_t offset = 0, next = 0;
	const char *line;
	size_t length;
	int got;

	progress_phase(&import->progress, "reading", import->size);
	while ((got = lines_get(&import->lines, offset, &line, &length, &next)) != 0) {
		if (got == -1)
			return error_set(&import->error, ERROR_IO, "%s: %s", import->file,
					 strerror(errno));
		import->line_number++;
		if (mark_line(import, offset) < 0)
			return error_set(&import->error, ERROR_MEMORY, "out of memory");
		if (got == -2)
			report_here("", "the line is longer than 65536 bytes", import);
		else if (scan_line(import, line, length, offset) < 0)
			return -1;
		offset = next;
		progress_step(&import->progress, offset);
	}
	return 0;
}

static int compare_domains(const void *a, const void *b)
{
	const struct import_domain *first = a, *second = b;

	return strcmp(first->name, second->name);
}

/* Sorts the domains and numbers them anew, so that entries compare by number. */
static int renumber_domains(struct import *import)
{
	uint64_t *numbers = malloc((import->domain_count + 1) * sizeof *numbers);

	if (!numbers)
		return error_set(&import->error, ERROR_MEMORY, "out of memory");
	if (import->domain_count > 0)
		qsort(import->domains, import->domain_count, sizeof *import->domains, compare_domains);
	for (size_t i = 0; i < import->domain_count; i++) {
		numbers[import->domains[i].number] = i;
		import->domains[i].number = i;
	}
	for (size_t i = 0; i < import->count; i++) {
		struct entry *entry = &import->entries[i];
		entry->place = numbers[entry_domain(entry)] << OFFSET_BITS | entry_offset(entry);
	}
	free(numbers);
	return 0;
}

/* Reads the line of an entry again. -1: it is not what it was (import->error). */
static int read_entry(struct import *import, const struct entry *entry, struct lines *lines,
		      struct import_line *line_r)
{
	const char *line;
	size_t length;
	uint64_t next;

	if (lines_get(lines, entry_offset(entry), &line, &length, &next) != 1 ||
	    !import_line_parse(line_r, line, length, NULL, NULL) ||
	    strcmp(line_r->domain, import->domains[entry_domain(entry)].name) != 0)
		return error_set(&import->error, ERROR_IO,
				 "%s: the file was changed while it was read; nothing is imported",
				 import->file);
	return 0;
}

/* Does the front hold the whole local part? */
static bool is_short(const struct entry *entry)
{
	return (entry->front[1] & 0xff) == 0;
}

static int compare_long(struct import *import, const struct entry *a, const struct entry *b)
{
	if (read_entry(import, a, &import->lines, import->line) < 0 ||
	    read_entry(import, b, &import->other_lines, import->other_line) < 0)
		return 0; /* the error is seen after sorting */
	return strcmp(import->line->local, import->other_line->local);
}

static int compare_names(struct import *import, const struct entry *a, const struct entry *b)
{
	if (entry_domain(a) != entry_domain(b))
		return entry_domain(a) < entry_domain(b) ? -1 : 1;
	for (int i = 0; i < 2; i++)
		if (a->front[i] != b->front[i])
			return a->front[i] < b->front[i] ? -1 : 1;
	return is_short(a) && is_short(b) ? 0 : compare_long(import, a, b);
}

/* The order of their lines decides among equals. */
static int compare_entries(const void *a, const void *b, void *context)
{
	const struct entry *first = a, *second = b;
	int order = compare_names(context, first, second);

	if (order != 0)
		return order;
	return entry_offset(first) < entry_offset(second) ? -1 : 1;
}

static int sort_entries(struct import *import)
{
	bool sorted = true;

	if (renumber_domains(import) < 0)
		return -1;
	progress_phase(&import->progress, "sorting", import->count);
	for (size_t i = 1; sorted && i < import->count; i++)
		sorted = compare_entries(&import->entries[i - 1], &import->entries[i], import) < 0;
	if (!sorted)
		qsort_r(import->entries, import->count, sizeof *import->entries, compare_entries,
			import);
	return import->error.code == ERROR_NONE ? 0 : -1;
}

static void report_same(struct import *import, const struct entry *entry,
			const struct entry *earlier)
{
	char why[64];

	if (import->mistakes >= MAX_MISTAKES_SHOWN) {
		import->mistakes++;
		return;
	}
	snprintf(why, sizeof why, "the same account as in line %zu",
		 number_at(import, entry_offset(earlier)));
	report_at(import, number_at(import, entry_offset(entry)), "account", why);
}

static const char *taken_refusal(int kind, bool replace)
{
	switch (kind) {
	case 0:
		return NULL;
	case ENTRY_ACCOUNT:
		return replace ? NULL : "exists already (--replace replaces it)";
	case ENTRY_ALIAS:
		return "the name is an alias";
	case ENTRY_FORWARDER:
		return "the name is a forwarder";
	default:
		return "the name is a group";
	}
}

/* Is the name free? -1: failed. */
static int check_taken(struct import *import, const struct entry *entry)
{
	if (read_entry(import, entry, &import->lines, import->line) < 0)
		return -1;
	int kind = directory_kind(import->session.reader, import->line->local, import->line->domain,
				  &import->error);
	if (kind < 0)
		return -1;
	const char *why = taken_refusal(kind, has_option(import->call, OPTION_REPLACE));
	if (why && import->mistakes < MAX_MISTAKES_SHOWN)
		report_at(import, number_at(import, entry_offset(entry)), "account", why);
	else if (why)
		import->mistakes++;
	return 0;
}

/* What only shows when the whole is known: names given twice, and names that are taken. */
static int check_entries(struct import *import)
{
	struct directory_statistics statistics;

	if (directory_statistics(import->session.reader, &statistics, &import->error) < 0)
		return -1;
	progress_phase(&import->progress, "checking", import->count);
	for (size_t i = 0; i < import->count; i++) {
		const struct entry *entry = &import->entries[i];

		if (i > 0 && compare_names(import, entry - 1, entry) == 0)
			report_same(import, entry, entry - 1);
		else if (statistics.names > 0 && check_taken(import, entry) < 0)
			return -1;
		progress_step(&import->progress, i);
	}
	return import->error.code == ERROR_NONE ? 0 : -1;
}

static int next_account(void *context, struct account_change *account, struct error *error)
{
	struct import *import = context;

	if (import->next == import->count)
		return 0;
	if (read_entry(import, &import->entries[import->next], &import->lines, import->line) < 0)
		return error_set(error, import->error.code, "%s", import->error.text);
	*account = import->line->account;
	progress_step(&import->progress, ++import->next);
	return 1;
}

static void rewind_accounts(void *context)
{
	struct import *import = context;

	import->next = 0;
}

static int write_accounts(struct import *import)
{
	struct account_source source = {
		.next = next_account,
		.rewind = rewind_accounts,
		.context = import,
		.replace = has_option(import->call, OPTION_REPLACE),
	};
	struct directory_writer *writer;
	struct error error = {0};
	int code = writer_open(import->call, &writer);

	if (code != 0)
		return code;
	progress_phase(&import->progress, "writing", import->count);
	int answer = directory_account_import(writer, &source, &error);
	progress_clear(&import->progress);
	if (answer < 0)
		code = fail(&error, EX_NOUSER);
	directory_writer_close(&writer);
	return code;
}

static int check_all(struct import *import)
{
	int code = session_open(import->call, DIRECTORY_NAMES, &import->session);

	if (code != 0)
		return code;
	if (scan_file(import) < 0 || sort_entries(import) < 0 || check_entries(import) < 0) {
		progress_clear(&import->progress);
		code = fail(&import->error, EX_NOINPUT);
	}
	progress_clear(&import->progress);
	session_close(&import->session);
	if (code == 0 && import->mistakes > 0) {
		if (import->mistakes > MAX_MISTAKES_SHOWN)
			complain("and %zu more", import->mistakes - MAX_MISTAKES_SHOWN);
		complain("%s: %zu mistake%s: nothing is imported", import->file, import->mistakes,
			 import->mistakes == 1 ? "" : "s");
		code = EX_DATAERR;
	}
	return code;
}

/* A pipe cannot be read twice: its content goes to a file without a name. */
static int spool(int from)
{
	char buffer[65536];
	FILE *file = tmpfile();
	int fd = file ? fcntl(fileno(file), F_DUPFD_CLOEXEC, 3) : -1;
	ssize_t got = 0;

	if (file)
		fclose(file);
	while (fd >= 0 && (got = read(from, buffer, sizeof buffer)) != 0) {
		ssize_t put = 0;

		if (got < 0 && errno == EINTR)
			continue;
		while (got > 0 && put < got) {
			ssize_t now = write(fd, buffer + put, (size_t)(got - put));
			if (now < 0 && errno != EINTR)
				break;
			put += now > 0 ? now : 0;
		}
		if (got < 0 || put < got) {
			int cause = errno;
			close(fd);
			errno = cause;
			return -1;
		}
	}
	return fd;
}

static int open_input(struct import *import, const char *name)
{
	struct stat status;
	bool is_stdin = strcmp(name, "-") == 0;

	import->file = is_stdin ? "standard input" : name;
	import->fd = is_stdin ? dup(STDIN_FILENO) : open(name, O_RDONLY | O_CLOEXEC);
	if (import->fd < 0) {
		int code = errno == ENOENT ? EX_NOINPUT : errno == EACCES ? EX_NOPERM : EX_IOERR;
		complain("%s: %s", import->file, strerror(errno));
		return code;
	}
	if (fstat(import->fd, &status) == 0 && !S_ISREG(status.st_mode)) {
		int spooled = spool(import->fd);
		int cause = errno;

		close(import->fd);
		import->fd = spooled;
		if (spooled < 0 || fstat(spooled, &status) < 0) {
			complain("%s: keeping it in a temporary file: %s", import->file, strerror(cause));
			return EX_IOERR;
		}
	}
	import->size = (uint64_t)status.st_size;
	if (import->size >> OFFSET_BITS) {
		complain("%s: larger than %llu bytes", import->file, 1ull << OFFSET_BITS);
		return EX_DATAERR;
	}
	return 0;
}

static int import_init(struct import *import, const struct call *call)
{
	*import = (struct import){.call = call, .fd = -1};
	progress_init(&import->progress);
	crypto_shorthash_keygen(import->hash_key);
	int code = open_input(import, call->arguments[0]);
	if (code != 0)
		return code;
	import->line = calloc(1, sizeof *import->line);
	import->other_line = calloc(1, sizeof *import->other_line);
	if (!import->line || !import->other_line || lines_init(&import->lines, import->fd) < 0 ||
	    lines_init(&import->other_lines, import->fd) < 0)
		return fail_memory();
	return 0;
}

static void free_line(struct import_line *line)
{
	if (line)
		import_line_finish(line);
	free(line);
}

static void import_finish(struct import *import)
{
	for (size_t i = 0; i < import->domain_count; i++)
		free(import->domains[i].name);
	free(import->domains);
	free(import->slots);
	free(import->entries);
	free(import->marks);
	free_line(import->line);
	free_line(import->other_line);
	lines_finish(&import->lines);
	lines_finish(&import->other_lines);
	if (import->fd >= 0)
		close(import->fd);
}

static int run_import(const struct call *call)
{
	struct import import;
	int code = import_init(&import, call);

	if (code == 0)
		code = check_all(&import);
	if (code == 0)
		code = write_accounts(&import);
	if (code == 0 && has_option(call, OPTION_JSON))
		code = print_json(json_pack("{s:I}", "imported", (json_int_t)import.count));
	else if (code == 0)
		print("%zu account%s imported\n", import.count, import.count == 1 ? "" : "s");
	import_finish(&import);
	return code;
}

const struct command account_import_command = {
	.name = "account import",
	.usage = "FILE|- [--replace]",
	.summary = "Add many accounts from a file of JSON lines",
	.help = "Each line: {\"account\":\"info@client1.com\",\"password\":\"{SCHEME}hash\",\n"
		"\"home\":\"/...\",\"uid\":\"vmail\",\"gid\":\"vmail\",\"groups\":[\"staff@client1.com\"]};\n"
		"only \"account\" must be there. All lines or none: each mistake is reported as\n"
		"FILE:LINE: KEY: what is wrong, and then nothing is imported (exit code 65).\n\n"
		"  --replace         replace accounts that exist\n",
	.options = OPTION(OPTION_REPLACE),
	.least = 1,
	.most = 1,
	.run = run_import,
};
