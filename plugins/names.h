/* A sorted tree of mailbox names, as clients see them, in one pool: every name once, behind its
 * parents, and parents that nobody named put in. Building is linear but for one sort; what is built
 * does not change any more and is shared by counting. */
#ifndef HOMING_NAMES_H
#define HOMING_NAMES_H

struct imap_match_glob;

struct name {
	const char *vname;
	unsigned end; /* the position behind the last name below this one */
	/* it was added as a name of its own; else it only stands above one */
	bool named : 1;
	/* the top of an owner's mailboxes: what is an automatic namespace in Dovecot */
	bool is_owner : 1;
	/* (of an owner) what is below must be asked of the owner's storage */
	bool real : 1;
	const char *owner; /* (of an owner) the canonical account; else NULL */
};

struct names {
	int refcount;
	pool_t pool;
	char separator;
	struct name *list;
	unsigned count;
};

struct names_builder;

/* What is shorter than `top`, the length of a prefix that they all have, are not put in as parents. */
struct names_builder *names_builder_create(char separator, size_t top);
/* Copies the strings; a vname added twice has what both times say. `name->end` is not looked at. */
void names_builder_add(struct names_builder *builder, const struct name *name);
/* Ends the builder. */
struct names *names_build(struct names_builder **builder);
void names_builder_destroy(struct names_builder **builder);

void names_ref(struct names *names);
void names_unref(struct names **names);

/* NULL: it is not there. */
const struct name *names_find(const struct names *names, const char *vname);
unsigned names_position(const struct names *names, const struct name *name);
static inline bool names_has_below(const struct names *names, unsigned position)
{
	return names->list[position].end > position + 1;
}

/* Does any name below this one match? */
bool names_match_below(const struct names *names, unsigned position, struct imap_match_glob *glob);
/* Is there a name below it that was added itself, where neither it nor a parent between matches? */
bool names_uncovered_below(const struct names *names, unsigned position,
			   struct imap_match_glob *glob);

/* In the order of the tree: as strcmp(), with the separator before all other characters. */
int names_compare(const char *a, const char *b, char separator);

#endif
