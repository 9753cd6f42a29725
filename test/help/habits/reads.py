"""Ways to read: with a look ahead, by splice, at a mark, with others' help."""
import fcntl
import os
import select
import socket
import struct
import termios
import time

from wire import PATIENCE, PATTERN, arrives, case, end_of, get, is_readable, name_of, put, wait, word

SO_PEEK_OFF, SIOCATMARK = 42, 0x8905


@case("urgent")
class Urgent:
    def serve(s, say):
        put(s, b"ready")
        say(word(s, 3))
        put(s, b"k")
        wait(s, select.POLLPRI)
        say(s.recv(1, socket.MSG_OOB).decode())
        mark = fcntl.ioctl(s, SIOCATMARK, b"\0\0\0\0")
        say("at mark" if any(mark) else "before mark")
        put(s, b"k")
        say(word(s, 3), end_of(s))

    def call(s, say):
        say(word(s, 5))
        put(s, b"abc")
        say(word(s, 1))
        s.send(b"!", socket.MSG_OOB)
        say(word(s, 1))
        put(s, b"def")


@case("urgent-inline")
class UrgentInline:
    def serve(s, say):
        s.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
        put(s, b"ready")
        say(word(s, 7), end_of(s))

    def call(s, say):
        say(word(s, 5))
        put(s, b"abc")
        s.send(b"!", socket.MSG_OOB)
        put(s, b"def")


def fileno(end):
    return end if isinstance(end, int) else end.fileno()


def splice_all(source, target, length, socket_end):
    moved = 0
    while moved < length:
        try:
            part = os.splice(fileno(source), fileno(target), length - moved, flags=2)
        except BlockingIOError:
            wait(socket_end, select.POLLIN if socket_end is source else select.POLLOUT)
            continue
        if part == 0:
            break
        moved += part
    return moved


@case("splice")
class Splice:
    def serve(s, say):
        out, into = os.pipe()
        moved = 0
        while moved < 60_000:
            part = splice_all(s, into, 4_000, s)
            splice_all(out, s, part, s)
            moved += part
        say(moved, end_of(s))

    def call(s, say):
        for at in range(0, 60_000, 4_000):
            put(s, PATTERN[at:at + 4_000])
            say(get(s, 4_000) == PATTERN[at:at + 4_000])


@case("splice-later")
class SpliceLater:
    """What is spliced has come before anybody knew."""

    def serve(s, say):
        say(word(s, 8))
        put(s, b"answer")
        arrives(s, 4_000)
        out, into = os.pipe()
        say(splice_all(s, into, 4_000, s), os.read(out, 4_000) == PATTERN[:4_000])
        put(s, b"k")
        say(end_of(s))

    def call(s, say):
        put(s, b"question")
        say(word(s, 6))
        put(s, PATTERN[:4_000])
        say(word(s, 1))


@case("fionread")
class Fionread:
    def waiting(s, length):
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            count, = struct.unpack("i", fcntl.ioctl(s, termios.FIONREAD, b"\0\0\0\0"))
            if count >= length:
                return count
            time.sleep(0.001)
        return "HUNG"

    def serve(s, say):
        for _ in range(3):
            say(Fionread.waiting(s, 8), word(s, 8))
            put(s, b"answer")
        say(end_of(s))

    def call(s, say):
        for _ in range(3):
            put(s, b"question")
            say(Fionread.waiting(s, 6), word(s, 6))


@case("epoll")
class Epoll:
    """Level, then edge."""

    def serve(s, say):
        for flags in (0, select.EPOLLET):
            poller = select.epoll()
            poller.register(s, select.EPOLLIN | flags)
            put(s, b"ready")
            arrives(s, 10)
            say(len(poller.poll(PATIENCE)), word(s, 3), len(poller.poll(0)))
            put(s, b"more")
            arrives(s, 17)
            say(len(poller.poll(PATIENCE)), word(s, 17), len(poller.poll(0)))
            poller.close()
        say(end_of(s))

    def call(s, say):
        for _ in range(2):
            say(word(s, 5))
            put(s, b"0123456789")
            say(word(s, 4))
            put(s, b"abcdefghij")


@case("low-water")
class LowWater:
    def serve(s, say):
        for _ in range(2):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 10)
            put(s, b"ready")
            arrives(s, 5)
            say(is_readable(s))
            put(s, b"more")
            arrives(s, 10)
            wait(s, select.POLLIN)
            say(word(s, 10))
        say(end_of(s))

    def call(s, say):
        for _ in range(2):
            say(word(s, 5))
            put(s, b"01234")
            say(word(s, 4))
            put(s, b"56789")


@case("peek")
class Peek:
    def serve(s, say):
        arrives(s, 8)
        for length in (3, 8):
            say(s.recv(length, socket.MSG_PEEK).decode())
        say(word(s, 2), s.recv(2, socket.MSG_PEEK).decode(), word(s, 6))
        put(s, b"k")
        say(end_of(s))

    def call(s, say):
        put(s, b"question")
        say(word(s, 1))


@case("peek-offset")
class PeekOffset:
    def serve(s, say):
        try:
            s.setsockopt(socket.SOL_SOCKET, SO_PEEK_OFF, 0)
        except OSError as error:
            say(name_of(error))
        put(s, b"ready")
        for part in ("que", "sti", "on"):
            heard = ""
            while len(heard) < len(part):
                wait(s, select.POLLIN)
                try:
                    heard += s.recv(len(part) - len(heard), socket.MSG_PEEK).decode()
                except BlockingIOError:
                    time.sleep(0.001)
            say(heard)
        say(word(s, 8))
        put(s, b"k")
        say(end_of(s))

    def call(s, say):
        say(word(s, 5))
        put(s, b"question")
        say(word(s, 1))


@case("passed-on")
class PassedOn:
    """The socket is another process's from the beginning of the second word on."""

    def serve(s, say):
        say(word(s, 8))
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        if os.fork() == 0:
            s.close()
            ours.close()
            _, control, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(4))
            s = socket.socket(fileno=struct.unpack("i", control[0][2])[0])
            put(s, b"answer")
            say(word(s, 8))
            put(s, b"answer")
            say(end_of(s))
            return
        ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", s.fileno()))])
        say.nothing()

    def call(s, say):
        put(s, b"question")
        say(word(s, 6))
        put(s, b"question")
        say(word(s, 6))
