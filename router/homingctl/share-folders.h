/* A list of owners and the folders of their mail, for share import-vfile and export-vfile: a line each,
 * `OWNER TAB FOLDER`. */
#ifndef HOMINGCTL_SHARE_FOLDERS_H
#define HOMINGCTL_SHARE_FOLDERS_H

#include "command.h"
#include "share-names.h"

struct share_folder {
	struct share_owner owner;
	char *folder;
	size_t line;
};
struct share_folders {
	struct share_folder *list;
	size_t count;
};

/* Reads FILE (`-` is standard input). Every line that is wrong is complained of. 0, or an exit code. */
int share_folders_read(struct session *session, const char *file, struct share_folders *folders_r);
void share_folders_finish(struct share_folders *folders);

#endif
