/* Grants under random changes, against a model that is a plain list; under writers that are killed; and
 * cut off at each commit of the commands that change two files.
 *
 *	HOMING_MODEL_ROUNDS, HOMING_MODEL_SEED, HOMING_KILL_SECONDS: more of it than in every build */
#include "sharing.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>
#include <lmdb.h>

#include "directory-write.h"
#include "sharing-write.h"
#include "support.h"

#define ARRAY_LENGTH(array) (sizeof(array) / sizeof *(array))

static const char directory_json[] =
	"{\"main_domain\": \"a.example\", \"domains\": {"
	" \"a.example\": {\"administrators\": [\"u0\"]}, \"b.example\": {}, \"c.example\": {},"
	" \"x.example\": {\"accounts\": \"external\"}}}";
static const char directory_names[] = "account u0@a.example\naccount u1@a.example\n"
				      "account u2@b.example\naccount u3@b.example\n"
				      "account u4@c.example\naccount u5@c.example\n"
				      "group g0@a.example u0@a.example u2@b.example u4@c.example\n"
				      "group g1@b.example u1@a.example u2@b.example g0@a.example\n"
				      "group g2@c.example u5@c.example\n";
static const char *const users[] = {"u0@a.example", "u1@a.example", "u2@b.example",
				    "u3@b.example", "u4@c.example", "u5@c.example"};
static const char *const groups[] = {"g0@a.example", "g1@b.example", "g2@c.example"};
static const char *const domains[] = {"a.example", "b.example", "c.example"};
static const char public_owner[] = "public:Public/";
enum { USERS = 6, GROUPS = 3, OWNERS = USERS + 1, MAILBOXES = 14, GRANTEES = 24 };

static char mailboxes[MAILBOXES][1100];
static struct grantee grantees[GRANTEES];

static const char *owner_name(unsigned number)
{
	return number < USERS ? users[number] : public_owner;
}

/* Families of names, some of them longer than a key, alike up to its end and behind it. */
static void make_names(void)
{
	static const char *const plain[] = {"", "INBOX", "A", "A\x1f" "B", "A\x1f" "B\x1f" "C", "AB",
					    "A\x1f" "D", "A!"};
	static const char *const ends[] = {"", "\x1f" "child", "", "\x1f" "child", "x",
					   "\x1f" "a\x1f" "b"};
	size_t count = 0;

	for (; count < ARRAY_LENGTH(plain); count++)
		strcpy(mailboxes[count], plain[count]);
	for (size_t i = 0; i < ARRAY_LENGTH(ends); i++) {
		memset(mailboxes[count], 'L', i < 2 ? 383 : 450);
		strcpy(mailboxes[count++] + (i < 2 ? 383 : 450), ends[i]);
	}
	assert_int_equal(count, MAILBOXES);
	count = 0;
	grantees[count++].kind = GRANTEE_ANYONE;
	grantees[count++].kind = GRANTEE_AUTHENTICATED;
	grantees[count++].kind = GRANTEE_OWNER;
	for (size_t i = 0; i < ARRAY_LENGTH(domains); i++) {
		grantees[count].kind = GRANTEE_DOMAIN;
		strcpy(grantees[count++].name, domains[i]);
	}
	for (size_t i = 0; i < GROUPS; i++) {
		grantees[count].kind = GRANTEE_GROUP;
		strcpy(grantees[count++].name, groups[i]);
		grantees[count].kind = GRANTEE_GROUP_OVERRIDE;
		strcpy(grantees[count++].name, groups[i]);
	}
	for (size_t round = 0; round < 2; round++) /* users twice as often */
		for (size_t i = 0; i < USERS; i++) {
			grantees[count].kind = GRANTEE_USER;
			strcpy(grantees[count++].name, users[i]);
		}
	assert_int_equal(count, GRANTEES);
}

/* The model: grants as they come, in no order. */

struct model_grant {
	char owner[OWNER_SIZE];
	char mailbox[4200];
	struct grant grant;
};
struct model {
	struct model_grant *grants;
	size_t count, size;
};

static int compare_grants(const void *left, const void *right)
{
	const struct model_grant *a = left, *b = right;
	int order = strcmp(a->owner, b->owner);

	if (order == 0)
		order = strcmp(a->mailbox, b->mailbox);
	return order ? order : grantee_compare(&a->grant.who, &b->grant.who);
}

static void model_remove(struct model *model, size_t at)
{
	model->grants[at] = model->grants[--model->count];
}

static struct grant *model_find(struct model *model, const char *owner, const char *mailbox,
				const struct grantee *who)
{
	for (size_t i = 0; i < model->count; i++)
		if (strcmp(model->grants[i].owner, owner) == 0 &&
		    strcmp(model->grants[i].mailbox, mailbox) == 0 &&
		    grantee_compare(&model->grants[i].grant.who, who) == 0)
			return &model->grants[i].grant;
	return NULL;
}

