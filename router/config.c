/* homing.json: from files to struct config. The parts are in config-private.h. */
#include "config-private.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

static void list_finish(struct config_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->items[i]);
	free(list->items);
}

static void domain_finish(struct config_domain *domain)
{
	free(domain->name);
	free(domain->reroute);
	list_finish(&domain->aliases);
	list_finish(&domain->server_names);
	list_finish(&domain->administrators);
	free(domain->addresses);
}

void config_free(struct config **config)
{
	struct config *old = *config;

	if (!old)
		return;
	for (size_t i = 0; i < old->domain_count; i++)
		domain_finish(&old->domains[i]);
	for (size_t i = 0; i < old->record_count; i++) {
		free(old->records[i].match);
		free(old->records[i].to);
	}
	free(old->domains);
	free(old->records);
	free(old->main_domain);
	free(old->home);
	free(old->uid);
	free(old->gid);
	free(old);
	*config = NULL;
}

static void draft_finish(struct draft *draft)
{
	for (size_t i = 0; i < draft->file_count; i++) {
		json_text_finish(&draft->files[i].text);
		free(draft->files[i].path);
		free(draft->files[i].bytes);
	}
	for (size_t i = 0; i < draft->mistake_count; i++)
		free(draft->mistakes[i].text);
	free(draft->files);
	free(draft->mistakes);
	free(draft->domain_places);
	free(draft->record_places);
	free(draft->claims);
	free(draft->names.data);
	free(draft->administrators);
	config_free(&draft->config);
}

static bool draft_init(struct draft *draft)
{
	*draft = (struct draft){.config = calloc(1, sizeof *draft->config)};
	if (!draft->config)
		return false;
	draft->config->home = draft_copy(draft, "");
	draft->config->uid = draft_copy(draft, "");
	draft->config->gid = draft_copy(draft, "");
	return !draft->no_memory;
}

static int compare_domains(const void *left, const void *right)
{
	const struct config_domain *a = left, *b = right;

	return strcmp(a->name, b->name);
}

/* All that the texts say; mistakes are collected. */
static void read_draft(struct draft *draft)
{
	for (size_t i = 0; i < draft->file_count; i++)
		if (!draft->files[i].broken)
			draft_read_top(draft, (uint32_t)i);
	if (draft->no_memory)
		return;
	draft_check_names(draft);
	draft_check_loops(draft);
}

static struct config *take_config(struct draft *draft)
{
	struct config *config = draft->config;

	draft->config = NULL;
	if (config->domain_count > 0)
		qsort(config->domains, config->domain_count, sizeof *config->domains,
		      compare_domains);
	return config;
}

int config_load(const char *const *paths, size_t count, struct config **config_r,
		config_mistake_cb *mistake, void *context, struct error *error)
{
	struct draft draft;
	int answer = 0;

	*config_r = NULL;
	if (count == 0)
		return error_set(error, ERROR_INVALID, "no file of a configuration is given");
	if (!draft_init(&draft)) {
		draft_finish(&draft);
		return error_set(error, ERROR_MEMORY, "out of memory");
	}
	answer = draft_read_files(&draft, paths, count, error);
	if (answer == 0)
		read_draft(&draft);
	if (answer == 0 && !draft.no_memory && draft.mistake_count > 0) {
		draft_report(&draft, mistake, context);
		answer = draft.mistake_count > INT_MAX ? INT_MAX : (int)draft.mistake_count;
	}
	if (answer >= 0 && draft.no_memory)
		answer = error_set(error, ERROR_MEMORY, "%s: out of memory", paths[0]);
	if (answer == 0)
		*config_r = take_config(&draft);
	draft_finish(&draft);
	return answer;
}
