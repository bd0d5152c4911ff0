/* bench-policy-load: asks a policy service or a socketmap as fast as it answers.
 *
 * Each connection has one request under way, as Postfix has it; with one connection it
 * waits in read(), with more in epoll_wait(). A request is about one of the accounts
 * userI@dJ.example, all of them in turns far from each other, so that no page and no
 * answer is at hand by chance. Prints JSON: requests, rate, latencies in microseconds
 * from a histogram (each bucket 1.6 % wide), the first reply, how many replies differed
 * from it in their first bytes, and what this program itself used of a processor. */
#include <arpa/inet.h>
#include <errno.h>
#include <getopt.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

static const char usage[] =
	"usage: bench-policy-load [OPTION...] PATH|HOST:PORT\n"
	"  -m MAP  ask a socketmap for this map, not a policy service\n"
	"  -c N    connections (1)\n"
	"  -s N    seconds (1)          -n N  requests instead\n"
	"  -a N    accounts (10)        -d N  domains (1): user0@d0.example, "
	"user1@d1.example...\n"
	"  -u      each request with another sender and client address (for greylists)\n"
	"  -t N    seconds to wait for one reply (30)\n";

enum { REPLY_SIZE = 4096, REQUEST_SIZE = 4096, SUB = 64, BUCKETS = 64 * SUB };

struct options {
	const char *address, *map;
	unsigned connections;
	double seconds;
	uint64_t requests, accounts, domains;
	bool various;
	int timeout;
};

struct client {
	int fd;
	uint64_t began;
	size_t filled;
	char reply[REPLY_SIZE];
};

struct load {
	struct options options;
	uint64_t sent, answered, other, turn;
	uint64_t end; /* nanoseconds of the clock */
	bool warm;    /* measuring has begun */
	size_t first_length;
	char first[REPLY_SIZE];
	uint64_t histogram[BUCKETS], highest;
};

/* What Postfix 3.7 sends at RCPT: before the sender, between the two addresses, and
 * after. */
static const char policy_head[] =
	"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\n"
	"client_address=";
static const char policy_client[] =
	"\nclient_name=mail.example\nclient_port=49152\nreverse_client_name=mail."
	"example\n"
	"server_address=127.0.0.21\nserver_port=25\nhelo_name=mail.example\nsender=";
static const char policy_tail[] = "\nrecipient_count=0\nqueue_id=\ninstance=5a1f."
				  "65603d0e.4a8e0.0\nsize=0\netrn_domain=\n"
				  "stress=\nsasl_method=\nsasl_username=\nsasl_sender="
				  "\nccert_subject=\nccert_issuer=\n"
				  "ccert_fingerprint=\nccert_pubkey_fingerprint="
				  "\nencryption_protocol=\nencryption_cipher=\n"
				  "encryption_keysize=0\npolicy_context=\n\n";

