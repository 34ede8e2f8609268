// SPDX-License-Identifier: GPL-2.0
/*
 * QEMU plugin: how many instructions a guest executes between two markers, by
 * function.
 *
 * A program in the guest puts `ori 0,0,0x5a01` before and `ori 0,0,0x5a02` behind
 * what is to be counted; both do nothing.  Each pair gives a record in the output
 * file, numbered from 1:
 *
 *	record NUMBER TOTAL LATE STORES COMMON
 *	NAME INSTRUCTIONS CALLS		(for each function that ran)
 *
 * TOTAL is what was executed between the markers, in user space, kernel and
 * firmware, without timer interrupts: those come by the host's clock.  LATE is what
 * the functions named by late= executed after the second marker and before the next
 * record; TOTAL and the functions' lines include it.  STORES counts the stores to
 * device registers of the functions whose names contain the string io=.  COMMON counts the
 * places of memory that our functions for paging domains stored to in this record and in the last
 * one: with another thread in each record, those are what threads contend for.
 *
 * The guest must have one processor.
 *
 * With real=BYTES, which is the size of memory, there are no records.  Instead it tells what our
 * functions for real mode, which run nowhere else, loaded from and stored to:
 *
 *	real ACCESSES WILD
 *	wild ADDRESS NAME	(for the first of them)
 *
 * WILD are those that are neither in the linear mapping nor a device register.  On a real machine
 * they would end it; this emulator reads zeroes.
 *
 * usage: qemu-system-ppc64 -smp 1 -plugin count.so,out=FILE,syms=FILE[,late=NAME][,io=STRING][,real=BYTES]
 *
 * syms has a line for each function of the kernel, by address: the address, how far
 * behind it the local entry point is (ELFv2: calls that share the TOC pointer skip the
 * two instructions that load it), and the name.  Debian ships QEMU without the header
 * of its plugin interface, so what is used of it is declared here; the functions that
 * differ between QEMU 7.2 and 10 are weak.
 */
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define EXPORT		__attribute__((visibility("default")))
#define WEAK		__attribute__((weak))

struct qemu_plugin_tb;
struct qemu_plugin_insn;
struct qemu_plugin_scoreboard;
struct qemu_info {
	const char *target_name;
	struct {
		int min;
		int cur;
	} version;
};

struct score_entry {
	struct qemu_plugin_scoreboard *score;
	size_t offset;
};

typedef void (*exec_fn)(unsigned int cpu, void *data);
typedef void (*mem_fn)(unsigned int cpu, uint32_t info, uint64_t vaddr, void *data);
typedef void (*tb_fn)(uint64_t id, struct qemu_plugin_tb *tb);
typedef void (*exit_fn)(uint64_t id, void *data);

enum { ADD_U64 = 0, NO_REGS = 0, MEM_WRITE = 2, MEM_ANY = 3 };

size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *tb);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *tb, size_t i);
uint64_t qemu_plugin_insn_vaddr(const struct qemu_plugin_insn *insn);
/* Before version 3 it took the instruction only and returned where the bytes are. */
void *qemu_plugin_insn_data(const struct qemu_plugin_insn *insn, void *to, size_t size);
void qemu_plugin_register_vcpu_tb_trans_cb(uint64_t id, tb_fn fn);
void qemu_plugin_register_vcpu_insn_exec_cb(struct qemu_plugin_insn *insn, exec_fn fn, int flags,
					    void *data);
void qemu_plugin_register_vcpu_mem_cb(struct qemu_plugin_insn *insn, mem_fn fn, int flags, int rw,
				      void *data);
void *qemu_plugin_get_hwaddr(uint32_t info, uint64_t vaddr);
bool qemu_plugin_mem_is_store(uint32_t info);
bool qemu_plugin_hwaddr_is_io(const void *hwaddr);
void qemu_plugin_register_atexit_cb(uint64_t id, exit_fn fn, void *data);

WEAK void qemu_plugin_register_vcpu_insn_exec_inline(struct qemu_plugin_insn *insn, int op,
						     void *to, uint64_t value);
WEAK void qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(struct qemu_plugin_insn *insn,
							      int op, struct score_entry to,
							      uint64_t value);
WEAK struct qemu_plugin_scoreboard *qemu_plugin_scoreboard_new(size_t size);
WEAK void *qemu_plugin_scoreboard_find(struct qemu_plugin_scoreboard *score, unsigned int cpu);

EXPORT int qemu_plugin_version = 1;
EXPORT int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv);

