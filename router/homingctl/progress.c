/* A progress bar. */
#include "progress.h"

#include <stdio.h>
#include <unistd.h>

enum {
	CALLS_PER_LOOK = 2048, /* the clock is not asked at each item */
	BAR_WIDTH = 40,
};

void progress_init(struct progress *progress)
{
	*progress = (struct progress){.terminal = isatty(STDERR_FILENO) == 1, .shown = -1};
	clock_gettime(CLOCK_MONOTONIC, &progress->start);
}

void progress_phase(struct progress *progress, const char *what, uint64_t total)
{
	progress->what = what;
	progress->total = total;
	progress->calls = CALLS_PER_LOOK - 1;
	if (progress->shown >= 0)
		progress->shown = 101; /* drawn at once, over the last phase */
}

static bool is_over_a_second(const struct progress *progress)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (now.tv_sec - progress->start.tv_sec) * 1000 +
		       (now.tv_nsec - progress->start.tv_nsec) / 1000000 >= 1000;
}

static void draw(struct progress *progress, int percent)
{
	char bar[BAR_WIDTH + 1];

	for (int i = 0; i < BAR_WIDTH; i++)
		bar[i] = i * 100 < percent * BAR_WIDTH ? '#' : '.';
	bar[BAR_WIDTH] = '\0';
	fprintf(stderr, "\r%-10s [%s] %3d%%", progress->what, bar, percent);
	fflush(stderr);
	progress->shown = percent;
}

void progress_step(struct progress *progress, uint64_t done)
{
	if (!progress->terminal || ++progress->calls < CALLS_PER_LOOK)
		return;
	progress->calls = 0;
	int percent = progress->total > 0 ? (int)(done * 100 / progress->total) : 100;
	if (percent != progress->shown && is_over_a_second(progress))
		draw(progress, percent > 100 ? 100 : percent);
}

void progress_clear(struct progress *progress)
{
	if (progress->shown < 0)
		return;
	fputs("\r\033[K", stderr);
	fflush(stderr);
	progress->shown = -1;
}
