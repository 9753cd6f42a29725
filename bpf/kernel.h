/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * The few fields of kernel structures that the kernel path reads. libbpf puts in the offsets of the running kernel from
 * its BTF, so the structures here name fields and nothing else; what they are in is said by the kernel.
 *
 * A read never faults: a socket that is looked at from outside may be gone, and its memory may be another TCP socket's.
 * Whoever reads compares the cookie. Since 6.2 (bpf_rdonly_cast) a read is one instruction; before that it is a call of
 * bpf_probe_read_kernel, of which a write in the join makes sixteen.
 */
#ifndef CULVERT_KERNEL_H
#define CULVERT_KERNEL_H

#include <stdbool.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>

#define KERNEL __attribute__((preserve_access_index))

extern void *bpf_rdonly_cast(const void *object, __u32 type) __ksym __weak;

/* Set by user space where the kernel has it. */
const volatile bool have_cast = false;

/* An address as a pointer that PEEK takes; those from a helper or from PEEK need it no more. */
#define KNOWN(pointer)                                                                                       \
	(have_cast ? (__typeof__(pointer))bpf_rdonly_cast(                                                   \
			     pointer, bpf_core_type_id_kernel(__typeof__(*(pointer))))                       \
		   : (pointer))

/* A field of a kernel structure, by its name in `*pointer`. */
#define PEEK(pointer, field)                                                                                 \
	({                                                                                                   \
		__typeof__(pointer) peeked = (pointer);                                                      \
		__typeof__(peeked->field) value;                                                             \
		if (have_cast)                                                                               \
			value = peeked->field;                                                               \
		else                                                                                         \
			BPF_CORE_READ_INTO(&value, peeked, field);                                           \
		value;                                                                                       \
	})

struct net;

struct list_head {
	struct list_head *next;
} KERNEL;

struct file {
	unsigned int f_flags;
} KERNEL;

struct socket {
	struct file *file;
	struct sock *sk;
} KERNEL;

/* `skc_portpair` and `skc_cookie` are known by these names since before 5.15. */
struct sock_common {
	__u32 skc_portpair;
	unsigned char skc_state;
	struct {
		__s64 counter;
	} skc_cookie;
	unsigned long skc_flags;
	unsigned short skc_family;
	__u16 skc_num;
	__u16 skc_dport;
	__u32 skc_daddr;
	__u32 skc_rcv_saddr;
	struct {
		__u32 word[4];
	} skc_v6_daddr, skc_v6_rcv_saddr;
	struct {
		struct net *net;
	} skc_net;
} KERNEL;

struct net {
	__u64 net_cookie;
} KERNEL;

struct page_counter {
	struct {
		long counter;
	} usage;
	unsigned long max;
	struct page_counter *parent;
} KERNEL;

/* `tcpmem` counts in cgroup v1 alone. */
struct mem_cgroup {
	struct page_counter memory;
	struct page_counter tcpmem;
} KERNEL;

struct sock {
	struct sock_common __sk_common;
	struct mem_cgroup *sk_memcg;
	struct socket *sk_socket;
	void *sk_user_data;
	int sk_err;
	int sk_rcvlowat;
	int sk_peek_off;
} KERNEL;

struct inet_connection_sock {
	const void *icsk_ulp_ops;
} KERNEL;

struct tcp_sock {
	__u32 copied_seq;
	__u32 rcv_nxt;
	__u32 snd_una;
	__u32 write_seq;
	__u32 urg_seq;
} KERNEL;

struct sk_msg_sg {
	__u32 size;
} KERNEL;

struct sk_msg {
	struct sk_msg_sg sg;
	struct list_head list;
} KERNEL;

struct sk_psock {
	struct sock *sk;
	__u32 msg_tot_len; /* since 6.18.x; elsewhere the list is walked */
	struct list_head ingress_msg;
} KERNEL;

struct msghdr {
	unsigned int msg_flags;
} KERNEL;

#define NONBLOCKING 04000 /* O_NONBLOCK */

/* Whether a program has the socket in its hands, and how it reads. */
enum reader { READER_NONE, READER_BLOCKS, READER_READY };

static __always_inline enum reader reader_of(struct sock *sk)
{
	struct socket *socket = PEEK(sk, sk_socket);
	struct file *file = socket ? PEEK(socket, file) : 0;

	/* Not accepted yet, or closed. */
	if (!file)
		return READER_NONE;
	return PEEK(file, f_flags) & NONBLOCKING ? READER_READY : READER_BLOCKS;
}

#define SOCK_DONE 1 /* bit of skc_flags: the peer's FIN has come */

static __always_inline bool has_ended(struct sock *sk)
{
	return PEEK(sk, __sk_common.skc_flags) & (1UL << SOCK_DONE);
}

/* TLS in the kernel, say: what it writes and reads is not what it sends and receives. */
static __always_inline bool has_upper_protocol(struct sock *sk)
{
	return PEEK((struct inet_connection_sock *)sk, icsk_ulp_ops);
}

/* Its place in the enumeration is the running kernel's. */
enum sock_flags { SOCK_ZEROCOPY };

/* Writes with MSG_ZEROCOPY wait for word that their memory is free again, which only TCP gives. */
static __always_inline bool wants_notices(struct sock *sk)
{
	__u64 bit = bpf_core_enum_value(enum sock_flags, SOCK_ZEROCOPY);

	return PEEK(sk, __sk_common.skc_flags) & (1ULL << (bit & 63));
}

/* Whether a program that does not block is served rightly by the join on this socket. */
static __always_inline bool is_plain(struct sock *sk)
{
	return !has_upper_protocol(sk) && !wants_notices(sk);
}

/* Wakes up for many bytes only, looks ahead from a place of its own, or has got urgent data: TCP's queue alone knows of that. */
static __always_inline bool reads_oddly(struct sock *sk)
{
	return PEEK(sk, sk_rcvlowat) > 1 || PEEK(sk, sk_peek_off) >= 0 || PEEK((struct tcp_sock *)sk, urg_seq);
}

#endif
