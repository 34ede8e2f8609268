// SPDX-License-Identifier: GPL-2.0
/*
 * A call that pins or lets go of much memory delays nobody.
 *
 * SPAPR_TCE_LONG_MB	how much memory that is (32768 pages, which are 2 GiB where a page has
 *			64K, or less where memory is short)
 *
 * Nothing here measures time: an emulated processor may be stopped at any moment. What
 * counts is how much work a long call has done between two short ones, how many short
 * ones came through meanwhile, and how often their thread had to sleep.
 */
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <time.h>
#include <sys/resource.h>

#include "fixture.h"

#define CHUNK		512	/* pages that the kernel pins, or lets go, in one go */
#define CHUNKS		4	/* how many may pass between two looks */
#define MAX_LOOKS	100000

/*
 * A thread that maps and unmaps a page over and over, and looks how far the long call
 * is: on a processor of its own after every few pairs, on that of the long call after
 * each. There it goes first whenever it wakes up, but the kernel only switches where the
 * long call offers it.
 */
struct mapper {
	int c;
	char *mem;
	uint64_t base;
	bool same_cpu;
	const char *counter;	/* the work of the long call, in pages */
	bool over;
	int bad;
	unsigned long pairs;
	unsigned long slept;	/* pairs in which the thread had to wait */
	unsigned long looks;
	long seen[MAX_LOOKS];
};

static int run_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	return sched_setaffinity(0, sizeof(set), &set);
}

static long times_slept(void)
{
	struct rusage usage;

	getrusage(RUSAGE_THREAD, &usage);
	return usage.ru_nvcsw;
}

