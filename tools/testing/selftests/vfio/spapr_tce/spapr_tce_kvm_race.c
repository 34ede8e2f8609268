// SPDX-License-Identifier: GPL-2.0
/*
 * Two CPUs of a guest change the same entries over and over, and user space takes away what
 * they work on: counts stay exact, nothing is left behind, and all works afterwards.
 */
#include <signal.h>

#include "kvm_fixture.h"
#include "race_fixture.h"

#define EIGHT	8

/* What the threads of a storm share beside their struct race; each test is a process. */
static struct guest *guest;

FIXTURE(race)
{
	struct guest g;
	struct race race;
};

static void race_of(struct race *race, struct guest *g)
{
	guest = g;
	race->rounds = ROUNDS;
	race->c = g->c;
	race->type = g->st.type;
	race->mem = g->mem;
	race->base = g->base;
	race->group = g->st.s.group;
}

FIXTURE_SETUP(race)
{
	const char *why = guest_begin(&self->g, 1);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, guest_linked_table(&self->g, SHIFT_64K, SHIFT_64K));
	race_of(&self->race, &self->g);
}

FIXTURE_TEARDOWN(race)
{
	EXPECT_TRUE(guest_end(&self->g));
}

/* ---- steps of the CPUs ---- */

static int errno_of(long h)
{
	return h == H_SUCCESS ? 0 : h == H_TOO_HARD ? -EAGAIN : h == H_PARAMETER ? -EINVAL : -EIO;
}

/* A word of the guest view is one that a CPU wrote there. */
static int look(struct vm_cpu *cpu, unsigned int i)
{
	uint64_t tce;
	long h = vm_get(cpu, LIOBN, ioba(guest, i), &tce);

	if (h)
		return errno_of(h);
	return !tce || tce == tce_of(guest, i) || tce == tce_of(guest, i + 128) ? 0 : -ERANGE;
}

static int cpu_step(struct vm_cpu *cpu, unsigned long n)
{
	struct guest *g = guest;
	unsigned int i = n / 5 % EIGHT;

	switch (n % 5) {
	case 0:
		vm_list_fill(cpu, EIGHT, tce_of(g, 0), PAGE_64K);
		return errno_of(vm_put_list(cpu, LIOBN, ioba(g, 0), EIGHT));
	case 1:
		return errno_of(vm_put(cpu, LIOBN, ioba(g, i), tce_of(g, i + 128)));
	case 2:
		vm_list_fill(cpu, EIGHT, tce_of(g, 128), PAGE_64K);
		return errno_of(vm_put_list(cpu, LIOBN, ioba(g, 0), EIGHT));
	case 3:
		return errno_of(vm_stuff(cpu, LIOBN, ioba(g, 0), 0, EIGHT));
	default:
		return look(cpu, i);
	}
}

static int step_cpu0(struct race *r)
{
	static unsigned long n;

	return cpu_step(&guest->vm.cpu[0], n++);
}

static int step_cpu1(struct race *r)
{
	static unsigned long n;

	return cpu_step(&guest->vm.cpu[1], n++);
}

/* ---- steps of user space ---- */

static int step_set(struct race *r)
{
	return vm_set(&guest->vm, r->group, guest->table);
}

static int step_del_add_and_set(struct race *r)
{
	int ret = vm_del(&guest->vm, r->group), again = vm_add(&guest->vm, r->group);

	return ret ?: again ?: step_set(r);
}

static int step_remove_create_and_set(struct race *r)
{
	return step_remove_and_create(r) ?: step_set(r);
}

static int step_close_create_and_set(struct race *r)
{
	int fd = guest->table;

	close(fd);
	/* Another thread that is in SET may be the one who really closes it. */
	fd = guest_liobn(guest, LIOBN);
	guest->table = fd;
	return fd < 0 ? fd : step_set(r);
}

