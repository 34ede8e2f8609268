/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the programs with guests share: a VM beside a container with one group, whose
 * memory it has, and a LIOBN that may be linked to a window of the container.
 */
#ifndef SPAPR_TCE_KVM_FIXTURE_H
#define SPAPR_TCE_KVM_FIXTURE_H

#include "fixture.h"
#include "lib/vm.h"

#define LIOBN		0x80000001ULL
#define OTHER_LIOBN	0x80000002ULL
#define UNKNOWN_LIOBN	0x80000009ULL
#define GUEST_MEM	(256 * MB)	/* guest address of the memory of the state */
#define SLOT_MEM	1
#define SLOT_MORE	2

struct guest {
	struct spapr_state st;
	struct vm vm;
	struct vm_cpu *cpu;	/* the first one */
	int c;
	char *mem;
	uint64_t base;		/* of the window, and of the LIOBN */
	unsigned int shift;	/* of the LIOBN */
	int table;		/* its file, or -1 */
};

/* Why there can be no guest, or NULL; what should work and does not ends the test as failed. */
static inline const char *guest_begin(struct guest *g, int ndev)
{
	const char *why = vm_impossible() ?: state_begin(&g->st, ndev, VFIO_SPAPR_TCE_v2_IOMMU);
	int ret;

	if (why)
		return why;
	g->c = g->st.s.container;
	g->mem = g->st.mem;
	g->table = -1;
	g->shift = SHIFT_64K;
	g->cpu = &g->vm.cpu[0];
	ret = vm_begin(&g->vm);
	ret = ret ?: vm_slot(&g->vm, SLOT_MEM, GUEST_MEM, g->mem, MEM_SIZE);
	ret = ret ?: vm_vfio(&g->vm) ?: spapr_register(g->c, g->mem, MEM_SIZE);
	/* The default window would have the place of the first one. */
	ret = ret ?: spapr_remove(g->c, 0);
	if (ret) {
		printf("# guest: %s\n", strerror(-ret));
		exit(KSFT_FAIL);
	}
	return NULL;
}

static inline bool guest_end(struct guest *g)
{
	vm_close(&g->table);
	vm_end(&g->vm);
	return state_end(&g->st);
}

static inline int guest_liobn(struct guest *g, uint64_t liobn)
{
	return vm_liobn(&g->vm, liobn, g->shift, g->base >> g->shift, WIN_SIZE >> g->shift);
}

/* LIOBN, with pages of @shift, for no window or, where @table_shift is one, for a new one. */
static inline int guest_table(struct guest *g, unsigned int shift, unsigned int table_shift)
{
	int ret = 0;

	g->shift = shift;
	if (table_shift)
		ret = spapr_create(g->c, table_shift, WIN_SIZE, 1, &g->base);
	if (ret)
		return ret;
	g->table = guest_liobn(g, LIOBN);
	return g->table < 0 ? g->table : 0;
}

static inline int guest_add_and_set(struct guest *g)
{
	int group = g->st.s.group;

	return vm_add(&g->vm, group) ?: vm_set(&g->vm, group, g->table);
}

static inline int guest_linked_table(struct guest *g, unsigned int shift, unsigned int table_shift)
{
	return guest_table(g, shift, table_shift) ?: guest_add_and_set(g);
}

/* Bus address of an entry of LIOBN. */
static inline uint64_t ioba(const struct guest *g, uint64_t entry)
{
	return g->base + (entry << g->shift);
}

/* The guest's TCE for a page of its memory. */
static inline uint64_t tce_of(const struct guest *g, uint64_t page)
{
	return (GUEST_MEM + ((page << g->shift) & (MEM_SIZE - 1))) | TCE_RW;
}

static inline unsigned int entries(const struct guest *g)
{
	return WIN_SIZE >> g->shift;
}

/* Whether the hardware has a TCE for any of the memory, which must be registered. */
static inline bool hardware_has_any(const struct guest *g)
{
	int ret = spapr_unregister(g->c, g->mem, MEM_SIZE);

	if (ret == -EBUSY)
		return true;
	return ret || spapr_register(g->c, g->mem, MEM_SIZE);
}

/* Parts of the memory that are regions of their own. */
#define PARTS		4
#define PART		(4 * PAGE_64K)

static inline int guest_parts(struct guest *g)
{
	int i, ret = spapr_unregister(g->c, g->mem, MEM_SIZE);

	for (i = 0; i < PARTS && !ret; i++)
		ret = spapr_register(g->c, g->mem + i * PART, PART);
	return ret;
}

/* A bit for each part that the hardware may reach, which UNREGISTER tells. */
static inline unsigned int parts_reached(const struct guest *g)
{
	unsigned int i, parts = 0;

	for (i = 0; i < PARTS; i++) {
		if (spapr_unregister(g->c, g->mem + i * PART, PART))
			parts |= 1 << i;
		else if (spapr_register(g->c, g->mem + i * PART, PART))
			return ~0U;
	}
	return parts;
}

/* What the guest reads, whether or not that works. */
static inline uint64_t view(struct guest *g, uint64_t entry)
{
	uint64_t tce;

	return vm_get(g->cpu, LIOBN, ioba(g, entry), &tce) ? ~0ULL : tce;
}

/* A state in which each entry of the first eight has a TCE. */
static inline long map_eight(struct guest *g)
{
	vm_list_fill(g->cpu, 8, tce_of(g, 0), 1UL << g->shift);
	return vm_put_list(g->cpu, LIOBN, ioba(g, 0), 8);
}

static inline long unmap_eight(struct guest *g)
{
	return vm_stuff(g->cpu, LIOBN, ioba(g, 0), 0, 8);
}

/* Hypercalls through a link whose window is gone: user space knows what is there now. */
static inline void dead_link(struct __test_metadata *_metadata, struct guest *g)
{
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 1), tce_of(g, 5)));
	EXPECT_EQ(H_TOO_HARD, vm_put(g->cpu, LIOBN, ioba(g, 1), 0));
	EXPECT_EQ(H_TOO_HARD, map_eight(g));
	EXPECT_EQ(H_TOO_HARD, unmap_eight(g));
	/* What cannot be right is said to be wrong by the kernel itself. */
	EXPECT_EQ(H_PARAMETER, vm_put(g->cpu, LIOBN, ioba(g, entries(g)), 0));
	EXPECT_EQ(tce_of(g, 1), view(g, 1));
	EXPECT_EQ(0, view(g, 9));
}

/* A link that works, from an empty window on. */
static inline void live_link(struct __test_metadata *_metadata, struct guest *g)
{
	EXPECT_FALSE(hardware_has_any(g));
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	EXPECT_TRUE(hardware_has_any(g));
	EXPECT_EQ(tce_of(g, 7), view(g, 7));
	EXPECT_EQ(H_SUCCESS, unmap_eight(g));
	EXPECT_FALSE(hardware_has_any(g));
	EXPECT_EQ(0, view(g, 7));
}

/* GUEST_FIXTURE(name, devices, setup): the state "a guest beside a container, then @_setup". */
#define GUEST_FIXTURE(_name, _ndev, _setup)				\
	FIXTURE(_name)							\
	{								\
		struct guest g;						\
	};								\
									\
	FIXTURE_SETUP(_name)						\
	{								\
		const char *why = guest_begin(&self->g, _ndev);		\
									\
		if (why)						\
			SKIP(return, "%s", why);			\
		_setup;							\
	}								\
									\
	FIXTURE_TEARDOWN(_name)						\
	{								\
		EXPECT_TRUE(guest_end(&self->g));			\
	}

#endif /* SPAPR_TCE_KVM_FIXTURE_H */
