/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Joins a leg: an application's socket and the agent's beside it, inside one pod. Attached nowhere; the agent runs it
 * (BPF_PROG_TEST_RUN) in the pod's network namespace for a connection over which a few messages have gone. From then on
 * join.bpf.c decides about each write, with the same rules as for passages.
 *
 * Only the agent's own sockets can be handed to the kernel by descriptor, so both are looked for by their addresses.
 * An application's socket that blocks is never joined (see join.bpf.c). Kernel 5.15, with BTF.
 */
#include <linux/pkt_cls.h>
#include "kernel.h"
#include "passage.h"
#include "program.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

#define ETHERNET_HEADER 14
#define ESTABLISHED 1

/* The socket that is connected from `own` to `peer`; the caller releases it. */
static __always_inline struct bpf_sock *socket_of(struct __sk_buff *ctx, const struct culvert_address *own, __u16 own_port,
						  const struct culvert_address *peer, __u16 peer_port)
{
	/* As a packet that comes to it would have them. */
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *found;
	__u32 size;

	if (is_v4(own)) {
		tuple.ipv4.saddr = peer->word[3];
		tuple.ipv4.daddr = own->word[3];
		tuple.ipv4.sport = peer_port;
		tuple.ipv4.dport = own_port;
		size = sizeof(tuple.ipv4);
	} else {
		__builtin_memcpy(tuple.ipv6.saddr, peer->word, sizeof(peer->word));
		__builtin_memcpy(tuple.ipv6.daddr, own->word, sizeof(own->word));
		tuple.ipv6.sport = peer_port;
		tuple.ipv6.dport = own_port;
		size = sizeof(tuple.ipv6);
	}
	found = bpf_sk_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (found && found->state != ESTABLISHED) {
		bpf_sk_release(found);
		return 0;
	}
	return found;
}

/* In no map of its own program either. */
static __always_inline bool is_fit(struct tcp_sock *tcp)
{
	struct sock *sk = (struct sock *)tcp;

	return reader_of(sk) == READER_READY && is_plain(sk) && !reads_oddly(sk) && !PEEK(sk, sk_user_data);
}

/* Says on a socket whose it is. False where it has no cookie: sockops has not seen it. */
static __always_inline bool mark(struct bpf_sock *sk, __u64 id, struct tcp_sock *peer,
				 const struct culvert_program *program)
{
	__u64 cookie = PEEK((struct sock *)peer, __sk_common.skc_cookie.counter);
	struct culvert_passage_sock *own;

	own = bpf_sk_storage_get(&passage_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!own || own->flags & CULVERT_SOCK_JOINED || !cookie)
		return false;
	own->id = id;
	own->netns = program->netns;
	own->stands_for_port = program->port;
	own->role = CULVERT_PASSAGE_LEG;
	own->mode = CULVERT_MODE_TCP;
	own->flags = CULVERT_SOCK_JOINED;
	own->peer = (__u64)peer;
	own->peer_cookie = cookie;
	return true;
}

static __always_inline int join(struct bpf_sock *application, struct bpf_sock *agent, __u64 id)
{
	struct tcp_sock *theirs = bpf_skc_to_tcp_sock(application), *ours = bpf_skc_to_tcp_sock(agent);
	struct culvert_program program;
	__u64 own = id + 1;

	if (!theirs || !ours)
		return CULVERT_LEG_APART;
	/* How its program will read is not known; the agent may have written much by then. */
	if (reader_of((struct sock *)theirs) == READER_NONE)
		return CULVERT_LEG_LATER;
	if (!is_fit(theirs) || !is_fit(ours))
		return CULVERT_LEG_APART;
	program = program_of((struct sock *)theirs);
	if (bpf_map_lookup_elem(&unfit_programs, &program))
		return CULVERT_LEG_APART;
	if (!mark(application, id, ours, &program) || !mark(agent, own, theirs, &program))
		return CULVERT_LEG_APART;
	/* The agent waits for this program and writes nothing meanwhile, so its end comes first. */
	if (bpf_map_update_elem(&joined, &own, agent, BPF_NOEXIST))
		return CULVERT_LEG_APART;
	if (!bpf_map_update_elem(&joined, &id, application, BPF_NOEXIST))
		return CULVERT_LEG_JOINED;
	bpf_map_delete_elem(&joined, &own);
	return CULVERT_LEG_APART;
}

SEC("tc")
int join_leg(struct __sk_buff *ctx)
{
	struct culvert_leg leg;
	struct bpf_sock *application, *agent;
	int answer = CULVERT_LEG_APART;

	if (bpf_skb_load_bytes(ctx, ETHERNET_HEADER, &leg, sizeof(leg)))
		return CULVERT_LEG_APART;
	application = socket_of(ctx, &leg.application, leg.application_port, &leg.agent, leg.agent_port);
	if (application) {
		agent = socket_of(ctx, &leg.agent, leg.agent_port, &leg.application, leg.application_port);
		if (agent) {
			answer = join(application, agent, leg.id);
			bpf_sk_release(agent);
		}
		bpf_sk_release(application);
	}
	if (answer != CULVERT_LEG_LATER)
		count(answer == CULVERT_LEG_JOINED ? culvert_leg_joined : culvert_leg_apart);
	return answer;
}
