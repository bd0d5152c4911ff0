/* From an auth request to a question for the router, and the answer back into the request. */
#ifndef HOMING_QUESTION_H
#define HOMING_QUESTION_H

struct source;
struct route_answer;
struct error;

enum routed {
	ROUTED_ACCOUNT,	 /* one of the directory's accounts */
	ROUTED_EXTERNAL, /* an account in a domain whose accounts others know */
	ROUTED_REFUSED,	 /* nobody: and why, in words */
	ROUTED_FAILED,	 /* nothing can be said now; it is logged */
};

/* Asks about the request's user. With *account_r, the canonical name (data stack or kept answer: use
 * it at once); with *reason_r, why it is refused. Uses kept answers. */
enum routed homing_ask(struct source *names, struct auth_request *request, const char **account_r,
		       const char **reason_r);

/* The same between directory_begin() and directory_end() of the source, for who reads more of the
 * same snapshot. `answer` is the caller's, to be released with route_answer_finish(). */
enum routed homing_ask_within(struct source *names, struct auth_request *request,
			      struct route_answer *answer, const char **reason_r);

/* Makes the canonical name the request's, also for Dovecot's cache. */
void homing_set_user(struct auth_request *request, const char *account);

#endif
