/* homing.json: every mistake with its place and its words, good values in their canonical form, files
 * that are merged, and the way back from the directory. In the rows `'` stands for `"`. */
#include "config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "json-text.h"
#include "support.h"

/* What stands around the part of a row that matters, which begins line 2. */
#define DOMAIN(text) "{'main_domain': 'a.com', 'domains': {\n'a.com': {" text "}}}"
#define DOMAINS(text) "{'main_domain': 'a.com', 'domains': {'a.com': {},\n" text "}}"
#define ROUTER(text) "{'main_domain': 'a.com', 'domains': {'a.com': {}}, 'router': [\n" text "]}"
#define DEFAULTS(text) \
	"{'main_domain': 'a.com', 'domains': {'a.com': {}}, 'account_defaults': {\n" text "}}"

/* Each line of `mistakes` is what stands behind the file name. */
static const struct {
	const char *text, *mistakes;
} bad_rows[] = {
	/* the text */
	{"",
	 "1:1: an empty file, expected an object: { 'main_domain': ..., 'domains': ... }"},
	{" \n",
	 "1:1: an empty file, expected an object: { 'main_domain': ..., 'domains': ... }"},
	{"{'main_domain':",
	 "1:16: not JSON: unexpected token near end of file: the text ends too early: "
	 "close each { with }, each [ with ] and each string with a double quote"},
	{"{'main_domain': 'a.com'\n 'domains': {}}",
	 "2:2: not JSON: '}' expected near ''domains'': a comma is missing before it"},
	{"{'domains': {'a.com': {},}}",
	 "1:26: not JSON: string or '}' expected near '}': take away the comma before it"},
	{"{'router': [1, 2,]}",
	 "1:18: not JSON: unexpected token near ']': take away the comma before it"},
	{"{} {}",
	 "1:4: not JSON: end of file expected near '{': nothing may stand behind the "
	 "last }"},
	{"// main\n{}",
	 "1:1: not JSON: invalid token near '/': JSON has no comments: take it away"},
	{"{main_domain: 1}",
	 "1:2: not JSON: string or '}' expected near 'main': a key stands in double "
	 "quotes"},
	{"{'main_domain' 'a.com'}",
	 "1:16: not JSON: ':' expected near ''a.com'': a colon stands between a key and "
	 "its value"},
	{"{'main_domain': 'a\nb'}",
	 "1:17: not JSON: unexpected newline near ''a': a double quote is missing, or "
	 "this should be written as \\n or \\t"},
	{"{'main_domain': 'a\\q'}",
	 "1:17: not JSON: invalid escape near ''a\\q': a backslash in text is written "
	 "twice"},
	{"{'main_domain': 'a\\u0000'}",
	 "1:17: not JSON: \\u0000 is not allowed without JSON_ALLOW_NUL near "
	 "''a\\u0000'': take away the \\u0000"},
	{"{'main_domain': '\\ud800'}",
	 "1:17: not JSON: invalid Unicode '\\uD800' near ''\\ud800'': write the "
	 "character itself, in UTF-8"},
	{"{'main_domain': 01}",
	 "1:17: not JSON: invalid token near '0': expected a value, a comma or what "
	 "closes it"},
	{"{'main_domain': 99999999999999999999}",
	 "1:17: not JSON: too big integer near '99999999999999999999': expected a "
	 "smaller number"},
	{"{'main_domain': 'ü\xff""'}",
	 "1:19: bytes that are not UTF-8: save the file as UTF-8"},
	{"\xef""\xbb""\xbf""{'main_domain': 'a.com', 'domains': {'a.com': {}}}",
	 "1:1: a byte order mark before the text, expected UTF-8 without one: save the "
	 "file without it"},
	{"[]",
	 "1:1: a list, expected an object: { 'main_domain': ..., 'domains': ... }"},
	{"'a.com'",
	 "1:1: a string, expected an object: { 'main_domain': ..., 'domains': ... }"},
	/* the keys at the top */
	{"{}",
	 "1:1: main_domain: missing, expected the name of one of the domains"},
	{"{'main_domain': 'a.com'}",
	 "1:17: main_domain: 'a.com' is not listed, expected one of the domains under "
	 "`domains`"},
	{"{'main_domain': 7, 'domains': {'a.com': {}}}",
	 "1:17: main_domain: a number, expected the name of one of the domains"},
	{"{'main_domain': 'a b', 'domains': {'a.com': {}}}",
	 "1:17: main_domain: 'a b' is not a domain name, expected one as company.com"},
	{"{'main_domain': 'b.com', 'domains': {'a.com': {'aliases': ['b.com']}}}",
	 "1:17: main_domain: 'b.com' is an alias, expected its domain, 'a.com'"},
	{"{'main_domain': 'a.com', 'domains': ['a.com']}",
	 "1:17: main_domain: 'a.com' is not listed, expected one of the domains under "
	 "`domains`\n"
	 "1:37: domains: a list, expected an object: a key for each domain, { "
	 "'company.com': {} }"},
	{"{'main_domain': 'a.com', 'domains': {'a.com': {}}, 'router': {}}",
	 "1:62: router: an object, expected a list of records { 'match': ..., 'to': ... "
	 "}"},
	{"{'main_domain': 'a.com', 'domains': {'a.com': {}}, 'account_defaults': '/home'}",
	 "1:72: account_defaults: a string, expected an object with home, uid and gid"},
	{"{'main_domain': 'a.com', 'domain': {'a.com': {}}}",
	 "1:17: main_domain: 'a.com' is not listed, expected one of the domains under "
	 "`domains`\n"
	 "1:26: domain: no such key, expected 'domains'?"},
	{"{'main_domain': 'a.com', 'main_domain': 'a.com', 'domains': {'a.com': {}}}",
	 "1:26: main_domain: a second time, first in t.json:1:2: expected once"},
	{"{'main_domain': 'a.com', 'domains': {'a.com': {}},\n 'ü': 1, 'something else': 2}",
	 "2:2: 'ü': no such key, expected one of main_domain, account_defaults, "
	 "domains, router\n"
	 "2:10: 'something else': no such key, expected one of main_domain, "
	 "account_defaults, domains, router"},
	/* account_defaults */
	{DEFAULTS("'home': 7"),
	 "2:9: account_defaults.home: a number, expected a path as "
	 "/var/vmail/%{domain}/%{local}"},
	{DEFAULTS("'home': 'mail'"),
	 "2:9: account_defaults.home: not an absolute path, expected one as "
	 "/var/vmail/%{domain}/%{local}"},
	{DEFAULTS("'home': ''"),
	 "2:9: account_defaults.home: not an absolute path, expected one as "
	 "/var/vmail/%{domain}/%{local}"},
	{DEFAULTS("'home': '/var/vmail/%u'"),
	 "2:9: account_defaults.home: a `%` that is neither %{domain} nor %{local}: "
	 "there are no other variables"},
	{DEFAULTS("'home': '/var/%{domain}/100%'"),
	 "2:9: account_defaults.home: a `%` that is neither %{domain} nor %{local}: "
	 "there are no other variables"},
	{DEFAULTS("'home': '/var/vmail/../%{local}'"),
	 "2:9: account_defaults.home: has a `..` component, expected a path without"},
	{DEFAULTS("'home': '/var/vmail/..'"),
	 "2:9: account_defaults.home: has a `..` component, expected a path without"},
	{DEFAULTS("'home': '/var/\\nvmail'"),
	 "2:9: account_defaults.home: has a control character, expected a path without"},
	{DEFAULTS("'home': '/%{domain}/%{domain}/%{domain}/%{local}'"),
	 "2:9: account_defaults.home: longer than 999 bytes where domain and name are "
	 "as long as they can be, expected a shorter path"},
	{DEFAULTS("'uid': -1, 'gid': 4294967295"),
	 "2:8: account_defaults.uid: a number out of range, expected 0 to 4294967294\n"
	 "2:19: account_defaults.gid: a number out of range, expected 0 to 4294967294"},
	{DEFAULTS("'uid': 1.5, 'gid': null"),
	 "2:8: account_defaults.uid: a number that is no integer, expected a name or a "
	 "number\n"
	 "2:20: account_defaults.gid: null, expected a name or a number"},
	{DEFAULTS("'uid': '', 'gid': 'v mail'"),
	 "2:8: account_defaults.uid: empty, expected a name or a number, or to leave "
	 "the key out\n"
	 "2:19: account_defaults.gid: white space, or what is not printable ASCII, "
	 "expected a name or a number"},
	{DEFAULTS("'uid': 'u23456789012345678901234567890123456789012345678901234567890123X'"),
	 "2:8: account_defaults.uid: longer than 63 bytes, expected a name or a number"},
	{DEFAULTS("'shell': '/bin/sh', 'hom': '/x'"),
	 "2:1: account_defaults.shell: no such key, expected one of home, uid, gid\n"
	 "2:21: account_defaults.hom: no such key, expected 'home'?"},
	/* domains */
	{DOMAINS("'a..b': {}"),
	 "2:1: domains.'a..b': not a domain name, expected one as client1.com"},
	{DOMAINS("'-': 1"),
	 "2:6: domains.'-': a number, expected an object; {} is a domain without "
	 "special rules"},
	{DOMAINS("'b.com': null"),
	 "2:10: domains.'b.com': null, expected an object; {} is a domain without "
	 "special rules"},
	{DOMAINS("'A.COM': {}"),
	 "2:1: domains.'A.COM': the same domain as in t.json:1:38, expected once"},
	{DOMAINS("'a.com.': {}"),
	 "2:1: domains.'a.com.': the same domain as in t.json:1:38, expected once"},
	{DOMAINS("'bücher.de': {}, 'XN--BCHER-KVA.de': {}"),
	 "2:18: domains.'XN--BCHER-KVA.de': the same domain as in t.json:2:1, expected "
	 "once"},
	{DOMAINS("'b.com': {'aliases': ['a.com']}"),
	 "2:23: domains.'b.com'.aliases[0]: 'a.com' is a domain itself (t.json:1:38), "
	 "expected a name that is none"},
	{DOMAINS("'b.com': {'aliases': ['x.com']}, 'c.com': {'aliases': ['x.com']}"),
	 "2:56: domains.'c.com'.aliases[0]: 'x.com' belongs to b.com already "
	 "(t.json:2:23), expected in one domain"},
	{DOMAINS("'b.com': {'addresses': ['192.0.2.1']}, 'c.com': {'addresses':"
	 " ['::ffff:192.0.2.1']}"),
	 "2:64: domains.'c.com'.addresses[0]: '192.0.2.1' belongs to b.com already "
	 "(t.json:2:25), expected in one domain"},
	{DOMAINS("'b.com': {'server_names': ['*.x.com']}, 'c.com': {'server_names':"
	 " ['*.X.com']}"),
	 "2:68: domains.'c.com'.server_names[0]: '*.x.com' belongs to b.com already "
	 "(t.json:2:28), expected in one domain"},
	{DOMAINS("'b.com': {'server_names': ['a.com']}"),
	 "2:28: domains.'b.com'.server_names[0]: 'a.com' is a domain itself "
	 "(t.json:1:38), expected a name that is none"},
	{DOMAIN("'colour': 1, 'alias': [], 'unkown': 'reject'"),
	 "2:11: domains.'a.com'.colour: no such key, expected one of aliases, "
	 "addresses, server_names, accounts, unknown, administrators, "
	 "subaddress_delimiter\n"
	 "2:24: domains.'a.com'.alias: no such key, expected 'aliases'?\n"
	 "2:37: domains.'a.com'.unkown: no such key, expected 'unknown'?"},
	{DOMAIN("'accounts': 'directory', 'accounts': 'external'"),
	 "2:36: domains.'a.com'.accounts: a second time, first in t.json:2:11: expected "
	 "once"},
	/* the keys of a domain */
	{DOMAIN("'aliases': 'b.com'"),
	 "2:22: domains.'a.com'.aliases: a string, expected a list of domain names"},
	{DOMAIN("'aliases': [['b.com']]"),
	 "2:23: domains.'a.com'.aliases[0]: a list, expected a domain name"},
	{DOMAIN("'aliases': ['b com', '*.b.com', '192.0.2.1:80']"),
	 "2:23: domains.'a.com'.aliases[0]: 'b com' is not a domain name, expected one "
	 "as mail.company.com\n"
	 "2:32: domains.'a.com'.aliases[1]: '*.b.com' is not a domain name, expected "
	 "one as mail.company.com; wildcards go into server_names\n"
	 "2:43: domains.'a.com'.aliases[2]: '192.0.2.1:80' is not a domain name, "
	 "expected one as mail.company.com"},
	{DOMAIN("'aliases': ['a.com']"),
	 "2:23: domains.'a.com'.aliases[0]: 'a.com' is the domain's own name, expected "
	 "other names alone"},
	{DOMAIN("'aliases': ['b.com', 'B.com']"),
	 "2:32: domains.'a.com'.aliases[1]: 'b.com' a second time, first in "
	 "t.json:2:23: expected once"},
	{DOMAIN("'addresses': ['192.0.2.300']"),
	 "2:25: domains.'a.com'.addresses[0]: '192.0.2.300' is not an IP address or "
	 "prefix, expected as 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32"},
	{DOMAIN("'addresses': ['192.0.2.1/24', '2001:db8::1/32']"),
	 "2:25: domains.'a.com'.addresses[0]: '192.0.2.1/24' has bits behind its prefix "
	 "length, expected 192.0.2.0/24\n"
	 "2:41: domains.'a.com'.addresses[1]: '2001:db8::1/32' has bits behind its "
	 "prefix length, expected 2001:db8::/32"},
	{DOMAIN("'addresses': ['192.0.2.0/33', '192.0.2.0/', '[::1]', 'fe80::1%eth0']"),
	 "2:25: domains.'a.com'.addresses[0]: '192.0.2.0/33' is not an IP address or "
	 "prefix, expected as 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32\n"
	 "2:41: domains.'a.com'.addresses[1]: '192.0.2.0/' is not an IP address or "
	 "prefix, expected as 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32\n"
	 "2:55: domains.'a.com'.addresses[2]: '[::1]' is not an IP address or prefix, "
	 "expected as 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32\n"
	 "2:64: domains.'a.com'.addresses[3]: 'fe80::1%eth0' is not an IP address or "
	 "prefix, expected as 192.0.2.1, 192.0.2.0/24, 2001:db8::1 or 2001:db8::/32"},
	{DOMAIN("'addresses': ['192.0.2.1', '192.0.2.1/32']"),
	 "2:38: domains.'a.com'.addresses[1]: '192.0.2.1' a second time, first in "
	 "t.json:2:25: expected once"},
	{DOMAIN("'addresses': [192]"),
	 "2:25: domains.'a.com'.addresses[0]: a number, expected an IP address or "
	 "prefix as a string"},
	{DOMAIN("'server_names': ['*', '*.', 'imap.*.com', '*.*.com', 'x*.com']"),
	 "2:28: domains.'a.com'.server_names[0]: '*': a `*` stands for the whole first "
	 "label and nothing else, expected as *.client2.com\n"
	 "2:33: domains.'a.com'.server_names[1]: '*.' is not a TLS server name, "
	 "expected as imap.client2.com or *.client2.com\n"
	 "2:39: domains.'a.com'.server_names[2]: 'imap.*.com': a `*` stands for the "
	 "whole first label and nothing else, expected as *.client2.com\n"
	 "2:53: domains.'a.com'.server_names[3]: '*.*.com': a `*` stands for the whole "
	 "first label and nothing else, expected as *.client2.com\n"
	 "2:64: domains.'a.com'.server_names[4]: 'x*.com': a `*` stands for the whole "
	 "first label and nothing else, expected as *.client2.com"},
	{DOMAIN("'server_names': ['i.com', 'I.com']"),
	 "2:37: domains.'a.com'.server_names[1]: 'i.com' a second time, first in "
	 "t.json:2:28: expected once"},
	{DOMAIN("'accounts': 'sql'"),
	 "2:23: domains.'a.com'.accounts: 'sql', expected 'directory', 'external' or "
	 "'dovecot'"},
	{DOMAIN("'accounts': true"),
	 "2:23: domains.'a.com'.accounts: true, expected 'directory', 'external' or "
	 "'dovecot'"},
	{DOMAIN("'unknown': 'Reject'"),
	 "2:22: domains.'a.com'.unknown: 'Reject', expected 'reject', 'discard' or "
	 "'reroute:ADDRESS'"},
	{DOMAIN("'unknown': 'reroute'"),
	 "2:22: domains.'a.com'.unknown: 'reroute', expected 'reject', 'discard' or "
	 "'reroute:ADDRESS'"},
	{DOMAIN("'unknown': 'reroute:'"),
	 "2:22: domains.'a.com'.unknown: '' is not an address: empty; expected as "
	 "reroute:postmaster@company.com"},
	{DOMAIN("'unknown': 'reroute:postmaster'"),
	 "2:22: domains.'a.com'.unknown: 'postmaster' is not an address: no `@`; "
	 "expected as reroute:postmaster@company.com"},
	{DOMAIN("'unknown': 'reroute: x@a.com'"),
	 "2:22: domains.'a.com'.unknown: ' x@a.com' is not an address: a space before "
	 "the `@`; expected as reroute:postmaster@company.com"},
	{DOMAIN("'unknown': 'reroute:@a.com'"),
	 "2:22: domains.'a.com'.unknown: '@a.com' is not an address: nothing before the "
	 "`@`; expected as reroute:postmaster@company.com"},
	{DOMAIN("'unknown': 'reroute:x@y@a.com'"),
	 "2:22: domains.'a.com'.unknown: 'x@y@a.com' is not an address: more than one "
	 "`@`; expected as reroute:postmaster@company.com"},
	{DOMAIN("'unknown': 'reroute:x@a..com'"),
	 "2:22: domains.'a.com'.unknown: 'x@a..com' is not an address: not a domain "
	 "name behind the `@`; expected as reroute:postmaster@company.com"},
	{DOMAIN("'administrators': ['']"),
	 "2:30: domains.'a.com'.administrators[0]: '' is not an account: empty name; "
	 "expected a name of this domain, or name@domain"},
	{DOMAIN("'administrators': ['a b', 'x@', 'x@b.com', 'p%q']"),
	 "2:30: domains.'a.com'.administrators[0]: 'a b' is not an account: white space "
	 "in a login; expected a name of this domain, or name@domain\n"
	 "2:37: domains.'a.com'.administrators[1]: 'x@' is not an account: not a domain "
	 "name behind the `@`; expected a name of this domain, or name@domain\n"
	 "2:43: domains.'a.com'.administrators[2]: 'x@b.com' is of a domain that is not "
	 "listed, expected an account of one that is\n"
	 "2:54: domains.'a.com'.administrators[3]: 'p%q' is not an account: a character "
	 "that routing, mail or access rights use for something else: / @ % ! # ' ` \\ "
	 "* , : ; < > ( ) [ ] | & $; expected a name of this domain, or name@domain"},
	{DOMAIN("'administrators': ['Root', 'root@a.com']"),
	 "2:38: domains.'a.com'.administrators[1]: 'root@a.com' a second time, first in "
	 "t.json:2:30: expected once"},
	{DOMAIN("'subaddress_delimiter': ''"),
	 "2:35: domains.'a.com'.subaddress_delimiter: '', expected one character of + - "
	 "= _ . ' ? ^ { } ~"},
	{DOMAIN("'subaddress_delimiter': '++'"),
	 "2:35: domains.'a.com'.subaddress_delimiter: '++', expected one character of + "
	 "- = _ . ' ? ^ { } ~"},
	{DOMAIN("'subaddress_delimiter': 'x'"),
	 "2:35: domains.'a.com'.subaddress_delimiter: 'x', expected one character of + "
	 "- = _ . ' ? ^ { } ~"},
	{DOMAIN("'subaddress_delimiter': '@'"),
	 "2:35: domains.'a.com'.subaddress_delimiter: '@', expected one character of + "
	 "- = _ . ' ? ^ { } ~"},
	{DOMAIN("'subaddress_delimiter': 'ü'"),
	 "2:35: domains.'a.com'.subaddress_delimiter: 'ü', expected one character of + "
	 "- = _ . ' ? ^ { } ~"},
	/* router */
	{ROUTER("7"),
	 "2:1: router[0]: a number, expected an object with `match` and `to`"},
	{ROUTER("{}"),
	 "2:1: router[0].match: missing, expected in each record\n"
	 "2:1: router[0].to: missing, expected in each record"},
	{ROUTER("{'match': 'b.com', 'to': 7}"),
	 "2:26: router[0].to: a number, expected an address, a domain, `discard:` or "
	 "`error:D.S.N text`"},
	{ROUTER("{'match': 'b.com', 'to': 'a.com', 'from': 'c.com'}"),
	 "2:35: router[0].from: no such key, expected one of match, to"},
	{ROUTER("{'match': 'b.com', 'match': 'c.com', 'to': 'a.com'}"),
	 "2:20: router[0].match: a second time, first in t.json:2:2: expected once"},
	{ROUTER("{'match': 'b com', 'to': 'a.com'}"),
	 "2:11: router[0].match: 'b com': not a domain, or local@domain, with `*` where "
	 "anything may stand"},
	{ROUTER("{'match': '@b.com', 'to': 'a.com'}"),
	 "2:11: router[0].match: '@b.com': nothing before the `@`: write `*@domain` or "
	 "`domain` for every name"},
	{ROUTER("{'match': 'x@b.com', 'to': 'a.com'}"),
	 "2:28: router[0].to: 'a.com': a domain alone can only replace a domain: "
	 "expected local@domain"},
	{ROUTER("{'match': '*@b.com', 'to': '*@*.a.com'}"),
	 "2:28: router[0].to: '*@*.a.com': more `*` than in match: each stands for what "
	 "a `*` there matched"},
	{ROUTER("{'match': 'b.com', 'to': 'discard:x'}"),
	 "2:26: router[0].to: 'discard:x': nothing may follow `discard:`"},
	{ROUTER("{'match': 'b.com', 'to': 'error:2.0.0 fine'}"),
	 "2:26: router[0].to: 'error:2.0.0 fine': expected `error:D.S.N text` with a "
	 "status of class 4 or 5, as `error:5.1.6 this address has moved`"},
	{ROUTER("{'match': 'b.com', 'to': 'a.com'}, {'match': '*@B.com', 'to': 'discard:'}"),
	 "2:46: router[1].match: '*@b.com' is never reached: router[0] (t.json:2:11) "
	 "matches the same names before it, expected one record for them"},
	{ROUTER("{'match': 'b.com', 'to': 'b.com'}"),
	 "2:26: router[0].to: 'b.com' leads back to this record, expected another name: "
	 "a loop delivers nothing"},
	{ROUTER("{'match': '*@b.com', 'to': '*@b.com'}"),
	 "2:28: router[0].to: '*@b.com' leads back to this record, expected another "
	 "name: a loop delivers nothing"},
	{ROUTER("{'match': 'x@b.com', 'to': 'X@B.com'}"),
	 "2:28: router[0].to: 'X@b.com' leads back to this record, expected another "
	 "name: a loop delivers nothing"},
	{ROUTER("{'match': 'b.com', 'to': 'c.com'}, {'match': 'c.com', 'to': 'd.com'},\n"
	 "{'match': 'd.com', 'to': 'b.com'}"),
	 "2:26: router[0].to: 'c.com' leads to 'c.com' in router[1] (t.json:2:46) and "
	 "from there back to this record, expected another name: a loop delivers nothing"},
	{ROUTER("{'match': 'b.com', 'to': 'x@c.com'}, {'match': 'x@c.com', 'to': 'y@b.com'}"),
	 "2:26: router[0].to: 'x@c.com' leads to 'x@c.com' in router[1] (t.json:2:48) "
	 "and from there back to this record, expected another name: a loop delivers "
	 "nothing"},
	{ROUTER("{'match': 'in.com', 'to': 'b.com'}, {'match': 'b.com', 'to': 'b.com'}"),
	 "2:62: router[1].to: 'b.com' leads back to this record, expected another name: "
	 "a loop delivers nothing"},
	{"{'main_domain': 'a.com', 'domains': {'a.com': {'aliases': ['m.com']}},\n"
	 "'router': [{'match': 'a.com', 'to': 'm.com'}]}",
	 "2:37: router[0].to: 'm.com' leads back to this record, expected another name: "
	 "a loop delivers nothing"},
};

