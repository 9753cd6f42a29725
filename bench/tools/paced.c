/*
 * Asks a web server at a steady rate and tells how long answers take, counted from when each request was due: a server
 * that stalls makes the ones behind it late, too.
 *
 *   paced HOST PORT SECONDS RATE CONNECTIONS
 *
 * GET / over connections that stay open, one request at a time on each; answers need a Content-Length and status 200.
 * Prints one JSON line; the first tenth is warm-up and not counted.
 */
#define _GNU_SOURCE
#include <signal.h>
#include <strings.h>

#include "net.h"

enum { ANSWER_MOST = 16 << 10, CONNECTIONS_MOST = 1024, SAMPLES_MOST = 4 << 20 };

static const char request[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

/* A connection, and the answer that is coming in. `due` is 0 while it has nothing to do. */
struct asker {
	double due;
	size_t got;
	char answer[ANSWER_MOST];
};

static struct asker askers[CONNECTIONS_MOST];
static struct pollfd polled[CONNECTIONS_MOST];

static void ask(int at, double due)
{
	if (write_some(polled[at].fd, request, sizeof request - 1) != sizeof request - 1)
		fail("write: %s", strerror(errno));
	askers[at].due = due;
	askers[at].got = 0;
}

/* Whether all of the answer is there. */
static int complete(struct asker *asker)
{
	asker->answer[asker->got] = 0;
	char *end = strstr(asker->answer, "\r\n\r\n");
	if (!end)
		return 0;
	if (strncmp(asker->answer, "HTTP/1.1 200", 12))
		fail("answer: %.40s", asker->answer);
	char *length = strcasestr(asker->answer, "\r\ncontent-length:");
	if (!length || length > end)
		fail("an answer without a Content-Length");
	return asker->got >= (size_t)(end + 4 - asker->answer) + strtoul(length + 17, NULL, 10);
}

static int answered(int at)
{
	struct asker *asker = &askers[at];
	ssize_t n = recv(polled[at].fd, asker->answer + asker->got, ANSWER_MOST - 1 - asker->got, MSG_DONTWAIT);
	if (n <= 0)
		fail("read: %s", n ? strerror(errno) : "closed by the server");
	asker->got += n;
	if (asker->got == ANSWER_MOST - 1)
		fail("an answer of more than %d bytes", ANSWER_MOST);
	return complete(asker);
}

static int ascending(const void *left, const void *right)
{
	float a = *(const float *)left, b = *(const float *)right;
	return a < b ? -1 : a > b;
}

int main(int count, char **argument)
{
	signal(SIGPIPE, SIG_IGN);
	if (count != 6)
		fail("usage: paced HOST PORT SECONDS RATE CONNECTIONS");
	const struct addrinfo *to = resolve(argument[1], argument[2]);
	double seconds = atof(argument[3]);
	int connections = (int)number(argument[5], 1, CONNECTIONS_MOST);
	double every = 1e6 / number(argument[4], 1, 1000000);
	for (int i = 0; i < connections; i++)
		polled[i] = (struct pollfd){dial(to), POLLIN, 0};
	float *us = malloc(SAMPLES_MOST * sizeof *us);
	size_t samples = 0;
	double begin = now_us(), counted_from = begin + seconds * 1e5, end = begin + seconds * 1e6, due = begin;
	for (int open = 0; due < end || open > 0;) {
		for (int i = 0; i < connections && due < end && due <= now_us(); i++) {
			if (askers[i].due)
				continue;
			ask(i, due);
			open++;
			due += every;
		}
		double until = due < end && open < connections ? due - now_us() : 1e7;
		long pause_us = until > 0 ? (long)until : 0;
		struct timespec pause = {pause_us / 1000000, pause_us % 1000000 * 1000};
		if (ppoll(polled, connections, &pause, NULL) < 0)
			fail("poll: %s", strerror(errno));
		for (int i = 0; i < connections; i++) {
			if (!polled[i].revents || !answered(i))
				continue;
			if (askers[i].due >= counted_from && samples < SAMPLES_MOST)
				us[samples++] = (float)(now_us() - askers[i].due);
			askers[i].due = 0;
			open--;
		}
	}
	if (samples == 0)
		fail("no answer in %.2f s", seconds);
	qsort(us, samples, sizeof *us, ascending);
	printf("{\"measure\":\"paced\",\"count\":%zu,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f}\n", samples,
	       us[samples / 2], us[samples * 99 / 100], us[samples - 1]);
	return 0;
}
