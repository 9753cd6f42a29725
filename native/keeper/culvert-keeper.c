/*
 * culvert-keeper: the parent of a node's agent, which keeps copies of its listening sockets and outlives it.
 *
 *   culvert-keeper PROGRAM [ARGUMENT...]
 *
 * Starts PROGRAM and passes signals on to it. Where it crashes after it has served, it is started again, and connections
 * wait meanwhile in the sockets that are kept here, as long as the agent has allowed; then they are refused as if there
 * were no keeper. Where it ends otherwise, crashes before it serves, or crashes all the time, the keeper ends as it did.
 * Neither outlives the other's orderly end: an agent whose keeper is killed is killed.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "report.h"
#include "store.h"
#include "talk.h"

/* An agent that crashes all the time is somebody else's to decide about: so many crashes at once, and then one in so many ms. */
#define CRASHES 20
#define CRASH_EVERY_MS 2000
/* Before a second attempt to start it again, doubled each time. */
#define FIRST_PAUSE_MS 100
#define LONGEST_PAUSE_MS 3200
/* From the end of the conversation to that of the process, when it ends. */
#define END_MS 1000
#define NEVER INT64_MAX

/* As sysexits.h has them: what the agent says of its configuration and of its machine, which no new start changes. */
#define FIRST_REASON 64
#define LAST_REASON 78
#define BAD_USAGE 64
#define NO_RESOURCE 71

static char **program;
static pid_t agent;
static int last_status;
static bool told_to_stop;
static unsigned long wait_ms, crashes;
static int64_t give_up_at = NEVER; /* what waits is refused then */
static int64_t start_at = NEVER;   /* the next attempt */
static int64_t forget_at = NEVER;  /* nobody tells us any more what is to be kept */
static int64_t pause_ms;
static int64_t patience = CRASHES * CRASH_EVERY_MS, patience_at;
static sigset_t before;
static struct rlimit files_before;

static int64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* Every pod has some sockets for each shard. */
static void raise_file_limit(void)
{
	struct rlimit most;

	if (getrlimit(RLIMIT_NOFILE, &files_before) != 0)
		return;
	most = files_before;
	most.rlim_cur = most.rlim_max;
	setrlimit(RLIMIT_NOFILE, &most);
}

static void on_served(unsigned long ms)
{
	wait_ms = ms;
	give_up_at = NEVER;
	pause_ms = 0;
}

static void set_number(const char *name, unsigned long value)
{
	char text[24];

	snprintf(text, sizeof(text), "%lu", value);
	setenv(name, text, 1);
}

/* In the child: as if there were no keeper, but for the two sockets. */
static _Noreturn void become_agent(const int theirs[2], pid_t keeper)
{
	char sockets[32];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != keeper)
		_exit(NO_RESOURCE);
	/* Signals of a terminal reach us, who pass them on once. */
	setpgid(0, 0);
	setrlimit(RLIMIT_NOFILE, &files_before);
	sigprocmask(SIG_SETMASK, &before, 0);
	fcntl(theirs[0], F_SETFD, 0);
	fcntl(theirs[1], F_SETFD, 0);
	snprintf(sockets, sizeof(sockets), "%d %d", theirs[0], theirs[1]);
	setenv("CULVERT_KEEPER", sockets, 1);
	set_number("CULVERT_KEEPER_CRASHES", crashes);
	if (crashes > 0)
		setenv("CULVERT_KEEPER_LAST", how_it_ended(last_status), 1);
	execvp(program[0], program);
	fprintf(stderr, "culvert-keeper: %s: %s\n", program[0], strerror(errno));
	_exit(errno == ENOENT ? 127 : 126);
}

static bool start(void)
{
	pid_t keeper = getpid();
	int theirs[2];

	start_at = NEVER;
	if (!talk_begin(theirs, on_served))
		return false;
	agent = fork();
	if (agent == 0)
		become_agent(theirs, keeper);
	close(theirs[0]);
	close(theirs[1]);
	if (agent < 0)
		talk_end();
	return agent > 0;
}

static int exit_code(void)
{
	return WIFSIGNALED(last_status) ? 128 + WTERMSIG(last_status) : WEXITSTATUS(last_status);
}

static bool is_crash(int status)
{
	int code = WEXITSTATUS(status);

	return WIFSIGNALED(status) || (code != 0 && (code < FIRST_REASON || code > LAST_REASON));
}

/* False where the agent crashes all the time. */
static bool bear_crash(int64_t now)
{
	patience += now - patience_at;
	if (patience > CRASHES * CRASH_EVERY_MS)
		patience = CRASHES * CRASH_EVERY_MS;
	patience_at = now;
	if (patience < CRASH_EVERY_MS)
		return false;
	patience -= CRASH_EVERY_MS;
	return true;
}

