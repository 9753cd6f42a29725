"""Ways to send: as files, without copies, by io_uring, byte by byte, urgently, with options, by other protocols' sockets."""
import ctypes
import errno
import mmap
import os
import select
import socket
import struct
import tempfile
import time

from ends import Echo
from wire import PATIENCE, PATTERN, case, connected, digest, end_of, get, name_of, put, wait, word

MSG_ZEROCOPY, SO_ZEROCOPY, TCP_ULP, IPPROTO_MPTCP = 0x4000000, 60, 31, 262


@case("sendfile")
class SendFile:
    def send(s):
        with tempfile.TemporaryFile() as file:
            file.write(PATTERN)
            file.flush()
            at = 0
            while at < len(PATTERN):
                try:
                    at += os.sendfile(s.fileno(), file.fileno(), at, len(PATTERN) - at)
                except BlockingIOError:
                    wait(s, select.POLLOUT)

    def serve(s, say):
        say(digest(get(s, len(PATTERN))))
        SendFile.send(s)
        say(end_of(s))

    def call(s, say):
        SendFile.send(s)
        say(digest(get(s, len(PATTERN))))


@case("zerocopy")
class ZeroCopy:
    def send(s):
        s.setsockopt(socket.SOL_SOCKET, SO_ZEROCOPY, 1)
        words, at, sends = bytearray(PATTERN), 0, 0
        while at < len(words):
            try:
                at += s.send(memoryview(words)[at:], MSG_ZEROCOPY)
                sends += 1
            except BlockingIOError:
                wait(s, select.POLLOUT)
        told = 0
        until = time.monotonic() + PATIENCE
        while told < sends and time.monotonic() < until:
            try:
                _, control, _, _ = s.recvmsg(1, 256, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                time.sleep(0.001)
                continue
            # struct sock_extended_err: from and to of the sends that it is about.
            low, high = struct.unpack_from("II", control[0][2], 8)
            told += high - low + 1
        return told == sends

    def serve(s, say):
        say(digest(get(s, len(PATTERN))), end_of(s))

    def call(s, say):
        say(ZeroCopy.send(s))


@case("bytes")
class Bytes:
    def serve(s, say):
        say(digest(get(s, 4_000)))
        for at in range(1_000):
            put(s, PATTERN[at:at + 1])
        say(end_of(s))

    def call(s, say):
        s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for at in range(4_000):
            put(s, PATTERN[at:at + 1])
        say(digest(get(s, 1_000)))


@case("options")
class Options:
    wanted = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 7),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 9_000),
        (socket.IPPROTO_TCP, socket.TCP_CORK, 1),
        (socket.IPPROTO_TCP, socket.TCP_CORK, 0),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    ]

    def serve(s, say):
        for option in Options.wanted:
            s.setsockopt(*option)
        Echo.serve(s, say)

    def call(s, say):
        for option in Options.wanted:
            s.setsockopt(*option)
        Echo.call(s, say)
        say([s.getsockopt(level, option) for level, option, _ in Options.wanted[:3]])


@case("mptcp", dial=lambda address, first: connected(address, first, IPPROTO_MPTCP))
class Mptcp:
    serve, call = Echo.serve, Echo.call


@case("kernel-tls")
class KernelTls:
    """A kernel without it says so, everywhere in the same way."""

    def serve(s, say):
        put(s, b"ready")
        Echo.serve(s, say)

    def call(s, say):
        say(word(s, 5))
        try:
            s.setsockopt(socket.IPPROTO_TCP, TCP_ULP, b"tls")
        except OSError as error:
            say(name_of(error))
        Echo.call(s, say)


class Ring:
    """io_uring with one request at a time."""

    SETUP, ENTER = 425, 426
    RECV, SEND = 27, 26

    def __init__(self):
        self.libc = ctypes.CDLL(None, use_errno=True)
        params = ctypes.create_string_buffer(120)
        self.fd = self.libc.syscall(self.SETUP, 4, params)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "io_uring_setup")
        head = struct.unpack_from("10I", params.raw, 40)
        tail = struct.unpack_from("10I", params.raw, 80)
        self.sq = dict(zip(("head", "tail", "mask", "entries", "flags", "dropped", "array"), head))
        self.cq = dict(zip(("head", "tail", "mask", "entries", "overflow", "cqes"), tail))
        size = 4096 * 4
        self.sq_ring = mmap.mmap(self.fd, size, offset=0)
        self.cq_ring = mmap.mmap(self.fd, size, offset=0x8000000)
        self.sqes = mmap.mmap(self.fd, 4096, offset=0x10000000)

    def submit(self, operation, fd, buffer, length):
        tail, = struct.unpack_from("I", self.sq_ring, self.sq["tail"])
        mask, = struct.unpack_from("I", self.sq_ring, self.sq["mask"])
        slot = tail & mask
        entry = struct.pack("<BBHiQQIIQ", operation, 0, 0, fd, 0, ctypes.addressof(buffer), length, 0, 1)
        self.sqes[slot * 64:slot * 64 + 64] = entry.ljust(64, b"\0")
        struct.pack_into("I", self.sq_ring, self.sq["array"] + 4 * slot, slot)
        struct.pack_into("I", self.sq_ring, self.sq["tail"], tail + 1)
        if self.libc.syscall(self.ENTER, self.fd, 1, 1, 1, None, 0) < 0:
            raise OSError(ctypes.get_errno(), "io_uring_enter")
        head, = struct.unpack_from("I", self.cq_ring, self.cq["head"])
        mask, = struct.unpack_from("I", self.cq_ring, self.cq["mask"])
        _, result = struct.unpack_from("<Qi", self.cq_ring, self.cq["cqes"] + 16 * (head & mask))
        struct.pack_into("I", self.cq_ring, self.cq["head"], head + 1)
        return result

    def get(self, s, length):
        parts = b""
        while len(parts) < length:
            buffer = ctypes.create_string_buffer(length)
            got = self.submit(self.RECV, s.fileno(), buffer, length - len(parts))
            if got == -errno.EAGAIN:
                wait(s, select.POLLIN)
            elif got <= 0:
                break
            else:
                parts += buffer.raw[:got]
        return parts

    def put(self, s, words):
        while words:
            buffer = ctypes.create_string_buffer(words, len(words))
            sent = self.submit(self.SEND, s.fileno(), buffer, len(words))
            if sent == -errno.EAGAIN:
                wait(s, select.POLLOUT)
            elif sent < 0:
                raise OSError(-sent, os.strerror(-sent))
            else:
                words = words[sent:]


@case("io-uring")
class IoUring:
    def serve(s, say):
        ring = Ring()
        say(digest(ring.get(s, 50_000)))
        ring.put(s, PATTERN[:50_000])
        say(end_of(s))

    def call(s, say):
        ring = Ring()
        ring.put(s, PATTERN[:50_000])
        say(digest(ring.get(s, 50_000)))
