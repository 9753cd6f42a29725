#include "attach_types.h"

#include <bpf/libbpf.h>

namespace {

struct Named {
  const char* name;
  bpf_attach_type type;
};

constexpr Named kCgroupTypes[] = {
    {"connect4", BPF_CGROUP_INET4_CONNECT},
    {"connect6", BPF_CGROUP_INET6_CONNECT},
    {"sendmsg4", BPF_CGROUP_UDP4_SENDMSG},
    {"sendmsg6", BPF_CGROUP_UDP6_SENDMSG},
    {"recvmsg4", BPF_CGROUP_UDP4_RECVMSG},
    {"recvmsg6", BPF_CGROUP_UDP6_RECVMSG},
    {"getpeername4", BPF_CGROUP_INET4_GETPEERNAME},
    {"getpeername6", BPF_CGROUP_INET6_GETPEERNAME},
    {"getsockname4", BPF_CGROUP_INET4_GETSOCKNAME},
    {"getsockname6", BPF_CGROUP_INET6_GETSOCKNAME},
    {"bind4", BPF_CGROUP_INET4_BIND},
    {"bind6", BPF_CGROUP_INET6_BIND},
    {"post_bind4", BPF_CGROUP_INET4_POST_BIND},
    {"post_bind6", BPF_CGROUP_INET6_POST_BIND},
    {"sock_create", BPF_CGROUP_INET_SOCK_CREATE},
    {"sock_release", BPF_CGROUP_INET_SOCK_RELEASE},
    {"sock_ops", BPF_CGROUP_SOCK_OPS},
    {"ingress", BPF_CGROUP_INET_INGRESS},
    {"egress", BPF_CGROUP_INET_EGRESS},
    {"getsockopt", BPF_CGROUP_GETSOCKOPT},
    {"setsockopt", BPF_CGROUP_SETSOCKOPT},
};

}  // namespace

std::optional<bpf_attach_type> CgroupAttachType(const std::string& name) {
  for (const Named& known : kCgroupTypes) {
    if (name == known.name) return known.type;
  }
  return std::nullopt;
}

std::string AttachTypeName(__u32 type) {
  for (const Named& known : kCgroupTypes) {
    if (type == known.type) return known.name;
  }
  const char* name = libbpf_bpf_attach_type_str(static_cast<bpf_attach_type>(type));
  return name == nullptr ? std::to_string(type) : name;
}
