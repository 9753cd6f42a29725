#include "talk.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "json.h"
#include "store.h"

#define LONGEST_LINE (1 << 20)
#define LONGEST_HELLO 1024
/* An agent that reads nothing for this long hangs; the kernel's heartbeat says so to everybody. */
#define PATIENCE_MS 5000
#define LONGEST_WAIT_MS 600000

enum { TYPE, COOKIE, DNS, WAIT, MEMBERS };
static const char *const member_names[MEMBERS] = { "type", "cookie", "dns", "waitMs" };

static int line_socket = -1, descriptor_socket = -1;
static served *tell_served;
static char *input;
static size_t input_length, input_size;
/* What the agent called itself when it said that it serves; length 0: it has not. */
static char hello[LONGEST_HELLO];
static size_t hello_length;
/* Of the pod whose listeners are coming. */
static uint64_t current;
/* What the next agent is told next, and whether it is being told. */
static const struct record *next;
static bool telling;

bool talk_begin(int theirs[2], served *on_served)
{
	int lines[2], descriptors[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, lines) != 0)
		return false;
	if (socketpair(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, descriptors) != 0) {
		close(lines[0]);
		close(lines[1]);
		return false;
	}
	line_socket = lines[0];
	descriptor_socket = descriptors[0];
	theirs[0] = lines[1];
	theirs[1] = descriptors[1];
	tell_served = on_served;
	input_length = 0;
	current = 0;
	telling = false;
	return true;
}

int talk_descriptor(void)
{
	return line_socket;
}

bool talk_serves(void)
{
	return hello_length > 0;
}

void talk_forget(void)
{
	store_clear();
	hello_length = 0;
	/* An agent that is just being told what there was hears that it was all. */
	next = 0;
}

static void hang_up(void)
{
	if (line_socket >= 0)
		close(line_socket);
	if (descriptor_socket >= 0)
		close(descriptor_socket);
	line_socket = descriptor_socket = -1;
}

static void say(const char *line, size_t length)
{
	while (length > 0) {
		ssize_t sent = send(line_socket, line, length, MSG_NOSIGNAL);

		if (sent > 0) {
			line += sent;
			length -= (size_t)sent;
		} else if (errno == EAGAIN) {
			struct pollfd room = { .fd = line_socket, .events = POLLOUT };

			if (poll(&room, 1, PATIENCE_MS) == 0) {
				hang_up();
				return;
			}
		} else if (errno != EINTR) {
			/* It has ended, which is told elsewhere. */
			return;
		}
	}
}

static void say_text(const char *text)
{
	say(text, strlen(text));
}

static void refuse(const char *message)
{
	say_text("{\"type\":\"refused\",\"code\":\"KEEPER_FAILED\",\"message\":\"");
	say_text(message);
	say_text("\",\"fix\":null}\n");
}

/* Copies of a record's descriptors, before the line that they belong to. */
static bool send_descriptors(const struct record *record)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int) * MOST_DESCRIPTORS)] = { 0 };
	struct iovec data = { &byte, 1 };
	size_t bytes = sizeof(int) * record->count;
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = CMSG_SPACE(bytes) };
	struct cmsghdr *header = CMSG_FIRSTHDR(&message);

	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(bytes);
	memcpy(CMSG_DATA(header), record->descriptors, bytes);
	return sendmsg(descriptor_socket, &message, MSG_NOSIGNAL) > 0;
}

/* Takes what was sent before a line. Returns how many there were, or -1 unless all of `expected` came. */
static int receive_descriptors(unsigned expected, int *descriptors)
{
	char byte, control[CMSG_SPACE(sizeof(int) * MOST_DESCRIPTORS)];
	struct iovec data = { &byte, 1 };
	struct msghdr message = { .msg_iov = &data,
				  .msg_iovlen = 1,
				  .msg_control = control,
				  .msg_controllen = sizeof(control) };
	struct cmsghdr *header;
	unsigned count = 0;

	if (recvmsg(descriptor_socket, &message, MSG_CMSG_CLOEXEC) < 0)
		return -1;
	for (header = CMSG_FIRSTHDR(&message); header; header = CMSG_NXTHDR(&message, header)) {
		unsigned here = (unsigned)((header->cmsg_len - CMSG_LEN(0)) / sizeof(int));

		if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS)
			continue;
		/* All of them fit, or the kernel would have kept some. */
		memcpy(descriptors + count, CMSG_DATA(header), here * sizeof(int));
		count += here;
	}
	if (count == expected && !(message.msg_flags & MSG_CTRUNC))
		return (int)count;
	while (count > 0)
		close(descriptors[--count]);
	return -1;
}

