// A queue by which threads of one process hand each other accepted sockets. It is the kernel's (SCM_RIGHTS, unix(7)): what
// waits in it is neither lost nor leaked when a thread ends, just as what waits in a listener.
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "address.h"
#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "fd.h"

Napi::Value SocketQueue(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, ends) != 0) return Throw(env, errno, "socketpair");
  Napi::Object queue = Napi::Object::New(env);
  queue.Set("in", Napi::Number::New(env, ends[0]));
  queue.Set("out", Napi::Number::New(env, ends[1]));
  return queue;
}

Napi::Value PassSocket(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int queue = args.Fd(0, "queue");
  int fd = args.Fd(1, "fd");
  auto tag = static_cast<uint32_t>(args.Integer(2, "tag", 0, UINT32_MAX));
  if (!args.ok()) return env.Undefined();

  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  iovec data{&tag, sizeof(tag)};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  std::memcpy(CMSG_DATA(header), &fd, sizeof(int));
  if (sendmsg(queue, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return Napi::Boolean::New(env, true);
  // Full: by bytes, or by descriptors under way.
  if (errno == EAGAIN || errno == ENOBUFS || errno == ETOOMANYREFS) return Napi::Boolean::New(env, false);
  return Throw(env, errno, "sendmsg(SCM_RIGHTS)");
}

Napi::Value TakeSocket(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int queue = args.Fd(0, "queue");
  if (!args.ok()) return env.Undefined();

  uint32_t tag = 0;
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
  iovec data{&tag, sizeof(tag)};
  msghdr message{};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  ssize_t got = recvmsg(queue, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0 && errno == EAGAIN) return env.Null();
  if (got < 0) return Throw(env, errno, "recvmsg(SCM_RIGHTS)");
  // The kernel had no number left for it, and has closed it.
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  if (header == nullptr || header->cmsg_type != SCM_RIGHTS) return Throw(env, EMFILE, "recvmsg(SCM_RIGHTS)");
  int received = -1;
  std::memcpy(&received, CMSG_DATA(header), sizeof(int));
  OwnedFd fd(received);
  SocketName peer{};
  peer.length = sizeof(peer.storage);
  // Reset while it was under way: there is nobody to serve.
  bool known = getpeername(fd.get(), reinterpret_cast<sockaddr*>(&peer.storage), &peer.length) == 0;
  auto socket = known ? ToSocketAddress(env, peer) : std::nullopt;
  Napi::Object passed = socket.value_or(Napi::Object::New(env));
  passed.Set("tag", Napi::Number::New(env, tag));
  passed.Set("fd", socket ? Napi::Number::New(env, fd.Release()) : env.Null());
  return passed;
}
