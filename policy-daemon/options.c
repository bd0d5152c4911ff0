/* Reading the command line. */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sysexits.h>

enum {
	MAX_WORKERS = 64,
	DEFAULT_WORKERS = 4, /* at most: one saturates a core, and Postfix wants some too */
	DEFAULT_CONNECTIONS = 20000,
	MAX_CONNECTIONS = 1000000,
};

enum option_letter {
	OPTION_POLICY = 'p',
	OPTION_MAP = 'm',
	OPTION_DIRECTORY = 'd',
	OPTION_WORKERS = 'w',
	OPTION_FOREGROUND = 'f',
	OPTION_VERBOSE = 'v',
	OPTION_HELP = 'h',
	OPTION_VERSION = 'V',
	OPTION_METRICS = 256, /* and those without a letter */
	OPTION_USERDB,
	OPTION_SOCKET_MODE,
	OPTION_SOCKET_GROUP,
	OPTION_TRUSTED,
	OPTION_USER,
	OPTION_MAX_CONNECTIONS,
	OPTION_DRY_RUN,
};

static const struct option long_options[] = {
	{"directory", required_argument, NULL, OPTION_DIRECTORY},
	{"policy", required_argument, NULL, OPTION_POLICY},
	{"map", required_argument, NULL, OPTION_MAP},
	{"metrics", required_argument, NULL, OPTION_METRICS},
	{"workers", required_argument, NULL, OPTION_WORKERS},
	{"userdb", required_argument, NULL, OPTION_USERDB},
	{"socket-mode", required_argument, NULL, OPTION_SOCKET_MODE},
	{"socket-group", required_argument, NULL, OPTION_SOCKET_GROUP},
	{"trusted", required_argument, NULL, OPTION_TRUSTED},
	{"user", required_argument, NULL, OPTION_USER},
	{"max-connections", required_argument, NULL, OPTION_MAX_CONNECTIONS},
	{"dry-run", no_argument, NULL, OPTION_DRY_RUN},
	{"foreground", no_argument, NULL, OPTION_FOREGROUND},
	{"verbose", no_argument, NULL, OPTION_VERBOSE},
	{"help", no_argument, NULL, OPTION_HELP},
	{"version", no_argument, NULL, OPTION_VERSION},
	{NULL, 0, NULL, 0},
};

static const char help[] =
	"Usage: homing-policyd [OPTION...]\n\n"
	"Answers Postfix's policy requests and map lookups from the directory of Homing.\n\n"
	"  --policy ENDPOINT, -p    listen for policy requests (check_policy_service)\n"
	"  --map ENDPOINT, -m       listen for map lookups (socketmap)\n"
	"  --metrics ENDPOINT       listen for HTTP requests of Prometheus\n"
	"      ENDPOINT is unix:/PATH or inet:HOST:PORT; each option may come several times.\n"
	"      Without any, the sockets that systemd passes are used.\n"
	"  --directory DIR, -d DIR  the directory; default " HOMING_DIRECTORY "\n"
	"  --userdb PATH            Dovecot's auth-userdb socket; default /run/dovecot/auth-userdb;\n"
	"                           none: ask nobody\n"
	"  --trusted PREFIX         clients that may relay by explicit route; may come several times\n"
	"  --socket-mode MODE       of the UNIX sockets that are made; default 0660\n"
	"  --socket-group GROUP     of these; default postfix, when started as root\n"
	"  --user NAME              whom to become when started as root; default homing-policyd\n"
	"  --workers N, -w N        threads that answer; default: one a core, at most 4\n"
	"  --max-connections N      of all clients; default 20000\n"
	"  --dry-run                refuse nothing, log what would have been refused\n"
	"  --foreground, -f         stay in the foreground and log to stderr\n"
	"  --verbose, -v            log every request\n"
	"  --help, -h               this text\n"
	"  --version, -V            the version\n\n"
	"Exit codes: 0 fine, 64 usage, 69 it cannot listen there, 71 the system refuses something,\n"
	"75 try again, 78 a mistake in the configuration.\n"
	"More: homing-policyd(8), homing-postfix(7).\n";

static int usage(const char *option, const char *why)
{
	fprintf(stderr, "homing-policyd: %s: %s\nTry `homing-policyd --help`.\n", option, why);
	return EX_USAGE;
}

static bool parse_number(const char *text, int base, unsigned long least, unsigned long most,
			 unsigned long *number_r)
{
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*number_r = strtoul(text, &end, base);
	return errno == 0 && *end == '\0' && *number_r >= least && *number_r <= most;
}

static unsigned default_workers(void)
{
	cpu_set_t cpus;
	int count = 1;

	if (sched_getaffinity(0, sizeof cpus, &cpus) == 0)
		count = CPU_COUNT(&cpus);
	return count > DEFAULT_WORKERS ? DEFAULT_WORKERS : (unsigned)count;
}

