/* The grants of an account or a group, changed together with its name. */
#include "directory-grants.h"

#include <string.h>

#include "sharing-principal.h"

int grants_forget(struct sharing_writer *sharing, enum entry_kind kind,
		  const struct edit_name *name, struct error *error)
{
	enum grantee_kind who = kind == ENTRY_GROUP ? GRANTEE_GROUP : GRANTEE_USER;

	return sharing && sharing_deleted(sharing, who, name->address, error) < 0 ? -1 : 0;
}

static int look_any(const struct sharing_view *view, void *context, struct error *error)
{
	(void)context;
	return view_has(view, TABLE_PRINCIPALS, NULL, 0, error);
}

int grants_any(struct sharing_writer *sharing, struct error *error)
{
	return sharing ? sharing_look(sharing, look_any, NULL, error) : 0;
}

int grants_rename_start(struct sharing_writer *sharing, const struct edit_name *old,
			const struct edit_name *new, struct error *error)
{
	return sharing ? sharing_rename_start(sharing, GRANTEE_USER, old->address, new->address, error)
		       : 0;
}

void grants_rename_end(struct sharing_writer *sharing, bool failed)
{
	struct error ignored = {0};

	/* If this fails, as on a full disk, it is as if we had been killed here. */
	if (sharing && sharing_rename_end(sharing, failed, &ignored) < 0)
		return;
}

/* 1 there is such an account or group, 0, -1. */
static int name_exists(struct edit *edit, const char *address, enum entry_kind kind)
{
	char local[LOCAL_SIZE], domain[DOMAIN_SIZE];
	struct edit_name name;

	if (address_parse(address, strlen(address), local, domain) != NULL)
		return 0;
	if (edit_name_init(edit, local, domain, &name) < 0)
		return -1;
	int found = edit_kind(edit, &name);
	return found < 0 ? -1 : found == (int)kind;
}

/* The transaction on directory.mdb, which stays as it is, says that nobody is in the midst of it now. */
static int change_recover(MDB_txn *txn, const MDB_dbi *tables, void *context, struct error *error)
{
	struct sharing_writer *sharing = context;
	struct edit edit = {.txn = txn, .tables = tables, .error = error};
	struct renaming note;

	int found = sharing_rename_note(sharing, &note, error);
	if (found <= 0)
		return found < 0 ? -1 : 1;
	enum entry_kind kind = note.kind == GRANTEE_GROUP ? ENTRY_GROUP : ENTRY_ACCOUNT;
	int old = name_exists(&edit, note.old_name, kind);
	int new = old < 0 ? -1 : name_exists(&edit, note.new_name, kind);
	if (new < 0 || sharing_rename_end(sharing, old > 0 && new == 0, error) < 0)
		return -1;
	return 1;
}

int grants_recover(struct directory_writer *writer, struct error *error)
{
	struct renaming note;
	int found = writer->sharing ? sharing_rename_note(writer->sharing, &note, error) : 0;

	if (found > 0)
		found = store_write(writer->names, change_recover, writer->sharing, error);
	return found < 0 ? -1 : 0;
}
