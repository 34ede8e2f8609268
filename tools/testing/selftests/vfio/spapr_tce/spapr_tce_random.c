// SPDX-License-Identifier: GPL-2.0
/*
 * Threads that do whatever comes to their mind: all calls with arguments that are right,
 * almost right or nonsense, in two containers of either type, while groups come and go,
 * device files are opened and closed, the memory below is unmapped, protected and given
 * back, and children are forked that call, too. Each result must be one that the calls
 * are documented to give; in the end nothing is lost and a device does DMA as ever.
 *
 * SPAPR_TCE_SEED	where the random numbers begin (printed; with several threads the
 *			calls are the same again, but not their order)
 * SPAPR_TCE_SECONDS	how long it lasts (by default, some thousand calls)
 */
#include <fcntl.h>
#include <pthread.h>
#include <time.h>
#include <sys/wait.h>

#include "fixture.h"
#include "lib/storm.h"

#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT	storm_timeout()

#define THREADS		4
#define CALLS		10000	/* of each thread */
#define PIECES		16	/* of the memory, a megabyte each */

struct world {
	struct spapr_device dev[2];
	int ndev;
	int container[2];
	int group[2];
	int device[2];		/* files, or -1 */
	char *mem;
	struct storm storm;
};

/*
 * What a call may say besides 0; in a v1 container some, without a group all do not exist, and
 * the last group may leave under it.
 */
#define ANYWHERE	(E(EINVAL) | E(ENOTTY) | E(EPERM) | E(EFAULT) | E(ENXIO))

enum call {
	CALL_MAP, CALL_UNMAP, CALL_UNMAP_ALL, CALL_REGISTER, CALL_UNREGISTER, CALL_CREATE,
	CALL_REMOVE, CALL_INFO, CALL_ENABLE, CALL_DISABLE, CALL_EEH, CALL_EXTENSION, CALL_NONSENSE,
	CALL_JOIN, CALL_LEAVE, CALL_DEVICE, CALL_MEMORY, CALL_FORK, NR_CALLS,
};

struct kind {
	const char *name;
	unsigned int weight;
	unsigned long long may;		/* errnos */
	int most;			/* the largest result */
	bool must;			/* some of them succeed */
};

static const struct kind kinds[NR_CALLS] = {
	[CALL_MAP] = { "MAP", 300, ANYWHERE | E(ENODEV) | E(ENOMEM), 0, true },
	[CALL_UNMAP] = { "UNMAP", 200, ANYWHERE, 0, true },
	[CALL_UNMAP_ALL] = { "UNMAP_ALL", 40, ANYWHERE, 0, true },
	[CALL_REGISTER] = { "REGISTER", 200, ANYWHERE | E(EBUSY) | E(ENOMEM), 0, true },
	[CALL_UNREGISTER] = { "UNREGISTER", 60, ANYWHERE | E(EBUSY) | E(ENOENT), 0, true },
	[CALL_CREATE] = { "CREATE", 60, ANYWHERE | E(ENOSPC) | E(ENOMEM), 0, true },
	[CALL_REMOVE] = { "REMOVE", 30, ANYWHERE, 0, true },
	[CALL_INFO] = { "GET_INFO", 40, ANYWHERE, 0, true },
	[CALL_ENABLE] = { "ENABLE", 20, ANYWHERE | E(EBUSY) | E(ENOMEM), 0, false },
	[CALL_DISABLE] = { "DISABLE", 6, ANYWHERE, 0, false },
	[CALL_EEH] = { "EEH", 20, ANYWHERE | E(ENODEV), 5, false },
	[CALL_EXTENSION] = { "CHECK_EXTENSION", 20, ANYWHERE, 1, true },
	[CALL_NONSENSE] = { "nonsense", 60, ANYWHERE | E(EBUSY) | E(ENOENT) | E(ENOSPC) |
					    E(ENOMEM) | E(ENODEV), 5, false },
	[CALL_JOIN] = { "join", 20, ANYWHERE | E(EBUSY) | E(ENODEV), 0, true },
	[CALL_LEAVE] = { "leave", 3, ANYWHERE | E(EBUSY), 0, true },
	[CALL_DEVICE] = { "device", 10, ANYWHERE | E(ENODEV) | E(EBUSY), 0, true },
	[CALL_MEMORY] = { "memory", 60, E(EINVAL) | E(EAGAIN) | E(ENOMEM) | E(EBUSY), 0, true },
	[CALL_FORK] = { "fork", 2, 0, 0, true },
};

