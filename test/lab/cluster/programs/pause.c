/* The first process of a pod and of a node: holds the namespaces open, buries orphans, ends when asked. */
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

static void end(int signal)
{
	(void)signal;
	_exit(0);
}

static void bury(int signal)
{
	(void)signal;
	while (waitpid(-1, 0, WNOHANG) > 0)
		;
}

int main(void)
{
	/* As process 1 it gets only signals that it has a handler for. */
	signal(SIGTERM, end);
	signal(SIGINT, end);
	signal(SIGCHLD, bury);
	for (;;)
		pause();
}
