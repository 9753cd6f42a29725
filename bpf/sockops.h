/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Both ends of a connection, as a sock_ops program finds them and as the maps have them. */
#ifndef CULVERT_SOCKOPS_H
#define CULVERT_SOCKOPS_H

#include "address.h"

static __always_inline struct culvert_address local_address(struct bpf_sock_ops *ops)
{
	if (FIELD(ops, family) == AF_INET)
		return from_v4(FIELD(ops, local_ip4));
	return V6_FIELD(ops, local_ip6);
}

static __always_inline struct culvert_address remote_address(struct bpf_sock_ops *ops)
{
	if (FIELD(ops, family) == AF_INET)
		return from_v4(FIELD(ops, remote_ip4));
	return V6_FIELD(ops, remote_ip6);
}

/* Network order; the context has it in the upper half of a word. */
static __always_inline __u16 remote_port(struct bpf_sock_ops *ops)
{
	return bpf_htons(bpf_ntohl(ops->remote_port));
}

#endif
