// Runs a program that is attached nowhere, at the moment and in the namespace where the agent wants it.
#include <bpf/bpf.h>

#include <cerrno>
#include <vector>

#include "arguments.h"
#include "bpf_kind.h"
#include "error.h"
#include "exports.h"
#include "netns_thread.h"

namespace {

// What the kernel takes for a packet begins with it.
constexpr size_t kEthernetHeader = 14;

}  // namespace

Napi::Value RunProgram(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int program_fd = args.Fd(0, "programFd");
  int netns_fd = args.Fd(1, "netnsFd");
  Bytes payload = args.Data(2, "payload");
  if (!args.ok()) return env.Undefined();

  constexpr const char* attempt = "bpf(BPF_PROG_TEST_RUN)";
  if (auto failure = CheckBpfKind(program_fd, BpfKind::kProgram, attempt)) return Throw(env, *failure);

  std::vector<uint8_t> packet(kEthernetHeader);
  packet.insert(packet.end(), payload.data, payload.data + payload.size);
  LIBBPF_OPTS(bpf_test_run_opts, options);
  options.data_in = packet.data();
  options.data_size_in = static_cast<__u32>(packet.size());
  int error = 0;
  int entered = RunInNetns(netns_fd, [&] {
    if (bpf_prog_test_run_opts(program_fd, &options) != 0) error = errno;
  });
  if (entered != 0) return Throw(env, entered, "setns(CLONE_NEWNET)");
  if (error != 0) return Throw(env, error, attempt);
  return Napi::Number::New(env, options.retval);
}
