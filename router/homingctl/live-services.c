/* check --live: what Dovecot's processes may read, and how much address space they have. */
#include "live-private.h"

#include <ctype.h>
#include <errno.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "directory-format.h"
#include "live.h"
#include "store.h"

const char *live_resolve(const struct live *live, const char *value)
{
	if (value[0] != '$')
		return value;
	value += strncmp(value, "$SET:", 5) == 0 ? 5 : 1;
	return setting_or(live->root, value, "dovecot");
}

struct live_process live_process_of(const struct live *live, const struct setting *service,
				    const char *default_user, const char **user_r)
{
	struct live_process process = {.uid = (uid_t)-1, .gid = (gid_t)-1, .service = service};
	const char *user = live_resolve(live, service ? setting_or(service, "user", default_user)
						      : default_user);
	const struct passwd *account = getpwnam(user);

	*user_r = user;
	if (user[0] == '\0' || strcmp(user, "root") == 0) {
		process.uid = 0;
	} else if (account) {
		process.uid = account->pw_uid;
		process.gid = account->pw_gid;
	}
	return process;
}

/* Is the group in the list, by its name or its number? */
static bool names_group(const struct setting *block, const char *list, gid_t gid)
{
	const struct group *group = getgrgid(gid);
	char number[32];

	snprintf(number, sizeof number, "%lu", (unsigned long)gid);
	return block && ((group && setting_list_has(block, list, group->gr_name) > 0) ||
			 setting_list_has(block, list, number) > 0);
}

static bool has_group(const struct live *live, const struct live_process *process, gid_t gid)
{
	const struct setting *service = process->service;
	const struct group *group = getgrgid(gid);

	if ((process->gid != (gid_t)-1 && process->gid == gid) ||
	    names_group(service, "extra_groups", gid) ||
	    names_group(process->mail, "mail_access_groups", gid))
		return true;
	return service && group &&
	       strcmp(live_resolve(live, setting_or(service, "group", "")), group->gr_name) == 0;
}

bool live_may(const struct live *live, const struct live_process *process, const struct stat *file,
	      int access)
{
	mode_t rights = file->st_mode & 07;

	if (process->uid == 0)
		return true;
	if (process->uid != (uid_t)-1 && process->uid == file->st_uid)
		rights = file->st_mode >> 6 & 07;
	else if (has_group(live, process, file->st_gid))
		rights = file->st_mode >> 3 & 07;
	return ((mode_t)access & ~rights) == 0;
}

static void check_access(struct live *live, const char *service_name, const char *default_user,
			 const char *file_name)
{
	const struct setting *service = setting_block(live->root, "service", service_name);
	const char *user;
	struct live_process process = live_process_of(live, service, default_user, &user);
	char path[1100], name[64], change[256];
	struct stat file;

	snprintf(path, sizeof path, "%s/%s", live->directory, file_name);
	snprintf(name, sizeof name, "service %s", service_name);
	if (stat(path, &file) < 0) {
		live_report(live, path, "homingctl apply FILE", "%s", strerror(errno));
		return;
	}
	if (live_may(live, &process, &file, R_OK))
		return;
	const struct group *group = getgrgid(file.st_gid);
	snprintf(change, sizeof change, "service %s { extra_groups = %s }", service_name,
		 group ? group->gr_name : "the group of the file");
	live_report(live, name, change, "it runs as %s, which may not read %s", user, path);
}

/* "1 G", "256M", "18446744073709551615 B". */
static unsigned long long parse_size(const char *text)
{
	char *unit;
	unsigned long long number = strtoull(text, &unit, 10);
	static const char units[] = "BKMGT";

	unit += strspn(unit, " ");
	const char *found = *unit ? strchr(units, toupper((unsigned char)*unit)) : NULL;
	int shift = found ? (int)(found - units) * 10 : 0;
	return shift > 0 && number >> (64 - shift) ? ~0ull : number << shift;
}

unsigned long long live_space_limit(const struct setting *root, const char *service_name)
{
	const struct setting *service = setting_block(root, "service", service_name);
	unsigned long long limit = service ? parse_size(setting_or(service, "vsz_limit", "0")) : 0;

	if (limit == 0)
		limit = parse_size(setting_or(root, "service_vsz_limit", "0")); /* 2.4 */
	/* 2.3 prints the largest number and 2.4 nothing where the default counts */
	if (limit == ~0ull || limit == 0)
		limit = parse_size(setting_or(root, "default_vsz_limit", "256 M"));
	return limit;
}

unsigned long long live_map_size(const char *directory, const char *file)
{
	static const char *const tables[] = {"meta", NULL};
	struct store *store = NULL;
	struct error ignored = {0};
	MDB_envinfo info = {0};
	char *path;

	if (asprintf(&path, "%s/%s", directory, file) < 0)
		return 0;
	if (store_open(path, tables, &store, &ignored) == 0)
		mdb_env_info(store_env(store), &info);
	store_close(&store);
	free(path);
	return info.me_mapsize;
}

/* A process without any map: its code, its caches, its stacks. */
#define OTHER_NEEDS (256ull << 20)

static unsigned long long auth_maps(const char *directory, bool credentials)
{
	return live_map_size(directory, DIRECTORY_FILE) +
	       (credentials ? live_map_size(directory, CREDENTIALS_FILE) : 0);
}

/* While a map grows, the old and the new one may exist together. */
static unsigned long long space_for(unsigned long long maps)
{
	unsigned long long space = 1ull << 30;

	while (space < 2 * maps + OTHER_NEEDS)
		space *= 2;
	return space;
}

unsigned long long live_address_space(const char *directory, bool credentials)
{
	return space_for(auth_maps(directory, credentials));
}

unsigned long long live_mail_address_space(const char *directory)
{
	return space_for(live_map_size(directory, DIRECTORY_FILE) +
			 live_map_size(directory, SHARING_FILE));
}

void live_check_space(struct live *live, const char *service_name, unsigned long long maps)
{
	unsigned long long limit = live_space_limit(live->root, service_name);
	char change[128], name[64];

	if (limit == 0 || maps == 0 || limit >= maps + OTHER_NEEDS / 4)
		return;
	snprintf(name, sizeof name, "service %s", service_name);
	snprintf(change, sizeof change, "service %s { vsz_limit = %lluG }", service_name,
		 space_for(maps) >> 30);
	live_report(live, name, change,
		    "vsz_limit is %llu MiB, but the files of %s need %llu MiB of address "
		    "space: it "
		    "cannot open them",
		    limit >> 20, live->directory, maps >> 20);
}

void live_check_services(struct live *live)
{
	unsigned long long maps = auth_maps(live->directory, live->has_accounts);
	struct stat file;

	if (stat(live->directory, &file) < 0) {
		live_report(live, live->directory, "homingctl apply FILE", "%s", strerror(errno));
		return;
	}
	check_access(live, "auth", "dovecot", DIRECTORY_FILE);
	live_check_space(live, "auth", maps);
	if (live->has_accounts) {
		check_access(live, "auth", "dovecot", CREDENTIALS_FILE);
		check_access(live, "auth-worker", "root", CREDENTIALS_FILE);
		check_access(live, "auth-worker", "root", DIRECTORY_FILE);
		live_check_space(live, "auth-worker", maps);
	}
}
