"""Prints those of the BPF map ids given that the kernel still knows (bpf(2), BPF_MAP_GET_FD_BY_ID)."""
import ctypes, errno, os, platform, sys

BPF_MAP_GET_FD_BY_ID = 14
SYS_BPF = {"x86_64": 321, "aarch64": 280}[platform.machine()]
libc = ctypes.CDLL(None, use_errno=True)

for map_id in sys.argv[1:]:
    attributes = (ctypes.c_uint32 * 3)(int(map_id), 0, 0)
    fd = libc.syscall(SYS_BPF, BPF_MAP_GET_FD_BY_ID, ctypes.byref(attributes), ctypes.sizeof(attributes))
    if fd >= 0:
        os.close(fd)
        print(map_id)
    elif ctypes.get_errno() != errno.ENOENT:
        sys.exit(f"bpf: {os.strerror(ctypes.get_errno())}")
