/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * cgroup/recvmsg4, recvmsg6: an answer of the agent is shown as coming from the server that was asked.
 *
 * Runs for every datagram that is received with an address, so what did not come from 15053 leaves at the
 * first line. recvmsg6 sees IPv4 as v4-mapped. Kernel 5.15; nothing in here is newer than 5.8.
 */
#include "capture.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline int on_recvmsg(struct bpf_sock_addr *ctx, bool v6)
{
	struct culvert_address from;
	struct culvert_name *name;
	struct bpf_sock *sk;

	if (ctx->user_port != bpf_htons(dns_port))
		return ALLOW;
	sk = ctx->sk;
	name = sk ? bpf_sk_storage_get(&orig_dst, sk, 0, 0) : 0;
	if (!name || name->role != CULVERT_NAME_CLIENT)
		return ALLOW;
	from = asked_for(ctx, v6);
	if (name->stands_for_port == bpf_htons(dns_port) && same(&name->stands_for, &from))
		show(ctx, v6, &name->address, name->port);
	return ALLOW;
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	return on_recvmsg(ctx, false);
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	return on_recvmsg(ctx, true);
}