static void die(const char *what)
{
	fprintf(stderr, "bench-policy-load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
}

static char *put(char *out, const char *text, size_t length)
{
	memcpy(out, text, length);
	return out + length;
}

#define PUT(out, literal) put(out, literal, sizeof literal - 1)

/* snprintf would be a tenth of what a turn costs. */
static char *put_number(char *out, uint64_t number)
{
	char digits[20], *start = digits + sizeof digits;

	do
		*--start = (char)('0' + number % 10);
	while (number /= 10);
	return put(out, start, (size_t)(digits + sizeof digits - start));
}

/* Every account once in `accounts` turns, in an order that jumps. */
static uint64_t next_account(struct load *load)
{
	const uint64_t accounts = load->options.accounts;
	/* near the golden section of 10^9, and without a factor in common with powers of ten */
	return load->turn++ * 618033989u % accounts;
}

static char *put_address(char *out, const struct options *options, uint64_t account)
{
	out = PUT(out, "user");
	out = put_number(out, account);
	out = PUT(out, "@d");
	out = put_number(out, account % options->domains);
	return PUT(out, ".example");
}

static size_t make_policy(struct load *load, char *out)
{
	char *next = PUT(out, policy_head);
	uint64_t account = next_account(load), number = load->turn;

	if (load->options.various) {
		next = PUT(next, "198.");
		for (int shift = 16; shift >= 0; shift -= 8) {
			next = put_number(next, number >> shift & 255);
			if (shift > 0)
				*next++ = '.';
		}
	} else {
		next = PUT(next, "192.0.2.77");
	}
	next = PUT(next, policy_client);
	next = PUT(next, "someone");
	if (load->options.various)
		next = put_number(next, number);
	next = PUT(next, "@elsewhere.example\nrecipient=");
	next = put_address(next, &load->options, account);
	next = PUT(next, policy_tail);
	return (size_t)(next - out);
}

static size_t make_map(struct load *load, char *out)
{
	char content[256], *end = content, *next;

	end = put(end, load->options.map, strlen(load->options.map));
	*end++ = ' ';
	end = put_address(end, &load->options, next_account(load));
	next = put_number(out, (uint64_t)(end - content));
	*next++ = ':';
	next = put(next, content, (size_t)(end - content));
	*next++ = ',';
	return (size_t)(next - out);
}

static void ask(struct load *load, struct client *client)
{
	char request[REQUEST_SIZE];
	size_t length =
		load->options.map ? make_map(load, request) : make_policy(load, request);

	client->filled = 0;
	load->sent++;
	client->began = now();
	if (send(client->fd, request, length, MSG_NOSIGNAL) != (ssize_t)length)
		die("send");
}

static bool is_whole(const struct load *load, const char *reply, size_t length)
{
	if (!load->options.map)
		return length >= 2 && reply[length - 1] == '\n' &&
		       reply[length - 2] == '\n';
	const char *colon = memchr(reply, ':', length);
	return colon && strtoul(reply, NULL, 10) + 2 == length - (size_t)(colon - reply);
}

static void count_latency(struct load *load, uint64_t nanoseconds)
{
	unsigned bits =
		nanoseconds < SUB ? 0 : 63 - 6 - (unsigned)__builtin_clzll(nanoseconds);

	load->histogram[bits * SUB + (nanoseconds >> bits)]++;
	if (nanoseconds > load->highest)
		load->highest = nanoseconds;
}

/* Up to the account's name, which differs, replies should be the same. */
static void compare(struct load *load, const char *reply, size_t length)
{
	size_t compared = load->options.map ? 7 : 12;

	if (load->first_length == 0) {
		memcpy(load->first, reply, length);
		load->first_length = length;
	}
	if (compared > length || compared > load->first_length)
		compared = length < load->first_length ? length : load->first_length;
	if (load->options.map) {
		/* the length in front may have one digit or two */
		const char *left = memchr(reply, ':', length),
			   *right = memchr(load->first, ':', load->first_length);
		load->other += memcmp(left, right, 3) != 0;
	} else {
		load->other += memcmp(reply, load->first, compared) != 0;
	}
}

/* Reads; true when the reply is whole. */
static bool take(struct load *load, struct client *client)
{
	ssize_t got = read(client->fd, client->reply + client->filled,
		sizeof client->reply - client->filled);

	if (got < 0 && errno == EINTR)
		return false;
	if (got <= 0)
		die(got == 0 ? "the server closed a connection" : "read");
	client->filled += (size_t)got;
	if (!is_whole(load, client->reply, client->filled))
		return false;
	uint64_t end = now();
	if (load->warm) {
		load->answered++;
		count_latency(load, end - client->began);
		compare(load, client->reply, client->filled);
	}
	return true;
}

static bool may_ask(const struct load *load, uint64_t time)
{
	return load->options.requests ? load->sent < load->options.requests
				      : time < load->end;
}

/* As Postfix's clients do. */
static void run_one(struct load *load, struct client *client)
{
	do {
		ask(load, client);
		while (!take(load, client))
			;
	} while (may_ask(load, client->began));
}

static void run_many(struct load *load, struct client *clients, int epoll)
{
	struct epoll_event events[256];
	unsigned under_way = load->options.connections;

	for (unsigned i = 0; i < load->options.connections; i++)
		ask(load, &clients[i]);
	while (under_way > 0) {
		int count = epoll_wait(epoll, events, 256, load->options.timeout * 1000);

		errno = ETIMEDOUT;
		if (count == 0)
			die("no reply");
		for (int i = 0; i < count; i++) {
			struct client *client = events[i].data.ptr;
			if (!take(load, client))
				continue;
			if (may_ask(load, client->began))
				ask(load, client);
			else
				under_way--;
		}
	}
}

static int connect_to(const char *text, int timeout)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct sockaddr_in in = {.sin_family = AF_INET};
	struct timeval limit = {.tv_sec = timeout};
	char host[64];
	unsigned port;
	int on = 1, fd, rc;

	if (text[0] == '/') {
		snprintf(un.sun_path, sizeof un.sun_path, "%s", text);
		fd = socket(AF_UNIX, SOCK_STREAM, 0);
		rc = connect(fd, (struct sockaddr *)&un, sizeof un);
	} else if (sscanf(text, "%63[0-9.]:%u", host, &port) == 2) {
		in.sin_port = htons((unsigned short)port);
		inet_pton(AF_INET, host, &in.sin_addr);
		fd = socket(AF_INET, SOCK_STREAM, 0);
		rc = connect(fd, (struct sockaddr *)&in, sizeof in);
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	} else {
		fputs(usage, stderr);
		exit(64);
	}
	if (fd < 0 || rc < 0)
		die(text);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
	return fd;
}