static void model_put(struct model *model, const char *owner, const char *mailbox,
		      const struct grant *grant)
{
	struct grant *found = model_find(model, owner, mailbox, &grant->who);

	if (!found) {
		if (model->count == model->size) {
			model->size = model->size ? 2 * model->size : 64;
			model->grants = realloc(model->grants, model->size * sizeof *model->grants);
			assert_non_null(model->grants);
		}
		struct model_grant *fresh = &model->grants[model->count++];
		snprintf(fresh->owner, sizeof fresh->owner, "%s", owner);
		snprintf(fresh->mailbox, sizeof fresh->mailbox, "%s", mailbox);
		found = &fresh->grant;
	}
	*found = *grant;
	for (size_t i = 0; !grant->has_rights && !grant->has_negative && i < model->count; i++)
		if (&model->grants[i].grant == found) {
			model_remove(model, i);
			break;
		}
}

static void model_clear(struct model *model, const char *owner, const char *mailbox)
{
	for (size_t i = 0; i < model->count; i++)
		if (strcmp(model->grants[i].owner, owner) == 0 &&
		    strcmp(model->grants[i].mailbox, mailbox) == 0)
			model_remove(model, i--);
}

static bool model_belongs(const struct model_grant *grant, const char *owner, const char *mailbox)
{
	size_t length = strlen(mailbox);

	return strcmp(grant->owner, owner) == 0 && strncmp(grant->mailbox, mailbox, length) == 0 &&
	       (grant->mailbox[length] == '\0' || grant->mailbox[length] == MAILBOX_SEPARATOR);
}

static void model_created(struct model *model, const char *owner, const char *mailbox,
			  const char *parent)
{
	struct model copies = {0};

	for (size_t i = 0; parent && *parent && i < model->count; i++)
		if (strcmp(model->grants[i].owner, owner) == 0 &&
		    strcmp(model->grants[i].mailbox, parent) == 0)
			model_put(&copies, owner, mailbox, &model->grants[i].grant);
	model_clear(model, owner, mailbox);
	for (size_t i = 0; i < copies.count; i++)
		model_put(model, owner, mailbox, &copies.grants[i].grant);
	free(copies.grants);
}

static void model_moved(struct model *model, const char *owner, const char *mailbox,
			const char *new_owner, const char *new_mailbox)
{
	struct model moved = {0};

	for (size_t i = 0; i < model->count; i++)
		if (model_belongs(&model->grants[i], owner, mailbox)) {
			char name[4200];

			snprintf(name, sizeof name, "%s%s", new_mailbox,
				 model->grants[i].mailbox + strlen(mailbox));
			model_put(&moved, new_owner, name, &model->grants[i].grant);
			model_remove(model, i--);
		}
	model_clear(model, new_owner, new_mailbox);
	for (size_t i = 0; i < moved.count; i++)
		model_clear(model, new_owner, moved.grants[i].mailbox);
	for (size_t i = 0; i < moved.count; i++)
		model_put(model, new_owner, moved.grants[i].mailbox, &moved.grants[i].grant);
	free(moved.grants);
}

static bool model_is_of(const struct grantee *who, enum grantee_kind kind, const char *name)
{
	bool same_kind = who->kind == kind ||
			 (kind == GRANTEE_GROUP && who->kind == GRANTEE_GROUP_OVERRIDE);

	return same_kind && strcmp(who->name, name) == 0;
}

static void model_deleted(struct model *model, enum grantee_kind kind, const char *name)
{
	for (size_t i = 0; i < model->count; i++)
		if (model_is_of(&model->grants[i].grant.who, kind, name) ||
		    (kind == GRANTEE_USER && strcmp(model->grants[i].owner, name) == 0))
			model_remove(model, i--);
}

static void model_renamed(struct model *model, enum grantee_kind kind, const char *name,
			  const char *new_name)
{
	if (strcmp(name, new_name) == 0)
		return;
	model_deleted(model, kind, new_name);
	for (size_t i = 0; i < model->count; i++) {
		struct model_grant *grant = &model->grants[i];

		if (model_is_of(&grant->grant.who, kind, name))
			strcpy(grant->grant.who.name, new_name);
		if (kind == GRANTEE_USER && strcmp(grant->owner, name) == 0)
			strcpy(grant->owner, new_name);
	}
}

/* Who is who in directory_names, written down once more. */
static bool model_is_member(const char *user, const char *group)
{
	static const char *const members[][7] = {
		{"u0@a.example", "u2@b.example", "u4@c.example", NULL},
		{"u0@a.example", "u1@a.example", "u2@b.example", "u4@c.example", NULL},
		{"u5@c.example", NULL},
	};

	for (size_t i = 0; i < GROUPS; i++)
		for (size_t j = 0; strcmp(group, groups[i]) == 0 && members[i][j]; j++)
			if (strcmp(user, members[i][j]) == 0)
				return true;
	return false;
}

static bool model_means(const struct grantee *who, const char *user, const char *owner)
{
	switch (who->kind) {
	case GRANTEE_ANYONE:
	case GRANTEE_AUTHENTICATED:
		return true;
	case GRANTEE_DOMAIN:
		return strcmp(strchr(user, '@') + 1, who->name) == 0;
	case GRANTEE_GROUP:
	case GRANTEE_GROUP_OVERRIDE:
		return model_is_member(user, who->name);
	case GRANTEE_OWNER:
		return strcmp(user, owner) == 0;
	default:
		return strcmp(user, who->name) == 0;
	}
}

