#!/bin/sh
# Builds the addon with AddressSanitizer and runs its tests on that build; fails on any report about it.
#   asan.sh [TEST…]    names of files in test/native, default: all
#
# Node itself is not instrumented, so the sanitizer's library is preloaded. Leaks are looked for when a process ends, but
# only those of memory that we or libbpf asked for count: Node leaves much behind on purpose when it exits.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
node=$(ls -d "$root"/node_modules/node-linux-*/bin/node | head -n 1)
pinned=$(dirname "$(dirname "$node")")
addon=$here/build/Release/culvert-asan.node
reports=$(mktemp -d)
chmod 777 "$reports" # one test gives up its privileges
trap 'rm -rf "$reports"' EXIT

PATH=$pinned/bin:$PATH
gyp="$root/node_modules/.bin/node-gyp --directory $here --nodedir=$pinned --loglevel=warn"
if ! { $gyp configure -- -Dwith_asan=1 && $gyp build --jobs max; } >"$reports/build" 2>&1; then
  tail -n 40 "$reports/build" >&2
  exit 1
fi

# The quarantine is small because test/native/leak.ts measures memory.
export ASAN_OPTIONS="detect_leaks=1:exitcode=0:log_path=$reports/asan:quarantine_size_mb=4:thread_local_quarantine_size_kb=16"
export LSAN_OPTIONS="print_suppressions=0:exitcode=0"
export CULVERT_ADDON="$addon"
preload=$(${CXX:-g++} -print-file-name=libasan.so)

status=0
for name in ${*:-$(cd "$root/test/native" && grep -l "from 'tap'" *.ts | sed 's/\.ts$//' | grep -vx asan)}; do
  if LD_PRELOAD=$preload "$node" "$root/test/native/$name.ts" >"$reports/output" 2>&1; then
    echo "ok      $name"
  else
    echo "FAILED  $name"
    grep -v '^ *ok ' "$reports/output" | tail -n 60
    status=1
  fi
done

# A report of another kind is a failure whatever is on its stack. Of leaks each paragraph is one: it is ours where the
# first caller of the allocator, past the sanitizer and the C++ library, is our code or libbpf.
for report in "$reports"/asan.*; do
  [ -e "$report" ] || continue
  found=$(awk -v RS= -v FS='\n' -v ORS='\n\n' '
    /ERROR: AddressSanitizer/ { other = 1 }
    /(Direct|Indirect) leak/ {
      for (i = 2; i <= NF && $i ~ /libsanitizer|libasan|libstdc\+\+|\/include\/c\+\+\//; i++);
      if ($i ~ /culvert-asan\.node|\.\.\/src\/|node-addon-api|libbpf/) { print; next }
    }
    other' "$report")
  [ -z "$found" ] || { echo "$found"; status=1; }
done
[ $status = 0 ] && echo "no report of AddressSanitizer"
exit $status
