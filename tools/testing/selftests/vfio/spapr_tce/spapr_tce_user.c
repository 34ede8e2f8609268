// SPDX-License-Identifier: GPL-2.0
/*
 * An ordinary user, without any capability, who was given the group's file and a limit of
 * locked memory: the limit that the documentation tells to set suffices to the page, and a
 * page less is refused without a trace.
 */
#include <grp.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <linux/capability.h>

#include "fixture.h"

#define USER		1000
#define HARD_LIMIT	(256 * MB)

FIXTURE(user)
{
	struct spapr_state st;
	char path[32];
	long pages;
};

FIXTURE_VARIANT(user)
{
	uint64_t size;
	unsigned int shift;
	unsigned int levels;
};

FIXTURE_VARIANT_ADD(user, 64K_1_level) { WIN_SIZE, SHIFT_64K, 1 };
FIXTURE_VARIANT_ADD(user, 64K_2_levels) { 16 * GB, SHIFT_64K, 2 };
FIXTURE_VARIANT_ADD(user, 4K_1_level) { WIN_SIZE, SHIFT_4K, 1 };

FIXTURE_SETUP(user)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);
	struct vfio_iommu_spapr_tce_info info;

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, spapr_get_info(self->st.s.container, &info));
	if (info.ddw.max_dynamic_windows_supported < 2 || info.ddw.levels < 2)
		SKIP(return, "firmware has the tables, or there is one window only");
	spapr_teardown(&self->st.s);
	snprintf(self->path, sizeof(self->path), "/dev/vfio/%d", self->st.dev[0].group_id);
	self->pages = MEM_SIZE / spapr_page_size();
}

FIXTURE_TEARDOWN(user)
{
	EXPECT_EQ(0, chown(self->path, 0, 0));
	EXPECT_TRUE(state_end(&self->st));
}

/* ---- in the user's process, which ends with the first surprise ---- */

static void want(long long expected, long long got, const char *what)
{
	if (got == expected)
		return;
	printf("# the user got %lld, not %lld: %s\n", got, expected, what);
	fflush(stdout);
	_exit(KSFT_FAIL);
}

#define WANT(_expected, _call)	want(_expected, _call, #_call)

/* One of them would lift the limit. */
static int capabilities(void)
{
	struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct data[2];

	if (syscall(SYS_capget, &header, data))
		return -errno;
	return data[0].effective || data[1].effective || data[0].permitted || data[1].permitted;
}

static int limit_to(rlim_t bytes)
{
	struct rlimit memlock = { bytes, HARD_LIMIT };

	return setrlimit(RLIMIT_MEMLOCK, &memlock);
}

static void become_user(void)
{
	WANT(0, limit_to(HARD_LIMIT));
	WANT(0, setgroups(0, NULL));
	WANT(0, setresgid(USER, USER, USER));
	WANT(0, setresuid(USER, USER, USER));
	WANT(0, capabilities());
}

/* The TCEs of all levels twice, in whole pages; a level has 512 entries or more. */
static uint64_t table_bytes(uint64_t size, unsigned int shift, unsigned int levels)
{
	const uint64_t page = spapr_page_size();
	uint64_t entries = size >> shift, level, count = 0;
	unsigned int bits, i;

	bits = (__builtin_ctzll(entries) + levels - 1) / levels;
	if (bits < 9)
		bits = 9;
	level = 1UL << bits;
	for (i = 0; i < levels; i++) {
		entries = (entries + level - 1) / level;
		count += entries;
	}
	return (2 * 8 * level * count + page - 1) / page * page;
}

/* The parent, who may, looks what is pinned. */
static void look(void)
{
	raise(SIGSTOP);
}

static bool does_dma(int group, const struct spapr_device *dev, char *mem)
{
	struct nvme nvme;
	int device = spapr_open_device(group, dev);
	bool ok = device >= 0 && !nvme_start(&nvme, device, mem, 0) &&
		  nvme_round_trip(&nvme, mem, 0, MB, 2 * MB) &&
		  nvme_round_trip(&nvme, mem, WINDOW1, 3 * MB, 4 * MB);

	if (device >= 0) {
		nvme_stop(&nvme);
		close(device);
	}
	return ok;
}

