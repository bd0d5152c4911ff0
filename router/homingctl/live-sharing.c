/* check --live: shared mailboxes. What keeps grants from counting, what lets in who has none, and
 * what keeps an owner's mailboxes from being found. */
#include "live-private.h"

#include <errno.h>
#include <fnmatch.h>
#include <grp.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "directory-format.h"
#include "directory.h"
#include "owner-place.h"
#include "sharing-plugins.h"
#include "sharing.h"

static bool is_yes(const char *value)
{
	return strcmp(value, "yes") == 0;
}

/* The `plugin` block of 2.3; an empty one if there is none. */
static const struct setting *plugin_block(const struct live *live)
{
	static const struct setting none;
	const struct setting *block = setting_block(live->root, "plugin", "");

	return block && !live->named_blocks ? block : &none;
}

/* A setting of the plugins: at the top level, or in 2.3 in `plugin { }`. */
static const char *plugin_setting(const struct live *live, const char *name,
				  const char *otherwise)
{
	return setting_or(live->named_blocks ? live->root : plugin_block(live), name, otherwise);
}

/* Is the plugin loaded in processes of this protocol? */
static bool loads(const struct live *live, const char *protocol, const char *plugin)
{
	const struct setting *block = setting_block(live->root, "protocol", protocol);
	int has = block ? setting_list_has(block, "mail_plugins", plugin) : -1;

	return has >= 0 ? has : setting_list_has(live->root, "mail_plugins", plugin) > 0;
}

static uint64_t count_grants(const struct live *live)
{
	struct sharing *sharing = NULL;
	struct sharing_statistics statistics = {0};
	struct error ignored = {0};

	if (sharing_open(live->directory, &sharing, &ignored) == 0 &&
	    sharing_begin(sharing, &ignored) == 0) {
		if (sharing_statistics(sharing, &statistics, &ignored) < 0)
			statistics.grants = 0;
		sharing_end(sharing);
	}
	sharing_close(&sharing);
	return statistics.grants;
}

/* Do the settings ask for Homing's plugin anywhere? */
static bool is_set_up(const struct live *live)
{
	bool loaded = setting_list_has(live->root, "mail_plugins", "homing_acl") > 0;

	for (size_t i = 0; i < SHARING_PROTOCOLS; i++)
		loaded = loaded || loads(live, sharing_protocols[i].name, "homing_acl");
	return loaded || strcmp(plugin_setting(live, "acl_driver", ""), "homing") == 0 ||
	       setting_get(plugin_block(live), "homing_directory") ||
	       setting_get(plugin_block(live), "homing_allow_anyone");
}

/* Not a protocol that is off. */
static bool is_served(const struct live *live, const char *protocol)
{
	bool may_be_off = strcmp(protocol, "imap") == 0 || strcmp(protocol, "lmtp") == 0;

	return !may_be_off || setting_list_has(live->root, "protocols", protocol) != 0;
}

/* `protocol imap { mail_plugins = $mail_plugins acl homing_acl }`, with what the protocol lacks. */
static const char *missing_plugins(const struct live *live,
				   const struct sharing_protocol *protocol, char *text, size_t size)
{
	const char *between = live->named_blocks ? "{" : "= $mail_plugins";
	size_t length = (size_t)snprintf(text, size, "protocol %s { mail_plugins %s", protocol->name,
					 between);

	for (size_t i = 0; protocol->plugins[i] && length < size; i++)
		if (!loads(live, protocol->name, protocol->plugins[i]))
			length += (size_t)snprintf(text + length, size - length, " %s%s",
						   protocol->plugins[i],
						   live->named_blocks ? " = yes" : "");
	if (length < size)
		snprintf(text + length, size - length, live->named_blocks ? " } }" : " }");
	return text;
}