static bool model_administers(const char *user, const char *owner)
{
	const char *at = strchr(owner, '@');

	return strcmp(user, "u0@a.example") == 0 && at && strcmp(at, "@a.example") == 0;
}

/* Goes through all identifiers there are, from the weakest to the strongest. */
static uint16_t model_rights(struct model *model, const char *user, const char *owner,
			     const char *mailbox, bool with_administrator)
{
	bool is_owner = strcmp(user, owner) == 0;
	uint16_t rights = is_owner ? RIGHTS_ALL : 0, negative = 0;

	if (with_administrator && model_administers(user, owner))
		return RIGHTS_ALL;
	for (int kind = is_owner ? GRANTEE_OWNER : GRANTEE_ANYONE; kind <= GRANTEE_GROUP_OVERRIDE;
	     kind++) {
		bool first = true, first_negative = true;

		for (size_t i = 0; i < GRANTEES - USERS; i++) {
			if ((int)grantees[i].kind != kind || !model_means(&grantees[i], user, owner))
				continue;
			const struct grant *grant = model_find(model, owner, mailbox, &grantees[i]);
			if (!grant)
				grant = model_find(model, owner, "", &grantees[i]);
			if (!grant)
				continue;
			if (grant->has_rights)
				rights = first ? grant->rights : rights | grant->rights;
			if (grant->has_negative)
				negative = first_negative ? grant->negative : negative | grant->negative;
			first = first && !grant->has_rights;
			first_negative = first_negative && !grant->has_negative;
		}
	}
	return rights & (uint16_t)~negative;
}

/* Comparing the file with the model. */

struct all {
	struct model seen;
	uint64_t index;
};

static int see_grant(const char *owner, const char *mailbox, const struct grant *grant,
		     void *context)
{
	struct all *all = context;

	assert_null(model_find(&all->seen, owner, mailbox, &grant->who));
	model_put(&all->seen, owner, mailbox, grant);
	return 0;
}

static bool same_grant(const struct model_grant *a, const struct model_grant *b)
{
	return compare_grants(a, b) == 0 && a->grant.has_rights == b->grant.has_rights &&
	       a->grant.has_negative == b->grant.has_negative &&
	       a->grant.rights == b->grant.rights && a->grant.negative == b->grant.negative;
}

static void sort_model(struct model *model)
{
	if (model->count > 1)
		qsort(model->grants, model->count, sizeof *model->grants, compare_grants);
}

static void print_grant(const char *where, const struct model_grant *grant)
{
	char who[GRANTEE_SIZE];

	grantee_format(&grant->grant.who, who);
	print_error("only in %s: %s %s %s %#x %#x\n", where, grant->owner, grant->mailbox, who,
		    grant->grant.rights, grant->grant.negative);
}

/* Of two sorted lists. */
static void print_difference(const struct model *file, const struct model *model)
{
	size_t i = 0, j = 0;

	while (i < file->count || j < model->count) {
		int order = i == file->count	? 1
			    : j == model->count ? -1
						: compare_grants(&file->grants[i], &model->grants[j]);

		if (order < 0)
			print_grant("the file", &file->grants[i]);
		else if (order > 0)
			print_grant("the model", &model->grants[j]);
		i += order <= 0;
		j += order >= 0;
	}
}

static void compare_all(struct sharing *sharing, struct model *model)
{
	struct all all = {.index = 0};
	struct error error = {0};

	if (sharing_each_of_owner(sharing, NULL, see_grant, &all, &error) != 0)
		fail_msg("%s", error.text);
	sort_model(&all.seen);
	sort_model(model);
	print_difference(&all.seen, model);
	assert_int_equal(all.seen.count, model->count);
	for (size_t i = 0; i < model->count; i++)
		assert_true(same_grant(&all.seen.grants[i], &model->grants[i]));
	free(all.seen.grants);
}

struct expectation {
	struct model *model;
	const char *user, *owner, *mailbox;
	const struct grantee *who;
	char last_owner[OWNER_SIZE], last_mailbox[4200];
	size_t count;
};

static int see_received(const char *owner, const char *mailbox, void *context)
{
	struct expectation *expected = context;

	assert_non_null(model_find(expected->model, owner, mailbox, expected->who));
	expected->count++;
	return 0;
}

static void compare_received(struct sharing *sharing, struct model *model, const struct grantee *who)
{
	struct expectation expected = {.model = model, .who = who};
	struct error error = {0};
	size_t count = 0;

	for (size_t i = 0; i < model->count; i++)
		count += grantee_compare(&model->grants[i].grant.who, who) == 0;
	if (sharing_each_received(sharing, who, see_received, &expected, &error) != 0)
		fail_msg("%s", error.text);
	assert_int_equal(expected.count, count);
}

