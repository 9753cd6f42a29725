#include "agent.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define ANSWER_LIMIT 8192
#define ANSWER_FIELDS 3
#define RETRY_MS 20

int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

bool wait_for(int fd, short events, int64_t deadline)
{
	struct pollfd poll_fd = { .fd = fd, .events = events };

	for (;;) {
		int64_t left = deadline - now_ms();
		int ready;

		if (left <= 0)
			return false;
		ready = poll(&poll_fd, 1, (int)left);
		if (ready > 0)
			return true;
		if (ready < 0 && errno != EINTR)
			return false;
	}
}

static int dial(const char *path, int64_t deadline)
{
	struct sockaddr_un to = { .sun_family = AF_UNIX };
	int fd;

	if (strlen(path) >= sizeof(to.sun_path)) {
		errno = ENAMETOOLONG;
		return -1;
	}
	strcpy(to.sun_path, path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return -1;
	/* EAGAIN: more wait than its backlog holds. There is no event that tells when it has room. */
	while (connect(fd, (const struct sockaddr *)&to, sizeof(to)) != 0) {
		int error = errno;

		if (error == EINTR)
			continue;
		if (error == EAGAIN && now_ms() + RETRY_MS < deadline) {
			poll(0, 0, RETRY_MS);
			continue;
		}
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static bool send_all(int fd, const void *data, size_t length, int64_t deadline)
{
	const char *at = data;

	while (length > 0) {
		ssize_t sent = send(fd, at, length, MSG_NOSIGNAL);

		if (sent > 0) {
			at += sent;
			length -= (size_t)sent;
		} else if (sent < 0 && errno == EINTR) {
			continue;
		} else if (!(sent < 0 && errno == EAGAIN && wait_for(fd, POLLOUT, deadline))) {
			return false;
		}
	}
	return true;
}

static bool receive_all(int fd, void *data, size_t length, int64_t deadline)
{
	char *at = data;

	while (length > 0) {
		ssize_t got = recv(fd, at, length, 0);

		if (got > 0) {
			at += got;
			length -= (size_t)got;
		} else if (got == 0) {
			return false;
		} else if (errno != EINTR && !(errno == EAGAIN && wait_for(fd, POLLIN, deadline))) {
			return false;
		}
	}
	return true;
}

static void put_u32(unsigned char *to, size_t value)
{
	for (int i = 0; i < 4; i++)
		to[i] = (unsigned char)(value >> (24 - 8 * i));
}

static size_t get_u32(const unsigned char *from)
{
	return (size_t)from[0] << 24 | (size_t)from[1] << 16 | (size_t)from[2] << 8 | from[3];
}

static bool send_question(int fd, const struct span fields[AGENT_FIELDS], int64_t deadline)
{
	unsigned char length[4];
	size_t total = 0;

	for (int i = 0; i < AGENT_FIELDS; i++)
		total += sizeof(length) + fields[i].length;
	put_u32(length, total);
	if (!send_all(fd, length, sizeof(length), deadline))
		return false;
	for (int i = 0; i < AGENT_FIELDS; i++) {
		put_u32(length, fields[i].length);
		if (!send_all(fd, length, sizeof(length), deadline) ||
		    !send_all(fd, fields[i].at, fields[i].length, deadline))
			return false;
	}
	return true;
}

/* The next field of an answer; false where it is cut off. */
static bool next_field(struct span *rest, struct span *field)
{
	size_t length;

	if (rest->length < 4)
		return false;
	length = get_u32((const unsigned char *)rest->at);
	if (length > rest->length - 4)
		return false;
	*field = (struct span){ rest->at + 4, length };
	rest->at += 4 + length;
	rest->length -= 4 + length;
	return true;
}

/* As much as fits; a text that is cut in the middle of a character loses all of it. */
static void copy_text(struct span from, char *to, size_t size)
{
	size_t length = from.length < size ? from.length : size - 1;

	while (length > 0 && length < from.length && ((unsigned char)from.at[length] & 0xc0) == 0x80)
		length--;
	memcpy(to, from.at, length);
	to[length] = 0;
}

static bool read_answer(struct span text, struct answer *answer)
{
	struct span fields[ANSWER_FIELDS];

	for (int i = 0; i < ANSWER_FIELDS; i++)
		if (!next_field(&text, &fields[i]))
			return false;
	if (text.length != 0 || !json_number(fields[0], 9999, &answer->code))
		return false;
	copy_text(fields[1], answer->message, sizeof(answer->message));
	copy_text(fields[2], answer->details, sizeof(answer->details));
	return true;
}

bool ask_agent(const char *socket_path, const struct span fields[AGENT_FIELDS], int64_t deadline,
	       struct answer *answer, const char **why)
{
	static char text[ANSWER_LIMIT];
	unsigned char head[4];
	size_t length;
	bool answered;
	int fd = dial(socket_path, deadline);

	if (fd < 0) {
		*why = strerror(errno);
		return false;
	}
	answered = send_question(fd, fields, deadline) && receive_all(fd, head, sizeof(head), deadline);
	length = answered ? get_u32(head) : 0;
	answered = answered && length <= sizeof(text) && receive_all(fd, text, length, deadline) &&
		   read_answer((struct span){ text, length }, answer);
	close(fd);
	if (!answered)
		*why = now_ms() >= deadline ? "no answer in time" : "no answer";
	return answered;
}
