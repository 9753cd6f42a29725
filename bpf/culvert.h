/* SPDX-License-Identifier: GPL-2.0 OR BSD-2-Clause */
/*
 * What the kernel side and user space agree on: the layout of every map key and value, and the names of the
 * counters.
 *
 * Included by the programs in this folder and by native/ (C++); agent/redirect-abi.ts repeats it for
 * TypeScript and a test compares the two. A value never changes its shape within one CULVERT_ABI, which is
 * part of the pin path. An address is always 16 bytes in network order, IPv4 as ::ffff:a.b.c.d. Ports are in
 * network order unless said otherwise.
 */
#ifndef CULVERT_H
#define CULVERT_H

#include <linux/types.h>

#define CULVERT_ABI 5

/* Map sizes. "Lazy" ones take memory only for what is in them. */
#define CULVERT_MAX_PODS 4096
#define CULVERT_MAX_FLOWS 131072      /* lazy; connections between their SYN and their accept */
#define CULVERT_MAX_DNS_CLIENTS 16384 /* LRU; UDP sockets that asked a DNS server not long ago */
#define CULVERT_MAX_KUBELET_DIALS 4096 /* lazy; the kubelet's connections between their handshake and their accept */
#define CULVERT_DNS_RECENT 4
#define CULVERT_MAX_VERDICTS 65536    /* lazy; also the number of grants, which are not: 512 kB */
#define CULVERT_MAX_PASSAGES 65536    /* lazy; connections of the kernel path, until both ends are closed */
#define CULVERT_MAX_SERVICES 4096     /* lazy, 1.8 kB each; a Service as one pod sees it */
#define CULVERT_MAX_CHOICES 64        /* endpoints of such a Service; a power of two */
#define CULVERT_MAX_UNFIT 4096        /* LRU; programs whose legs are not joined */
#define CULVERT_MAX_REFUSING 4096     /* LRU; where nobody has listened lately */
#define CULVERT_PATH_EVENTS 4194304   /* bytes of the ring buffer */

#define CULVERT_PROCESS_NAME 16 /* as the kernel keeps it, with its final zero */

struct culvert_address {
	__u32 word[4];
};

/*
 * Over IPv4 the agent's end of each connection with the application is 127.67.86.x, x random. With the pod's
 * address at both ends all of them would share one set of 28 000 ports, and whoever closes first would lose a
 * port for a minute; this way there are 256 sets, and the kernel reuses ports at once on loopback.
 * Applications never see these addresses. IPv6 has no second loopback address, and mixing ::1 with another
 * loses every reset and every ACK of TIME-WAIT.
 */
#define CULVERT_DETOUR 0x7f435600u
#define CULVERT_DETOUR_MASK 0xffffff00u

/* Map `config`, one entry. */
struct culvert_config {
	/*
	 * Cgroups whose sockets are never captured: the running agent's, and that of the one before it while
	 * it drains.
	 */
	__u64 agent_cgroup[2];
};

/* Map `heartbeat`, one entry: when the agent last said that it lives, CLOCK_MONOTONIC in ns; 0: not yet. */

#define CULVERT_POD_FAIL_CLOSED 1u
#define CULVERT_POD_DNS 2u

/* Map `pods`: network namespace cookie -> pod. An address of all zeroes: the pod has none of this family. */
struct culvert_pod {
	struct culvert_address ip4; /* ::ffff:a.b.c.d */
	struct culvert_address ip6;
	__u32 flags;      /* CULVERT_POD_* */
	__u32 generation; /* grows by one whenever this namespace is enrolled again */
};

/* Who wrote a name, and so who may believe it. */
#define CULVERT_NAME_NONE 0
#define CULVERT_NAME_CLIENT 1   /* connect hook, on the application's socket: where it really wants to go */
#define CULVERT_NAME_ACCEPTED 2 /* sockops, on the agent's accepted socket: the same, for originalDestination() */
#define CULVERT_NAME_DIAL 3     /* user space by setPeerName(), on the agent's own socket before it connects */
#define CULVERT_NAME_SERVED 4   /* sockops, on the application's accepted socket: the real client */
#define CULVERT_NAME_PROBE 5    /* user space, self-test: the agent's own socket, to be treated as an application's */
#define CULVERT_NAME_PROBED 6   /* connect hook: the probe was not captured, `verdict` says why */
#define CULVERT_NAME_KUBELET 7  /* connect hook, on a socket of the kubelet; sockops, on what accepted it in a pod */
#define CULVERT_NAME_SERVICE 8  /* connect hook, on an application's socket: the Service for which the kernel took an endpoint */