#define OP_START	0x60005a01u
#define OP_STOP		0x60005a02u
#define OP_BLR		0x4e800020u
#define OP_RFID		0x4c000024u
#define OP_HRFID	0x4c000224u
#define OP_B_MASK	0xfc000003u
#define OP_B		0x48000000u

#define KERNEL		0xc000000000000000ull
#define VECTOR_FIRST	0x100ull
#define VECTOR_TIMER	0x900ull
#define VECTOR_TIMER_VIRT 0x4900ull	/* relocation on */
#define FIRMWARE	0x30000000ull
#define FIRMWARE_END	0x40000000ull

struct function {
	uint64_t addr;
	uint64_t entry;		/* where calls enter that need no new TOC pointer */
	char *name;
	bool io;
	bool real;		/* runs in real mode */
	bool domain;		/* of paging domains */
};

/* Two counters each: instructions and calls. */
static struct function *functions;
static size_t nr;
static uint64_t *counts;
static size_t cells;
static struct qemu_plugin_scoreboard *score;
static int interface;

/* Symbol numbers of code that is no function of the kernel. */
enum { USER, OPAL, UNKNOWN, FIRST };

/*
 * A function during whose execution something else is done with the counts: from
 * its entry to its return.  Scopes do not nest in themselves.
 */
struct scope {
	size_t function;
	bool inside;
	uint64_t *from;		/* what had been counted at its entry */
};

static struct scope timer, late;
static uint64_t *excluded;	/* of the current record, by timer interrupts */
static uint64_t *record;
static unsigned long records;
static uint64_t late_total, stores, common;
static uint64_t memory_size;	/* 0: addresses are not checked */
static uint64_t accesses, wild;
static bool counting, pending;
static FILE *out;

static void fail(const char *what, const char *arg)
{
	fprintf(stderr, "count: %s %s\n", what, arg);
	exit(1);
}

static void *zeroed(size_t n, size_t size)
{
	void *p = calloc(n, size);

	if (!p)
		fail("no memory for", "counters");
	return p;
}

/* What has been counted so far without what is excluded. */
static uint64_t net(size_t i)
{
	return counts[i] - excluded[i];
}

static void snapshot(struct scope *scope)
{
	memcpy(scope->from, counts, cells * sizeof(*counts));
}

static void timer_pause(void)
{
	size_t i;

	for (i = 0; i < cells; i++)
		excluded[i] += counts[i] - timer.from[i];
}

/* Callbacks that free memory run in a softirq, and that in a timer interrupt. */
static void late_enter(unsigned int cpu, void *data)
{
	size_t i;

	if (late.inside)
		return;
	if (timer.inside)
		timer_pause();
	late.inside = true;
	for (i = 0; i < cells; i++)
		late.from[i] = net(i);
}

static void late_leave(unsigned int cpu, void *data)
{
	uint64_t n;
	size_t i;

	if (!late.inside)
		return;
	late.inside = false;
	if (pending) {
		for (i = 0; i < cells; i++) {
			n = net(i) - late.from[i];
			record[i] += n;
			if (!(i & 1))
				late_total += n;
		}
	}
	if (timer.inside)
		snapshot(&timer);
}

/*
 * A timer interrupt lasts from its vector to the return from interrupt behind
 * timer_interrupt(), or to the first one, where the kernel had masked it and only
 * takes note of it.  It is then replayed: timer_interrupt() runs without a vector.
 */
static enum { OUTSIDE, AT_VECTOR, IN_HANDLER, IN_REPLAY, RETURNING } timer_state;

static void timer_begin(void)
{
	timer.inside = true;
	snapshot(&timer);
}

static void timer_end(void)
{
	timer.inside = false;
	timer_state = OUTSIDE;
	if (!late.inside)
		timer_pause();
}

static void timer_vector(unsigned int cpu, void *data)
{
	if (timer_state != OUTSIDE)
		return;
	timer_state = AT_VECTOR;
	timer_begin();
}

static void timer_enter(unsigned int cpu, void *data)
{
	if (timer_state == AT_VECTOR) {
		timer_state = IN_HANDLER;
	} else if (timer_state == OUTSIDE) {
		timer_state = IN_REPLAY;
		timer_begin();
	}
}

static void timer_leave(unsigned int cpu, void *data)
{
	if (timer_state == IN_HANDLER)
		timer_state = RETURNING;
	else if (timer_state == IN_REPLAY)
		timer_end();
}

