/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Is the agent there, and is this socket its own? Asked by every hook that could send traffic to it.
 *
 * The agent counts as gone when its heartbeat is older than `heartbeat_timeout_ns` (it hangs, or was stopped
 * and others hold its sockets) or when nobody listens at the port in the pod's namespace (it died: the kernel
 * closed them).
 */
#ifndef CULVERT_AGENT_H
#define CULVERT_AGENT_H

#include "address.h"
#include "maps.h"

/* Set by user space before loading; ports in host order. */
const volatile __u64 heartbeat_timeout_ns = 10000000000ULL;
const volatile __u16 outbound_port = 15001;
const volatile __u16 plaintext_port = 15006;
const volatile __u16 hbone_port = 15008;
const volatile __u16 dns_port = 15053;

static __always_inline bool agent_alive(void)
{
	__u32 zero = 0;
	__u64 *beat = bpf_map_lookup_elem(&heartbeat, &zero);

	/* Signed: another CPU may write it between the two reads. */
	return beat && *beat && (__s64)(bpf_ktime_get_ns() - *beat) < (__s64)heartbeat_timeout_ns;
}

/* By cgroup, which only root on the node can enter; a pod could set any uid or mark. */
static __always_inline bool is_agent(void)
{
	__u32 zero = 0;
	struct culvert_config *c = bpf_map_lookup_elem(&config, &zero);
	__u64 cgroup = bpf_get_current_cgroup_id();

	return c && (c->agent_cgroup[0] == cgroup || c->agent_cgroup[1] == cgroup);
}

/* Is there a listener at address:port in the namespace of this socket? `port` in host order. */
static __always_inline bool listens(struct bpf_sock_addr *ctx, const struct culvert_address *at, __u16 port,
				    bool udp)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *found;
	__u32 size;

	/* From the address to itself: our own sk_lookup program then sees the pod talking to itself. */
	if (is_v4(at)) {
		tuple.ipv4.saddr = tuple.ipv4.daddr = at->word[3];
		tuple.ipv4.dport = bpf_htons(port);
		size = sizeof(tuple.ipv4);
	} else {
		tuple.ipv6.saddr[0] = tuple.ipv6.daddr[0] = at->word[0];
		tuple.ipv6.saddr[1] = tuple.ipv6.daddr[1] = at->word[1];
		tuple.ipv6.saddr[2] = tuple.ipv6.daddr[2] = at->word[2];
		tuple.ipv6.saddr[3] = tuple.ipv6.daddr[3] = at->word[3];
		tuple.ipv6.dport = bpf_htons(port);
		size = sizeof(tuple.ipv6);
	}
	if (udp)
		found = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		found = bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!found)
		return false;
	/* From port 0 nothing is connected, so this is a listener. */
	bpf_sk_release(found);
	return true;
}

/* Ports in the pod's namespace where the agent listens; in host order. */
static __always_inline bool is_agent_port(__u16 port)
{
	return port == outbound_port || port == plaintext_port || port == hbone_port || port == dns_port;
}

#endif