static int step_leave_join_and_set(struct race *r)
{
	return race_renew(r, r->group) ?: spapr_register(r->c, r->mem, MEM_SIZE) ?:
	       spapr_remove(r->c, 0) ?: step_create(r) ?: step_set(r);
}

static int step_move_memslot(struct race *r)
{
	struct vm *vm = &guest->vm;

	return vm_slot(vm, SLOT_MEM, GUEST_MEM, r->mem, 0) ?:
	       vm_slot(vm, SLOT_MEM, GUEST_MEM, r->mem, MEM_SIZE);
}

static int step_unregister(struct race *r)
{
	int ret = spapr_unregister(r->c, r->mem, MEM_SIZE);

	return ret ?: spapr_register(r->c, r->mem, MEM_SIZE);
}

/* ---- storms ---- */

/* Nothing is left but the link, which works. */
static void quiet(struct __test_metadata *_metadata, struct guest *g)
{
	unsigned int i;

	/* Some storms leave the group out, or without its link, or no table. */
	vm_del(&g->vm, g->st.s.group);
	if (g->table < 0)
		g->table = guest_liobn(g, LIOBN);
	EXPECT_LE(0, g->table);
	EXPECT_EQ(0, guest_add_and_set(g));
	EXPECT_EQ(0, spapr_unmap(g->c, g->base, WIN_SIZE));
	EXPECT_FALSE(hardware_has_any(g));
	vm_list_fill(g->cpu, EIGHT, tce_of(g, 0), PAGE_64K);
	EXPECT_EQ(H_SUCCESS, vm_put_list(g->cpu, LIOBN, ioba(g, 0), EIGHT));
	for (i = 0; i < EIGHT; i++)
		EXPECT_EQ(tce_of(g, i), view(g, i));
	EXPECT_TRUE(hardware_has_any(g));
	EXPECT_EQ(H_SUCCESS, vm_stuff(g->vm.cpu + 1, LIOBN, ioba(g, 0), 0, EIGHT));
	EXPECT_FALSE(hardware_has_any(g));
}

/* Both CPUs against one or two others; hypercalls may go to user space where @hard says so. */
static void cpus_against(struct __test_metadata *_metadata, struct race *race,
			 unsigned long long hard, struct side one, struct side two)
{
	const struct side sides[] = {
		{ .step = step_cpu0, .may = hard }, { .step = step_cpu1, .may = hard }, one, two,
	};

	storm(_metadata, race, sides, two.step ? 4 : one.step ? 3 : 2);
	quiet(_metadata, guest);
}

#define NOBODY	((struct side) { })

TEST_F(race, T2_each_other)
{
	cpus_against(_metadata, &self->race, 0, NOBODY, NOBODY);
}

TEST_F(race, T2_map_and_unmap)
{
	cpus_against(_metadata, &self->race, 0, (struct side) { step_map_low },
		     (struct side) { step_unmap });
}

TEST_F(race, R1_unregister)
{
	cpus_against(_metadata, &self->race, E(EAGAIN),
		     (struct side) { step_unregister, E(EBUSY), 5 }, NOBODY);
}

TEST_F(race, K4_memslot_that_goes_and_comes)
{
	cpus_against(_metadata, &self->race, E(EAGAIN),
		     (struct side) { step_move_memslot, .cost = 10 }, NOBODY);
}

TEST_F(race, K5_remove_create_and_set)
{
	cpus_against(_metadata, &self->race, E(EAGAIN),
		     (struct side) { step_remove_create_and_set, .cost = 20 }, NOBODY);
}

TEST_F(race, K5_last_group_that_leaves_and_joins)
{
	cpus_against(_metadata, &self->race, E(EAGAIN),
		     (struct side) { step_leave_join_and_set, .cost = 40 }, NOBODY);
}

TEST_F(race, K14_set_and_remove)
{
	cpus_against(_metadata, &self->race, E(EAGAIN),
		     (struct side) { step_remove_and_create, .cost = 20 },
		     (struct side) { step_set, E(EINVAL) | E(ENODEV) });
}

