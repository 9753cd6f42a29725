/*
 * Finds members of a JSON object (RFC 8259) without building anything: values are spans of the text they stand in, so
 * that a result of another plugin can be passed on byte for byte. No allocation, no recursion.
 */
#ifndef CULVERT_CNI_JSON_H
#define CULVERT_CNI_JSON_H

#include <stdbool.h>
#include <stddef.h>

struct span {
	const char *at; /* 0: absent */
	size_t length;
};

/* Objects and arrays within each other; deeper ones count as malformed. */
#define JSON_DEPTH 128

/*
 * Reads `text`, which must be one object and nothing else, and notes where the values of the named members stand; the
 * last of those with the same name counts, as everybody else reads it. False for malformed text.
 */
bool json_members(struct span text, const char *const *names, struct span *values, size_t count);

/* Puts the text of a string value, decoded, with a final zero, into `out`. False: no string, too long, or has a zero. */
bool json_string(struct span value, char *out, size_t size);

/* Reads a whole number from 0 to `most`. False for any other value. */
bool json_number(struct span value, unsigned long most, unsigned long *out);

#endif