struct thread {
	pthread_t thread;
	struct world *world;
	uint64_t random;
	unsigned long calls[NR_CALLS];
	unsigned long good[NR_CALLS];
	int unexpected[NR_CALLS];
};

/* ---- arguments ---- */

static uint64_t below(struct thread *t, uint64_t n)
{
	return storm_random(&t->random) % n;
}

static bool one_in(struct thread *t, unsigned int n)
{
	return !below(t, n);
}

static int some_container(struct thread *t)
{
	return t->world->container[below(t, 2)];
}

/* Bounds that many calls will agree about, now and then slightly wrong or worse. */
static uint64_t spoil(struct thread *t, uint64_t value)
{
	if (!one_in(t, 12))
		return value;
	switch (below(t, 5)) {
	case 0:
		return value + 1;
	case 1:
		return value - PAGE_64K;
	case 2:
		return -value;
	case 3:
		return value ^ 1ULL << below(t, 64);
	default:
		return storm_random(&t->random);
	}
}

static void *some_memory(struct thread *t)
{
	uint64_t piece = (uintptr_t)t->world->mem + below(t, PIECES) * MB;

	return (void *)spoil(t, one_in(t, 4) ? piece + below(t, 16) * PAGE_64K : piece);
}

static uint64_t some_size(struct thread *t)
{
	static const uint64_t sizes[] = { PAGE_64K, 4 * PAGE_64K, MB, 2 * MB };

	return spoil(t, sizes[below(t, ARRAY_SIZE(sizes))]);
}

/* Regions are whole pieces as a rule, so that threads meet at the same ones. */
static int some_region(struct thread *t, int (*call)(int c, void *va, uint64_t size))
{
	char *piece = t->world->mem + below(t, PIECES) * MB;
	int c = some_container(t);

	return one_in(t, 8) ? call(c, some_memory(t), some_size(t)) : call(c, piece, MB);
}

static uint64_t some_iova(struct thread *t)
{
	uint64_t iova = below(t, 64) * PAGE_64K;

	return spoil(t, one_in(t, 3) ? iova : WINDOW1 + iova);
}

/* ---- calls ---- */

static int do_create(struct thread *t)
{
	static const unsigned int shifts[] = { SHIFT_64K, SHIFT_64K, SHIFT_64K, SHIFT_4K, 21, 13 };
	unsigned int bits = 22 + below(t, 20), levels = below(t, 7);
	uint64_t start = 0;
	int ret;

	ret = spapr_create(some_container(t), spoil(t, shifts[below(t, ARRAY_SIZE(shifts))]),
			   spoil(t, 1ULL << bits), levels, &start);
	return !ret && start && start != WINDOW1 ? -ERANGE : ret;
}

static int do_unmap_all(struct thread *t)
{
	uint64_t size = 0;
	int ret = spapr_unmap_all(some_container(t), &size);

	return !ret && size % (4 * KB) ? -ERANGE : ret;
}

static int do_info(struct thread *t)
{
	struct vfio_iommu_spapr_tce_info info;
	int ret = spapr_get_info(some_container(t), &info);

	return !ret && !info.dma32_window_size ? -ERANGE : ret;
}

