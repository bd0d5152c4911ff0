/* config dovecot --sharing: what shared mailboxes need in Dovecot's configuration.
 *
 * It is a file of its own, because it belongs behind everything else: in Dovecot 2.3,
 * `mail_plugins = $mail_plugins acl` in a protocol's block keeps the value of that moment, and what
 * is added outside of the block later never gets in. The route blocks must stand in front. */
#include "snippet-sharing.h"

#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

#include "doveconf.h"
#include "live.h"
#include "output.h"
#include "owner-place.h"
#include "sharing-plugins.h"

const struct sharing_protocol sharing_protocols[SHARING_PROTOCOLS] = {
	{"imap", "everybody may open every mailbox of everybody",
	 {"acl", "homing_acl", "imap_acl", "imap_homing_acl"}},
	{"lmtp", "Sieve scripts may file into every mailbox of everybody", {"acl", "homing_acl"}},
	{"lda", "Sieve scripts may file into every mailbox of everybody", {"acl", "homing_acl"}},
	{"doveadm", "grants do not follow what it renames and deletes", {"acl", "homing_acl"}},
};

struct sharing_snippet {
	const char *version, *directory; /* directory: NULL is the default */
	bool named_blocks, tilde;
	unsigned long long space;
	const struct setting *root;  /* the settings as they are; empty if not known */
	const struct setting *inbox; /* its namespace; NULL: none is named */
	char separator;
};

static void print_head(const struct sharing_snippet *snippet)
{
	print("# Shared mailboxes with Homing for Dovecot %s, made by\n"
	      "# `homingctl config dovecot --sharing`.\n"
	      "#\n"
	      "# Save it as /etc/dovecot/conf.d/99-homing-sharing.conf. What counts is that it is read last,\n"
	      "# because it adds to what the others say of mail_plugins and of namespaces. Where\n"
	      "# dovecot.conf includes more behind conf.d/*.conf, include it there by name, as its last line.\n"
	      "#\n"
	      "# Then restart Dovecot, and let `homingctl check --live` look at the whole. homing-sharing(7)\n"
	      "# tells how mailboxes are shared, by their owners over IMAP and with `homingctl share`.\n"
	      "#\n"
	      "# To undo it, delete this file and restart Dovecot. No mail is touched; what was granted\n"
	      "# stays in sharing.mdb until you delete it.\n\n",
	      snippet->version);
}

static void print_protocol(const struct sharing_snippet *snippet,
			   const struct sharing_protocol *protocol)
{
	print("protocol %s {\n", protocol->name);
	print(snippet->named_blocks ? "  mail_plugins {\n" : "  mail_plugins = $mail_plugins");
	for (size_t i = 0; protocol->plugins[i]; i++)
		print(snippet->named_blocks ? "    %s = yes\n" : " %s", protocol->plugins[i]);
	print(snippet->named_blocks ? "  }\n}\n" : "\n}\n");
}

static void print_plugins(const struct sharing_snippet *snippet)
{
	print("# acl is Dovecot's own plugin: it refuses what is not granted. homing_acl tells it what is,\n"
	      "# and lists what others share. Every process that opens others' mailboxes needs both, or\n"
	      "# nothing is refused. With imap_acl, mail programs show and change rights; imap_homing_acl\n"
	      "# says in words what it refuses, as an account that does not exist.\n");
	for (size_t i = 0; i < SHARING_PROTOCOLS; i++)
		print_protocol(snippet, &sharing_protocols[i]);
	print("\n");
}

static void print_settings(const struct sharing_snippet *snippet)
{
	const char *indent = snippet->named_blocks ? "" : "  ";

	if (snippet->named_blocks)
		print("# Where Dovecot's plugin learns what is granted.\nacl_driver = homing\n");
	else
		print("plugin {\n  # This word turns Dovecot's plugin on; homing_acl stands in for vfile.\n"
		      "  acl = vfile\n");
	if (snippet->directory)
		print("%shoming_directory = %s\n", indent, snippet->directory);
	print("%s# Users may share with everybody of their own domain (anyone@) or of another\n"
	      "%s# (anyone@domain); with all accounts of all domains (anyone) only where this is set:\n"
	      "%s#homing_allow_anyone = yes\n",
	      indent, indent, indent);
	print(snippet->named_blocks ? "\n" : "}\n\n");
}

static void print_groups(const struct sharing_snippet *snippet)
{
	const char *others = setting_or(snippet->root, "mail_access_groups", "");

	print("# Mail processes read directory.mdb and sharing.mdb, and write what their users grant. The\n"
	      "# group may do so, and they get it, whatever user they run as.\n");
	if (snippet->named_blocks)
		print("mail_access_groups {\n  %s = yes\n}\n\n", HOMING_GROUP);
	else if (others[0] && setting_list_has(snippet->root, "mail_access_groups", HOMING_GROUP) == 0)
		print("mail_access_groups = %s, %s\n\n", others, HOMING_GROUP);
	else
		print("mail_access_groups = %s\n\n", others[0] ? others : HOMING_GROUP);
}

