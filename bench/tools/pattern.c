/*
 * Proves that a path delivers exactly the bytes that were sent, in both directions at once, and their ends.
 *
 *   pattern server PORT [nonblocking [splice]]
 *   pattern client HOST PORT [--up BYTES] [--down BYTES] [--sessions N] [--parallel N] [--seed N]
 *                            [--pauses] [--first-end client|server] [--stall MS] [--nonblocking]
 *
 * Every byte depends on its position and the session's seed. Sizes of writes and reads are random, --pauses adds
 * silences on either side, `splice` makes the server read by way of a pipe, and each direction ends by half-close: with --first-end server the server's ends while the
 * client still sends. Otherwise the server holds its last byte back until it has seen the client's end and found all of
 * it right, so that the client's verdict covers both ways; with --first-end server look at the server's lines too.
 *
 * Both print one JSON line per session, what is wrong with its offset; the client exits non-zero when one failed.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>

#include "net.h"

enum { CHUNK = 256 << 10, PAUSE_MOST_US = 3000 };

/* Sent first by the client; both ends have one byte order. */
struct session {
	uint64_t magic, up, down, seed;
	uint32_t pauses, server_ends_first, stall_ms, unused;
};

static const uint64_t magic = 0x63756c7665727431;

/* One direction as one end sees it. `held` bytes at its end are sent only when the other direction has ended. */
struct flow {
	uint64_t at, length, seed, held;
	int ended;
};

static uint64_t mix(uint64_t x)
{
	x += 0x9e3779b97f4a7c15;
	x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
	x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
	return x ^ (x >> 31);
}

static unsigned below(uint64_t *state, unsigned limit)
{
	*state = mix(*state);
	return (unsigned)(*state >> 33) % limit;
}

/* Bytes `offset` to `offset + count` of the direction with this seed. */
static void pattern(unsigned char *to, uint64_t seed, uint64_t offset, size_t count)
{
	uint64_t word = 0, index = UINT64_MAX;
	for (size_t i = 0; i < count; i++) {
		uint64_t position = offset + i;
		if (position >> 3 != index)
			word = mix(seed ^ mix(index = position >> 3));
		to[i] = (unsigned char)(word >> ((position & 7) * 8));
	}
}

/* Mostly small, sometimes as large as the buffer: both what fits one segment and what fills every window. */
static size_t some_size(uint64_t *random)
{
	return 1 + below(random, below(random, 4) ? 16 << 10 : CHUNK);
}

/* Returns what is wrong, or NULL. */
static const char *send_some(int fd, struct flow *out, uint64_t until, uint64_t *random, unsigned char *buffer)
{
	size_t size = some_size(random);
	if (size > until - out->at)
		size = until - out->at;
	pattern(buffer, out->seed, out->at, size);
	ssize_t sent = size ? send(fd, buffer, size, MSG_DONTWAIT) : 0;
	if (sent < 0)
		return errno == EAGAIN ? NULL : strerror(errno);
	out->at += sent;
	return NULL;
}

/* 1: the server reads as programs do that hand bytes on without looking at them. */
static int splicing;

static ssize_t take(int fd, unsigned char *to, size_t size)
{
	static __thread int ends[2];
	if (!splicing)
		return recv(fd, to, size, MSG_DONTWAIT);
	if (!ends[1] && pipe(ends))
		return -1;
	ssize_t moved = splice(fd, NULL, ends[1], NULL, size, SPLICE_F_NONBLOCK);
	for (ssize_t got = 0, part; got < moved; got += part)
		if ((part = read(ends[0], to + got, moved - got)) <= 0)
			return -1;
	return moved;
}

static const char *receive_some(int fd, struct flow *in, uint64_t *random, unsigned char *buffer, unsigned char *expected)
{
	ssize_t got = take(fd, buffer, some_size(random));
	if (got < 0)
		return errno == EAGAIN ? NULL : strerror(errno);
	if (got == 0) {
		in->ended = 1;
		return in->at < in->length ? "ended too early" : NULL;
	}
	if (in->at + got > in->length)
		return "more bytes than were sent";
	pattern(expected, in->seed, in->at, got);
	for (ssize_t i = 0; i < got; i++)
		if (buffer[i] != expected[i]) {
			in->at += i;
			return "wrong byte";
		}
	in->at += got;
	return NULL;
}

/*
 * Moves both directions to their ends. `ends_first`: this end closes its direction as soon as it is sent; the other end
 * does so only when it has seen that end.
 */
static const char *converse(int fd, struct flow *out, struct flow *in, const struct session *s, int ends_first, uint64_t random)
{
	unsigned char *buffer = malloc(CHUNK), *expected = malloc(CHUNK);
	const char *wrong = NULL;
	while (!wrong && !(out->ended && in->ended)) {
		int may_end = out->at == out->length && (ends_first || in->ended);
		if (!out->ended && may_end) {
			out->ended = 1;
			if (shutdown(fd, SHUT_WR))
				wrong = strerror(errno);
			continue;
		}
		uint64_t until = out->length - (in->ended ? 0 : out->held);
		struct pollfd poller = {fd, (in->ended ? 0 : POLLIN) | (out->at < until ? POLLOUT : 0), 0};
		int ready = poll(&poller, 1, (int)s->stall_ms);
		if (ready < 0)
			wrong = strerror(errno);
		else if (ready == 0)
			wrong = out->at < until ? "stalled while sending" : "stalled while receiving";
		if (!wrong && poller.revents & POLLOUT)
			wrong = send_some(fd, out, until, &random, buffer);
		if (!wrong && poller.revents & (POLLIN | POLLHUP | POLLERR))
			wrong = receive_some(fd, in, &random, buffer, expected);
		if (s->pauses && below(&random, 40) == 0)
			usleep(below(&random, PAUSE_MOST_US));
	}
	free(buffer);
	free(expected);
	return wrong;
}