/* Resets would stop the device for good: ask for its state, or for what does not exist. */
static int do_eeh(struct thread *t)
{
	return spapr_eeh_op(some_container(t),
			    one_in(t, 4) ? 100 + below(t, 100) : VFIO_EEH_PE_GET_STATE);
}

static int do_nonsense(struct thread *t)
{
	unsigned int nr = VFIO_BASE + below(t, 40), i;
	uint64_t arg[24];

	/* SET_IOMMU takes no structure; a random EEH operation might be a reset. */
	if (_IO(VFIO_TYPE, nr) == VFIO_SET_IOMMU || _IO(VFIO_TYPE, nr) == VFIO_EEH_PE_OP)
		nr = VFIO_BASE + 60;
	for (i = 0; i < ARRAY_SIZE(arg); i++)
		arg[i] = one_in(t, 2) ? below(t, 128) : storm_random(&t->random);
	return spapr_ioctl(some_container(t), _IO(VFIO_TYPE, nr),
			   one_in(t, 4) ? (void *)storm_random(&t->random) : arg);
}

/* A group that is in no container goes into one, whose type the first group decides. */
static int do_join(struct thread *t)
{
	int c = some_container(t), ret;

	ret = spapr_set_container(t->world->group[below(t, t->world->ndev)], c);
	if (ret)
		return ret;
	return spapr_set_iommu(c, one_in(t, 4) ? VFIO_SPAPR_TCE_IOMMU : VFIO_SPAPR_TCE_v2_IOMMU);
}

static int do_device(struct thread *t)
{
	int i = below(t, t->world->ndev), fd = -1;

	if (!one_in(t, 3)) {
		fd = spapr_open_device(t->world->group[i], &t->world->dev[i]);
		if (fd < 0)
			return fd;
	}
	fd = __atomic_exchange_n(&t->world->device[i], fd, __ATOMIC_ACQ_REL);
	if (fd >= 0)
		close(fd);
	return 0;
}

