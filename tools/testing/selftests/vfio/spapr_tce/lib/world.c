// SPDX-License-Identifier: GPL-2.0
/* See world.h. */
#include <errno.h>
#include <stdio.h>

#include "spapr_tce.h"
#include "world.h"

void world_complain(struct world *w, const char *call, const char *what, long got, uint64_t want)
{
	if (++w->wrong <= 20)
		printf("# %s: %s: got %ld, want %#llx\n", call, what, got,
		       (unsigned long long)want);
}

int world_build(struct world *w)
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

void world_default_window_may_be_there(struct world *w)
{
	if (!w->due || spapr_vmlck_kb() == w->vmlck)
		return;
	w->due = false;
	w->vmlck += w->windows[0].size >> w->windows[0].shift << 4 >> 10;
}

void world_check_counters(struct world *w, const char *call)
{
	if (spapr_vmlck_kb() != w->vmlck)
		world_complain(w, call, "VmLck after it was refused", spapr_vmlck_kb(), w->vmlck);
	if (spapr_pins_held() != w->pins)
		world_complain(w, call, "pins after it was refused", spapr_pins_held(), w->pins);
}

static void probe(struct world *w, const char *call, const char *what, int got, int want)
{
	if (got != want)
		world_complain(w, call, what, got, E(-want));
}

void world_check_state(struct world *w, const char *call)
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

void world_check_mappings(struct world *w)
{
	int i;

	for (i = 0; i < w->nwindows && w->stage == MAPPED; i++)
		probe(w, "at the end", "UNMAP", spapr_unmap(w->c, w->windows[i].base, HALF), 0);
	if (w->v2 && w->stage >= ENABLED)
		probe(w, "at the end", "UNREGISTER", spapr_unregister(w->c, w->mem, HALF), 0);
	if (spapr_pins_held() != w->st->pins)
		world_complain(w, "at the end", "pins", spapr_pins_held(), w->st->pins);
}
