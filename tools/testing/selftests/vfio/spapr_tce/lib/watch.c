// SPDX-License-Identifier: GPL-2.0
/* See watch.h. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "../../../kselftest.h"
#include "watch.h"

static const char *doing;
static time_t deadline;

static void *watch(void *arg)
{
	time_t until;

	for (;; usleep(100000)) {
		until = __atomic_load_n(&deadline, __ATOMIC_ACQUIRE);
		if (until && time(NULL) > until) {
			printf("# does not return: %s\n", doing);
			fflush(stdout);
			_exit(KSFT_FAIL);
		}
	}
	return NULL;
}

int watch_begin(void)
{
	pthread_t thread;

	return pthread_create(&thread, NULL, watch, NULL);
}

void watch_on(const char *what)
{
	doing = what;
	__atomic_store_n(&deadline, time(NULL) + WATCH_PATIENCE, __ATOMIC_RELEASE);
}

void watch_off(void)
{
	__atomic_store_n(&deadline, 0, __ATOMIC_RELEASE);
}
