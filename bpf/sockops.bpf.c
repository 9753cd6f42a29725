/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * sockops: carries a name from the socket that connects to the socket that is accepted, inside one pod's
 * namespace.
 *
 * Application -> agent: the original destination. Agent -> application: the real client. Both ways the
 * connecting socket has the name in its storage; at its SYN, when the source port is known, it goes into
 * `flows`; when the other side becomes established it goes from there onto that socket. On loopback the
 * second always follows the first, and both are done before accept() returns. The kubelet's own connections are
 * handed over in the same way, from the node's namespace into the pod's, so that the agent knows a probe. Only sockets whose cgroup lies
 * below the attach point are seen. Kernel 5.15 (bpf_get_netns_cookie).
 */
#include "address.h"
#include "agent.h"
#include "sockops.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

/* The flow as its opener sees it, asked by the opener. */
static __always_inline struct culvert_flow opened(struct bpf_sock_ops *ops)
{
	struct culvert_flow flow = {
		.netns = bpf_get_netns_cookie(ops),
		.source = local_address(ops),
		.target = remote_address(ops),
		.source_port = bpf_htons(ops->local_port),
		.target_port = remote_port(ops),
	};

	return flow;
}

/* A socket sends its SYN. Leaves at the second line unless it is ours. */
static __always_inline void on_connect(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct culvert_name *name = bpf_sk_storage_get(&orig_dst, sk, 0, 0);
	struct culvert_memo value = {};
	struct culvert_flow flow;
	bool client = true;

	if (!name || name->role != CULVERT_NAME_CLIENT) {
		/* Only the holder of the map's descriptor can have written this: the agent. */
		name = bpf_sk_storage_get(&peer_name, sk, 0, 0);
		if (!name || name->role != CULVERT_NAME_DIAL)
			return;
		client = false;
	}
	flow = opened(ops);
	/* Disconnected and connected again without being captured: an old name. */
	if (client && !(name->stands_for_port == flow.target_port && same(&name->stands_for, &flow.target)))
		return;
	value.address = name->address;
	value.port = name->port;
	value.role = name->role;
	if (client) {
		value.chosen = name->chosen;
		value.chosen_port = name->chosen_port;
	}
	if (bpf_map_update_elem(&flows, &flow, &value, BPF_ANY)) {
		count(client ? culvert_flow_lost : culvert_peer_lost);
		return;
	}
	count(client ? culvert_flow_opened : culvert_peer_opened);
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/*
 * The kubelet's connection is established: its peer has answered, so whoever accepts these four numbers now accepts
 * this connection, and no other that only claims to come from here. The answer to it goes out after this.
 */
static __always_inline void on_established(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	struct culvert_name *name = bpf_sk_storage_get(&orig_dst, sk, 0, 0);
	struct culvert_flow dial;
	__u64 now;

	if (!name || name->role != CULVERT_NAME_KUBELET)
		return;
	dial = opened(ops);
	dial.netns = 0;
	if (name->stands_for_port != dial.target_port || !same(&name->stands_for, &dial.target))
		return;
	now = bpf_ktime_get_ns();
	if (bpf_map_update_elem(&kubelet_dials, &dial, &now, BPF_ANY)) {
		count(culvert_kubelet_lost);
		return;
	}
	count(culvert_kubelet_opened);
	bpf_sock_ops_cb_flags_set(ops, ops->bpf_sock_ops_cb_flags | BPF_SOCK_OPS_STATE_CB_FLAG);
}

/* What arrived at a listener may be the kubelet's: then the accepted socket says so. Once for each connection. */
static __always_inline void on_kubelet(struct bpf_sock_ops *ops, struct bpf_sock *sk,
				       const struct culvert_address *local, const struct culvert_address *remote)
{
	struct culvert_flow dial = {
		.source = *remote,
		.target = *local,
		.source_port = remote_port(ops),
		.target_port = bpf_htons(ops->local_port),
	};
	__u64 netns = bpf_get_netns_cookie(ops);
	struct culvert_name *name;

	if (bpf_map_delete_elem(&kubelet_dials, &dial) || !bpf_map_lookup_elem(&pods, &netns))
		return;
	name = bpf_sk_storage_get(&orig_dst, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!name) {
		count(culvert_kubelet_lost);
		return;
	}
	name->address = *remote;
	name->port = dial.source_port;
	name->role = CULVERT_NAME_KUBELET;
	name->stands_for = *remote;
	name->stands_for_port = dial.source_port;
	count(culvert_kubelet_arrived);
}

/* A connection has arrived at a listener. Leaves early unless both ends are in one pod. */
static __always_inline void on_accept(struct bpf_sock_ops *ops, struct bpf_sock *sk)
{
	bool agents = ops->local_port == outbound_port || ops->local_port == dns_port;
	struct culvert_address local = local_address(ops), remote = remote_address(ops);
	struct culvert_flow flow = {};
	struct culvert_memo *found;
	struct culvert_name *name;
	bool client;

	if (!agents && !is_detour(&remote) && !is_detour(&local) && !same(&local, &remote)) {
		on_kubelet(ops, sk, &local, &remote);
		return;
	}
	flow.netns = bpf_get_netns_cookie(ops);
	flow.source = remote;
	flow.target = local;
	flow.source_port = remote_port(ops);
	flow.target_port = bpf_htons(ops->local_port);
	found = bpf_map_lookup_elem(&flows, &flow);
	if (!found) {
		if (agents && bpf_map_lookup_elem(&pods, &flow.netns))
			count(culvert_flow_unknown);
		return;
	}
	client = found->role == CULVERT_NAME_CLIENT;
	if (client)
		name = bpf_sk_storage_get(&orig_dst, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	else
		name = bpf_sk_storage_get(&peer_name, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (name) {
		name->address = found->address;
		name->port = found->port;
		name->role = client ? CULVERT_NAME_ACCEPTED : CULVERT_NAME_SERVED;
		name->stands_for = remote;
		name->stands_for_port = flow.source_port;
		name->chosen = found->chosen;
		name->chosen_port = found->chosen_port;
		count(client ? culvert_flow_accepted : culvert_peer_accepted);
	} else {
		count(client ? culvert_flow_lost : culvert_peer_lost);
		/* getpeername finds it here until the agent's socket closes. */
		if (!client)
			return;
	}
	bpf_map_delete_elem(&flows, &flow);
}

/* A socket that has opened a flow is closed: refused, timed out, given up, or long after it was accepted. */
static __always_inline void on_close(struct bpf_sock_ops *ops)
{
	struct culvert_flow flow = opened(ops);
	struct culvert_memo *left = bpf_map_lookup_elem(&flows, &flow);
	bool client;

	if (!left) {
		/* The kubelet's, to a pod that is not enrolled. */
		flow.netns = 0;
		bpf_map_delete_elem(&kubelet_dials, &flow);
		return;
	}
	client = left->role == CULVERT_NAME_CLIENT;
	if (!bpf_map_delete_elem(&flows, &flow))
		count(client ? culvert_flow_abandoned : culvert_peer_abandoned);
}

SEC("sockops")
int on_event(struct bpf_sock_ops *ops)
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
		if (sk)
			on_established(ops, sk);
		break;
	case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
		sk = ops->sk;
		if (sk)
			on_accept(ops, sk);
		break;
	case BPF_SOCK_OPS_STATE_CB:
		if (ops->args[1] == BPF_TCP_CLOSE)
			on_close(ops);
		break;
	}
	return 1;
}