/* By domain, then local part; public owners behind. */
static int compare_owners(const char *a, const char *b)
{
	const char *a_at = strchr(a, '@'), *b_at = strchr(b, '@');

	if (!a_at || !b_at)
		return a_at ? -1 : b_at ? 1 : strcmp(a, b);
	int order = strcmp(a_at, b_at);
	return order ? order : strcmp(a, b);
}

static int see_visible(const char *owner, const char *mailbox, uint16_t rights, void *context)
{
	struct expectation *expected = context;
	int order = expected->count == 0 ? -1 : compare_owners(expected->last_owner, owner);

	assert_true(order < 0 || (order == 0 && strcmp(expected->last_mailbox, mailbox) < 0));
	assert_int_equal(rights, model_rights(expected->model, expected->user, owner, mailbox, true));
	strcpy(expected->last_owner, owner);
	strcpy(expected->last_mailbox, mailbox);
	expected->count++;
	return 0;
}

/* Of each mailbox, once: something that means the user stands there, and the rights let it be seen. */
static size_t count_visible(struct model *model, const char *user)
{
	size_t count = 0;

	sort_model(model);
	for (size_t i = 0, end; i < model->count; i = end) {
		const struct model_grant *first = &model->grants[i];
		bool means = false;

		for (end = i; end < model->count && strcmp(model->grants[end].owner, first->owner) == 0 &&
			      strcmp(model->grants[end].mailbox, first->mailbox) == 0;
		     end++)
			means = means || model_means(&model->grants[end].grant.who, user, first->owner);
		uint16_t rights = model_rights(model, user, first->owner, first->mailbox, false);
		count += means && strcmp(first->owner, user) != 0 && (rights & RIGHT_LOOKUP);
	}
	return count;
}

static void compare_user(struct sharing *sharing, struct model *model, const struct rights_user *me)
{
	struct expectation expected = {.model = model, .user = me->user};
	struct error error = {0};

	if (sharing_each_visible(sharing, me, see_visible, &expected, &error) != 0)
		fail_msg("%s", error.text);
	assert_int_equal(expected.count, count_visible(model, me->user));
	for (unsigned owner = 0; owner < OWNERS; owner++)
		for (unsigned mailbox = 0; mailbox < MAILBOXES; mailbox++) {
			uint16_t rights;

			assert_int_equal(sharing_rights(sharing, me, owner_name(owner), mailboxes[mailbox],
							&rights, &error), 0);
			assert_int_equal(rights, model_rights(model, me->user, owner_name(owner),
							      mailboxes[mailbox], true));
		}
}

static void compare_has_grants(struct sharing *sharing, struct model *model)
{
	struct error error = {0};

	for (unsigned owner = 0; owner < OWNERS; owner++)
		for (unsigned mailbox = 0; mailbox < MAILBOXES; mailbox++) {
			int expected = 0;

			for (size_t i = 0; i < model->count; i++) {
				const struct model_grant *grant = &model->grants[i];
				bool own = grant->grant.who.kind == GRANTEE_OWNER ||
					   model_is_of(&grant->grant.who, GRANTEE_USER, grant->owner);
				bool at = mailboxes[mailbox][0] == '\0'
						  ? strcmp(grant->owner, owner_name(owner)) == 0
						  : model_belongs(grant, owner_name(owner),
								  mailboxes[mailbox]);
				expected |= at && !own;
			}
			assert_int_equal(sharing_has_grants(sharing, owner_name(owner),
							    mailboxes[mailbox], &error), expected);
		}
}

static void tell_found(const char *what, void *context)
{
	(void)context;
	print_error("found: %s\n", what);
}

static void verify_file(const char *folder, struct directory_reader *directory)
{
	struct sharing_writer *writer;
	struct error error = {0};

	assert_int_equal(sharing_writer_open(folder, &writer, &error), 0);
	assert_int_equal(sharing_verify(writer, directory, false, tell_found, NULL, &error), 0);
	sharing_writer_close(&writer);
}

static void compare_file(const char *folder, struct model *model, const struct rights_user *me)
{
	struct sharing *sharing;
	struct sharing_statistics statistics;
	struct error error = {0};

	if (sharing_open(folder, &sharing, &error) < 0 || sharing_begin(sharing, &error) < 0)
		fail_msg("%s", error.text);
	compare_all(sharing, model);
	for (size_t i = 0; i < GRANTEES; i++)
		compare_received(sharing, model, &grantees[i]);
	for (size_t i = 0; i < USERS; i++)
		compare_user(sharing, model, &me[i]);
	compare_has_grants(sharing, model);
	assert_int_equal(sharing_statistics(sharing, &statistics, &error), 0);
	assert_int_equal(statistics.grants, model->count);
	sharing_end(sharing);
	sharing_close(&sharing);
}

/* Random changes. */

struct scene {
	struct sharing_writer *writer;
	struct model *model;
	const struct rights_user *me; /* USERS of them */
	uint64_t *random;
};

static unsigned pick(struct scene *scene, unsigned count)
{
	return (unsigned)(support_random(scene->random) % count);
}

