/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * cgroup/connect4, connect6: where an application's connection leaves its way and goes to the agent.
 *
 * TCP of an enrolled pod gets the agent's listener in its own namespace (port 15001) for a destination, and
 * the pod's address for a source; the real destination stays on the socket, where sockops and getpeername
 * find it; what the agent has decided about before goes its way (verdict.h, and service.h for Services). Connected
 * UDP to port 53 goes to 15053. What the node's kubelet opens is noted. Kernel 5.15. Since 6.1 a refused connect() says
 * ECONNREFUSED, before that EPERM.
 */
#include <linux/errno.h>
#include "capture.h"
#include "dns.h"
#include "kubelet.h"
#include "service.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* Pruned by the verifier where the kernel does not know the helper. */
const volatile bool have_set_retval = false;
const volatile bool have_mptcp_sock = false;

/*
 * What became of a connection that was not captured: counted, and told to the self-test's probe, which goes
 * nowhere.
 */
static __always_inline int verdict(struct culvert_name *probe, enum culvert_counter which, int allow)
{
	count(which);
	if (probe) {
		probe->role = CULVERT_NAME_PROBED;
		probe->verdict = which;
		allow = DENY;
	}
	if (allow == DENY && have_set_retval)
		bpf_set_retval(which == culvert_connect_no_address_refused ? -ENETUNREACH : -ECONNREFUSED);
	return allow;
}

/* It can't be captured: what the pod's owner has declared for that case. Names resolve in any case. */
static __always_inline int without_agent(const struct culvert_pod *pod, struct culvert_name *probe, bool dns,
					 enum culvert_counter passed, enum culvert_counter refused)
{
	if (dns)
		return verdict(probe, culvert_dns_passed, ALLOW);
	if (pod->flags & CULVERT_POD_FAIL_CLOSED)
		return verdict(probe, refused, DENY);
	return verdict(probe, passed, ALLOW);
}

/*
 * The agent's own connection. One to the application in a client's name starts from the detour, and is refused
 * at the agent's ports: handed to itself, it would go round and round.
 */
static __always_inline int pass_agent(struct bpf_sock_addr *ctx, const struct culvert_pod *pod, struct bpf_sock *sk,
				      const struct culvert_address *to)
{
	struct culvert_name *name = bpf_sk_storage_get(&peer_name, sk, 0, 0);

	if (name && name->role == CULVERT_NAME_DIAL) {
		if (is_agent_port(bpf_ntohs(ctx->user_port)))
			return verdict(0, culvert_connect_agent_loop, DENY);
		if (same(to, &pod->ip4) && !sk->bound_dev_if && !sk->src_port && !has_source(sk)) {
			struct culvert_address from = detour();

			bind_to(ctx, sk, &from);
		}
	}
	count(culvert_connect_agent);
	return ALLOW;
}

/*
 * A captured connection goes to the detour, from the pod's own address. Not so a socket that has a port and
 * no address, which can't be given one, nor one that is bound to an interface: both meet the agent at the
 * pod's own address.
 */
static __always_inline bool takes_detour(struct bpf_sock_addr *ctx, struct bpf_sock *sk,
					 const struct culvert_address *own)
{
	if (!is_v4(own) || sk->bound_dev_if)
		return false;
	return has_source(sk) || (!sk->src_port && bind_to(ctx, sk, own));
}

/* What connects is a subflow of the socket that the application has: that one is asked for its peer. */
static __always_inline void name_mptcp(struct bpf_sock *subflow, const struct culvert_name *name)
{
	void *sk = bpf_skc_to_mptcp_sock(subflow);
	struct culvert_name *shown = sk ? bpf_sk_storage_get(&orig_dst, sk, 0, BPF_SK_STORAGE_GET_F_CREATE) : 0;

	if (shown)
		*shown = *name;
}

/* Whether this is one of several connections of one socket: those meet the agent, which speaks TCP only. */
static __always_inline bool is_mptcp(struct bpf_sock *sk)
{
	return have_mptcp_sock && bpf_skc_to_mptcp_sock(sk);
}

