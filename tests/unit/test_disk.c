/* Which disks nobody can write to, by the lines of /proc/self/mountinfo. */
#include "disk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void the_disks_own_options_count(void **state)
{
	static const struct {
		const char *line;
		bool read_only;
	} rows[] = {
		{"95 75 8:1 / /var rw,relatime shared:1 - ext4 /dev/sda1 rw,errors=remount-ro\n", false},
		{"95 75 8:1 / /var ro,relatime shared:1 - ext4 /dev/sda1 ro,errors=remount-ro\n", true},
		{"95 75 8:1 / /var ro,relatime shared:1 - ext4 /dev/sda1 ro\n", true},
		{"95 75 8:1 / /var rw,relatime - ext4 /dev/sda1 rw,ro\n", true},
		{"95 75 8:1 / /var rw,relatime - ext4 /dev/sda1 rw,abort,emergency_ro\n", true},
		{"95 75 8:1 / /var rw,relatime - ext4 /dev/sda1 rw,ro_more,rota\n", false},
		/* one mount of it alone */
		{"95 75 8:1 / /var ro,relatime shared:1 master:2 - ext4 /dev/sda1 rw\n", false},
		{"95 75 0:31 / /a\\040-\\040b ro - tmpfs tmpfs rw,size=1024k\n", false},
		{"95 75 8:1 / /var ro,relatime\n", false},
		{"", false},
	};

	(void)state;
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (disk_line_says_read_only(rows[i].line) != rows[i].read_only)
			fail_msg("%s", rows[i].line);
}

static void a_disk_in_use_is_none_of_them(void **state)
{
	(void)state;
	assert_false(disk_is_read_only("/tmp"));
	assert_false(disk_is_read_only("/tmp/there/is/no/such/file"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_disks_own_options_count),
		cmocka_unit_test(a_disk_in_use_is_none_of_them),
	};

	return cmocka_run_group_tests_name("disk", tests, NULL, NULL);
}
