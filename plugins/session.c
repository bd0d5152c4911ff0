/* A user of a mail process. */
#include "compat.h"

#include "files.h"
#include "router/route.h"
#include "session.h"
#include "settings.h"

struct homing_session {
	union mail_user_module_context module_ctx;

	struct mail_user *user;
	struct homing_settings settings;
	const char *actor;
	struct homing_files *files;
	bool is_copy;

	struct rights_user me;
	uint64_t me_version; /* of the directory that `me` was read from; 0 not yet */

	/* the last answer of homing_session_account() */
	char asked[NAME_SIZE], account[NAME_SIZE];
	uint64_t account_version;
};

#define HOMING_USER_CONTEXT(obj) MODULE_CONTEXT(obj, homing_user_module)

static MODULE_CONTEXT_DEFINE_INIT(homing_user_module, &mail_user_module_register);

/* of this process, for is_copy() */
static ARRAY(struct homing_session *) all_sessions = ARRAY_INIT;

/* dsync between an account and a folder makes a second user of the same name, with the folder as its
 * mail location, while the first is at it. */
static bool is_copy(const struct mail_user *user)
{
	struct homing_session *session;

	array_foreach_elem(&all_sessions, session) {
		if (session->user->dsyncing &&
		    strcmp(session->user->username, user->username) == 0)
			return TRUE;
	}
	return FALSE;
}

static void remember(struct homing_session *session)
{
	if (!array_is_created(&all_sessions))
		i_array_init(&all_sessions, 2);
	session->is_copy = is_copy(session->user);
	array_push_back(&all_sessions, &session);
}

static void forget(const struct homing_session *gone)
{
	struct homing_session *const *session;

	array_foreach(&all_sessions, session) {
		if (*session == gone) {
			array_delete(&all_sessions, array_foreach_idx(&all_sessions, session), 1);
			break;
		}
	}
	if (array_count(&all_sessions) == 0)
		array_free(&all_sessions);
}

static void session_deinit(struct mail_user *user)
{
	struct homing_session *session = HOMING_USER_CONTEXT(user);

	forget(session);
	rights_user_finish(&session->me);
	session->module_ctx.super.deinit(user);
	homing_files_unref(&session->files);
}

static const char *actor_of(struct mail_user *user, const struct homing_settings *settings)
{
	if (settings->acl_user != NULL)
		return settings->acl_user;
	return user->anonymous ? "" : user->username;
}

static void create_session(struct mail_user *user, const struct homing_settings *settings)
{
	struct mail_user_vfuncs *v = user->vlast;
	struct homing_session *session = p_new(user->pool, struct homing_session, 1);

	session->user = user;
	session->settings = *settings;
	session->actor = actor_of(user, settings);
	session->files = homing_files_ref(settings->directory);
	remember(session);
	session->module_ctx.super = *v;
	user->vlast = &session->module_ctx.super;
	v->deinit = session_deinit;
	MODULE_CONTEXT_SET(user, homing_user_module, session);
}

void homing_session_created(struct mail_user *user)
{
	struct homing_settings settings = {0};
	const char *error;

	/* owners of shared namespaces, and Dovecot's internal users */
	if (user->autocreated)
		return;
	int ret = compat_settings_read(user, &settings, &error);
	if (ret > 0 && settings.directory[0] != '/') {
		error = t_strdup_printf("homing_directory = %s is not an absolute path",
					settings.directory);
		ret = -1;
	}
	if (ret > 0)
		create_session(user, &settings);
	else if (ret < 0)
		user->error = p_strdup_printf(user->pool, "homing_acl: %s", error);
}

struct homing_session *homing_session_of(struct mail_user *user)
{
	while (user->autocreated && user->creator != NULL)
		user = user->creator;
	return HOMING_USER_CONTEXT(user);
}

bool homing_session_is_copy(const struct homing_session *session)
{
	return session->is_copy;
}

const char *homing_session_actor(struct homing_session *session)
{
	return session->actor;
}

static int route_login(struct directory_reader *reader, const char *name, char account_r[NAME_SIZE],
		       struct error *error)
{
	struct route_question question = {
		.kind = NAME_LOGIN,
		.name = name,
		.name_length = strlen(name),
	};
	struct route_answer answer = {0};