static void check_protocol(struct live *live, const struct sharing_protocol *protocol)
{
	bool acl = loads(live, protocol->name, "acl");
	bool ours = loads(live, protocol->name, "homing_acl");
	bool is_imap = strcmp(protocol->name, "imap") == 0;
	char name[64], change[256];

	snprintf(name, sizeof name, "protocol %s", protocol->name);
	missing_plugins(live, protocol, change, sizeof change);
	if (!acl && !ours) {
		live_report(live, name, change, "acl and homing_acl are not loaded: %s",
			    protocol->what_for);
		return;
	}
	if (!ours)
		live_report(live, name, change,
			    "acl is loaded without homing_acl: what is in sharing.mdb counts for nothing");
	else if (!acl)
		live_report(live, name, change,
			    "homing_acl is loaded without acl, which it needs: the processes end");
	for (size_t i = 2; is_imap && protocol->plugins[i]; i++)
		if (!loads(live, protocol->name, protocol->plugins[i]))
			live_report(live, name, change,
				    i == 2 ? "%s is not loaded: mail programs can neither see nor change rights"
					   : "%s is not loaded: SETACL takes no alias, and tells nobody why it refuses",
				    protocol->plugins[i]);
	if (!is_imap && loads(live, protocol->name, "imap_acl")) {
		snprintf(change, sizeof change, "load imap_acl in protocol imap alone");
		live_report(live, name, change, "imap_acl is for imap alone: other processes end");
	}
}

static void check_plugins(struct live *live)
{
	for (size_t i = 0; i < SHARING_PROTOCOLS; i++)
		if (is_served(live, sharing_protocols[i].name))
			check_protocol(live, &sharing_protocols[i]);
}

/* 2.3: `acl = vfile` turns Dovecot's plugin on, and may name a file with rights for all mailboxes. */
static void check_driver_23(struct live *live)
{
	const char *driver = plugin_setting(live, "acl", "");
	const char *path = driver + strcspn(driver, ":");

	if (strncmp(driver, "vfile", (size_t)(path - driver)) != 0 || path == driver) {
		live_report(live, "plugin/acl", "plugin { acl = vfile }",
			    driver[0] ? "`%s` is not what homing_acl can stand in for"
				      : "it is not set, so the plugin acl is off%s",
			    driver);
		return;
	}
	if (path[0] && path[1] && strncmp(path, ":cache_secs=", 12) != 0)
		live_report(live, "plugin/acl", "plugin { acl = vfile }, and grant what the file says",
			    "`%s` names a file with rights for all mailboxes: homing_acl does not read it, and "
			    "refuses to work",
			    driver);
}

static void check_driver_24(struct live *live)
{
	const char *driver = setting_or(live->root, "acl_driver", "");
	const char *path = setting_or(live->root, "acl_global_path", "");

	if (strcmp(driver, "homing") != 0)
		live_report(live, "acl_driver", "acl_driver = homing",
			    driver[0] ? "`%s` is asked instead of Homing"
				      : "it is not set, so the plugin acl is off%s",
			    driver);
	if (path[0])
		live_report(live, "acl_global_path", "acl_global_path =, and grant what the file says",
			    "`%s` has rights for all mailboxes: homing_acl does not read it, and refuses to work",
			    path);
	if (is_yes(setting_or(live->root, "acl_ignore", "no")))
		live_report(live, "acl_ignore", "acl_ignore = no", "nothing is refused to anybody");
}

static void check_settings(struct live *live)
{
	const char *map = live->named_blocks ? "acl_sharing_map" : "acl_shared_dict";
	const struct setting *block = setting_block(live->root, map, "");

	if (live->named_blocks)
		check_driver_24(live);
	else
		check_driver_23(live);
	if (is_yes(plugin_setting(live, "acl_globals_only", "no")))
		live_report(live, "acl_globals_only", "acl_globals_only = no",
			    "with it homing_acl refuses to work: no grant on a mailbox would count");
	if (is_yes(setting_or(live->root, "mail_full_filesystem_access", "no")))
		live_report(live, "mail_full_filesystem_access", "mail_full_filesystem_access = no",
			    "the plugin acl ends every process where it is set");
	if (setting_or(live->root, "mail_chroot", "")[0])
		live_report(live, "mail_chroot", "mail_chroot =",
			    "in it neither %s nor another owner's mail is reached", live->directory);
	if (plugin_setting(live, map, "")[0] || (block && block->count > 0))
		live_note(live, map,
			  "left over: Homing does not ask it. `homingctl share import-vfile` takes "
			  "over what was granted; then it can go");
}

