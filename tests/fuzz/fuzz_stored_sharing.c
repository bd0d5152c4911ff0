/* sharing.mdb with entries that nobody wrote: whatever stands there, a lookup answers or says in one
 * printable line what does not parse. Then a change, as mail processes and homingctl make them; and
 * `share verify` with and without mending: what it has mended is whole. The format of the input is in
 * stored.h; the last byte chooses what is done. */
#include <string.h>

#include "fuzz.h"
#include "input.h"
#include "printable.h"
#include "sharing-format.h"
#include "sharing-write.h"
#include "stored.h"
#include "support.h"

#define SEPARATOR "\x1f"

static char *folder;
static struct stored file;

static const char *const owners[] = {"info@client1.com", "info@company.com", "public:Public/",
				     "anna@sqlsite.org", "nobody@client1.com"};
static const char *const mailboxes[] = {"INBOX", "Offers", "Offers" SEPARATOR "Old", "", "m\xc3\xbcll"};
static const char *const users[] = {"bob@client1.com", "info@company.com", "kurt@client2.com"};
enum {
	OWNERS = sizeof owners / sizeof owners[0],
	MAILBOXES = sizeof mailboxes / sizeof mailboxes[0],
	USERS = sizeof users / sizeof users[0],
};

static const struct {
	int owner, mailbox;
	enum grantee_kind kind;
	const char *name;
	uint16_t rights, negative;
} grants[] = {
	{0, 0, GRANTEE_USER, "bob@client1.com", RIGHT_LOOKUP | RIGHT_READ, 0},
	{0, 1, GRANTEE_USER, "kurt@client2.com", RIGHTS_ALL, RIGHT_DELETE},
	{0, 1, GRANTEE_GROUP, "staff@company.com", RIGHT_LOOKUP, 0},
	{0, 2, GRANTEE_DOMAIN, "client1.com", RIGHT_LOOKUP | RIGHT_POST, 0},
	{0, 3, GRANTEE_GROUP_OVERRIDE, "inner@client1.com", 0, RIGHT_EXPUNGE},
	{1, 1, GRANTEE_ANYONE, "", RIGHT_LOOKUP, 0},
	{1, 3, GRANTEE_USER, "bob@client1.com", RIGHT_LOOKUP | RIGHT_ADMINISTER, 0},
	{2, 1, GRANTEE_AUTHENTICATED, "", RIGHT_LOOKUP | RIGHT_READ, 0},
	{3, 4, GRANTEE_USER, "info@company.com", RIGHT_LOOKUP, 0},
	{3, 4, GRANTEE_OWNER, "", RIGHT_LOOKUP, 0},
};
enum { GRANTS = sizeof grants / sizeof grants[0] };

static void finish(void)
{
	stored_finish(&file);
	support_folder_remove(&folder);
}

static struct grant_change change_of(size_t i)
{
	struct grant_change change = {.who.kind = grants[i].kind, .mode = GRANT_REPLACE,
				      .negative_mode = GRANT_REPLACE, .rights = grants[i].rights,
				      .negative = grants[i].negative};

	strcpy(change.who.name, grants[i].name);
	return change;
}

static void make_once(void)
{
	static const struct sharing_actor administrator = {.allow_anyone = true};
	struct sharing_writer *writer;
	struct error error = {0};

	if (folder)
		return;
	folder = support_folder();
	support_golden(folder);
	if (sharing_writer_open(folder, &writer, &error) < 0)
		support_die("%s", error.text);
	for (size_t i = 0; i < GRANTS; i++) {
		const struct grant_change change = change_of(i);

		if (sharing_change(writer, &administrator, owners[grants[i].owner],
				   mailboxes[grants[i].mailbox], &change, &error) < 0)
			support_die("%s", error.text);
	}
	sharing_writer_close(&writer);
	stored_keep(&file, folder, SHARING_FILE, sharing_tables, 0);
	atexit(finish);
}

