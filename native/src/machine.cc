// Clocks, ids and limits of this machine and process.
#include <fcntl.h>
#include <sched.h>
#include <sys/resource.h>
#include <time.h>

#include <cerrno>
#include <cstring>

#include "arguments.h"
#include "error.h"
#include "exports.h"
#include "fd.h"

Napi::Value MonotonicNs(const Napi::CallbackInfo& info) {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return Napi::BigInt::New(info.Env(), static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec);
}

Napi::Value CgroupId(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return env.Undefined();

  // The id of a cgroup is its file handle; other filesystems have longer ones and answer EOVERFLOW.
  struct {
    file_handle header;
    uint64_t id;
  } handle{};
  handle.header.handle_bytes = sizeof(handle.id);
  int mount_id = 0;
  if (name_to_handle_at(AT_FDCWD, path.c_str(), &handle.header, &mount_id, 0) != 0) {
    return Throw(env, errno, "name_to_handle_at " + path);
  }
  uint64_t id = 0;
  std::memcpy(&id, handle.header.f_handle, sizeof(id));
  return Napi::BigInt::New(env, id);
}

Napi::Value EnterCgroupNamespace(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return env.Undefined();

  OwnedFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return Throw(env, errno, "open(cgroup namespace) " + path);
  if (setns(fd.get(), CLONE_NEWCGROUP) != 0) return Throw(env, errno, "setns(CLONE_NEWCGROUP) " + path);
  return env.Undefined();
}

Napi::Value RaiseFileLimit(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return Throw(env, errno, "getrlimit(RLIMIT_NOFILE)");
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &limit) != 0) return Throw(env, errno, "setrlimit(RLIMIT_NOFILE)");
  return Napi::Number::New(env, static_cast<double>(limit.rlim_cur));
}
