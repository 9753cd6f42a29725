// Sets `const volatile` globals of an object before it is loaded: how user space configures a program for good.
#pragma once

#include <bpf/libbpf.h>
#include <napi.h>

#include <optional>

#include "error.h"

// Writes `value`, a number or bigint, to the global `symbol`. An unknown symbol or a value that does not fit its size
// is a failure.
std::optional<Failure> SetRodata(bpf_object* object, const std::string& symbol, Napi::Value value);
