// Reads whole maps: hundreds of entries per system call where the kernel can, one by one where it cannot.
#include <bpf/bpf.h>

#include <algorithm>
#include <cerrno>
#include <unordered_set>
#include <vector>

#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "map_shape.h"

namespace {

constexpr const char* kBatch = "bpf(BPF_MAP_LOOKUP_BATCH)";
constexpr __u32 kEntriesPerCall = 512;

struct Entries {
  size_t count = 0;
  std::vector<uint8_t> keys;
  std::vector<uint8_t> values;
};

enum class Outcome { kDone, kUnable, kFailed };

// Asks for batch after batch until the kernel says ENOENT: there is no more.
Outcome ReadInBatches(int map_fd, const MapShape& shape, Entries& out, int& error) {
  // The position is opaque: 4 bytes for hashes, a key for the others.
  std::vector<uint8_t> position(std::max<size_t>(shape.key_size, sizeof(__u64)));
  std::vector<uint8_t> next(position.size());
  bool first = true;
  for (;;) {
    out.keys.resize((out.count + kEntriesPerCall) * shape.key_size);
    out.values.resize((out.count + kEntriesPerCall) * shape.value_size);
    __u32 count = kEntriesPerCall;
    LIBBPF_OPTS(bpf_map_batch_opts, options);
    int result = bpf_map_lookup_batch(map_fd, first ? nullptr : position.data(), next.data(),
                                      out.keys.data() + out.count * shape.key_size,
                                      out.values.data() + out.count * shape.value_size, &count, &options);
    int failed = result == 0 ? 0 : errno;
    // EINVAL: an older kernel without the command for this type; EINTR: too many entries vanished under way; ENOSPC:
    // one bucket of a hash, which is answered as a whole, has more entries than there is room for.
    if (failed == EINVAL || failed == kEnotsupp || failed == EOPNOTSUPP || failed == EINTR || failed == ENOSPC) {
      return Outcome::kUnable;
    }
    if (failed != 0 && failed != ENOENT) {
      error = failed;
      return Outcome::kFailed;
    }
    out.count += count;
    if (failed == ENOENT) return Outcome::kDone;
    first = false;
    position.swap(next);
  }
}

// The kernel starts again at the first key where the one given is gone, so what was seen is remembered and the walk is
// bounded.
Outcome ReadOneByOne(int map_fd, const MapShape& shape, Entries& out, int& error) {
  std::unordered_set<std::string> seen;
  std::string key(shape.key_size, '\0');
  std::string next(shape.key_size, '\0');
  std::vector<uint8_t> value(shape.value_size);
  const size_t steps = 2 * static_cast<size_t>(shape.max_entries) + 1;
  for (size_t step = 0; step < steps; step++) {
    if (bpf_map_get_next_key(map_fd, step == 0 ? nullptr : key.data(), next.data()) != 0) {
      error = errno;
      return error == ENOENT ? Outcome::kDone : Outcome::kFailed;
    }
    key.swap(next);
    if (!seen.insert(key).second) continue;
    if (bpf_map_lookup_elem(map_fd, key.data(), value.data()) != 0) {
      if (errno == ENOENT) continue;
      error = errno;
      return Outcome::kFailed;
    }
    out.keys.insert(out.keys.end(), key.begin(), key.end());
    out.values.insert(out.values.end(), value.begin(), value.end());
    out.count++;
  }
  return Outcome::kDone;
}

}  // namespace

Napi::Value MapEntriesBatch(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int map_fd = args.Fd(0, "mapFd");
  if (!args.ok()) return env.Undefined();

  MapShape shape{};
  if (auto failure = DescribeMap(map_fd, kBatch, shape)) return Throw(env, *failure);
  Entries entries;
  int error = 0;
  const char* attempt = kBatch;
  Outcome outcome = ReadInBatches(map_fd, shape, entries, error);
  if (outcome == Outcome::kUnable) {
    entries = {};
    attempt = "bpf(BPF_MAP_GET_NEXT_KEY)";
    outcome = ReadOneByOne(map_fd, shape, entries, error);
  }
  if (outcome == Outcome::kFailed) return Throw(env, error, attempt);

  Napi::Object out = Napi::Object::New(env);
  out.Set("count", Napi::Number::New(env, static_cast<double>(entries.count)));
  out.Set("keySize", Napi::Number::New(env, shape.key_size));
  out.Set("valueSize", Napi::Number::New(env, shape.value_size));
  out.Set("keys", Napi::Buffer<uint8_t>::Copy(env, entries.keys.data(), entries.count * shape.key_size));
  out.Set("values", Napi::Buffer<uint8_t>::Copy(env, entries.values.data(), entries.count * shape.value_size));
  return out;
}
