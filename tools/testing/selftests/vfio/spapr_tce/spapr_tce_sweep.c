// SPDX-License-Identifier: GPL-2.0
/*
 * Every call with every kind of argument, good and bad, from every state of a
 * container: it answers with an errno that the documentation names for it, and a
 * call that is refused has changed nothing.
 *
 * A model of the documentation (the functions *_answers()) says for each argument
 * which errnos are right; where several things are wrong at once, each of them is.
 * After a refusal the state is looked at, after a success it is built anew.
 */
#include "fixture.h"

#define HALF		(MEM_SIZE / 2)		/* of the memory; the low one is registered */
#define KERNEL		0xc000000000000000UL
#define ANSWER(error)	(1ULL << (error))	/* a set of errnos, ANSWER(0) is success */

enum stage {
	NOTHING,	/* the container has its group and type */
	ENABLED,	/* v1: by ENABLE; v2: by REGISTER of the low half */
	WINDOWS,	/* both windows are there */
	MAPPED,		/* the low half is mapped at the start of each window */
};

struct window {
	uint64_t base;
	uint64_t size;
	unsigned int shift;
};

/* What the container is known to hold. */
struct world {
	struct spapr_state *st;
	int c;
	char *mem;
	char *edge;		/* the end of mapped memory, for arguments */
	bool v2;
	enum stage stage;
	unsigned int shift, levels;	/* of the second window */
	struct window windows[2];	/* a default window that is due counts as there */
	int nwindows;
	bool due;
	struct vfio_iommu_spapr_tce_info info;
	long vmlck, pins;
	int wrong;		/* surprises so far */
};

union arg {
	struct {
		uint32_t argsz;
		uint32_t flags;
	};
	struct vfio_iommu_spapr_tce_info info;
	struct vfio_iommu_type1_dma_map map;
	struct vfio_iommu_type1_dma_unmap unmap;
	struct vfio_iommu_spapr_register_memory reg;
	struct vfio_iommu_spapr_tce_create create;
	struct vfio_iommu_spapr_tce_remove remove;
	struct vfio_eeh_pe_op eeh;
	char bytes[64];
};

static void complain(struct world *w, const char *call, const char *what, long got, uint64_t want)
{
	if (++w->wrong <= 20)
		printf("# %s: %s: got %ld, want %#llx\n", call, what, got,
		       (unsigned long long)want);
}

/* ---- states ---- */

static int build(struct world *w)
{
	struct spapr_setup *s = &w->st->s;
	int ret, i;

	spapr_teardown(s);
	ret = spapr_setup(s, &w->st->dev[0], w->v2 ? VFIO_SPAPR_TCE_v2_IOMMU :
						     VFIO_SPAPR_TCE_IOMMU);
	if (ret)
		return ret;
	w->c = s->container;
	ret = spapr_get_info(w->c, &w->info);
	w->nwindows = 1;
	w->windows[0] = (struct window){ 0, w->info.dma32_window_size, SHIFT_4K };
	if (!ret && w->stage >= ENABLED)
		ret = w->v2 ? spapr_register(w->c, w->mem, HALF) :
			      spapr_ioctl(w->c, VFIO_IOMMU_ENABLE, NULL);
	if (!ret && w->stage >= WINDOWS && w->v2) {
		w->windows[1] = (struct window){ WINDOW1, WIN_SIZE, w->shift };
		ret = spapr_create(w->c, w->shift, WIN_SIZE, w->levels, NULL);
		w->nwindows = 2;
	}
	for (i = 0; !ret && w->stage == MAPPED && i < w->nwindows; i++)
		ret = spapr_map(w->c, w->windows[i].base, w->mem, HALF, MAP_RW);
	w->due = w->stage < WINDOWS;
	w->vmlck = spapr_vmlck_kb();
	w->pins = spapr_pins_held();
	return ret;
}

/* The one call that fails and leaves something: a MAP or UNMAP makes the default window. */
static void default_window_may_be_there(struct world *w)
{
	if (!w->due || spapr_vmlck_kb() == w->vmlck)
		return;
	w->due = false;
	w->vmlck += w->windows[0].size >> w->windows[0].shift << 4 >> 10;
}

static void check_counters(struct world *w, const char *call)
{
	if (spapr_vmlck_kb() != w->vmlck)
		complain(w, call, "VmLck after it was refused", spapr_vmlck_kb(), w->vmlck);
	if (spapr_pins_held() != w->pins)
		complain(w, call, "pins after it was refused", spapr_pins_held(), w->pins);
}

static void probe(struct world *w, const char *call, const char *what, int got, int want)
{
	if (got != want)
		complain(w, call, what, got, ANSWER(-want));
}

