// Sockets of pods on the event loop of one thread, many at a time: one epoll for all of them, one call into JS for all that
// are ready. Stands where node:net would cost more than the connection. The loop owns the sockets that it was given, so
// that they end with the thread.
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

#include <cerrno>
#include <memory>
#include <unordered_set>

#include "address.h"
#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "fd.h"

namespace {

constexpr napi_type_tag kLoopTag{0x51f0c9b27de84a36, 0x8c6b2a9f03d7e154};

constexpr size_t kMostPerWake = 128;

struct Loop;

// What JS holds as an External; outlives the loop, which ends on libuv's some time after close().
struct Handle {
  Loop* loop = nullptr;
};

struct Loop {
  explicit Loop(Napi::Env environment) : env(environment) {}

  Napi::Env env;
  OwnedFd epoll;
  uv_poll_t poll{};
  // Pairs of descriptor and events, shared with JS.
  uint32_t* events = nullptr;
  size_t capacity = 0;
  std::unordered_set<int> owned;
  Napi::Reference<Napi::Uint32Array> events_array;
  Napi::FunctionReference on_ready;
  Napi::Reference<Napi::External<Handle>> keep_alive;
  napi_async_context async = nullptr;
  napi_async_cleanup_hook_handle cleanup = nullptr;
  Handle* handle = nullptr;
};

// After this every socket of the loop is closed; its memory goes when libuv is done with the poll handle.
void CloseLoop(Loop* loop) {
  if (loop->handle == nullptr) return;
  loop->handle->loop = nullptr;
  loop->handle = nullptr;
  loop->on_ready.Reset();
  loop->events_array.Reset();
  loop->keep_alive.Reset();
  napi_async_destroy(loop->env, loop->async);
  uv_poll_stop(&loop->poll);
  for (int fd : loop->owned) close(fd);
  loop->owned.clear();
  loop->epoll = OwnedFd();
  uv_close(reinterpret_cast<uv_handle_t*>(&loop->poll), [](uv_handle_t* closed) {
    auto* loop = static_cast<Loop*>(closed->data);
    napi_remove_async_cleanup_hook(loop->cleanup);
    delete loop;
  });
}

// Runs when the thread's environment ends with the loop still open.
void OnEnvironmentEnd(napi_async_cleanup_hook_handle, void* loop) { CloseLoop(static_cast<Loop*>(loop)); }

void OnReadable(uv_poll_t* poll, int, int) {
  auto* loop = static_cast<Loop*>(poll->data);
  epoll_event ready[kMostPerWake];
  int count = epoll_wait(loop->epoll.get(), ready, static_cast<int>(loop->capacity), 0);
  if (count <= 0) return;
  for (int i = 0; i < count; i++) {
    loop->events[2 * i] = static_cast<uint32_t>(ready[i].data.fd);
    loop->events[2 * i + 1] = ready[i].events;
  }
  Napi::Env env = loop->env;
  Napi::HandleScope scope(env);
  napi_value argument = Napi::Number::New(env, count);
  napi_value result = nullptr;
  napi_make_callback(env, loop->async, env.Global(), loop->on_ready.Value(), 1, &argument, &result);
  // The callback may have closed the loop: it must not be touched below.
  if (env.IsExceptionPending()) napi_fatal_exception(env, env.GetAndClearPendingException().Value());
}

// The handle of the first argument; null after a TypeError.
Handle* HandleOf(const Napi::CallbackInfo& info) {
  auto external = info[0].As<Napi::External<Handle>>();
  if (info[0].IsExternal() && external.CheckTypeTag(&kLoopTag)) return external.Data();
  Napi::TypeError::New(info.Env(), "loop must be a socket loop").ThrowAsJavaScriptException();
  return nullptr;
}

// What nearly all calls begin with: a loop that is open, and a descriptor behind it. Null after an exception.
struct LoopAndFd {
  Loop* loop = nullptr;
  int fd = -1;
};

LoopAndFd LoopAndFdOf(const Napi::CallbackInfo& info, const char* name = "fd") {
  Arguments args(info);
  int fd = args.Fd(1, name);
  if (!args.ok()) return {};
  Handle* handle = HandleOf(info);
  if (handle == nullptr) return {};
  if (handle->loop == nullptr) Throw(info.Env(), EBADF, "use of a closed socket loop");
  return {handle->loop, fd};
}

// Whether close() says RST. Sockets of a process that dies are closed by the kernel: what was carried half must not look whole.
void SetReset(int fd, bool reset) {
  linger now{.l_onoff = reset, .l_linger = 0};
  setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
}

std::optional<Failure> Watch(Loop* loop, int fd, uint32_t events) {
  epoll_event event{.events = events, .data = {.fd = fd}};
  if (epoll_ctl(loop->epoll.get(), EPOLL_CTL_ADD, fd, &event) == 0) return std::nullopt;
  return Failure{errno, "epoll_ctl(EPOLL_CTL_ADD)", "", ""};
}

}  // namespace

