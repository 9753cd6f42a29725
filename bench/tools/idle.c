/*
 * Opens many connections and holds them, to learn what one that does nothing costs.
 *
 *   idle server PORT
 *   idle client HOST PORT COUNT
 *
 * Both obey lines on stdin and end, closing everything, when it is closed:
 *   client: "exchange" sends one byte on each connection and wants it back: {"alive":N}
 *   server: "count" tells how many connections are open: {"open":N}
 * The client says {"open":N} once all are made.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>

#include "net.h"

enum { EVENTS = 256, CONNECTIONS_MOST = 500000, OTHER_FILES = 64 };

static long opened;

static void report(const char *what, long count)
{
	printf("{\"%s\":%ld}\n", what, count);
	fflush(stdout);
}

/* Reads one command line; false at the end of input. */
static int command(char *line, size_t size)
{
	if (!fgets(line, (int)size, stdin))
		return 0;
	line[strcspn(line, "\n")] = 0;
	return 1;
}

static void watch(int poller, int fd)
{
	struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
	if (epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event))
		fail("epoll: %s", strerror(errno));
}

static void echo_or_forget(int fd)
{
	char buffer[256];
	ssize_t got = read(fd, buffer, sizeof buffer);
	if (got > 0 && write(fd, buffer, got) == got)
		return;
	close(fd);
	opened--;
}

static void server(const char *port)
{
	struct epoll_event events[EVENTS];
	char line[64];
	allow_files(CONNECTIONS_MOST + OTHER_FILES);
	int listener = listen_on(port), poller = epoll_create1(EPOLL_CLOEXEC);
	watch(poller, listener);
	watch(poller, STDIN_FILENO);
	for (;;) {
		int ready = epoll_wait(poller, events, EVENTS, -1);
		for (int i = 0; i < ready; i++) {
			int fd = events[i].data.fd;
			if (fd == STDIN_FILENO) {
				if (!command(line, sizeof line))
					return;
				if (!strcmp(line, "count"))
					report("open", opened);
			} else if (fd == listener) {
				int accepted = accept_one(listener);
				if (accepted < 0)
					fail("accept after %ld: %s", opened, strerror(errno));
				watch(poller, accepted);
				opened++;
			} else {
				echo_or_forget(fd);
			}
		}
	}
}

/* All bytes go out before the first is read back, so that every connection is busy at the same time. */
static long exchange(const int *fds, long count)
{
	long alive = 0;
	char byte = 'i';
	for (long i = 0; i < count; i++)
		if (write(fds[i], &byte, 1) != 1)
			fprintf(stderr, "connection %ld: write: %s\n", i, strerror(errno));
	for (long i = 0; i < count; i++) {
		struct pollfd poller = {fds[i], POLLIN, 0};
		if (poll(&poller, 1, 10000) == 1 && read(fds[i], &byte, 1) == 1)
			alive++;
		else
			fprintf(stderr, "connection %ld: no byte came back\n", i);
	}
	return alive;
}

static void client(const char *host, const char *port, long count)
{
	const struct addrinfo *to = resolve(host, port);
	int *fds = calloc(count, sizeof *fds);
	char line[64];
	allow_files(count + OTHER_FILES);
	for (; opened < count; opened++)
		fds[opened] = dial(to);
	report("open", opened);
	while (command(line, sizeof line))
		if (!strcmp(line, "exchange"))
			report("alive", exchange(fds, count));
}

int main(int count, char **argument)
{
	signal(SIGPIPE, SIG_IGN);
	/* Lines are commands here and there must be none left behind in a buffer when epoll says nothing more. */
	setvbuf(stdin, NULL, _IONBF, 0);
	if (count == 3 && !strcmp(argument[1], "server"))
		server(argument[2]);
	else if (count == 5 && !strcmp(argument[1], "client"))
		client(argument[2], argument[3], number(argument[4], 1, CONNECTIONS_MOST));
	else
		fail("usage: idle server PORT\n       idle client HOST PORT COUNT");
	return 0;
}
