// Gives memory back that starting up took and running does not need.
#include <malloc.h>
#include <sys/mman.h>

#include <cinttypes>
#include <cstdio>
#include <cstring>

#include "exports.h"

namespace {

// Forgets pages of files that only starting needed: they come back from the page cache when they are touched. Only
// mappings of which this process has changed nothing: what was relocated is read-only too, and exists nowhere else.
void DropFilePages() {
  std::FILE* maps = std::fopen("/proc/self/smaps", "re");
  if (maps == nullptr) return;
  char line[1024];
  uintptr_t from = 0;
  uintptr_t to = 0;
  bool candidate = false;
  while (std::fgets(line, sizeof(line), maps) != nullptr) {
    uintptr_t start = 0;
    uintptr_t end = 0;
    unsigned long anonymous = 0;
    char access[5] = {};
    char path[2] = {};
    int fields = std::sscanf(line, "%" SCNxPTR "-%" SCNxPTR " %4s %*s %*s %*s %1s", &start, &end, access, path);
    if (fields >= 3) {
      from = start;
      to = end;
      candidate = fields == 4 && path[0] == '/' && std::strchr(access, 'w') == nullptr && access[3] == 'p';
    } else if (candidate && std::sscanf(line, "Anonymous: %lu kB", &anonymous) == 1 && anonymous == 0) {
      madvise(reinterpret_cast<void*>(from), to - from, MADV_DONTNEED);
    }
  }
  std::fclose(maps);
}

}  // namespace

Napi::Value ReleaseMemory(const Napi::CallbackInfo& info) {
  malloc_trim(0);
  DropFilePages();
  return info.Env().Undefined();
}

Napi::Value KeepBlocksApart(const Napi::CallbackInfo& info) {
  mallopt(M_MMAP_THRESHOLD, info[0].As<Napi::Number>().Int32Value());
  // A process may have some 65 000 mappings, and V8 needs some of them.
  mallopt(M_MMAP_MAX, 32768);
  return info.Env().Undefined();
}