	int ret = route(reader, &question, &answer, NULL, error);
	bool known = ret == 0 && answer.result == ROUTE_ACCOUNT;
	if (known)
		i_strocpy(account_r, answer.address, NAME_SIZE);
	route_answer_finish(&answer);
	return ret < 0 ? -1 : known ? 1 : 0;
}

/* A name that is too long for an account is nobody's. */
static int find_account(struct directory_reader *reader, const char *name,
			char account_r[NAME_SIZE], struct error *error)
{
	account_r[0] = '\0';
	if (strlen(name) > NAME_MAX_BYTES)
		return 0;
	if (strpbrk(name, "@%") != NULL) {
		int ret = route_login(reader, name, account_r, error);
		if (ret != 0)
			return ret;
	}
	i_strocpy(account_r, name, NAME_SIZE);
	return 0;
}

static int read_me(struct homing_session *session, struct error *error)
{
	struct directory_reader *reader = homing_files_directory(session->files);
	char account[NAME_SIZE];

	if (session->me_version == directory_snapshot(reader))
		return 0;
	rights_user_finish(&session->me);
	session->me_version = 0;
	if (find_account(reader, session->actor, account, error) < 0 ||
	    rights_user_init(reader, account, &session->me, error) < 0)
		return -1;
	session->me_version = directory_snapshot(reader);
	return 0;
}

static int begin(struct homing_session *session, struct error *error)
{
	if (homing_files_begin(session->files, error) < 0)
		return -1;
	if (read_me(session, error) < 0) {
		homing_files_end(session->files);
		return -1;
	}
	return 0;
}

int homing_session_begin(struct homing_session *session, const char **error_r)
{
	struct error error = {0};

	if (begin(session, &error) == 0)
		return 0;
	homing_session_failed(session, "rights on mailboxes cannot be read", &error);
	*error_r = MAIL_ERRSTR_CRITICAL_MSG;
	return -1;
}

void homing_session_end(struct homing_session *session)
{
	homing_files_end(session->files);
}

struct sharing *homing_session_sharing(struct homing_session *session)
{
	return homing_files_sharing(session->files);
}

struct directory_reader *homing_session_directory(struct homing_session *session)
{
	return homing_files_directory(session->files);
}

const struct rights_user *homing_session_me(struct homing_session *session)
{
	i_assert(session->me_version != 0);
	return &session->me;
}

void homing_session_failed(struct homing_session *session, const char *doing,
			   const struct error *error)
{
	homing_files_log(session->files, session->user->event, doing, error);
}

uint64_t homing_session_version(struct homing_session *session)
{
	return homing_files_version(session->files);
}

const char *homing_session_account(struct homing_session *session, const char *name)
{
	uint64_t version = homing_session_version(session);
	struct error error = {0};

	if (session->account_version == version && strcmp(session->asked, name) == 0)
		return t_strdup(session->account);
	if (strlen(name) > NAME_MAX_BYTES || homing_files_begin(session->files, &error) < 0)
		return name;
	int ret = find_account(homing_files_directory(session->files), name, session->account, &error);
	homing_files_end(session->files);
	session->account_version = 0;
	if (ret < 0)
		return name;
	i_strocpy(session->asked, name, sizeof(session->asked));
	session->account_version = version;
	return t_strdup(session->account);
}

/* doveadm serves the server's administrators alone. */
static bool is_administrator(const struct homing_session *session)
{
	return strcmp(session->user->service, "doveadm") == 0;
}

int homing_session_change(struct homing_session *session, homing_change_cb *change, void *context,
			  struct error *error)
{
	struct sharing_actor actor = {.allow_anyone = session->settings.allow_anyone};
	struct sharing_writer *writer;

	if (!is_administrator(session)) {
		if (begin(session, error) < 0)
			return -1;
		homing_session_end(session);
		actor.me = &session->me;
	}
	if (homing_files_write(session->files, &writer, error) < 0) {
		/* the system's permission is no answer to whether the user may */
		if (error->code == ERROR_PERMISSION)
			error->code = ERROR_IO;
		return -1;
	}
	int ret = change(writer, &actor, context, error);
	homing_files_written(session->files, &writer);
	return ret;
}