/* Does the service have to be given more address space? lda is a command, and no service. */
static bool needs_space(const struct sharing_snippet *snippet, const char *service)
{
	unsigned long long present = live_space_limit(snippet->root, service);

	return strcmp(service, "lda") != 0 && present != 0 && present < snippet->space;
}

static void print_services(const struct sharing_snippet *snippet)
{
	bool any = false;

	for (size_t i = 0; i < SHARING_PROTOCOLS; i++) {
		const char *name = sharing_protocols[i].name;

		if (!needs_space(snippet, name))
			continue;
		if (!any)
			print("# The files are mapped into memory, which counts as address space, not as memory\n"
			      "# in use.\n");
		print("service %s {\n  vsz_limit = %lluG\n}\n", name, snippet->space >> 30);
		any = true;
	}
	if (any)
		print("\n");
}

/* Of the INBOX's namespace, or for all. */
static const char *mail_setting(const struct sharing_snippet *snippet, const char *name)
{
	const char *value = snippet->inbox ? setting_or(snippet->inbox, name, "") : "";

	return value[0] ? value : setting_or(snippet->root, name, "");
}

/* 2.4: has Maildir the layout fs? It is not enough to look at the top level: `doveconf -a` prints `fs`
 * there for everybody, and Dovecot has another default for Maildir. */
static bool has_layout_fs(const struct sharing_snippet *snippet)
{
	const struct setting *maildir = setting_block(snippet->root, "maildir", "");
	const char *of_inbox = snippet->inbox ? setting_or(snippet->inbox, "mailbox_list_layout", "") : "";
	const char *of_maildir = maildir ? setting_or(maildir, "mailbox_list_layout", "") : "";

	return strcmp(of_inbox[0] ? of_inbox : of_maildir, "fs") == 0;
}

/* The separator that mail programs see now; 0 if it is not known. */
static char present_separator(const struct sharing_snippet *snippet)
{
	const char *set = snippet->inbox ? setting_or(snippet->inbox, "separator", "") : "";
	const char *location = mail_setting(snippet, "location");
	const char *driver = mail_setting(snippet, "mail_driver");

	if (!location[0])
		location = setting_or(snippet->root, "mail_location", "");
	if (set[0])
		return set[0];
	if (strncmp(location, "maildir:", 8) == 0)
		return strstr(location, ":LAYOUT=fs") ? '/' : '.';
	if (strcmp(driver, "maildir") == 0)
		return has_layout_fs(snippet) ? '/' : '.';
	return location[0] || driver[0] ? '/' : 0;
}

static void print_inbox(const struct sharing_snippet *snippet)
{
	char present = present_separator(snippet), sign = snippet->separator;

	print("# All namespaces must have the same separator.");
	if (present && present != sign)
		print(" It is `%c` now: mail programs will see\n"
		      "# Work%c2026 in place of Work%c2026, and Sieve scripts must say it so. The mail stays where\n"
		      "# it is.",
		      present, sign, present);
	else if (sign == '.')
		print(" With `.`, the dots in an owner's name are\n"
		      "# shown as ^. `--separator /` prints the same with /, for shared/user@client1.com/Box; but\n"
		      "# mail programs and Sieve scripts then say Work/2026 for Work.2026 too.");
	print("\nnamespace %s {\n  inbox = yes\n  separator = %c\n}\n\n",
	      snippet->inbox && snippet->inbox->value[0] ? snippet->inbox->value : "inbox", sign);
}

static void print_private(const char *what)
{
	print("  # Which messages one has read (\\Seen) is kept for each user apart, in the own home. Without\n"
	      "  # %s, all who share a mailbox share this flag too.\n",
	      what);
}

static void print_location(const struct sharing_snippet *snippet)
{
	const char *own = mail_setting(snippet, "location");

	if (!own[0])
		own = setting_or(snippet->root, "mail_location", "");
	size_t driver = strcspn(own, ":/~%");
	char *location = own[driver] == ':' ? owner_location(own) : NULL;

	print("  # The owner's mail, as mail_location says of one's own: %%%%h is the owner's home, %%%%u the\n"
	      "  # owner's name.\n");
	if (own[0] && !location)
		print("  # CHANGE THIS LINE: for %s, Homing cannot tell.\n", own);
	print_private("INDEXPVT");
	print("  location = %s:INDEXPVT=~/shared/%%%%u\n", location ? location : "maildir:%%h/Maildir");
	free(location);
}

