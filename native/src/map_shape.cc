#include "map_shape.h"

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <cerrno>

#include "bpf_kind.h"

namespace {

bool IsPerCpu(__u32 type) {
  return type == BPF_MAP_TYPE_PERCPU_HASH || type == BPF_MAP_TYPE_LRU_PERCPU_HASH ||
         type == BPF_MAP_TYPE_PERCPU_ARRAY || type == BPF_MAP_TYPE_PERCPU_CGROUP_STORAGE;
}

}  // namespace

std::optional<Failure> DescribeMap(int map_fd, const char* attempt, MapShape& shape) {
  if (auto failure = CheckBpfKind(map_fd, BpfKind::kMap, attempt)) return failure;
  bpf_map_info info{};
  __u32 length = sizeof(info);
  if (bpf_obj_get_info_by_fd(map_fd, &info, &length) != 0) return Failure{errno, attempt, "", ""};
  shape = {info.type, info.key_size, info.value_size, info.max_entries};
  if (IsPerCpu(info.type)) {
    int cpus = libbpf_num_possible_cpus();
    if (cpus < 0) return Failure{-cpus, "read of /sys/devices/system/cpu/possible", "", ""};
    shape.value_size = (info.value_size + 7) / 8 * 8 * static_cast<__u32>(cpus);
  }
  return std::nullopt;
}
