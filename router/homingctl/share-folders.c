/* A list of owners and the folders of their mail. */
#include "share-folders.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "output.h"

static int add(struct share_folders *folders, const struct share_owner *owner, const char *folder,
	       size_t line)
{
	struct share_folder *grown =
		realloc(folders->list, (folders->count + 1) * sizeof *folders->list);

	if (!grown)
		return fail_memory();
	folders->list = grown;
	char *copy = strdup(folder);
	if (!copy)
		return fail_memory();
	grown[folders->count++] = (struct share_folder){.owner = *owner, .folder = copy, .line = line};
	return 0;
}

static int read_line(struct session *session, struct share_folders *folders, char *text,
		     size_t length, const char *file, size_t line)
{
	struct share_owner owner;
	char *tab = strchr(text, '\t');

	if (length > 0 && text[length - 1] == '\n')
		text[--length] = '\0';
	if (length > 0 && text[length - 1] == '\r')
		text[--length] = '\0';
	if (length == 0 || text[0] == '#')
		return 0;
	if (!tab || tab[1] != '/' || strlen(text) < length) {
		complain("%s:%zu: wanted: an owner, a tab, and the absolute path of the owner's mail, as "
			 "/var/vmail/example.org/info/Maildir", file, line);
		return EX_DATAERR;
	}
	*tab = '\0';
	int code = share_owner_parse(session, text, &owner);
	return code == 0 ? add(folders, &owner, tab + 1, line) : code;
}

int share_folders_read(struct session *session, const char *file, struct share_folders *folders_r)
{
	bool standard = strcmp(file, "-") == 0;
	FILE *stream = standard ? stdin : fopen(file, "re");
	char *text = NULL;
	size_t size = 0;
	int code = 0;

	*folders_r = (struct share_folders){0};
	if (!stream) {
		complain("%s: %s", file, strerror(errno));
		return errno == ENOENT ? EX_NOINPUT : EX_IOERR;
	}
	ssize_t length;
	for (size_t line = 1; (length = getline(&text, &size, stream)) >= 0; line++) {
		int wrong = read_line(session, folders_r, text, (size_t)length, file, line);

		code = wrong != 0 ? wrong : code;
	}
	if (ferror(stream)) {
		complain("%s: %s", file, strerror(errno));
		code = EX_IOERR;
	}
	free(text);
	if (!standard)
		fclose(stream);
	if (code != 0)
		share_folders_finish(folders_r);
	return code;
}

void share_folders_finish(struct share_folders *folders)
{
	for (size_t i = 0; i < folders->count; i++)
		free(folders->list[i].folder);
	free(folders->list);
	*folders = (struct share_folders){0};
}
