"""Traffic that a policy is flipped under, from flips.ts: what it carries stands in a file that others can look into.

flips.py server FILE PORT               counts what it is sent
flips.py client FILE HOST PORT THREADS  sends what it can, and connects again when it can't any more

In the file, as 64-bit numbers, of a server: bytes that came, when the last one did (CLOCK_MONOTONIC, ns), connections open;
of a client: connections that carried something, connections that carried nothing.
"""
import mmap
import os
import socket
import struct
import sys
import threading
import time

BYTES, LAST, OPEN = 0, 8, 16
CARRIED, REFUSED = 0, 8

role, path = sys.argv[1:3]
descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
os.truncate(descriptor, 24)
page = mmap.mmap(descriptor, 24)
lock = threading.Lock()


def add(at, count):
    (value,) = struct.unpack_from("<Q", page, at)
    struct.pack_into("<Q", page, at, value + count)


def take(accepted):
    try:
        with accepted:
            accepted.sendall(b"k")
            while chunk := accepted.recv(65536):
                with lock:
                    add(BYTES, len(chunk))
                    struct.pack_into("<Q", page, LAST, time.monotonic_ns())
    except OSError:
        pass
    with lock:
        add(OPEN, -1)


def serve(port):
    listener = socket.socket(socket.AF_INET6)
    listener.bind(("::", port))
    listener.listen(64)
    while True:
        accepted = listener.accept()[0]
        with lock:
            add(OPEN, 1)
        threading.Thread(target=take, args=(accepted,), daemon=True).start()


def send(host, port):
    while True:
        carried = 0
        try:
            with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as opened:
                opened.settimeout(20)
                opened.connect((host, port))
                if opened.recv(1) == b"k":
                    while True:
                        opened.sendall(b"a" * 4096)
                        carried += 1
                        time.sleep(0.002)
        except OSError:
            pass
        with lock:
            add(CARRIED if carried else REFUSED, 1)
        time.sleep(0.01)


if role == "server":
    serve(int(sys.argv[3]))
else:
    for _ in range(int(sys.argv[5])):
        threading.Thread(target=send, args=(sys.argv[3], int(sys.argv[4])), daemon=True).start()
    sys.stdin.read()
