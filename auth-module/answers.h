/* Answers of the router kept from before, because a server asks for the same few names all day. One
 * is used only while the directory is as it was then (directory_version), so a change counts at
 * the next lookup. Only accounts are kept: what strangers try takes no place. */
#ifndef HOMING_ANSWERS_H
#define HOMING_ANSWERS_H

struct answers;

/* What was asked, as bytes: all that an answer depends on. */
struct answer_key {
	unsigned char bytes[1024];
	size_t length;
	size_t name_length; /* the name is the end of it */
	uint64_t hash;
};
/* FALSE: too long to be kept. Tells the processor where the answer would be, so that it can fetch
 * that while the caller does something else. */
bool homing_answer_key(const struct answers *answers, struct answer_key *key, char kind,
		       const struct ip_addr *local_ip, const char *server_name, const char *name);

struct kept_answer {
	const char *account; /* canonical; valid until the next homing_answers_keep() */
	bool external;
};
bool homing_answers_find(const struct answers *answers, const struct answer_key *key,
			 uint64_t version, struct kept_answer *answer_r);
/* Makes *answers if it is NULL. Without memory nothing is kept. */
void homing_answers_keep(struct answers **answers, const struct answer_key *key, uint64_t version,
			 const struct kept_answer *answer);
void homing_answers_free(struct answers **answers);

#endif
