/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * UDP queries to port 53: brought to the agent's 15053, and the server that was meant kept where the agent
 * finds it.
 *
 * Names resolve without us: whatever is missing (agent, memory, a listener), the query goes where it was going.
 */
#ifndef CULVERT_DNS_H
#define CULVERT_DNS_H

#include "capture.h"

/* The kernel's default ip_local_port_range. */
#define EPHEMERAL_FIRST 32768
#define EPHEMERAL_COUNT 28232

static __always_inline bool same_server(const struct culvert_endpoint *a, const struct culvert_endpoint *b)
{
	return a->port == b->port && same(&a->address, &b->address);
}

/* Puts `server` first in the list of what this socket asked; a new socket may have the port of an old one. */
static __always_inline void remember_server(const struct culvert_dns_client *client,
					    const struct culvert_endpoint *server, bool new_socket)
{
	struct culvert_dns_servers *old = new_socket ? 0 : bpf_map_lookup_elem(&dns_servers, client);
	struct culvert_dns_servers now = {};
	int was = CULVERT_DNS_RECENT - 1; /* its place so far; the last one falls out where it is new */

	now.recent[0] = *server;
	if (old) {
		if (same_server(&old->recent[0], server))
			return;
		if (same_server(&old->recent[1], server))
			was = 1;
		else if (same_server(&old->recent[2], server))
			was = 2;
		now.recent[1] = old->recent[0];
		now.recent[2] = was < 2 ? old->recent[2] : old->recent[1];
		now.recent[3] = was < 3 ? old->recent[3] : old->recent[2];
	}
	bpf_map_update_elem(&dns_servers, client, &now, BPF_ANY);
}

/*
 * A connected socket usually has no port at connect(), and no hook runs when it sends. Giving it a port here,
 * as the kernel would one moment later, is what lets the agent tell which server each query is for.
 */
static __always_inline __u16 give_port(struct bpf_sock_addr *ctx, struct bpf_sock *sk)
{
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6 };
	struct sockaddr_in any4 = { .sin_family = AF_INET };

#pragma unroll
	for (int i = 0; i < 4; i++) {
		__u16 port = EPHEMERAL_FIRST + bpf_get_prandom_u32() % EPHEMERAL_COUNT;
		int failed;

		any4.sin_port = any6.sin6_port = bpf_htons(port);
		if (sk->family == AF_INET6)
			failed = bpf_bind(ctx, (struct sockaddr *)&any6, sizeof(any6));
		else
			failed = bpf_bind(ctx, (struct sockaddr *)&any4, sizeof(any4));
		if (!failed)
			return port;
	}
	return 0;
}

/* Brings one query, or a connected socket with all its queries, to the agent. Always lets the call go on. */
static __always_inline int capture_dns_udp(struct bpf_sock_addr *ctx, const struct culvert_pod *pod, __u64 netns,
					   bool v6, bool connecting)
{
	struct culvert_endpoint server = { .address = asked_for(ctx, v6), .port = bpf_htons(DNS_PORT) };
	bool v4 = is_v4(&server.address);
	struct culvert_dns_client client = { .netns = netns, .family = v4 ? 4 : 6 };
	struct bpf_sock *sk = ctx->sk;
	struct culvert_address agent;
	struct culvert_name *name;
	bool new_socket;

	if (!sk || is_own(pod, &server.address) || is_link_scoped(&server.address) || is_agent())
		return ALLOW;
	agent = agent_address(pod, v4);
	if (none(&agent) || !agent_alive() || !listens(ctx, &agent, dns_port, true)) {
		count(culvert_dns_passed);
		return ALLOW;
	}
	new_socket = !bpf_sk_storage_get(&orig_dst, sk, 0, 0);
	name = bpf_sk_storage_get(&orig_dst, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!name) {
		count(culvert_dns_passed);
		return ALLOW;
	}
	remember(name, CULVERT_NAME_CLIENT, &server.address, server.port, &agent, bpf_htons(dns_port));
	client.port = sk->src_port;
	if (connecting && client.port == 0)
		client.port = give_port(ctx, sk);
	if (client.port == 0)
		count(culvert_dns_port_unknown);
	remember_server(&client, &server, new_socket);
	show(ctx, v6, &agent, bpf_htons(dns_port));
	count(culvert_dns_captured_udp);
	return ALLOW;
}

#endif
