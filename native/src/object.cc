// BPF objects: open, configure, load. What happens to a loaded program is in link.cc, to a map in map.cc.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <cstring>
#include <memory>

#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "libbpf_log.h"
#include "rodata.h"

namespace {

constexpr napi_type_tag kObjectTag{0x7a3d5c1e9b2f4860, 0x8e41c6d2a05b3f97};

struct ObjectCloser {
  void operator()(bpf_object* object) const { bpf_object__close(object); }
};

// What JS holds as an External. `keep_alive` makes the garbage collector leave it alone until close(): somebody may
// hold its descriptors as numbers. The end of the environment still finalises it.
struct Handle {
  std::unique_ptr<bpf_object, ObjectCloser> object;
  bool loaded = false;
  Napi::Reference<Napi::External<Handle>> keep_alive;
};

// Returns the open object of the first argument, or null with an exception pending.
Handle* ReadHandle(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto external = info[0].As<Napi::External<Handle>>();
  if (!info[0].IsExternal() || !external.CheckTypeTag(&kObjectTag)) {
    Napi::TypeError::New(env, "object must be a BPF object").ThrowAsJavaScriptException();
    return nullptr;
  }
  Handle* handle = external.Data();
  if (handle->object == nullptr) {
    Throw(env, EBADF, "use of a closed BPF object");
    return nullptr;
  }
  return handle;
}

// libbpf has errors of its own beyond those of errno; all say that the file is not what it should be.
int SystemError(int error) { return error >= 4000 ? ENOEXEC : error; }

std::string Shape(__u32 type, __u32 key_size, __u32 value_size) {
  const char* name = libbpf_bpf_map_type_str(static_cast<bpf_map_type>(type));
  return std::string(name == nullptr ? "unknown" : name) + " of " + std::to_string(key_size) + " → " +
         std::to_string(value_size) + " bytes";
}

// libbpf would take any map; a program that then accesses it by the wrong layout is refused late or never.
std::optional<Failure> ReuseMap(bpf_map* map, const std::string& name, int fd) {
  std::string attempt = "reuse of map " + name;
  bpf_map_info found{};
  __u32 length = sizeof(found);
  if (bpf_obj_get_info_by_fd(fd, &found, &length) != 0) return Failure{errno, attempt, "", ""};
  std::string expected = Shape(bpf_map__type(map), bpf_map__key_size(map), bpf_map__value_size(map));
  std::string actual = Shape(found.type, found.key_size, found.value_size);
  if (expected != actual) return Failure{EINVAL, attempt, "it is " + actual + ", the object has " + expected, ""};
  if (bpf_map__reuse_fd(map, fd) != 0) return Failure{errno, attempt, "", ""};
  return std::nullopt;
}

std::optional<Failure> NoSuch(const std::string& attempt, const std::string& what) {
  return Failure{ENOENT, attempt, "the object has no such " + what, ""};
}

// Each of the four options; an exception that reading them left pending is seen by the caller.
std::optional<Failure> Configure(bpf_object* object, Arguments& args, Napi::Object options) {
  Napi::Object rodata = args.Object(options, "rodata");
  Napi::Object reuse = args.Object(options, "reuseMaps");
  Napi::Object sizes = args.Object(options, "maxEntries");
  Napi::Object skip = args.Object(options, "skipPrograms");
  if (!args.ok()) return std::nullopt;

  Napi::Array names = rodata.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    std::string name = Napi::Value(names[i]).As<Napi::String>();
    if (auto failure = SetRodata(object, name, rodata.Get(name))) return failure;
  }
  names = sizes.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    std::string name = Napi::Value(names[i]).As<Napi::String>();
    bpf_map* map = bpf_object__find_map_by_name(object, name.c_str());
    if (map == nullptr) return NoSuch("size of map " + name, "map");
    auto entries = static_cast<__u32>(args.Integer(sizes, name.c_str(), 1, UINT32_MAX));
    if (!args.ok()) return std::nullopt;
    if (bpf_map__set_max_entries(map, entries) != 0) return Failure{errno, "size of map " + name, "", ""};
  }
  names = reuse.GetPropertyNames();
  for (uint32_t i = 0; i < names.Length(); i++) {
    std::string name = Napi::Value(names[i]).As<Napi::String>();
    bpf_map* map = bpf_object__find_map_by_name(object, name.c_str());
    if (map == nullptr) return NoSuch("reuse of map " + name, "map");
    int fd = static_cast<int>(args.Integer(reuse, name.c_str(), 0, INT32_MAX));
    if (!args.ok()) return std::nullopt;
    if (auto failure = ReuseMap(map, name, fd)) return failure;
  }
  uint32_t skipped = skip.IsArray() ? skip.As<Napi::Array>().Length() : 0;
  for (uint32_t i = 0; i < skipped; i++) {
    std::string name = args.Text(skip, std::to_string(i).c_str());
    if (!args.ok()) return std::nullopt;
    bpf_program* program = bpf_object__find_program_by_name(object, name.c_str());
    if (program == nullptr) return NoSuch("skip of program " + name, "program");
    bpf_program__set_autoload(program, false);
  }
  return std::nullopt;
}