/*
 * Value of both socket storages: `orig_dst` (CLIENT, ACCEPTED, PROBE, PROBED, KUBELET, SERVICE) and `peer_name` (DIAL,
 * SERVED).
 *
 * `stands_for` is the kernel's own idea of the peer; the name is shown only while that is still the peer, so
 * that a socket that was disconnected and connected again never tells an old one. User space writes address,
 * port and role, and leaves the rest zero (a PROBE also has stands_for_port: the listener that takes the
 * place of 15001).
 */
struct culvert_name {
	struct culvert_address address;
	__u16 port;
	__u16 role;            /* CULVERT_NAME_* */
	__u16 stands_for_port;
	__u16 verdict;         /* enum culvert_counter */
	struct culvert_address stands_for;
	struct culvert_address chosen; /* CLIENT, ACCEPTED: the endpoint that the kernel has drawn; port 0: none */
	__u16 chosen_port;
	__u16 reserved;
};

struct culvert_endpoint {
	struct culvert_address address;
	__u16 port;
	__u16 reserved;
};

/* Value of `flows`: what the accepted socket is to remember. */
struct culvert_memo {
	struct culvert_address address; /* the original destination (CLIENT), or the real client (DIAL) */
	__u16 port;
	__u16 role; /* CLIENT or DIAL */
	__u16 chosen_port;
	__u16 reserved;
	struct culvert_address chosen; /* as in culvert_name */
};

/* Key of `flows`: a TCP connection under way inside one namespace, as the side that opens it sees it. */
struct culvert_flow {
	__u64 netns;
	struct culvert_address source;
	struct culvert_address target;
	__u16 source_port;
	__u16 target_port;
	__u32 reserved;
};

/*
 * Map `kubelet`, one entry: which process is the node's kubelet. All zeroes: none is known. User space has found the
 * process by its executable; the kernel compares what no other process of the node has together.
 */
struct culvert_kubelet {
	__u64 netns;      /* cookie of the namespace that it runs in: the node's */
	__u64 cgroup;
	__u64 pid_device; /* of the PID namespace that `pid` is counted in, as stat(2) names it */
	__u64 pid_inode;
	__u32 pid;
	__u32 reserved;
	char name[CULVERT_PROCESS_NAME];
};

/*
 * Map `kubelet_dials`: connections of the kubelet whose handshake is done and that nobody has accepted yet, key as
 * in `flows` with netns 0, since the ends lie in two namespaces; value: when, CLOCK_MONOTONIC in ns.
 */

/*
 * Key of `dns_servers`. Port 0: what was last asked from this namespace by a socket whose port is not known.
 */
struct culvert_dns_client {
	__u64 netns;
	__u16 port;   /* of the client's UDP socket, host order */
	__u16 family; /* 4 or 6, of the server's address */
	__u32 reserved;
};

/* Value of `dns_servers`: distinct servers this socket asked, the most recent first; port 0 ends the list. */
struct culvert_dns_servers {
	struct culvert_endpoint recent[CULVERT_DNS_RECENT];
};

/*
 * Map `listeners` (SOCKHASH): network namespace cookie -> the socket that takes plain TCP which arrives at
 * the pod.
 */

/*
 * The kernel path: connections between two pods of one node that the kernel sets up and carries alone, because the
 * agent has decided about (source pod, address, port) before. A verdict lets new ones begin; a grant lets those that
 * have begun go on. A connection of this kind is called a passage; its two ends are the opener (0) and the server (1).
 */

/* Map `path_config`, one entry. All zeroes: there is no kernel path. */
struct culvert_path_config {
	__u64 grace_ns; /* verdicts are good for this long after the agent's last heartbeat */
	__u32 limit;    /* bytes that wait unread in a join before writes go by TCP */
	__u32 flags; /* CULVERT_PATH_* */
};

#define CULVERT_PATH_ENABLED 1u /* connections with a verdict are the kernel's */
#define CULVERT_PATH_JOINS 2u   /* and fit ones are joined */