/* By calls that change nothing themselves. */
static void check_state(struct world *w, const char *call)
{
	const struct window *win;
	int i;

	if (w->stage == NOTHING) {
		probe(w, call, "MAP afterwards", spapr_map(w->c, 0, w->mem, PAGE_64K, MAP_RW),
		      -EPERM);
		return;
	}
	if (w->v2)
		probe(w, call, "REGISTER afterwards", spapr_register(w->c, w->mem, HALF), -EBUSY);
	else
		probe(w, call, "ENABLE afterwards", spapr_ioctl(w->c, VFIO_IOMMU_ENABLE, NULL),
		      -EBUSY);
	if (w->stage == MAPPED && w->v2)
		probe(w, call, "UNREGISTER afterwards", spapr_unregister(w->c, w->mem, HALF),
		      -EBUSY);
	for (i = 0; i < w->nwindows && !w->due; i++) {
		win = &w->windows[i];
		probe(w, call, "MAP to a window afterwards",
		      spapr_map(w->c, win->base + win->size - PAGE_64K, NOWHERE, PAGE_64K,
				MAP_RW), w->v2 ? -EINVAL : -EFAULT);
	}
}

/* What was mapped goes, and then nothing may be left. */
static void check_mappings(struct world *w)
{
	int i;

	for (i = 0; i < w->nwindows && w->stage == MAPPED; i++)
		probe(w, "at the end", "UNMAP", spapr_unmap(w->c, w->windows[i].base, HALF), 0);
	if (w->v2 && w->stage >= ENABLED)
		probe(w, "at the end", "UNREGISTER", spapr_unregister(w->c, w->mem, HALF), 0);
	if (spapr_pins_held() != w->st->pins)
		complain(w, "at the end", "pins", spapr_pins_held(), w->st->pins);
}

/* ---- the model: what the documentation says of a call ---- */

static const struct window *window_of(const struct world *w, uint64_t iova)
{
	int i;

	for (i = 0; i < w->nwindows; i++)
		if (iova - w->windows[i].base < w->windows[i].size)
			return &w->windows[i];
	return NULL;
}

static uint64_t range_answers(const struct world *w, uint64_t iova, uint64_t size)
{
	const struct window *win = window_of(w, iova);
	uint64_t grain = win ? 1ULL << win->shift : 1ULL << SHIFT_4K;
	uint64_t set = 0;

	if (w->stage == NOTHING)
		set |= ANSWER(EPERM);
	if (!win)
		set |= ANSWER(ENXIO);
	if (!size || (iova | size) & (grain - 1))
		set |= ANSWER(EINVAL);
	if (win && size > win->base + win->size - iova)
		set |= ANSWER(EINVAL);
	return set;
}

/* The last 64K of the memory are not to be touched. */
static bool is_mine(const struct world *w, uint64_t va, uint64_t size, uint64_t limit)
{
	uint64_t offset = va - (uintptr_t)w->mem;

	return offset < limit && size <= limit - offset;
}

static uint64_t info_answers(const struct world *w, const union arg *arg)
{
	return 0;
}

static uint64_t map_answers(const struct world *w, const union arg *arg)
{
	uint64_t va = arg->map.vaddr, size = arg->map.size, set;
	const struct window *win = window_of(w, arg->map.iova);

	set = range_answers(w, arg->map.iova, size);
	if (va & ((win ? 1ULL << win->shift : 1ULL << SHIFT_4K) - 1) || va + size - 1 < va)
		set |= ANSWER(EINVAL);
	if (!(arg->map.flags & MAP_RW))
		set |= ANSWER(EINVAL);
	if (w->v2 && !is_mine(w, va, size, HALF))
		set |= ANSWER(EINVAL);
	if (!w->v2 && !is_mine(w, va, size, MEM_SIZE - PAGE_64K))
		set |= ANSWER(EFAULT);
	return set;
}

static uint64_t unmap_answers(const struct world *w, const union arg *arg)
{
	return range_answers(w, arg->unmap.iova, arg->unmap.size);
}

static bool overlaps(const struct world *w, uint64_t va, uint64_t size)
{
	uint64_t start = (uintptr_t)w->mem;

	return w->stage >= ENABLED && va < start + HALF && start < va + size;
}

static uint64_t register_answers(const struct world *w, const union arg *arg)
{
	uint64_t va = arg->reg.vaddr, size = arg->reg.size, page = spapr_page_size();
	bool same = va == (uintptr_t)w->mem && size == HALF && w->stage >= ENABLED;
	uint64_t set = 0;

	if (!size || (va | size) & (page - 1) || va + size - 1 < va)
		return ANSWER(EINVAL);
	if (same)
		return ANSWER(EBUSY);
	if (overlaps(w, va, size))
		set |= ANSWER(EINVAL);
	if (!is_mine(w, va, size, MEM_SIZE - PAGE_64K))
		set |= ANSWER(EFAULT);
	return set;
}