/* Tests run in a temporary folder, so that file names in mistakes are short. */
static int enter_folder(void **state)
{
	char *folder = support_folder();

	*state = folder;
	return chdir(folder);
}

static int leave_folder(void **state)
{
	char *folder = *state;
	int answer = chdir("/");

	support_folder_remove(&folder);
	return answer;
}

static void replace(char *text, char old, char new)
{
	for (; *text; text++)
		if (*text == old)
			*text = new;
}

/* Writes a file; `'` becomes `"`. */
static void write_json(const char *path, const char *text)
{
	char *copy = strdup(text);

	assert_non_null(copy);
	replace(copy, '\'', '"');
	support_write_file(path, copy, strlen(copy));
	free(copy);
}

/* The mistakes of a load, one a line, with `'` for `"`. */
struct collected {
	char text[16384];
	int count;
};

static void collect(const char *line, void *context)
{
	struct collected *collected = context;
	size_t used = strlen(collected->text);

	snprintf(collected->text + used, sizeof collected->text - used, "%s%s", used ? "\n" : "",
		 line);
	replace(collected->text + used, '"', '\'');
	collected->count++;
}

static int load(const char *const *paths, size_t count, struct config **config_r,
		struct collected *collected, struct error *error)
{
	collected->text[0] = '\0';
	collected->count = 0;
	*config_r = NULL;
	int answer = config_load(paths, count, config_r, collect, collected, error);
	assert_true((answer == 0) == (*config_r != NULL));
	assert_int_equal(collected->count, answer > 0 ? answer : 0);
	return answer;
}

