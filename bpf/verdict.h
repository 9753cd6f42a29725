/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Has the agent decided about this connection before? Asked by the connect hook: with a verdict the destination stays what
 * it is, and the kernel connects the two pods itself. Nothing in here needs the agent to run at this moment.
 */
#ifndef CULVERT_VERDICT_H
#define CULVERT_VERDICT_H

#include "capture.h"

/* A crashed or replaced agent is not missed for a while; one that is gone for good has nothing to say. */
static __always_inline bool heard_of_agent(__u64 grace_ns)
{
	__u32 zero = 0;
	__u64 *beat = bpf_map_lookup_elem(&heartbeat, &zero);

	return beat && *beat && (__s64)(bpf_ktime_get_ns() - *beat) < (__s64)grace_ns;
}

/* A source that was bound must be the address that the verdict is about. */
static __always_inline bool starts_from(struct bpf_sock *sk, const struct culvert_pod *pod)
{
	struct culvert_address from;

	if (!has_source(sk))
		return true;
	if (sk->family == AF_INET) {
		from = from_v4(sk->src_ip4);
	} else {
		from.word[0] = sk->src_ip6[0];
		from.word[1] = sk->src_ip6[1];
		from.word[2] = sk->src_ip6[2];
		from.word[3] = sk->src_ip6[3];
	}
	return same(&from, &pod->ip4) || same(&from, &pod->ip6);
}

/* True: the connection is allowed as it is, and sockops will find on the socket by what. */
static __always_inline bool has_verdict(const struct culvert_pod *pod, struct bpf_sock *sk, __u64 netns,
					const struct culvert_address *to, __u16 port)
{
	struct culvert_verdict_key key = { .netns = netns, .target = *to, .port = port };
	struct culvert_path_config *path;
	struct culvert_passage_sock *own;
	struct culvert_verdict *verdict;
	struct culvert_grant *grant;
	struct culvert_name *name;
	__u32 zero = 0, slot;

	path = bpf_map_lookup_elem(&path_config, &zero);
	if (!path || !(path->flags & CULVERT_PATH_ENABLED))
		return false;
	/* From an earlier connection of this socket; its endpoint may be asked for by its own address now. */
	own = bpf_sk_storage_get(&passage_sock, sk, 0, 0);
	if (own) {
		own->role = CULVERT_PASSAGE_NONE;
		name = bpf_sk_storage_get(&orig_dst, sk, 0, 0);
		if (name && name->role == CULVERT_NAME_SERVICE)
			name->role = CULVERT_NAME_NONE;
	}
	verdict = bpf_map_lookup_elem(&verdicts, &key);
	if (!verdict || !starts_from(sk, pod))
		return false;
	slot = verdict->slot;
	grant = bpf_map_lookup_elem(&grants, &slot);
	if (!grant || grant->serial != verdict->serial)
		return false;
	if (!heard_of_agent(path->grace_ns)) {
		count(culvert_path_stale);
		return false;
	}
	if (!own)
		own = bpf_sk_storage_get(&passage_sock, sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!own)
		return false;
	own->netns = verdict->netns;
	own->stands_for = *to;
	own->stands_for_port = port;
	own->slot = slot;
	own->serial = verdict->serial;
	own->role = CULVERT_PASSAGE_ALLOWED;
	name = bpf_sk_storage_get(&orig_dst, sk, 0, 0);
	if (name)
		name->role = CULVERT_NAME_NONE;
	count(culvert_path_allowed);
	return true;
}

#endif
