/* The seccomp filter: which system calls this process may still make. */
#ifndef HOMING_SYSTEM_CALLS_H
#define HOMING_SYSTEM_CALLS_H

#include <stdbool.h>

/* From now on, for this thread and those it starts. Anything that is not allowed ends the process
 * with SIGSYS. `connects`: UNIX sockets may be made and connected. 0, or -1 and errno. */
int system_calls_restrict(bool connects);

#endif
