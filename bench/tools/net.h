/*
 * What the three load programs share: dial, listen on IPv4 and IPv6 at once, read a clock, raise the file limit.
 *
 * They stand at the two ends of the data path, in pods, and know nothing of the mesh. Every failure ends the program
 * with a line on stderr: a measurement that lost a connection is no measurement.
 */
#ifndef CULVERT_BENCH_NET_H
#define CULVERT_BENCH_NET_H

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

__attribute__((noreturn, format(printf, 1, 2))) static void fail(const char *format, ...)
{
	va_list args;
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	exit(1);
}

static inline double now_us(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static inline long number(const char *text, long least, long most)
{
	char *end;
	errno = 0;
	long value = strtol(text, &end, 10);
	if (errno || *end || end == text || value < least || value > most)
		fail("%s: expected a whole number from %ld to %ld", text, least, most);
	return value;
}

/* Resolves once; connections are made from the result so that a name lookup is never part of what is measured. */
static inline struct addrinfo *resolve(const char *host, const char *port)
{
	struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *found;
	int error = getaddrinfo(host, port, &hints, &found);
	if (error)
		fail("%s port %s: %s", host, port, gai_strerror(error));
	return found;
}

/* 1: sockets as event loops have them; 0: calls wait. Set once, before the first socket. */
static int nonblocking;

static inline int ready(int fd, short events, int timeout_ms)
{
	struct pollfd poller = {fd, events, 0};
	return poll(&poller, 1, timeout_ms) > 0;
}

static inline int dial(const struct addrinfo *to)
{
	int one = 1, error = 0;
	socklen_t length = sizeof error;
	int fd = socket(to->ai_family, SOCK_STREAM | SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0), 0);
	if (fd < 0)
		fail("socket: %s", strerror(errno));
	if (connect(fd, to->ai_addr, to->ai_addrlen)) {
		if (errno != EINPROGRESS)
			fail("connect: %s", strerror(errno));
		ready(fd, POLLOUT, -1);
		getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
		if (error)
			fail("connect: %s", strerror(error));
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

/* One socket for both families where the namespace has IPv6, an IPv4 socket where it has not. Says so on stdout. */
static inline int listen_on(const char *port_text)
{
	int port = (int)number(port_text, 1, 65535), one = 1, zero = 0;
	struct sockaddr_in6 any6 = {.sin6_family = AF_INET6, .sin6_port = htons(port)};
	struct sockaddr_in any4 = {.sin_family = AF_INET, .sin_port = htons(port)};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), failed;
	if (fd >= 0) {
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		failed = bind(fd, (void *)&any6, sizeof any6);
	} else {
		fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
		failed = bind(fd, (void *)&any4, sizeof any4);
	}
	if (failed || listen(fd, 4096))
		fail("listen on port %d: %s", port, strerror(errno));
	printf("{\"listening\":%d}\n", port);
	fflush(stdout);
	return fd;
}

static inline int accept_one(int listener)
{
	int one = 1, fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));
	if (fd >= 0)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

/* As read() and write(), but these wait on either kind of socket. Where none could be moved, errno says why. */
static inline ssize_t read_some(int fd, void *to, size_t size)
{
	ssize_t got;
	if (nonblocking)
		ready(fd, POLLIN, -1);
	while ((got = read(fd, to, size)) < 0 && errno == EAGAIN)
		ready(fd, POLLIN, -1);
	return got;
}

static inline ssize_t write_some(int fd, const void *from, size_t size)
{
	ssize_t put;
	while ((put = write(fd, from, size)) < 0 && errno == EAGAIN)
		ready(fd, POLLOUT, -1);
	return put;
}

/* Asks for `files` descriptors. Only root may lift the hard limit; others get what it allows and may run out later. */
static inline void allow_files(rlim_t files)
{
	struct rlimit limit;
	getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur >= files)
		return;
	struct rlimit wanted = {files, limit.rlim_max > files ? limit.rlim_max : files};
	if (!setrlimit(RLIMIT_NOFILE, &wanted))
		return;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
}

#endif
