// Network namespaces: opening them and asking about them.
#include <fcntl.h>
#include <linux/nsfs.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <string>

#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "fd.h"
#include "netns_sockets.h"
#include "netns_thread.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

Napi::Value OpenNetns(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return env.Undefined();

  // Without O_NONBLOCK a FIFO at that path would hold the event loop.
  OwnedFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return Throw(env, errno, "open(network namespace) " + path);
  int type = ioctl(fd.get(), NS_GET_NSTYPE);
  if (type != CLONE_NEWNET) return Throw(env, EINVAL, "ioctl(NS_GET_NSTYPE) " + path);
  return Napi::Number::New(env, fd.Release());
}

Napi::Value NetnsCookie(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int netns_fd = args.Fd(0, "netnsFd");
  if (!args.ok()) return env.Undefined();

  std::vector<OwnedFd> sockets;
  if (auto failure = SocketsInNetns(netns_fd, AF_INET, SOCK_DGRAM, 1, sockets)) return Throw(env, *failure);
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  if (getsockopt(sockets[0].get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) != 0) {
    return Throw(env, errno, "getsockopt(SO_NETNS_COOKIE)");
  }
  return Napi::BigInt::New(env, cookie);
}

Napi::Value NetnsSysctl(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int netns_fd = args.Fd(0, "netnsFd");
  std::string name = args.Text(1, "name");
  std::string value = args.Text(2, "value");
  if (!args.ok()) return env.Undefined();

  // It shows the namespace of the thread that opens the file.
  std::string path = "/proc/sys/net/" + name;
  char before[64] = {};
  int error = 0;
  int entered = RunInNetns(netns_fd, [&] {
    OwnedFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
    // Container runtimes make /proc/sys read-only; our DaemonSet mounts this one directory once more.
    if (!fd.valid() && errno == EROFS) fd = OwnedFd(open(("/host" + path).c_str(), O_RDWR | O_CLOEXEC));
    if (!fd.valid() || pread(fd.get(), before, sizeof(before) - 1, 0) < 0 ||
        pwrite(fd.get(), value.data(), value.size(), 0) < 0) {
      error = errno;
    }
  });
  if (entered != 0) return Throw(env, entered, "setns(CLONE_NEWNET)");
  if (error != 0) return Throw(env, error, "write " + path);
  std::string text(before);
  return Napi::String::New(env, text.substr(0, text.find('\n')));
}

Napi::Value HasIpv6(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int netns_fd = args.Fd(0, "netnsFd");
  if (!args.ok()) return env.Undefined();

  std::vector<OwnedFd> sockets;
  if (auto failure = SocketsInNetns(netns_fd, AF_INET6, SOCK_STREAM, 1, sockets)) {
    if (failure->error == EAFNOSUPPORT) return Napi::Boolean::New(env, false);
    return Throw(env, *failure);
  }
  sockaddr_in6 any{};
  any.sin6_family = AF_INET6;
  bool bound = bind(sockets[0].get(), reinterpret_cast<sockaddr*>(&any), sizeof(any)) == 0;
  return Napi::Boolean::New(env, bound);
}