/* Writes and loads one file that must be right. */
static struct config *load_good(const char *text)
{
	static const char *const path[] = {"t.json"};
	struct collected collected;
	struct config *config;
	struct error error = {0};

	write_json(path[0], text);
	if (load(path, 1, &config, &collected, &error) != 0)
		fail_msg("%s: %s%s", text, collected.text, error.text);
	return config;
}

/* Takes the file name away from the front of each line. */
static void strip_names(char *text, const char *name)
{
	size_t length = strlen(name);

	for (char *line = text; line && *line;) {
		assert_memory_equal(line, name, length);
		memmove(line, line + length, strlen(line + length) + 1);
		line = strchr(line, '\n');
		if (line)
			line++;
	}
}

static void each_mistake_has_its_place_and_its_words(void **state)
{
	static const char *const path[] = {"t.json"};

	(void)state;
	for (size_t i = 0; i < sizeof bad_rows / sizeof bad_rows[0]; i++) {
		struct collected collected;
		struct config *config;
		struct error error = {0};

		write_json(path[0], bad_rows[i].text);
		if (load(path, 1, &config, &collected, &error) <= 0)
			fail_msg("%s: fine, or %s", bad_rows[i].text, error.text);
		strip_names(collected.text, "t.json:");
		if (strcmp(collected.text, bad_rows[i].mistakes) != 0)
			fail_msg("%s:\n%s\nexpected\n%s", bad_rows[i].text, collected.text,
				 bad_rows[i].mistakes);
	}
}

