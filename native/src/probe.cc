// Asks the kernel for every feature that Culvert builds on, by trying it: version numbers lie on distribution kernels.
// Nothing here throws: a feature that is missing is a line in the answer.
#include <bpf/bpf.h>
#include <linux/btf.h>
#include <linux/capability.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>

#include "error.h"
#include "exports.h"
#include "fd.h"

#ifndef SO_NETNS_COOKIE
#define SO_NETNS_COOKIE 71
#endif

namespace {

// Helpers by number: the headers that we are compiled with may be older than the kernel that we run on.
constexpr int kHelperSetRetval = 187;
constexpr int kHelperNetnsCookie = 122;
constexpr int kHelperSkStorageGet = 107;

constexpr bpf_insn Move(__u8 target, __s32 value) {
  return {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = target, .src_reg = 0, .off = 0, .imm = value};
}
constexpr bpf_insn Call(__s32 helper) {
  return {.code = BPF_JMP | BPF_CALL, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = helper};
}
constexpr bpf_insn Exit() { return {.code = BPF_JMP | BPF_EXIT, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0}; }

// `return 1;`, which every program type below accepts.
constexpr bpf_insn kReturnOne[] = {Move(BPF_REG_0, 1), Exit()};
constexpr bpf_insn kCookie[] = {Call(kHelperNetnsCookie), Move(BPF_REG_0, 1), Exit()};
constexpr bpf_insn kRefuse[] = {Move(BPF_REG_1, -ECONNREFUSED), Call(kHelperSetRetval), Move(BPF_REG_0, 1), Exit()};

struct Feature {
  const char* name;
  bool available;
  const char* needs;
  std::string detail;
};

std::string Reason(int error) { return ErrnoName(error) + ": " + std::strerror(error); }

Feature FromFd(const char* name, const char* needs, int fd) {
  int error = errno;
  OwnedFd owned(fd);
  return {name, owned.valid(), needs, owned.valid() ? "works" : Reason(error)};
}

template <size_t count>
int Load(bpf_prog_type type, bpf_attach_type attach, const bpf_insn (&program)[count]) {
  LIBBPF_OPTS(bpf_prog_load_opts, options, .expected_attach_type = attach);
  return bpf_prog_load(type, "culvert_probe", "Dual BSD/GPL", program, count, &options);
}

Feature KernelVersion() {
  utsname name{};
  uname(&name);
  int major = 0, minor = 0;
  std::sscanf(name.release, "%d.%d", &major, &minor);
  bool enough = major > 5 || (major == 5 && minor >= 15);
  return {"kernel", enough, "Linux 5.15", name.release};
}

Feature Capability(const char* name, unsigned bit, const char* needs) {
  __user_cap_header_struct header{.version = _LINUX_CAPABILITY_VERSION_3, .pid = 0};
  __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3]{};
  if (syscall(SYS_capget, &header, data) != 0) return {name, false, needs, Reason(errno)};
  bool effective = (data[bit / 32].effective >> (bit % 32) & 1) != 0;
  return {name, effective, needs, effective ? "effective" : "not among the effective capabilities of this process"};
}

Feature NetnsCookieOption() {
  OwnedFd socket_fd(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  uint64_t cookie = 0;
  socklen_t length = sizeof(cookie);
  bool known = getsockopt(socket_fd.get(), SOL_SOCKET, SO_NETNS_COOKIE, &cookie, &length) == 0;
  return {"SO_NETNS_COOKIE", known, "Linux 5.14", known ? "works" : Reason(errno)};
}

// A kernel with cgroup links gets as far as looking for the cgroup.
Feature CgroupLinks() {
  constexpr const char* needs = "Linux 5.7";
  OwnedFd program(Load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, kReturnOne));
  if (!program.valid()) return {"cgroup links", false, needs, "no program to try it with: " + Reason(errno)};
  OwnedFd link(bpf_link_create(program.get(), -1, BPF_CGROUP_INET4_CONNECT, nullptr));
  bool known = link.valid() || errno == EBADF;
  return {"cgroup links", known, needs, known ? "works" : Reason(errno)};
}

Feature RingBuffer() {
  __u32 size = static_cast<__u32>(sysconf(_SC_PAGESIZE));
  int fd = bpf_map_create(BPF_MAP_TYPE_RINGBUF, "culvert_probe", 0, 0, size, nullptr);
  return FromFd("ring buffer maps", "Linux 5.8", fd);
}

Feature TypesOfKernel() {
  bool present = access("/sys/kernel/btf/vmlinux", R_OK) == 0;
  return {"kernel BTF", present, "CONFIG_DEBUG_INFO_BTF", present ? "/sys/kernel/btf/vmlinux" : Reason(errno)};
}

// A socket storage must say what it holds, in BTF of its own: `int` for key and value.
int StorageTypes() {
  constexpr char names[] = "\0int";
  struct {
    btf_header header;
    btf_type integer;
    __u32 encoding;
    char strings[sizeof(names)];
  } types{};
  types.header.magic = BTF_MAGIC;
  types.header.version = BTF_VERSION;
  types.header.hdr_len = sizeof(types.header);
  types.header.type_len = sizeof(types.integer) + sizeof(types.encoding);
  types.header.str_off = types.header.type_len;
  types.header.str_len = sizeof(names);
  types.integer.name_off = 1;
  types.integer.info = BTF_KIND_INT << 24;
  types.integer.size = 4;
  types.encoding = BTF_INT_SIGNED << 24 | 32;
  std::memcpy(types.strings, names, sizeof(names));
  return bpf_btf_load(&types, sizeof(types.header) + types.header.type_len + sizeof(names), nullptr);
}