static uint64_t unregister_answers(const struct world *w, const union arg *arg)
{
	uint64_t va = arg->reg.vaddr, size = arg->reg.size, page = spapr_page_size();
	uint64_t set = 0;

	/* The container may be this process's own before it has registered something. */
	if (w->stage == NOTHING)
		set |= ANSWER(EPERM) | ANSWER(ENOENT);
	if ((va | size) & (page - 1))
		set |= ANSWER(EINVAL);
	if (va != (uintptr_t)w->mem || size != HALF)
		set |= ANSWER(ENOENT) | (size ? 0 : ANSWER(EINVAL));
	else if (w->stage == MAPPED)
		set |= ANSWER(EBUSY);
	return set;
}

/* Shapes that the hardware may or may not have are left to other tests. */
static uint64_t create_answers(const struct world *w, const union arg *arg)
{
	uint64_t size = arg->create.window_size;
	unsigned int shift = arg->create.page_shift, levels = arg->create.levels;
	uint64_t set = 0;

	if (w->nwindows == 2)
		set |= ANSWER(ENOSPC);
	if (shift >= 64 || !(w->info.ddw.pgsizes & 1ULL << shift) || !size || size & (size - 1) ||
	    size < 1ULL << shift || !levels || levels > w->info.ddw.levels)
		set |= ANSWER(EINVAL);
	else if (size != WIN_SIZE || shift > SHIFT_64K || levels > 3)
		set |= ANSWER(0) | ANSWER(EINVAL) | ANSWER(ENOMEM);
	return set;
}

static uint64_t remove_answers(const struct world *w, const union arg *arg)
{
	const struct window *win = window_of(w, arg->remove.start_addr);

	/* A window that is only due has no addresses but its start. */
	return win && !(w->due && arg->remove.start_addr) ? 0 : ANSWER(EINVAL);
}

static uint64_t eeh_answers(const struct world *w, const union arg *arg)
{
	return arg->eeh.op == VFIO_EEH_PE_GET_STATE ? 0 : ANSWER(EINVAL);
}

/* ---- the calls ---- */

static void fill_info(const struct world *w, union arg *arg)
{
}

static void fill_map(const struct world *w, union arg *arg)
{
	arg->map.flags = MAP_RW;
	arg->map.iova = w->windows[w->nwindows - 1].base + HALF;
	arg->map.vaddr = (uintptr_t)w->mem;
	arg->map.size = PAGE_64K;
}

static void fill_unmap(const struct world *w, union arg *arg)
{
	arg->unmap.iova = w->windows[w->nwindows - 1].base;
	arg->unmap.size = PAGE_64K;
}

static void fill_register(const struct world *w, union arg *arg)
{
	arg->reg.vaddr = (uintptr_t)w->mem + HALF;
	arg->reg.size = PAGE_64K;
}

static void fill_unregister(const struct world *w, union arg *arg)
{
	arg->reg.vaddr = (uintptr_t)w->mem;
	arg->reg.size = HALF;
}

static void fill_create(const struct world *w, union arg *arg)
{
	arg->create.page_shift = SHIFT_64K;
	arg->create.window_size = WIN_SIZE;
	arg->create.levels = 1;
}

static void fill_remove(const struct world *w, union arg *arg)
{
	arg->remove.start_addr = w->windows[w->nwindows - 1].base;
}

static void fill_eeh(const struct world *w, union arg *arg)
{
	arg->eeh.op = VFIO_EEH_PE_GET_STATE;
}

#define V1	1
#define V2	2

struct call {
	const char *name;
	unsigned long cmd;
	size_t min;		/* what argsz must cover */
	size_t size;		/* of the whole structure */
	uint32_t flags;		/* that the call takes */
	int types;
	void (*fill)(const struct world *w, union arg *arg);	/* a good argument */
	uint64_t (*answers)(const struct world *w, const union arg *arg);
};

