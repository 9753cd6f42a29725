/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * cgroup/sendmsg4, sendmsg6: DNS queries of UDP sockets that are not connected (connected ones pass through
 * connect). An AF_INET6 socket that sends to a v4-mapped address comes to sendmsg4. Kernel 5.15; nothing in
 * here is newer than 5.8.
 */
#include "dns.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int on_sendmsg(struct bpf_sock_addr *ctx, bool v6)
{
	struct culvert_pod *pod;
	__u64 netns;

	if (ctx->user_port != bpf_htons(DNS_PORT))
		return ALLOW;
	netns = bpf_get_netns_cookie(ctx);
	pod = bpf_map_lookup_elem(&pods, &netns);
	if (!pod || !(pod->flags & CULVERT_POD_DNS))
		return ALLOW;
	return capture_dns_udp(ctx, pod, netns, v6, false);
}

SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	return on_sendmsg(ctx, false);
}

SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	return on_sendmsg(ctx, true);
}
