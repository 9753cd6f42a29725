/* What the keeper has to say, in lines like those of the agent's log. */
#ifndef CULVERT_KEEPER_REPORT_H
#define CULVERT_KEEPER_REPORT_H

#include <stdbool.h>

/* How a process has ended, for people. Good until the next call. */
const char *how_it_ended(int status);

/* One line on standard output; lost where nobody reads there. */
void report(const char *level, const char *code, const char *ended, unsigned long kept, const char *message);

#endif
