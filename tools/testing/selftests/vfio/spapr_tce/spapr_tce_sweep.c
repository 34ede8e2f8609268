// SPDX-License-Identifier: GPL-2.0
/*
 * Every call with every kind of argument, good and bad, from every state of a
 * container: it answers with an errno that the documentation names for it, and a
 * call that is refused has changed nothing.
 *
 * After a refusal the state is looked at, after a success it is built anew.
 */
#include "fixture.h"
#include "lib/contract.h"
#include "lib/world.h"

#define KERNEL	0xc000000000000000UL

static void judge(struct world *w, const struct call *call, int ret, uint64_t want)
{
	bool state = call == &contract[CALL_EEH] && ret > 0 && ret <= VFIO_EEH_PE_STATE_UNAVAIL;

	if (!state && !spapr_says_one_of(ret, want))
		world_complain(w, call->name, "answer", ret, want);
	if (ret)
		world_check_state(w, call->name);
	else if (call != &contract[CALL_GET_INFO] && call != &contract[CALL_EEH] && world_build(w))
		world_complain(w, call->name, "state after it", -1, 0);
}

/* The last of the @bytes that the kernel may look at are the last that are mapped. */
static void call_at_edge(struct world *w, const struct call *call, const union arg *arg,
			 size_t bytes)
{
	char *at = w->edge - bytes;

	memcpy(at, arg, bytes);
	judge(w, call, spapr_ioctl(w->c, call->cmd, at), contract_answers(w, call, arg));
}

static void call_with(struct world *w, const struct call *call, const union arg *arg)
{
	call_at_edge(w, call, arg, call->size);
}

static void end_of_batch(struct world *w, const struct call *call)
{
	if (call == &contract[CALL_MAP] || call == &contract[CALL_UNMAP])
		world_default_window_may_be_there(w);
	world_check_counters(w, call->name);
}

/* ---- the starting states ---- */

FIXTURE(sweep)
{
	struct spapr_state st;
	struct world w;
};

FIXTURE_VARIANT(sweep)
{
	int type;
	enum stage stage;
	unsigned int shift;
	unsigned int levels;
};

FIXTURE_VARIANT_ADD(sweep, v1_nothing) { .type = VFIO_SPAPR_TCE_IOMMU };

FIXTURE_VARIANT_ADD(sweep, v1_enabled)
{
	.type = VFIO_SPAPR_TCE_IOMMU, .stage = ENABLED,
};

FIXTURE_VARIANT_ADD(sweep, v1_mapped)
{
	.type = VFIO_SPAPR_TCE_IOMMU, .stage = MAPPED,
};

FIXTURE_VARIANT_ADD(sweep, v2_nothing) { .type = VFIO_SPAPR_TCE_v2_IOMMU };

FIXTURE_VARIANT_ADD(sweep, v2_registered)
{
	.type = VFIO_SPAPR_TCE_v2_IOMMU, .stage = ENABLED,
};

FIXTURE_VARIANT_ADD(sweep, v2_windows)
{
	VFIO_SPAPR_TCE_v2_IOMMU, WINDOWS, SHIFT_64K, 1,
};

FIXTURE_VARIANT_ADD(sweep, v2_mapped_64K_2_levels)
{
	VFIO_SPAPR_TCE_v2_IOMMU, MAPPED, SHIFT_64K, 2,
};

FIXTURE_VARIANT_ADD(sweep, v2_mapped_4K_3_levels)
{
	VFIO_SPAPR_TCE_v2_IOMMU, MAPPED, SHIFT_4K, 3,
};