static void what_looks_like_a_mistake_and_is_none(void **state)
{
	static const char *const rows[] = {
		DOMAIN(""),
		DOMAIN("'aliases': [], 'addresses': [], 'server_names': [], 'administrators': []"),
		DOMAIN("'addresses': ['0.0.0.0/0', '::/0', '192.0.2.0/24', '192.0.2.1']"),
		DOMAIN("'aliases': ['b.com'], 'server_names': ['a.com', 'b.com', '*.b.com']"),
		DOMAIN("'unknown': 'reroute:Some.One+x@elsewhere.net'"),
		DOMAIN("'unknown': 'reroute:\\\"a b\\\"@elsewhere.net'"),
		DOMAINS("'b.com': {'administrators': ['x@a.com']}"),
		DOMAINS("'b.com': {'addresses': ['192.0.2.0/24']}, 'c.com': {'addresses': ['192.0.2.1']}"),
		DEFAULTS("'home': '/srv/..mail/a..b/%{local}...', 'uid': 0, 'gid': '0'"),
		DEFAULTS(""),
		ROUTER(""),
		ROUTER("{'match': 'b.com', 'to': 'a.com'}, {'match': 'x@b.com', 'to': 'y@b.com'}"),
		ROUTER("{'match': 'x@*', 'to': 'x@b.com'}"),
		/* no circle: the first record takes what comes round */
		ROUTER("{'match': '*@c.*', 'to': 'x@a.com'}, {'match': 'b.com', 'to': 'c.com'},"
		       "{'match': 'c.com', 'to': 'b.com'}"),
		ROUTER("{'match': 'y@b.com', 'to': 'x@a.com'}, {'match': 'x@b.com', 'to': 'y@b.com'},"
		       "{'match': 'b.com', 'to': 'x@b.com'}"),
		ROUTER("{'match': 'b.com', 'to': 'error:5.1.1 b.com'}"),
		"\r\n{ 'domains' : { 'A.com' : { } } ,\t'm\\u0061in_domain' : 'a\\u002ecom.' }\r\n ",
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		struct config *config = load_good(rows[i]);

		config_free(&config);
		assert_null(config);
	}
}