/* Key of `verdicts` and of `services`. */
struct culvert_verdict_key {
	__u64 netns; /* of the source pod */
	struct culvert_address target;
	__u16 port;
	__u16 reserved[3];
};

#define CULVERT_CHOICE_HERE 1u /* a pod of this node: there may be a verdict about it */

/*
 * One endpoint of a Service. They are drawn by Vose's alias method, which needs two numbers and no loop whatever the
 * weights are: the first one says which choice, the second whether it is taken or the one that `other` names.
 */
struct culvert_choice {
	struct culvert_address address;
	__u16 port;
	__u16 flags; /* CULVERT_CHOICE_* */
	__u32 share; /* taken where the second number, of 32 bits, is not above */
	__u32 other;
};

/*
 * Value of `services`: all endpoints that a new connection may go to. Where the agent would do more than draw, there is
 * no entry. The kernel may give the memory of a deleted entry to another one while it is read: hence the key, first.
 */
struct culvert_service {
	struct culvert_verdict_key of;
	__u32 count;
	__u32 reserved;
	struct culvert_choice choice[CULVERT_MAX_CHOICES];
};

/* Map `refusing`, culvert_endpoint -> CLOCK_MONOTONIC in ns: a passage to this pod's port was refused. */

/* Value of `verdicts`: allowed, as long as `serial` is what the grant has. */
struct culvert_verdict {
	__u64 netns; /* of the destination pod */
	__u32 slot;  /* index of the grant */
	__u32 serial;
};

/* What was seen of the programs at both ends of a verdict; only what is known to be fit is ever joined. */
#define CULVERT_SEEN_OPENER 1u /* an opener whose socket does not block */
#define CULVERT_SEEN_SERVER 2u /* a server whose socket does not block */
#define CULVERT_SEEN_UNFIT 4u  /* a socket that blocks, or came to block, or is more than plain TCP */

/* Entry of `grants`. */
struct culvert_grant {
	__u32 serial; /* grows when everything that this grant has let in is revoked */
	__u32 seen;   /* CULVERT_SEEN_* */
};

/*
 * Value of `openings`, whose key is a flow with the destination's namespace: a passage between its SYN and its accept.
 * What sk_lookup finds here goes to the application, and what is accepted under it is the server's end.
 */
struct culvert_opening {
	__u64 id;
	__u32 slot;
	__u32 serial;
};

#define CULVERT_END_HERE 1u   /* established */
#define CULVERT_END_JOINED 2u /* in the map `joined` */
#define CULVERT_END_CLOSED 4u

/* One end of a passage; written by its own socket's programs alone. */
struct culvert_passage_end {
	__u64 sock;     /* address of its struct sock, to be read with care: it may be another socket by now */
	__u64 cookie;   /* which proves that it is not */
	__u64 sent;     /* bytes that it has put into the join */
	__u64 received; /* bytes that came to it by TCP */
	__u32 state;    /* CULVERT_END_* */
	__u32 error;    /* errno that its peer or the network has given it; 0: none */
};

/* Value of `passages`, whose key is the id of the opener's end. */
struct culvert_passage {
	struct culvert_flow flow; /* as the opener sees it; `netns` is the destination's */
	__u64 source_netns;
	__u64 opened_ns; /* CLOCK_MONOTONIC, at the SYN */
	__u32 slot;
	__u32 serial;
	struct culvert_passage_end end[2];
	__u32 closed; /* bit 0: opener, bit 1: server */
	__u16 service_port; /* 0: the opener asked for the pod itself */
	__u16 reserved;
	struct culvert_address service; /* which it asked for */
};

#define CULVERT_PASSAGE_NONE 0
#define CULVERT_PASSAGE_ALLOWED 1 /* connect hook: a verdict was found */
#define CULVERT_PASSAGE_OPENER 2  /* sockops, at the SYN */
#define CULVERT_PASSAGE_SERVER 3  /* sockops, when accepted */
#define CULVERT_PASSAGE_LEG 4     /* no passage: an application's socket or the agent's beside it, see culvert_leg */

/* Where the next write of an end goes; NEVER: to TCP for good. */
#define CULVERT_MODE_TCP 0
#define CULVERT_MODE_JOIN 1
#define CULVERT_MODE_NEVER 2
#define CULVERT_MODE_LEAVING 3 /* as NEVER; the reader blocks now, and shall leave the join when it has read all of it */

