#include "store.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct record *first;
static unsigned long held;

struct record *store_first(void)
{
	return first;
}

unsigned long store_size(void)
{
	return held;
}

static void release(struct record *record)
{
	for (unsigned i = 0; i < record->count; i++)
		close(record->descriptors[i]);
	held -= record->count;
	free(record);
}

static void drop(bool (*condemned)(const struct record *, const struct record *), const struct record *like)
{
	struct record **at = &first;

	while (*at) {
		struct record *record = *at;

		if (record != like && condemned(record, like)) {
			*at = record->next;
			release(record);
		} else {
			at = &record->next;
		}
	}
}

static bool any(const struct record *record, const struct record *like)
{
	(void)record, (void)like;
	return true;
}

static bool is_staged(const struct record *record, const struct record *like)
{
	(void)like;
	return record->staged;
}

static bool of_pod(const struct record *record, const struct record *like)
{
	return record->cookie == like->cookie;
}

static bool kept_of_pod(const struct record *record, const struct record *like)
{
	return record->cookie == like->cookie && !record->staged;
}

static bool equal(const struct record *record, const struct record *like)
{
	return !record->cookie && record->length == like->length &&
	       memcmp(record->line, like->line, like->length) == 0;
}

bool store_add(const char *line, size_t length, const int *descriptors, unsigned count, uint64_t cookie)
{
	struct record *record = malloc(sizeof(*record) + length), **at = &first;

	if (!record)
		return false;
	*record = (struct record){ .cookie = cookie, .staged = cookie != 0, .count = count, .length = length };
	memcpy(record->descriptors, descriptors, count * sizeof(*descriptors));
	memcpy(record->line, line, length);
	held += count;
	while (*at)
		at = &(*at)->next;
	*at = record;
	if (!cookie)
		drop(equal, record);
	return true;
}

void store_commit(uint64_t cookie)
{
	struct record like = { .cookie = cookie };

	drop(kept_of_pod, &like);
	for (struct record *record = first; record; record = record->next)
		if (record->cookie == cookie)
			record->staged = false;
}

void store_drop(uint64_t cookie)
{
	struct record like = { .cookie = cookie };

	drop(of_pod, &like);
}

void store_drop_staged(void)
{
	drop(is_staged, 0);
}

void store_clear(void)
{
	drop(any, 0);
}