FIXTURE_SETUP(sweep)
{
	const char *why = state_begin(&self->st, 1, variant->type);
	struct world *w = &self->w;
	char *page;

	if (why)
		SKIP(return, "%s", why);
	w->st = &self->st;
	w->mem = self->st.mem;
	w->v2 = variant->type == VFIO_SPAPR_TCE_v2_IOMMU;
	w->stage = variant->stage;
	w->shift = variant->shift;
	w->levels = variant->levels;
	/* Something that cannot be used behind the memory and behind the arguments. */
	ASSERT_EQ(0, mprotect(w->mem + MEM_SIZE - PAGE_64K, PAGE_64K, PROT_NONE));
	page = mmap(NULL, 2 * PAGE_64K, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	ASSERT_NE(MAP_FAILED, page);
	w->edge = page + PAGE_64K;
	ASSERT_EQ(0, mprotect(w->edge, PAGE_64K, PROT_NONE));
	ASSERT_EQ(0, world_build(w));
}

FIXTURE_TEARDOWN(sweep)
{
	world_check_mappings(&self->w);
	EXPECT_EQ(0, self->w.wrong);
	EXPECT_TRUE(state_end(&self->st));
}

#define for_each_call(call)	for (call = contract; call < contract + NR_CALLS; call++)

TEST_F(sweep, C5_argsz_of_every_size)
{
	const struct call *call;
	struct world *w = &self->w;
	unsigned int i;

	for_each_call(call) {
		const size_t sizes[] = {
			0, 1, 4, 8, call->min - 1, call->min, call->min + 1, call->size - 1,
			call->size, call->size + 1, 4096, INT32_MAX, INT32_MAX + 1UL, UINT32_MAX,
		};

		for (i = 0; i < ARRAY_SIZE(sizes); i++) {
			union arg arg = contract_good(w, call);
			size_t bytes = sizes[i] < call->size ? sizes[i] : call->size;

			arg.argsz = sizes[i];
			call_at_edge(w, call, &arg, bytes > call->min ? bytes : call->min);
		}
		end_of_batch(w, call);
	}
}

TEST_F(sweep, C5_each_flag_bit)
{
	const struct call *call;
	struct world *w = &self->w;
	unsigned int bit;

	for_each_call(call) {
		for (bit = 0; bit < 32; bit++) {
			union arg arg = contract_good(w, call);

			arg.flags ^= 1U << bit;
			call_with(w, call, &arg);
		}
		end_of_batch(w, call);
	}
}

TEST_F(sweep, C5_arguments_that_cannot_be_read)
{
	const struct call *call;
	struct world *w = &self->w;
	unsigned int i;

	for_each_call(call) {
		uint64_t want = call->types & (w->v2 ? V2 : V1) ? E(EFAULT) : E(ENOTTY);
		void *pointers[] = {
			NULL, w->edge, w->edge - call->min + 1, w->edge - 1, NOWHERE,
			(char *)KERNEL, (char *)-8L, (char *)-4096L, (char *)(1UL << 63),
		};

		for (i = 0; i < ARRAY_SIZE(pointers); i++) {
			union arg arg = contract_good(w, call);

			memcpy(w->edge - call->min, &arg, call->min);
			judge(w, call, spapr_ioctl(w->c, call->cmd, pointers[i]), want);
		}
		end_of_batch(w, call);
	}
}

/* Whoever cannot be told about a new window does not get one. */
TEST_F(sweep, C2_results_that_cannot_be_written)
{
	static const unsigned int writers[] = { CALL_GET_INFO, CALL_CREATE };
	struct world *w = &self->w;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(writers); i++) {
		const struct call *call = &contract[writers[i]];
		union arg arg = contract_good(w, call);
		char *at = w->edge - call->size;
		uint64_t want = contract_answers(w, call, &arg);

		memcpy(at, &arg, call->size);
		ASSERT_EQ(0, mprotect(w->edge - PAGE_64K, PAGE_64K, PROT_READ));
		judge(w, call, spapr_ioctl(w->c, call->cmd, at),
		      want == E(0) ? E(EFAULT) : want | E(EFAULT));
		ASSERT_EQ(0, mprotect(w->edge - PAGE_64K, PAGE_64K, PROT_READ | PROT_WRITE));
		end_of_batch(w, call);
	}
}

/* ---- fields ---- */

#define MAX_VALUES	120

struct values {
	uint64_t v[MAX_VALUES];
	unsigned int n;
};

static void add(struct values *values, uint64_t value)
{
	if (values->n < MAX_VALUES)
		values->v[values->n++] = value;
}

/* Around the ends of the windows, and where there is none. */
static struct values iovas(const struct world *w)
{
	struct values values = { { 1UL << 57, WINDOW1 - PAGE_64K, 1UL << 63, -PAGE_64K, -1UL }, 5 };
	const struct window *win;

	for (win = w->windows; win < w->windows + w->nwindows; win++) {
		add(&values, win->base);
		add(&values, win->base + 1);
		add(&values, win->base + (1UL << win->shift) / 2);
		add(&values, win->base + HALF);
		add(&values, win->base + win->size - PAGE_64K);
		add(&values, win->base + win->size - 1);
		add(&values, win->base + win->size);
	}
	return values;
}

static struct values range_sizes(const struct world *w)
{
	const struct window *win = &w->windows[w->nwindows - 1];

	return (struct values) {
		{ 0, 1, PAGE_64K, PAGE_64K + 1, HALF, MEM_SIZE, win->size, win->size + PAGE_64K,
		  1UL << 52, 1UL << 63, -PAGE_64K, -1UL }, 12 };
}

static struct values addresses(const struct world *w)
{
	uint64_t mem = (uintptr_t)w->mem;

