/* check --live, for Postfix. */
#ifndef HOMINGCTL_LIVE_POSTFIX_H
#define HOMINGCTL_LIVE_POSTFIX_H

#include "command.h"
#include "findings.h"

/* Adds each finding. Without a Postfix, or with one that asks nothing of Homing, does nothing and
 * *looked_r is false. 0, or an exit code after a complaint. */
int live_postfix(const struct call *call, struct findings *findings, bool *looked_r);

#endif