/* Without a link a LIOBN is that of an emulated device: nothing is too hard. */
TEST_F(race, K4_del_and_set)
{
	cpus_against(_metadata, &self->race, 0,
		     (struct side) { step_del_add_and_set, .cost = 20 }, NOBODY);
}

TEST_F(race, K4_close_of_the_table)
{
	cpus_against(_metadata, &self->race, E(EAGAIN),
		     (struct side) { step_close_create_and_set, .cost = 20 }, NOBODY);
}

TEST_F(race, K11_close_of_the_table_and_del_of_the_group)
{
	/* The group may be out when the table wants it, and the table closed when DEL does. */
	const unsigned long long lost = E(EBADF) | E(EINVAL) | E(ENOENT) | E(EBUSY);

	cpus_against(_metadata, &self->race, E(EAGAIN),
		     (struct side) { step_close_create_and_set, lost, 20 },
		     (struct side) { step_del_add_and_set, lost, 20 });
}

TEST_F(race, K4_everything)
{
	const unsigned long long lost = E(EBADF) | E(EINVAL) | E(ENOENT) | E(ENODEV) |
				      E(EBUSY);
	const unsigned long long hard = E(EAGAIN);
	const struct side sides[] = {
		{ step_cpu0, hard }, { step_cpu1, hard },
		{ step_remove_and_create, .cost = 20 },
		{ step_close_create_and_set, lost, 20 },
		{ step_del_add_and_set, lost, 20 },
		{ step_unmap, E(ENXIO) },
	};

	storm(_metadata, &self->race, sides, ARRAY_SIZE(sides));
	quiet(_metadata, guest);
}

/* ---- a list that changes while it is read ---- */

enum { GOOD, CLEARS, BAD };

static uint64_t list_word(unsigned int i, unsigned int kind)
{
	const uint64_t good = tce_of(guest, i);

	return kind == GOOD ? good : kind == CLEARS ? good & ~TCE_RW : good | 0x100;
}

/* Words are bad for moments only, so that many lists are good when they are read. */
static int step_change_list(struct race *r)
{
	static unsigned int n;
	unsigned int i = n / 2 % EIGHT;

	if (n % 16 == 0)
		vm_list_set(guest->cpu, i, list_word(i, BAD));
	vm_list_set(guest->cpu, i, list_word(i, n++ & 1 ? CLEARS : GOOD));
	return 0;
}

/* The list is taken as a whole or not at all. */
static int step_put_changing_list(struct race *r)
{
	static unsigned int round;
	struct guest *g = guest;
	unsigned int i, mapped = 0;
	uint64_t tce;
	long h;

	if (vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0x40, EIGHT))
		return -EIO;
	h = vm_put_list(g->cpu, LIOBN, ioba(g, 0), EIGHT);
	if (h != H_SUCCESS && h != H_TOO_HARD)
		return errno_of(h);
	for (i = 0; i < EIGHT; i++) {
		tce = view(g, i);
		if (h == H_TOO_HARD ? tce != 0x40 :
		    tce != list_word(i, GOOD) && tce != list_word(i, CLEARS))
			return -ERANGE;
		mapped += !!(tce & TCE_RW);
	}
	/* Its memory is pinned again for that. */
	if (round++ % 16 == 0 && hardware_has_any(g) != !!mapped)
		return -EBADMSG;
	return errno_of(h);
}

TEST_F(race, K2_list_that_changes)
{
	const struct side sides[] = {
		{ step_put_changing_list, E(EAGAIN) }, { step_change_list },
	};

	/* The first call may come before the other side has written any word. */
	vm_list_fill(guest->cpu, EIGHT, tce_of(guest, 0), PAGE_64K);
	EXPECT_EQ(0, step_put_changing_list(&self->race));
	storm(_metadata, &self->race, sides, ARRAY_SIZE(sides));
	quiet(_metadata, guest);
}