static void interrupt_return(unsigned int cpu, void *data)
{
	if (timer_state == RETURNING || timer_state == AT_VECTOR)
		timer_end();
}

static void write_record(void)
{
	uint64_t total = 0;
	size_t i;

	if (!pending)
		return;
	pending = false;
	if (memory_size)
		return;
	for (i = 0; i < cells; i += 2)
		total += record[i];
	fprintf(out, "record %lu %llu %llu %llu %llu\n", records, (unsigned long long)total,
		(unsigned long long)late_total, (unsigned long long)stores,
		(unsigned long long)common);
	for (i = 0; i < nr; i++)
		if (record[2 * i])
			fprintf(out, "%s %llu %llu\n", functions[i].name,
				(unsigned long long)record[2 * i],
				(unsigned long long)record[2 * i + 1]);
	fflush(out);
}

static void start(unsigned int cpu, void *data)
{
	write_record();
	records++;
	late_total = 0;
	stores = 0;
	common = 0;
	counting = true;
	memset(counts, 0, cells * sizeof(*counts));
	memset(excluded, 0, cells * sizeof(*excluded));
}

static void stop(unsigned int cpu, void *data)
{
	size_t i;

	if (!counting)
		return;
	counting = false;
	pending = true;
	for (i = 0; i < cells; i++)
		record[i] = net(i);
}

static void store(unsigned int cpu, uint32_t info, uint64_t vaddr, void *data)
{
	void *hwaddr = qemu_plugin_get_hwaddr(info, vaddr);

	if (counting && hwaddr && qemu_plugin_hwaddr_is_io(hwaddr))
		stores++;
}

/* The words that were stored to, and in which record last; a later one takes a place over. */
#define PLACES	(1u << 20)
static struct place {
	uint64_t word;
	unsigned long record;
} places[PLACES];

/*
 * QEMU 7.2 also calls back for accesses of later instructions of others that it does by functions
 * of its own, as atomic ones.  So only the access right behind the instruction counts.
 */
static bool at_domain_store;

static void domain_store_begin(unsigned int cpu, void *data)
{
	at_domain_store = counting;
}

static void domain_store(unsigned int cpu, uint32_t info, uint64_t vaddr, void *data)
{
	uint64_t word = vaddr / sizeof(uint64_t);
	struct place *place = &places[word % PLACES];

	if (!at_domain_store || !qemu_plugin_mem_is_store(info))
		return;
	at_domain_store = false;
	if (place->word == word && place->record == records - 1)
		common++;
	place->word = word;
	place->record = records;
}

/* An access by the function number @data, which is one for real mode. */
static void real_access(unsigned int cpu, uint32_t info, uint64_t vaddr, void *data)
{
	void *hwaddr;

	accesses++;
	if (vaddr - KERNEL < memory_size)
		return;
	hwaddr = qemu_plugin_get_hwaddr(info, vaddr);
	if (vaddr < KERNEL && hwaddr && qemu_plugin_hwaddr_is_io(hwaddr))
		return;
	if (wild++ < 8)
		fprintf(out, "wild %llx %s\n", (unsigned long long)vaddr,
			functions[(size_t)data].name);
}

/*
 * The function that holds @vaddr; real mode sees the kernel without its offset.  Below the
 * first vector is code of guests under KVM (lib/vm.c).
 */
static size_t find(uint64_t vaddr)
{
	size_t low = FIRST, high = nr, mid;

	if (vaddr >= VECTOR_FIRST && vaddr < functions[nr - 1].addr - KERNEL)
		vaddr += KERNEL;
	if (vaddr < KERNEL)
		return vaddr >= FIRMWARE && vaddr < FIRMWARE_END ? OPAL : USER;
	if (vaddr < functions[FIRST].addr || vaddr >= functions[nr - 1].addr)
		return UNKNOWN;
	while (high - low > 1) {
		mid = (low + high) / 2;
		if (functions[mid].addr <= vaddr)
			low = mid;
		else
			high = mid;
	}
	return low;
}

static void count(struct qemu_plugin_insn *insn, size_t cell)
{
	struct score_entry to = { score, cell * sizeof(*counts) };

	if (score)
		qemu_plugin_register_vcpu_insn_exec_inline_per_vcpu(insn, ADD_U64, to, 1);
	else
		qemu_plugin_register_vcpu_insn_exec_inline(insn, ADD_U64, &counts[cell], 1);
}

