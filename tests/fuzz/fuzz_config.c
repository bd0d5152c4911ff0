/* Bytes as homing.json: it is fine, or its mistakes are told, each with its place. */
#include "config.h"

#include <string.h>

#include "fuzz.h"
#include "support.h"

static char *folder, *path;

static void finish(void)
{
	free(path);
	support_folder_remove(&folder);
}

static void make_folder_once(void)
{
	if (folder)
		return;
	folder = support_folder();
	path = support_path(folder, "homing.json");
	atexit(finish);
}

static void count_mistake(const char *line, void *context)
{
	int *count = context;

	FUZZ_EXPECT(strncmp(line, path, strlen(path)) == 0);
	FUZZ_EXPECT(!strchr(line, '\n'));
	(*count)++;
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct config *config = NULL;
	struct error error = {0};
	int told = 0;

	make_folder_once();
	support_write_file(path, bytes, length);
	const char *const paths[] = {path};
	int mistakes = config_load(paths, 1, &config, count_mistake, &told, &error);
	FUZZ_EXPECT(mistakes >= 0 && mistakes == told);
	FUZZ_EXPECT((config != NULL) == (mistakes == 0));
	config_free(&config);
	return 0;
}
