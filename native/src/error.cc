#include "error.h"

#include <cstring>

namespace {

// One per environment: the addon lives in several threads of a process at once.
struct PerEnvironment {
  Napi::FunctionReference make_error;
};

}  // namespace

Napi::Value SetErrorFactory(const Napi::CallbackInfo& info) {
  Napi::Env env = info.Env();
  if (!info[0].IsFunction()) {
    Napi::TypeError::New(env, "make must be a function").ThrowAsJavaScriptException();
    return env.Undefined();
  }
  auto* data = env.GetInstanceData<PerEnvironment>();
  if (data == nullptr) {
    data = new PerEnvironment;
    env.SetInstanceData(data);
  }
  data->make_error = Napi::Persistent(info[0].As<Napi::Function>());
  return env.Undefined();
}

std::string ErrnoName(int error) {
  if (error == kEnotsupp) return "ENOTSUPP";
  const char* name = strerrorname_np(error);
  return name == nullptr ? std::to_string(error) : name;
}

Napi::Value Throw(Napi::Env env, const Failure& failure) {
  auto* data = env.GetInstanceData<PerEnvironment>();
  if (data == nullptr) {
    Napi::Error::New(env, failure.attempt + ": " + std::strerror(failure.error)).ThrowAsJavaScriptException();
    return env.Undefined();
  }
  Napi::Value error = data->make_error.Call({
      Napi::Number::New(env, failure.error),
      Napi::String::New(env, ErrnoName(failure.error)),
      Napi::String::New(env, failure.error == kEnotsupp ? "Operation not supported" : std::strerror(failure.error)),
      Napi::String::New(env, failure.attempt),
      Napi::String::New(env, failure.detail),
      Napi::String::New(env, failure.log),
  });
  if (!env.IsExceptionPending()) napi_throw(env, error);
  return env.Undefined();
}

Napi::Value Throw(Napi::Env env, int error, const std::string& attempt) {
  return Throw(env, Failure{error, attempt, "", ""});
}