/* Does 2.3 pass the namespace by? Wildcards as Dovecot's. */
static bool is_ignored(const struct live *live, const struct setting *block)
{
	const struct setting *plugin = plugin_block(live);
	const char *prefix = setting_or(block, "prefix", "");
	char sample[256];

	snprintf(sample, sizeof sample, "%.*suser@domain/", (int)strcspn(prefix, "%$"), prefix);
	for (size_t i = 0; i < plugin->count; i++)
		if (strncmp(plugin->settings[i].name, "acl_ignore_namespace", 20) == 0 &&
		    fnmatch(plugin->settings[i].value, sample, 0) == 0)
			return true;
	return live->named_blocks && is_yes(setting_or(block, "acl_ignore", "no"));
}

static void check_separator(struct live *live, const struct setting *block, const char *name)
{
	const struct setting *inbox = inbox_namespace(live->root);
	const char *separator = setting_or(block, "separator", "");
	const char *wanted = inbox ? setting_or(inbox, "separator", "") : "";
	char change[300];

	if (strcmp(separator, wanted) != 0) {
		snprintf(change, sizeof change, "namespace %s { separator = %s }",
			 inbox && inbox->value[0] ? inbox->value : "inbox", separator[0] ? separator : "/");
		live_report(live, name, change,
			    "its separator is `%s`, the INBOX's is `%s`: Dovecot refuses every login",
			    separator, wanted[0] ? wanted : "(the default)");
	}
}

/* 2.3: does the place name the owner, but for INDEXPVT, which is the user's? */
static bool names_owner(const char *location)
{
	const char *private_index = strstr(location, ":INDEXPVT=");
	const char *owner = strstr(location, "%%");

	if (!owner || !private_index || owner < private_index)
		return owner != NULL;
	const char *rest = strchr(private_index + 1, ':');
	return rest && strstr(rest, "%%");
}

/* Where it leads: to the owner's mail, and not to the user's. */
static void check_place(struct live *live, const struct setting *block, const char *name)
{
	const char *old = setting_or(block, "location", "");
	const char *path = setting_or(block, "mail_path", "");
	bool leads = live->named_blocks ? strstr(path, "%{owner_") != NULL : names_owner(old);
	bool apart = live->named_blocks ? setting_or(block, "mail_index_private_path", "")[0] != '\0'
					: strstr(old, ":INDEXPVT=") != NULL;

	if (!leads)
		live_report(live, name,
			    live->named_blocks ? "mail_path = %{owner_home}/Maildir, as your own mail_path"
					       : "location = maildir:%%h/Maildir:INDEXPVT=~/shared/%%u, as "
						 "your own mail_location",
			    "it leads to the user's own mail and not to the owner's");
	else if (!apart)
		live_note(live, name, "without %s, all who share a mailbox share \\Seen too",
			  live->named_blocks ? "mail_index_private_path = ~/shared/%{owner_user}"
					     : "INDEXPVT=~/shared/%%u");
}

static void check_namespace(struct live *live, const struct setting *block)
{
	const char *prefix = setting_or(block, "prefix", "");
	char name[128];

	snprintf(name, sizeof name, "namespace %s", block->value);
	check_separator(live, block, name);
	check_place(live, block, name);
	if (is_ignored(live, block))
		live_report(live, name,
			    live->named_blocks ? "acl_ignore = no" : "take acl_ignore_namespace out",
			    "the plugin acl passes it by: everybody may do everything in it");
	if (is_yes(setting_or(block, "subscriptions", "yes")))
		live_report(live, name, "subscriptions = no",
			    "a subscription to a shared mailbox would be kept with the owner's");
	if (strcmp(setting_or(block, "list", "yes"), "no") == 0 && strchr(prefix, '~') == NULL)
		live_report(live, name, "list = children", "what others share is not listed");
}

static void check_namespaces(struct live *live)
{
	size_t count = 0;

	for (size_t i = 0; i < live->root->count; i++) {
		if (!namespace_is_shared(&live->root->settings[i]))
			continue;
		count++;
		check_namespace(live, &live->root->settings[i]);
	}
	if (count == 0)
		live_report(live, "namespace", "`homingctl config dovecot --sharing` prints one",
			    "there is none with `type = shared`: nobody sees what others share");
}