static void assert_list(const struct config_list *list, const char *expected)
{
	char all[1024] = "";

	for (size_t i = 0; i < list->count; i++) {
		size_t used = strlen(all);
		snprintf(all + used, sizeof all - used, "%s%s", i ? " " : "", list->items[i]);
	}
	assert_string_equal(all, expected);
}

static const char everything[] =
	"{'router': [{'match': '*-Admin@*', 'to': 'Postmaster@Company.com'},"
	" {'match': 'Alt.B\u00fccher.de', 'to': 'company.com'}],"
	"'account_defaults': {'home': '/var/vmail/%{domain}/%{local}', 'uid': 'vmail', 'gid': 8},"
	"'main_domain': 'COMPANY.com.',"
	"'domains': {"
	"'sqlsite.org': {'accounts': 'external', 'unknown': 'discard'},"
	"'company.com': {'aliases': ['mail.Company.com', 'b\u00fccher.de'],"
	"  'addresses': ['192.0.2.1', '2001:DB8::/32', '::ffff:198.51.100.0/120'],"
	"  'server_names': ['*.Company.com', 'imap.net.'],"
	"  'administrators': ['Postmaster', 'root@mail.company.com', 'x@client1.com'],"
	"  'subaddress_delimiter': '-', 'accounts': 'dovecot'},"
	"'client1.com': {'unknown': 'reroute:Info@B\u00fccher.de', 'accounts': 'directory'}}}";

