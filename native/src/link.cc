// Links tie a program to a cgroup or namespace, pins keep them when the process is gone.
#include <bpf/bpf.h>
#include <unistd.h>

#include <cerrno>

#include "arguments.h"
#include "attach_types.h"
#include "error.h"
#include "exports.h"

Napi::Value AttachCgroup(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int program_fd = args.Fd(0, "programFd");
  int cgroup_fd = args.Fd(1, "cgroupFd");
  std::string name = args.Text(2, "attachType");
  if (!args.ok()) return env.Undefined();

  auto type = CgroupAttachType(name);
  if (!type) {
    Napi::TypeError::New(env, "attachType " + name + " is unknown").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  int link_fd = bpf_link_create(program_fd, cgroup_fd, *type, nullptr);
  return link_fd < 0 ? Throw(env, errno, "bpf(BPF_LINK_CREATE) " + name) : Napi::Number::New(env, link_fd);
}

Napi::Value AttachNetns(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int program_fd = args.Fd(0, "programFd");
  int netns_fd = args.Fd(1, "netnsFd");
  if (!args.ok()) return env.Undefined();

  int link_fd = bpf_link_create(program_fd, netns_fd, BPF_SK_LOOKUP, nullptr);
  return link_fd < 0 ? Throw(env, errno, "bpf(BPF_LINK_CREATE) sk_lookup") : Napi::Number::New(env, link_fd);
}

Napi::Value AttachSockmap(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int program_fd = args.Fd(0, "programFd");
  int map_fd = args.Fd(1, "mapFd");
  if (!args.ok()) return env.Undefined();

  // Not a link: those exist for sockmaps since 6.10 only. The map holds the program for as long as it lives.
  if (bpf_prog_attach(program_fd, map_fd, BPF_SK_MSG_VERDICT, 0) != 0) {
    return Throw(env, errno, "bpf(BPF_PROG_ATTACH) sk_msg");
  }
  return env.Undefined();
}

Napi::Value AttachTracing(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int program_fd = args.Fd(0, "programFd");
  if (!args.ok()) return env.Undefined();

  // What it is attached to was said when it was loaded.
  int link_fd = bpf_raw_tracepoint_open(nullptr, program_fd);
  return link_fd < 0 ? Throw(env, errno, "bpf(BPF_RAW_TRACEPOINT_OPEN)") : Napi::Number::New(env, link_fd);
}

Napi::Value UpdateLink(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int link_fd = args.Fd(0, "linkFd");
  int program_fd = args.Fd(1, "programFd");
  bool expects = !info[2].IsNull();
  int expected_fd = expects ? args.Fd(2, "expectedFd") : -1;
  if (!args.ok()) return env.Undefined();

  LIBBPF_OPTS(bpf_link_update_opts, options);
  if (expects) {
    options.flags = BPF_F_REPLACE;
    options.old_prog_fd = static_cast<__u32>(expected_fd);
  }
  if (bpf_link_update(link_fd, program_fd, &options) != 0) return Throw(env, errno, "bpf(BPF_LINK_UPDATE)");
  return env.Undefined();
}

Napi::Value DetachLink(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int link_fd = args.Fd(0, "linkFd");
  if (!args.ok()) return env.Undefined();

  if (bpf_link_detach(link_fd) != 0) return Throw(env, errno, "bpf(BPF_LINK_DETACH)");
  return env.Undefined();
}

Napi::Value Pin(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "fd");
  std::string path = args.Text(1, "path");
  if (!args.ok()) return env.Undefined();

  if (bpf_obj_pin(fd, path.c_str()) != 0) return Throw(env, errno, "bpf(BPF_OBJ_PIN) " + path);
  return env.Undefined();
}

Napi::Value Unpin(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return env.Undefined();

  if (unlink(path.c_str()) == 0) return Napi::Boolean::New(env, true);
  return errno == ENOENT ? Napi::Boolean::New(env, false) : Throw(env, errno, "unlink " + path);
}

Napi::Value OpenPinned(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  std::string path = args.Text(0, "path");
  if (!args.ok()) return env.Undefined();

  int fd = bpf_obj_get(path.c_str());
  if (fd >= 0) return Napi::Number::New(env, fd);
  return errno == ENOENT ? env.Null() : Throw(env, errno, "bpf(BPF_OBJ_GET) " + path);
}
