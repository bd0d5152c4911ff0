/* The parts of the module for each other. */
#ifndef HOMING_MODULE_H
#define HOMING_MODULE_H

struct source;

extern struct passdb_module_interface homing_passdb_interface;
extern struct userdb_module_interface homing_userdb_interface;

/* Sets what the userdb would answer as userdb_* fields of the passdb, for a userdb prefetch
 * behind. 0, or -1 and it is logged. */
int homing_userdb_prefetch(struct source *names, struct auth_request *request);

#endif