static void values_are_in_their_canonical_form(void **state)
{
	struct config *config = load_good(everything);
	const struct config_domain *client = &config->domains[0], *company = &config->domains[1],
				   *site = &config->domains[2];
	char text[IP_TEXT_SIZE];

	(void)state;
	assert_string_equal(config->main_domain, "company.com");
	assert_string_equal(config->home, "/var/vmail/%{domain}/%{local}");
	assert_string_equal(config->uid, "vmail");
	assert_string_equal(config->gid, "8");
	assert_int_equal(config->domain_count, 3);
	assert_string_equal(client->name, "client1.com");
	assert_int_equal(client->accounts, ACCOUNTS_DIRECTORY);
	assert_int_equal(client->unknown, 't');
	assert_string_equal(client->reroute, "Info@xn--bcher-kva.de");
	assert_int_equal(client->delimiter, '+');
	assert_string_equal(company->name, "company.com");
	assert_list(&company->aliases, "mail.company.com xn--bcher-kva.de");
	assert_list(&company->server_names, "*.company.com imap.net");
	assert_list(&company->administrators,
		    "postmaster@company.com root@company.com x@client1.com");
	assert_int_equal(company->address_count, 3);
	assert_string_equal(ip_prefix_format(&company->addresses[1], text), "2001:db8::/32");
	assert_string_equal(ip_prefix_format(&company->addresses[2], text), "198.51.100.0/24");
	assert_int_equal(company->accounts, ACCOUNTS_DOVECOT);
	assert_int_equal(company->delimiter, '-');
	assert_int_equal(company->unknown, 'r');
	assert_null(company->reroute);
	assert_string_equal(site->name, "sqlsite.org");
	assert_int_equal(site->accounts, ACCOUNTS_EXTERNAL);
	assert_int_equal(site->unknown, 'd');
	assert_int_equal(config->record_count, 2);
	assert_string_equal(config->records[0].match, "*-admin@*");
	assert_string_equal(config->records[0].to, "Postmaster@company.com");
	assert_string_equal(config->records[1].match, "alt.xn--bcher-kva.de");
	config_free(&config);
}

static void what_is_not_given_has_its_default(void **state)
{
	struct config *config = load_good(DOMAIN(""));

	(void)state;
	assert_string_equal(config->home, "");
	assert_string_equal(config->uid, "");
	assert_string_equal(config->gid, "");
	assert_int_equal(config->record_count, 0);
	assert_int_equal(config->domains[0].delimiter, '+');
	assert_int_equal(config->domains[0].unknown, 'r');
	assert_int_equal(config->domains[0].aliases.count, 0);
	config_free(&config);
}

/* Loads what `paths` names, and compares all that is said. */
static void assert_mistakes(const char *const *paths, size_t count, const char *expected)
{
	struct collected collected;
	struct config *config;
	struct error error = {0};

	assert_true(load(paths, count, &config, &collected, &error) > 0);
	assert_string_equal(collected.text, expected);
}

static void files_are_merged(void **state)
{
	static const char *const paths[] = {"b.json", "a.json", "c.json"};
	struct collected collected;
	struct config *config;
	struct error error = {0};

	(void)state;
	write_json("a.json", "{'main_domain': 'b.com', 'domains': {'a.com': {}}}");
	write_json("b.json", "{'domains': {'b.com': {'administrators': ['x@a.com']}}}");
	write_json("c.json", "{'router': [{'match': 'c.com', 'to': 'a.com'}]}");
	assert_int_equal(load(paths, 3, &config, &collected, &error), 0);
	assert_int_equal(config->domain_count, 2);
	assert_string_equal(config->domains[0].name, "a.com");
	assert_string_equal(config->domains[1].name, "b.com");
	assert_int_equal(config->record_count, 1);
	config_free(&config);
}

static void what_two_files_say_names_both(void **state)
{
	static const char *const paths[] = {"a.json", "b.json"};

	(void)state;
	write_json("a.json", "{'main_domain': 'a.com', 'router': [],\n 'domains': {'a.com': {}}}");
	write_json("b.json", "{'domains': {'A.com': {},\n'b.com': {'aliases': ['a.com']}},\n"
			     "'main_domain': 'a.com', 'router': []}");
	assert_mistakes(paths, 2,
			"b.json:1:14: domains.'A.com': the same domain as in a.json:2:14, expected once\n"
			"b.json:2:23: domains.'b.com'.aliases[0]: 'a.com' is a domain itself "
			"(a.json:2:14), expected a name that is none\n"
			"b.json:3:1: main_domain: in a second file, first in a.json:1:2: expected in one "
			"of them\n"
			"b.json:3:25: router: in a second file, first in a.json:1:26: expected in one of "
			"them");
}

/* What a file that does not parse would have said is unknown. */
static void a_broken_file_hides_nothing_of_the_others_and_invents_nothing(void **state)
{
	static const char *const paths[] = {"a.json", "b.json"};

	(void)state;
	write_json("a.json", "{'main_domain': 'b.com', 'domains': {'a.com': {'accounts': 1,"
			     " 'administrators': ['x@c.com']}}}");
	write_json("b.json", "{'domains': {'b.com': {}, 'c.com': {}");
	assert_mistakes(paths, 2,
			"a.json:1:60: domains.'a.com'.accounts: a number, expected 'directory', 'external' "
			"or 'dovecot'\n"
			"b.json:1:38: not JSON: '}' expected near end of file: the text ends too early: "
			"close each { with }, each [ with ] and each string with a double quote");
}

