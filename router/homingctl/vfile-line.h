/* The ACL files of Dovecot's own backend, `dovecot-acl`: lines of an identifier and rights, as
 * acl_rights_parse_line() reads them. */
#ifndef HOMINGCTL_VFILE_LINE_H
#define HOMINGCTL_VFILE_LINE_H

#include <stdbool.h>
#include <stddef.h>

#include "rights.h"

#define VFILE_NAME "dovecot-acl"
#define VFILE_OTHER_KIND "a user of this name cannot be told from an identifier that means others"

struct vfile_line {
	char who[NAME_SIZE + 3]; /* as grantee_parse() takes it; "": an empty line, or a comment */
	/* What it is there. If grantee_parse() finds another kind, the name means more people here
	 * than it does there, and the line cannot be taken: VFILE_OTHER_KIND. */
	enum grantee_kind kind;
	bool negative;
	uint16_t rights;
};

/* NULL if fine, else why it cannot be taken over: it does not parse, it has rights that IMAP does not
 * know, or an identifier that would mean more people here than it does there. */
const char *vfile_line_parse(const char *line, size_t length, struct vfile_line *line_r);

/* Writes a line for one half of a grant, with its newline. False if the identifier has no form there
 * (GRANTEE_DOMAIN), or it does not fit. */
bool vfile_line_format(const struct grantee *who, bool negative, uint16_t rights, char *text_r,
		       size_t size);

#endif
