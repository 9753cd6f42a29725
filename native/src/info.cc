// What the kernel says about a descriptor: how a restarted agent tells whether what is pinned is what it would load.
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>
#include <vector>

#include "arguments.h"
#include "attach_types.h"
#include "bpf_kind.h"
#include "error.h"
#include "exports.h"

namespace {

constexpr const char* kAttempt = "bpf(BPF_OBJ_GET_INFO_BY_FD)";

// Reads the info of a descriptor that must be of `kind`; otherwise the struct would be filled with another's fields.
template <typename Info>
std::optional<Failure> ReadInfo(int fd, BpfKind kind, Info& info) {
  if (auto failure = CheckBpfKind(fd, kind, kAttempt)) return failure;
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(fd, &info, &length) != 0) return Failure{errno, kAttempt, "", ""};
  return std::nullopt;
}

Napi::String NameOr(Napi::Env env, const char* name, __u32 number) {
  return Napi::String::New(env, name == nullptr ? std::to_string(number) : name);
}

}  // namespace

Napi::Value GetLinkInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "linkFd");
  if (!args.ok()) return env.Undefined();

  bpf_link_info link{};
  if (auto failure = ReadInfo(fd, BpfKind::kLink, link)) return Throw(env, *failure);
  bool cgroup = link.type == BPF_LINK_TYPE_CGROUP;
  bool netns = link.type == BPF_LINK_TYPE_NETNS;
  Napi::Object out = Napi::Object::New(env);
  out.Set("id", Napi::Number::New(env, link.id));
  out.Set("type", NameOr(env, libbpf_bpf_link_type_str(static_cast<bpf_link_type>(link.type)), link.type));
  out.Set("programId", Napi::Number::New(env, link.prog_id));
  __u32 attach_type = cgroup ? link.cgroup.attach_type : link.netns.attach_type;
  out.Set("attachType", cgroup || netns ? Napi::String::New(env, AttachTypeName(attach_type)) : env.Null());
  out.Set("cgroupId", cgroup ? Napi::BigInt::New(env, static_cast<uint64_t>(link.cgroup.cgroup_id)) : env.Null());
  out.Set("netnsInode", netns ? Napi::Number::New(env, link.netns.netns_ino) : env.Null());
  return out;
}

Napi::Value GetMapInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "mapFd");
  if (!args.ok()) return env.Undefined();

  bpf_map_info map{};
  if (auto failure = ReadInfo(fd, BpfKind::kMap, map)) return Throw(env, *failure);
  Napi::Object out = Napi::Object::New(env);
  out.Set("id", Napi::Number::New(env, map.id));
  out.Set("name", Napi::String::New(env, map.name));
  out.Set("type", NameOr(env, libbpf_bpf_map_type_str(static_cast<bpf_map_type>(map.type)), map.type));
  out.Set("keySize", Napi::Number::New(env, map.key_size));
  out.Set("valueSize", Napi::Number::New(env, map.value_size));
  out.Set("maxEntries", Napi::Number::New(env, map.max_entries));
  out.Set("flags", Napi::Number::New(env, map.map_flags));
  return out;
}

Napi::Value GetProgramInfo(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int fd = args.Fd(0, "programFd");
  if (!args.ok()) return env.Undefined();

  bpf_prog_info program{};
  if (auto failure = ReadInfo(fd, BpfKind::kProgram, program)) return Throw(env, *failure);
  // Asked again with room for as many map ids as it just said that there are; everything else is then left out.
  std::vector<__u32> map_ids(program.nr_map_ids);
  if (!map_ids.empty()) {
    bpf_prog_info ids{};
    ids.nr_map_ids = static_cast<__u32>(map_ids.size());
    ids.map_ids = reinterpret_cast<uintptr_t>(map_ids.data());
    if (auto failure = ReadInfo(fd, BpfKind::kProgram, ids)) return Throw(env, *failure);
  }

  char tag[2 * BPF_TAG_SIZE + 1];
  for (int i = 0; i < BPF_TAG_SIZE; i++) std::snprintf(tag + 2 * i, 3, "%02x", program.tag[i]);
  Napi::Array maps = Napi::Array::New(env, map_ids.size());
  for (uint32_t i = 0; i < map_ids.size(); i++) maps.Set(i, Napi::Number::New(env, map_ids[i]));
  Napi::Object out = Napi::Object::New(env);
  out.Set("id", Napi::Number::New(env, program.id));
  out.Set("name", Napi::String::New(env, program.name));
  out.Set("type", NameOr(env, libbpf_bpf_prog_type_str(static_cast<bpf_prog_type>(program.type)), program.type));
  out.Set("tag", Napi::String::New(env, tag));
  out.Set("mapIds", maps);
  return out;
}
