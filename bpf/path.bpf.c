/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sockops, beside sockops.bpf.c: the life of a passage, from the opener's SYN to the end of both sockets.
 *
 * At the SYN its ports are known: sk_lookup in the destination's namespace will find it in `openings`, and so will the
 * socket that is accepted there. Both ends enter the join only when the programs behind this verdict were seen before and
 * can be served by it; until then the passage is plain TCP between the two pods, and this program looks how their sockets
 * are used. Bytes are taken from the sockets when they end. Kernel 5.15, with BTF.
 */
#include <linux/errno.h>
#include "kernel.h"
#include "passage.h"
#include "sockops.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Bytes of a passage that stays open reach `passages` this often. */
#define TELL_EVERY_NS 1000000000ULL

/* Of a passage under way; not allowed only, and no leg. */
static __always_inline bool is_end(const struct culvert_passage_sock *own)
{
	return own->role == CULVERT_PASSAGE_OPENER || own->role == CULVERT_PASSAGE_SERVER;
}

static __always_inline struct culvert_passage *passage_of(const struct culvert_passage_sock *own)
{
	__u64 id = opener_of(own->id);

	return bpf_map_lookup_elem(&passages, &id);
}

static __always_inline void call_back(struct bpf_sock_ops *ops, __u32 flags)
{
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | flags);
}

static __always_inline bool joins(void)
{
	__u32 zero = 0;
	struct culvert_path_config *config = bpf_map_lookup_elem(&path_config, &zero);

	return config && config->flags & CULVERT_PATH_JOINS;
}

/* Gives the socket a cookie, by which it will be known if it is joined: what nobody has asked for there is none. */
static __always_inline void name(struct bpf_sock_ops *ops)
{
	if (joins())
		bpf_get_socket_cookie(ops);
}

/* A socket of another life: it was in the join, was disconnected, and is connected again. */
static __always_inline void leave_join(struct culvert_passage_sock *own)
{
	__u64 id = own->id;

	if (own->flags & CULVERT_SOCK_JOINED)
		bpf_map_delete_elem(&joined, &id);
	own->flags = 0;
	own->mode = CULVERT_MODE_TCP;
	own->peer = 0;
	own->sent = 0;
	own->told = 0;
}

