/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the test programs share: the state that each test starts from, and the
 * check that it left nothing behind.
 */
#ifndef SPAPR_TCE_FIXTURE_H
#define SPAPR_TCE_FIXTURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>

#include "../../kselftest_harness.h"
#include "lib/nvme.h"
#include "lib/spapr_tce.h"

#define MEM_SIZE	(16UL << 20)
#define MEM_ALIGN	(1UL << 20)
#define WIN_SIZE	(1UL << 30)
#define PAGE_64K	(1UL << 16)

struct spapr_state {
	struct spapr_device dev[2];
	int ndev;
	struct spapr_setup s;
	char *mem;
	long vmlck;
	long pins;
};

/* Returns why the test cannot run, or NULL. */
static inline const char *state_begin(struct spapr_state *st, int ndev, int type)
{
	st->ndev = spapr_find_devices(st->dev, 2);
	if (st->ndev < ndev)
		return "too few NVMe controllers that vfio-pci can take";
	st->mem = spapr_memory(MEM_SIZE, MEM_ALIGN);
	st->vmlck = spapr_vmlck_kb();
	st->pins = spapr_pins_held();
	if (spapr_setup(&st->s, &st->dev[0], type))
		return "no container of this type";
	return NULL;
}

/* Closes everything; true when locked_vm and pins are where they were. */
static inline bool state_end(struct spapr_state *st)
{
	int tries;

	spapr_teardown(&st->s);
	for (tries = 0; tries < 100 && spapr_pins_held() != st->pins; tries++)
		usleep(20000);
	if (spapr_vmlck_kb() == st->vmlck && spapr_pins_held() == st->pins)
		return true;
	printf("# VmLck %ld -> %ld kB, pins held %ld -> %ld\n", st->vmlck, spapr_vmlck_kb(),
	       st->pins, spapr_pins_held());
	return false;
}

#endif /* SPAPR_TCE_FIXTURE_H */
