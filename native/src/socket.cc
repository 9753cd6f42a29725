// Sockets of pods, and the options of sockets that node:net does not offer.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <cerrno>

#include "address.h"
#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "netns_sockets.h"

namespace {

// An upper bound for one call, so that a wrong count does not empty the descriptor table.
constexpr int64_t kMostSockets = 1024;

std::optional<Failure> SetOption(int fd, int level, int option, int value, const char* attempt) {
  if (setsockopt(fd, level, option, &value, sizeof(value)) == 0) return std::nullopt;
  return Failure{errno, attempt, "", ""};
}

struct BindRequest {
  std::string address;
  uint16_t port;
  bool reuse_port;
  bool v6_only;
};

BindRequest ReadBindRequest(Arguments& args, Napi::Object options) {
  return {
      .address = args.Text(options, "address"),
      .port = static_cast<uint16_t>(args.Integer(options, "port", 0, 65535)),
      .reuse_port = args.Flag(options, "reusePort"),
      .v6_only = args.Flag(options, "v6Only"),
  };
}

// Makes a socket of the family of the address inside the namespace and binds it there.
std::optional<Failure> BoundSocket(int netns_fd, int type, const BindRequest& request, OwnedFd& out) {
  std::string where = FormatHostPort(request.address, request.port);
  auto name = ParseSocketName(request.address, request.port);
  if (!name) return Failure{EINVAL, "bind " + where, "not an IP address", ""};

  std::vector<OwnedFd> sockets;
  if (auto failure = SocketsInNetns(netns_fd, name->family(), type, 1, sockets)) return failure;
  OwnedFd fd = std::move(sockets[0]);

  // TCP only: a restart must not wait for TIME_WAIT. For UDP it would let a second socket take the datagrams.
  if (type == SOCK_STREAM) {
    if (auto failure = SetOption(fd.get(), SOL_SOCKET, SO_REUSEADDR, 1, "setsockopt(SO_REUSEADDR)")) return failure;
  }
  if (request.reuse_port) {
    if (auto failure = SetOption(fd.get(), SOL_SOCKET, SO_REUSEPORT, 1, "setsockopt(SO_REUSEPORT)")) return failure;
  }
  if (name->family() == AF_INET6) {
    auto failure = SetOption(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, request.v6_only, "setsockopt(IPV6_V6ONLY)");
    if (failure) return failure;
  }
  if (bind(fd.get(), name->raw(), name->length) != 0) return Failure{errno, "bind " + where, "", ""};
  out = std::move(fd);
  return std::nullopt;
}

}  // namespace

Napi::Value TcpSockets(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int netns_fd = args.Fd(0, "netnsFd");
  int family = args.Family(1, "family");
  int64_t count = args.Integer(2, "count", 1, kMostSockets);
  if (!args.ok()) return env.Undefined();

  std::vector<OwnedFd> sockets;
  auto failure = SocketsInNetns(netns_fd, family, SOCK_STREAM, count, sockets);
  for (const OwnedFd& fd : sockets) {
    if (!failure) failure = SetOption(fd.get(), IPPROTO_TCP, TCP_NODELAY, 1, "setsockopt(TCP_NODELAY)");
  }
  if (failure) return Throw(env, *failure);
  Napi::Array fds = Napi::Array::New(env, sockets.size());
  for (size_t i = 0; i < sockets.size(); i++) {
    fds.Set(static_cast<uint32_t>(i), Napi::Number::New(env, sockets[i].Release()));
  }
  return fds;
}

Napi::Value TcpListener(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int netns_fd = args.Fd(0, "netnsFd");
  Napi::Object options = args.Object(1, "options");
  BindRequest request = ReadBindRequest(args, options);
  int backlog = static_cast<int>(args.Integer(options, "backlog", 0, 1 << 24));
  if (!args.ok()) return env.Undefined();

  OwnedFd fd;
  if (auto failure = BoundSocket(netns_fd, SOCK_STREAM, request, fd)) return Throw(env, *failure);
  if (listen(fd.get(), backlog) != 0) {
    return Throw(env, errno, "listen " + FormatHostPort(request.address, request.port));
  }
  return Napi::Number::New(env, fd.Release());
}

Napi::Value UdpSocket(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int netns_fd = args.Fd(0, "netnsFd");
  BindRequest request = ReadBindRequest(args, args.Object(1, "options"));
  if (!args.ok()) return env.Undefined();

  OwnedFd fd;
  if (auto failure = BoundSocket(netns_fd, SOCK_DGRAM, request, fd)) return Throw(env, *failure);
  return Napi::Number::New(env, fd.Release());
}

Napi::Value GetSocketAddress(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return env.Undefined();

  SocketName name{};
  name.length = sizeof(name.storage);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&name.storage), &name.length) != 0) {
    return Throw(env, errno, "getsockname");
  }
  auto address = ToSocketAddress(env, name);
  if (!address) return Throw(env, EAFNOSUPPORT, "getsockname");
  return *address;
}

Napi::Value ResetOnClose(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return env.Undefined();

  linger now{.l_onoff = 1, .l_linger = 0};
  if (setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)) != 0) return Throw(env, errno, "setsockopt(SO_LINGER)");
  return env.Undefined();
}

Napi::Value SetKeepalive(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  // The bounds of the kernel: MAX_TCP_KEEPIDLE, MAX_TCP_KEEPINTVL, MAX_TCP_KEEPCNT.
  int idle = static_cast<int>(args.Integer(1, "idle", 1, 32767));
  int interval = static_cast<int>(args.Integer(2, "interval", 1, 32767));
  int count = static_cast<int>(args.Integer(3, "count", 1, 127));
  if (!args.ok()) return env.Undefined();

  auto failure = SetOption(fd, SOL_SOCKET, SO_KEEPALIVE, 1, "setsockopt(SO_KEEPALIVE)");
  if (!failure) failure = SetOption(fd, IPPROTO_TCP, TCP_KEEPIDLE, idle, "setsockopt(TCP_KEEPIDLE)");
  if (!failure) failure = SetOption(fd, IPPROTO_TCP, TCP_KEEPINTVL, interval, "setsockopt(TCP_KEEPINTVL)");
  if (!failure) failure = SetOption(fd, IPPROTO_TCP, TCP_KEEPCNT, count, "setsockopt(TCP_KEEPCNT)");
  return failure ? Throw(env, *failure) : env.Undefined();
}

Napi::Value Duplicate(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return env.Undefined();

  int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  return copy < 0 ? Throw(env, errno, "fcntl(F_DUPFD_CLOEXEC)") : Napi::Number::New(env, copy);
}

Napi::Value Close(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return env.Undefined();

  // EINTR too means that it is closed: to close again could hit a descriptor that another thread just got.
  return close(fd) != 0 && errno != EINTR ? Throw(env, errno, "close") : env.Undefined();
}