/* The opener sends its SYN. */
static __always_inline void on_connect(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct culvert_passage_sock *own = bpf_sk_storage_get(&passage_sock, sk, 0, 0);
	struct culvert_passage passage = {};
	struct culvert_opening opening = {};
	struct culvert_name *name;
	struct culvert_pod *pod;
	__u64 id;

	if (!own)
		return;
	leave_join(own);
	if (own->role != CULVERT_PASSAGE_ALLOWED) {
		own->role = CULVERT_PASSAGE_NONE;
		return;
	}
	own->role = CULVERT_PASSAGE_NONE;
	passage.flow.netns = own->netns;
	passage.flow.source = local_address(ops);
	passage.flow.target = remote_address(ops);
	passage.flow.source_port = bpf_htons(ops->local_port);
	passage.flow.target_port = remote_port(ops);
	passage.source_netns = bpf_get_netns_cookie(ops);
	pod = bpf_map_lookup_elem(&pods, &passage.source_netns);
	if (!pod || own->stands_for_port != passage.flow.target_port ||
	    !same(&own->stands_for, &passage.flow.target))
		return;
	/* The verdict is about the pod's own address, which policy may have asked for. */
	if (!same(&passage.flow.source, &pod->ip4) && !same(&passage.flow.source, &pod->ip6)) {
		count(culvert_path_lost);
		return;
	}
	name = bpf_sk_storage_get(&orig_dst, sk, 0, 0);
	if (name && name->role == CULVERT_NAME_SERVICE && name->stands_for_port == passage.flow.target_port &&
	    same(&name->stands_for, &passage.flow.target)) {
		passage.service = name->address;
		passage.service_port = name->port;
	}
	id = opener_of((__u64)bpf_get_prandom_u32() << 32 | bpf_get_prandom_u32());
	passage.opened_ns = bpf_ktime_get_ns();
	passage.slot = opening.slot = own->slot;
	passage.serial = opening.serial = own->serial;
	opening.id = id;
	if (bpf_map_update_elem(&passages, &id, &passage, BPF_NOEXIST)) {
		count(culvert_path_lost);
		return;
	}
	if (bpf_map_update_elem(&openings, &passage.flow, &opening, BPF_ANY)) {
		bpf_map_delete_elem(&passages, &id);
		count(culvert_path_lost);
		return;
	}
	own->id = id;
	own->role = CULVERT_PASSAGE_OPENER;
	count(culvert_path_opened);
	call_back(ops, BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* Notes how the program that has this socket uses it. False where the join can't serve it, now at least. */
static __always_inline bool look_at(struct bpf_sock *sk, const struct culvert_passage_sock *own,
				    struct culvert_grant *grant)
{
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	enum reader reader;

	if (!tcp)
		return false;
	reader = reader_of((struct sock *)tcp);
	/* An opener that blocks from the beginning is known for what it is, and says nothing about others. */
	if (!side_of(own->id) && !(own->flags & CULVERT_SOCK_READY))
		return false;
	if (reader == READER_BLOCKS || !is_plain((struct sock *)tcp) || reads_oddly((struct sock *)tcp)) {
		see(grant, CULVERT_SEEN_UNFIT);
		return false;
	}
	if (reader != READER_READY)
		return false;
	see(grant, side_of(own->id) ? CULVERT_SEEN_SERVER : CULVERT_SEEN_OPENER);
	return true;
}

/* Establishes one end and, if `may_join`, puts it into the join. */
static __always_inline void establish(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct culvert_passage_sock *own,
				      struct culvert_passage_end *end, bool may_join)
{
	__u64 id = own->id;

	end->sock = (__u64)bpf_skc_to_tcp_sock(sk);
	end->cookie = bpf_get_socket_cookie(ops);
	end->state = CULVERT_END_HERE;
	if (may_join && end->sock && !bpf_sock_hash_update(ops, &joined, &id, BPF_ANY)) {
		own->flags |= CULVERT_SOCK_JOINED;
		end->state = CULVERT_END_HERE | CULVERT_END_JOINED;
	}
	call_back(ops, may_join ? BPF_SOCK_OPS_STATE_CB_FLAG : BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTT_CB_FLAG);
}

/* In the middle of a passage: nobody needs to know of its programs where nothing is joined. */
static __always_inline void watch(struct bpf_sock *sk, const struct culvert_passage_sock *own)
{
	struct culvert_grant *grant;

	if (!joins())
		return;
	grant = granted(own->slot, own->serial);
	if (grant && !(grant->seen & CULVERT_SEEN_UNFIT))
		look_at(sk, own, grant);
}

/* The opener is established; its peer not yet. */
static __always_inline void on_opened(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct culvert_passage_sock *own = bpf_sk_storage_get(&passage_sock, sk, 0, 0);
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct culvert_passage *passage;
	struct culvert_grant *grant;
	bool may_join = false;

	if (!own || own->role != CULVERT_PASSAGE_OPENER)
		return;
	passage = passage_of(own);
	if (!passage)
		return;
	if (tcp && joins() && reader_of((struct sock *)tcp) == READER_READY)
		own->flags |= CULVERT_SOCK_READY;
	grant = granted(own->slot, own->serial);
	if (!grant) {
		/* Revoked since its SYN: in there every write is refused, until the agent has heard of it and ends it. */
		may_join = true;
	} else if (joins()) {
		if (grant->seen & CULVERT_SEEN_UNFIT)
			count(culvert_path_unfit);
		else if (!fit_to_join(grant))
			count(culvert_path_unseen);
		else if (look_at(sk, own, grant))
			may_join = true;
		else
			count(culvert_path_apart);
	}
	establish(ops, sk, own, &passage->end[0], may_join);
}

/* Something was accepted. Leaves at the second lookup unless it is a passage. */
static __always_inline void on_accepted(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct culvert_flow flow = {
		.netns = bpf_get_netns_cookie(ops),
		.source = remote_address(ops),
		.target = local_address(ops),
		.source_port = remote_port(ops),
		.target_port = bpf_htons(ops->local_port),
	};
	struct culvert_opening *opening, found;
	struct culvert_passage_sock *own;
	struct culvert_passage *passage;
	bool revoked;

	opening = bpf_map_lookup_elem(&openings, &flow);
	if (!opening)
		return;
	found = *opening;
	bpf_map_delete_elem(&openings, &flow);
	passage = bpf_map_lookup_elem(&passages, &found.id);
	if (!passage)
		return;
	own = bpf_sk_storage_get(&passage_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!own) {
		/* Nothing will tell when this end closes: the passage ends with its opener. */
		count(culvert_path_lost);
		passage->end[1].state = CULVERT_END_HERE | CULVERT_END_CLOSED;
		__sync_fetch_and_or(&passage->closed, 2);
	} else {
		own->id = found.id + 1;
		own->netns = flow.netns;
		own->role = CULVERT_PASSAGE_SERVER;
		own->slot = found.slot;
		own->serial = found.serial;
		revoked = !granted(found.slot, found.serial);
		establish(ops, sk, own, &passage->end[1], revoked || passage->end[0].state & CULVERT_END_JOINED);
		if (revoked)
			count(culvert_path_outrun);
		else if (own->flags & CULVERT_SOCK_JOINED)
			count(culvert_path_joined);
		else if (passage->end[0].state & CULVERT_END_JOINED)
			count(culvert_path_apart);
	}
	count(culvert_path_accepted);
	tell(CULVERT_EVENT_OPENED, found.id, passage);
}

static __always_inline void take_bytes(struct bpf_sock_ops *ops, struct bpf_sock *sk,
				       const struct culvert_passage_sock *own, struct culvert_passage *passage)
{
	struct culvert_passage_end *end = side_of(own->id) ? &passage->end[1] : &passage->end[0];
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	__u64 received = ops->bytes_received;

	/* The kernel counts sequence numbers, and a FIN has one. */
	if (received && tcp && has_ended((struct sock *)tcp))
		received--;
	end->sent = own->sent;
	end->received = received;
}

/* Other clients of a Service need not meet it: the agent tries another endpoint, and says when this one answers again. */
static __always_inline void note_refusal(const struct culvert_passage *passage)
{
	struct culvert_endpoint at = { .address = passage->flow.target, .port = passage->flow.target_port };
	__u64 now = bpf_ktime_get_ns();

	bpf_map_update_elem(&refusing, &at, &now, BPF_ANY);
}

/* An end is closed; with the second one the passage is over. */
static __always_inline void on_closed(struct bpf_sock_ops *ops, struct bpf_sock *sk, struct culvert_passage_sock *own)
{
	struct culvert_passage *passage = passage_of(own);
	struct tcp_sock *tcp = bpf_skc_to_tcp_sock(sk);
	struct culvert_passage_end *end;
	__u32 bit, before;
	__u64 id = opener_of(own->id);

	own->role = CULVERT_PASSAGE_NONE;
	if (!passage)
		return;
	take_bytes(ops, sk, own, passage);
	if (side_of(own->id)) {
		end = &passage->end[1];
		bit = 2;
	} else {
		end = &passage->end[0];
		bit = 1;
	}
	end->error = tcp ? PEEK((struct sock *)tcp, sk_err) : 0;
	end->state |= CULVERT_END_CLOSED;
	before = __sync_fetch_and_or(&passage->closed, bit);
	if (bit == 1 && !(passage->end[1].state & CULVERT_END_HERE)) {
		/* Refused, timed out or given up: there is no other end to wait for. */
		if (end->error == ECONNREFUSED)
			note_refusal(passage);
		bpf_map_delete_elem(&openings, &passage->flow);
		if (__sync_fetch_and_or(&passage->closed, 2) & 2)
			return;
		before = 2;
	}
	if ((before | bit) != 3 || before == 3)
		return;
	tell(CULVERT_EVENT_CLOSED, id, passage);
	bpf_map_delete_elem(&passages, &id);
}

/* In the middle of a passage that is not joined: how is the socket used, and what has it carried? */
static __always_inline void on_progress(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct culvert_passage_sock *own = bpf_sk_storage_get(&passage_sock, sk, 0, 0);
	struct culvert_passage *passage;
	__u64 now = bpf_ktime_get_ns();

	if (!own || !is_end(own))
		return;
	watch(sk, own);
	if (now - own->told < TELL_EVERY_NS)
		return;
	own->told = now;
	passage = passage_of(own);
	if (passage)
		take_bytes(ops, sk, own, passage);
}

static __always_inline void on_state(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct culvert_passage_sock *own = bpf_sk_storage_get(&passage_sock, sk, 0, 0);

	if (!own || !is_end(own))
		return;
	if (ops->args[1] == BPF_TCP_CLOSE) {
		on_closed(ops, sk, own);
		return;
	}
	/* Its program ends it, so it is still there to be looked at. */
	if (ops->args[1] != BPF_TCP_FIN_WAIT1 && ops->args[1] != BPF_TCP_LAST_ACK)
		return;
	watch(sk, own);
}

SEC("sockops")
int on_passage(struct bpf_sock_ops *ops)
{
	struct bpf_sock *sk;

	switch (ops->op) {
	case BPF_SOCK_OPS_TCP_CONNECT_CB:
		sk = ops->sk;
		if (sk)
			on_connect(ops, sk);
		break;
	case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
		sk = ops->sk;
		name(ops);
		if (sk)
			on_opened(ops, sk);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		sk = ops->sk;
		name(ops);
		if (sk)
			on_accepted(ops, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		sk = ops->sk;
		if (sk)
			on_state(ops, sk);
		break;
	case BPF_SOCK_OPS_RTT_CB:
		sk = ops->sk;
		if (sk)
			on_progress(ops, sk);
		break;
	}
	return 1;
}