Napi::Value SocketLoopOpen(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  Napi::Function on_ready = args.Function(1, "onReady");
  if (!args.ok()) return env.Undefined();
  if (!info[0].IsTypedArray() || info[0].As<Napi::TypedArray>().TypedArrayType() != napi_uint32_array ||
      info[0].As<Napi::Uint32Array>().ElementLength() < 2) {
    Napi::TypeError::New(env, "events must be a Uint32Array of pairs").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto events = info[0].As<Napi::Uint32Array>();
  auto loop = std::make_unique<Loop>(env);
  loop->epoll = OwnedFd(epoll_create1(EPOLL_CLOEXEC));
  if (!loop->epoll.valid()) return Throw(env, errno, "epoll_create1");
  uv_loop_t* uv = nullptr;
  napi_get_uv_event_loop(env, &uv);
  int error = uv_poll_init(uv, &loop->poll, loop->epoll.get());
  if (error != 0) return Throw(env, -error, "uv_poll_init");
  loop->poll.data = loop.get();
  loop->events = events.Data();
  loop->capacity = std::min(events.ElementLength() / 2, kMostPerWake);
  loop->events_array = Napi::Persistent(events);
  loop->on_ready = Napi::Persistent(on_ready);
  napi_async_init(env, nullptr, Napi::String::New(env, "culvert.sockets"), &loop->async);
  napi_add_async_cleanup_hook(env, OnEnvironmentEnd, loop.get(), &loop->cleanup);
  uv_poll_start(&loop->poll, UV_READABLE, OnReadable);
  // Whoever has connections has listeners or a port as well.
  uv_unref(reinterpret_cast<uv_handle_t*>(&loop->poll));

  auto* handle = new Handle{loop.get()};
  auto external = Napi::External<Handle>::New(env, handle, [](Napi::Env, Handle* ended) { delete ended; });
  external.TypeTag(&kLoopTag);
  loop->handle = handle;
  loop->keep_alive = Napi::Persistent(external);
  loop.release();  // CloseLoop frees it
  return external;
}

Napi::Value SocketLoopEnd(const Napi::CallbackInfo& info) {
  Handle* handle = HandleOf(info);
  if (handle != nullptr && handle->loop != nullptr) CloseLoop(handle->loop);
  return info.Env().Undefined();
}

Napi::Value SocketLoopListen(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto [loop, fd] = LoopAndFdOf(info);
  if (loop == nullptr) return env.Undefined();

  loop->owned.insert(fd);
  // What is accepted inherits it. A queue of sockets that others have accepted has no such option.
  int on = 1;
  if (setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) != 0 && errno != EOPNOTSUPP) {
    return Throw(env, errno, "setsockopt(TCP_NODELAY)");
  }
  // Level-triggered: who is not accepted now is told of again.
  if (auto failure = Watch(loop, fd, EPOLLIN)) return Throw(env, *failure);
  return env.Undefined();
}

