// SPDX-License-Identifier: GPL-2.0
/*
 * A hypercall that user space holds up, for the guest's list is on a page that is not there
 * yet: nobody else waits for it, and what has gone meanwhile it does not touch.
 */
#include "kvm_fixture.h"
#include "lib/held.h"
#include "lib/watch.h"

FIXTURE(stopped)
{
	struct guest g;
	struct held held;
};

/* For the thread that makes the hypercall. */
static struct guest *stopped_guest;

#define LIST_GPA	(3 * GUEST_MEM)

static int put_stopped_list(struct held *held)
{
	struct guest *g = stopped_guest;

	return vm_hcall(g->cpu, H_PUT_TCE_INDIRECT, LIOBN, ioba(g, 0),
			LIST_GPA + spapr_page_size(), 2);
}

/* The guest's list is on a page that user space provides when it likes. */
FIXTURE_SETUP(stopped)
{
	const long page = spapr_page_size();
	struct held *held = &self->held;
	struct guest *g = &self->g;
	const char *why = guest_begin(g, 1);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, guest_linked_table(g, SHIFT_64K, SHIFT_64K));
	ASSERT_EQ(H_SUCCESS, map_eight(g));
	held->mem = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS,
			 -1, 0);
	ASSERT_NE(MAP_FAILED, held->mem);
	vm_list_fill(g->cpu, 2, tce_of(g, 9), 0);
	memcpy(held->mem, g->cpu->list, 16);
	ASSERT_EQ(0, vm_slot(&g->vm, SLOT_MORE, LIST_GPA, held->mem, 2 * page));
	ASSERT_EQ(0, held_hole(held, 1));
	stopped_guest = g;
	ASSERT_EQ(0, watch_begin());
	ASSERT_EQ(0, held_begin_there(held, g->c, put_stopped_list));
}

FIXTURE_TEARDOWN(stopped)
{
	EXPECT_TRUE(guest_end(&self->g));
}

TEST_F(stopped, goes_on)
{
	struct guest *g = &self->g;

	EXPECT_EQ(tce_of(g, 0), vm_get(&g->vm.cpu[1], LIOBN, ioba(g, 0), &g->vm.cpu[1].r4) ?:
		  g->vm.cpu[1].r4);
	EXPECT_EQ(H_SUCCESS, held_end(&self->held));
	EXPECT_EQ(tce_of(g, 9), view(g, 0));
	EXPECT_EQ(tce_of(g, 9), view(g, 1));
	EXPECT_EQ(tce_of(g, 2), view(g, 2));
}

TEST_F(stopped, K12_close_of_the_table)
{
	struct guest *g = &self->g;

	EXPECT_EQ(0, prompt(close(g->table)));
	g->table = -1;
	EXPECT_EQ(H_TOO_HARD, held_end(&self->held));
	EXPECT_EQ(0, spapr_unmap(g->c, g->base, WIN_SIZE));
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_F(stopped, K12_remove_of_the_window)
{
	struct guest *g = &self->g;

	EXPECT_EQ(0, prompt(spapr_remove(g->c, g->base)));
	EXPECT_EQ(H_TOO_HARD, held_end(&self->held));
	dead_link(_metadata, g);
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_F(stopped, K12_del_of_the_group)
{
	struct guest *g = &self->g;

	EXPECT_EQ(0, prompt(vm_del(&g->vm, g->st.s.group)));
	EXPECT_EQ(H_SUCCESS, held_end(&self->held));
	EXPECT_EQ(tce_of(g, 9), view(g, 0));
	EXPECT_EQ(0, spapr_unmap(g->c, g->base, WIN_SIZE));
	EXPECT_FALSE(hardware_has_any(g));
}

TEST_F(stopped, K12_memslot_that_goes)
{
	struct guest *g = &self->g;

	EXPECT_EQ(0, prompt(vm_slot(&g->vm, SLOT_MEM, GUEST_MEM, g->mem, 0)));
	EXPECT_EQ(H_TOO_HARD, held_end(&self->held));
	EXPECT_EQ(tce_of(g, 0), view(g, 0));
}

/* The page never comes. */
TEST_F(stopped, K12_list_that_goes)
{
	struct guest *g = &self->g;

	EXPECT_EQ(H_TOO_HARD, held_fail(&self->held));
	EXPECT_EQ(tce_of(g, 0), view(g, 0));
	EXPECT_EQ(tce_of(g, 1), view(g, 1));
}

/* ---- a guest that user space holds up while the kernel resolves its page fault ---- */

#define SETS		300
#define SETS_AT_MOST	255	/* with the one that has to wait, as many links as may wait */

static int fetch_code(struct held *held)
{
	struct vm_cpu *cpu = &stopped_guest->vm.cpu[1];

	return vm_get(cpu, LIOBN, ioba(stopped_guest, 0), &cpu->r4);
}

static unsigned int sets;

static int set_again_and_again(struct held *held)
{
	struct guest *g = stopped_guest;
	int ret = 0;

	for (sets = 0; sets < SETS && !ret; __atomic_add_fetch(&sets, 1, __ATOMIC_RELAXED))
		ret = vm_del(&g->vm, g->st.s.group) ?: guest_add_and_set(g);
	return ret;
}

/* Memory of links is not charged, so not any number of them may wait. */
TEST_F(stopped, K18_links_do_not_pile_up)
{
	struct held code = { .mem = self->g.vm.low }, setter = { };
	const long page = spapr_page_size();
	struct guest *g = &self->g;
	char *copy = malloc(page);

	ASSERT_EQ(H_SUCCESS, held_end(&self->held));
	memcpy(copy, code.mem, page);
	ASSERT_EQ(0, held_hole(&code, 0));
	ASSERT_EQ(0, madvise(code.mem, page, MADV_DONTNEED));
	code.mem = copy;
	ASSERT_EQ(0, held_begin_there(&code, g->c, fetch_code));
	ASSERT_EQ(0, held_start(&setter, g->c, set_again_and_again));
	while (__atomic_load_n(&sets, __ATOMIC_RELAXED) < SETS_AT_MOST)
		usleep(1000);
	EXPECT_TRUE(held_sleeps(&setter));
	EXPECT_EQ(SETS_AT_MOST, __atomic_load_n(&sets, __ATOMIC_RELAXED));
	/* Who lets go does not wait. */
	EXPECT_EQ(0, prompt(close(g->table)));
	g->table = -1;
	EXPECT_EQ(H_TOO_HARD, held_end(&code));
	pthread_join(setter.thread, NULL);
	EXPECT_EQ(-EBADF, setter.ret);
	EXPECT_EQ(0, spapr_unmap(g->c, g->base, WIN_SIZE));
	free(copy);
}

TEST_HARNESS_MAIN