static void a_directory_is_its_json_files_in_order_of_name(void **state)
{
	static const char *const here[] = {"."}, *const slash[] = {"./"};
	struct collected collected;
	struct config *config;
	struct error error = {0};

	(void)state;
	unlink("t.json");
	unlink("c.json");
	write_json("a.json", "{'main_domain': 'a.com', 'domains': {'a.com': {}}}");
	write_json("b.json", "{'domains': {'b.com': {}}}");
	write_json("b.json~", "not read");
	write_json(".hidden.json", "not read");
	assert_int_equal(load(here, 1, &config, &collected, &error), 0);
	assert_int_equal(config->domain_count, 2);
	config_free(&config);
	write_json("b.json", "{'domains': {'a.com': {}}}");
	assert_mistakes(slash, 1,
			"./b.json:1:14: domains.'a.com': the same domain as in ./a.json:1:38, expected "
			"once");
	unlink(".hidden.json");
}

static void what_cannot_be_read_is_an_error(void **state)
{
	static const struct {
		const char *path;
		enum error_code code;
		const char *text;
	} rows[] = {
		{"missing.json", ERROR_MISSING, "missing.json: cannot open: No such file or directory"},
		{"a.json/b", ERROR_MISSING, "a.json/b: cannot open: Not a directory"},
		{"empty", ERROR_MISSING, "empty: no *.json files in this directory"},
		{"mis\nsing", ERROR_MISSING, "mis\\x0asing: cannot open: No such file or directory"},
	};

	(void)state;
	write_json("a.json", DOMAIN(""));
	assert_int_equal(access("empty", F_OK) == 0 ? 0 : mkdir("empty", 0700), 0);
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		const char *paths[] = {"a.json", rows[i].path};
		struct collected collected;
		struct config *config;
		struct error error = {0};

		assert_int_equal(load(paths, 2, &config, &collected, &error), -1);
		assert_int_equal(error.code, rows[i].code);
		assert_string_equal(error.text, rows[i].text);
	}
	rmdir("empty");
	struct collected collected;
	struct config *config;
	struct error error = {0};
	assert_int_equal(load(NULL, 0, &config, &collected, &error), -1);
}

static void a_nul_is_found_where_it_stands(void **state)
{
	static const char text[] = "{\"main_domain\":\n \"a\0\xff\"}";
	static const char *const path[] = {"t.json"};

	(void)state;
	support_write_file(path[0], text, sizeof text - 1);
	assert_mistakes(path, 1, "t.json:2:4: a NUL byte, expected JSON as text");
}

/* A key or a file name cannot forge a second line, or steer a terminal. */
static void a_mistake_is_one_line_whatever_it_quotes(void **state)
{
	static const char *const path[] = {"t.json"};

	(void)state;
	write_json(path[0], DOMAIN("'x\\n\\u001b[31my': 1"));
	assert_mistakes(path, 1,
			"t.json:2:11: domains.'a.com'.'x\\x0a\\x1b[31my': no such key, expected one of "
			"aliases, addresses, server_names, accounts, unknown, administrators, "
			"subaddress_delimiter");
}

static void a_long_value_is_cut_in_a_mistake(void **state)
{
	static const char *const path[] = {"t.json"};
	char text[20000];

	(void)state;
	memset(text, 'x', sizeof text);
	memcpy(text, "{'main_domain': '", 17);
	memcpy(text + sizeof text - 25, "', 'domains': {'x': {}}}", 25);
	write_json(path[0], text);
	assert_mistakes(path, 1,
			"t.json:1:17: main_domain: "
			"'xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx...' is not a domain "
			"name, expected one as company.com");
}

/* Every beginning of a configuration is a mistake, and none is a crash. */
static void every_beginning_is_refused(void **state)
{
	static const char *const path[] = {"t.json"};

	(void)state;
	for (size_t length = 0; length < sizeof everything - 1; length++) {
		char *text = strndup(everything, length);
		struct collected collected;
		struct config *config;
		struct error error = {0};

		assert_non_null(text);
		write_json(path[0], text);
		free(text);
		assert_int_equal(load(path, 1, &config, &collected, &error), 1);
	}
}

static void deep_nesting_is_refused(void **state)
{
	static const char *const path[] = {"t.json"};
	static char text[1 << 20];
	struct collected collected;
	struct config *config;
	struct error error = {0};

	(void)state;
	memset(text, '[', sizeof text);
	support_write_file(path[0], text, sizeof text);
	assert_int_equal(load(path, 1, &config, &collected, &error), 1);
	assert_non_null(strstr(collected.text, "nested far deeper"));
}