static struct grant changed(struct grant grant, const struct grant_change *change)
{
	bool *const there[2] = {&grant.has_rights, &grant.has_negative};
	uint16_t *const rights[2] = {&grant.rights, &grant.negative};
	const enum grant_change_mode modes[2] = {change->mode, change->negative_mode};
	const uint16_t values[2] = {change->rights, change->negative};

	for (int half = 0; half < 2; half++) {
		if (modes[half] == GRANT_ADD)
			*rights[half] |= values[half];
		else if (modes[half] == GRANT_REMOVE)
			*rights[half] &= (uint16_t)~values[half];
		else if (modes[half] == GRANT_REPLACE)
			*rights[half] = values[half];
		else if (modes[half] == GRANT_CLEAR)
			*rights[half] = 0;
		*there[half] = (*there[half] || (modes[half] == GRANT_ADD && values[half] != 0) ||
				modes[half] == GRANT_REPLACE) && modes[half] != GRANT_CLEAR;
	}
	return grant;
}

static uint16_t everybodys(const struct grant *grant)
{
	return (grant->has_rights ? grant->rights : 0) &
	       (uint16_t) ~(grant->has_negative ? grant->negative : 0);
}

/* 1, 0, -1 as sharing_change() is to answer. */
static int model_change(struct scene *scene, const char *user, const char *owner,
			const char *mailbox, const struct grant_change *change)
{
	const struct grant *found = model_find(scene->model, owner, mailbox, &change->who);
	struct grant old = found ? *found : (struct grant){.who = change->who};
	struct grant new = changed(old, change);
	bool all = change->who.kind == GRANTEE_ANYONE || change->who.kind == GRANTEE_AUTHENTICATED;

	if (user && !(model_rights(scene->model, user, owner, mailbox, true) & RIGHT_ADMINISTER))
		return -1;
	if (user && all && !model_administers(user, owner) && (everybodys(&new) & ~everybodys(&old)))
		return -1;
	if (old.has_rights == new.has_rights && old.has_negative == new.has_negative &&
	    old.rights == new.rights && old.negative == new.negative)
		return 0;
	model_put(scene->model, owner, mailbox, &new);
	return 1;
}

static void change_at_random(struct scene *scene)
{
	const char *owner = owner_name(pick(scene, OWNERS));
	const char *mailbox = mailboxes[pick(scene, MAILBOXES)];
	const struct grant_change change = {
		.who = grantees[pick(scene, GRANTEES)],
		.mode = (enum grant_change_mode)pick(scene, 5),
		.rights = (uint16_t)pick(scene, RIGHTS_ALL + 1),
		.negative_mode = pick(scene, 3) ? GRANT_NONE : (enum grant_change_mode)pick(scene, 5),
		.negative = (uint16_t)(pick(scene, RIGHTS_ALL + 1) & pick(scene, RIGHTS_ALL + 1)),
	};
	unsigned user = pick(scene, 3 * USERS);
	const struct sharing_actor actor = {.me = user < USERS ? &scene->me[user] : NULL};
	struct error error = {0};
	int expected = model_change(scene, user < USERS ? users[user] : NULL, owner, mailbox, &change);

	assert_int_equal(sharing_change(scene->writer, &actor, owner, mailbox, &change, &error),
			 expected);
	if (expected < 0)
		assert_int_equal(error.code, ERROR_PERMISSION);
}

static void move_at_random(struct scene *scene, unsigned what)
{
	const char *owner = owner_name(pick(scene, OWNERS));
	const char *mailbox = mailboxes[1 + pick(scene, MAILBOXES - 1)];
	const char *other = mailboxes[1 + pick(scene, MAILBOXES - 1)];
	const char *new_owner = pick(scene, 3) ? owner : owner_name(pick(scene, OWNERS));
	struct error error = {0};
	int answer;

	if (what == 0) {
		answer = sharing_mailbox_deleted(scene->writer, owner, mailbox, &error);
		model_clear(scene->model, owner, mailbox);
	} else if (what == 1) {
		const char *parent = pick(scene, 3) ? other : NULL;

		answer = sharing_mailbox_created(scene->writer, owner, mailbox, parent, &error);
		model_created(scene->model, owner, mailbox, parent);
	} else {
		answer = sharing_mailbox_renamed(scene->writer, owner, mailbox, new_owner, other, &error);
		model_moved(scene->model, owner, mailbox, new_owner, other);
	}
	if (answer < 0)
		fail_msg("%s", error.text);
}

static void rename_at_random(struct scene *scene, bool delete)
{
	bool group = pick(scene, 3) == 0;
	const char *const *names = group ? groups : users;
	const char *name = names[pick(scene, group ? GROUPS : USERS)];
	const char *new_name = names[pick(scene, group ? GROUPS : USERS)];
	enum grantee_kind kind = group ? GRANTEE_GROUP : GRANTEE_USER;
	struct error error = {0};
	int answer;

	if (delete) {
		answer = sharing_deleted(scene->writer, kind, name, &error);
		model_deleted(scene->model, kind, name);
	} else {
		answer = sharing_renamed(scene->writer, kind, name, new_name, &error);
		model_renamed(scene->model, kind, name, new_name);
	}
	if (answer < 0)
		fail_msg("%s", error.text);
}

