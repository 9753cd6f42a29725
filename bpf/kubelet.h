/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Whose connection is the kubelet's? Its probes carry no identity and come from an address that everything on the
 * node shares, so they are known by the process that makes them, and never by an address.
 *
 * The process is root, in the node's network namespace, in the kubelet's cgroup, has its name and, where the kernel
 * can say so, its PID. Cgroup and namespace alone would do where systemd gives the kubelet a service; where it
 * shares its cgroup with containerd and other daemons, name and PID tell them apart. What runs in a container is in
 * another cgroup, also with the node's network. Kernel 5.7.
 */
#ifndef CULVERT_KUBELET_H
#define CULVERT_KUBELET_H

#include "capture.h"

/* Inode of the machine's own PID namespace (PROC_PID_INIT_INO). */
#define INITIAL_PID_NAMESPACE 0xeffffffcu

/* bpf_get_ns_current_pid_tgid in this type of program, kernel 6.10; pruned where it is not there. */
const volatile bool have_namespace_pid = false;

/* True also where the kernel can't tell: PIDs of a nested namespace before 6.10, as in a node that is a container. */
static __always_inline bool has_pid_of(const struct culvert_kubelet *k)
{
	struct bpf_pidns_info in_namespace = {};

	if (have_namespace_pid)
		return !bpf_get_ns_current_pid_tgid(k->pid_device, k->pid_inode, &in_namespace, sizeof(in_namespace)) &&
		       in_namespace.tgid == k->pid;
	if (k->pid_inode != INITIAL_PID_NAMESPACE)
		return true;
	return bpf_get_current_pid_tgid() >> 32 == k->pid;
}

static __always_inline bool has_name_of(const struct culvert_kubelet *k)
{
	__u64 name[2] = {};
	const __u64 *expected = (const __u64 *)k->name;

	return !bpf_get_current_comm(name, sizeof(name)) && name[0] == expected[0] && name[1] == expected[1];
}

/* Notes on a socket of the node's own namespace whether it is the kubelet that connects it. */
static __always_inline void note_kubelet(struct bpf_sock_addr *ctx, __u64 netns, bool v6)
{
	struct culvert_address to;
	struct culvert_kubelet *k;
	struct culvert_name *name;
	struct bpf_sock *sk;
	__u32 zero = 0;

	k = bpf_map_lookup_elem(&kubelet, &zero);
	if (!k || !k->pid || k->netns != netns || ctx->protocol != IPPROTO_TCP)
		return;
	sk = ctx->sk;
	if (!sk)
		return;
	if (k->cgroup != bpf_get_current_cgroup_id() || !has_name_of(k)) {
		/* A socket that the kubelet has connected before, in other hands now. */
		name = bpf_sk_storage_get(&orig_dst, sk, 0, 0);
		if (name)
			name->role = CULVERT_NAME_NONE;
		return;
	}
	if ((__u32)bpf_get_current_uid_gid() != 0 || !has_pid_of(k)) {
		count(culvert_kubelet_unproven);
		return;
	}
	name = bpf_sk_storage_get(&orig_dst, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!name) {
		count(culvert_kubelet_lost);
		return;
	}
	to = asked_for(ctx, v6);
	remember(name, CULVERT_NAME_KUBELET, &to, ctx->user_port, &to, ctx->user_port);
}

#endif
