// Collects what libbpf says while one call runs; without it libbpf would write to standard error.
#pragma once

#include <string>

// Silences libbpf for the process; called once when the addon loads.
void SilenceLibbpf();

// While it lives, warnings and verifier logs of libbpf calls on this thread go into `text`.
class LibbpfLog {
 public:
  LibbpfLog();
  ~LibbpfLog();
  LibbpfLog(const LibbpfLog&) = delete;
  LibbpfLog& operator=(const LibbpfLog&) = delete;

  // Returns the rest of the line after `before`, up to `after`; empty where the log has no such line.
  std::string Between(const std::string& before, const std::string& after) const;

  std::string text;
};