/* The users of the system that accounts belong to: those of the first few kinds. */
enum { MAX_OWNERS = 8 };
struct mail_owners {
	struct directory_reader *reader;
	struct {
		char uid[64], gid[64];
	} each[MAX_OWNERS];
	size_t count;
};

static int add_owner(struct mail_owners *owners, const char *uid, const char *gid)
{
	for (size_t i = 0; i < owners->count; i++)
		if (strcmp(owners->each[i].uid, uid) == 0 && strcmp(owners->each[i].gid, gid) == 0)
			return 0;
	snprintf(owners->each[owners->count].uid, sizeof owners->each->uid, "%s", uid);
	snprintf(owners->each[owners->count].gid, sizeof owners->each->gid, "%s", gid);
	return ++owners->count == MAX_OWNERS;
}

static int add_account(enum entry_kind kind, const char *local, const char *domain, void *context)
{
	struct mail_owners *owners = context;
	struct account account;
	struct error ignored = {0};

	if (kind != ENTRY_ACCOUNT ||
	    account_lookup(owners->reader, local, domain, &account, &ignored) <= 0)
		return 0;
	return add_owner(owners, account.uid, account.gid);
}

static void find_owners(const struct live *live, struct mail_owners *owners)
{
	struct directory *directory = NULL;
	struct error ignored = {0};
	const char *uid = setting_or(live->root, "mail_uid", "");

	if (directory_open(live->directory, DIRECTORY_NAMES, &directory, &ignored) == 0 &&
	    directory_reader_create(directory, &owners->reader, &ignored) == 0 &&
	    directory_begin(owners->reader, &ignored) == 0) {
		if (directory_each_entry(owners->reader, NULL, ENTRY_ACCOUNT, add_account, owners,
					 &ignored) < 0)
			owners->count = 0;
		directory_end(owners->reader);
	}
	directory_reader_destroy(&owners->reader);
	directory_close(&directory);
	if (owners->count == 0 && uid[0])
		add_owner(owners, uid, setting_or(live->root, "mail_gid", ""));
}

/* A name or a number. (uid_t)-1 if there is none of that name. */
static uid_t parse_uid(const char *text)
{
	const struct passwd *account = getpwnam(text);
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (account)
		return account->pw_uid;
	return text[0] && *end == '\0' ? (uid_t)number : (uid_t)-1;
}

static gid_t parse_gid(const char *text)
{
	const struct group *group = getgrnam(text);
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (group)
		return group->gr_gid;
	return text[0] && *end == '\0' ? (gid_t)number : (gid_t)-1;
}

/* The first file that the process may not use as it must; false: it may use all of them. */
static bool find_closed(struct live *live, const struct live_process *process, char *path,
			size_t size, struct stat *file)
{
	static const struct {
		const char *name;
		int access;
	} files[] = {
		{"", X_OK},
		{"/" DIRECTORY_FILE, R_OK},
		{"/" DIRECTORY_FILE "-lock", R_OK | W_OK},
		{"/" SHARING_FILE, R_OK | W_OK},
		{"/" SHARING_FILE "-lock", R_OK | W_OK},
	};

	for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
		snprintf(path, size, "%s%s", live->directory, files[i].name);
		if (stat(path, file) == 0 && !live_may(live, process, file, files[i].access))
			return true;
	}
	return false;
}

static void check_files(struct live *live, const struct live_process *process, const char *user)
{
	char path[1100], change[1400];
	struct stat file;

	if (!find_closed(live, process, path, sizeof path, &file))
		return;
	const struct group *group = getgrgid(file.st_gid);
	bool by_group = (file.st_mode & S_IRGRP) != 0 || S_ISDIR(file.st_mode);
	if (by_group && group && file.st_gid != 0 && strcmp(group->gr_name, HOMING_AUTH_GROUP) != 0)
		snprintf(change, sizeof change,
			 live->named_blocks ? "mail_access_groups { %s = yes }" : "mail_access_groups = %s",
			 group->gr_name);
	else
		snprintf(change, sizeof change, "mail_access_groups = %s, and chgrp %s %s", HOMING_GROUP,
			 HOMING_GROUP, path);
	live_report(live, "mail_access_groups", change,
		    "mail processes%s%s may not %s %s: no mailbox can be opened", user[0] ? " of " : "",
		    user, S_ISDIR(file.st_mode) ? "enter" : "use", path);
}

