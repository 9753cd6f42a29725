// Events of BPF programs on the event loop: the loop wakes when the kernel has records, nothing polls.
#include <bpf/libbpf.h>
#include <uv.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "arguments.h"
#include "bpf_kind.h"
#include "error.h"
#include "exports.h"

namespace {

constexpr napi_type_tag kRingTag{0x2c9e4f7b61d83a05, 0xb7f01a6c94e2d853};

// Records of one wake-up, so that a flood of events leaves the loop to others; the rest wakes it again.
constexpr size_t kMostPerWake = 4096;

struct Ring;

// What JS holds as an External; outlives the ring, which ends on the loop some time after close().
struct Handle {
  Ring* ring = nullptr;
};

struct Ring {
  explicit Ring(Napi::Env environment) : env(environment) {}

  Napi::Env env;
  ring_buffer* buffer = nullptr;
  uv_poll_t poll{};
  std::vector<std::vector<uint8_t>> records;
  Napi::FunctionReference on_records;
  Napi::Reference<Napi::External<Handle>> keep_alive;
  napi_async_context async = nullptr;
  napi_async_cleanup_hook_handle cleanup = nullptr;
  Handle* handle = nullptr;
};

int TakeRecord(void* context, void* data, size_t size) {
  auto* ring = static_cast<Ring*>(context);
  auto* bytes = static_cast<uint8_t*>(data);
  ring->records.emplace_back(bytes, bytes + size);
  // The record counts as consumed; the error only ends this round.
  return ring->records.size() < kMostPerWake ? 0 : -EAGAIN;
}

// After this the ring and its descriptors are closed; its memory goes when libuv is done with the poll handle.
void CloseRing(Ring* ring) {
  if (ring->handle == nullptr) return;
  ring->handle->ring = nullptr;
  ring->handle = nullptr;
  ring->on_records.Reset();
  ring->keep_alive.Reset();
  napi_async_destroy(ring->env, ring->async);
  uv_poll_stop(&ring->poll);
  ring_buffer__free(ring->buffer);  // libuv allows to close the descriptor as soon as it is stopped
  uv_close(reinterpret_cast<uv_handle_t*>(&ring->poll), [](uv_handle_t* closed) {
    auto* ring = static_cast<Ring*>(closed->data);
    napi_remove_async_cleanup_hook(ring->cleanup);
    delete ring;
  });
}

// Runs when the thread's environment ends with the ring still open.
void OnEnvironmentEnd(napi_async_cleanup_hook_handle, void* ring) { CloseRing(static_cast<Ring*>(ring)); }

void OnReadable(uv_poll_t* poll, int, int) {
  auto* ring = static_cast<Ring*>(poll->data);
  ring_buffer__consume(ring->buffer);
  if (ring->records.empty()) return;

  Napi::Env env = ring->env;
  Napi::HandleScope scope(env);
  Napi::Array batch = Napi::Array::New(env, ring->records.size());
  for (uint32_t i = 0; i < ring->records.size(); i++) {
    const std::vector<uint8_t>& record = ring->records[i];
    batch.Set(i, Napi::Buffer<uint8_t>::Copy(env, record.data(), record.size()));
  }
  ring->records.clear();
  napi_value argument = batch;
  napi_value result = nullptr;
  napi_make_callback(env, ring->async, env.Global(), ring->on_records.Value(), 1, &argument, &result);
  // The callback may have closed the ring: it must not be touched below.
  if (env.IsExceptionPending()) napi_fatal_exception(env, env.GetAndClearPendingException().Value());
}

}  // namespace

Napi::Value RingbufOpen(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int map_fd = args.Fd(0, "mapFd");
  Napi::Function on_records = args.Function(1, "onRecords");
  if (!args.ok()) return env.Undefined();

  constexpr const char* attempt = "open of the BPF ring buffer";
  if (auto failure = CheckBpfKind(map_fd, BpfKind::kMap, attempt)) return Throw(env, *failure);
  uv_loop_t* loop = nullptr;
  napi_get_uv_event_loop(env, &loop);
  auto ring = std::make_unique<Ring>(env);
  ring->buffer = ring_buffer__new(map_fd, TakeRecord, ring.get(), nullptr);
  if (ring->buffer == nullptr) return Throw(env, errno, attempt);
  int error = uv_poll_init(loop, &ring->poll, ring_buffer__epoll_fd(ring->buffer));
  if (error != 0) {
    ring_buffer__free(ring->buffer);
    return Throw(env, -error, "uv_poll_init");
  }
  ring->poll.data = ring.get();
  ring->on_records = Napi::Persistent(on_records);
  napi_async_init(env, nullptr, Napi::String::New(env, "culvert.ringbuf"), &ring->async);
  napi_add_async_cleanup_hook(env, OnEnvironmentEnd, ring.get(), &ring->cleanup);
  uv_poll_start(&ring->poll, UV_READABLE, OnReadable);

  auto* handle = new Handle{ring.get()};
  auto external = Napi::External<Handle>::New(env, handle, [](Napi::Env, Handle* ended) { delete ended; });
  external.TypeTag(&kRingTag);
  ring->handle = handle;
  ring->keep_alive = Napi::Persistent(external);
  ring.release();  // CloseRing frees it
  return external;
}

Napi::Value RingbufClose(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto external = info[0].As<Napi::External<Handle>>();
  if (!info[0].IsExternal() || !external.CheckTypeTag(&kRingTag)) {
    Napi::TypeError::New(env, "ringbuf must be a ring buffer").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  if (external.Data()->ring != nullptr) CloseRing(external.Data()->ring);
  return env.Undefined();
}
