// Network namespaces: opening them and asking about them.
#include <fcntl.h>
#include <linux/nsfs.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/ioctl.h>

#include <cerrno>

#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "fd.h"
#include "netns_sockets.h"

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