/* What a process may do to its memory while the device has it. */
static int do_memory(struct thread *t)
{
	static const int advice[] = {
		MADV_DONTNEED, MADV_HUGEPAGE, MADV_NOHUGEPAGE, MADV_DONTFORK, MADV_DOFORK,
	};
	char *piece = t->world->mem + below(t, PIECES) * MB + below(t, 4) * 4 * PAGE_64K;
	size_t size = 4 * PAGE_64K;
	int ret = 0;

	switch (below(t, 4)) {
	case 0:
		ret = munmap(piece, size);
		break;
	case 1:
		ret = mprotect(piece, size, one_in(t, 3) ? PROT_READ : PROT_NONE);
		break;
	case 2:
		ret = madvise(piece, size, advice[below(t, ARRAY_SIZE(advice))]);
		break;
	}
	if (ret)
		return -errno;
	if (one_in(t, 8))
		return 0;
	/* As it was, or there would soon be nothing left to pin. */
	piece = mmap(piece, size, PROT_READ | PROT_WRITE,
		     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	return piece == MAP_FAILED ? -errno : 0;
}

static int do_call(struct thread *t, enum call call);

/* The child has the same files and another mm. It calls, and ends or is killed. */
static int do_fork(struct thread *t)
{
	bool killed = one_in(t, 2);
	int status, i;
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	for (i = 0; !pid && (i < 20 || killed); i++)
		do_call(t, below(t, CALL_JOIN));
	if (!pid)
		_exit(0);
	if (killed) {
		usleep(below(t, 20000));
		kill(pid, SIGKILL);
	}
	return waitpid(pid, &status, 0) == pid ? 0 : -errno;
}

static int do_call(struct thread *t, enum call call)
{
	int c = some_container(t);

	switch (call) {
	case CALL_MAP:
		return spapr_map(c, some_iova(t), some_memory(t), some_size(t),
				 one_in(t, 8) ? below(t, 8) : MAP_RW);
	case CALL_UNMAP:
		return spapr_unmap(c, some_iova(t), some_size(t));
	case CALL_UNMAP_ALL:
		return do_unmap_all(t);
	case CALL_REGISTER:
		return some_region(t, spapr_register);
	case CALL_UNREGISTER:
		return some_region(t, spapr_unregister);
	case CALL_CREATE:
		return do_create(t);
	case CALL_REMOVE:
		return spapr_remove(c, spoil(t, one_in(t, 3) ? 0 : WINDOW1));
	case CALL_INFO:
		return do_info(t);
	case CALL_ENABLE:
		return spapr_ioctl(c, VFIO_IOMMU_ENABLE, NULL);
	case CALL_DISABLE:
		return spapr_ioctl(c, VFIO_IOMMU_DISABLE, NULL);
	case CALL_EEH:
		return do_eeh(t);
	case CALL_EXTENSION:
		return spapr_ioctl(c, VFIO_CHECK_EXTENSION, (void *)spoil(t, below(t, 16)));
	case CALL_NONSENSE:
		return do_nonsense(t);
	case CALL_JOIN:
		return do_join(t);
	case CALL_LEAVE:
		return spapr_unset_container(t->world->group[below(t, t->world->ndev)]);
	case CALL_DEVICE:
		return do_device(t);
	case CALL_MEMORY:
		return do_memory(t);
	default:
		return do_fork(t);
	}
}

static enum call choose(struct thread *t)
{
	unsigned int sum = 0, i, at;

	for (i = 0; i < NR_CALLS; i++)
		sum += kinds[i].weight;
	at = below(t, sum);
	for (i = 0; at >= kinds[i].weight; i++)
		at -= kinds[i].weight;
	return i;
}

static void *thread_run(void *arg)
{
	struct thread *t = arg;
	unsigned long n;
	enum call call;
	int ret;

	for (n = 0; !storm_is_over(&t->world->storm, n); n++) {
		call = choose(t);
		ret = do_call(t, call);
		t->calls[call]++;
		if (ret >= 0 && ret <= kinds[call].most)
			t->good[call]++;
		else if (!spapr_says_one_of(ret, kinds[call].may))
			t->unexpected[call] = ret;
	}
	return NULL;
}

/* ---- begin and end ---- */

static bool world_begin(struct world *w)
{
	int i;

	memset(w, 0, sizeof(*w));
	w->ndev = spapr_find_devices(w->dev, 2);
	w->mem = spapr_memory(PIECES * MB, MEM_ALIGN);
	for (i = 0; i < 2; i++) {
		w->container[i] = spapr_open_container();
		w->device[i] = -1;
		w->group[i] = i < w->ndev ? spapr_open_group(&w->dev[i]) : -1;
		if (w->container[i] < 0 || (i < w->ndev && w->group[i] < 0))
			return false;
	}
	storm_begin(&w->storm, CALLS);
	return w->ndev > 0;
}

static void world_end(struct world *w)
{
	int i;

	for (i = 0; i < 2; i++) {
		if (w->device[i] >= 0)
			close(w->device[i]);
		if (w->group[i] >= 0)
			close(w->group[i]);
		close(w->container[i]);
	}
	munmap(w->mem, PIECES * MB);
}

static void report(struct __test_metadata *_metadata, const struct thread *threads)
{
	int call, i;

	for (call = 0; call < NR_CALLS; call++) {
		unsigned long calls = 0, good = 0;

		for (i = 0; i < THREADS; i++) {
			calls += threads[i].calls[call];
			good += threads[i].good[call];
			EXPECT_EQ(0, threads[i].unexpected[call])
				TH_LOG("%s: result %d", kinds[call].name,
				       threads[i].unexpected[call]);
		}
		TH_LOG("%-15s %7lu calls, %7lu succeeded", kinds[call].name, calls, good);
		if (kinds[call].must)
			EXPECT_LT(0, good);
	}
}

/* Once through; @seed decides what the threads do. */
static void once(struct __test_metadata *_metadata, uint64_t seed)
{
	struct thread threads[THREADS] = { };
	struct world world;
	int i;

	ASSERT_TRUE(world_begin(&world));
	for (i = 0; i < THREADS; i++) {
		threads[i].world = &world;
		threads[i].random = (seed + i) * 0x9e3779b97f4a7c15ULL | 1;
		ASSERT_EQ(0, pthread_create(&threads[i].thread, NULL, thread_run, &threads[i]));
	}
	for (i = 0; i < THREADS; i++)
		pthread_join(threads[i].thread, NULL);
	world_end(&world);
	report(_metadata, threads);
}

/* A container as anybody would use it. */
static void works_as_ever(struct __test_metadata *_metadata)
{
	struct spapr_state st;
	const char *why = state_begin(&st, 1, VFIO_SPAPR_TCE_v2_IOMMU);
	struct nvme nvme;
	uint64_t start;
	int device;

	ASSERT_EQ(NULL, why);
	ASSERT_EQ(0, spapr_register(st.s.container, st.mem, MEM_SIZE));
	ASSERT_EQ(0, spapr_create(st.s.container, SHIFT_64K, WIN_SIZE, 2, &start));
	ASSERT_EQ(0, spapr_map(st.s.container, start, st.mem, MEM_SIZE, MAP_RW));
	device = spapr_open_device(st.s.group, &st.dev[0]);
	ASSERT_LE(0, device);
	EXPECT_EQ(0, nvme_start(&nvme, device, st.mem, start));
	EXPECT_TRUE(nvme_round_trip(&nvme, st.mem, start, MB, 2 * MB));
	nvme_stop(&nvme);
	close(device);
	EXPECT_TRUE(state_end(&st));
	munmap(st.mem, MEM_SIZE);
}

FIXTURE(world)
{
	long vmlck, pins;
};

FIXTURE_SETUP(world)
{
	struct spapr_device dev;

	if (!type_supported(VFIO_SPAPR_TCE_v2_IOMMU) || !spapr_find_devices(&dev, 1))
		SKIP(return, "no container of this type, or no NVMe controller for vfio-pci");
	if (spapr_page_size() < PAGE_64K && !spapr_thp_size())
		SKIP(return, "small kernel pages without transparent hugepages");
	self->vmlck = spapr_vmlck_kb();
	self->pins = spapr_pins_held();
}

FIXTURE_TEARDOWN(world)
{
	EXPECT_EQ(self->vmlck, spapr_vmlck_kb());
	EXPECT_EQ(self->pins, spapr_pins_held());
}

TEST_F(world, I8_random_calls_lose_nothing)
{
	uint64_t seed = spapr_env("SPAPR_TCE_SEED", time(NULL));
	const long slack = memory_slack_kb();
	long slab, memfree;
	int i;

	TH_LOG("SPAPR_TCE_SEED=%lu", (unsigned long)seed);
	/* The first round fills the caches of the allocators. */
	once(_metadata, seed);
	EXPECT_EQ(self->vmlck, spapr_vmlck_kb());
	slab = spapr_meminfo_kb("Slab");
	memfree = spapr_memfree_kb();
	once(_metadata, seed + THREADS);
	for (i = 0; i < 300 && (spapr_meminfo_kb("Slab") > slab + SLAB_SLACK_KB ||
				spapr_memfree_kb() < memfree - slack ||
				spapr_pins_held() != self->pins); i++)
		usleep(100000);
	EXPECT_TRUE(spapr_meminfo_kb("Slab") <= slab + SLAB_SLACK_KB ||
		    freed_memory_is_kept());
	EXPECT_TRUE(spapr_memfree_kb() >= memfree - slack ||
		    freed_memory_is_kept());
	EXPECT_EQ(self->pins, spapr_pins_held());
	works_as_ever(_metadata);
}

TEST_HARNESS_MAIN
