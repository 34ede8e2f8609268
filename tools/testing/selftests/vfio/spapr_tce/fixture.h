/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the test programs share of the harness: how long a test may take, and the fixture
 * "a container with one group" (lib/state.h).
 */
#ifndef SPAPR_TCE_FIXTURE_H
#define SPAPR_TCE_FIXTURE_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "../../kselftest_harness.h"
#include "lib/nvme.h"
#include "lib/spapr_tce.h"
#include "lib/state.h"

/* An emulated machine on a busy host is slow; the harness would give a test 30 s. */
#undef TEST_TIMEOUT_DEFAULT
#define TEST_TIMEOUT_DEFAULT 600

/* Run @call in a forked child, which has an mm of its own; its result comes back. */
#define in_child(call)							\
	({								\
		int _status;						\
		pid_t _pid = fork();					\
									\
		if (!_pid)						\
			_exit(-(call) & 0xff);				\
		waitpid(_pid, &_status, 0);				\
		-WEXITSTATUS(_status);					\
	})

/* The state "a container of type @_type with one group, then @_setup has been done". */
#define CONTAINER_FIXTURE(_name, _type, _setup)				\
	FIXTURE(_name)							\
	{								\
		struct spapr_state st;					\
		int c;							\
		char *mem;						\
	};								\
									\
	FIXTURE_SETUP(_name)						\
	{								\
		const char *why = state_begin(&self->st, 1, _type);	\
									\
		if (why)						\
			SKIP(return, "%s", why);			\
		self->c = self->st.s.container;				\
		self->mem = self->st.mem;				\
		_setup;							\
	}								\
									\
	FIXTURE_TEARDOWN(_name)						\
	{								\
		EXPECT_TRUE(state_end(&self->st));			\
	}

#endif /* SPAPR_TCE_FIXTURE_H */
