/*
 * What is kept for an agent: its messages as it said them, each with the descriptors that came with it, in the order in
 * which the next agent is told them. Descriptors here belong to the store.
 */
#ifndef CULVERT_KEEPER_STORE_H
#define CULVERT_KEEPER_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A set of listeners is five. */
#define MOST_DESCRIPTORS 8

struct record {
	struct record *next;
	uint64_t cookie; /* of the pod's network namespace; 0: no pod's */
	bool staged;     /* the rest of its pod has not come yet */
	unsigned count;
	int descriptors[MOST_DESCRIPTORS];
	size_t length;
	char line[]; /* with its end of line */
};

/* The first of all; 0 where nothing is kept. */
struct record *store_first(void);

/* Descriptors that are held. */
unsigned long store_size(void);

/* False where there is no memory: the descriptors are still the caller's then. One without cookie replaces its equal. */
bool store_add(const char *line, size_t length, const int *descriptors, unsigned count, uint64_t cookie);

/* What was staged for a pod takes the place of what was kept for it. */
void store_commit(uint64_t cookie);

void store_drop(uint64_t cookie);
void store_drop_staged(void);
void store_clear(void);

#endif
