#include "usual-config.h"

#include <dirent.h>
#include <errno.h>
#include <fnmatch.h>
#include <string.h>
#include <unistd.h>

static const char usual_file[] = HOMING_CONFIG "/homing.json";
static const char usual_folder[] = HOMING_CONFIG "/homing.d";

/* 1: it holds a *.json; 0: it does not, or is not there; -1: nobody knows. */
static int has_files(const char *folder)
{
	const struct dirent *entry;
	int answer = 0;
	DIR *stream = opendir(folder);

	if (!stream)
		return errno == ENOENT ? 0 : -1;
	errno = 0;
	while (answer == 0 && (entry = readdir(stream)))
		answer = fnmatch("?*.json", entry->d_name, FNM_PERIOD) == 0;
	if (answer == 0 && errno != 0)
		answer = -1;
	closedir(stream);
	return answer;
}

int usual_config_find(struct usual_config *found, struct error *error)
{
	found->count = 0;
	/* What is there but cannot be read goes to config_load, which says why. */
	if (access(usual_file, F_OK) == 0 || errno != ENOENT)
		found->paths[found->count++] = usual_file;
	if (has_files(usual_folder) != 0)
		found->paths[found->count++] = usual_folder;
	if (found->count > 0)
		return 0;
	return error_set(error, ERROR_MISSING,
			 "there is neither %s nor a *.json in %s: write one, or name a file", usual_file,
			 usual_folder);
}
