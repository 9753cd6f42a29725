/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sk_lookup: plain TCP that arrives at an enrolled pod, to any port, goes to the agent's 15006, but for what the agent
 * has decided about before it began (the kernel path). One instance
 * for each pod's namespace, since this type of program can't ask where it runs. The accepted socket's local
 * address is the one that was dialled. Runs once for a SYN, never for established connections. Kernel 5.9.
 *
 * SK_DROP here looks like "nobody listens": the peer gets a reset.
 */
#include "agent.h"
#include "passage.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

const volatile __u64 netns_cookie = 0;

static __always_inline struct culvert_address remote_address(struct bpf_sk_lookup *ctx)
{
	if (FIELD(ctx, family) == AF_INET)
		return from_v4(FIELD(ctx, remote_ip4));
	return V6_FIELD(ctx, remote_ip6);
}

static __always_inline struct culvert_address local_address(struct bpf_sk_lookup *ctx)
{
	if (FIELD(ctx, family) == AF_INET)
		return from_v4(FIELD(ctx, local_ip4));
	return V6_FIELD(ctx, local_ip6);
}

static __always_inline int verdict(enum culvert_counter which, int result)
{
	count(which);
	return result;
}

static __always_inline int without_agent(const struct culvert_pod *pod, enum culvert_counter passed,
					 enum culvert_counter dropped)
{
	if (pod->flags & CULVERT_POD_FAIL_CLOSED)
		return verdict(dropped, SK_DROP);
	return verdict(passed, SK_PASS);
}

/* What this SYN is of, as the maps name it. */
static __always_inline struct culvert_flow flow_of(struct bpf_sk_lookup *ctx, const struct culvert_address *remote,
						   const struct culvert_address *local)
{
	return (struct culvert_flow){
		.netns = netns_cookie,
		.source = *remote,
		.target = *local,
		.source_port = FIELD(ctx, remote_port),
		.target_port = bpf_htons(FIELD(ctx, local_port)),
	};
}

/*
 * The role of the connection under way between application and agent that this SYN belongs to; NONE where
 * there is none.
 */
static __always_inline __u16 flow_role(struct bpf_sk_lookup *ctx, const struct culvert_address *remote,
				       const struct culvert_address *local)
{
	struct culvert_flow flow = flow_of(ctx, remote, local);
	struct culvert_memo *found = bpf_map_lookup_elem(&flows, &flow);

	return found ? found->role : CULVERT_NAME_NONE;
}

/*
 * Did a pod of this node open it with a verdict for this very pod? Not taken away here: a SYN may come twice, and so may
 * the ACK of a SYN cookie.
 */
static __always_inline struct culvert_opening *passage_to(struct bpf_sk_lookup *ctx,
							  const struct culvert_address *remote,
							  const struct culvert_address *local)
{
	struct culvert_flow flow = flow_of(ctx, remote, local);

	return bpf_map_lookup_elem(&openings, &flow);
}

SEC("sk_lookup")
int lookup(struct bpf_sk_lookup *ctx)
{
	struct culvert_address remote, local;
	__u64 netns = netns_cookie;
	struct culvert_opening *opening;
	struct culvert_pod *pod;
	struct bpf_sock *listener;
	__u32 port = ctx->local_port;
	long failed;

	/* 15008 asks for a certificate itself. */
	if (ctx->protocol != IPPROTO_TCP || port == hbone_port)
		return SK_PASS;
	pod = bpf_map_lookup_elem(&pods, &netns);
	if (!pod)
		return SK_PASS;

	remote = remote_address(ctx);
	local = local_address(ctx);
	/*
	 * The agent to the application. An application may trust whom it takes for its own machine, so such a
	 * connection is let in only with the name of a client to show; a full map makes a reset, and never a
	 * client that passes for local.
	 */
	if (is_detour(&remote) && !is_loopback(&local)) {
		if (flow_role(ctx, &remote, &local) == CULVERT_NAME_DIAL)
			return verdict(culvert_lookup_local, SK_PASS);
		return verdict(culvert_lookup_unnamed, SK_DROP);
	}
	/*
	 * The pod to itself. Nothing from outside can look like this and become a connection: its answers
	 * would stay in here.
	 */
	if (is_loopback(&local) || is_loopback(&remote) || same(&remote, &local) || same(&remote, &pod->ip4) ||
	    same(&remote, &pod->ip6)) {
		/* The connect hook asking for a listener runs this program too. */
		if (FIELD(ctx, remote_port) == 0)
			return SK_PASS;
		return verdict(culvert_lookup_local, SK_PASS);
	}

	/* The agent's other ports are for this pod only; it may have more addresses than we know of. */
	if (port == outbound_port || port == plaintext_port || port == dns_port) {
		if (flow_role(ctx, &remote, &local) == CULVERT_NAME_CLIENT)
			return verdict(culvert_lookup_local, SK_PASS);
		return verdict(culvert_lookup_own_port, SK_DROP);
	}

	opening = passage_to(ctx, &remote, &local);
	/* Policy has changed since it was sent. */
	if (opening && !granted(opening->slot, opening->serial))
		return verdict(culvert_path_turned_away, SK_DROP);
	if (opening)
		return verdict(culvert_path_let_in, SK_PASS);
	if (!agent_alive())
		return without_agent(pod, culvert_lookup_passed_stale, culvert_lookup_dropped_stale);
	listener = bpf_map_lookup_elem(&listeners, &netns);
	if (!listener)
		return without_agent(pod, culvert_lookup_passed_listener, culvert_lookup_dropped_listener);
	/*
	 * Flags 0: the listener stands for its whole SO_REUSEPORT group, which is one socket for each shard.
	 */
	failed = bpf_sk_assign(ctx, listener, 0);
	bpf_sk_release(listener);
	/* An IPv4 listener for an IPv6 client, say. */
	if (failed)
		return without_agent(pod, culvert_lookup_passed_listener, culvert_lookup_dropped_listener);
	return verdict(culvert_lookup_steered, SK_PASS);
}
