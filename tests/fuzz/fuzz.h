/* A fuzz target is what libFuzzer calls; replay.c calls the same without libFuzzer. */
#ifndef HOMING_FUZZ_H
#define HOMING_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);

/* What must hold for every input. */
#define FUZZ_EXPECT(condition)                                                                 \
	do {                                                                                   \
		if (!(condition)) {                                                            \
			fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__,      \
				#condition);                                                   \
			abort();                                                               \
		}                                                                              \
	} while (0)

#endif