#define CULVERT_SOCK_JOINED 1 /* in the map `joined` */
#define CULVERT_SOCK_READY 2  /* an opener that did not block when it was established */
#define CULVERT_SOCK_LEAVES 4 /* the agent has been told that the join can't serve its program */
#define CULVERT_SOCK_BLIND 8  /* and that its program passes over what waits in the join */
#define CULVERT_SOCK_URGENT 16 /* its program has sent urgent data */

/* Value of the socket storage `passage_sock`. */
struct culvert_passage_sock {
	__u64 id;    /* even: opener, odd: its server, which is id + 1; also the key in `joined` */
	__u64 netns; /* of the destination */
	struct culvert_address stands_for;
	__u16 stands_for_port;
	__u16 role; /* CULVERT_PASSAGE_* */
	__u16 mode;  /* CULVERT_MODE_* */
	__u16 flags; /* CULVERT_SOCK_* */
	__u32 slot;
	__u32 serial;
	__u64 peer; /* as in culvert_passage_end */
	__u64 peer_cookie;
	__u64 sent;
	__u64 told; /* when `sent` last reached the passage; join.bpf.c counts in ticks, path.bpf.c in ns */
};

/*
 * What the agent gives leg.bpf.c, behind room for an Ethernet header: a connection inside a pod, between an application
 * and the agent, by its four numbers.
 */
struct culvert_leg {
	__u64 id; /* in `joined`: even, of the application's socket; the agent's is one more */
	struct culvert_address application;
	struct culvert_address agent;
	__u16 application_port;
	__u16 agent_port;
	__u32 reserved;
};

/* Key of `unfit_programs`: who has asked of a leg's socket what the join can't give. */
struct culvert_program {
	__u64 netns;
	__u16 port; /* where it listens; of clients the agent's, 15001 */
	__u16 reserved[3];
};

#define CULVERT_LEG_APART 0
#define CULVERT_LEG_JOINED 1
#define CULVERT_LEG_LATER 2 /* the application has not accepted it yet */

/* What unread.bpf.c answers. */
#define CULVERT_UNREAD_GONE 0
#define CULVERT_UNREAD_NONE 1
#define CULVERT_UNREAD_WAITS 2

#define CULVERT_EVENT_OPENED 1
#define CULVERT_EVENT_CLOSED 2
#define CULVERT_EVENT_BLOCKS 3  /* a joined end turned blocking and has read all: it shall leave `joined` */
#define CULVERT_EVENT_LEAVES 4  /* a joined end whose program the join can't serve: the same, when it has read all */

/* Record in the ring buffer `path_events`. */
struct culvert_path_event {
	__u64 id; /* of the opener; BLOCKS and LEAVES: of the end that is meant */
	__u64 at_ns;
	__u32 kind; /* CULVERT_EVENT_* */
	__u32 blind; /* LEAVES: what waits in the join is not read any more */
	struct culvert_passage passage; /* OPENED and CLOSED; LEAVES: its `flow`, as if that end had been accepted */
};

