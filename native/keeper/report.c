#define _GNU_SOURCE
#include "report.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

const char *how_it_ended(int status)
{
	static char text[32];

	if (WIFSIGNALED(status))
		snprintf(text, sizeof(text), "SIG%s", sigabbrev_np(WTERMSIG(status)));
	else
		snprintf(text, sizeof(text), "code %d", WEXITSTATUS(status));
	return text;
}

void report(const char *level, const char *code, const char *ended, unsigned long kept, const char *message)
{
	struct pollfd out = { .fd = STDOUT_FILENO, .events = POLLOUT };
	struct timespec now;
	struct tm utc;
	char at[32], line[512];
	int length;

	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(at, sizeof(at), "%Y-%m-%dT%H:%M:%S", &utc);
	length = snprintf(line, sizeof(line),
			  "{\"level\":\"%s\",\"time\":\"%s.%03ldZ\",\"component\":\"keeper\",\"code\":\"%s\","
			  "\"ended\":\"%s\",\"sockets\":%lu,\"msg\":\"%s\"}\n",
			  level, at, now.tv_nsec / 1000000, code, ended, kept, message);
	/* A reader that sleeps must not stop us. */
	if (length > 0 && (size_t)length < sizeof(line) && poll(&out, 1, 0) == 1 && out.revents & POLLOUT &&
	    write(STDOUT_FILENO, line, (size_t)length) < 0)
		return;
}
