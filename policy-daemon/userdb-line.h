/* The lines of Dovecot's auth-master protocol that a userdb lookup takes: bytes to values and back,
 * without I/O. What is said is in userdb-line.c. */
#ifndef HOMING_USERDB_LINE_H
#define HOMING_USERDB_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
	USERDB_LINE_MAX = 8192,	   /* bytes of a line from Dovecot; its own clients take no more */
	USERDB_QUESTION_MAX = 600, /* bytes of a line to Dovecot; it takes 1,024 */
};

/* What we say first on a connection. */
#define USERDB_GREETING "VERSION\t1\t1\n"

/* Can this be asked for? A name that is empty or too long, or has a byte that means something to the
 * protocol (NUL, \001, tab, line ends), belongs to nobody. */
bool userdb_name_is_sendable(const char *name);

/* Writes the question for a name that can be sent, in at most USERDB_QUESTION_MAX bytes; returns its
 * length. The number is not 0. */
size_t userdb_question_format(uint32_t id, const char *name, char out[USERDB_QUESTION_MAX]);

/* One line before the first answer, without its line end. 1: Dovecot has said all; 0: more comes; -1:
 * this is no userdb socket of a Dovecot that we know, *why_r (a constant) says why. */
int userdb_greeting_parse(const char *line, size_t length, const char **why_r);

enum userdb_reply { USERDB_USER, USERDB_NOTFOUND, USERDB_FAIL };

/* One answer, without its line end. NULL, or why it is none (a constant). `*id_r` is set in any case:
 * 0 if the line does not come so far; a line that is too long tells it too. */
const char *userdb_answer_parse(const char *line, size_t length, enum userdb_reply *reply_r,
				uint32_t *id_r);

#endif
