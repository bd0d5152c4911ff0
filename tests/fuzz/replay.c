/* Runs files, and all files of folders, through a fuzz target: the seeds as a test, or an input
 * that made a fuzzer stop. */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"
#include "support.h"

static unsigned replay(const char *path)
{
	struct stat status;
	unsigned count = 0;

	if (stat(path, &status) < 0)
		support_die("%s: cannot be read", path);
	if (!S_ISDIR(status.st_mode)) {
		size_t length;
		char *bytes = support_read_file(path, &length);

		LLVMFuzzerTestOneInput((const uint8_t *)bytes, length);
		free(bytes);
		return 1;
	}
	struct dirent **entries;
	int found = scandir(path, &entries, NULL, alphasort);
	for (int i = 0; i < found; i++) {
		if (entries[i]->d_name[0] != '.') {
			char *inner = support_path(path, entries[i]->d_name);
			count += replay(inner);
			free(inner);
		}
		free(entries[i]);
	}
	if (found >= 0)
		free(entries);
	return count;
}

int main(int argc, char **argv)
{
	unsigned count = 0;

	for (int i = 1; i < argc; i++)
		count += replay(argv[i]);
	printf("%u inputs\n", count);
	return count > 0 ? 0 : 1;
}