	return (struct values) {
		{ 0, 1, mem, mem + 1, mem + 2048, mem + HALF - PAGE_64K, mem + HALF,
		  mem + MEM_SIZE - 2 * PAGE_64K, mem + MEM_SIZE - PAGE_64K, (uintptr_t)NOWHERE,
		  KERNEL, 1UL << 63, -PAGE_64K, -1UL }, 14 };
}

/* Every combination; what is in the middle is seen by changing one bit of a good argument. */
TEST_F(sweep, T1_MAP_of_every_range)
{
	const struct call *call = &contract[CALL_MAP];
	struct world *w = &self->w;
	struct values iova = iovas(w), size = range_sizes(w), va = addresses(w);
	unsigned int i, j, k;

	for (i = 0; i < iova.n; i++) {
		for (j = 0; j < size.n; j++) {
			for (k = 0; k < va.n; k++) {
				union arg arg = contract_good(w, call);

				arg.map.iova = iova.v[i];
				arg.map.size = size.v[j];
				arg.map.vaddr = va.v[k];
				call_with(w, call, &arg);
			}
		}
		end_of_batch(w, call);
	}
}

TEST_F(sweep, T1_UNMAP_of_every_range)
{
	const struct call *call = &contract[CALL_UNMAP];
	struct world *w = &self->w;
	struct values iova = iovas(w), size = range_sizes(w);
	unsigned int i, j;

	for (i = 0; i < iova.n; i++) {
		for (j = 0; j < size.n; j++) {
			union arg arg = contract_good(w, call);

			arg.unmap.iova = iova.v[i];
			arg.unmap.size = size.v[j];
			call_with(w, call, &arg);
		}
		end_of_batch(w, call);
	}
}

/* Memory that the process has besides, wherever that is: it can be mapped, or not. */
static bool is_elsewhere(const struct world *w, uint64_t va, uint64_t size)
{
	return va - (uintptr_t)w->mem >= MEM_SIZE && !msync((void *)va, size, MS_ASYNC);
}

TEST_F(sweep, T1_MAP_and_UNMAP_with_one_bit_changed)
{
	struct world *w = &self->w;
	unsigned int bit, field;

	for (field = 0; field < 5; field++) {
		const struct call *call = &contract[field < 3 ? CALL_MAP : CALL_UNMAP];

		for (bit = 0; bit < 64; bit++) {
			union arg arg = contract_good(w, call);
			__u64 *fields[] = { &arg.map.iova, &arg.map.size, &arg.map.vaddr,
					    &arg.unmap.iova, &arg.unmap.size };

			*fields[field] ^= 1UL << bit;
			if (field == 2 && is_elsewhere(w, arg.map.vaddr, arg.map.size))
				continue;
			call_with(w, call, &arg);
		}
		end_of_batch(w, call);
	}
}

TEST_F(sweep, R7_REGISTER_and_UNREGISTER_of_every_range)
{
	struct world *w = &self->w;
	struct values va = addresses(w);
	const uint64_t sizes[] = {
		0, 1, spapr_page_size() / 2, PAGE_64K, PAGE_64K + 1, HALF, MEM_SIZE, GB, 1UL << 40,
		1UL << 52, 1UL << 63, -PAGE_64K, -1UL,
	};
	unsigned int i, j, k;

	add(&va, (uintptr_t)w->mem - PAGE_64K);
	for (k = CALL_REGISTER; k <= CALL_UNREGISTER; k++) {
		for (i = 0; i < va.n; i++) {
			for (j = 0; j < ARRAY_SIZE(sizes); j++) {
				union arg arg = contract_good(w, &contract[k]);

				arg.reg.vaddr = va.v[i];
				arg.reg.size = sizes[j];
				call_with(w, &contract[k], &arg);
			}
			end_of_batch(w, &contract[k]);
		}
	}
}

TEST_F(sweep, C2_CREATE_of_every_shape)
{
	static const uint32_t shifts[] = {
		0, 1, 11, SHIFT_4K, 13, SHIFT_64K, 17, 21, 24, 30, 34, 52, 63, 64, 65,
		64 + SHIFT_4K, 64 + SHIFT_64K, 1U << 31, UINT32_MAX,
	};
	static const uint64_t sizes[] = {
		0, 1, 4096, PAGE_64K, WIN_SIZE, WIN_SIZE + 1, 3 * WIN_SIZE, 1UL << 45, 1UL << 59,
		1UL << 63, -PAGE_64K, -1UL,
	};
	static const uint32_t levels[] = { 0, 1, 2, 3, 4, 5, 6, 64, 1U << 31, UINT32_MAX };
	const struct call *call = &contract[CALL_CREATE];
	struct world *w = &self->w;
	unsigned int i, j, k;

	for (i = 0; i < ARRAY_SIZE(shifts); i++) {
		for (j = 0; j < ARRAY_SIZE(sizes); j++) {
			for (k = 0; k < ARRAY_SIZE(levels); k++) {
				union arg arg = contract_good(w, call);

				arg.create.page_shift = shifts[i];
				arg.create.window_size = sizes[j];
				arg.create.levels = levels[k];
				call_with(w, call, &arg);
			}
		}
		end_of_batch(w, call);
	}
}