static void step_at_random(struct scene *scene)
{
	unsigned what = pick(scene, 100);

	if (what < 85)
		change_at_random(scene);
	else if (what < 97)
		move_at_random(scene, what % 3);
	else
		rename_at_random(scene, what == 99);
}

static void random_changes_agree_with_a_model(void **state)
{
	const unsigned long rounds = support_number("HOMING_MODEL_ROUNDS", 40);
	uint64_t random = support_number("HOMING_MODEL_SEED", 4);
	char *folder = *state;
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	struct rights_user me[USERS];
	struct model model = {0};
	struct error error = {0};

	assert_int_equal(directory_begin(open.reader, &error), 0);
	for (size_t i = 0; i < USERS; i++)
		assert_int_equal(rights_user_init(open.reader, users[i], &me[i], &error), 0);
	directory_end(open.reader);
	for (unsigned long round = 0; round < rounds; round++) {
		struct scene scene = {.model = &model, .me = me, .random = &random};

		if (sharing_writer_open(folder, &scene.writer, &error) < 0)
			fail_msg("%s", error.text);
		for (int step = 0; step < 25; step++)
			step_at_random(&scene);
		sharing_writer_close(&scene.writer);
		compare_file(folder, &model, me);
		verify_file(folder, open.reader);
	}
	for (size_t i = 0; i < USERS; i++)
		rights_user_finish(&me[i]);
	support_close(&open);
	free(model.grants);
}

/* Killed writers. Each slot is a session that changes the rights of one account of its own on the same
 * mailbox as all the others, and says what it is about to write and what it has written. */

enum { SLOTS = 24, PENDING = 64 };
struct slot {
	volatile uint16_t wanted, written;
	/* What was wanted when sessions were killed, since the last one that was written. LMDB may have
	 * committed it without telling readers: it shows with the next commit of anybody. */
	volatile uint16_t pending[PENDING];
	volatile unsigned pending_count;
};

static void session_change(const char *folder, unsigned slot, uint16_t rights, bool other)
{
	struct sharing_writer *writer;
	struct error error = {0};
	struct grant_change change = {
		.who = {.kind = GRANTEE_USER}, .mode = GRANT_REPLACE, .rights = rights};
	const struct sharing_actor administrator = {.me = NULL};
	char mailbox[32];

	snprintf(change.who.name, sizeof change.who.name, "s%u@x.example", slot);
	if (sharing_writer_open(folder, &writer, &error) < 0)
		support_die("%s", error.text);
	if (sharing_change(writer, &administrator, "u1@a.example", "Box", &change, &error) < 0)
		support_die("%s", error.text);
	/* and one that is its own, made and renamed and deleted */
	snprintf(mailbox, sizeof mailbox, "Own%u", slot);
	if (other && (sharing_mailbox_created(writer, "u1@a.example", mailbox, "Box", &error) < 0 ||
		      sharing_mailbox_renamed(writer, "u1@a.example", mailbox, "u2@b.example", mailbox,
					      &error) < 0 ||
		      sharing_mailbox_deleted(writer, "u2@b.example", mailbox, &error) < 0))
		support_die("%s", error.text);
	sharing_writer_close(&writer);
}

static pid_t start_session(const char *folder, unsigned number, struct slot *slot)
{
	pid_t child = fork();

	if (child != 0)
		return child;
	uint64_t random = (uint64_t)getpid();
	for (;;) {
		slot->wanted = (uint16_t)(1 + support_random(&random) % RIGHTS_ALL);
		session_change(folder, number, slot->wanted, support_random(&random) % 4 == 0);
		slot->written = slot->wanted;
		slot->pending_count = 0;
	}
}

static int see_any(const char *owner, const char *mailbox, const struct grant *grant, void *context)
{
	(void)owner, (void)mailbox, (void)grant;
	++*(uint64_t *)context;
	return 0;
}

struct seen_slot {
	char name[32];
	uint16_t rights;
};

static int see_slot(const struct grant *grant, void *context)
{
	struct seen_slot *seen = context;

	if (strcmp(grant->who.name, seen->name) == 0)
		seen->rights = grant->rights;
	return 0;
}

/* Of a session that is dead: the file has what it wrote last, or what it was about to write. */
static void check_slot(struct sharing *sharing, unsigned number, struct slot *slot)
{
	struct seen_slot seen = {.rights = 0};
	struct error error = {0};

	snprintf(seen.name, sizeof seen.name, "s%u@x.example", number);
	assert_int_equal(sharing_each_grant(sharing, "u1@a.example", "Box", see_slot, &seen, &error), 0);
	bool pending = seen.rights == slot->written || seen.rights == slot->wanted;
	for (unsigned i = 0; i < slot->pending_count; i++)
		pending = pending || seen.rights == slot->pending[i];
	if (!pending)
		fail_msg("slot %u: %#x, neither %#x nor %#x: an update was lost", number, seen.rights,
			 slot->written, slot->wanted);
	assert_true(slot->pending_count < PENDING);
	slot->pending[slot->pending_count++] = slot->wanted;
}

