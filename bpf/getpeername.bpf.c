/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * cgroup/getpeername4, getpeername6: applications see the peer that they would have without a mesh.
 *
 * A client sees where it connected to, and not 15001 or an endpoint that the kernel took; a server sees its real client, and not the agent. The
 * kernel runs this hook for accept() with an address as well. Kernel 5.8.
 */
#include "capture.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

static __always_inline bool is_shown(const struct culvert_name *name, __u16 role,
				     const struct culvert_address *kernel, __u16 port)
{
	return name->role == role && name->stands_for_port == port && same(&name->stands_for, kernel);
}

/*
 * The peer is the agent's end of a detour, but sockops found no memory to put the client's name on this
 * socket: it has left it where it was.
 */
static __always_inline void show_from_flows(struct bpf_sock_addr *ctx, bool v6, struct bpf_sock *sk,
					    const struct culvert_address *kernel, __u16 port)
{
	struct culvert_flow flow = { .source = *kernel, .source_port = port };
	struct culvert_memo *found;

	flow.netns = bpf_get_netns_cookie(ctx);
	flow.target_port = bpf_htons(sk->src_port);
	if (sk->family == AF_INET) {
		flow.target = from_v4(sk->src_ip4);
	} else {
		flow.target.word[0] = sk->src_ip6[0];
		flow.target.word[1] = sk->src_ip6[1];
		flow.target.word[2] = sk->src_ip6[2];
		flow.target.word[3] = sk->src_ip6[3];
	}
	found = bpf_map_lookup_elem(&flows, &flow);
	if (found && found->role == CULVERT_NAME_DIAL && (v6 || is_v4(&found->address)))
		show(ctx, v6, &found->address, found->port);
}

static __always_inline int on_getpeername(struct bpf_sock_addr *ctx, bool v6)
{
	struct culvert_address kernel;
	struct culvert_name *name;
	struct bpf_sock *sk = ctx->sk;
	__u16 port = ctx->user_port;

	if (!sk)
		return ALLOW;
	kernel = asked_for(ctx, v6);
	name = bpf_sk_storage_get(&peer_name, sk, 0, 0);
	if (!name || !is_shown(name, CULVERT_NAME_SERVED, &kernel, port)) {
		name = bpf_sk_storage_get(&orig_dst, sk, 0, 0);
		if (!name || !(is_shown(name, CULVERT_NAME_CLIENT, &kernel, port) ||
			       is_shown(name, CULVERT_NAME_SERVICE, &kernel, port))) {
			if (!name && is_detour(&kernel))
				show_from_flows(ctx, v6, sk, &kernel, port);
			return ALLOW;
		}
	}
	/* An IPv4 application whose client came by IPv6 can't be told; it sees the pod's own address. */
	if (v6 || is_v4(&name->address))
		show(ctx, v6, &name->address, name->port);
	return ALLOW;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	return on_getpeername(ctx, false);
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	return on_getpeername(ctx, true);
}
