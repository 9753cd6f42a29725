/*
 * The conversation between the keeper and the agent that it has started: lines of JSON on a pair of sockets that nobody
 * else can reach, descriptors by datagrams on another. What is said is described in agent/handover/protocol.ts.
 */
#ifndef CULVERT_KEEPER_TALK_H
#define CULVERT_KEEPER_TALK_H

#include <stdbool.h>

/* Called when the agent says that it serves: from then on connections may wait so long for the next one; 0: none may. */
typedef void served(unsigned long wait_ms);

/* Makes both pairs. What is the agent's is left for it to inherit, and written into `theirs`. False: errno says why. */
bool talk_begin(int theirs[2], served *on_served);

/* Where to poll for what the agent says; -1 where nobody is there. */
int talk_descriptor(void);

/* Reads and answers what has come. */
void talk_listen(void);

/* The agent has ended: what it said last still counts. */
void talk_end(void);

/* An agent has said that it serves, and nobody has said or done since then what ends that. */
bool talk_serves(void);

/* Nothing is kept any more. */
void talk_forget(void);

#endif
