/* bench-sqlite FILE DOMAINS ACCOUNTS [LOOKUPS]: the peer of bench-route. The same number of accounts in
 * SQLite, made if FILE is missing, and one prepared query for a random one: what a lookup by a full,
 * lower-case address costs an administrator who has no routing. JSON, as bench-route's. */
#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static uint64_t state = 88172645463325252ULL;

static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

static double microseconds(void)
{
	struct timespec time;

	clock_gettime(CLOCK_MONOTONIC, &time);
	return (double)time.tv_sec * 1e6 + (double)time.tv_nsec / 1e3;
}

static void check(int rc, sqlite3 *database)
{
	if (rc == SQLITE_OK || rc == SQLITE_ROW || rc == SQLITE_DONE)
		return;
	fprintf(stderr, "bench-sqlite: %s\n", sqlite3_errmsg(database));
	exit(1);
}

static sqlite3_stmt *prepare(sqlite3 *database, const char *text)
{
	sqlite3_stmt *statement;

	check(sqlite3_prepare_v2(database, text, -1, &statement, NULL), database);
	return statement;
}

static void make(sqlite3 *database, unsigned long domains, unsigned long accounts)
{
	check(sqlite3_exec(database,
			   "CREATE TABLE accounts (name TEXT PRIMARY KEY, home TEXT) WITHOUT ROWID; BEGIN",
			   NULL, NULL, NULL),
	      database);
	sqlite3_stmt *insert = prepare(database, "INSERT INTO accounts VALUES (?, '')");
	for (unsigned long i = 0; i < accounts; i++) {
		char name[64];

		snprintf(name, sizeof name, "user%lu@d%lu.example", i, i % domains);
		sqlite3_bind_text(insert, 1, name, -1, SQLITE_TRANSIENT);
		check(sqlite3_step(insert), database);
		sqlite3_reset(insert);
	}
	sqlite3_finalize(insert);
	check(sqlite3_exec(database, "COMMIT", NULL, NULL, NULL), database);
}

static int compare(const void *a, const void *b)
{
	double first = *(const double *)a, second = *(const double *)b;

	return (first > second) - (first < second);
}

int main(int argc, char **argv)
{
	sqlite3 *database;

	if (argc < 4) {
		fprintf(stderr, "usage: bench-sqlite FILE DOMAINS ACCOUNTS [LOOKUPS]\n");
		return 64;
	}
	unsigned long domains = strtoul(argv[2], NULL, 10), accounts = strtoul(argv[3], NULL, 10);
	size_t count = argc > 4 ? strtoul(argv[4], NULL, 10) : 200000;
	int missing = access(argv[1], F_OK) != 0;
	check(sqlite3_open(argv[1], &database), NULL);
	/* all that can be in memory is, as LMDB's map */
	sqlite3_exec(database, "PRAGMA synchronous = OFF; PRAGMA mmap_size = 68719476736", NULL, NULL,
		     NULL);
	if (missing)
		make(database, domains, accounts);
	sqlite3_stmt *find = prepare(database, "SELECT home FROM accounts WHERE name = ?");
	char (*names)[64] = calloc(count, sizeof *names);
	double *times = calloc(count, sizeof *times);
	for (size_t i = 0; i < count; i++) {
		unsigned long account = next_random() % accounts;
		snprintf(names[i], sizeof names[i], "user%lu@d%lu.example", account, account % domains);
	}
	double whole = 0;
	for (int turn = 0; turn < 2; turn++) {
		double start = microseconds();
		for (size_t i = 0; i < count; i++) {
			double begin = microseconds();
			sqlite3_bind_text(find, 1, names[i], -1, SQLITE_STATIC);
			if (sqlite3_step(find) != SQLITE_ROW)
				return 1;
			sqlite3_reset(find);
			times[i] = microseconds() - begin;
		}
		whole = microseconds() - start;
	}
	qsort(times, count, sizeof *times, compare);
	printf("{\"lookups_per_second\": %.0f, \"median_us\": %.2f, \"p99_us\": %.2f}\n",
	       (double)count / whole * 1e6, times[count / 2], times[count * 99 / 100]);
	sqlite3_finalize(find);
	sqlite3_close(database);
	return 0;
}
