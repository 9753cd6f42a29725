/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sk_msg, on the sockets in `joined`: each write of one end of a passage, or of a leg (leg.bpf.c), goes straight into the
 * other's receive queue, or by TCP where that would be wrong. Runs once for each write.
 *
 * Back-pressure: the kernel lets a join queue grow without end, so when more than the limit waits there unread, writes
 * go by TCP, which holds the writer back as always. Order: a reader takes all of its join queue before its TCP queue. So
 * from the join to TCP a direction may go at any time; from TCP to the join only when the reader has had every
 * byte of TCP. A reader that would not find joined bytes (it blocks, it splices, it has a protocol of its own on the
 * socket) gets TCP. Kernel 5.15, with BTF.
 */
#include "kernel.h"
#include "passage.h"
#include "program.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Of the timer's ticks, which a program may read for nothing: a second, more or less. */
#define TELL_EVERY_TICKS 256
/* Messages of a join queue that are counted one by one where the kernel does not keep their sum. */
#define WALK_MOST 32

#define DEFAULT_LIMIT 1048576

/* What a charge may take more than it needs, and levels of cgroups that are looked at. */
#define SPARE_PAGES 64
#define CGROUPS_MOST 6
#define PAGE_SHIFT 12

#define TCP_ESTABLISHED 1
#define TCP_FIN_WAIT1 4
#define TCP_FIN_WAIT2 5

#define UNKNOWN 0xffffffffu

/* The kernel's own view of the writer's socket. Every socket in `joined` is TCP's, so nothing has to be asked where there is a cast. */
static __always_inline struct tcp_sock *tcp_of(struct bpf_sock *sk)
{
	return have_cast ? KNOWN((struct tcp_sock *)sk) : bpf_skc_to_tcp_sock(sk);
}

/* The other end's socket; 0 as long as it is not known. */
static __always_inline __u64 peer_of(struct culvert_passage_sock *own)
{
	struct culvert_passage_end *end;
	struct culvert_passage *passage;
	__u64 id = opener_of(own->id);

	if (own->peer)
		return own->peer;
	passage = bpf_map_lookup_elem(&passages, &id);
	if (!passage)
		return 0;
	end = side_of(own->id) ? &passage->end[0] : &passage->end[1];
	if (!(end->state & CULVERT_END_JOINED))
		return 0;
	own->peer_cookie = end->cookie;
	own->peer = end->sock;
	return own->peer;
}

/* Still that socket, connected to us, and with a reader? Its memory may be another socket's by now. */
static __always_inline bool is_there(struct sock *peer, const struct culvert_passage_sock *own, struct tcp_sock *me)
{
	__u32 theirs, ours = PEEK((struct sock *)me, __sk_common.skc_portpair);
	__u8 state = PEEK(peer, __sk_common.skc_state);

	if ((__u64)PEEK(peer, __sk_common.skc_cookie.counter) != own->peer_cookie)
		return false;
	/* Destination port in network order, then the own one in the machine's: the same two crosswise. */
	theirs = PEEK(peer, __sk_common.skc_portpair);
	if (bpf_ntohs(theirs & 0xffff) != ours >> 16 || theirs >> 16 != bpf_ntohs(ours & 0xffff))
		return false;
	return state == TCP_ESTABLISHED || state == TCP_FIN_WAIT1 || state == TCP_FIN_WAIT2;
}

/* Bytes that wait in the peer's join queue; UNKNOWN where it has none, or more messages than can be counted. */
static __always_inline __u32 waiting(struct sock *peer)
{
	struct sk_psock *psock = KNOWN((struct sk_psock *)((__u64)PEEK(peer, sk_user_data) & ~7ULL));
	struct list_head *head, *at;
	__u32 sum = 0;

	if (!psock || PEEK(psock, sk) != peer)
		return UNKNOWN;
	if (bpf_core_field_exists(psock->msg_tot_len))
		return PEEK(psock, msg_tot_len);
	head = KNOWN((struct list_head *)((__u64)psock + bpf_core_field_offset(struct sk_psock, ingress_msg)));
	at = PEEK(head, next);
#pragma unroll
	for (int i = 0; i < WALK_MOST; i++) {
		struct sk_msg *msg;

		if (at == head)
			return sum;
		if (!at)
			return UNKNOWN;
		msg = KNOWN((struct sk_msg *)((__u64)at - bpf_core_field_offset(struct sk_msg, list)));
		sum += PEEK(msg, sg.size);
		at = PEEK(at, next);
	}
	return UNKNOWN;
}