Napi::Value SocketLoopAccept(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto [loop, listener] = LoopAndFdOf(info, "listenerFd");
  if (loop == nullptr) return env.Undefined();

  SocketName peer{};
  peer.length = sizeof(peer.storage);
  OwnedFd fd(accept4(listener, reinterpret_cast<sockaddr*>(&peer.storage), &peer.length, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!fd.valid()) {
    // Somebody else was faster, or it is over before it was accepted.
    if (errno == EAGAIN || errno == ECONNABORTED || errno == EINTR || errno == EPROTO) return env.Null();
    return Throw(env, errno, "accept4");
  }
  auto address = ToSocketAddress(env, peer);
  if (!address) return env.Null();
  address->Set("fd", Napi::Number::New(env, fd.get()));
  SetReset(fd.get(), true);
  loop->owned.insert(fd.get());
  fd.Release();
  return *address;
}

Napi::Value SocketLoopAdopt(const Napi::CallbackInfo& info) {
  auto [loop, fd] = LoopAndFdOf(info);
  if (loop == nullptr) return info.Env().Undefined();
  SetReset(fd, true);
  loop->owned.insert(fd);
  return info.Env().Undefined();
}

Napi::Value SocketLoopWatch(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto [loop, fd] = LoopAndFdOf(info);
  if (loop == nullptr) return env.Undefined();

  auto failure = Watch(loop, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET);
  return failure ? Throw(env, *failure) : env.Undefined();
}

Napi::Value SocketLoopUnwatch(const Napi::CallbackInfo& info) {
  auto [loop, fd] = LoopAndFdOf(info);
  if (loop != nullptr) epoll_ctl(loop->epoll.get(), EPOLL_CTL_DEL, fd, nullptr);
  return info.Env().Undefined();
}

Napi::Value SocketLoopDisown(const Napi::CallbackInfo& info) {
  auto [loop, fd] = LoopAndFdOf(info);
  if (loop == nullptr || loop->owned.erase(fd) == 0) return info.Env().Undefined();
  SetReset(fd, false);
  return info.Env().Undefined();
}

Napi::Value SocketLoopRelease(const Napi::CallbackInfo& info) {
  auto [loop, fd] = LoopAndFdOf(info);
  if (loop == nullptr || loop->owned.erase(fd) == 0) return info.Env().Undefined();
  if (info[2].ToBoolean()) SetReset(fd, false);
  close(fd);
  return info.Env().Undefined();
}

Napi::Value Connect(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  std::string address = args.Text(1, "address");
  auto port = static_cast<uint16_t>(args.Integer(2, "port", 0, 65535));
  if (!args.ok()) return env.Undefined();

  auto name = ParseSocketName(address, port);
  if (!name) return Throw(env, {EINVAL, "connect " + FormatHostPort(address, port), "not an IP address", ""});
  int error = connect(fd, name->raw(), name->length) == 0 ? 0 : errno;
  // Inside one namespace the answer is there as soon as the first call is over; only asking again tells.
  if (error == EINPROGRESS) error = connect(fd, name->raw(), name->length) == 0 ? 0 : errno;
  return Napi::Number::New(env, error);
}

Napi::Value Receive(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  Bytes into = args.Data(1, "into");
  size_t at = args.Integer(2, "at", 0, static_cast<int64_t>(into.size));
  if (!args.ok()) return env.Undefined();

  ssize_t count = recv(fd, const_cast<uint8_t*>(into.data) + at, into.size - at, MSG_DONTWAIT);
  return Napi::Number::New(env, static_cast<double>(count < 0 ? -errno : count));
}

Napi::Value Send(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  Bytes from = args.Data(1, "from");
  if (!args.ok()) return env.Undefined();

  int more = info[2].ToBoolean() ? MSG_MORE : 0;
  ssize_t count = send(fd, from.data, from.size, MSG_DONTWAIT | MSG_NOSIGNAL | more);
  return Napi::Number::New(env, static_cast<double>(count < 0 ? -errno : count));
}

Napi::Value Push(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return env.Undefined();

  // Setting it again sends what waits (Linux __tcp_sock_set_nodelay). What can go wrong, reading and writing tell.
  int on = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  return env.Undefined();
}

Napi::Value EndWrites(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  if (!args.ok()) return env.Undefined();

  // ENOTCONN: the peer has reset it, which reading tells.
  if (shutdown(fd, SHUT_WR) == 0 || errno == ENOTCONN) return env.Undefined();
  return Throw(env, errno, "shutdown");
}