/* What a reader sees meanwhile is whole. */
static void read_whole(struct sharing *sharing)
{
	struct sharing_statistics statistics;
	struct error error = {0};
	uint64_t count = 0;

	if (sharing_check(sharing, &error) < 0 || sharing_begin(sharing, &error) < 0 ||
	    sharing_each_of_owner(sharing, NULL, see_any, &count, &error) < 0 ||
	    sharing_statistics(sharing, &statistics, &error) < 0)
		fail_msg("%s", error.text);
	assert_int_equal(count, statistics.grants);
	sharing_end(sharing);
}

static void killed_writers_lose_nothing_of_others(void **state)
{
	const unsigned long seconds = support_number("HOMING_KILL_SECONDS", 4);
	const char *folder = *state;
	struct slot *slots = mmap(NULL, SLOTS * sizeof *slots, PROT_READ | PROT_WRITE,
				  MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	pid_t children[SLOTS];
	uint64_t random = support_number("HOMING_MODEL_SEED", 4);
	time_t end = time(NULL) + (time_t)seconds;
	unsigned kills = 0;
	struct sharing *sharing;
	struct error error = {0};

	assert_ptr_not_equal(slots, MAP_FAILED);
	for (unsigned i = 0; i < SLOTS; i++)
		children[i] = start_session(folder, i, &slots[i]);
	if (sharing_open(folder, &sharing, &error) < 0)
		fail_msg("%s", error.text);
	while (time(NULL) < end || kills < 20) {
		unsigned victim = (unsigned)(support_random(&random) % SLOTS);
		int status;

		usleep((useconds_t)(support_random(&random) % 5000));
		read_whole(sharing);
		kill(children[victim], SIGKILL);
		assert_int_equal(waitpid(children[victim], &status, 0), children[victim]);
		/* none ended by itself */
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
		kills++;
		assert_int_equal(sharing_begin(sharing, &error), 0);
		check_slot(sharing, victim, &slots[victim]);
		sharing_end(sharing);
		children[victim] = start_session(folder, victim, &slots[victim]);
	}
	for (unsigned i = 0; i < SLOTS; i++) {
		kill(children[i], SIGKILL);
		waitpid(children[i], NULL, 0);
	}
	assert_int_equal(sharing_begin(sharing, &error), 0);
	for (unsigned i = 0; i < SLOTS; i++)
		check_slot(sharing, i, &slots[i]);
	sharing_end(sharing);
	sharing_close(&sharing);
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	verify_file(folder, open.reader);
	support_close(&open);
	/* and the file can be written */
	session_change(folder, 0, 1, true);
	munmap(slots, SLOTS * sizeof *slots);
	print_message("%u sessions were killed\n", kills);
}

/* Commands on accounts and groups, ended at each of their commits. */

static int commits_left = -1; /* before the kill; negative: no kill */
static bool kill_before;

int __real_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn);
int __wrap_mdb_txn_commit(MDB_txn *txn)
{
	bool last = commits_left >= 0 && commits_left-- == 0;

	if (last && kill_before)
		raise(SIGKILL);
	int rc = __real_mdb_txn_commit(txn);
	if (last)
		raise(SIGKILL);
	return rc;
}

static int command_delete(struct directory_writer *writer, struct error *error)
{
	return directory_account_delete(writer, "u2", "b.example", true, error);
}

static int command_rename(struct directory_writer *writer, struct error *error)
{
	return directory_account_rename(writer, "u2", "b.example", "new", "c.example", error);
}

static int command_add(struct directory_writer *writer, struct error *error)
{
	const struct account_change account = {.local = "stale", .domain = "c.example"};

	return directory_account_add(writer, &account, error);
}

static int command_delete_group(struct directory_writer *writer, struct error *error)
{
	return directory_name_delete(writer, ENTRY_GROUP, "g1", "b.example", error);
}

/* The grants that each of these starts with. */
static void grant_some(const char *folder, struct model *model)
{
	static const struct {
		const char *owner, *mailbox;
		struct grantee who;
		uint16_t rights;
	} all[] = {
		{"u1@a.example", "Box", {GRANTEE_USER, "u2@b.example"}, 3},
		{"u1@a.example", "Box", {GRANTEE_GROUP, "g1@b.example"}, 5},
		{"u1@a.example", "", {GRANTEE_GROUP_OVERRIDE, "g1@b.example"}, 7},
		{"u1@a.example", "Box", {GRANTEE_USER, "stale@c.example"}, 3},
		{"stale@c.example", "Box", {GRANTEE_USER, "u3@b.example"}, 3},
		{"u2@b.example", "Mine", {GRANTEE_USER, "u1@a.example"}, 9},
		{"u2@b.example", "", {GRANTEE_DOMAIN, "a.example"}, 1},
		{"u3@b.example", "Box", {GRANTEE_USER, "u1@a.example"}, 1},
	};
	const struct sharing_actor administrator = {.me = NULL};
	struct sharing_writer *writer;
	struct error error = {0};

	assert_int_equal(sharing_writer_open(folder, &writer, &error), 0);
	for (size_t i = 0; i < ARRAY_LENGTH(all); i++) {
		const struct grant_change change = {
			.who = all[i].who, .mode = GRANT_REPLACE, .rights = all[i].rights};
		const struct grant grant = {
			.who = all[i].who, .has_rights = true, .rights = all[i].rights};

		assert_int_equal(sharing_change(writer, &administrator, all[i].owner, all[i].mailbox,
						&change, &error), 1);
		model_put(model, all[i].owner, all[i].mailbox, &grant);
	}
	sharing_writer_close(&writer);
}

