/*
 * Measures one path between two pods: round trip, one stream, connections per second.
 *
 *   load server PORT
 *   load rtt HOST PORT SECONDS [BYTES [histogram]]      percentiles of one request and its echo, one at a time
 *   load stream HOST PORT SECONDS [up|down [BYTES [STREAMS]]]
 *                                                       Gbit/s of STREAMS connections together, one unless said; BYTES in
 *                                                       each write on the way up
 *   load connect HOST PORT SECONDS [CLIENTS [COUNT]]    connect, one byte from the server, close; CLIENTS at a time,
 *                                                       until SECONDS are over or COUNT connections are made
 *
 * With NONBLOCKING=1 in the environment sockets are as event loops have them, and every read waits in poll() first.
 *
 * A client prints one JSON line. Its first tenth is warm-up and not counted (rtt, connect).
 */
#define _GNU_SOURCE
#include <math.h>
#include <pthread.h>
#include <signal.h>

#include "net.h"

enum { STREAM_WRITE = 128 << 10, STREAM_READ = 256 << 10, SAMPLES_MOST = 4 << 20 };

/* The first byte of a connection chooses what the server does with the rest. */
enum request { ECHO = 'E', SINK = 'S', SOURCE = 'D', ONE_BYTE = 'O' };

static void echo(int fd, char *buffer)
{
	ssize_t got;
	while ((got = read_some(fd, buffer, STREAM_READ)) > 0)
		for (ssize_t put = 0, n; put < got; put += n)
			if ((n = write_some(fd, buffer + put, got - put)) <= 0)
				return;
}

/* Answers with the number of bytes that arrived, so that the client counts only what was delivered. */
static void sink(int fd, char *buffer)
{
	unsigned long long total = 0;
	ssize_t got;
	while ((got = read_some(fd, buffer, STREAM_READ)) > 0)
		total += got;
	if (write_some(fd, &total, sizeof total) != sizeof total)
		fprintf(stderr, "sink: cannot report: %s\n", strerror(errno));
}

static void *serve(void *argument)
{
	int fd = (int)(long)argument;
	char request, *buffer;
	if (read_some(fd, &request, 1) != 1) {
		close(fd);
		return NULL;
	}
	if (request == ONE_BYTE) {
		if (write_some(fd, "k", 1) != 1)
			fprintf(stderr, "one byte: %s\n", strerror(errno));
		close(fd);
		return NULL;
	}
	buffer = calloc(1, STREAM_READ);
	if (request == ECHO)
		echo(fd, buffer);
	else if (request == SINK)
		sink(fd, buffer);
	else if (request == SOURCE)
		while (write_some(fd, buffer, STREAM_WRITE) > 0)
			;
	free(buffer);
	close(fd);
	return NULL;
}

static void server(const char *port)
{
	int listener = listen_on(port);
	for (;;) {
		pthread_t thread;
		int fd = accept_one(listener);
		if (fd < 0)
			fail("accept: %s", strerror(errno));
		if (pthread_create(&thread, NULL, serve, (void *)(long)fd))
			fail("thread: %s", strerror(errno));
		pthread_detach(thread);
	}
}

static void ask(int fd, char request)
{
	if (write_some(fd, &request, 1) != 1)
		fail("request: %s", strerror(errno));
}

static int ascending(const void *left, const void *right)
{
	float a = *(const float *)left, b = *(const float *)right;
	return a < b ? -1 : a > b;
}

static void print_percentiles(float *us, size_t count)
{
	qsort(us, count, sizeof *us, ascending);
	printf("\"p50_us\":%.2f,\"p90_us\":%.2f,\"p99_us\":%.2f,\"max_us\":%.1f", us[count / 2], us[count * 9 / 10],
	       us[count * 99 / 100], us[count - 1]);
}

/* How many took from GROWTH^n to GROWTH^(n+1) microseconds, as [n, count]; of sorted ones. */
static const double GROWTH = 1.02;

