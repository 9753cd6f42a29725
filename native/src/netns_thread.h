// The one thread of the process that enters other network namespaces.
//
// setns is per thread. On the event loop or on a libuv thread a failed way back would leave everything that thread
// does later in the namespace of some pod; here nothing else runs, and a failed way back ends the process.
#pragma once

#include <functional>

// Runs `work` on the namespace thread inside the namespace of `netns_fd` and waits for it. Returns 0, or the errno of
// what kept the thread from getting there (then `work` did not run). `work` must not touch JS and must be short.
int RunInNetns(int netns_fd, const std::function<void()>& work);