#define CALL(_cmd, _types, _type, _end, _flags, _name)				\
	{ #_cmd, _cmd, _end, sizeof(_type), _flags, _types, fill_##_name, _name##_answers }

static const struct call calls[] = {
	CALL(VFIO_IOMMU_SPAPR_TCE_GET_INFO, V1 | V2, struct vfio_iommu_spapr_tce_info,
	     offsetof(struct vfio_iommu_spapr_tce_info, ddw), UINT32_MAX, info),
	CALL(VFIO_IOMMU_MAP_DMA, V1 | V2, struct vfio_iommu_type1_dma_map,
	     sizeof(struct vfio_iommu_type1_dma_map), MAP_RW, map),
	CALL(VFIO_IOMMU_UNMAP_DMA, V1 | V2, struct vfio_iommu_type1_dma_unmap,
	     sizeof(struct vfio_iommu_type1_dma_unmap), 0, unmap),
	CALL(VFIO_IOMMU_SPAPR_REGISTER_MEMORY, V2, struct vfio_iommu_spapr_register_memory,
	     sizeof(struct vfio_iommu_spapr_register_memory), 0, register),
	CALL(VFIO_IOMMU_SPAPR_UNREGISTER_MEMORY, V2, struct vfio_iommu_spapr_register_memory,
	     sizeof(struct vfio_iommu_spapr_register_memory), 0, unregister),
	CALL(VFIO_IOMMU_SPAPR_TCE_CREATE, V2, struct vfio_iommu_spapr_tce_create,
	     sizeof(struct vfio_iommu_spapr_tce_create), 0, create),
	CALL(VFIO_IOMMU_SPAPR_TCE_REMOVE, V2, struct vfio_iommu_spapr_tce_remove,
	     sizeof(struct vfio_iommu_spapr_tce_remove), 0, remove),
	CALL(VFIO_EEH_PE_OP, V1 | V2, struct vfio_eeh_pe_op,
	     offsetof(struct vfio_eeh_pe_op, op) + sizeof(uint32_t), 0, eeh),
};

enum { GET_INFO, MAP, UNMAP, REGISTER, UNREGISTER, CREATE, REMOVE, EEH };

static union arg good(const struct world *w, const struct call *call)
{
	union arg arg = { .argsz = call->size };

	call->fill(w, &arg);
	return arg;
}

static uint64_t answers(const struct world *w, const struct call *call, const union arg *arg)
{
	uint64_t set;

	if (!(call->types & (w->v2 ? V2 : V1)))
		return ANSWER(ENOTTY);
	set = call->answers(w, arg);
	if (arg->argsz < call->min || arg->flags & ~call->flags)
		set |= ANSWER(EINVAL);
	return set ? set : ANSWER(0);
}

static void judge(struct world *w, const struct call *call, int ret, uint64_t want)
{
	bool state = call == &calls[EEH] && ret > 0 && ret <= VFIO_EEH_PE_STATE_UNAVAIL;

	if (!state && (ret > 0 || ret <= -64 || !(want & ANSWER(-ret))))
		complain(w, call->name, "answer", ret, want);
	if (ret)
		check_state(w, call->name);
	else if (call != &calls[GET_INFO] && call != &calls[EEH] && build(w))
		complain(w, call->name, "state after it", -1, 0);
}

/* The last of the @bytes that the kernel may look at are the last that are mapped. */
static void call_at_edge(struct world *w, const struct call *call, const union arg *arg,
			 size_t bytes)
{
	char *at = w->edge - bytes;

	memcpy(at, arg, bytes);
	judge(w, call, spapr_ioctl(w->c, call->cmd, at), answers(w, call, arg));
}

static void call_with(struct world *w, const struct call *call, const union arg *arg)
{
	call_at_edge(w, call, arg, call->size);
}

static void end_of_batch(struct world *w, const struct call *call)
{
	if (call == &calls[MAP] || call == &calls[UNMAP])
		default_window_may_be_there(w);
	check_counters(w, call->name);
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
	ASSERT_EQ(0, build(w));
}

FIXTURE_TEARDOWN(sweep)
{
	check_mappings(&self->w);
	EXPECT_EQ(0, self->w.wrong);
	EXPECT_TRUE(state_end(&self->st));
}

#define for_each_call(call)	for (call = calls; call < calls + ARRAY_SIZE(calls); call++)

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
			union arg arg = good(w, call);
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
			union arg arg = good(w, call);

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
		uint64_t want = call->types & (w->v2 ? V2 : V1) ? ANSWER(EFAULT) : ANSWER(ENOTTY);
		void *pointers[] = {
			NULL, w->edge, w->edge - call->min + 1, w->edge - 1, NOWHERE,
			(char *)KERNEL, (char *)-8L, (char *)-4096L, (char *)(1UL << 63),
		};

		for (i = 0; i < ARRAY_SIZE(pointers); i++) {
			union arg arg = good(w, call);

			memcpy(w->edge - call->min, &arg, call->min);
			judge(w, call, spapr_ioctl(w->c, call->cmd, pointers[i]), want);
		}
		end_of_batch(w, call);
	}
}

