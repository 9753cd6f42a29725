// How a failed system call leaves the addon: as the NativeError that errors.ts makes of errno and attempt.
#pragma once

#include <napi.h>

#include <string>

// In the kernel only, but it does reach user space: "this map or program type has no such operation".
constexpr int kEnotsupp = 524;

// What went wrong, gathered where it did; becomes a JS exception at the boundary and nowhere else.
struct Failure {
  int error;            // positive errno
  std::string attempt;  // for example "bpf(BPF_PROG_LOAD) connect4"
  std::string detail;   // what the errno does not say
  std::string log;      // everything libbpf and the verifier said
};

// setErrorFactory(make): keeps the function of errors.ts for this thread's environment.
Napi::Value SetErrorFactory(const Napi::CallbackInfo& info);

// Returns the name of an errno, for example "EPERM", also of those that libuv and so Node has no name for.
std::string ErrnoName(int error);

// Leaves a NativeError pending and returns undefined, so that callers can `return Throw(...)`.
Napi::Value Throw(Napi::Env env, const Failure& failure);
Napi::Value Throw(Napi::Env env, int error, const std::string& attempt);