static _Noreturn void end(int code)
{
	/* Sockets close with us. */
	exit(code);
}

static void agent_ended(int status)
{
	int64_t now = now_ms();

	agent = 0;
	last_status = status;
	forget_at = NEVER;
	talk_end();
	if (told_to_stop || !is_crash(status) || !talk_serves() || wait_ms == 0)
		end(exit_code());
	crashes++;
	if (!bear_crash(now)) {
		report("error", "AGENT_CRASHES", how_it_ended(status), store_size(),
		       "the agent crashes all the time; it is not started again");
		end(exit_code());
	}
	report("error", "AGENT_CRASHED", how_it_ended(status), store_size(),
	       "the agent crashed; connections wait while it is started again");
	if (give_up_at == NEVER)
		give_up_at = now + (int64_t)wait_ms;
	start_at = now + pause_ms;
	pause_ms = pause_ms == 0 ? FIRST_PAUSE_MS : pause_ms * 2;
	if (pause_ms > LONGEST_PAUSE_MS)
		pause_ms = LONGEST_PAUSE_MS;
}

/* The next agent has not come in time: nobody waits any longer. One that is about to serve may go on. */
static void give_up(void)
{
	report("error", "AGENT_ABSENT", how_it_ended(last_status), store_size(),
	       "no agent serves again in time; nothing waits for it any more");
	give_up_at = NEVER;
	talk_forget();
	if (agent == 0)
		end(exit_code());
}

/* An agent that has hung up and lives may close what is kept here, and whoever came then would wait for nobody. */
static void forget(void)
{
	forget_at = NEVER;
	if (!talk_serves())
		return;
	report("error", "KEEPER_FAILED", "", store_size(), "the agent tells nothing any more; nothing is kept of it");
	talk_forget();
}

static void reap(void)
{
	int status;
	pid_t ended;

	/* As the first process of a container we get orphans too. */
	while ((ended = waitpid(-1, &status, WNOHANG)) > 0)
		if (ended == agent)
			agent_ended(status);
}

static void on_signal(int signals)
{
	struct signalfd_siginfo info;

	while (read(signals, &info, sizeof(info)) == sizeof(info)) {
		int number = (int)info.ssi_signo;

		if (number == SIGCHLD) {
			reap();
			continue;
		}
		if (number == SIGTERM || number == SIGINT || number == SIGQUIT) {
			told_to_stop = true;
			if (agent == 0)
				end(0);
		}
		if (agent > 0)
			kill(agent, number);
	}
}

static int watch_signals(void)
{
	static const int passed_on[] = { SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGCHLD };
	sigset_t watched;

	sigemptyset(&watched);
	for (size_t i = 0; i < sizeof(passed_on) / sizeof(*passed_on); i++)
		sigaddset(&watched, passed_on[i]);
	sigprocmask(SIG_BLOCK, &watched, &before);
	return signalfd(-1, &watched, SFD_NONBLOCK | SFD_CLOEXEC);
}

static int until_next(void)
{
	int64_t next = give_up_at < start_at ? give_up_at : start_at, left;

	if (forget_at < next)
		next = forget_at;
	if (next == NEVER)
		return -1;
	left = next - now_ms();
	return left < 0 ? 0 : (int)left + 1;
}

int main(int count, char **arguments)
{
	int signals;

	if (count < 2) {
		fputs("usage: culvert-keeper PROGRAM [ARGUMENT...]\n", stderr);
		return BAD_USAGE;
	}
	program = arguments + 1;
	patience_at = now_ms();
	signals = watch_signals();
	raise_file_limit();
	if (signals < 0 || !start()) {
		fprintf(stderr, "culvert-keeper: %s\n", strerror(errno));
		return NO_RESOURCE;
	}
	for (;;) {
		struct pollfd events[2] = { { .fd = signals, .events = POLLIN },
					    { .fd = talk_descriptor(), .events = POLLIN } };

		if (poll(events, 2, until_next()) < 0 && errno != EINTR)
			return NO_RESOURCE;
		/* First what it said, then that it has ended. */
		if (events[1].revents)
			talk_listen();
		if (events[0].revents)
			on_signal(signals);
		if (agent > 0 && talk_descriptor() < 0 && talk_serves() && forget_at == NEVER)
			forget_at = now_ms() + END_MS;
		if (now_ms() >= forget_at)
			forget();
		if (now_ms() >= give_up_at)
			give_up();
		if (now_ms() >= start_at && !start())
			start_at = now_ms() + LONGEST_PAUSE_MS;
	}
}
