/* Keys and values of sharing.mdb, from and to bytes, without any I/O. */
#include "sharing-format.h"

#include <string.h>

const char *const sharing_tables[] = {"meta", "principals", "names", "grants", "received", NULL};

void id_put(uint64_t id, unsigned char *bytes)
{
	for (int i = ID_BYTES; i-- > 0; id >>= 8)
		bytes[i] = (unsigned char)id;
}

uint64_t id_take(const void *bytes)
{
	const unsigned char *next = bytes;
	uint64_t id = 0;

	for (int i = 0; i < ID_BYTES; i++)
		id = id << 8 | next[i];
	return id;
}

/* local@domain, or a login without a domain. */
static size_t account_key(char type, const char *name, char key_r[PRINCIPAL_KEY_SIZE])
{
	const char *at = strrchr(name, '@');
	const char *domain = at ? at + 1 : "";
	size_t local_length = at ? (size_t)(at - name) : strlen(name);
	char local[LOCAL_SIZE];

	if (local_length == 0 || local_length > LOCAL_MAX_BYTES ||
	    strlen(domain) > DOMAIN_MAX_BYTES || (at && *domain == '\0'))
		return 0;
	memcpy(local, name, local_length);
	local[local_length] = '\0';
	key_r[0] = type;
	return 1 + name_key(local, domain, key_r + 1);
}

static size_t plain_key(char type, const char *text, size_t most, char key_r[PRINCIPAL_KEY_SIZE])
{
	size_t length = strlen(text);

	if (length > most)
		return 0;
	key_r[0] = type;
	memcpy(key_r + 1, text, length);
	return 1 + length;
}

static bool is_public(const char *owner)
{
	return strncmp(owner, OWNER_PUBLIC, strlen(OWNER_PUBLIC)) == 0;
}

size_t owner_key(const char *owner, char key_r[PRINCIPAL_KEY_SIZE])
{
	if (is_public(owner))
		return plain_key(PRINCIPAL_PUBLIC, owner + strlen(OWNER_PUBLIC),
				 OWNER_MAX_BYTES - strlen(OWNER_PUBLIC), key_r);
	return account_key(PRINCIPAL_ACCOUNT, owner, key_r);
}

int grantee_principal_type(int kind)
{
	switch (kind) {
	case GRANTEE_DOMAIN:
		return PRINCIPAL_DOMAIN;
	case GRANTEE_GROUP:
	case GRANTEE_GROUP_OVERRIDE:
		return PRINCIPAL_GROUP;
	case GRANTEE_USER:
		return PRINCIPAL_ACCOUNT;
	default:
		return 0;
	}
}

size_t grantee_key(const struct grantee *who, char key_r[PRINCIPAL_KEY_SIZE])
{
	int type = grantee_principal_type(who->kind);

	if (type == PRINCIPAL_DOMAIN)
		return who->name[0] ? plain_key(PRINCIPAL_DOMAIN, who->name, DOMAIN_MAX_BYTES, key_r) : 0;
	return type != 0 ? account_key((char)type, who->name, key_r) : 0;
}

/* Only what account_key() writes: there must be one key for a name, or nobody could delete the other. */
static bool take_account(const char *key, size_t length, char name_r[OWNER_SIZE])
{
	const char *nul = memchr(key, '\0', length);
	size_t domain_length = nul ? (size_t)(nul - key) : 0;
	size_t local_length = nul ? length - domain_length - 1 : 0;

	if (!nul || domain_length > DOMAIN_MAX_BYTES || local_length == 0 ||
	    local_length > LOCAL_MAX_BYTES || memchr(nul + 1, '\0', local_length) ||
	    memchr(key, '@', domain_length) ||
	    (domain_length == 0 && memchr(nul + 1, '@', local_length)))
		return false;
	memcpy(name_r, nul + 1, local_length);
	name_r += local_length;
	if (domain_length > 0) {
		*name_r++ = '@';
		memcpy(name_r, key, domain_length);
		name_r += domain_length;
	}
	*name_r = '\0';
	return true;
}

int principal_parse(const void *key, size_t length, char name_r[OWNER_SIZE])
{
	const char *bytes = key;
	size_t front = length > 0 && bytes[0] == PRINCIPAL_PUBLIC ? strlen(OWNER_PUBLIC) : 0;

	if (length == 0)
		return 0;
	length--;
	switch (bytes[0]) {
	case PRINCIPAL_ACCOUNT:
	case PRINCIPAL_GROUP:
		return take_account(bytes + 1, length, name_r) ? bytes[0] : 0;
	case PRINCIPAL_DOMAIN:
		if (length == 0 || length > DOMAIN_MAX_BYTES)
			return 0;
		break;
	case PRINCIPAL_PUBLIC:
		if (length + front > OWNER_MAX_BYTES)
			return 0;
		break;
	default:
		return 0;
	}
	if (memchr(bytes + 1, '\0', length))
		return 0;
	memcpy(name_r, OWNER_PUBLIC, front);
	memcpy(name_r + front, bytes + 1, length);
	name_r[front + length] = '\0';
	return bytes[0];
}

/* Two unlike hashes (FNV-1a, with splitmix64's last step). An owner who looks for a collision finds
 * one of two own mailboxes, and the second of these cannot be shared. */
static void hash_mailbox(const char *mailbox, size_t length, unsigned char hash_r[16])
{
	for (int half = 0; half < 2; half++) {
		uint64_t hash = half ? 0x9e3779b97f4a7c15 : 0xcbf29ce484222325;

		for (size_t i = 0; i < length; i++)
			hash = (hash ^ (unsigned char)mailbox[i]) * 0x100000001b3;
		hash = (hash ^ hash >> 30) * 0xbf58476d1ce4e5b9;
		hash = (hash ^ hash >> 27) * 0x94d049bb133111eb;
		id_put(hash ^ hash >> 31, hash_r + 8 * half);
	}
}