/* The instruction word; QEMU's versions differ in the order of its bytes. */
static uint32_t opcode(const struct qemu_plugin_insn *insn)
{
	uint8_t bytes[4] = { 0 };
	const uint8_t *b = bytes;

	if (interface >= 3)
		qemu_plugin_insn_data(insn, bytes, sizeof(bytes));
	else
		b = qemu_plugin_insn_data(insn, NULL, 0);
	return (uint32_t)b[0] << 24 | b[1] << 16 | b[2] << 8 | b[3];
}

static bool is(uint32_t op, uint32_t mask, uint32_t value)
{
	return (op & mask) == value || (__builtin_bswap32(op) & mask) == value;
}

/* stw to sthu, std and stdu, and those of two registers: 150 is stwcx., 662 stwbrx. */
static bool is_store_word(uint32_t op)
{
	static const uint16_t extended[] = {
		149, 150, 151, 181, 183, 214, 215, 247, 407, 439, 660, 662, 694, 726, 918,
	};
	unsigned int primary = op >> 26, i;

	for (i = 0; primary == 31 && i < sizeof(extended) / sizeof(extended[0]); i++)
		if ((op >> 1 & 0x3ff) == extended[i])
			return true;
	return primary == 62 || (primary >= 36 && primary <= 39) || primary == 44 || primary == 45;
}

static bool is_store(uint32_t op)
{
	return is_store_word(op) || is_store_word(__builtin_bswap32(op));
}

static void on(struct qemu_plugin_insn *insn, exec_fn fn)
{
	qemu_plugin_register_vcpu_insn_exec_cb(insn, fn, NO_REGS, NULL);
}

/*
 * Where a function returns or leaves for good by a branch to another one.  In the wrong order
 * of bytes other instructions look like a branch, too, but lead nowhere.
 */
static bool leaves(struct qemu_plugin_insn *insn, size_t f)
{
	uint32_t op = opcode(insn);
	uint64_t to;
	int32_t by;
	size_t g;

	if (is(op, ~0u, OP_BLR))
		return true;
	if ((op & OP_B_MASK) != OP_B)
		op = __builtin_bswap32(op);
	if ((op & OP_B_MASK) != OP_B)
		return false;
	by = (int32_t)(op << 6) >> 6;
	to = qemu_plugin_insn_vaddr(insn) + by;
	g = find(to);
	return g != f && g >= FIRST && (to | KERNEL) == functions[g].entry;
}

static void translate(uint64_t id, struct qemu_plugin_tb *tb)
{
	size_t n = qemu_plugin_tb_n_insns(tb), i, f;

	if (!counts)	/* not to be had before there is a processor */
		counts = qemu_plugin_scoreboard_find(score, 0);
	for (i = 0; i < n; i++) {
		struct qemu_plugin_insn *insn = qemu_plugin_tb_get_insn(tb, i);
		uint64_t vaddr = qemu_plugin_insn_vaddr(insn);
		bool entry;

		f = find(vaddr);
		if ((vaddr & ~KERNEL) == VECTOR_TIMER || (vaddr & ~KERNEL) == VECTOR_TIMER_VIRT)
			on(insn, timer_vector);
		entry = f >= FIRST && (vaddr | KERNEL) == functions[f].entry;
		if (entry && f == timer.function)
			on(insn, timer_enter);
		if (entry && f == late.function)
			on(insn, late_enter);
		if (f == USER && is(opcode(insn), ~0u, OP_START))
			on(insn, start);
		count(insn, 2 * f);
		if (entry)
			count(insn, 2 * f + 1);
		if (f == USER && is(opcode(insn), ~0u, OP_STOP))
			on(insn, stop);
		if (functions[f].real)
			qemu_plugin_register_vcpu_mem_cb(insn, real_access, NO_REGS, MEM_ANY,
							 (void *)f);
		if (functions[f].io)
			qemu_plugin_register_vcpu_mem_cb(insn, store, NO_REGS, MEM_WRITE, NULL);
		if (functions[f].domain && is_store(opcode(insn))) {
			on(insn, domain_store_begin);
			qemu_plugin_register_vcpu_mem_cb(insn, domain_store, NO_REGS, MEM_WRITE,
							 NULL);
		}
		if (f != USER && (is(opcode(insn), ~0u, OP_RFID) || is(opcode(insn), ~0u, OP_HRFID)))
			on(insn, interrupt_return);
		if (f == timer.function && leaves(insn, f))
			on(insn, timer_leave);
		if (f == late.function && leaves(insn, f))
			on(insn, late_leave);
	}
}

