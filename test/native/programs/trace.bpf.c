/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* Attached to a function or tracepoint of the kernel that its section names: counts what happens to sockets. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} changes SEC(".maps");

SEC("tp_btf/inet_sock_set_state")
int on_change(void *ctx)
{
	__u32 zero = 0;
	__u64 *count = bpf_map_lookup_elem(&changes, &zero);

	(void)ctx;
	if (count)
		__sync_fetch_and_add(count, 1);
	return 0;
}
