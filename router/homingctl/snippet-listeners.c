#include "snippet-listeners.h"

#include <stdarg.h>
#include <stdio.h>
#include <sysexits.h>

#include "output.h"
#include "postconf.h"

/* One line behind the indent. */
static void __attribute__((format(printf, 2, 3))) line(const char *indent, const char *format, ...)
{
	va_list args;

	printf("%s", indent);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static void print_socket(const char *indent, const struct postfix_facts *facts, const char *service,
			 const char *socket, const char *mode)
{
	line(indent, "service %s {", service);
	line(indent, "  unix_listener %s/private/%s {", facts->queue_directory, socket);
	line(indent, "    mode = %s", mode);
	line(indent, "    user = postfix");
	line(indent, "    group = postfix");
	line(indent, "  }");
}

/* Dovecot has one delimiter for all domains, and takes it off before it asks for the account. */
void snippet_listeners(const char *indent, const struct postfix_facts *facts)
{
	line(indent, "# Box#info@ours and info%cBox@ours arrive in the mailbox Box, if there is one.",
	     facts->main_delimiter);
	line(indent, "recipient_delimiter = %c", facts->main_delimiter);
	line(indent, "lmtp_save_to_detail_mailbox = yes");
	if (facts->delimiters[1]) {
		line(indent, "# The domains have several (%s), and Dovecot's counts in all of them: one more would "
			     "cut", facts->delimiters);
		line(indent, "# names that have it inside. In domains with another one, mail arrives in INBOX.");
	}
	print_socket(indent, facts, "lmtp", "dovecot-lmtp", "0600");
	line(indent, "}");
	print_socket(indent, facts, "auth", "auth", "0660");
	if (facts->asks_dovecot) {
		line(indent, "  # homing-policyd asks here for domains with \"accounts\": \"dovecot\".");
		line(indent, "  unix_listener auth-userdb {");
		line(indent, "    mode = 0660");
		line(indent, "    group = homing-policyd");
		line(indent, "    # With shared mailboxes mail processes ask here too, for an owner's home.");
		line(indent, "    #user = vmail");
		line(indent, "  }");
	}
	line(indent, "}");
}

int snippet_postfix(const struct call *call)
{
	struct postconf *postconf = NULL;
	struct postfix_facts facts;
	int code = postconf_load(&postconf);

	if (code == EX_NOINPUT)
		complain("config dovecot --postfix: no Postfix is found here");
	if (code == 0)
		code = postfix_facts_load(call, postconf, false, &facts);
	if (code == 0) {
		print("\n# For Postfix: `homingctl config postfix`. lmtp has to be among the protocols.\n");
		snippet_listeners("", &facts);
		postfix_facts_finish(&facts);
	}
	postconf_free(&postconf);
	return code;
}