static void print_histogram(const float *us, size_t count)
{
	printf(",\"growth\":%.2f,\"histogram\":[", GROWTH);
	for (size_t i = 0, from = 0; i < count; from = i) {
		long bucket = (long)floor(log(us[from]) / log(GROWTH));
		while (i < count && (long)floor(log(us[i]) / log(GROWTH)) == bucket)
			i++;
		printf("%s[%ld,%zu]", from ? "," : "", bucket, i - from);
	}
	printf("]");
}

static void round_trips(const struct addrinfo *to, double seconds, size_t bytes, int histogram)
{
	float *us = malloc(SAMPLES_MOST * sizeof *us);
	char *message = calloc(1, bytes);
	size_t count = 0;
	int fd = dial(to);
	ask(fd, ECHO);
	double begin = now_us(), counted_from = begin + seconds * 1e5, end = begin + seconds * 1e6, sent;
	while ((sent = now_us()) < end && count < SAMPLES_MOST) {
		if (write_some(fd, message, bytes) != (ssize_t)bytes)
			fail("write: %s", strerror(errno));
		for (size_t got = 0; got < bytes;) {
			ssize_t n = read_some(fd, message + got, bytes - got);
			if (n <= 0)
				fail("read: %s", n ? strerror(errno) : "closed by the server");
			got += n;
		}
		if (sent >= counted_from)
			us[count++] = (float)(now_us() - sent);
	}
	if (count == 0)
		fail("no round trip in %.2f s", seconds);
	printf("{\"measure\":\"rtt\",\"bytes\":%zu,\"count\":%zu,", bytes, count);
	print_percentiles(us, count);
	if (histogram)
		print_histogram(us, count);
	printf("}\n");
}

struct stream {
	const struct addrinfo *to;
	double end;
	size_t write;
	unsigned long long bytes; /* that have arrived */
};

static void *stream_up(void *argument)
{
	struct stream *s = argument;
	char *buffer = calloc(1, s->write);
	int fd = dial(s->to);
	ask(fd, SINK);
	while (now_us() < s->end)
		if (write_some(fd, buffer, s->write) <= 0)
			fail("write: %s", strerror(errno));
	shutdown(fd, SHUT_WR);
	ready(fd, POLLIN, -1);
	if (recv(fd, &s->bytes, sizeof s->bytes, MSG_WAITALL) != sizeof s->bytes)
		fail("the server did not say how much arrived");
	return NULL;
}

static void *stream_down(void *argument)
{
	struct stream *s = argument;
	char *buffer = calloc(1, STREAM_READ);
	int fd = dial(s->to);
	ask(fd, SOURCE);
	while (now_us() < s->end) {
		ssize_t got = read_some(fd, buffer, STREAM_READ);
		if (got <= 0)
			fail("read: %s", got ? strerror(errno) : "closed by the server");
		s->bytes += got;
	}
	return NULL;
}

static void streams(const struct addrinfo *to, double seconds, const char *direction, size_t write, int count)
{
	void *(*run)(void *) = strcmp(direction, "down") ? stream_up : stream_down;
	struct stream *all = calloc(count, sizeof *all);
	pthread_t *threads = calloc(count, sizeof *threads);
	unsigned long long bytes = 0;
	double begin = now_us(), us;
	for (int i = 0; i < count; i++) {
		all[i] = (struct stream){to, begin + seconds * 1e6, write, 0};
		if (pthread_create(&threads[i], NULL, run, &all[i]))
			fail("thread: %s", strerror(errno));
	}
	for (int i = 0; i < count; i++) {
		pthread_join(threads[i], NULL);
		bytes += all[i].bytes;
	}
	us = now_us() - begin;
	printf("{\"measure\":\"stream\",\"direction\":\"%s\",\"streams\":%d,\"bytes\":%llu,\"gbit_per_second\":%.4f}\n",
	       direction, count, bytes, (double)bytes * 8 / us / 1e3);
}

struct connector {
	const struct addrinfo *to;
	double counted_from, end;
	long most; /* connections of this one thread */
	long made; /* of them, counted ones */
	float *us;
	size_t capacity;
};

