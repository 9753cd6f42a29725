// Sockets made inside another network namespace: only socket(2) has to happen there, a socket stays where it was made.
#pragma once

#include <optional>
#include <vector>

#include "error.h"
#include "fd.h"

// Appends `count` non-blocking close-on-exec sockets to `out`, or none and the failure.
std::optional<Failure> SocketsInNetns(int netns_fd, int family, int type, size_t count, std::vector<OwnedFd>& out);