static void lives_within_limits(const struct spapr_device *dev, uint64_t size,
				unsigned int shift, unsigned int levels)
{
	const uint64_t page = spapr_page_size(), table = table_bytes(size, shift, levels);
	struct vfio_iommu_spapr_tce_info info;
	struct spapr_setup s;
	uint64_t start, sum = MEM_SIZE;
	char *mem, *more;

	become_user();
	mem = spapr_memory(MEM_SIZE, MEM_ALIGN);
	more = spapr_memory(PAGE_64K, PAGE_64K);
	WANT(0, spapr_setup(&s, dev, VFIO_SPAPR_TCE_v2_IOMMU));
	WANT(0, spapr_get_info(s.container, &info));

	WANT(0, limit_to(sum - page));
	WANT(-ENOMEM, spapr_register(s.container, mem, MEM_SIZE));
	WANT(0, spapr_vmlck_kb());
	look();
	WANT(0, limit_to(sum));
	WANT(0, spapr_register(s.container, mem, MEM_SIZE));
	WANT(sum / KB, spapr_vmlck_kb());
	look();

	/* The default window, of 4K pages and one level, is made by the first MAP. */
	sum += table_bytes(info.dma32_window_size, SHIFT_4K, 1);
	WANT(0, limit_to(sum - page));
	WANT(-ENOMEM, spapr_map(s.container, 0, mem, MEM_SIZE, MAP_RW));
	WANT(MEM_SIZE / KB, spapr_vmlck_kb());
	WANT(0, limit_to(sum));
	WANT(0, spapr_map(s.container, 0, mem, MEM_SIZE, MAP_RW));
	WANT(sum / KB, spapr_vmlck_kb());

	sum += table;
	WANT(0, limit_to(sum - page));
	WANT(-ENOMEM, spapr_create(s.container, shift, size, levels, &start));
	WANT((sum - table) / KB, spapr_vmlck_kb());
	WANT(0, limit_to(sum));
	WANT(0, spapr_create(s.container, shift, size, levels, &start));
	WANT(WINDOW1, start);
	WANT(sum / KB, spapr_vmlck_kb());
	WANT(-ENOMEM, spapr_register(s.container, more, page));
	look();

	/* Levels that MAP adds are paid for; and a device needs nothing more. */
	WANT(0, spapr_map(s.container, start, mem, MEM_SIZE, MAP_RW));
	WANT(true, does_dma(s.group, dev, mem));
	WANT(sum / KB, spapr_vmlck_kb());

	/* Whoever is over a new limit can go on, and give back. */
	WANT(0, limit_to(0));
	WANT(0, spapr_unmap(s.container, 0, MEM_SIZE));
	WANT(0, spapr_map(s.container, 0, mem, MEM_SIZE, MAP_RW));
	WANT(0, spapr_remove(s.container, start));
	WANT((sum - table) / KB, spapr_vmlck_kb());
	WANT(0, spapr_remove(s.container, 0));
	WANT(0, spapr_unregister(s.container, mem, MEM_SIZE));
	WANT(0, spapr_vmlck_kb());
	WANT(-ENOMEM, spapr_register(s.container, more, page));
	look();
	_exit(KSFT_PASS);
}

static void is_not_let_in(const struct spapr_device *dev)
{
	become_user();
	WANT(-EACCES, spapr_open_group(dev));
	_exit(KSFT_PASS);
}

/* ---- in the parent ---- */

/* What is pinned while the user waits; -1 when there is no user any more. */
static long pinned_meanwhile(pid_t pid)
{
	long pins = -1;
	int status;

	if (waitpid(pid, &status, WUNTRACED) == pid && WIFSTOPPED(status)) {
		pins = spapr_pins_held();
		kill(pid, SIGCONT);
	}
	return pins;
}

static int ended(pid_t pid)
{
	int status;

	return waitpid(pid, &status, 0) == pid && WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

TEST_F(user, limit_is_exact)
{
	const long pins = self->st.pins;
	pid_t pid;

	ASSERT_EQ(0, chown(self->path, USER, USER));
	fflush(stdout);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		lives_within_limits(&self->st.dev[0], variant->size, variant->shift,
				    variant->levels);
	EXPECT_EQ(pins, pinned_meanwhile(pid));			/* refused */
	EXPECT_EQ(pins + self->pages, pinned_meanwhile(pid));	/* registered */
	EXPECT_EQ(pins + self->pages, pinned_meanwhile(pid));	/* at the limit */
	EXPECT_EQ(pins, pinned_meanwhile(pid));			/* given back */
	EXPECT_EQ(KSFT_PASS, ended(pid));
}

TEST_F(user, group_of_somebody_else)
{
	pid_t pid;

	fflush(stdout);
	pid = fork();
	ASSERT_LE(0, pid);
	if (!pid)
		is_not_let_in(&self->st.dev[0]);
	EXPECT_EQ(KSFT_PASS, ended(pid));
}

TEST_HARNESS_MAIN
