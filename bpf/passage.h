/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* What the programs of the kernel path share: is a passage still granted, and news for the agent. */
#ifndef CULVERT_PASSAGE_H
#define CULVERT_PASSAGE_H

#include "address.h"
#include "maps.h"

/* The grant of a verdict or passage; null where it was revoked. */
static __always_inline struct culvert_grant *granted(__u32 slot, __u32 serial)
{
	struct culvert_grant *grant = bpf_map_lookup_elem(&grants, &slot);

	return grant && grant->serial == serial ? grant : 0;
}

static __always_inline void see(struct culvert_grant *grant, __u32 what)
{
	if ((grant->seen & what) != what)
		__sync_fetch_and_or(&grant->seen, what);
}

static __always_inline bool fit_to_join(const struct culvert_grant *grant)
{
	__u32 all = CULVERT_SEEN_OPENER | CULVERT_SEEN_SERVER | CULVERT_SEEN_UNFIT;

	return (grant->seen & all) == (CULVERT_SEEN_OPENER | CULVERT_SEEN_SERVER);
}

static __always_inline __u64 opener_of(__u64 id)
{
	return id & ~1ULL;
}

/* 0: the opener, 1: the server. */
static __always_inline __u32 side_of(__u64 id)
{
	return id & 1;
}

/*
 * The agent looks for news several times a second, so nobody is woken: a wake-up would cost more than the connection.
 */
static __always_inline void tell(__u32 kind, __u64 id, const struct culvert_passage *passage)
{
	struct culvert_path_event *event = bpf_ringbuf_reserve(&path_events, sizeof(*event), 0);

	if (!event) {
		count(culvert_path_untold);
		return;
	}
	event->id = id;
	event->at_ns = bpf_ktime_get_ns();
	event->kind = kind;
	event->blind = 0;
	if (passage)
		event->passage = *passage;
	else
		__builtin_memset(&event->passage, 0, sizeof(event->passage));
	bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

#endif