/* Of a memory cgroup and those above it. */
static __always_inline bool has_pages(struct page_counter *lowest, unsigned long pages)
{
	struct page_counter *counter = KNOWN(lowest);

	for (int i = 0; i < CGROUPS_MOST; i++) {
		if (!counter)
			return true;
		if (PEEK(counter, usage.counter) + pages > PEEK(counter, max))
			return false;
		counter = PEEK(counter, parent);
	}
	return true;
}

/*
 * What is joined is charged to the reader's memory cgroup by its writer, who would get ENOMEM where TCP makes its window
 * smaller, or have a program of the reader's killed for want of memory.
 */
static __always_inline bool has_memory(struct sock *peer, __u32 bytes)
{
	unsigned long pages = (bytes >> PAGE_SHIFT) + SPARE_PAGES;
	__u64 cgroup;

	if (!bpf_core_field_exists(peer->sk_memcg) || !PEEK(peer, sk_memcg))
		return true;
	/* The lowest bits are flags since 6.18, and a pointer that is known has none. */
	cgroup = (__u64)BPF_CORE_READ(peer, sk_memcg) & ~7ULL;
	if (!cgroup)
		return true;
	if (bpf_core_field_exists(((struct mem_cgroup *)0)->tcpmem) &&
	    !has_pages((void *)(cgroup + bpf_core_field_offset(struct mem_cgroup, tcpmem)), pages))
		return false;
	return has_pages((void *)(cgroup + bpf_core_field_offset(struct mem_cgroup, memory)), pages);
}

/* Has the peer's program taken every byte that went to it by TCP? */
static __always_inline bool has_all_of_tcp(struct tcp_sock *me, struct tcp_sock *peer)
{
	__u32 written = PEEK(me, write_seq);

	return PEEK(me, snd_una) == written && PEEK(peer, rcv_nxt) == written &&
	       PEEK(peer, copied_seq) == written;
}

static __always_inline __u32 limit(void)
{
	__u32 zero = 0;
	struct culvert_path_config *config = bpf_map_lookup_elem(&path_config, &zero);

	return config && config->limit ? config->limit : DEFAULT_LIMIT;
}

/* Whether this write may go into the join. A leg has no grant: its programs are known by this socket alone. */
static __always_inline bool may_join(struct culvert_passage_sock *own, struct bpf_sock *sk, struct culvert_grant *grant,
				     __u32 bytes)
{
	struct tcp_sock *me = tcp_of(sk);
	struct tcp_sock *peer_tcp = KNOWN((struct tcp_sock *)peer_of(own));
	struct sock *peer = (struct sock *)peer_tcp;
	enum reader reader;
	__u32 queued;

	if (!me || !peer || !is_there(peer, own, me))
		return false;
	reader = reader_of(peer);
	if (grant && grant->seen & CULVERT_SEEN_UNFIT && reader != READER_BLOCKS)
		return false;
	switch (reader) {
	case READER_NONE:
		return false;
	case READER_BLOCKS:
		if (grant)
			see(grant, CULVERT_SEEN_UNFIT);
		own->mode = CULVERT_MODE_LEAVING;
		count(culvert_path_to_tcp);
		return false;
	case READER_READY:
		break;
	}
	if (!is_plain(peer) || reads_oddly(peer) || !is_plain((struct sock *)me)) {
		if (grant)
			see(grant, CULVERT_SEEN_UNFIT);
		return false;
	}
	queued = waiting(peer);
	if (queued > limit() || !has_memory(peer, bytes))
		return false;
	return own->mode == CULVERT_MODE_JOIN || (queued == 0 && has_all_of_tcp(me, peer_tcp));
}