static int take_endpoint(struct options *options, enum service service, const char *text)
{
	const char *why = endpoint_refusal(text);
	if (why) {
		char message[200];
		snprintf(message, sizeof message, "\"%.80s\": %s", text, why);
		return usage(service_name(service), message);
	}
	struct wanted_endpoint *grown =
		reallocarray(options->endpoints, options->endpoint_count + 1, sizeof *grown);

	if (!grown)
		return usage(service_name(service), "out of memory");
	options->endpoints = grown;
	grown[options->endpoint_count++] =
		(struct wanted_endpoint){.service = service, .text = text};
	return OPTIONS_GO_ON;
}

static int take_number(const char *option, const char *text, int base, unsigned long least,
		       unsigned long most, unsigned long *number_r)
{
	char why[120];

	if (parse_number(text, base, least, most, number_r))
		return OPTIONS_GO_ON;
	snprintf(why, sizeof why,
		 base == 8 ? "\"%.20s\" is no mode: want an octal number from %04lo to %04lo"
			   : "\"%.20s\": want a number from %lu to %lu",
		 text, least, most);
	return usage(option, why);
}

static int take_trusted(struct options *options, const char *text)
{
	const char *why;
	char message[200];

	if (trusted_add(&options->trusted, text, &why))
		return OPTIONS_GO_ON;
	snprintf(message, sizeof message, "\"%.80s\": %s", text, why);
	return usage("--trusted", message);
}

static int take_user(struct options *options, const char *name)
{
	if (strcmp(name, "root") == 0 || strcmp(name, "0") == 0)
		return usage("--user", "it never runs as root: choose a user of its own");
	options->user = name;
	return OPTIONS_GO_ON;
}

static int take_value(struct options *options, int letter, const char *value)
{
	unsigned long number = 0;
	int answer = OPTIONS_GO_ON;

	switch (letter) {
	case OPTION_WORKERS:
		answer = take_number("--workers", value, 10, 1, MAX_WORKERS, &number);
		options->workers = (unsigned)number;
		return answer;
	case OPTION_SOCKET_MODE:
		answer = take_number("--socket-mode", value, 8, 0, 0777, &number);
		options->socket_mode = (mode_t)number;
		return answer;
	case OPTION_MAX_CONNECTIONS:
		return take_number("--max-connections", value, 10, 1, MAX_CONNECTIONS,
				   &options->max_connections);
	case OPTION_USERDB:
		options->userdb = strcmp(value, "none") == 0 ? NULL : value;
		return answer;
	case OPTION_SOCKET_GROUP:
		options->socket_group = value;
		return answer;
	case OPTION_DIRECTORY:
		options->directory = value;
		return answer;
	case OPTION_TRUSTED:
		return take_trusted(options, value);
	default:
		return take_user(options, value);
	}
}

static int take_option(struct options *options, int letter, const char *value)
{
	switch (letter) {
	case OPTION_POLICY:
		return take_endpoint(options, SERVICE_POLICY, value);
	case OPTION_MAP:
		return take_endpoint(options, SERVICE_MAP, value);
	case OPTION_METRICS:
		return take_endpoint(options, SERVICE_METRICS, value);
	case OPTION_DRY_RUN:
		options->dry_run = true;
		return OPTIONS_GO_ON;
	case OPTION_FOREGROUND:
		options->foreground = true;
		return OPTIONS_GO_ON;
	case OPTION_VERBOSE:
		options->verbose = true;
		return OPTIONS_GO_ON;
	case OPTION_HELP:
		fputs(help, stdout);
		return EX_OK;
	case OPTION_VERSION:
		puts("homing-policyd " HOMING_VERSION);
		return EX_OK;
	case '?': /* getopt_long has said what is wrong */
		fputs("Try `homing-policyd --help`.\n", stderr);
		return EX_USAGE;
	default:
		return take_value(options, letter, value);
	}
}

int options_parse(int argc, char **argv, struct options *options_r)
{
	static char name[] = "homing-policyd"; /* for getopt's messages, whatever it was called as */
	int letter, answer = OPTIONS_GO_ON;

	*options_r = (struct options){
		.directory = HOMING_DIRECTORY,
		.workers = default_workers(),
		.userdb = "/run/dovecot/auth-userdb",
		.socket_mode = 0660,
		.max_connections = DEFAULT_CONNECTIONS,
	};
	if (argc > 0)
		argv[0] = name;
	while (answer == OPTIONS_GO_ON &&
	       (letter = getopt_long(argc, argv, "d:p:m:w:fvhV", long_options, NULL)) != -1)
		answer = take_option(options_r, letter, optarg);
	if (answer == OPTIONS_GO_ON && optind < argc)
		answer = usage(argv[optind], "there are no arguments but options");
	return answer;
}

void options_finish(struct options *options)
{
	free(options->endpoints);
	trusted_finish(&options->trusted);
}