/* ---- a page of the guest view that is new ---- */

static int step_first_put(struct race *r)
{
	struct guest *g = guest;
	int fd = vm_liobn(&g->vm, OTHER_LIOBN, 12, 0, PAGE_64K / 8);
	long h;

	if (fd < 0)
		return fd;
	h = vm_put(&g->vm.cpu[0], OTHER_LIOBN, 0, 0x40);
	close(fd);
	return errno_of(h);
}

static int step_get_beside_it(struct race *r)
{
	uint64_t tce;
	long h = vm_get(&guest->vm.cpu[1], OTHER_LIOBN, 0xffUL << 12, &tce);

	return h ? errno_of(h) : tce ? -ERANGE : 0;
}

TEST_F(race, K17_get_beside_the_first_put)
{
	const struct side sides[] = {
		{ step_first_put, .cost = 10 }, { step_get_beside_it, E(EAGAIN) },
	};

	storm(_metadata, &self->race, sides, ARRAY_SIZE(sides));
	quiet(_metadata, guest);
}

/* ---- killed ---- */

static void *goes_on(void *arg)
{
	struct racer *r = arg;

	for (;;)
		r->side->step(r->race);
	return NULL;
}

/* As guest_begin(), in a child, with the memory that is there. */
static void all_of_it(struct guest *g)
{
	static const struct side sides[] = {
		{ step_cpu0 }, { step_cpu1 }, { step_remove_create_and_set },
		{ step_close_create_and_set }, { step_del_add_and_set }, { step_move_memslot },
	};
	static struct racer racers[ARRAY_SIZE(sides)];
	static struct race race;
	unsigned int i;

	if (spapr_setup(&g->st.s, &g->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU))
		_exit(1);
	g->c = g->st.s.container;
	if (vm_begin(&g->vm) || vm_vfio(&g->vm) ||
	    vm_slot(&g->vm, SLOT_MEM, GUEST_MEM, g->mem, MEM_SIZE) ||
	    spapr_register(g->c, g->mem, MEM_SIZE) || spapr_remove(g->c, 0) ||
	    guest_linked_table(g, SHIFT_64K, SHIFT_64K))
		_exit(1);
	race_of(&race, g);
	for (i = 0; i < ARRAY_SIZE(sides); i++) {
		racers[i].race = &race;
		racers[i].side = &sides[i];
		pthread_create(&racers[i].thread, NULL, goes_on, &racers[i]);
	}
	for (;;)
		pause();
}

GUEST_FIXTURE(killed, 1, (void)0)

TEST_F(killed, C12_K4_amid_everything)
{
	const long slack = memory_slack_kb();
	struct guest *g = &self->g;
	unsigned long round;
	struct storm storm;
	long memfree = 0;
	int tries, status;
	pid_t pid;

	vm_end(&g->vm);
	spapr_teardown(&g->st.s);
	storm_begin(&storm, 30);
	for (round = 0; !storm_is_over(&storm, round) || round < 6; round++) {
		if (round == 5)
			memfree = spapr_memfree_kb();
		pid = fork();
		if (!pid)
			all_of_it(g);
		usleep(100000 + round * 7919 % 150000);
		kill(pid, SIGKILL);
		waitpid(pid, &status, 0);
		EXPECT_TRUE(WIFSIGNALED(status));
	}
	EXPECT_EQ(g->st.pins, pins_settled(g->st.pins));
	for (tries = 0; tries < 500 && spapr_memfree_kb() < memfree - slack; tries++)
		usleep(20000);
	EXPECT_TRUE(spapr_memfree_kb() >= memfree - slack || freed_memory_is_kept());
	TH_LOG("%lu processes", round);
	ASSERT_EQ(0, spapr_setup(&g->st.s, &g->st.dev[0], VFIO_SPAPR_TCE_v2_IOMMU));
}

TEST_HARNESS_MAIN
