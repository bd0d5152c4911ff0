/* /proc/self/mountinfo, see proc_pid_mountinfo(5): a line is
 *
 *	95 75 8:1 / /var/lib rw,relatime shared:1 - ext4 /dev/sda1 ro,errors=remount-ro
 *
 * with the disk's own options at its end. */
#include "disk.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static bool has_word(const char *options, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = options; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (strncmp(at, word, length) == 0 && strchr(",\n", at[length]))
			return true;
	}
	return false;
}

/* ext4 says `emergency_ro` on newer kernels, and stays `rw`. */
bool disk_line_says_read_only(const char *line)
{
	const char *end = strstr(line, " - ");
	const char *options = end ? strrchr(end, ' ') : NULL;

	return options && (has_word(options + 1, "ro") || has_word(options + 1, "emergency_ro"));
}

bool disk_is_read_only(const char *path)
{
	struct stat status;
	char *line = NULL;
	size_t size = 0;
	unsigned major, minor;
	bool answer = false;

	if (stat(path, &status) < 0)
		return false;
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	if (!mounts)
		return false;
	while (!answer && getline(&line, &size, mounts) > 0)
		answer = sscanf(line, "%*u %*u %u:%u", &major, &minor) == 2 &&
			 makedev(major, minor) == status.st_dev &&
			 disk_line_says_read_only(line);
	free(line);
	fclose(mounts);
	return answer;
}
