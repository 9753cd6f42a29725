// Events of BPF programs, read when somebody asks: for programs that make many and wake nobody (BPF_RB_NO_WAKEUP).
#include <bpf/libbpf.h>

#include <cerrno>
#include <memory>
#include <vector>

#include "arguments.h"
#include "bpf_kind.h"
#include "error.h"
#include "exports.h"

namespace {

constexpr napi_type_tag kReaderTag{0x7d1b0c52e94f3a68, 0x9a3e5f7120c6b84d};

struct Reader {
  ~Reader() { ring_buffer__free(buffer); }

  ring_buffer* buffer = nullptr;
  std::vector<uint8_t> bytes;
};

int TakeRecord(void* context, void* data, size_t size) {
  auto& bytes = static_cast<Reader*>(context)->bytes;
  auto* from = static_cast<uint8_t*>(data);
  bytes.insert(bytes.end(), from, from + size);
  return 0;
}

}  // namespace

Napi::Value RingbufReader(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int map_fd = args.Fd(0, "mapFd");
  if (!args.ok()) return env.Undefined();

  constexpr const char* attempt = "open of the BPF ring buffer";
  if (auto failure = CheckBpfKind(map_fd, BpfKind::kMap, attempt)) return Throw(env, *failure);
  auto reader = std::make_unique<Reader>();
  reader->buffer = ring_buffer__new(map_fd, TakeRecord, reader.get(), nullptr);
  if (reader->buffer == nullptr) return Throw(env, errno, attempt);
  auto external = Napi::External<Reader>::New(env, reader.release(), [](Napi::Env, Reader* ended) { delete ended; });
  external.TypeTag(&kReaderTag);
  return external;
}

Napi::Value RingbufRead(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto external = info[0].As<Napi::External<Reader>>();
  if (!info[0].IsExternal() || !external.CheckTypeTag(&kReaderTag)) {
    Napi::TypeError::New(env, "reader must be a reader of a ring buffer").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Reader* reader = external.Data();
  reader->bytes.clear();
  if (reader->buffer == nullptr) return env.Null();
  ring_buffer__consume(reader->buffer);
  if (reader->bytes.empty()) return env.Null();
  return Napi::Buffer<uint8_t>::Copy(env, reader->bytes.data(), reader->bytes.size());
}

Napi::Value RingbufEnd(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto external = info[0].As<Napi::External<Reader>>();
  if (!info[0].IsExternal() || !external.CheckTypeTag(&kReaderTag)) {
    Napi::TypeError::New(env, "reader must be a reader of a ring buffer").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  ring_buffer__free(external.Data()->buffer);
  external.Data()->buffer = nullptr;
  return env.Undefined();
}
