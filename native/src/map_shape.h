// How many bytes the kernel reads and writes for an entry of a map: it takes plain pointers and never asks.
#pragma once

#include <linux/types.h>

#include <optional>

#include "error.h"

struct MapShape {
  __u32 type;
  __u32 key_size;
  __u32 value_size;  // as user space sees it: for a per-CPU map the values of all possible CPUs
  __u32 max_entries;
};

// Fills `shape`, or returns the failure of `attempt`.
std::optional<Failure> DescribeMap(int map_fd, const char* attempt, MapShape& shape);
