#include "bpf_kind.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string_view>

namespace {

struct KindName {
  std::string_view file;  // what /proc/self/fd shows; kernels spell it with - or _
  const char* word;
};

KindName NameOf(BpfKind kind) {
  switch (kind) {
    case BpfKind::kMap:
      return {"anon-inode:bpf-map", "map"};
    case BpfKind::kProgram:
      return {"anon-inode:bpf-prog", "program"};
    case BpfKind::kLink:
      return {"anon-inode:bpf-link", "link"};
  }
  return {"", ""};
}

}  // namespace

std::optional<Failure> CheckBpfKind(int fd, BpfKind kind, const char* attempt) {
  KindName expected = NameOf(kind);
  char found[64];
  ssize_t length = readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), found, sizeof(found));
  // No such descriptor shows as ENOENT of the path; to the caller it is a closed one.
  if (length < 0) return Failure{errno == ENOENT ? EBADF : errno, attempt, "", ""};
  std::replace(found, found + length, '_', '-');
  if (std::string_view(found, static_cast<size_t>(length)) == expected.file) return std::nullopt;
  return Failure{EINVAL, attempt, "descriptor " + std::to_string(fd) + " is no BPF " + expected.word, ""};
}
