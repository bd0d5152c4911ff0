/* What check --live finds. */
#include "findings.h"

#include <stdio.h>

#include "output.h"

void findings_add_args(struct findings *findings, const char *setting, const char *change,
		       const char *format, va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof text, format, args);
	findings->count++;
	if (findings->list)
		json_array_append_new(findings->list,
				      json_pack("{s:o,s:o,s:o}", "setting", json_text(setting),
						"problem", json_text(text), "change",
						json_text(change)));
	else
		print("%s: %s\n    change: %s\n", setting, text, change);
}

void findings_add(struct findings *findings, const char *setting, const char *change,
		  const char *format, ...)
{
	va_list args;

	va_start(args, format);
	findings_add_args(findings, setting, change, format, args);
	va_end(args);
}

void findings_note_args(struct findings *findings, const char *setting, const char *format,
			va_list args)
{
	char text[1024];

	vsnprintf(text, sizeof text, format, args);
	if (findings->notes)
		json_array_append_new(findings->notes, json_pack("{s:o,s:o}", "setting", json_text(setting),
							 "note", json_text(text)));
	else
		print("note: %s: %s\n", setting, text);
}
