// SPDX-License-Identifier: GPL-2.0
/*
 * A PHB that leaves a partition (DLPAR) while a guest of KVM still has a group of it. What the
 * hypervisor's tools do last is done here: they take the nodes of its devices and its own from
 * the device tree. Nobody gives them back, so this is the last program of a machine.
 */
#include <limits.h>

#include "kvm_fixture.h"

#define OFDT	"/proc/powerpc/ofdt"
#define TREE	"/firmware/devicetree/base"

FIXTURE(dlpar)
{
	struct guest g;
};

FIXTURE_VARIANT(dlpar)
{
	bool linked;	/* the guest has a link to the window of the group */
	bool left;	/* the group leaves its container first */
};

FIXTURE_VARIANT_ADD(dlpar, linked_and_left) { true, true };
FIXTURE_VARIANT_ADD(dlpar, linked) { true, false };
FIXTURE_VARIANT_ADD(dlpar, in_a_container) { false, false };

FIXTURE_SETUP(dlpar)
{
	struct guest *g = &self->g;
	const char *why = access(OFDT, W_OK) ? "the device tree does not change here" :
			  guest_begin(g, 1);

	if (why)
		SKIP(return, "%s", why);
	ASSERT_EQ(0, guest_table(g, SHIFT_64K, SHIFT_64K));
	if (variant->linked)
		ASSERT_EQ(0, guest_add_and_set(g));
}

FIXTURE_TEARDOWN(dlpar)
{
	EXPECT_TRUE(guest_end(&self->g));
}

/* Where in the device tree a device is. */
static const char *node_of(const struct spapr_device *dev, char real[PATH_MAX])
{
	char path[400];
	const char *node;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/of_node", dev->bdf);
	if (!realpath(path, real))
		return NULL;
	node = strstr(real, TREE);
	return node ? node + strlen(TREE) : NULL;
}

static int node_remove(const char *node)
{
	char command[PATH_MAX + 16];

	snprintf(command, sizeof(command), "remove_node %s", node);
	return spapr_write_file(OFDT, command);
}

TEST_F(dlpar, K15_node_of_a_group_that_was_set)
{
	struct guest *g = &self->g;
	const char *device = node_of(&g->st.dev[0], (char[PATH_MAX]) { });
	char phb[PATH_MAX];

	ASSERT_NE(NULL, device);
	snprintf(phb, sizeof(phb), "%.*s", (int)(strrchr(device, '/') - device), device);

	EXPECT_EQ(0, spapr_map(g->c, g->base + PAGE_64K, g->mem, PAGE_64K, MAP_RW));
	EXPECT_EQ(H_SUCCESS, map_eight(g));
	if (variant->left)
		ASSERT_EQ(0, spapr_unset_container(g->st.s.group));
	ASSERT_EQ(0, spapr_unplug(&g->st.dev[0]));
	ASSERT_EQ(0, node_remove(device));
	ASSERT_EQ(0, node_remove(phb));
	EXPECT_GT(0, spapr_map(g->c, g->base, g->mem, PAGE_64K, MAP_RW));
	if (!variant->linked)
		return;
	/* There is a group, but no window that a guest could have. */
	EXPECT_EQ(-EINVAL, vm_set(&g->vm, g->st.s.group, g->table));
	EXPECT_EQ(H_TOO_HARD, map_eight(g));
	EXPECT_EQ(0, vm_del(&g->vm, g->st.s.group));
	EXPECT_EQ(H_SUCCESS, map_eight(g));
}

TEST_HARNESS_MAIN
