"""Holds one thread of another process still, as a hang would, until its own standard input ends. Says `frozen`."""
import ctypes
import os
import sys

SEIZE, INTERRUPT, DETACH, WALL = 0x4206, 0x4207, 17, 0x40000000
libc = ctypes.CDLL(None, use_errno=True)


def ptrace(request, thread):
    if libc.ptrace(ctypes.c_long(request), ctypes.c_long(thread), None, None) != 0:
        raise OSError(ctypes.get_errno(), "ptrace")


target = int(sys.argv[1])
ptrace(SEIZE, target)
ptrace(INTERRUPT, target)
os.waitpid(target, WALL)
print("frozen", flush=True)
sys.stdin.read()
ptrace(DETACH, target)
