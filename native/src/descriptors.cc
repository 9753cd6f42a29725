// Descriptors on their way to another process of this machine (SCM_RIGHTS, unix(7)), and who is at the other end.
//
// By datagrams, so that the bytes of the conversation itself can go through node:net, which knows nothing of them.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <cstring>

#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "fd.h"

namespace {

// SCM_MAX_FD of the kernel.
constexpr size_t kMostDescriptors = 253;

bool UnixName(const std::string& path, sockaddr_un& name) {
  name = {};
  name.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(name.sun_path)) return false;
  std::memcpy(name.sun_path, path.data(), path.size());
  return true;
}

OwnedFd DatagramSocket() { return OwnedFd(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)); }

}  // namespace

Napi::Value DescriptorSocket(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return env.Undefined();

  sockaddr_un name;
  if (!UnixName(path, name)) return Throw(env, ENAMETOOLONG, "bind " + path);
  OwnedFd fd = DatagramSocket();
  if (!fd.valid()) return Throw(env, errno, "socket(AF_UNIX)");
  // Before bind, since that makes the file with these rights.
  if (fchmod(fd.get(), 0600) != 0) return Throw(env, errno, "fchmod " + path);
  if (bind(fd.get(), reinterpret_cast<sockaddr*>(&name), sizeof(name)) != 0) return Throw(env, errno, "bind " + path);
  return Napi::Number::New(env, fd.Release());
}

Napi::Value SendDescriptors(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  bool connected = info[0].IsNumber();
  int socket = connected ? args.Fd(0, "socket") : -1;
  std::string path = connected ? "" : args.Text(0, "path");
  if (!args.ok()) return env.Undefined();
  if (!info[1].IsArray()) {
    Napi::TypeError::New(env, "fds must be an array").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto fds = info[1].As<Napi::Array>();
  size_t count = fds.Length();
  sockaddr_un name;
  if (!connected && !UnixName(path, name)) return Throw(env, ENAMETOOLONG, "sendmsg " + path);
  if (count == 0 || count > kMostDescriptors) return Throw(env, EINVAL, "sendmsg(SCM_RIGHTS)");

  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)] = {};
  char byte = 0;
  iovec data{&byte, 1};
  msghdr message{};
  if (!connected) {
    message.msg_name = &name;
    message.msg_namelen = sizeof(name);
  }
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = CMSG_SPACE(sizeof(int) * count);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int) * count);
  for (size_t i = 0; i < count; i++) {
    int fd = fds.Get(static_cast<uint32_t>(i)).ToNumber().Int32Value();
    std::memcpy(CMSG_DATA(header) + i * sizeof(int), &fd, sizeof(int));
  }
  OwnedFd from = connected ? OwnedFd() : DatagramSocket();
  if (!connected && !from.valid()) return Throw(env, errno, "socket(AF_UNIX)");
  if (sendmsg(connected ? socket : from.get(), &message, MSG_NOSIGNAL) < 0) return Throw(env, errno, "sendmsg(SCM_RIGHTS) " + path);
  return env.Undefined();
}

Napi::Value ReceiveDescriptors(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return env.Undefined();

  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * kMostDescriptors)];
  char byte = 0;
  iovec data{&byte, 1};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  if (recvmsg(fd, &message, MSG_CMSG_CLOEXEC) < 0) return Throw(env, errno, "recvmsg(SCM_RIGHTS)");

  Napi::Array fds = Napi::Array::New(env);
  uint32_t count = 0;
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr; header = CMSG_NXTHDR(&message, header)) {
    if (header->cmsg_level != SOL_SOCKET || header->cmsg_type != SCM_RIGHTS) continue;
    size_t held = (header->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < held; i++) {
      int received = -1;
      std::memcpy(&received, CMSG_DATA(header) + i * sizeof(int), sizeof(int));
      fds.Set(count++, Napi::Number::New(env, received));
    }
  }
  return fds;
}

Napi::Value PeerUser(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return env.Undefined();

  ucred peer{};
  socklen_t length = sizeof(peer);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) != 0) return Throw(env, errno, "getsockopt(SO_PEERCRED)");
  return Napi::Number::New(env, peer.uid);
}
