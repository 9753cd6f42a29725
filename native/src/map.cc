// Single entries of BPF maps. Whole maps are in batch.cc.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <vector>

#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "map_shape.h"

namespace {

std::optional<Failure> CheckSize(const char* attempt, const char* what, size_t given, __u32 expected) {
  if (given == expected) return std::nullopt;
  return Failure{EINVAL, attempt,
                 std::string("the ") + what + " has " + std::to_string(given) + " bytes, the map " +
                     std::to_string(expected),
                 ""};
}

// A queue has no keys: the kernel wants a null pointer for them.
const void* KeyPointer(const Bytes& key) { return key.size == 0 ? nullptr : key.data; }

using Reader = int (*)(int fd, const void* key, void* value);

// Lookup and take differ in one system call only.
Napi::Value Read(const Napi::CallbackInfo& info, const char* attempt, Reader read) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int map_fd = args.Fd(0, "mapFd");
  Bytes key = args.Data(1, "key");
  if (!args.ok()) return env.Undefined();

  MapShape shape{};
  auto failure = DescribeMap(map_fd, attempt, shape);
  if (!failure) failure = CheckSize(attempt, "key", key.size, shape.key_size);
  if (failure) return Throw(env, *failure);
  std::vector<uint8_t> value(shape.value_size);
  if (read(map_fd, KeyPointer(key), value.data()) != 0) {
    return errno == ENOENT ? env.Null() : Throw(env, errno, attempt);
  }
  return Napi::Buffer<uint8_t>::Copy(env, value.data(), value.size());
}

}  // namespace

Napi::Value MapLookup(const Napi::CallbackInfo& info) {
  return Read(info, "bpf(BPF_MAP_LOOKUP_ELEM)", bpf_map_lookup_elem);
}

Napi::Value MapTake(const Napi::CallbackInfo& info) {
  return Read(info, "bpf(BPF_MAP_LOOKUP_AND_DELETE_ELEM)", bpf_map_lookup_and_delete_elem);
}

Napi::Value MapUpdate(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int map_fd = args.Fd(0, "mapFd");
  Bytes key = args.Data(1, "key");
  Bytes value = args.Data(2, "value");
  std::string mode = args.Text(3, "mode");
  if (!args.ok()) return env.Undefined();
  if (mode != "any" && mode != "create" && mode != "replace") {
    Napi::TypeError::New(env, "mode must be any, create or replace").ThrowAsJavaScriptException();
    return env.Undefined();
  }

  constexpr const char* attempt = "bpf(BPF_MAP_UPDATE_ELEM)";
  MapShape shape{};
  auto failure = DescribeMap(map_fd, attempt, shape);
  if (!failure) failure = CheckSize(attempt, "key", key.size, shape.key_size);
  if (!failure) failure = CheckSize(attempt, "value", value.size, shape.value_size);
  if (failure) return Throw(env, *failure);
  __u64 flags = mode == "any" ? BPF_ANY : mode == "create" ? BPF_NOEXIST : BPF_EXIST;
  if (bpf_map_update_elem(map_fd, KeyPointer(key), value.data, flags) != 0) return Throw(env, errno, attempt);
  return env.Undefined();
}

Napi::Value MapDelete(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int map_fd = args.Fd(0, "mapFd");
  Bytes key = args.Data(1, "key");
  if (!args.ok()) return env.Undefined();

  constexpr const char* attempt = "bpf(BPF_MAP_DELETE_ELEM)";
  MapShape shape{};
  auto failure = DescribeMap(map_fd, attempt, shape);
  if (!failure) failure = CheckSize(attempt, "key", key.size, shape.key_size);
  if (failure) return Throw(env, *failure);
  if (bpf_map_delete_elem(map_fd, KeyPointer(key)) == 0) return Napi::Boolean::New(env, true);
  return errno == ENOENT ? Napi::Boolean::New(env, false) : Throw(env, errno, attempt);
}

Napi::Value PossibleCpus(const Napi::CallbackInfo& info) {
  int cpus = libbpf_num_possible_cpus();
  if (cpus < 0) return Throw(info.Env(), -cpus, "read of /sys/devices/system/cpu/possible");
  return Napi::Number::New(info.Env(), cpus);
}
