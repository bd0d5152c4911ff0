/* What Dovecot needs, to take mail from Postfix and to tell it who may send. */
#ifndef HOMINGCTL_SNIPPET_LISTENERS_H
#define HOMINGCTL_SNIPPET_LISTENERS_H

#include "command.h"
#include "postfix-facts.h"

/* Prints the settings, each line behind `indent`. */
void snippet_listeners(const char *indent, const struct postfix_facts *facts);

/* config dovecot --postfix: the same, for the Postfix that is installed here. 0, or an exit code after
 * a complaint. */
int snippet_postfix(const struct call *call);

#endif
