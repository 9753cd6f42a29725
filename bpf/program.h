/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Whose socket a leg has, as far as its connections can tell: what listens at a port of a pod, or the pod's clients. */
#ifndef CULVERT_PROGRAM_H
#define CULVERT_PROGRAM_H

#include "kernel.h"
#include <bpf/bpf_endian.h>
#include "culvert.h"

/* Of an application's socket. The other end is the agent: of 15001, or of a port that is not used for listening. */
static __always_inline struct culvert_program program_of(struct sock *sk)
{
	__u16 own = BPF_CORE_READ(sk, __sk_common.skc_num), peer = bpf_ntohs(BPF_CORE_READ(sk, __sk_common.skc_dport));
	struct culvert_program program = {
		.netns = BPF_CORE_READ(sk, __sk_common.skc_net.net, net_cookie),
		.port = own < peer ? own : peer,
	};

	return program;
}

#endif
