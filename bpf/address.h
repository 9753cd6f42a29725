/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Addresses as 16 bytes, IPv4 as ::ffff:a.b.c.d: comparisons and the ranges that are never captured. */
#ifndef CULVERT_ADDRESS_H
#define CULVERT_ADDRESS_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <linux/in.h>
#include <linux/in6.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "culvert.h"

#define AF_INET 2
#define AF_INET6 10
#define SOCK_STREAM 1
#define SOCK_DGRAM 2
#define DNS_PORT 53

/*
 * Reads a 32-bit field of a program's context. As assembly, since the compiler likes to join the reads of two
 * branches behind one computed pointer, and the verifier takes context fields only at constant offsets.
 */
#define FIELD(ctx, name)                                                                                     \
	({                                                                                                   \
		__u64 value;                                                                                 \
		asm volatile("%0 = *(u32 *)(%1 + %2)"                                                        \
			     : "=r"(value)                                                                   \
			     : "r"(ctx), "i"(__builtin_offsetof(__typeof__(*(ctx)), name)));                 \
		(__u32) value;                                                                               \
	})

#define V6_FIELD(ctx, name)                                                                                  \
	((struct culvert_address){                                                                           \
		{ FIELD(ctx, name[0]), FIELD(ctx, name[1]), FIELD(ctx, name[2]), FIELD(ctx, name[3]) } })

static __always_inline struct culvert_address from_v4(__u32 ip)
{
	struct culvert_address a = { { 0, 0, bpf_htonl(0xffff), ip } };

	return a;
}

static __always_inline bool same(const struct culvert_address *a, const struct culvert_address *b)
{
	return a->word[0] == b->word[0] && a->word[1] == b->word[1] && a->word[2] == b->word[2] &&
	       a->word[3] == b->word[3];
}

static __always_inline bool none(const struct culvert_address *a)
{
	return !(a->word[0] | a->word[1] | a->word[2] | a->word[3]);
}

static __always_inline bool is_v4(const struct culvert_address *a)
{
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == bpf_htonl(0xffff);
}

/* 127.0.0.0/8 and ::1; and 0.0.0.0 and ::, which connect() takes for this machine. */
static __always_inline bool is_loopback(const struct culvert_address *a)
{
	if (is_v4(a))
		return (a->word[3] & bpf_htonl(0xff000000)) == bpf_htonl(0x7f000000) || a->word[3] == 0;
	return a->word[0] == 0 && a->word[1] == 0 && a->word[2] == 0 && (a->word[3] & ~bpf_htonl(1)) == 0;
}

/*
 * No destination that the agent could dial: fe80::/10 has a meaning on one interface only, which it cannot be
 * told; the kernel refuses TCP to multicast (ff00::/8, 224.0.0.0/4) and broadcast.
 */
static __always_inline bool is_link_scoped(const struct culvert_address *a)
{
	if (is_v4(a))
		return (a->word[3] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || a->word[3] == 0xffffffff;
	return (a->word[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) ||
	       (a->word[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
}

/* The agent's end of a connection inside a pod, see CULVERT_DETOUR. */
static __always_inline struct culvert_address detour(void)
{
	return from_v4(bpf_htonl(CULVERT_DETOUR | (bpf_get_prandom_u32() & ~CULVERT_DETOUR_MASK)));
}

static __always_inline bool is_detour(const struct culvert_address *a)
{
	return is_v4(a) && (a->word[3] & bpf_htonl(CULVERT_DETOUR_MASK)) == bpf_htonl(CULVERT_DETOUR);
}

#endif
