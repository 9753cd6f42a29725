/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Does anything wait in the join queue of a socket? Asked by the agent (BPF_PROG_TEST_RUN) about one that shall leave `joined`,
 * which would throw it away. Nothing is put there any more by then. Kernel 5.15, with BTF.
 */
#include <linux/pkt_cls.h>
#include "kernel.h"
#include "passage.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ETHERNET_HEADER 14

static __always_inline bool waits(struct tcp_sock *tcp)
{
	struct sock *sk = (struct sock *)tcp;
	struct sk_psock *psock = (void *)((__u64)BPF_CORE_READ(sk, sk_user_data) & ~7ULL);
	struct list_head *head;

	if (!psock || BPF_CORE_READ(psock, sk) != sk)
		return false;
	head = (void *)psock + bpf_core_field_offset(struct sk_psock, ingress_msg);
	return BPF_CORE_READ(head, next) != head;
}

SEC("tc")
int unread(struct __sk_buff *ctx)
{
	struct bpf_sock *sk;
	struct tcp_sock *tcp;
	int answer = CULVERT_UNREAD_GONE;
	__u64 id;

	if (bpf_skb_load_bytes(ctx, ETHERNET_HEADER, &id, sizeof(id)))
		return answer;
	sk = bpf_map_lookup_elem(&joined, &id);
	if (!sk)
		return answer;
	tcp = bpf_skc_to_tcp_sock(sk);
	if (tcp)
		answer = waits(tcp) ? CULVERT_UNREAD_WAITS : CULVERT_UNREAD_NONE;
	bpf_sk_release(sk);
	return answer;
}
