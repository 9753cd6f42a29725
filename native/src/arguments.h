// Reads the arguments of a call; the first wrong one leaves a TypeError pending and makes ok() false.
#pragma once

#include <napi.h>

#include <cstdint>
#include <string>

// Bytes that belong to a JS array: only valid until the call returns.
struct Bytes {
  const uint8_t* data;
  size_t size;
};

class Arguments {
 public:
  explicit Arguments(const Napi::CallbackInfo& info) : info_(info) {}

  bool ok() const { return ok_; }

  int Fd(size_t index, const char* name);
  // 4 or 6, as AF_INET or AF_INET6.
  int Family(size_t index, const char* name);
  int64_t Integer(size_t index, const char* name, int64_t min, int64_t max);
  std::string Text(size_t index, const char* name);
  Bytes Data(size_t index, const char* name);
  Napi::Object Object(size_t index, const char* name);
  Napi::Function Function(size_t index, const char* name);

  // The same for members of an options object.
  int64_t Integer(Napi::Object options, const char* name, int64_t min, int64_t max);
  std::string Text(Napi::Object options, const char* name);
  bool Flag(Napi::Object options, const char* name);
  Napi::Object Object(Napi::Object options, const char* name);

 private:
  int64_t ReadInteger(Napi::Value value, const char* name, int64_t min, int64_t max);
  std::string ReadText(Napi::Value value, const char* name);
  Napi::Object ReadObject(Napi::Value value, const char* name);
  Napi::Value Member(Napi::Object options, const char* name);
  void Refuse(const char* name, const std::string& expected);

  const Napi::CallbackInfo& info_;
  bool ok_ = true;
};
