/* Reading a password, without stdio: its buffers could not be wiped. */
#include "secret.h"

#include <errno.h>
#include <signal.h>
#include <sodium.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sysexits.h>
#include <termios.h>
#include <unistd.h>

#include "output.h"

/* Signals that end or stop the program while the echo is off. */
static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP};
enum { SIGNAL_COUNT = sizeof signals / sizeof signals[0] };

static volatile sig_atomic_t caught;

static void catch_signal(int number)
{
	caught = number;
}

struct terminal {
	struct termios attributes;
	struct sigaction actions[SIGNAL_COUNT];
};

static void echo_off(struct terminal *terminal)
{
	struct sigaction action = {.sa_handler = catch_signal}; /* no SA_RESTART: read() returns */
	struct termios quiet = terminal->attributes;

	caught = 0;
	for (int i = 0; i < SIGNAL_COUNT; i++)
		sigaction(signals[i], &action, &terminal->actions[i]);
	quiet.c_lflag &= ~(tcflag_t)ECHO;
	quiet.c_lflag |= ECHONL;
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &quiet);
}

/* Gives the terminal back, and lets a signal that came meanwhile do its work. */
static void echo_on(const struct terminal *terminal)
{
	tcsetattr(STDIN_FILENO, TCSAFLUSH, &terminal->attributes);
	for (int i = 0; i < SIGNAL_COUNT; i++)
		sigaction(signals[i], &terminal->actions[i], NULL);
	if (caught)
		raise(caught);
}

/* One line; -1 at an error (errno), -2 if it is too long. EINTR ends it only after a signal. */
static int read_line(struct secret *secret)
{
	secret->length = 0;
	for (;;) {
		char byte;
		ssize_t got = read(STDIN_FILENO, &byte, 1);

		if (got < 0 && errno == EINTR && !caught)
			continue;
		if (got < 0)
			return -1;
		if (got == 0 || byte == '\n')
			return 0;
		if (secret->length == PASSWORD_MAX_BYTES)
			return -2;
		secret->text[secret->length++] = byte;
		secret->text[secret->length] = '\0';
	}
}

static int check_line(int answer, const struct secret *secret)
{
	if (answer == -1) {
		complain("standard input: %s", strerror(errno));
		return EX_IOERR;
	}
	if (answer == -2) {
		complain("the password is longer than %d bytes", PASSWORD_MAX_BYTES);
		return EX_DATAERR;
	}
	if (secret->length == 0) {
		complain("the password is empty");
		return EX_DATAERR;
	}
	if (memchr(secret->text, '\0', secret->length)) {
		complain("the password has a NUL byte");
		return EX_DATAERR;
	}
	return 0;
}

static int ask(const char *prompt, const struct terminal *before, struct secret *secret)
{
	struct terminal terminal = *before;

	fprintf(stderr, "%s: ", prompt);
	fflush(stderr);
	echo_off(&terminal);
	int answer = read_line(secret);
	int cause = errno;
	echo_on(&terminal);
	errno = cause;
	return check_line(answer, secret);
}

int secret_read(const char *prompt, int twice, struct secret *secret_r)
{
	struct terminal terminal;
	int code;

	*secret_r = (struct secret){0};
	if (tcgetattr(STDIN_FILENO, &terminal.attributes) < 0) {
		code = check_line(read_line(secret_r), secret_r);
	} else {
		code = ask(prompt, &terminal, secret_r);
		if (code == 0 && twice) {
			struct secret again = {0};

			code = ask("once more", &terminal, &again);
			if (code == 0 && (again.length != secret_r->length ||
					  sodium_memcmp(again.text, secret_r->text, again.length) != 0)) {
				complain("the two passwords differ");
				code = EX_DATAERR;
			}
			secret_wipe(&again);
		}
	}
	if (code != 0)
		secret_wipe(secret_r);
	return code;
}

void secret_wipe(struct secret *secret)
{
	sodium_memzero(secret, sizeof *secret);
}
