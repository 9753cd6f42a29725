#include "libbpf_log.h"

#include <bpf/libbpf.h>

#include <cstdarg>
#include <cstdio>
#include <mutex>

namespace {

thread_local LibbpfLog* current = nullptr;

int Print(libbpf_print_level level, const char* format, va_list arguments) {
  if (current == nullptr || level == LIBBPF_DEBUG) return 0;
  va_list measured;
  va_copy(measured, arguments);
  int length = std::vsnprintf(nullptr, 0, format, measured);
  va_end(measured);
  if (length <= 0) return 0;

  std::string& text = current->text;
  size_t before = text.size();
  text.resize(before + static_cast<size_t>(length) + 1);
  std::vsnprintf(text.data() + before, static_cast<size_t>(length) + 1, format, arguments);
  text.pop_back();
  return length;
}

}  // namespace

void SilenceLibbpf() {
  static std::once_flag once;
  std::call_once(once, [] { libbpf_set_print(Print); });
}

LibbpfLog::LibbpfLog() { current = this; }

LibbpfLog::~LibbpfLog() { current = nullptr; }

std::string LibbpfLog::Between(const std::string& before, const std::string& after) const {
  for (size_t at = text.find(before); at != std::string::npos; at = text.find(before, at + 1)) {
    size_t start = at + before.size();
    size_t end = text.find(after, start);
    if (end != std::string::npos && end < text.find('\n', start)) return text.substr(start, end - start);
  }
  return "";
}
