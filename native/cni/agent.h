/*
 * One question to the node's agent and its answer, over its Unix socket, within a deadline. What travels is described in
 * agent/cluster/cni-protocol.ts, the other end.
 */
#ifndef CULVERT_CNI_AGENT_H
#define CULVERT_CNI_AGENT_H

#include <stdbool.h>
#include <stdint.h>

#include "json.h"

#define AGENT_FIELDS 7

struct answer {
	unsigned long code; /* 0: all is well; else an error code of the CNI specification, or 100 and above */
	char message[512];
	char details[2048];
};

/* Milliseconds of CLOCK_MONOTONIC. */
int64_t now_ms(void);

/* False where nobody answered before `deadline`, or not as agents do; `why` then says what happened. */
bool ask_agent(const char *socket_path, const struct span fields[AGENT_FIELDS], int64_t deadline,
	       struct answer *answer, const char **why);

/* Waits until a descriptor is ready; false at the deadline. */
bool wait_for(int fd, short events, int64_t deadline);

#endif
