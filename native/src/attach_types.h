// Names of the places where programs attach, as CgroupAttachType in native.ts lists them.
#pragma once

#include <linux/bpf.h>

#include <optional>
#include <string>

// Returns the attach type of a cgroup hook by name.
std::optional<bpf_attach_type> CgroupAttachType(const std::string& name);

// Returns the name of any attach type; libbpf's, or the number, where it has none in native.ts.
std::string AttachTypeName(__u32 type);
