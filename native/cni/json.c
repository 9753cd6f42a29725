#include "json.h"

#include <stdint.h>
#include <string.h>

struct reader {
	const char *at;
	const char *end;
};

static bool at_end(const struct reader *r)
{
	return r->at == r->end;
}

/* The next byte, which stays; -1 at the end. */
static int peek(const struct reader *r)
{
	return at_end(r) ? -1 : (unsigned char)*r->at;
}

static bool take(struct reader *r, char wanted)
{
	if (at_end(r) || *r->at != wanted)
		return false;
	r->at++;
	return true;
}

static void skip_space(struct reader *r)
{
	while (!at_end(r) && (*r->at == ' ' || *r->at == '\t' || *r->at == '\n' || *r->at == '\r'))
		r->at++;
}

static bool is_digit(int c)
{
	return c >= '0' && c <= '9';
}

static int hex_value(int c)
{
	if (is_digit(c))
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

static bool read_hex4(struct reader *r, uint32_t *value)
{
	*value = 0;
	for (int i = 0; i < 4; i++) {
		int digit = hex_value(peek(r));

		if (digit < 0)
			return false;
		*value = *value << 4 | (uint32_t)digit;
		r->at++;
	}
	return true;
}

static bool read_string(struct reader *r)
{
	uint32_t unit;

	if (!take(r, '"'))
		return false;
	while (!at_end(r)) {
		unsigned char c = (unsigned char)*r->at++;

		if (c == '"')
			return true;
		if (c < 0x20)
			return false;
		if (c != '\\')
			continue;
		if (at_end(r))
			return false;
		c = (unsigned char)*r->at++;
		if (c == 'u' ? !read_hex4(r, &unit) : !strchr("\"\\/bfnrt", c) || c == 0)
			return false;
	}
	return false;
}

static bool read_digits(struct reader *r)
{
	if (!is_digit(peek(r)))
		return false;
	while (is_digit(peek(r)))
		r->at++;
	return true;
}

static bool read_number(struct reader *r)
{
	take(r, '-');
	if (!take(r, '0') && !read_digits(r))
		return false;
	if (take(r, '.') && !read_digits(r))
		return false;
	if (take(r, 'e') || take(r, 'E')) {
		if (!take(r, '+'))
			take(r, '-');
		return read_digits(r);
	}
	return true;
}

static bool read_word(struct reader *r, const char *word)
{
	size_t length = strlen(word);

	if ((size_t)(r->end - r->at) < length || memcmp(r->at, word, length) != 0)
		return false;
	r->at += length;
	return true;
}

static bool read_scalar(struct reader *r)
{
	switch (peek(r)) {
	case '"':
		return read_string(r);
	case 't':
		return read_word(r, "true");
	case 'f':
		return read_word(r, "false");
	case 'n':
		return read_word(r, "null");
	default:
		return read_number(r);
	}
}

/* The name of a member with its colon; what follows is its value. */
static bool read_name(struct reader *r, struct span *name)
{
	const char *from = r->at;

	if (!read_string(r))
		return false;
	if (name)
		*name = (struct span){ from, (size_t)(r->at - from) };
	skip_space(r);
	if (!take(r, ':'))
		return false;
	skip_space(r);
	return true;
}

/* One value of any kind. The stack has a true for each object and a false for each array that is open. */
static bool read_value(struct reader *r)
{
	bool open[JSON_DEPTH];
	size_t depth = 0;

	for (;;) {
		int c = peek(r);

		if (c == '{' || c == '[') {
			if (depth == JSON_DEPTH)
				return false;
			r->at++;
			skip_space(r);
			if (!take(r, c == '{' ? '}' : ']')) {
				open[depth++] = c == '{';
				if (c == '{' && !read_name(r, 0))
					return false;
				continue;
			}
		} else if (!read_scalar(r)) {
			return false;
		}
		/* A value has ended, and perhaps what it was the last of. */
		for (;;) {
			if (depth == 0)
				return true;
			skip_space(r);
			if (take(r, ','))
				break;
			if (!take(r, open[depth - 1] ? '}' : ']'))
				return false;
			depth--;
		}
		skip_space(r);
		if (open[depth - 1] && !read_name(r, 0))
			return false;
	}
}

static void note(struct span name, struct span value, const char *const *names, struct span *values, size_t count)
{
	char text[64];

	if (!json_string(name, text, sizeof(text)))
		return;
	for (size_t i = 0; i < count; i++)
		if (strcmp(text, names[i]) == 0)
			values[i] = value;
}

bool json_members(struct span text, const char *const *names, struct span *values, size_t count)
{
	struct reader r = { text.at, text.at + text.length };

	memset(values, 0, count * sizeof(*values));
	skip_space(&r);
	if (!take(&r, '{'))
		return false;
	skip_space(&r);
	if (!take(&r, '}')) {
		for (;;) {
			struct span name, value;

			if (!read_name(&r, &name))
				return false;
			value.at = r.at;
			if (!read_value(&r))
				return false;
			value.length = (size_t)(r.at - value.at);
			note(name, value, names, values, count);
			skip_space(&r);
			if (take(&r, '}'))
				break;
			if (!take(&r, ','))
				return false;
			skip_space(&r);
		}
	}
	skip_space(&r);
	return at_end(&r);
}

/* Writes a code point as UTF-8; returns its bytes, of which there are at most 4. */
static size_t encode_utf8(uint32_t point, char *out)
{
	if (point < 0x80) {
		out[0] = (char)point;
		return 1;
	}
	if (point < 0x800) {
		out[0] = (char)(0xc0 | point >> 6);
		out[1] = (char)(0x80 | (point & 0x3f));
		return 2;
	}
	if (point < 0x10000) {
		out[0] = (char)(0xe0 | point >> 12);
		out[1] = (char)(0x80 | (point >> 6 & 0x3f));
		out[2] = (char)(0x80 | (point & 0x3f));
		return 3;
	}
	out[0] = (char)(0xf0 | point >> 18);
	out[1] = (char)(0x80 | (point >> 12 & 0x3f));
	out[2] = (char)(0x80 | (point >> 6 & 0x3f));
	out[3] = (char)(0x80 | (point & 0x3f));
	return 4;
}

/* What stands behind \u, joined with its second half where it is the first of a pair. */
static uint32_t read_code_point(struct reader *r)
{
	struct reader ahead;
	uint32_t first = 0, second;

	read_hex4(r, &first);
	if (first < 0xd800 || first > 0xdfff)
		return first;
	ahead = *r;
	if (first < 0xdc00 && take(&ahead, '\\') && take(&ahead, 'u') && read_hex4(&ahead, &second) &&
	    second >= 0xdc00 && second <= 0xdfff) {
		*r = ahead;
		return 0x10000 + ((first - 0xd800) << 10 | (second - 0xdc00));
	}
	return 0xfffd;
}

static uint32_t read_escape(struct reader *r)
{
	char c = *r->at++;

	switch (c) {
	case 'b':
		return '\b';
	case 'f':
		return '\f';
	case 'n':
		return '\n';
	case 'r':
		return '\r';
	case 't':
		return '\t';
	case 'u':
		return read_code_point(r);
	default:
		return (unsigned char)c;
	}
}

bool json_string(struct span value, char *out, size_t size)
{
	struct reader r, check;
	size_t used = 0;

	if (!value.at || value.length < 2 || *value.at != '"')
		return false;
	check = (struct reader){ value.at, value.at + value.length };
	if (!read_string(&check) || !at_end(&check))
		return false;
	r = (struct reader){ value.at + 1, value.at + value.length - 1 };
	while (!at_end(&r)) {
		char bytes[4];
		size_t length = 1;

		if (*r.at == '\\') {
			r.at++;
			length = encode_utf8(read_escape(&r), bytes);
		} else {
			bytes[0] = *r.at++;
		}
		if (bytes[0] == 0 || length >= size - used)
			return false;
		memcpy(out + used, bytes, length);
		used += length;
	}
	out[used] = 0;
	return true;
}

bool json_number(struct span value, unsigned long most, unsigned long *out)
{
	unsigned long number = 0;

	if (!value.at || value.length == 0)
		return false;
	for (size_t i = 0; i < value.length; i++) {
		if (!is_digit((unsigned char)value.at[i]))
			return false;
		if (number > most / 10)
			return false;
		number = number * 10 + (unsigned long)(value.at[i] - '0');
		if (number > most)
			return false;
	}
	*out = number;
	return true;
}