/* A counter in the open file @vmstat; quick, and without what processors still keep. */
static long look(int vmstat, const char *counter)
{
	char text[4096], *found;
	ssize_t n = pread(vmstat, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return -1;
	text[n] = '\0';
	found = strstr(text, counter);
	return found ? atol(found + strlen(counter)) : -1;
}

static bool is_over(const struct mapper *m)
{
	return __atomic_load_n(&m->over, __ATOMIC_ACQUIRE) || m->looks >= MAX_LOOKS;
}

static void *mapper_run(void *arg)
{
	const struct timespec moment = { .tv_nsec = 20000 };
	const struct sched_param first = { .sched_priority = 1 };
	int vmstat = open("/proc/vmstat", O_RDONLY);
	struct mapper *m = arg;
	long slept;

	m->bad = run_on(!m->same_cpu);
	if (m->same_cpu)
		m->bad |= sched_setscheduler(0, SCHED_FIFO, &first);
	while (!is_over(m)) {
		if (m->same_cpu)
			nanosleep(&moment, NULL);
		slept = times_slept();
		m->bad |= spapr_map(m->c, m->base, m->mem, PAGE_64K, MAP_RW);
		m->bad |= spapr_unmap(m->c, m->base, PAGE_64K);
		m->slept += times_slept() != slept;
		__atomic_store_n(&m->pairs, m->pairs + 1, __ATOMIC_RELEASE);
		if (!m->same_cpu && m->pairs % CHUNKS)
			continue;
		m->seen[m->looks] = look(vmstat, m->counter);
		__atomic_store_n(&m->looks, m->looks + 1, __ATOMIC_RELEASE);
	}
	close(vmstat);
	return NULL;
}

#define LONG_PAGES	32768

FIXTURE(much)
{
	struct spapr_state st;
	struct spapr_setup other;
	struct mapper *m;
	char *mem;
	size_t size;
};

FIXTURE_VARIANT(much)
{
	bool same_cpu;
};

FIXTURE_VARIANT_ADD(much, on_another_processor) { .same_cpu = false };
FIXTURE_VARIANT_ADD(much, on_the_same_processor) { .same_cpu = true };

/* If that leaves enough to live on. */
static size_t much_memory(void)
{
	long most = LONG_PAGES * spapr_page_size() / MB;
	long mb = spapr_meminfo_kb("MemAvailable") / 1024 - 512;

	mb = spapr_env("SPAPR_TCE_LONG_MB", mb > most ? most : mb & -64L);
	return mb < 128 ? 0 : mb * MB;
}

FIXTURE_SETUP(much)
{
	const char *why = state_begin(&self->st, 1, VFIO_SPAPR_TCE_v2_IOMMU);

	if (why)
		SKIP(return, "%s", why);
	self->size = much_memory();
	self->other.container = -1;
	if (!self->size || sysconf(_SC_NPROCESSORS_ONLN) < 2)
		SKIP(return, "needs two processors and 640 MB");
	self->m = calloc(1, sizeof(*self->m));
	ASSERT_NE(NULL, self->m);
	memset(self->m, 0, sizeof(*self->m));	/* no page faults later on */
	self->m->c = self->st.s.container;
	self->m->mem = self->st.mem;
	self->m->same_cpu = variant->same_cpu;
	ASSERT_EQ(0, spapr_register(self->m->c, self->m->mem, MEM_SIZE));
	/* The default window's table is one large piece, so it comes before memory is short. */
	ASSERT_EQ(0, spapr_create(self->m->c, SHIFT_64K, WIN_SIZE, 2, &self->m->base));
	self->mem = mmap(NULL, self->size, PROT_READ | PROT_WRITE,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	ASSERT_NE(MAP_FAILED, self->mem);
	if (spapr_thp_size())
		ASSERT_EQ(0, madvise(self->mem, self->size, MADV_NOHUGEPAGE));
	memset(self->mem, 1, self->size);
	ASSERT_EQ(0, run_on(0));
}

FIXTURE_TEARDOWN(much)
{
	free(self->m);
	if (self->other.container >= 0)
		spapr_teardown(&self->other);
	EXPECT_TRUE(state_end(&self->st));
}

static int by_number(const void *a, const void *b)
{
	long one = *(const long *)a, two = *(const long *)b;

	return (one > two) - (one < two);
}

/*
 * Whether the long call of @pages pages let enough pairs through: what counts are the
 * looks between @first and @end that saw it in the middle of its work.
 */
static bool judge(struct __test_metadata *_metadata, struct mapper *m, const char *what,
		  unsigned long first, unsigned long end, unsigned long pages)
{
	/* Each processor keeps up to 125 pages to itself before it adds them up. */
	const long slack = 125 * sysconf(_SC_NPROCESSORS_ONLN);
	const long begin = m->seen[first] + slack, done = m->seen[first] + pages - slack;
	unsigned long n = 0, i;
	long *grown;

	while (first + 1 < end && m->seen[first + 1] <= begin)
		first++;
	while (first + n + 1 < end && m->seen[first + n + 1] < done)
		n++;
	grown = &m->seen[first];
	for (i = 0; i < n; i++)
		grown[i] = grown[i + 1] - grown[i];
	qsort(grown, n, sizeof(*grown), by_number);
	TH_LOG("%s of %lu pages: %lu looks, slept %lu; pages between: 50%% %ld, 90%% %ld, all %ld",
	       what, pages, n, m->slept, n ? grown[n / 2] : -1, n ? grown[n * 9 / 10] : -1,
	       n ? grown[n - 1] : -1);
	EXPECT_EQ(0, m->bad);
	EXPECT_GE(4, m->slept);
	return n >= pages / CHUNK / CHUNKS && grown[n * 9 / 10] <= CHUNKS * CHUNK + slack;
}

/*
 * @call works on all the memory while another thread maps and unmaps a page. A busy
 * host may spoil a round, a kernel that lets others wait spoils all.
 */
static bool long_call(struct __test_metadata *_metadata, struct _test_data_much *self,
		      const char *what, const char *counter, int (*call)(struct _test_data_much *))
{
	struct mapper *m = self->m;
	pthread_t mapper;
	unsigned long first, end;
	int ret;

	m->counter = counter;
	m->over = false;
	m->pairs = 0;
	m->slept = 0;
	m->looks = 0;
	ASSERT_EQ(0, pthread_create(&mapper, NULL, mapper_run, m));
	while (!__atomic_load_n(&m->looks, __ATOMIC_ACQUIRE))
		sched_yield();

	first = __atomic_load_n(&m->looks, __ATOMIC_ACQUIRE) - 1;
	ret = call(self);
	end = __atomic_load_n(&m->looks, __ATOMIC_ACQUIRE);
	__atomic_store_n(&m->over, true, __ATOMIC_RELEASE);
	pthread_join(mapper, NULL);
	EXPECT_EQ(0, ret);
	return judge(_metadata, m, what, first, end, self->size / spapr_page_size());
}

static int much_register(struct _test_data_much *self)
{
	return spapr_register(self->m->c, self->mem, self->size);
}

static int much_unregister(struct _test_data_much *self)
{
	return spapr_unregister(self->m->c, self->mem, self->size);
}

static int much_close(struct _test_data_much *self)
{
	spapr_teardown(&self->other);
	return 0;
}

#define TRIES	40

TEST_F(much, R5_register_and_unregister)
{
	bool reg = false, unreg = false;
	int i;

	for (i = 0; i < TRIES && !(reg && unreg); i++) {
		reg |= long_call(_metadata, self, "REGISTER", "nr_foll_pin_acquired",
				 much_register);
		unreg |= long_call(_metadata, self, "UNREGISTER", "nr_foll_pin_released",
				   much_unregister);
	}
	EXPECT_TRUE(reg);
	EXPECT_TRUE(unreg);
}

TEST_F(much, R5_register_of_memory_without_pages)
{
	bool fine = false;
	int i;

	for (i = 0; i < TRIES && !fine; i++) {
		ASSERT_EQ(0, madvise(self->mem, self->size, MADV_DONTNEED));
		fine = long_call(_metadata, self, "REGISTER", "nr_foll_pin_acquired",
				 much_register);
		ASSERT_EQ(0, much_unregister(self));
	}
	EXPECT_TRUE(fine);
}

TEST_F(much, R5_close_of_another_container)
{
	bool fine = false;
	uint64_t start;
	int i;

	if (self->st.ndev < 2)
		SKIP(return, "needs two groups");
	for (i = 0; i < TRIES && !fine; i++) {
		ASSERT_EQ(0, spapr_setup(&self->other, &self->st.dev[1], VFIO_SPAPR_TCE_v2_IOMMU));
		ASSERT_EQ(0, spapr_register(self->other.container, self->mem, self->size));
		ASSERT_EQ(0, spapr_remove(self->other.container, 0));
		ASSERT_EQ(0, spapr_create(self->other.container, SHIFT_4K, 4 * GB, 2, &start));
		ASSERT_EQ(0, spapr_map(self->other.container, start, self->mem, self->size,
				       MAP_RW));
		fine = long_call(_metadata, self, "close", "nr_foll_pin_released", much_close);
	}
	EXPECT_TRUE(fine);
}

TEST_HARNESS_MAIN
