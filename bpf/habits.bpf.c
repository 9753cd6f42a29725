/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * fentry, on the few kernel functions by which a program asks of a TCP socket what the join can't give: to splice from it, how
 * many bytes wait in it, to send urgent data, to look at it with BPF of its own. Such a connection is TCP's from then on, and so
 * are those that follow it; a socket that is joined already leaves, by the agent (kernel-path-leaving.ts).
 *
 * None of them is called for each read or write of programs that do nothing of the kind. Kernel 5.15, with BTF.
 */
#include "kernel.h"
#include "passage.h"
#include "program.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define TCP_LISTEN 10
#define MSG_OOB 1
#define FIONREAD 0x541b
#define SIOCATMARK 0x8905

static __always_inline bool is_passage(const struct culvert_passage_sock *own)
{
	return own->role == CULVERT_PASSAGE_OPENER || own->role == CULVERT_PASSAGE_SERVER;
}

/* Whether an application's connection meets the agent inside its pod. */
static __always_inline bool meets_agent(struct sock *sk)
{
	struct culvert_name *name = bpf_sk_storage_get(&orig_dst, sk, 0, 0);

	if (name && name->role == CULVERT_NAME_CLIENT)
		return true;
	name = bpf_sk_storage_get(&peer_name, sk, 0, 0);
	return name && name->role == CULVERT_NAME_SERVED;
}

static __always_inline void note_program(struct sock *sk)
{
	struct culvert_program program = program_of(sk);
	__u64 now;

	if (bpf_map_lookup_elem(&unfit_programs, &program))
		return;
	now = bpf_ktime_get_ns();
	bpf_map_update_elem(&unfit_programs, &program, &now, BPF_ANY);
}

/* Its connection, as the books know one: with this socket for its server. */
static __always_inline void name_of(struct sock *sk, struct culvert_flow *flow)
{
	flow->netns = sk->__sk_common.skc_net.net->net_cookie;
	flow->source_port = sk->__sk_common.skc_dport;
	flow->target_port = bpf_htons(sk->__sk_common.skc_num);
	if (sk->__sk_common.skc_family == AF_INET) {
		flow->source = from_v4(sk->__sk_common.skc_daddr);
		flow->target = from_v4(sk->__sk_common.skc_rcv_saddr);
		return;
	}
	bpf_probe_read_kernel(&flow->source, sizeof(flow->source), &sk->__sk_common.skc_v6_daddr);
	bpf_probe_read_kernel(&flow->target, sizeof(flow->target), &sk->__sk_common.skc_v6_rcv_saddr);
}

/* Tells the agent, who alone can take an end out of the join. */
static __always_inline void let_leave(__u64 id, bool blind, const struct culvert_flow *flow)
{
	struct culvert_path_event *event = bpf_ringbuf_reserve(&path_events, sizeof(*event), 0);

	if (!event) {
		count(culvert_path_untold);
		return;
	}
	event->id = id;
	event->at_ns = bpf_ktime_get_ns();
	event->kind = CULVERT_EVENT_LEAVES;
	event->blind = blind;
	__builtin_memset(&event->passage, 0, sizeof(event->passage));
	event->passage.flow = *flow;
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
	count(culvert_path_leaves);
}

/*
 * The join can't serve this socket. `blind`: what waits in its join queue is passed over by what the program is about to do.
 */
static __always_inline void unfit(struct sock *sk, bool blind)
{
	struct culvert_passage_sock *own;
	struct culvert_flow flow = {};
	struct culvert_grant *grant;
	__u16 told = blind ? CULVERT_SOCK_BLIND : CULVERT_SOCK_LEAVES;

	if (!sk || sk->__sk_common.skc_state == TCP_LISTEN)
		return;
	own = bpf_sk_storage_get(&passage_sock, sk, 0, 0);
	if (own && is_passage(own)) {
		grant = granted(own->slot, own->serial);
		if (grant)
			see(grant, CULVERT_SEEN_UNFIT);
	} else if (meets_agent(sk)) {
		note_program(sk);
	}
	if (!own || !(own->flags & CULVERT_SOCK_JOINED) || own->flags & told)
		return;
	own->flags |= told;
	name_of(sk, &flow);
	let_leave(own->id, blind, &flow);
}

SEC("fentry/tcp_splice_read")
int on_splice(__u64 *ctx)
{
	struct socket *socket = (struct socket *)ctx[0];

	unfit(socket->sk, true);
	return 0;
}

SEC("fentry/sk_set_peek_off")
int on_peek_offset(__u64 *ctx)
{
	unfit((struct sock *)ctx[0], true);
	return 0;
}

/* TCP's own count, without what is joined. */
SEC("fentry/tcp_ioctl")
int on_ioctl(__u64 *ctx)
{
	int command = (int)ctx[1];

	if (command == FIONREAD || command == SIOCATMARK)
		unfit((struct sock *)ctx[0], command == FIONREAD);
	return 0;
}

/* The other way round: what is joined without TCP's, so that nothing is missed before it has all been read. */
SEC("fentry/tcp_bpf_ioctl")
int on_joined_ioctl(__u64 *ctx)
{
	if ((int)ctx[1] == FIONREAD)
		unfit((struct sock *)ctx[0], false);
	return 0;
}

SEC("fentry/tcp_zerocopy_receive")
int on_mapped_read(__u64 *ctx)
{
	unfit((struct sock *)ctx[0], true);
	return 0;
}

SEC("fentry/sk_psock_start_verdict")
int on_own_verdict(__u64 *ctx)
{
	unfit((struct sock *)ctx[0], true);
	return 0;
}

SEC("fentry/sk_psock_start_strp")
int on_own_parser(__u64 *ctx)
{
	unfit((struct sock *)ctx[0], true);
	return 0;
}

/* Only sockets in a sockmap come here. The write itself is join.bpf.c's to decide about, a moment later. */
SEC("fentry/tcp_bpf_sendmsg")
int on_send(__u64 *ctx)
{
	struct sock *sk = (struct sock *)ctx[0];
	struct msghdr *message = (struct msghdr *)ctx[1];
	struct culvert_passage_sock *own;
	struct culvert_flow unknown = {};
	struct culvert_grant *grant;

	if (!(message->msg_flags & MSG_OOB))
		return 0;
	own = bpf_sk_storage_get(&passage_sock, sk, 0, 0);
	if (!own || !(own->flags & CULVERT_SOCK_JOINED) || own->flags & CULVERT_SOCK_URGENT)
		return 0;
	own->flags |= CULVERT_SOCK_URGENT;
	/* The agent, who is at the other end of a leg, reads no such data. */
	if (!is_passage(own))
		return 0;
	grant = granted(own->slot, own->serial);
	if (grant)
		see(grant, CULVERT_SEEN_UNFIT);
	/* Who gets it asks TCP for it. */
	let_leave(own->id ^ 1, false, &unknown);
	return 0;
}