TEST_F(sweep, REMOVE_of_every_start)
{
	const struct call *call = &contract[CALL_REMOVE];
	struct world *w = &self->w;
	struct values start = iovas(w);
	unsigned int i;

	for (i = 0; i < 64; i++)
		add(&start, 1UL << i);
	for (i = 0; i < start.n; i++) {
		union arg arg = contract_good(w, call);

		arg.remove.start_addr = start.v[i];
		call_with(w, call, &arg);
	}
	end_of_batch(w, call);
}

TEST_F(sweep, EEH_operations_that_do_not_exist)
{
	const struct call *call = &contract[CALL_EEH];
	struct world *w = &self->w;
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		union arg arg = contract_good(w, call);

		arg.eeh.op = (1U << bit) + VFIO_EEH_PE_INJECT_ERR;
		call_with(w, call, &arg);
	}
	end_of_batch(w, call);
}

/* ---- calls without a structure ---- */

static void enable_and_disable(struct __test_metadata *_metadata, struct world *w)
{
	int enable = !w->v2 ? w->stage >= ENABLED ? -EBUSY : 0 : -ENOTTY;
	int disable = w->v2 ? -ENOTTY : 0;

	EXPECT_EQ(enable, spapr_ioctl(w->c, VFIO_IOMMU_ENABLE, NULL));
	ASSERT_EQ(0, world_build(w));
	EXPECT_EQ(enable, spapr_ioctl(w->c, VFIO_IOMMU_ENABLE, (void *)-1L));
	ASSERT_EQ(0, world_build(w));
	EXPECT_EQ(disable, spapr_ioctl(w->c, VFIO_IOMMU_DISABLE, NULL));
	ASSERT_EQ(0, world_build(w));
	EXPECT_EQ(disable, spapr_ioctl(w->c, VFIO_IOMMU_DISABLE, (void *)-1L));
	ASSERT_EQ(0, world_build(w));
}

TEST_F(sweep, C5_ENABLE_DISABLE_and_calls_that_do_not_exist)
{
	struct world *w = &self->w;
	const struct call *call;
	unsigned int nr;

	enable_and_disable(_metadata, w);
	/* VFIO itself knows the calls below GET_INFO. */
	for (nr = _IOC_NR(VFIO_IOMMU_SPAPR_TCE_GET_INFO); nr < 256; nr++) {
		bool known = nr == _IOC_NR(VFIO_IOMMU_ENABLE) || nr == _IOC_NR(VFIO_IOMMU_DISABLE);

		for_each_call(call)
			known |= nr == _IOC_NR(call->cmd);
		if (!known)
			EXPECT_EQ(-ENOTTY, spapr_ioctl(w->c, _IO(VFIO_TYPE, nr), NULL));
		EXPECT_EQ(-ENOTTY, spapr_ioctl(w->c, _IOWR(VFIO_TYPE, nr, uint64_t), w->edge - 8));
		EXPECT_EQ(-ENOTTY, spapr_ioctl(w->c, _IO(VFIO_TYPE + 1, nr), NULL));
	}
	world_check_state(w, "unknown calls");
	world_check_counters(w, "unknown calls");
}

TEST_F(sweep, C5_CHECK_EXTENSION_is_0_or_1)
{
	struct world *w = &self->w;
	int ret, want;
	long ext;

	for (ext = -2; ext < 300; ext++) {
		want = ext == VFIO_SPAPR_TCE_IOMMU || ext == VFIO_SPAPR_TCE_v2_IOMMU ||
		       ext == VFIO_UNMAP_ALL;
		ret = spapr_ioctl(w->c, VFIO_CHECK_EXTENSION, (void *)ext);
		/* EEH depends on the machine. */
		EXPECT_EQ(want, ext == VFIO_EEH && ret == 1 ? 0 : ret);
	}
	EXPECT_EQ(0, spapr_ioctl(w->c, VFIO_CHECK_EXTENSION,
				 (void *)(1UL << 32 | VFIO_SPAPR_TCE_v2_IOMMU)));
	world_check_state(w, "CHECK_EXTENSION");
	world_check_counters(w, "CHECK_EXTENSION");
}

TEST_HARNESS_MAIN