/* What json_text_is_plain takes, jansson must take. */
static void plain_json_is_json(void **state)
{
	static const struct {
		const char *text;
		bool plain;
	} rows[] = {
		{"{}", true}, {" [ ] ", true}, {"7", true}, {"-0", true}, {"'\\\\\\n'", true},
		{"[1,2]", true}, {"{'a':[{'b':null}],'c':true}", true}, {"", false}, {"[", false},
		{"[1,]", false}, {"[,1]", false}, {"{'a'}", false}, {"{'a':}", false}, {"{'a':1,}", false},
		{"{1:1}", false}, {"01", false}, {"-", false}, {"+1", false}, {"1 2", false}, {"[}", false},
		{"nul", false}, {"nulls", false}, {"'\\x'", false}, {"'", false}, {"'\\'", false},
		{"'\t'", false}, {"[1}", false}, {"]", false}, {"{'a':1]", false}, {"[[1]]]", false},
		/* JSON, but for jansson to say */
		{"'\\u0041'", false}, {"1.5", false}, {"1e5", false}, {"1234567890123456789", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		char *copy = strdup(rows[i].text);

		assert_non_null(copy);
		replace(copy, '\'', '"');
		const struct json_text text = {.bytes = copy, .length = strlen(copy)};
		if (json_text_is_plain(&text) != rows[i].plain)
			fail_msg("%s: plain or not?", copy);
		json_t *tree = json_loads(copy, JSON_DECODE_ANY, NULL);
		assert_true(tree || !rows[i].plain);
		json_decref(tree);
		free(copy);
	}
}

static void positions_count_lines_and_characters(void **state)
{
	enum { LINES = 3000 };
	static char bytes[LINES * 6];
	struct json_text text = {.bytes = bytes, .length = sizeof bytes};

	(void)state;
	for (size_t i = 0; i < LINES; i++)
		memcpy(bytes + i * 6, "\xc3\xa9\xe2\x82\xac\n", 6);
	for (size_t i = 0; i < LINES; i++) {
		struct json_position first = json_text_position(&text, i * 6);
		struct json_position second = json_text_position(&text, i * 6 + 2);
		struct json_position third = json_text_position(&text, i * 6 + 5);

		assert_int_equal(first.line, i + 1);
		assert_int_equal(first.column, 1);
		assert_int_equal(second.column, 2);
		assert_int_equal(third.line, i + 1);
		assert_int_equal(third.column, 3);
	}
	struct json_position end = json_text_position(&text, sizeof bytes + 7);
	assert_int_equal(end.line, LINES + 1);
	json_text_finish(&text);
}

/* A million domains take seconds; ten thousand with every mistake show that it stays linear. */
static void many_mistakes_on_one_line_are_all_reported(void **state)
{
	enum { DOMAIN_COUNT = 10000 };
	static const char *const path[] = {"t.json"};
	FILE *file = fopen(path[0], "w");
	struct collected collected = {.count = 0};
	struct config *config;
	struct error error = {0};

	(void)state;
	assert_non_null(file);
	fputs("{\"main_domain\": \"d0.example\", \"domains\": {\"x.example\": {}", file);
	for (int i = 0; i < DOMAIN_COUNT; i++)
		fprintf(file, ", \"d%d.example\": {\"aliases\": [\"x.example\"], \"addresses\": [\"::\"]}",
			i);
	fputs("}}", file);
	fclose(file);
	assert_int_equal(config_load(path, 1, &config, collect, &collected, &error),
			 2 * DOMAIN_COUNT - 1);
	assert_int_equal(collected.count, 2 * DOMAIN_COUNT - 1);
}

/* The directory's configuration as text. */
static char *export_text(const char *folder)
{
	struct support_open open = support_open(folder, DIRECTORY_NAMES);
	struct error error = {0};

	assert_int_equal(directory_begin(open.reader, &error), 0);
	json_t *config = config_export(open.reader, &error);
	if (!config)
		fail_msg("%s", error.text);
	char *text = json_dumps(config, JSON_PRESERVE_ORDER);
	json_decref(config);
	directory_end(open.reader);
	support_close(&open);
	assert_non_null(text);
	return text;
}

static void export_is_what_was_applied_without_defaults_and_in_order(void **state)
{
	char *folder = support_folder(), *given = strdup(everything);

	(void)state;
	replace(given, '\'', '"');
	support_apply(folder, given);
	char *first = export_text(folder);
	assert_string_equal(
		first,
		"{\"main_domain\": \"company.com\", \"account_defaults\": {\"home\": "
		"\"/var/vmail/%{domain}/%{local}\", \"uid\": \"vmail\", \"gid\": \"8\"}, \"domains\": "
		"{\"client1.com\": {\"unknown\": \"reroute:Info@xn--bcher-kva.de\"}, \"company.com\": "
		"{\"aliases\": [\"mail.company.com\", \"xn--bcher-kva.de\"], \"addresses\": "
		"[\"192.0.2.1\", \"2001:db8::/32\", \"198.51.100.0/24\"], \"server_names\": "
		"[\"*.company.com\", \"imap.net\"], \"accounts\": \"dovecot\", \"administrators\": "
		"[\"postmaster@company.com\", \"root@company.com\", \"x@client1.com\"], "
		"\"subaddress_delimiter\": \"-\"}, \"sqlsite.org\": {\"accounts\": \"external\", "
		"\"unknown\": \"discard\"}}, \"router\": [{\"match\": \"*-admin@*\", \"to\": "
		"\"Postmaster@company.com\"}, {\"match\": \"alt.xn--bcher-kva.de\", \"to\": "
		"\"company.com\"}]}");
	support_apply(folder, first);
	char *second = export_text(folder);
	assert_string_equal(first, second);
	free(first);
	free(second);
	free(given);
	support_folder_remove(&folder);
}

static void a_small_configuration_has_a_small_export(void **state)
{
	char *folder = support_folder();

	(void)state;
	support_apply(folder, "{\"main_domain\":\"a.com\",\"domains\":{\"a.com\":{}},\"router\":[]}");
	char *text = export_text(folder);
	assert_string_equal(text, "{\"main_domain\": \"a.com\", \"domains\": {\"a.com\": {}}}");
	free(text);
	support_folder_remove(&folder);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_mistake_has_its_place_and_its_words),
		cmocka_unit_test(what_looks_like_a_mistake_and_is_none),
		cmocka_unit_test(values_are_in_their_canonical_form),
		cmocka_unit_test(what_is_not_given_has_its_default),
		cmocka_unit_test(files_are_merged),
		cmocka_unit_test(what_two_files_say_names_both),
		cmocka_unit_test(a_broken_file_hides_nothing_of_the_others_and_invents_nothing),
		cmocka_unit_test(a_directory_is_its_json_files_in_order_of_name),
		cmocka_unit_test(what_cannot_be_read_is_an_error),
		cmocka_unit_test(a_nul_is_found_where_it_stands),
		cmocka_unit_test(a_mistake_is_one_line_whatever_it_quotes),
		cmocka_unit_test(a_long_value_is_cut_in_a_mistake),
		cmocka_unit_test(every_beginning_is_refused),
		cmocka_unit_test(deep_nesting_is_refused),
		cmocka_unit_test(plain_json_is_json),
		cmocka_unit_test(positions_count_lines_and_characters),
		cmocka_unit_test(many_mistakes_on_one_line_are_all_reported),
		cmocka_unit_test(export_is_what_was_applied_without_defaults_and_in_order),
		cmocka_unit_test(a_small_configuration_has_a_small_export),
	};

	return cmocka_run_group_tests_name("config", tests, enter_folder, leave_folder);
}
