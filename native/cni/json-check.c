/*
 * For test/native/cni-json.ts: reads documents from standard input, each after its length in four bytes, and says for
 * each on a line of its own what json.c makes of it: `malformed`, or where the value of "a" stands and its text.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json.h"

static void check(const char *text, size_t length)
{
	static const char *const names[] = { "a" };
	struct span value;
	char decoded[32];
	unsigned long number;

	if (!json_members((struct span){ text, length }, names, &value, 1)) {
		puts("malformed");
		return;
	}
	if (!value.at) {
		puts("absent");
		return;
	}
	printf("%zu %zu", (size_t)(value.at - text), value.length);
	if (json_string(value, decoded, sizeof(decoded))) {
		printf(" text ");
		for (const char *c = decoded; *c; c++)
			printf("%02x", (unsigned)(unsigned char)*c);
	}
	if (json_number(value, 1000000, &number))
		printf(" number %lu", number);
	putchar('\n');
}

int main(void)
{
	unsigned char head[4];

	while (fread(head, sizeof(head), 1, stdin) == 1) {
		size_t length = (size_t)head[0] << 24 | (size_t)head[1] << 16 | (size_t)head[2] << 8 | head[3];
		/* Of exactly this size, so that AddressSanitizer sees one byte too many. */
		char *text = malloc(length ? length : 1);

		if (!text || fread(text, 1, length, stdin) != length)
			return 1;
		check(text, length);
		free(text);
	}
	return 0;
}
