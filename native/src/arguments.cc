#include "arguments.h"

#include <sys/socket.h>

#include <cmath>
#include <limits>

int Arguments::Fd(size_t index, const char* name) {
  return static_cast<int>(ReadInteger(info_[index], name, 0, std::numeric_limits<int>::max()));
}

int Arguments::Family(size_t index, const char* name) {
  int64_t family = ReadInteger(info_[index], name, 4, 6);
  if (family == 5) Refuse(name, "4 or 6");
  return family == 6 ? AF_INET6 : AF_INET;
}

int64_t Arguments::Integer(size_t index, const char* name, int64_t min, int64_t max) {
  return ReadInteger(info_[index], name, min, max);
}

int64_t Arguments::Integer(Napi::Object options, const char* name, int64_t min, int64_t max) {
  return ReadInteger(Member(options, name), name, min, max);
}

std::string Arguments::Text(size_t index, const char* name) { return ReadText(info_[index], name); }

std::string Arguments::Text(Napi::Object options, const char* name) {
  return ReadText(Member(options, name), name);
}

Bytes Arguments::Data(size_t index, const char* name) {
  Napi::Value value = info_[index];
  if (!value.IsTypedArray() || value.As<Napi::TypedArray>().TypedArrayType() != napi_uint8_array) {
    Refuse(name, "a Uint8Array");
    return {nullptr, 0};
  }
  auto array = value.As<Napi::Uint8Array>();
  return {array.Data(), array.ByteLength()};
}

bool Arguments::Flag(Napi::Object options, const char* name) {
  Napi::Value value = Member(options, name);
  if (!value.IsBoolean()) {
    Refuse(name, "a boolean");
    return false;
  }
  return value.As<Napi::Boolean>().Value();
}

Napi::Object Arguments::Object(size_t index, const char* name) { return ReadObject(info_[index], name); }

Napi::Object Arguments::Object(Napi::Object options, const char* name) {
  return ReadObject(Member(options, name), name);
}

Napi::Function Arguments::Function(size_t index, const char* name) {
  if (!info_[index].IsFunction()) {
    Refuse(name, "a function");
    return Napi::Function();
  }
  return info_[index].As<Napi::Function>();
}

int64_t Arguments::ReadInteger(Napi::Value value, const char* name, int64_t min, int64_t max) {
  double number = value.IsNumber() ? value.As<Napi::Number>().DoubleValue() : std::nan("");
  if (!(number >= static_cast<double>(min) && number <= static_cast<double>(max)) || std::trunc(number) != number) {
    Refuse(name, "an integer from " + std::to_string(min) + " to " + std::to_string(max));
    return min;
  }
  return static_cast<int64_t>(number);
}

std::string Arguments::ReadText(Napi::Value value, const char* name) {
  if (!value.IsString()) {
    Refuse(name, "a string");
    return "";
  }
  std::string text = value.As<Napi::String>().Utf8Value();
  // The kernel would see the part before the NUL only, and so another path than the caller checked.
  if (text.find('\0') != std::string::npos) Refuse(name, "a string without NUL");
  return text;
}

Napi::Object Arguments::ReadObject(Napi::Value value, const char* name) {
  if (!value.IsObject()) {
    Refuse(name, "an object");
    return Napi::Object::New(info_.Env());
  }
  return value.As<Napi::Object>();
}

// After a refusal nothing more is read: calls into JS are not allowed while an exception is pending.
Napi::Value Arguments::Member(Napi::Object options, const char* name) {
  if (!ok_) return info_.Env().Undefined();
  Napi::Value value = options.Get(name);
  if (info_.Env().IsExceptionPending()) {
    ok_ = false;
    return info_.Env().Undefined();
  }
  return value;
}

void Arguments::Refuse(const char* name, const std::string& expected) {
  if (!ok_) return;
  ok_ = false;
  Napi::TypeError::New(info_.Env(), std::string(name) + " must be " + expected).ThrowAsJavaScriptException();
}
