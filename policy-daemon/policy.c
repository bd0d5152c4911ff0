/* The SMTPD policy delegation protocol, read as Postfix's attr_scan_plain(3) reads and its
 * examples/smtpd-policy/greylist.pl does:
 *
 *	request=smtpd_access_policy LF
 *	protocol_state=RCPT LF
 *	recipient=info@company.com LF
 *	LF
 *
 * A name ends at the first `=`, a value at the line's end; a value may be empty and may hold `=`.
 * Postfix 2.1 sends 14 attributes, 3.7 29, 3.10 31 (check_policy_service() in smtpd_check.c). Names
 * that nobody asked for are skipped, the empty one too. What Postfix would skip and we refuse: a
 * line without `=`, a NUL. Postfix sends neither, so whoever does is lost or up to something. */
#include "policy.h"

#include <string.h>
#ifdef __SSE2__
#include <emmintrin.h>
#endif

#include "router/printable.h"

/* Of a name of the same length; a constant one, so that this is a comparison of words. */
#define IS(name, wanted) (memcmp(name, wanted, sizeof wanted - 1) == 0)

/* Where the value belongs; NULL: nobody asks for it. By length first, which sets most apart. */
static struct policy_value *value_of(struct policy_request *request, const char *name,
				     size_t length)
{
	switch (length) {
	case 6:
		return IS(name, "sender") ? &request->sender : NULL;
	case 7:
		return IS(name, "request") ? &request->request : NULL;
	case 8:
		return IS(name, "queue_id")   ? &request->queue_id
		       : IS(name, "instance") ? &request->instance
						      : NULL;
	case 9:
		return IS(name, "recipient")   ? &request->recipient
		       : IS(name, "helo_name") ? &request->helo_name
						       : NULL;
	case 11:
		return IS(name, "client_name") ? &request->client_name : NULL;
	case 13:
		return IS(name, "sasl_username")   ? &request->sasl_username
		       : IS(name, "protocol_name") ? &request->protocol_name
							   : NULL;
	case 14:
		return IS(name, "client_address")   ? &request->client_address
		       : IS(name, "protocol_state") ? &request->protocol_state
							    : NULL;
	default:
		return NULL;
	}
}

static bool has_nul(const char *text, size_t length)
{
	return memchr(text, '\0', length) != NULL;
}

static bool is_empty_line(const char *line, size_t length)
{
	return length == 0 || (length == 1 && line[0] == '\r');
}

const char policy_too_long[] = "longer than 65536 bytes";
static const char line_without[] = "a line without `=`";
static const char nul[] = "a NUL";

/* The start of the line that `next` is in. Going back for it costs each byte once, when the line's
 * end has come, so a request costs the same in one piece as in many. */
static const char *line_start(const char *data, const char *next)
{
	const char *before = memrchr(data, '\n', (size_t)(next - data));

	return before ? before + 1 : data;
}

ssize_t policy_frame(const char *data, size_t length, size_t *seen, const char **why_r)
{
	size_t limit = length < POLICY_MAX_REQUEST ? length : POLICY_MAX_REQUEST;
	const char *fresh = data + (*seen < limit ? *seen : limit), *stop = data + limit;
	const char *next = fresh, *line = NULL, *end, *why = NULL;

	for (; (end = memchr(next, '\n', (size_t)(stop - next))) != NULL; line = next = end + 1) {
		if (!line)
			line = line_start(data, next);
		if (is_empty_line(line, (size_t)(end - line)))
			break;
		if (!memchr(line, '=', (size_t)(end - line))) {
			why = line_without;
			break;
		}
	}
	if (has_nul(fresh, (size_t)((end ? end : stop) - fresh)))
		why = nul;
	else if (!end && limit == POLICY_MAX_REQUEST)
		why = policy_too_long;
	if (why) {
		*why_r = why;
		return -1;
	}
	*seen = end ? 0 : limit;
	return end ? end + 1 - data : 0;
}

/* memchr() for what is near: a request has thirty lines of twenty bytes, and calling it twice for each
 * was the dearest part of an answer. */
static inline const char *find_near(const char *next, const char *stop, char wanted)
{
#ifdef __SSE2__
	const __m128i pattern = _mm_set1_epi8(wanted);

	for (; stop - next >= 16; next += 16) {
		__m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)next);
		unsigned hits = (unsigned)_mm_movemask_epi8(_mm_cmpeq_epi8(bytes, pattern));
		if (hits)
			return next + __builtin_ctz(hits);
	}
#endif
	return memchr(next, wanted, (size_t)(stop - next));
}

/* Takes the line up to `end`; its bytes up to `stop` may be looked at. */
static const char *parse_line(const char *line, const char *end, const char *stop,
			      struct policy_request *request)
{
	const char *equals = find_near(line, stop, '=');
	struct policy_value *value;

	if (!equals || equals > end)
		return line_without;
	value = value_of(request, line, (size_t)(equals - line));
	if (value) {
		value->text = equals + 1;
		value->length = (size_t)(end - value->text);
		if (value->length > 0 && value->text[value->length - 1] == '\r')
			value->length--;
	}
	return NULL;
}

/* NULL, or why this is no request. */
static const char *parse(const char *data, size_t length, struct policy_request *request)
{
	const char *next = data, *stop = data + length, *end;
	unsigned count = 0;

	if (length > POLICY_MAX_REQUEST)
		return policy_too_long;
	if (has_nul(data, length))
		return nul;
	while ((end = find_near(next, stop, '\n')) != NULL) {
		if (is_empty_line(next, (size_t)(end - next)))
			return end + 1 == stop ? NULL : "something behind the empty line";
		if (++count > POLICY_MAX_ATTRIBUTES)
			return "more than 1000 attributes";
		const char *why = parse_line(next, end, stop, request);
		if (why)
			return why;
		next = end + 1;
	}
	return "no empty line at the end";
}

bool policy_parse(const char *data, size_t length, struct policy_request *request_r,
		  const char **why_r)
{
	static const char wanted[] = "smtpd_access_policy";
	struct policy_request request = {0};
	const char *why = parse(data, length, &request);

	if (!why && (request.request.length != strlen(wanted) ||
		     memcmp(request.request.text, wanted, strlen(wanted)) != 0))
		why = "no request=smtpd_access_policy";
	if (why) {
		*why_r = why;
		return false;
	}
	*request_r = request;
	return true;
}

size_t policy_format(const char *action, char *out, size_t size)
{
	static const char name[] = "action=", end[] = "\n\n";
	size_t used = strlen(name);

	memcpy(out, name, used);
	used += printable_replace(out + used, size - used - strlen(end), action, strlen(action));
	memcpy(out + used, end, sizeof end);
	return used + strlen(end);
}