/* Now and then, so that long passages are counted while they are open. */
static __always_inline void tell_sent(struct culvert_passage_sock *own)
{
	struct culvert_passage *passage;
	__u64 id = opener_of(own->id), now = bpf_jiffies64();

	if (now - own->told < TELL_EVERY_TICKS)
		return;
	own->told = now;
	passage = bpf_map_lookup_elem(&passages, &id);
	if (!passage)
		return;
	if (side_of(own->id))
		passage->end[1].sent = own->sent;
	else
		passage->end[0].sent = own->sent;
}

/*
 * A socket in the join may say EAGAIN to a reader that blocks. So it leaves, by the agent, who alone can do that; not
 * before its queue is empty, which leaving would throw away. Nothing is put there any more.
 */
static __always_inline void let_leave(struct culvert_passage_sock *own, struct bpf_sock *sk)
{
	struct tcp_sock *me = tcp_of(sk);
	struct sock *peer = (struct sock *)KNOWN((struct tcp_sock *)own->peer);

	if (!me || !peer || !is_there(peer, own, me) || waiting(peer) != 0)
		return;
	own->mode = CULVERT_MODE_NEVER;
	tell(CULVERT_EVENT_BLOCKS, own->id ^ 1, 0);
}

/*
 * Urgent data goes by TCP, as all that follows it. Nothing of the join may be unread by then: the mark, and the byte itself,
 * would be found before it.
 */
static __always_inline bool overtakes(struct culvert_passage_sock *own, struct bpf_sock *sk)
{
	struct tcp_sock *me = tcp_of(sk);
	struct sock *peer = (struct sock *)KNOWN((struct tcp_sock *)peer_of(own));

	own->mode = CULVERT_MODE_NEVER;
	return own->role != CULVERT_PASSAGE_LEG && me && peer && is_there(peer, own, me) && waiting(peer) != 0;
}

/* Of a leg: somebody of that program has asked for what the join can't give (habits.bpf.c). */
static __always_inline bool has_odd_program(const struct culvert_passage_sock *own)
{
	struct culvert_program program = { .netns = own->netns, .port = own->stands_for_port };

	return bpf_map_lookup_elem(&unfit_programs, &program);
}

SEC("sk_msg")
int on_write(struct sk_msg_md *msg)
{
	struct culvert_passage_sock *own;
	struct culvert_grant *grant = 0;
	struct bpf_sock *sk = msg->sk;
	__u64 peer_id;

	if (!sk)
		return SK_PASS;
	own = bpf_sk_storage_get(&passage_sock, sk, 0, 0);
	if (!own || !(own->flags & CULVERT_SOCK_JOINED) || own->role < CULVERT_PASSAGE_OPENER)
		return SK_PASS;
	/* What is carried over a leg the agent itself ends. */
	if (own->role != CULVERT_PASSAGE_LEG) {
		grant = granted(own->slot, own->serial);
		if (!grant) {
			count(culvert_path_revoked);
			return SK_DROP;
		}
	} else if (own->mode < CULVERT_MODE_NEVER && has_odd_program(own)) {
		own->mode = CULVERT_MODE_NEVER;
	}
	if (own->flags & CULVERT_SOCK_URGENT && own->mode < CULVERT_MODE_NEVER && overtakes(own, sk)) {
		count(culvert_path_urgent);
		return SK_DROP;
	}
	if (own->mode == CULVERT_MODE_LEAVING)
		let_leave(own, sk);
	if (own->mode >= CULVERT_MODE_NEVER || !may_join(own, sk, grant, msg->size)) {
		if (own->mode == CULVERT_MODE_JOIN) {
			own->mode = CULVERT_MODE_TCP;
			count(culvert_path_to_tcp);
		}
		return SK_PASS;
	}
	peer_id = own->id ^ 1;
	if (bpf_msg_redirect_hash(msg, &joined, &peer_id, BPF_F_INGRESS) != SK_PASS) {
		/* It has left: TCP tells what has become of it. */
		own->mode = CULVERT_MODE_NEVER;
		return SK_PASS;
	}
	if (own->mode != CULVERT_MODE_JOIN) {
		own->mode = CULVERT_MODE_JOIN;
		count(culvert_path_to_join);
	}
	if (own->role == CULVERT_PASSAGE_LEG)
		return SK_PASS;
	own->sent += msg->size;
	tell_sent(own);
	return SK_PASS;
}
