#!/bin/busybox sh
# First process of the emulated machine: what a distribution would have set up, then guest.ts, then off.
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
/bin/busybox mount -t proc proc /proc
/bin/busybox mount -t sysfs sysfs /sys
/bin/busybox mount -t devtmpfs dev /dev 2>/dev/null
/bin/busybox mount -t tmpfs run /run
/bin/busybox mount -t tmpfs tmp /tmp
/bin/busybox mkdir -p /run/netns /dev/shm
/bin/busybox mount -t tmpfs shm /dev/shm
/bin/busybox mount -t cgroup2 cgroup /sys/fs/cgroup
/bin/busybox mount -t bpf bpf /sys/fs/bpf
for module in llc stp bridge veth inet_diag tcp_diag; do /bin/busybox insmod /modules/$module.ko 2>/dev/null; done
/bin/ip link set lo up
cd /culvert
echo "GUEST $(/bin/busybox uname -r)"
/bin/node test/kernels/guest.ts
status=$?
# What the kernel said of a program that died by a signal, for one.
[ $status = 0 ] || /bin/busybox dmesg | /bin/busybox tail -n 12
echo "GUEST-EXIT $status"
/bin/busybox poweroff -f
