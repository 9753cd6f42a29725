// Runs a program on a made-up context, for tests.
#include <bpf/bpf.h>

#include <cerrno>
#include <vector>

#include "arguments.h"
#include "bpf_kind.h"
#include "error.h"
#include "exports.h"

Napi::Value TestRun(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  Arguments args(info);
  int program_fd = args.Fd(0, "programFd");
  Bytes context = info[1].IsNull() ? Bytes{nullptr, 0} : args.Data(1, "context");
  if (!args.ok()) return env.Undefined();

  constexpr const char* attempt = "bpf(BPF_PROG_TEST_RUN)";
  if (auto failure = CheckBpfKind(program_fd, BpfKind::kProgram, attempt)) return Throw(env, *failure);
  bpf_prog_info program{};
  __u32 length = sizeof(program);
  if (bpf_obj_get_info_by_fd(program_fd, &program, &length) != 0) return Throw(env, errno, attempt);

  std::vector<uint8_t> in(context.data, context.data + context.size);
  std::vector<uint8_t> out(context.size);
  LIBBPF_OPTS(bpf_test_run_opts, options);
  if (!in.empty()) {
    options.ctx_in = in.data();
    options.ctx_size_in = static_cast<__u32>(in.size());
  }
  // A syscall program writes its context in place and accepts no other room for it.
  bool in_place = program.type == BPF_PROG_TYPE_SYSCALL;
  if (!in.empty() && !in_place) {
    options.ctx_out = out.data();
    options.ctx_size_out = static_cast<__u32>(out.size());
  }
  if (bpf_prog_test_run_opts(program_fd, &options) != 0) return Throw(env, errno, attempt);

  const std::vector<uint8_t>& left = in_place ? in : out;
  Napi::Object result = Napi::Object::New(env);
  result.Set("result", Napi::Number::New(env, options.retval));
  result.Set("context", Napi::Buffer<uint8_t>::Copy(env, left.data(), left.size()));
  return result;
}
