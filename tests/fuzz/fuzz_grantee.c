/* Bytes as an identifier of SETACL, in the directory of the golden cases: a line with the domain of the
 * mailbox's owner, then the identifier. Whom it means can be written down and is read back as the
 * same, whoever's mailbox it is, and is one of those who log in by that name. */
#include "rights.h"

#include <string.h>

#include "fuzz.h"
#include "input.h"
#include "support.h"

static char *folder;
static struct support_open golden;

static void finish(void)
{
	support_close(&golden);
	support_folder_remove(&folder);
}

static void open_once(void)
{
	if (folder)
		return;
	folder = support_folder();
	support_golden(folder);
	golden = support_open(folder, DIRECTORY_NAMES);
	atexit(finish);
}

static void check_again(const struct grantee *who, const char *domain)
{
	char text[GRANTEE_SIZE], why[GRANTEE_WHY_SIZE];
	struct grantee again;
	struct error error = {0};

	grantee_format(who, text);
	int found = grantee_parse(golden.reader, text, domain, &again, why, &error);
	if (found != 1)
		fprintf(stderr, "%s: %s%s\n", text, why, error.text);
	FUZZ_EXPECT(found == 1 && grantee_compare(who, &again) == 0);
}

/* Somebody with that name is meant, and nobody else. */
static void check_user(const struct grantee *who)
{
	struct rights_user me = {0}, other = {0};
	struct error error = {0};

	FUZZ_EXPECT(rights_user_init(golden.reader, who->name, &me, &error) == 0);
	FUZZ_EXPECT(strcmp(me.user, who->name) == 0);
	FUZZ_EXPECT(grantee_is(who, &me, "postmaster@company.com"));
	FUZZ_EXPECT(rights_user_init(golden.reader, "kurt@client2.com", &other, &error) == 0);
	FUZZ_EXPECT(grantee_is(who, &other, "postmaster@company.com") ==
		    (strcmp(who->name, other.user) == 0));
	for (size_t i = 1; i < me.group_count; i++)
		FUZZ_EXPECT(strcmp(me.groups[i - 1], me.groups[i]) < 0);
	rights_user_finish(&me);
	rights_user_finish(&other);
}

static void check(const struct grantee *who)
{
	bool named = who->kind != GRANTEE_ANYONE && who->kind != GRANTEE_AUTHENTICATED &&
		     who->kind != GRANTEE_OWNER;

	FUZZ_EXPECT(who->kind >= GRANTEE_ANYONE && who->kind <= GRANTEE_GROUP_OVERRIDE);
	FUZZ_EXPECT(memchr(who->name, '\0', sizeof who->name));
	FUZZ_EXPECT(named == (who->name[0] != '\0'));
	FUZZ_EXPECT(!named || input_is_message(who->name));
	check_again(who, "");
	check_again(who, "company.com");
	if (who->kind == GRANTEE_USER)
		check_user(who);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
	struct input input = input_of(bytes, length);
	char *domain = input_line(&input), *text = input_take(&input, input.left);
	char canonical[DOMAIN_SIZE], why[GRANTEE_WHY_SIZE];
	struct grantee who;
	struct error error = {0};

	open_once();
	if (!domain_parse(domain, strlen(domain), canonical))
		canonical[0] = '\0';
	FUZZ_EXPECT(directory_begin(golden.reader, &error) == 0);
	int found = grantee_parse(golden.reader, text, canonical, &who, why, &error);
	FUZZ_EXPECT(found == 0 || found == 1);
	if (found)
		check(&who);
	else
		FUZZ_EXPECT(memchr(why, '\0', sizeof why) && input_is_message(why));
	directory_end(golden.reader);
	free(domain);
	free(text);
	return 0;
}