static void *connects(void *argument)
{
	struct connector *c = argument;
	double begin;
	for (long n = 0; n < c->most && (begin = now_us()) < c->end; n++) {
		char byte;
		int fd = dial(c->to);
		ask(fd, ONE_BYTE);
		ssize_t got = read_some(fd, &byte, 1);
		if (got != 1)
			fail("connection %ld: %s", n, got ? strerror(errno) : "closed before its byte");
		close(fd);
		if (begin < c->counted_from)
			continue;
		if ((size_t)c->made < c->capacity)
			c->us[c->made] = (float)(now_us() - begin);
		c->made++;
	}
	return NULL;
}

static void connections(const struct addrinfo *to, double seconds, int clients, long count)
{
	struct connector *all = calloc(clients, sizeof *all);
	pthread_t *threads = calloc(clients, sizeof *threads);
	/* With a number to reach nothing is left out, so that the number means what it says. */
	double begin = now_us(), counted_from = count ? begin : begin + seconds * 1e5;
	for (int i = 0; i < clients; i++) {
		size_t capacity = SAMPLES_MOST / clients;
		all[i] = (struct connector){to, counted_from, begin + seconds * 1e6, count ? count / clients : __LONG_MAX__,
					    0,	malloc(capacity * sizeof(float)), capacity};
		if (pthread_create(&threads[i], NULL, connects, &all[i]))
			fail("thread: %s", strerror(errno));
	}
	size_t samples = 0;
	long made = 0;
	for (int i = 0; i < clients; i++)
		pthread_join(threads[i], NULL);
	double us = now_us() - counted_from;
	float *every = malloc(SAMPLES_MOST * sizeof *every);
	for (int i = 0; i < clients; i++) {
		size_t here = (size_t)all[i].made < all[i].capacity ? (size_t)all[i].made : all[i].capacity;
		memcpy(every + samples, all[i].us, here * sizeof *every);
		samples += here;
		made += all[i].made;
	}
	if (made == 0)
		fail("no connection in %.2f s", seconds);
	printf("{\"measure\":\"connect\",\"clients\":%d,\"count\":%ld,\"per_second\":%.1f,", clients, made, made / us * 1e6);
	print_percentiles(every, samples);
	printf("}\n");
}

static void usage(void)
{
	fail("usage: load server PORT\n"
	     "       load rtt HOST PORT SECONDS [BYTES [histogram]]\n"
	     "       load stream HOST PORT SECONDS [up|down [BYTES [STREAMS]]]\n"
	     "       load connect HOST PORT SECONDS [CLIENTS [COUNT]]");
}

int main(int count, char **argument)
{
	signal(SIGPIPE, SIG_IGN);
	nonblocking = getenv("NONBLOCKING") && !strcmp(getenv("NONBLOCKING"), "1");
	if (count == 3 && !strcmp(argument[1], "server"))
		server(argument[2]);
	if (count < 5)
		usage();
	const struct addrinfo *to = resolve(argument[2], argument[3]);
	double seconds = atof(argument[4]);
	if (!(seconds > 0))
		fail("%s: expected seconds, more than 0", argument[4]);
	if (!strcmp(argument[1], "rtt"))
		round_trips(to, seconds, count > 5 ? number(argument[5], 1, 1 << 20) : 64,
			    count > 6 && !strcmp(argument[6], "histogram"));
	else if (!strcmp(argument[1], "stream"))
		streams(to, seconds, count > 5 && !strcmp(argument[5], "down") ? "down" : "up",
			count > 6 ? number(argument[6], 1, 16 << 20) : STREAM_WRITE,
			count > 7 ? (int)number(argument[7], 1, 1024) : 1);
	else if (!strcmp(argument[1], "connect"))
		connections(to, seconds, count > 5 ? (int)number(argument[5], 1, 1024) : 1,
			    count > 6 ? number(argument[6], 1, __LONG_MAX__) : 0);
	else
		usage();
	return 0;
}
