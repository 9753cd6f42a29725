/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Which endpoint of a Service shall a connection have? Asked by the connect hook for what has no verdict. One that is a pod
 * of this node, and that the agent has decided about, is connected at once (the kernel path); any other is noted on the
 * socket, so that the agent takes it and nobody draws twice.
 */
#ifndef CULVERT_SERVICE_H
#define CULVERT_SERVICE_H

#include "verdict.h"

static __always_inline bool same_key(const struct culvert_verdict_key *a, const struct culvert_verdict_key *b)
{
	return a->netns == b->netns && a->port == b->port && same(&a->target, &b->target);
}

/* False: the kernel does not know the Service, and has no choice to make. */
static __always_inline bool choose(__u64 netns, const struct culvert_address *to, __u16 port,
				   struct culvert_choice *chosen)
{
	struct culvert_verdict_key key = { .netns = netns, .target = *to, .port = port };
	struct culvert_service *service = bpf_map_lookup_elem(&services, &key);
	__u32 at;

	if (!service)
		return false;
	at = (__u64)bpf_get_prandom_u32() * service->count >> 32 & (CULVERT_MAX_CHOICES - 1);
	if (bpf_get_prandom_u32() > service->choice[at].share)
		at = service->choice[at].other & (CULVERT_MAX_CHOICES - 1);
	*chosen = service->choice[at];
	/* After all has been read, since the entry may have become another one's meanwhile. */
	asm volatile("" ::: "memory");
	return chosen->port && same_key(&service->of, &key);
}

static __always_inline bool refuses(const struct culvert_choice *chosen)
{
	struct culvert_endpoint at = { .address = chosen->address, .port = chosen->port };

	if (!bpf_map_lookup_elem(&refusing, &at))
		return false;
	count(culvert_path_refusing);
	return true;
}

/*
 * True: the connection goes straight to the endpoint that was chosen, and getpeername will show the Service. An endpoint
 * of the other family can't be reached by this socket; its name is the agent's business.
 */
static __always_inline bool reaches(struct bpf_sock_addr *ctx, const struct culvert_pod *pod, __u64 netns, bool v6,
				    const struct culvert_address *to, __u16 port, const struct culvert_choice *chosen)
{
	struct bpf_sock *sk = ctx->sk;
	struct culvert_name *name;

	if (!sk || !(chosen->flags & CULVERT_CHOICE_HERE) || refuses(chosen))
		return false;
	name = bpf_sk_storage_get(&orig_dst, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!name || !has_verdict(pod, sk, netns, &chosen->address, chosen->port))
		return false;
	remember(name, CULVERT_NAME_SERVICE, to, port, &chosen->address, chosen->port);
	show(ctx, v6, &chosen->address, chosen->port);
	count(culvert_path_service);
	return true;
}

#endif
