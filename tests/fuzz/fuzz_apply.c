/* Bytes as homing.json, applied to a directory: what is fine can be applied; what the directory then
 * exports is fine too, and is the same; and whatever domain it names routes. */
#include <string.h>

#include "config.h"
#include "directory-write.h"
#include "fuzz.h"
#include "printable.h"
#include "support.h"

static char *folder, *path;

static void finish(void)
{
	free(path);
	support_folder_remove(&folder);
}

static void make_once(void)
{
	if (folder)
		return;
	folder = support_folder();
	path = support_path(folder, "homing.json");
	support_apply(folder, "{\"main_domain\":\"a.example\",\"domains\":{\"a.example\":{}}}");
	atexit(finish);
}

static void take_mistake(const char *line, void *context)
{
	(void)line, (void)context;
}

static void show_mistake(const char *line, void *context)
{
	(void)context;
	fprintf(stderr, "%s\n", line);
}

static struct config *load(const void *bytes, size_t length, config_mistake_cb *mistake)
{
	struct config *config = NULL;
	struct error error = {0};

	support_write_file(path, bytes, length);
	const char *const paths[] = {path};
	FUZZ_EXPECT(config_load(paths, 1, &config, mistake, NULL, &error) >= 0);
	return config;
}

static void count_change(const struct config_change *change, void *context)
{
	FUZZ_EXPECT(change->what && change->key && change->key[0]);
	(*(int *)context)++;
}

/* How many changes it makes. */
static int apply(const struct config *config, bool dry_run)
{
	struct directory_writer *writer;
	struct error error = {0};
	int changes = 0;

	FUZZ_EXPECT(directory_writer_open(folder, false, &writer, &error) == 0);
	if (directory_apply(writer, config, dry_run, count_change, &changes, &error) < 0) {
		fprintf(stderr, "%s\n", error.text);
		FUZZ_EXPECT(false);
	}
	directory_writer_close(&writer);
	return changes;
}

static char *export(struct directory_reader *reader)
{
	struct error error = {0};

	json_t *json = config_export(reader, &error);
	if (!json)
		fprintf(stderr, "%s\n", error.text);
	FUZZ_EXPECT(json);
	char *text = json_dumps(json, JSON_INDENT(1));
	FUZZ_EXPECT(text);
	json_decref(json);
	return text;
}

static void route_domain(struct directory_reader *reader, const char *local, const char *domain)
{
	char name[NAME_SIZE + LOCAL_SIZE];
	struct error error = {0};

	for (enum name_kind kind = NAME_LOGIN; kind <= NAME_ADDRESS; kind++) {
		struct route_answer answer = {0};

		snprintf(name, sizeof name, "%s@%s", local, domain);
		struct route_question question = {
			.kind = kind, .name = name, .name_length = strlen(name)};
		if (route(reader, &question, &answer, NULL, &error) < 0) {
			fprintf(stderr, "%s: %s\n", name, error.text);
			FUZZ_EXPECT(false);
		}
		if (answer.result == ROUTE_ACCOUNT)
			FUZZ_EXPECT(!support_not_idempotent(reader, &answer));
		route_answer_finish(&answer);
	}
}

static void route_all(struct directory_reader *reader, const struct config *config)
{
	for (size_t i = 0; i < config->domain_count && i < 8; i++) {
		const struct config_domain *domain = &config->domains[i];

		route_domain(reader, "info", domain->name);
		route_domain(reader, "a-b.c+d", domain->name);
		for (size_t j = 0; j < domain->aliases.count && j < 4; j++)
			route_domain(reader, "info", domain->aliases.items[j]);
	}
}

static void check(const struct config *config)
{
	int told = apply(config, true), made = apply(config, false);

	FUZZ_EXPECT(told == made && apply(config, true) == 0);
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	struct error error = {0};
	FUZZ_EXPECT(directory_begin(open.reader, &error) == 0);
	char *text = export(open.reader);
	route_all(open.reader, config);
	directory_end(open.reader);
	support_close(&open);
	struct config *again = load(text, strlen(text), show_mistake);
	if (!again)
		fprintf(stderr, "%s\n", text);
	FUZZ_EXPECT(again && apply(again, true) == 0);
	config_free(&again);
	free(text);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	make_once();
	struct config *config = load(bytes, length, take_mistake);
	if (config)
		check(config);
	config_free(&config);
	return 0;
}