/* Connects, and has each connection answered once before anything is measured. */
static struct client *connect_all(struct load *load, int epoll)
{
	struct client *clients = calloc(load->options.connections, sizeof *clients);

	if (!clients)
		die("memory");
	for (unsigned i = 0; i < load->options.connections; i++) {
		struct epoll_event event = {.events = EPOLLIN, .data.ptr = &clients[i]};

		clients[i].fd = connect_to(load->options.address, load->options.timeout);
		if (epoll_ctl(epoll, EPOLL_CTL_ADD, clients[i].fd, &event) < 0)
			die("epoll_ctl");
		ask(load, &clients[i]);
	}
	for (unsigned i = 0; i < load->options.connections; i++)
		while (!take(load, &clients[i]))
			;
	load->sent = 0;
	load->warm = true;
	return clients;
}

/* The middle of the bucket, in microseconds. */
static double quantile(const struct load *load, double part)
{
	uint64_t wanted = (uint64_t)((double)load->answered * part), passed = 0;

	for (unsigned i = 0; i < BUCKETS; i++) {
		passed += load->histogram[i];
		if (passed > wanted) {
			unsigned bits = i < 2 * SUB ? 0 : i / SUB - 1;
			return ((double)((uint64_t)(i - bits * SUB) << bits) +
				       (double)(1ull << bits) / 2) /
			       1000;
		}
	}
	return (double)load->highest / 1000;
}

static void print(const struct load *load, double seconds)
{
	struct rusage used;

	getrusage(RUSAGE_SELF, &used);
	double own = (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) +
		     (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) / 1e6;
	printf("{\"requests\": %lu, \"rate\": %.1f, \"p50\": %.2f, \"p99\": %.2f, "
	       "\"p999\": %.2f, "
	       "\"max\": %.2f, \"own_us\": %.3f, \"other\": %lu, \"reply\": \"",
		(unsigned long)load->answered, (double)load->answered / seconds,
		quantile(load, 0.5), quantile(load, 0.99), quantile(load, 0.999),
		(double)load->highest / 1000, own * 1e6 / (double)load->answered,
		(unsigned long)load->other);
	for (size_t i = 0; i < load->first_length; i++) {
		unsigned char byte = (unsigned char)load->first[i];
		if (byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\')
			putchar(byte);
		else if (byte != '\n')
			putchar('?');
	}
	puts("\"}");
}

static bool parse_options(int argc, char **argv, struct options *options)
{
	int letter;

	*options = (struct options){.connections = 1,
		.seconds = 1,
		.accounts = 10,
		.domains = 1,
		.timeout = 30};
	while ((letter = getopt(argc, argv, "m:c:s:n:a:d:ut:")) != -1) {
		if (letter == 'm')
			options->map = optarg;
		else if (letter == 'c')
			options->connections = (unsigned)strtoul(optarg, NULL, 10);
		else if (letter == 's')
			options->seconds = strtod(optarg, NULL);
		else if (letter == 'n')
			options->requests = strtoull(optarg, NULL, 10);
		else if (letter == 'a')
			options->accounts = strtoull(optarg, NULL, 10);
		else if (letter == 'd')
			options->domains = strtoull(optarg, NULL, 10);
		else if (letter == 'u')
			options->various = true;
		else if (letter == 't')
			options->timeout = atoi(optarg);
		else
			return false;
	}
	options->address = optind + 1 == argc ? argv[optind] : NULL;
	return options->address && options->connections && options->accounts &&
	       options->domains;
}

int main(int argc, char **argv)
{
	static struct load load;
	int epoll = epoll_create1(EPOLL_CLOEXEC);

	if (!parse_options(argc, argv, &load.options)) {
		fputs(usage, stderr);
		return 64;
	}
	load.turn = (uint64_t)getpid() * 7919; /* not the same accounts first each time */
	struct client *clients = connect_all(&load, epoll);
	uint64_t begin = now();
	load.end = begin + (uint64_t)(load.options.seconds * 1e9);
	if (load.options.connections == 1)
		run_one(&load, clients);
	else
		run_many(&load, clients, epoll);
	print(&load, (double)(now() - begin) / 1e9);
	free(clients);
	return 0;
}
