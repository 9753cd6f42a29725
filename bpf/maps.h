/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * Every map, declared once. maps.bpf.c makes them (so that user space can pin them); all other objects are
 * loaded on those same maps. Names have at most 15 characters, since the kernel keeps no more.
 */
#ifndef CULVERT_MAPS_H
#define CULVERT_MAPS_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "culvert.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, CULVERT_MAX_PODS);
	__type(key, __u64);
	__type(value, struct culvert_pod);
} pods SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct culvert_config);
} config SEC(".maps");

/* Apart from `config`: during a hand-over two agents write it. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} heartbeat SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct culvert_name);
} orig_dst SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct culvert_name);
} peer_name SEC(".maps");

/*
 * Not LRU: an entry that another one pushes out would be a connection to nowhere. Full is counted and
 * refused.
 */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CULVERT_MAX_FLOWS);
	__type(key, struct culvert_flow);
	__type(value, struct culvert_memo);
} flows SEC(".maps");

/* LRU: nothing tells us that a UDP socket is gone. An entry is written again by each query. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CULVERT_MAX_DNS_CLIENTS);
	__type(key, struct culvert_dns_client);
	__type(value, struct culvert_dns_servers);
} dns_servers SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct culvert_kubelet);
} kubelet SEC(".maps");

/* Not LRU: full means that a probe is refused like anybody's plain TCP, and is counted. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CULVERT_MAX_KUBELET_DIALS);
	__type(key, struct culvert_flow);
	__type(value, __u64);
} kubelet_dials SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, CULVERT_MAX_PODS);
	__type(key, __u64);
	__type(value, __u64);
} listeners SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct culvert_path_config);
} path_config SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CULVERT_MAX_VERDICTS);
	__type(key, struct culvert_verdict_key);
	__type(value, struct culvert_verdict);
} verdicts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CULVERT_MAX_SERVICES);
	__type(key, struct culvert_verdict_key);
	__type(value, struct culvert_service);
} services SEC(".maps");

/* LRU: a port that is served again through an agent leaves, others are pushed out. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CULVERT_MAX_REFUSING);
	__type(key, struct culvert_endpoint);
	__type(value, __u64);
} refusing SEC(".maps");

/* Apart from `verdicts`: asked at every write of a joined socket, so by index. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, CULVERT_MAX_VERDICTS);
	__type(key, __u32);
	__type(value, struct culvert_grant);
} grants SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CULVERT_MAX_PASSAGES);
	__type(key, struct culvert_flow);
	__type(value, struct culvert_opening);
} openings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__uint(max_entries, CULVERT_MAX_PASSAGES);
	__type(key, __u64);
	__type(value, struct culvert_passage);
} passages SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct culvert_passage_sock);
} passage_sock SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKHASH);
	__uint(max_entries, 2 * CULVERT_MAX_PASSAGES);
	__type(key, __u64);
	__type(value, __u64);
} joined SEC(".maps");

/* LRU: forgotten is learnt again. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, CULVERT_MAX_UNFIT);
	__type(key, struct culvert_program);
	__type(value, __u64);
} unfit_programs SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, CULVERT_PATH_EVENTS);
} path_events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, culvert_counter_count);
	__type(key, __u32);
	__type(value, __u64);
} counters SEC(".maps");

static __always_inline void count(enum culvert_counter which)
{
	__u32 key = which;
	__u64 *value = bpf_map_lookup_elem(&counters, &key);

	if (value)
		__sync_fetch_and_add(value, 1); /* sockops may interrupt a hook that runs in the process */
}

#endif