static __always_inline int capture_tcp(struct bpf_sock_addr *ctx, const struct culvert_pod *pod, __u64 netns, bool v6)
{
	struct culvert_address to = asked_for(ctx, v6), agent;
	__u16 port = ctx->user_port, listener = outbound_port;
	struct culvert_name *name, *probe = 0;
	struct culvert_choice chosen = {};
	struct bpf_sock *sk = ctx->sk;
	bool dns;

	if (!sk)
		return ALLOW;
	if (is_agent()) {
		probe = bpf_sk_storage_get(&orig_dst, sk, 0, 0);
		if (!probe || probe->role != CULVERT_NAME_PROBE)
			return pass_agent(ctx, pod, sk, &to);
	}
	if (is_own(pod, &to)) {
		/*
		 * To the agent's own port: not even with a name that the socket has from an earlier
		 * connection.
		 */
		name = bpf_sk_storage_get(&orig_dst, sk, 0, 0);
		if (name && !probe)
			name->role = CULVERT_NAME_NONE;
		return verdict(probe, culvert_connect_local, ALLOW);
	}
	if (is_link_scoped(&to))
		return verdict(probe, culvert_connect_link_local, ALLOW);

	dns = (pod->flags & CULVERT_POD_DNS) && port == bpf_htons(DNS_PORT);
	if (!probe && !dns && !is_mptcp(sk)) {
		if (has_verdict(pod, sk, netns, &to, port))
			return ALLOW;
		if (!choose(netns, &to, port, &chosen))
			chosen.port = 0;
		else if (reaches(ctx, pod, netns, v6, &to, port, &chosen))
			return ALLOW;
	}
	if (dns)
		listener = dns_port;
	agent = agent_address(pod, is_v4(&to));
	if (none(&agent))
		return without_agent(pod, probe, dns, culvert_connect_no_address, culvert_connect_no_address_refused);
	if (!agent_alive())
		return without_agent(pod, probe, dns, culvert_connect_passed_stale, culvert_connect_refused_stale);
	if (!listens(ctx, &agent, listener, false))
		return without_agent(pod, probe, dns, culvert_connect_passed_listener, culvert_connect_refused_listener);
	name = bpf_sk_storage_get(&orig_dst, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!name)
		return without_agent(pod, probe, dns, culvert_connect_passed_memory, culvert_connect_refused_memory);

	if (takes_detour(ctx, sk, &agent))
		agent = detour();
	listener = probe ? probe->stands_for_port : bpf_htons(listener);
	remember(name, CULVERT_NAME_CLIENT, &to, port, &agent, listener);
	if (chosen.port) {
		name->chosen = chosen.address;
		name->chosen_port = chosen.port;
		count(culvert_path_handed);
	}
	if (have_mptcp_sock)
		name_mptcp(sk, name);
	show(ctx, v6, &agent, listener);
	count(dns ? culvert_dns_captured_tcp : culvert_connect_captured);
	return ALLOW;
}

static __always_inline int on_connect(struct bpf_sock_addr *ctx, bool v6)
{
	__u64 netns = bpf_get_netns_cookie(ctx);
	struct culvert_pod *pod = bpf_map_lookup_elem(&pods, &netns);

	if (!pod) {
		note_kubelet(ctx, netns, v6);
		return ALLOW;
	}
	if (ctx->protocol == IPPROTO_TCP)
		return capture_tcp(ctx, pod, netns, v6);
	if (ctx->protocol == IPPROTO_UDP && ctx->user_port == bpf_htons(DNS_PORT) && (pod->flags & CULVERT_POD_DNS))
		return capture_dns_udp(ctx, pod, netns, v6, true);
	return ALLOW;
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	return on_connect(ctx, false);
}

/* Also for IPv4: a socket of AF_INET6 that connects to ::ffff:a.b.c.d comes here. */
SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	return on_connect(ctx, true);
}