/* Whoever cannot be told about a new window does not get one. */
TEST_F(sweep, C2_results_that_cannot_be_written)
{
	static const unsigned int writers[] = { GET_INFO, CREATE };
	struct world *w = &self->w;
	unsigned int i;

	for (i = 0; i < ARRAY_SIZE(writers); i++) {
		const struct call *call = &calls[writers[i]];
		union arg arg = good(w, call);
		char *at = w->edge - call->size;
		uint64_t want = answers(w, call, &arg);

		memcpy(at, &arg, call->size);
		ASSERT_EQ(0, mprotect(w->edge - PAGE_64K, PAGE_64K, PROT_READ));
		judge(w, call, spapr_ioctl(w->c, call->cmd, at),
		      want == ANSWER(0) ? ANSWER(EFAULT) : want | ANSWER(EFAULT));
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
	const struct call *call = &calls[MAP];
	struct world *w = &self->w;
	struct values iova = iovas(w), size = range_sizes(w), va = addresses(w);
	unsigned int i, j, k;

	for (i = 0; i < iova.n; i++) {
		for (j = 0; j < size.n; j++) {
			for (k = 0; k < va.n; k++) {
				union arg arg = good(w, call);

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
	const struct call *call = &calls[UNMAP];
	struct world *w = &self->w;
	struct values iova = iovas(w), size = range_sizes(w);
	unsigned int i, j;

	for (i = 0; i < iova.n; i++) {
		for (j = 0; j < size.n; j++) {
			union arg arg = good(w, call);

			arg.unmap.iova = iova.v[i];
			arg.unmap.size = size.v[j];
			call_with(w, call, &arg);
		}
		end_of_batch(w, call);
	}
}

TEST_F(sweep, T1_MAP_and_UNMAP_with_one_bit_changed)
{
	struct world *w = &self->w;
	unsigned int bit, field;

	for (field = 0; field < 5; field++) {
		const struct call *call = &calls[field < 3 ? MAP : UNMAP];

		for (bit = 0; bit < 64; bit++) {
			union arg arg = good(w, call);
			__u64 *fields[] = { &arg.map.iova, &arg.map.size, &arg.map.vaddr,
					    &arg.unmap.iova, &arg.unmap.size };

			*fields[field] ^= 1UL << bit;
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
	for (k = REGISTER; k <= UNREGISTER; k++) {
		for (i = 0; i < va.n; i++) {
			for (j = 0; j < ARRAY_SIZE(sizes); j++) {
				union arg arg = good(w, &calls[k]);

				arg.reg.vaddr = va.v[i];
				arg.reg.size = sizes[j];
				call_with(w, &calls[k], &arg);
			}
			end_of_batch(w, &calls[k]);
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
	const struct call *call = &calls[CREATE];
	struct world *w = &self->w;
	unsigned int i, j, k;

	for (i = 0; i < ARRAY_SIZE(shifts); i++) {
		for (j = 0; j < ARRAY_SIZE(sizes); j++) {
			for (k = 0; k < ARRAY_SIZE(levels); k++) {
				union arg arg = good(w, call);

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
	const struct call *call = &calls[REMOVE];
	struct world *w = &self->w;
	struct values start = iovas(w);
	unsigned int i;

	for (i = 0; i < 64; i++)
		add(&start, 1UL << i);
	for (i = 0; i < start.n; i++) {
		union arg arg = good(w, call);

		arg.remove.start_addr = start.v[i];
		call_with(w, call, &arg);
	}
	end_of_batch(w, call);
}

TEST_F(sweep, EEH_operations_that_do_not_exist)
{
	const struct call *call = &calls[EEH];
	struct world *w = &self->w;
	unsigned int bit;

	for (bit = 0; bit < 32; bit++) {
		union arg arg = good(w, call);

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
	ASSERT_EQ(0, build(w));
	EXPECT_EQ(enable, spapr_ioctl(w->c, VFIO_IOMMU_ENABLE, (void *)-1L));
	ASSERT_EQ(0, build(w));
	EXPECT_EQ(disable, spapr_ioctl(w->c, VFIO_IOMMU_DISABLE, NULL));
	ASSERT_EQ(0, build(w));
	EXPECT_EQ(disable, spapr_ioctl(w->c, VFIO_IOMMU_DISABLE, (void *)-1L));
	ASSERT_EQ(0, build(w));
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
	check_state(w, "unknown calls");
	check_counters(w, "unknown calls");
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
	check_state(w, "CHECK_EXTENSION");
	check_counters(w, "CHECK_EXTENSION");
}

TEST_HARNESS_MAIN