/* By their names: what kvmppc_rm_h_put_tce() and its kin call. */
static bool for_real_mode(const char *name)
{
	return (strstr(name, "_rm") && (strstr(name, "tce") || strstr(name, "mm_iommu"))) ||
	       !strcmp(name, "rm_put_list");
}

/* And what the domain operations of powernv call. */
static bool for_domains(const char *name)
{
	static const char * const prefixes[] = {
		"domain_", "pnv_tce_", "pnv_pci_ioda2_tce_", "opal_pci_tce_kill",
	};
	size_t i;

	for (i = 0; i < sizeof(prefixes) / sizeof(prefixes[0]); i++)
		if (!strncmp(name, prefixes[i], strlen(prefixes[i])))
			return true;
	return false;
}

static void add_function(uint64_t addr, uint64_t entry, const char *name, const char *io)
{
	static size_t room;

	if (nr == room) {
		room = room ? 2 * room : 4096;
		functions = realloc(functions, room * sizeof(*functions));
		if (!functions)
			fail("no memory for", "symbols");
	}
	functions[nr].addr = addr;
	functions[nr].entry = addr + entry;
	functions[nr].name = strdup(name);
	functions[nr].io = *io && strstr(name, io);
	functions[nr].real = memory_size && for_real_mode(name);
	functions[nr].domain = for_domains(name);
	nr++;
}

static void read_symbols(const char *path, const char *io)
{
	FILE *f = fopen(path, "r");
	unsigned long long addr, entry;
	char line[600], name[512];

	if (!f)
		fail("cannot read", path);
	add_function(0, 0, "(user space)", "");
	add_function(0, 0, "(firmware)", "");
	add_function(0, 0, "(unknown)", "");
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx %llu %511s", &addr, &entry, name) != 3 || addr < KERNEL)
			fail("bad line in", path);
		if (addr != functions[nr - 1].addr)
			add_function(addr, entry, name, io);
	}
	fclose(f);
	if (nr <= FIRST)
		fail("no symbols in", path);
}

static size_t find_name(const char *name)
{
	size_t i;

	for (i = FIRST; i < nr; i++)
		if (!strcmp(functions[i].name, name))
			return i;
	return SIZE_MAX;
}

static void finish(uint64_t id, void *data)
{
	write_record();
	if (memory_size)
		fprintf(out, "real %llu %llu\n", (unsigned long long)accesses,
			(unsigned long long)wild);
	fprintf(out, "end %lu\n", records);
	fclose(out);
}

/* The version must be named before QEMU looks, and each QEMU knows some only. */
__attribute__((constructor)) static void choose_version(void)
{
	if (!qemu_plugin_register_vcpu_insn_exec_inline)
		qemu_plugin_version = 2;
}

int qemu_plugin_install(uint64_t id, const struct qemu_info *info, int argc, char **argv)
{
	const char *syms = "", *io = "", *late_name = "", *path = "";
	int i;

	interface = info->version.cur;
	for (i = 0; i < argc; i++) {
		if (!strncmp(argv[i], "out=", 4))
			path = argv[i] + 4;
		else if (!strncmp(argv[i], "syms=", 5))
			syms = argv[i] + 5;
		else if (!strncmp(argv[i], "late=", 5))
			late_name = argv[i] + 5;
		else if (!strncmp(argv[i], "io=", 3))
			io = argv[i] + 3;
		else if (!strncmp(argv[i], "real=", 5))
			memory_size = strtoull(argv[i] + 5, NULL, 0);
		else
			fail("unknown argument", argv[i]);
	}
	out = fopen(path, "w");
	if (!out)
		fail("cannot write", path);
	read_symbols(syms, io);
	timer.function = find_name("timer_interrupt");
	late.function = find_name(late_name);
	if (timer.function == SIZE_MAX)
		fail("no timer_interrupt in", syms);

	cells = 2 * nr;
	if (qemu_plugin_register_vcpu_insn_exec_inline)
		counts = zeroed(cells, sizeof(*counts));
	else
		score = qemu_plugin_scoreboard_new(cells * sizeof(*counts));
	excluded = zeroed(cells, sizeof(*excluded));
	record = zeroed(cells, sizeof(*record));
	timer.from = zeroed(cells, sizeof(*timer.from));
	late.from = zeroed(cells, sizeof(*late.from));
	qemu_plugin_register_vcpu_tb_trans_cb(id, translate);
	qemu_plugin_register_atexit_cb(id, finish, NULL);
	return 0;
}