static bool is_printable(const char *text)
{
	while (*text) {
		size_t used = printable_character(text, strlen(text));
		if (used == 0)
			return false;
		text += used;
	}
	return true;
}

/* A result of -1 has its reason. */
static int judge(int result, struct error *error)
{
	FUZZ_EXPECT(result >= -1);
	FUZZ_EXPECT((result < 0) == (error->code != ERROR_NONE));
	FUZZ_EXPECT(result >= 0 || (error->text[0] && is_printable(error->text)));
	error_clear(error);
	return result;
}

/* A grant as it is handed on: its identifier can be written, and it says something. */
static int take_grant(const struct grant *grant, void *context)
{
	bool named = grantee_principal_type((int)grant->who.kind) != 0;

	FUZZ_EXPECT(grant->who.kind >= GRANTEE_ANYONE && grant->who.kind <= GRANTEE_GROUP_OVERRIDE);
	FUZZ_EXPECT(memchr(grant->who.name, '\0', sizeof grant->who.name));
	FUZZ_EXPECT(named == (grant->who.name[0] != '\0'));
	FUZZ_EXPECT((grant->rights & ~RIGHTS_ALL) == 0 && (grant->negative & ~RIGHTS_ALL) == 0);
	FUZZ_EXPECT(grant->has_rights || grant->has_negative);
	*(size_t *)context += 1;
	return 0;
}

/* "" is the whole account, and must not come of a mailbox that cannot be read. */
static int take_mailbox(const char *owner, const char *mailbox, void *context)
{
	FUZZ_EXPECT(owner[0] && strlen(owner) < OWNER_SIZE && strlen(mailbox) < MAILBOX_SIZE);
	FUZZ_EXPECT(mailbox[0] == '\0' || !mailbox_refusal(mailbox));
	*(size_t *)context += 1;
	return 0;
}

static int take_of_owner(const char *owner, const char *mailbox, const struct grant *grant,
			 void *context)
{
	take_grant(grant, context);
	return take_mailbox(owner, mailbox, context);
}

static int take_visible(const char *owner, const char *mailbox, uint16_t rights, void *context)
{
	FUZZ_EXPECT((rights & RIGHT_LOOKUP) && (rights & ~RIGHTS_ALL) == 0);
	return take_mailbox(owner, mailbox, context);
}

static void ask_user(struct sharing *sharing, struct directory_reader *reader, const char *name)
{
	struct rights_user me = {0};
	struct error error = {0};
	uint16_t rights;
	size_t sum = 0;

	if (rights_user_init(reader, name, &me, &error) < 0)
		support_die("%s", error.text);
	for (size_t i = 0; i < OWNERS * MAILBOXES; i++)
		if (judge(sharing_rights(sharing, &me, owners[i / MAILBOXES], mailboxes[i % MAILBOXES],
					 &rights, &error), &error) == 0)
			FUZZ_EXPECT((rights & ~RIGHTS_ALL) == 0);
	judge(sharing_each_visible(sharing, &me, take_visible, &sum, &error), &error);
	rights_user_finish(&me);
}

static void ask_all(struct sharing *sharing, struct directory_reader *reader)
{
	struct sharing_statistics statistics;
	struct error error = {0};
	size_t sum = 0;

	judge(sharing_statistics(sharing, &statistics, &error), &error);
	judge(sharing_each_of_owner(sharing, NULL, take_of_owner, &sum, &error), &error);
	for (size_t i = 0; i < OWNERS; i++) {
		judge(sharing_each_of_owner(sharing, owners[i], take_of_owner, &sum, &error), &error);
		judge(sharing_has_grants(sharing, owners[i], mailboxes[i], &error), &error);
		judge(sharing_each_grant(sharing, owners[i], mailboxes[i], take_grant, &sum, &error),
		      &error);
	}
	for (size_t i = 0; i < GRANTS; i++) {
		const struct grant_change change = change_of(i);

		judge(sharing_each_received(sharing, &change.who, take_mailbox, &sum, &error), &error);
	}
	for (size_t i = 0; i < USERS; i++)
		ask_user(sharing, reader, users[i]);
}

