// Tells a map from a program from a link: bpf(2) answers "info" for any of them, into a struct that fits only one.
#pragma once

#include <optional>

#include "error.h"

enum class BpfKind { kMap, kProgram, kLink };

// Returns the failure of `attempt` unless `fd` is a BPF descriptor of that kind.
std::optional<Failure> CheckBpfKind(int fd, BpfKind kind, const char* attempt);
