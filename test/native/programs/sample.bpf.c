/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/* One of each thing that the addon's tests load, attach, look up and listen to. */
#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <culvert.h>

char _license[] SEC("license") = "Dual BSD/GPL";

const volatile __u8 tiny;
const volatile __u16 small;
const volatile __u32 word;
const volatile __u64 wide;
const volatile __s32 negative;
const volatile __u8 text[3];

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4);
	__type(key, __u32);
	__type(value, __u64);
} table SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 8192);
	__type(key, __u32);
	__type(value, __u64);
} large SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY); /* has no batch operations */
	__uint(max_entries, 8);
	__type(key, __u32);
	__type(value, __u32);
} jumps SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 18);
} events SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct culvert_name);
} names SEC(".maps");

struct globals {
	__u64 tiny, small, word, wide;
	__s64 negative;
};

SEC("syscall")
int read_globals(struct globals *out)
{
	out->tiny = tiny;
	out->small = small;
	out->word = word;
	out->wide = wide;
	out->negative = negative;
	return text[0];
}

/* Sends records first, first + 1, … and returns how many found no room. */
struct burst {
	__u32 first, count;
};

SEC("syscall")
int emit(struct burst *burst)
{
	__u32 first = burst->first, count = burst->count, lost = 0;

	for (__u32 i = 0; i < 8192; i++) {
		__u32 record = first + i;

		if (i >= count)
			break;
		if (bpf_ringbuf_output(&events, &record, sizeof(record), 0))
			lost++;
	}
	return lost;
}

SEC("cgroup/connect4")
int permit(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("cgroup/connect4")
int forbid(struct bpf_sock_addr *ctx)
{
	return 0;
}

/* Shows the name that user space gave the socket. */
SEC("cgroup/getpeername4")
int show_name(struct bpf_sock_addr *ctx)
{
	struct culvert_name *name = ctx->sk ? bpf_sk_storage_get(&names, ctx->sk, 0, 0) : 0;

	if (name && name->role == CULVERT_NAME_DIAL) {
		ctx->user_ip4 = name->address.word[3];
		ctx->user_port = name->port;
	}
	return 1;
}

/* Every accepted connection is said to have wanted 192.0.2.9:4321. */
SEC("sockops")
int on_accept(struct bpf_sock_ops *ctx)
{
	struct culvert_name *name;

	if (ctx->op != BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB || !ctx->sk)
		return 1;
	name = bpf_sk_storage_get(&names, ctx->sk, 0, BPF_SK_STORAGE_GET_F_CREATE);
	if (!name)
		return 1;
	name->address.word[2] = bpf_htonl(0xffff);
	name->address.word[3] = bpf_htonl(0xc0000209);
	name->port = bpf_htons(4321);
	name->role = CULVERT_NAME_ACCEPTED;
	return 1;
}

SEC("sk_lookup")
int admit(struct bpf_sk_lookup *ctx)
{
	return SK_PASS;
}

/* Nobody listens at port 7, whoever does. */
SEC("sk_lookup")
int hide(struct bpf_sk_lookup *ctx)
{
	return ctx->local_port == 7 ? SK_DROP : SK_PASS;
}

/* No verifier accepts this: the value may be absent. */
SEC("cgroup/connect4")
int refused(struct bpf_sock_addr *ctx)
{
	__u32 key = 0;
	__u64 *value = bpf_map_lookup_elem(&table, &key);

	return *value == 1;
}

/* For runProgram: says what it was given. */
SEC("tc")
int first_word(struct __sk_buff *ctx)
{
	__u32 word = 0;

	bpf_skb_load_bytes(ctx, 14, &word, sizeof(word));
	return word;
}