/* One write for a line: sessions side by side must not end up in each other's. */
static void report(const struct session *s, const char *wrong, uint64_t sent, uint64_t received)
{
	char why[128] = "", line[256];
	if (wrong)
		snprintf(why, sizeof why, ",\"wrong\":\"%s\"", wrong);
	int length = snprintf(line, sizeof line, "{\"seed\":%lu,\"ok\":%s,\"sent\":%lu,\"received\":%lu%s}\n", s->seed,
			      wrong ? "false" : "true", sent, received, why);
	if (write(STDOUT_FILENO, line, (size_t)length) != length)
		exit(1);
}

/* Up and down of one session never have the same bytes, so a path that mirrors is found out. */
static struct flow up_of(const struct session *s)
{
	return (struct flow){.length = s->up, .seed = mix(s->seed)};
}

static struct flow down_of(const struct session *s)
{
	uint64_t verdict = s->server_ends_first ? 0 : 1;
	return (struct flow){.length = s->down + verdict, .seed = mix(~s->seed), .held = verdict};
}

static void *serve(void *argument)
{
	int fd = (int)(long)argument;
	struct session s;
	size_t got = 0;
	for (ssize_t part; got < sizeof s && (part = read_some(fd, (char *)&s + got, sizeof s - got)) > 0;)
		got += part;
	if (got < sizeof s || s.magic != magic) {
		fprintf(stderr, "a connection without a session header\n");
		close(fd);
		return NULL;
	}
	struct flow in = up_of(&s), out = down_of(&s);
	const char *wrong = converse(fd, &out, &in, &s, (int)s.server_ends_first, mix(s.seed + 1));
	if (wrong) {
		struct linger reset = {1, 0};
		setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	}
	close(fd);
	report(&s, wrong, out.at, in.at);
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

struct client {
	const struct addrinfo *to;
	struct session session;
	pthread_mutex_t lock;
	long next, sessions, failed;
};

static void *client(void *argument)
{
	struct client *c = argument;
	for (;;) {
		pthread_mutex_lock(&c->lock);
		long n = c->next++;
		pthread_mutex_unlock(&c->lock);
		if (n >= c->sessions)
			return NULL;
		struct session s = c->session;
		s.seed += n;
		struct flow out = up_of(&s), in = down_of(&s);
		int fd = dial(c->to);
		const char *wrong = NULL;
		if (write(fd, &s, sizeof s) != sizeof s)
			wrong = strerror(errno);
		else
			wrong = converse(fd, &out, &in, &s, !s.server_ends_first, mix(s.seed + 2));
		close(fd);
		pthread_mutex_lock(&c->lock);
		report(&s, wrong, out.at, in.at);
		c->failed += wrong != NULL;
		pthread_mutex_unlock(&c->lock);
	}
}

static const struct option options[] = {
	{"up", 1, 0, 'u'},	 {"down", 1, 0, 'd'},	   {"sessions", 1, 0, 'n'}, {"parallel", 1, 0, 'p'}, {"seed", 1, 0, 's'},
	{"nonblocking", 0, 0, 'b'}, {"pauses", 0, 0, 'w'}, {"first-end", 1, 0, 'f'}, {"stall", 1, 0, 't'},    {0, 0, 0, 0},
};

int main(int count, char **argument)
{
	struct client c = {.session = {magic, 1 << 20, 1 << 20, 1, 0, 0, 15000, 0}, .lock = PTHREAD_MUTEX_INITIALIZER, .sessions = 1};
	long parallel = 1;
	int option;
	signal(SIGPIPE, SIG_IGN);
	if (count >= 3 && count <= 5 && !strcmp(argument[1], "server")) {
		nonblocking = count >= 4 && !strcmp(argument[3], "nonblocking");
		splicing = count == 5 && !strcmp(argument[4], "splice");
		server(argument[2]);
	}
	while ((option = getopt_long(count, argument, "", options, NULL)) != -1) {
		switch (option) {
		case 'u': c.session.up = number(optarg, 0, __LONG_MAX__); break;
		case 'd': c.session.down = number(optarg, 0, __LONG_MAX__); break;
		case 'n': c.sessions = number(optarg, 1, 1000000); break;
		case 'p': parallel = number(optarg, 1, 1024); break;
		case 's': c.session.seed = number(optarg, 0, __LONG_MAX__); break;
		case 'b': nonblocking = 1; break;
		case 'w': c.session.pauses = 1; break;
		case 'f': c.session.server_ends_first = !strcmp(optarg, "server"); break;
		case 't': c.session.stall_ms = number(optarg, 1, 3600000); break;
		default: return 2;
		}
	}
	if (count - optind != 3 || strcmp(argument[optind], "client"))
		fail("usage: pattern server PORT\n       pattern client HOST PORT [options]; see the head of pattern.c");
	c.to = resolve(argument[optind + 1], argument[optind + 2]);
	pthread_t *threads = calloc(parallel, sizeof *threads);
	for (long i = 0; i < parallel; i++)
		if (pthread_create(&threads[i], NULL, client, &c))
			fail("thread: %s", strerror(errno));
	for (long i = 0; i < parallel; i++)
		pthread_join(threads[i], NULL);
	return c.failed != 0;
}