static bool has_account(const char *folder, const char *local, const char *domain)
{
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	struct error error = {0};

	assert_int_equal(directory_begin(open.reader, &error), 0);
	int kind = directory_kind(open.reader, local, domain, &error);
	directory_end(open.reader);
	support_close(&open);
	return kind > 0;
}

/* Whatever is there now was there before, or is what a finished command leaves. */
static void check_after(const char *folder, int command, struct model *before)
{
	struct sharing *sharing;
	struct all all = {.index = 0};
	struct error error = {0};

	if (command == 0 && !has_account(folder, "u2", "b.example"))
		model_deleted(before, GRANTEE_USER, "u2@b.example");
	bool renamed = false;
	for (size_t i = 0; i < before->count; i++)
		renamed = renamed || strcmp(before->grants[i].owner, "new@c.example") == 0;
	if (command == 1 && !renamed && has_account(folder, "new", "c.example"))
		model_renamed(before, GRANTEE_USER, "u2@b.example", "new@c.example");
	if (command == 2 && has_account(folder, "stale", "c.example"))
		model_deleted(before, GRANTEE_USER, "stale@c.example");
	if (command == 3 && !has_account(folder, "g1", "b.example"))
		model_deleted(before, GRANTEE_GROUP, "g1@b.example");
	assert_int_equal(sharing_open(folder, &sharing, &error), 0);
	assert_int_equal(sharing_begin(sharing, &error), 0);
	/* a renaming moves all or nothing; of a deletion, grants go first */
	if (command == 1) {
		compare_all(sharing, before);
	} else if (sharing_each_of_owner(sharing, NULL, see_grant, &all, &error) != 0) {
		fail_msg("%s", error.text);
	}
	for (size_t i = 0; i < all.seen.count; i++)
		assert_non_null(model_find(before, all.seen.grants[i].owner, all.seen.grants[i].mailbox,
					   &all.seen.grants[i].grant.who));
	free(all.seen.grants);
	sharing_end(sharing);
	sharing_close(&sharing);
}

/* Runs the command in a child that is killed at commit number `at`. False: it was over before. */
static bool run_killed(const char *folder, int command, int at, bool before)
{
	static int (*const commands[])(struct directory_writer *, struct error *) = {
		command_delete, command_rename, command_add, command_delete_group};
	pid_t child = fork();
	int status;

	if (child == 0) {
		struct directory_writer *writer;
		struct error error = {0};

		if (directory_writer_open(folder, false, &writer, &error) < 0)
			support_die("%s", error.text);
		kill_before = before;
		commits_left = at;
		if (commands[command](writer, &error) < 0)
			support_die("%s", error.text);
		directory_writer_close(&writer);
		_exit(0);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	if (WIFEXITED(status))
		assert_int_equal(WEXITSTATUS(status), 0);
	return WIFSIGNALED(status);
}

static int folder_setup(void **state);

static void a_command_killed_at_any_commit_gives_nobody_rights(void **state)
{
	unsigned kills = 0;

	for (int command = 0; command < 4; command++)
		for (int at = 0; at < 20; at++) {
			void *folder = NULL;
			struct model model = {0};
			bool killed = false;
			struct error error = {0};

			folder_setup(&folder);
			grant_some(folder, &model);
			killed = run_killed(folder, command, at / 2, at % 2);
			kills += killed;
			/* the next command ends what was begun; then the same again finishes it */
			struct directory_writer *writer;
			if (directory_writer_open(folder, false, &writer, &error) < 0)
				fail_msg("%s", error.text);
			directory_writer_close(&writer);
			check_after(folder, command, &model);
			if (killed && (command == 0 ? has_account(folder, "u2", "b.example")
				       : command == 1 ? !has_account(folder, "new", "c.example")
				       : command == 2 ? !has_account(folder, "stale", "c.example")
						      : has_account(folder, "g1", "b.example")))
				assert_false(run_killed(folder, command, -1, false));
			check_after(folder, command, &model);
			free(model.grants);
			support_teardown(&folder);
		}
	assert_true(kills >= 12);
	print_message("%u commands were killed\n", kills);
	(void)state;
}

static int folder_setup(void **state)
{
	return support_setup(state, directory_json, directory_names);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(random_changes_agree_with_a_model, folder_setup,
						support_teardown),
		cmocka_unit_test_setup_teardown(killed_writers_lose_nothing_of_others, folder_setup,
						support_teardown),
		cmocka_unit_test(a_command_killed_at_any_commit_gives_nobody_rights),
	};

	make_names();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
