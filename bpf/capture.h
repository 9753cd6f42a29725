/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What connect and sendmsg share: the address that was asked for, and putting another one in its place. */
#ifndef CULVERT_CAPTURE_H
#define CULVERT_CAPTURE_H

#include "address.h"
#include "agent.h"

#define ALLOW 1
#define DENY 0

static __always_inline struct culvert_address asked_for(struct bpf_sock_addr *ctx, bool v6)
{
	return v6 ? V6_FIELD(ctx, user_ip6) : from_v4(FIELD(ctx, user_ip4));
}

/* In a v6 hook an IPv4 address stays mapped, so the socket keeps the family that it was going to use. */
static __always_inline void show(struct bpf_sock_addr *ctx, bool v6, const struct culvert_address *a, __u16 port)
{
	if (v6) {
		ctx->user_ip6[0] = a->word[0];
		ctx->user_ip6[1] = a->word[1];
		ctx->user_ip6[2] = a->word[2];
		ctx->user_ip6[3] = a->word[3];
	} else {
		ctx->user_ip4 = a->word[3];
	}
	ctx->user_port = port;
}

/*
 * Where the agent is reached with a socket of this family: at the pod's own address, so that getsockname()
 * stays natural. All zeroes where the pod has none. Loopback would do for a detour, but the client would see
 * a connection to somewhere that it has no route to, and so not try the address of the other family.
 */
static __always_inline struct culvert_address agent_address(const struct culvert_pod *pod, bool v4)
{
	return v4 ? pod->ip4 : pod->ip6;
}

static __always_inline bool is_own(const struct culvert_pod *pod, const struct culvert_address *a)
{
	return is_loopback(a) || same(a, &pod->ip4) || same(a, &pod->ip6);
}

static __always_inline void remember(struct culvert_name *name, __u16 role, const struct culvert_address *address,
				     __u16 port, const struct culvert_address *stands_for, __u16 stands_for_port)
{
	name->address = *address;
	name->port = port;
	name->role = role;
	name->stands_for = *stands_for;
	name->stands_for_port = stands_for_port;
	name->verdict = 0;
	name->chosen_port = 0;
}

static __always_inline bool has_source(struct bpf_sock *sk)
{
	return sk->src_ip4 || (sk->src_ip6[0] | sk->src_ip6[1] | sk->src_ip6[2] | sk->src_ip6[3]);
}

/* Gives a socket that is bound to nothing a source address; the port is still chosen by connect(). */
static __always_inline bool bind_to(struct bpf_sock_addr *ctx, struct bpf_sock *sk, const struct culvert_address *a)
{
	if (sk->family == AF_INET) {
		struct sockaddr_in to = { .sin_family = AF_INET };

		to.sin_addr.s_addr = a->word[3];
		return !bpf_bind(ctx, (struct sockaddr *)&to, sizeof(to));
	} else {
		struct sockaddr_in6 to = { .sin6_family = AF_INET6 };

		to.sin6_addr.s6_addr32[0] = a->word[0];
		to.sin6_addr.s6_addr32[1] = a->word[1];
		to.sin6_addr.s6_addr32[2] = a->word[2];
		to.sin6_addr.s6_addr32[3] = a->word[3];
		return !bpf_bind(ctx, (struct sockaddr *)&to, sizeof(to));
	}
}

#endif