enum { CUT_MARK = 0xff };

size_t mailbox_key(const char *mailbox, char key_r[MAILBOX_KEY_SIZE])
{
	size_t length = strlen(mailbox);

	if (length <= MAILBOX_KEY_PLAIN) {
		memcpy(key_r, mailbox, length);
		return length;
	}
	memcpy(key_r, mailbox, MAILBOX_KEY_CUT - 1);
	key_r[MAILBOX_KEY_CUT - 1] = (char)CUT_MARK;
	hash_mailbox(mailbox, length, (unsigned char *)key_r + MAILBOX_KEY_CUT);
	return MAILBOX_KEY_CUT + 16;
}

size_t mailbox_key_below(const char *mailbox, char key_r[MAILBOX_KEY_SIZE])
{
	size_t length = strlen(mailbox);

	if (length == 0)
		return 0; /* everything is below the account as a whole */
	if (length >= MAILBOX_KEY_CUT - 1) {
		memcpy(key_r, mailbox, MAILBOX_KEY_CUT - 1);
		return MAILBOX_KEY_CUT - 1;
	}
	memcpy(key_r, mailbox, length);
	key_r[length] = MAILBOX_SEPARATOR;
	return length + 1;
}

bool mailbox_key_is_cut(const void *key, size_t length)
{
	return length == MAILBOX_KEY_CUT + 16 &&
	       ((const unsigned char *)key)[MAILBOX_KEY_CUT - 1] == CUT_MARK;
}

size_t grants_key(uint64_t owner, const char *mailbox, unsigned char key_r[GRANTS_KEY_SIZE])
{
	id_put(owner, key_r);
	return ID_BYTES + mailbox_key(mailbox, (char *)key_r + ID_BYTES);
}

size_t received_key(int kind, uint64_t grantee, uint64_t owner, const char *mailbox,
		    unsigned char key_r[RECEIVED_KEY_SIZE])
{
	key_r[0] = (unsigned char)kind;
	id_put(grantee, key_r + 1);
	return RECEIVED_KEY_FRONT + grants_key(owner, mailbox, key_r + RECEIVED_KEY_FRONT);
}

int stored_grant_compare(const struct stored_grant *a, const struct stored_grant *b)
{
	if (a->kind != b->kind)
		return a->kind < b->kind ? -1 : 1;
	return a->id < b->id ? -1 : a->id > b->id;
}

enum { HALF_RIGHTS = 1, HALF_NEGATIVE = 2 };

static uint16_t take_u16(const unsigned char *bytes)
{
	return (uint16_t)(bytes[0] | bytes[1] << 8);
}

static bool item_is_sound(const unsigned char *item)
{
	unsigned kind = item[0], halves = item[9];
	unsigned rights = take_u16(item + 10), negative = take_u16(item + 12);
	bool has_id = id_take(item + 1) != 0;

	return kind >= GRANTEE_ANYONE && kind <= GRANTEE_GROUP_OVERRIDE &&
	       has_id == (grantee_principal_type((int)kind) != 0) && halves >= 1 && halves <= 3 &&
	       rights <= RIGHTS_ALL && negative <= RIGHTS_ALL &&
	       (rights == 0 || halves & HALF_RIGHTS) && (negative == 0 || halves & HALF_NEGATIVE);
}

bool grants_value_parse(const void *bytes, size_t length, struct grants_value *value_r)
{
	const unsigned char *start = bytes;
	struct value_reader rest = {.next = start, .end = start + length};
	size_t name_length;
	const char *mailbox = value_string(&rest, &name_length);
	size_t left = (size_t)(rest.end - rest.next);

	if (rest.failed || name_length > MAILBOX_MAX_BYTES || left == 0 || left % GRANT_BYTES != 0)
		return false;
	for (const unsigned char *item = rest.next; item < rest.end; item += GRANT_BYTES)
		if (!item_is_sound(item) ||
		    (item > rest.next && memcmp(item - GRANT_BYTES, item, 1 + ID_BYTES) >= 0))
			return false;
	*value_r = (struct grants_value){
		.mailbox = mailbox, .items = rest.next, .count = left / GRANT_BYTES};
	return true;
}

void stored_grant_take(const struct grants_value *value, size_t number,
		       struct stored_grant *grant_r)
{
	const unsigned char *item = value->items + number * GRANT_BYTES;

	*grant_r = (struct stored_grant){
		.kind = item[0],
		.id = id_take(item + 1),
		.has_rights = item[9] & HALF_RIGHTS,
		.has_negative = item[9] & HALF_NEGATIVE,
		.rights = take_u16(item + 10),
		.negative = take_u16(item + 12),
	};
}

void grants_value_format(const char *mailbox, const struct stored_grant *grants, size_t count,
			 struct value_writer *value)
{
	value_put_string(value, strlen(mailbox) > MAILBOX_KEY_PLAIN ? mailbox : "");
	for (size_t i = 0; i < count; i++) {
		const struct stored_grant *grant = &grants[i];
		uint16_t rights = grant->has_rights ? grant->rights : 0;
		uint16_t negative = grant->has_negative ? grant->negative : 0;
		unsigned char item[GRANT_BYTES] = {grant->kind};

		id_put(grant->id, item + 1);
		item[9] = (unsigned char)((grant->has_rights ? HALF_RIGHTS : 0) |
					  (grant->has_negative ? HALF_NEGATIVE : 0));
		item[10] = (unsigned char)rights;
		item[11] = (unsigned char)(rights >> 8);
		item[12] = (unsigned char)negative;
		item[13] = (unsigned char)(negative >> 8);
		value_put(value, item, sizeof item);
	}
}