static void open_and_ask(void)
{
	struct sharing *sharing;
	struct error error = {0};

	if (judge(sharing_open(folder, &sharing, &error), &error) < 0)
		return;
	struct support_open golden = support_open(folder, DIRECTORY_NAMES);
	if (directory_begin(golden.reader, &error) < 0)
		support_die("%s", error.text);
	if (judge(sharing_begin(sharing, &error), &error) == 0) {
		ask_all(sharing, golden.reader);
		sharing_end(sharing);
	}
	directory_end(golden.reader);
	support_close(&golden);
	sharing_close(&sharing);
}

struct told {
	int count;
	int renamings; /* of these: they are for directory_writer_open() to mend */
};

static void count_found(const char *what, void *context)
{
	struct told *told = context;

	FUZZ_EXPECT(what[0] && is_printable(what));
	told->count++;
	told->renamings += strstr(what, " is being renamed to ") != NULL;
}

/* How many are for sharing_verify() to mend; -1. */
static int verify(struct sharing_writer *writer, struct directory_reader *reader, bool mend,
		  struct error *error)
{
	struct told told = {0};
	int found = sharing_verify(writer, reader, mend, count_found, &told, error);

	FUZZ_EXPECT(found == -1 || found == told.count);
	return found < 0 ? -1 : found - told.renamings;
}

/* Mended once, nothing is left to be found. */
static void verify_twice(struct sharing_writer *writer)
{
	struct support_open golden = support_open(folder, DIRECTORY_NAMES);
	struct error error = {0};

	judge(verify(writer, golden.reader, false, &error), &error);
	if (judge(verify(writer, golden.reader, true, &error), &error) >= 0) {
		int again = verify(writer, golden.reader, false, &error);
		if (again < 0)
			fprintf(stderr, "%s\n", error.text);
		FUZZ_EXPECT(again == 0);
	}
	support_close(&golden);
}

static void change_one(struct sharing_writer *writer, unsigned choice)
{
	static const struct sharing_actor administrator = {.allow_anyone = true};
	const struct grant_change change = change_of(choice % GRANTS);
	const char *owner = owners[choice % OWNERS], *mailbox = mailboxes[choice % MAILBOXES];
	struct error error = {0};

	switch (choice / 16 % 6) {
	case 0:
		judge(sharing_change(writer, &administrator, owner, mailbox, &change, &error), &error);
		break;
	case 1:
		judge(sharing_mailbox_created(writer, owner, "Offers" SEPARATOR "New", "Offers", &error),
		      &error);
		break;
	case 2:
		judge(sharing_mailbox_deleted(writer, owner, mailbox, &error), &error);
		break;
	case 3:
		judge(sharing_mailbox_renamed(writer, owners[0], "Offers", owner, "Sold", &error), &error);
		break;
	case 4:
		judge(sharing_renamed(writer, GRANTEE_USER, "bob@client1.com", "rob@client1.com", &error),
		      &error);
		break;
	default:
		judge(sharing_deleted(writer, GRANTEE_GROUP, "staff@company.com", &error), &error);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct sharing_writer *writer;
	struct error error = {0};

	if (length == 0)
		return 0;
	unsigned choice = bytes[length - 1];
	struct input input = input_of(bytes, length - 1);

	make_once();
	stored_change(&file, &input, 16);
	open_and_ask();
	if (choice < 192 && judge(sharing_writer_open(folder, &writer, &error), &error) == 0) {
		if (choice < 96)
			verify_twice(writer);
		else
			change_one(writer, choice - 96);
		sharing_writer_close(&writer);
		open_and_ask();
	}
	stored_forget();
	return 0;
}