/* A shared namespace asks here for the home of the owner. With mode 0666 and 0777 everybody may ask,
 * with 0666 for accounts of the same user of the system alone. */
static void check_userdb(struct live *live, const struct live_process *process, const char *user)
{
	const struct setting *auth = setting_block(live->root, "service", "auth");
	const struct setting *socket =
		auth ? setting_block(auth, "unix_listener", "auth-userdb") : NULL;
	const char *mode = socket ? setting_get(socket, "mode") : NULL;

	if (!mode)
		return;
	const char *owner = setting_or(socket, "user", ""), *group = setting_or(socket, "group", "");
	struct stat file = {
		.st_mode = (mode_t)strtoul(mode, NULL, 8),
		.st_uid = owner[0] ? parse_uid(live_resolve(live, owner)) : 0,
		.st_gid = group[0] ? parse_gid(live_resolve(live, group)) : 0,
	};
	if (!live_may(live, process, &file, R_OK | W_OK))
		live_report(live, "unix_listener auth-userdb", "mode = 0666, or user = the mail user",
			    "mail processes%s%s may not ask there for an owner's home, so nobody opens what is "
			    "shared",
			    user[0] ? " of " : "", user);
}

static void check_owners(struct live *live)
{
	const struct setting *imap = setting_block(live->root, "service", "imap");
	struct mail_owners owners = {0};
	const char *user;
	struct live_process process = live_process_of(live, imap, "", &user);
	bool fixed = process.uid != 0;

	find_owners(live, &owners);
	process.mail = live->root;
	for (size_t i = 1; !fixed && i < owners.count; i++)
		if (strcmp(owners.each[i].uid, owners.each[0].uid) != 0) {
			live_report(live, "account_defaults", "give all accounts the same uid",
				    "accounts belong to different users of the system, as %s and %s: the mail "
				    "processes of one cannot open the files of the other",
				    owners.each[0].uid, owners.each[i].uid);
			break;
		}
	if (!fixed) {
		user = owners.count > 0 ? owners.each[0].uid : "";
		process.uid = parse_uid(user);
		process.gid = parse_gid(owners.count > 0 ? owners.each[0].gid : "");
	}
	check_files(live, &process, user);
	check_userdb(live, &process, user);
}

static void check_directory(struct live *live)
{
	const char *directory = plugin_setting(live, "homing_directory", HOMING_DIRECTORY);
	char path[1100], change[1200];
	struct stat file;

	if (!live->has_blocks) {
		snprintf(live->directory, sizeof live->directory, "%s", directory);
	} else if (strcmp(directory, live->directory) != 0) {
		snprintf(change, sizeof change,
			 live->named_blocks ? "homing_directory = %s" : "plugin { homing_directory = %s }",
			 live->directory);
		live_report(live, "homing_directory", change,
			    "mail processes use %s, but logins %s", directory, live->directory);
	}
	snprintf(path, sizeof path, "%s/%s", live->directory, SHARING_FILE);
	if (stat(path, &file) < 0)
		live_report(live, path, "homingctl apply FILE", "%s", strerror(errno));
}

static void check_spaces(struct live *live)
{
	unsigned long long maps = live_map_size(live->directory, DIRECTORY_FILE) +
				  live_map_size(live->directory, SHARING_FILE);

	for (size_t i = 0; i < SHARING_PROTOCOLS; i++)
		if (setting_block(live->root, "service", sharing_protocols[i].name))
			live_check_space(live, sharing_protocols[i].name, maps);
}

void live_check_sharing(struct live *live)
{
	if (!is_set_up(live)) {
		uint64_t grants = count_grants(live);

		if (grants > 0)
			live_report(live, "mail_plugins",
				    "`homingctl config dovecot --sharing` prints what is missing",
				    "sharing.mdb has grants (%llu), but homing_acl is not loaded: they count for "
				    "nothing",
				    (unsigned long long)grants);
		return;
	}
	check_plugins(live);
	check_settings(live);
	check_namespaces(live);
	check_directory(live);
	check_owners(live);
	check_spaces(live);
}