// The map, and whether a program at connect may use it: the helper came to that type later than the map.
void SocketStorage(std::vector<Feature>& out) {
  constexpr const char* map_name = "socket storage maps";
  constexpr const char* helper_name = "socket storage in connect";
  OwnedFd types(StorageTypes());
  LIBBPF_OPTS(bpf_map_create_opts, options, .btf_fd = static_cast<__u32>(types.get()), .btf_key_type_id = 1,
              .btf_value_type_id = 1, .map_flags = BPF_F_NO_PREALLOC);
  OwnedFd map(bpf_map_create(BPF_MAP_TYPE_SK_STORAGE, "culvert_probe", 4, 4, 0, &options));
  std::string missing = map.valid() ? "works" : Reason(errno);
  out.push_back({map_name, map.valid(), "Linux 5.2", missing});
  if (!map.valid()) {
    out.push_back({helper_name, false, "Linux 5.15", "no map to try it with: " + missing});
    return;
  }
  // sk_storage_get(map, ctx->sk, 0, 0): r6 = ctx->sk; if (r6 == 0) return 1
  bpf_insn program[] = {
      {.code = BPF_LDX | BPF_MEM | BPF_DW, .dst_reg = BPF_REG_2, .src_reg = BPF_REG_1,
       .off = offsetof(bpf_sock_addr, sk), .imm = 0},
      {.code = BPF_JMP | BPF_JEQ | BPF_K, .dst_reg = BPF_REG_2, .src_reg = 0, .off = 5, .imm = 0},
      {.code = BPF_LD | BPF_IMM | BPF_DW, .dst_reg = BPF_REG_1, .src_reg = BPF_PSEUDO_MAP_FD, .off = 0,
       .imm = map.get()},
      {.code = 0, .dst_reg = 0, .src_reg = 0, .off = 0, .imm = 0},
      Move(BPF_REG_3, 0),
      Move(BPF_REG_4, 0),
      Call(kHelperSkStorageGet),
      Move(BPF_REG_0, 1),
      Exit(),
  };
  int fd = Load(BPF_PROG_TYPE_CGROUP_SOCK_ADDR, BPF_CGROUP_INET4_CONNECT, program);
  out.push_back(FromFd(helper_name, "Linux 5.15", fd));
}

std::vector<Feature> AllFeatures() {
  constexpr bpf_prog_type at_address = BPF_PROG_TYPE_CGROUP_SOCK_ADDR;
  std::vector<Feature> out = {
      KernelVersion(),
      Capability("CAP_BPF", CAP_BPF, "root or CAP_BPF"),
      Capability("CAP_PERFMON", CAP_PERFMON, "root or CAP_PERFMON"),
      Capability("CAP_NET_ADMIN", CAP_NET_ADMIN, "root or CAP_NET_ADMIN"),
      Capability("CAP_SYS_ADMIN", CAP_SYS_ADMIN, "root or CAP_SYS_ADMIN"),
      FromFd("connect programs", "Linux 4.17", Load(at_address, BPF_CGROUP_INET4_CONNECT, kReturnOne)),
      FromFd("sendmsg programs", "Linux 4.18", Load(at_address, BPF_CGROUP_UDP4_SENDMSG, kReturnOne)),
      FromFd("recvmsg programs", "Linux 5.2", Load(at_address, BPF_CGROUP_UDP4_RECVMSG, kReturnOne)),
      FromFd("getpeername programs", "Linux 5.8", Load(at_address, BPF_CGROUP_INET4_GETPEERNAME, kReturnOne)),
      FromFd("sock_ops programs", "Linux 4.13", Load(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, kReturnOne)),
      FromFd("sk_lookup programs", "Linux 5.9", Load(BPF_PROG_TYPE_SK_LOOKUP, BPF_SK_LOOKUP, kReturnOne)),
      FromFd("netns cookie in connect", "Linux 5.7", Load(at_address, BPF_CGROUP_INET4_CONNECT, kCookie)),
      FromFd("netns cookie in sock_ops", "Linux 5.15", Load(BPF_PROG_TYPE_SOCK_OPS, BPF_CGROUP_SOCK_OPS, kCookie)),
      FromFd("bpf_set_retval in connect", "Linux 5.18", Load(at_address, BPF_CGROUP_INET4_CONNECT, kRefuse)),
      NetnsCookieOption(),
      CgroupLinks(),
      RingBuffer(),
      TypesOfKernel(),
  };
  SocketStorage(out);
  return out;
}

}  // namespace

Napi::Value Probe(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  std::vector<Feature> features = AllFeatures();
  Napi::Array out = Napi::Array::New(env, features.size());
  for (uint32_t i = 0; i < features.size(); i++) {
    Napi::Object feature = Napi::Object::New(env);
    feature.Set("name", features[i].name);
    feature.Set("available", features[i].available);
    feature.Set("needs", features[i].needs);
    feature.Set("detail", features[i].detail);
    out.Set(i, feature);
  }
  return out;
}