/* Where 2.4 looks if the settings do not say. */
static const char *default_path(const char *driver)
{
	static const char *const paths[][2] = {
		{"sdbox", "%{home}/sdbox"},
		{"mdbox", "%{home}/mdbox"},
		{"mbox", "%{home}/mail"},
	};

	for (size_t i = 0; i < sizeof paths / sizeof paths[0]; i++)
		if (strcmp(paths[i][0], driver) == 0)
			return paths[i][1];
	return "%{home}/Maildir";
}

static void print_path(const char *name, const char *own)
{
	char *path = owner_path(own);

	if (!path)
		print("  # CHANGE THIS LINE: for %s, Homing cannot tell.\n", own);
	print("  %s = %s\n", name, path ? path : "%{owner_home}/");
	free(path);
}

static void print_paths(const struct sharing_snippet *snippet)
{
	static const char *const names[] = {"mail_inbox_path", "mail_index_path", "mail_control_path",
					    "mail_alt_path", "mail_volatile_path"};
	const char *driver = mail_setting(snippet, "mail_driver");
	const char *path = mail_setting(snippet, "mail_path");

	print("  # The owner's mail, as mail_path says of one's own.\n");
	print("  mail_driver = %s\n", driver[0] ? driver : "maildir");
	print_path("mail_path", path[0] ? path : default_path(driver));
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
		const char *own = mail_setting(snippet, names[i]);

		if (own[0])
			print_path(names[i], own);
	}
	print_private("this line");
	print("  mail_index_private_path = ~/shared/%%{owner_user}\n");
}

/* Below a prefix of the INBOX's namespace too: there is where its subscriptions may be kept. */
static void print_shared(const struct sharing_snippet *snippet)
{
	const char *before = snippet->inbox ? setting_or(snippet->inbox, "prefix", "") : "";
	char sign = snippet->separator;

	if (snippet->tilde)
		print("# What others share appears as %s~user@domain%cBox, in one's own domain as %s~user%cBox.\n"
		      "# Dovecot lists such names where a program asks for what begins with ~, and demands\n"
		      "# `list = no` for that.\n",
		      before, sign, before, sign);
	else
		print("# What others share appears as %sshared%cuser@%s%cBox.\n", before, sign,
		      sign == '.' ? "client1^com" : "client1.com", sign);
	print("namespace homing_shared {\n  type = shared\n  separator = %c\n", sign);
	if (snippet->tilde)
		print("  prefix = %s~%s%c\n", before, snippet->named_blocks ? "$username" : "%%n", sign);
	else
		print("  prefix = %sshared%c%s%c\n", before, sign, snippet->named_blocks ? "$user" : "%%u",
		      sign);
	if (snippet->named_blocks)
		print_paths(snippet);
	else
		print_location(snippet);
	print("  # Subscriptions to them are kept with those to the user's own mailboxes.\n"
	      "  subscriptions = no\n  list = %s\n}\n",
	      snippet->tilde ? "no" : "children");
}

/* 0 with the sign, or an exit code after a complaint. */
static int choose_separator(const struct call *call, struct sharing_snippet *snippet)
{
	const char *given = call->options[OPTION_SEPARATOR];
	char present = present_separator(snippet);

	snippet->separator = present ? present : '/';
	if (!given)
		return 0;
	if (!given[0] || given[1] || !strchr("/.|^:;,!", given[0])) {
		complain("--separator %s: one of / . | ^ : ; , !", given);
		return EX_USAGE;
	}
	snippet->separator = given[0];
	return 0;
}

/* The settings as they are, where this system's Dovecot is meant. 0, or an exit code. */
static int load_settings(const struct call *call, struct setting **root_r)
{
	bool asked = has_option(call, OPTION_DOVECONF) || has_option(call, OPTION_CONFIG);
	char *problem;

	*root_r = NULL;
	if (has_option(call, OPTION_DOVECOT_VERSION) && !asked)
		return 0;
	int code = doveconf_load(call, root_r, &problem);
	if (problem)
		complain(asked ? "%s" : "note: %s; the mail is taken to be in ~/Maildir", problem);
	free(problem);
	return asked || code == EX_OSERR ? code : 0;
}

int snippet_sharing(const struct call *call, const char *version, int minor,
		    const char *directory)
{
	struct setting *root, nothing = {0};
	int code = load_settings(call, &root);

	if (code != 0)
		return code;
	struct sharing_snippet snippet = {
		.version = version,
		.directory = directory,
		.named_blocks = minor >= 4,
		.tilde = has_option(call, OPTION_TILDE),
		.space = live_mail_address_space(call->directory),
		.root = root ? root : &nothing,
		.inbox = root ? inbox_namespace(root) : NULL,
	};
	code = choose_separator(call, &snippet);
	if (code == 0) {
		print_head(&snippet);
		print_plugins(&snippet);
		print_settings(&snippet);
		print_groups(&snippet);
		print_services(&snippet);
		print_inbox(&snippet);
		print_shared(&snippet);
	}
	doveconf_free(root);
	return code;
}
