#!/bin/sh
# Installs the Debian or Ubuntu packages that one group of make targets needs, if any is missing.
#   packages.sh node     what the pinned Node itself needs
#   packages.sh build    compile the addon and the BPF programs
#   packages.sh lab      programs that run in the pods of the demo, the tests and the benchmarks
#   packages.sh kernels  an emulator, to try other kernels
#   packages.sh kube     what a Kubernetes cluster stands on; Kubernetes itself is built, which takes Go 1.25 or newer
set -eu
case ${1:-} in
  node) wanted="libatomic1" ;;
  build) wanted="g++ make python3 clang llvm libbpf-dev libelf-dev zlib1g-dev linux-libc-dev" ;;
  lab) wanted="iproute2 tcpdump curl nginx-light redis-server redis-tools wrk openssl exim4-daemon-light python3" ;;
  kernels) wanted="qemu-system-x86 busybox-static cpio kmod xz-utils" ;;
  kube) wanted="gcc libc6-dev iproute2 tcpdump openssl etcd-server containerd runc containernetworking-plugins busybox-static iptables nftables" ;;
  *) echo "usage: packages.sh node|build|lab|kernels|kube" >&2; exit 64 ;;
esac
missing=
for package in $wanted; do
  dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing="$missing $package"
done
[ -n "$missing" ] || exit 0
if ! command -v apt-get >/dev/null 2>&1; then
  echo "missing packages:$missing; this machine has no apt-get: install what corresponds to them" >&2
  exit 69
fi
if [ "$(id -u)" != 0 ]; then
  echo "missing packages:$missing; run as root, or: sudo apt-get install$missing" >&2
  exit 77
fi
echo "installing packages:$missing"
# Servers among them are for our own pods: none may start on this machine.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' >$policy
  chmod +x $policy
  trap 'rm -f $policy' EXIT
fi
log=$(mktemp)
export DEBIAN_FRONTEND=noninteractive
if ! { apt-get install -y --no-install-recommends $missing || { apt-get update && apt-get install -y --no-install-recommends $missing; }; } >"$log" 2>&1; then
  tail -n 20 "$log" >&2
  echo "could not install:$missing (the whole output is in $log)" >&2
  exit 69
fi
rm -f "$log"