// What of the object the kernel refused, from what libbpf said last.
std::string BlameLoad(const LibbpfLog& log) {
  std::string program = log.Between("prog '", "': BPF program load failed");
  if (!program.empty()) return "bpf(BPF_PROG_LOAD) " + program;
  std::string map = log.Between("map '", "': failed to create");
  if (!map.empty()) return "bpf(BPF_MAP_CREATE) " + map;
  return "load of the BPF object";
}

}  // namespace

Napi::Value ObjectOpen(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  std::string path = args.Text(0, "path");
  Napi::Object options = args.Object(1, "options");
  if (!args.ok()) return env.Undefined();

  LibbpfLog log;
  auto handle = std::make_unique<Handle>();
  handle->object.reset(bpf_object__open_file(path.c_str(), nullptr));
  if (handle->object == nullptr) return Throw(env, {SystemError(errno), "open(BPF object) " + path, "", log.text});
  auto failure = Configure(handle->object.get(), args, options);
  if (env.IsExceptionPending()) return env.Undefined();
  if (failure) return Throw(env, *failure);

  Handle* raw = handle.release();
  auto external = Napi::External<Handle>::New(env, raw, [](Napi::Env, Handle* ended) {
    ended->keep_alive.Reset();
    delete ended;
  });
  external.TypeTag(&kObjectTag);
  raw->keep_alive = Napi::Persistent(external);
  return external;
}

Napi::Value ObjectLoad(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Handle* handle = ReadHandle(info);
  if (handle == nullptr) return env.Undefined();

  LibbpfLog log;
  int error = SystemError(-bpf_object__load(handle->object.get()));
  if (error != 0) return Throw(env, {error, BlameLoad(log), "", log.text});
  handle->loaded = true;
  return env.Undefined();
}

Napi::Value ObjectPrograms(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Handle* handle = ReadHandle(info);
  if (handle == nullptr) return env.Undefined();

  Napi::Array names = Napi::Array::New(env);
  bpf_program* program = nullptr;
  bpf_object__for_each_program(program, handle->object.get()) {
    if (bpf_program__autoload(program)) names.Set(names.Length(), Napi::String::New(env, bpf_program__name(program)));
  }
  return names;
}

Napi::Value ObjectMaps(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Handle* handle = ReadHandle(info);
  if (handle == nullptr) return env.Undefined();

  Napi::Array names = Napi::Array::New(env);
  bpf_map* map = nullptr;
  bpf_object__for_each_map(map, handle->object.get()) {
    names.Set(names.Length(), Napi::String::New(env, bpf_map__name(map)));
  }
  return names;
}

Napi::Value ObjectProgramFd(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Handle* handle = ReadHandle(info);
  if (handle == nullptr) return env.Undefined();
  Arguments args(info);
  std::string name = args.Text(1, "name");
  if (!args.ok()) return env.Undefined();

  bpf_program* program = bpf_object__find_program_by_name(handle->object.get(), name.c_str());
  if (program == nullptr) return Throw(env, *NoSuch("use of program " + name, "program"));
  int fd = handle->loaded ? bpf_program__fd(program) : -1;
  if (fd < 0) return Throw(env, {EBADF, "use of program " + name, "it is not loaded", ""});
  return Napi::Number::New(env, fd);
}

Napi::Value ObjectMapFd(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Handle* handle = ReadHandle(info);
  if (handle == nullptr) return env.Undefined();
  Arguments args(info);
  std::string name = args.Text(1, "name");
  if (!args.ok()) return env.Undefined();

  bpf_map* map = bpf_object__find_map_by_name(handle->object.get(), name.c_str());
  if (map == nullptr) return Throw(env, *NoSuch("use of map " + name, "map"));
  int fd = handle->loaded ? bpf_map__fd(map) : -1;
  if (fd < 0) return Throw(env, {EBADF, "use of map " + name, "it is not created: load the object first", ""});
  return Napi::Number::New(env, fd);
}

Napi::Value ObjectClose(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  auto external = info[0].As<Napi::External<Handle>>();
  if (!info[0].IsExternal() || !external.CheckTypeTag(&kObjectTag)) {
    Napi::TypeError::New(env, "object must be a BPF object").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  external.Data()->object.reset();
  external.Data()->keep_alive.Reset();
  return env.Undefined();
}
