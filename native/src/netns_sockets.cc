#include "netns_sockets.h"

#include <sys/socket.h>

#include <cerrno>

#include "netns_thread.h"

std::optional<Failure> SocketsInNetns(int netns_fd, int family, int type, size_t count, std::vector<OwnedFd>& out) {
  out.reserve(count);
  int error = 0;
  int entered = RunInNetns(netns_fd, [&] {
    while (out.size() < count && error == 0) {
      OwnedFd fd(socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
      if (fd.valid()) {
        out.push_back(std::move(fd));
      } else {
        error = errno;
      }
    }
  });
  if (entered != 0) return Failure{entered, "setns(CLONE_NEWNET)", "", ""};
  if (error == 0) return std::nullopt;
  out.clear();
  const char* name = family == AF_INET6 ? "socket(AF_INET6)" : "socket(AF_INET)";
  return Failure{error, name, "", ""};
}
