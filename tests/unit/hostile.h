/* Names that an attacker might build: fragments that mean something to routing, in random order. */
#ifndef HOMING_TEST_HOSTILE_H
#define HOMING_TEST_HOSTILE_H

#include <stddef.h>
#include <stdint.h>

#include "ip.h"
#include "route.h"

enum { HOSTILE_SIZE = 1024 };

struct hostile {
	struct route_question question; /* points into this struct */
	struct ip ip;
	char name[HOSTILE_SIZE], server_name[HOSTILE_SIZE];
};

/* The next one after `seed`; the same seeds give the same names. */
void hostile_make(struct hostile *hostile, uint64_t *seed);

#endif
