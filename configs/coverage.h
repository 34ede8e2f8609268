/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For coverage: what a source file wants inlined into all its callers is a function of its
 * own, whose branches are counted once.  Headers, whose code relies on it, get their way.
 */
#undef __always_inline
#define __always_inline		coverage_inline(__INCLUDE_LEVEL__)
#define coverage_inline(level)	coverage_inline_at(level)
#define coverage_inline_at(level) coverage_inline_ ## level
#define coverage_inline_0	inline
#define coverage_inline_1	inline __attribute__((__always_inline__))
#define coverage_inline_2	inline __attribute__((__always_inline__))
#define coverage_inline_3	inline __attribute__((__always_inline__))
#define coverage_inline_4	inline __attribute__((__always_inline__))
#define coverage_inline_5	inline __attribute__((__always_inline__))
#define coverage_inline_6	inline __attribute__((__always_inline__))
#define coverage_inline_7	inline __attribute__((__always_inline__))
#define coverage_inline_8	inline __attribute__((__always_inline__))
#define coverage_inline_9	inline __attribute__((__always_inline__))
#define coverage_inline_10	inline __attribute__((__always_inline__))
#define coverage_inline_11	inline __attribute__((__always_inline__))
#define coverage_inline_12	inline __attribute__((__always_inline__))
#define coverage_inline_13	inline __attribute__((__always_inline__))
#define coverage_inline_14	inline __attribute__((__always_inline__))
#define coverage_inline_15	inline __attribute__((__always_inline__))
#define coverage_inline_16	inline __attribute__((__always_inline__))
#define coverage_inline_17	inline __attribute__((__always_inline__))
#define coverage_inline_18	inline __attribute__((__always_inline__))
#define coverage_inline_19	inline __attribute__((__always_inline__))
#define coverage_inline_20	inline __attribute__((__always_inline__))
#define coverage_inline_21	inline __attribute__((__always_inline__))
#define coverage_inline_22	inline __attribute__((__always_inline__))
#define coverage_inline_23	inline __attribute__((__always_inline__))
#define coverage_inline_24	inline __attribute__((__always_inline__))