static void keep(const char *line, size_t length, unsigned expected, uint64_t cookie)
{
	int descriptors[MOST_DESCRIPTORS] = { 0 }, count = 0;

	if (expected > 0) {
		count = receive_descriptors(expected, descriptors);
		if (count < 0) {
			refuse("sockets did not arrive: too many open files, or none were sent");
			return;
		}
	}
	if (store_add(line, length, descriptors, (unsigned)count, cookie)) {
		say_text("{\"type\":\"got\"}\n");
		return;
	}
	while (count > 0)
		close(descriptors[--count]);
	refuse("no memory");
}

/* Says the next message of what is kept, or that this was all. */
static void tell_next(void)
{
	const struct record *record = next;

	if (!record) {
		telling = false;
		say_text("{\"type\":\"yours\"}\n");
		return;
	}
	next = record->next;
	if (record->count > 0 && !send_descriptors(record)) {
		hang_up();
		return;
	}
	say(record->line, record->length);
}

static void tell_all(void)
{
	telling = true;
	next = store_first();
	if (hello_length > 0)
		say(hello, hello_length);
	else
		next = 0;
	tell_next();
}

static bool read_cookie(struct span value, uint64_t *cookie)
{
	char text[24], *end;

	if (!json_string(value, text, sizeof(text)) || *text < '0' || *text > '9')
		return false;
	errno = 0;
	*cookie = strtoull(text, &end, 10);
	return *end == 0 && errno == 0 && *cookie != 0;
}

static bool is_true(struct span value)
{
	return value.length == 4 && memcmp(value.at, "true", 4) == 0;
}

/* One line, `length` with its end. */
static void take(const char *line, size_t length)
{
	struct span members[MEMBERS];
	unsigned long wait_ms = 0;
	uint64_t cookie = 0;
	char type[16];

	if (!json_members((struct span){ line, length - 1 }, member_names, members, MEMBERS) ||
	    !json_string(members[TYPE], type, sizeof(type))) {
		refuse("that is no message");
		return;
	}
	if (strcmp(type, "got") == 0) {
		if (telling)
			tell_next();
	} else if (strcmp(type, "clear") == 0) {
		telling = false;
		talk_forget();
		say_text("{\"type\":\"got\"}\n");
	} else if (telling) {
		/* What is kept must not change meanwhile. */
		refuse("it has not got everything yet");
	} else if (strcmp(type, "ready") == 0) {
		tell_all();
	} else if (strcmp(type, "hello") == 0 && length <= sizeof(hello) &&
		   json_number(members[WAIT], LONGEST_WAIT_MS, &wait_ms)) {
		memcpy(hello, line, length);
		hello_length = length;
		tell_served(wait_ms);
		say_text("{\"type\":\"got\"}\n");
	} else if (strcmp(type, "port") == 0) {
		keep(line, length, 1, 0);
	} else if (strcmp(type, "pod") == 0 && read_cookie(members[COOKIE], &cookie)) {
		store_drop_staged();
		current = cookie;
		keep(line, length, 0, cookie);
	} else if (strcmp(type, "listeners") == 0 && current) {
		keep(line, length, is_true(members[DNS]) ? 5 : 3, current);
	} else if (strcmp(type, "keep") == 0 && current) {
		store_commit(current);
		current = 0;
		say_text("{\"type\":\"got\"}\n");
	} else if (strcmp(type, "drop") == 0 && read_cookie(members[COOKIE], &cookie)) {
		store_drop(cookie);
		say_text("{\"type\":\"got\"}\n");
	} else {
		refuse("nobody asked for that");
	}
}

/* Takes every whole line. */
static void take_lines(void)
{
	char *line = input, *end;

	while (line_socket >= 0 && (end = memchr(line, '\n', input_length - (size_t)(line - input)))) {
		take(line, (size_t)(end + 1 - line));
		line = end + 1;
	}
	input_length -= (size_t)(line - input);
	memmove(input, line, input_length);
}

static bool make_room(void)
{
	char *larger;
	size_t size = input_size ? input_size * 2 : 4096;

	if (input_length < input_size)
		return true;
	if (size > LONGEST_LINE)
		return false;
	larger = realloc(input, size);
	if (!larger)
		return false;
	input = larger;
	input_size = size;
	return true;
}

void talk_listen(void)
{
	while (line_socket >= 0) {
		ssize_t got;

		if (!make_room()) {
			hang_up();
			return;
		}
		got = recv(line_socket, input + input_length, input_size - input_length, 0);
		if (got > 0) {
			input_length += (size_t)got;
			take_lines();
		} else if (got == 0 || (errno != EINTR && errno != EAGAIN)) {
			hang_up();
		} else if (errno == EAGAIN) {
			return;
		}
	}
}

void talk_end(void)
{
	talk_listen();
	hang_up();
	telling = false;
	store_drop_staged();
}