/* One counter per verdict, in the per-CPU array `counters`; user space knows them by these names. */
#define CULVERT_COUNTERS(_)                                                                                  \
	_(connect_captured)         /* application TCP brought to 15001 */                                    \
	_(connect_agent)            /* the agent's own socket in a pod, left alone */                         \
	_(connect_agent_loop)       /* the agent in a client's name to a port of its own: refused */          \
	_(connect_local)            /* loopback or the pod's own address, left alone */                       \
	_(connect_link_local)       /* IPv6 link-local, multicast, broadcast: left alone */                   \
	_(connect_no_address)       /* fail-open, the pod has no address of that family: left alone */        \
	_(connect_no_address_refused) /* fail-closed, the same: refused */                                    \
	_(connect_passed_stale)     /* fail-open, heartbeat too old: left alone */                            \
	_(connect_passed_listener)  /* fail-open, nobody listens at 15001 in the pod: left alone */           \
	_(connect_passed_memory)    /* fail-open, no memory for the original destination: left alone */       \
	_(connect_refused_stale)    /* fail-closed, the same three: ECONNREFUSED (EPERM before 6.1) */       \
	_(connect_refused_listener)                                                                          \
	_(connect_refused_memory)                                                                            \
	_(dns_captured_udp)         /* query, or connected socket, brought to 15053 */                        \
	_(dns_captured_tcp)         /* TCP to port 53 brought to 15053 */                                     \
	_(dns_passed)               /* agent gone: the query goes to the server that it was meant for */      \
	_(dns_port_unknown)         /* connected socket without a port: agent uses the server last asked */   \
	_(flow_opened)              /* SYN of a captured connection */                                        \
	_(flow_accepted)            /* the agent's accepted socket knows its original destination */          \
	_(flow_unknown)             /* accepted at 15001 or 15053 without one: somebody connected there */    \
	_(flow_lost)                /* map full or no memory: the agent will refuse the connection */         \
	_(flow_abandoned)           /* ended before it was accepted */                                        \
	_(peer_opened)              /* SYN of the agent to the application, in a client's name */             \
	_(peer_accepted)            /* the application's socket knows the real client */                      \
	_(peer_lost)                /* map full or no memory: the connection is refused or looked up again */ \
	_(peer_abandoned)                                                                                    \
	_(lookup_steered)           /* plain TCP from outside given to 15006 */                               \
	_(lookup_own_port)          /* from outside to 15001, 15006 or 15053: reset */                        \
	_(lookup_unnamed)           /* the agent to the application, but no client is recorded: reset */      \
	_(lookup_local)             /* the pod to itself, the agent to the application: left alone */         \
	_(lookup_passed_stale)      /* fail-open, heartbeat too old: straight to the application */           \
	_(lookup_passed_listener)   /* fail-open, no listener for plain TCP: straight to the application */   \
	_(lookup_dropped_stale)     /* fail-closed, the same two: reset */                                    \
	_(lookup_dropped_listener)                                                                           \
	_(kubelet_opened)           /* handshake of a connection of the node's kubelet */                     \
	_(kubelet_arrived)          /* the agent's accepted socket is known to be the kubelet's */            \
	_(kubelet_unproven)         /* kubelet's name and cgroup, but another process or not root: as anybody */ \
	_(kubelet_lost)             /* map full or no memory: the kubelet's connection counts as anybody's */ \
	_(path_allowed)             /* connect() with a verdict: left to the kernel path */                   \
	_(path_stale)               /* a verdict, but the agent is gone for too long */                       \
	_(path_opened)              /* SYN of a passage */                                                    \
	_(path_lost)                /* map full or no memory: arrives as anybody's plain TCP */               \
	_(path_let_in)              /* SYN of a passage let through to the application */                     \
	_(path_turned_away)         /* SYN of a passage that was revoked before it came: reset */             \
	_(path_accepted)            /* the application has the connection */                                  \
	_(path_outrun)              /* accepted, but revoked since its SYN: carries nothing, and is ended */  \
	_(path_joined)              /* and both ends are joined */                                            \
	_(path_unseen)              /* not joined: nothing is known yet about the programs at both ends */    \
	_(path_unfit)               /* not joined: a program that the join can't serve */                     \
	_(path_apart)               /* not joined: one end blocks now, or the map did not take it */          \
	_(path_to_tcp)              /* a direction left the join: its reader is slow, or blocks */            \
	_(path_to_join)             /* a direction entered the join, at first or again */                     \
	_(path_revoked)             /* a write into a revoked passage: refused */                             \
	_(path_leaves)              /* a joined end leaves: its program asks for what the join can't give */     \
	_(path_urgent)              /* urgent data that would overtake what waits in the join: refused */     \
	_(path_untold)              /* an event found no room; the agent looks into `passages` */          \
	_(path_service)             /* connect() to a Service, endpoint drawn here: left to the kernel path */ \
	_(path_handed)              /* the same, but the agent must carry it: it was told which endpoint */  \
	_(path_refusing)            /* the endpoint has refused lately: the agent may try another */          \
	_(leg_joined)               /* an application's socket and the agent's beside it are joined */        \
	_(leg_apart)                /* not joined: it blocks, is more than plain TCP, or is gone */

enum culvert_counter {
#define CULVERT_ENUM(name) culvert_##name,
	CULVERT_COUNTERS(CULVERT_ENUM)
#undef CULVERT_ENUM
	culvert_counter_count
};

#endif
