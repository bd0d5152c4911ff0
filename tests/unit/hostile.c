/* Names from fragments. Most have a domain of ours, or they would end at the first question. */
#include "hostile.h"

#include <string.h>

#include "support.h"

static const char *const names[] = {
	"info", "bob", "postmaster", "sales", "team+a", "both", "staff", "ping", "self", "nobody",
	"INFO", "Info", "info+x", "info+", "+", "-", "-x", "old-", "web-admin", "spamtrap", "abuse",
	"chain1", "lists", "box#", "all-hands", "info-x", "first", "f", "ann", ".", "away", "trap", "+x",
	"a", "0", "_", "%client2.com", "client1.com!", "%dash.example", "%sqlsite.org",
};

static const char *const fragments[] = {
	"\xd0\x9f\xd0\x81\xd0\xa2\xd0\xa0", "m\xc3\xbcller", "mu\xcc\x88ller",
	"\xce\xa3", "\xc4\xb0", "\xe2\x84\xaa", "\xc3\x9f", "\xe1\xba\x9e", "\xcc\x88", "\xe2\x80\x8d",
	"\xef\xbb\xbf", "\xe2\x80\xae", "\xf0\x9f\x98\x80", "@", "@", "@", "%", "%", "!", "#", "\"",
	"\"", "\\", ".", "..", "/", " ", "\t", "\r\n", "*", ",", ":", ";", "<", ">", "(", ")", "[", "]",
	"|", "&", "$", "`", "'", "~", "=", "?", "\x01", "\x7f", "\xc2\x85", "\xe2\x80\xa8", "\xff",
	"\xc0\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "@a.example:", "@[192.0.2.1],", "@a,@b:",
	"%company.com", "%client2.com", "%remote.example", "client1.com!", "box#", "\"in fo\"",
	"\"@\"", "xn--", "\xc2\xad", "\xe3\x80\x82", "\xef\xbc\x8e", "\xef\xbc\xa0", "%{user}", "%u",
	"%%", "a.b",
};

static const char *const domains[] = {
	"@company.com", "@client1.com", "@client2.com", "@mail.client2.com", "%client2.com",
	"@CLIENT1.COM.", "@sqlsite.org", "@sqlsite.org", "@dovesite.org", "@sql.example",
	"@dash.example", "@discard.example", "@reroute.example", "@circle.example", "@outward.example",
	"@loop.example", "@b\xc3\xbc\x63her.example", "@XN--BCHER-KVA.example", "@fa\xc3\x9f.example",
	"@x.branch.example", "@people.example", "@a.mirror.example", "@client1.pairs.example",
	"@order.example", "@old.example", "@[192.0.2.2]", "@[IPv6:2001:db8:1::5]", "@[203.0.113.9]",
	"@[IPv6:::ffff:192.0.2.2]", "@remote.example", "@com", "@", ".", "", "", "",
};

static const char *const server_names[] = {
	"client2.com", "imap.client2.com", "IMAP.Client2.com.", "a.b.client2.com", "*.client2.com",
	"special.client2.com", "..", "", "sqlsite.org", "xn--bcher-kva.example", "\xff", "a b", "%",
};

static const char *const addresses[] = {
	"192.0.2.1", "192.0.2.2", "::ffff:192.0.2.2", "198.51.100.200", "203.0.113.9", "2001:db8:2:5::9",
	"::",
};

#define PICK(list, seed) (list)[support_random(seed) % (sizeof(list) / sizeof *(list))]

static size_t add(char *out, size_t used, const char *fragment)
{
	size_t length = strlen(fragment);

	if (length > HOSTILE_SIZE - 1 - used)
		return used;
	memcpy(out + used, fragment, length);
	return used + length;
}

/* One in eight repeats a fragment, to go beyond every limit. */
static size_t add_local(char *out, uint64_t *seed)
{
	size_t used = 0;

	for (uint64_t left = support_random(seed) % 7; left > 0; left--) {
		const char *fragment = support_random(seed) % 4 ? PICK(names, seed)
								: PICK(fragments, seed);
		uint64_t times = support_random(seed) % 8 ? 1 : 1 + support_random(seed) % 120;

		while (times-- > 0)
			used = add(out, used, fragment);
	}
	return used;
}

/* One in sixteen has a byte changed, to whatever it may be. */
static void spoil(char *name, size_t length, uint64_t *seed)
{
	if (length > 0 && support_random(seed) % 16 == 0)
		name[support_random(seed) % length] = (char)support_random(seed);
}

void hostile_make(struct hostile *hostile, uint64_t *seed)
{
	struct route_question *question = &hostile->question;
	size_t length = add_local(hostile->name, seed);

	length = add(hostile->name, length, PICK(domains, seed));
	spoil(hostile->name, length, seed);
	*question = (struct route_question){
		.kind = support_random(seed) % 2 ? NAME_LOGIN : NAME_ADDRESS,
		.name = hostile->name,
		.name_length = length,
	};
	if (support_random(seed) % 2) {
		const char *address = PICK(addresses, seed);

		if (ip_parse(address, strlen(address), &hostile->ip))
			question->local_ip = &hostile->ip;
	}
	if (support_random(seed) % 2) {
		length = add(hostile->server_name, 0, PICK(server_names, seed));
		spoil(hostile->server_name, length, seed);
		hostile->server_name[length] = '\0';
		question->server_name = hostile->server_name;
	}
}
