// The two kernel filesystems that BPF lives on: bpffs holds the pins, cgroup v2 what programs are attached to.
#include <linux/magic.h>
#include <sys/mount.h>
#include <sys/vfs.h>

#include <cerrno>

#include "arguments.h"
#include "error.h"
#include "exports.h"

#ifndef BPF_FS_MAGIC
#define BPF_FS_MAGIC 0xcafe4a11
#endif

namespace {

struct Filesystem {
  const char* type;
  unsigned magic;
  const char* options;
};

constexpr Filesystem kBpffs{"bpf", BPF_FS_MAGIC, "mode=0700"};
constexpr Filesystem kCgroup2{"cgroup2", CGROUP2_SUPER_MAGIC, ""};

Napi::Value Mount(const Napi::CallbackInfo& info, const Filesystem& filesystem) {
  Napi::Env env = info.Env();
  Arguments args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return env.Undefined();

  struct statfs found {};
  if (statfs(path.c_str(), &found) != 0) return Throw(env, errno, "statfs " + path);
  if (static_cast<unsigned>(found.f_type) == filesystem.magic) return Napi::Boolean::New(env, false);
  unsigned long flags = MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RELATIME;
  if (mount(filesystem.type, path.c_str(), filesystem.type, flags, filesystem.options) != 0) {
    return Throw(env, errno, std::string("mount(") + filesystem.type + ") " + path);
  }
  return Napi::Boolean::New(env, true);
}

}  // namespace

Napi::Value MountBpffs(const Napi::CallbackInfo& info) { return Mount(info, kBpffs); }

Napi::Value MountCgroup2(const Napi::CallbackInfo& info) { return Mount(info, kCgroup2); }

Napi::Value Unmount(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return env.Undefined();

  if (umount2(path.c_str(), MNT_DETACH | UMOUNT_NOFOLLOW) != 0) return Throw(env, errno, "umount " + path);
  return env.Undefined();
}
