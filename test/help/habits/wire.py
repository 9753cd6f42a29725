"""Cases of applications: the registry, and what their ends need to talk over sockets that do not block."""
import errno
import hashlib
import json
import os
import select
import socket
import struct
import sys
import time

PATIENCE = float(os.environ.get("PATIENCE", "20"))
PATTERN = bytes(range(251)) * 1200
cases = {}


class Case:
    def __init__(self, kind, listen, dial, silent):
        self.serve, self.call = kind.serve, kind.call
        self.listen, self.dial, self.silent = listen, dial, silent


def case(name, listen=(), dial=None, silent=False):
    """
    A class with `serve` and `call`. `listen`: options of its listener; `dial`: how its client connects and says its first
    bytes; `silent`: nobody says what it is about.
    """
    def add(kind):
        cases[name] = Case(kind, listen, dial or connected, silent)
        return kind
    return add


def wait(s, events):
    poller = select.poll()
    poller.register(s, events)
    if not poller.poll(PATIENCE * 1000):
        raise TimeoutError("HUNG")


def get(s, length, flags=0):
    """So many bytes, or fewer and then the end."""
    parts = b""
    while len(parts) < length:
        try:
            part = s.recv(length - len(parts), flags)
        except BlockingIOError:
            wait(s, select.POLLIN)
            continue
        if not part:
            break
        parts += part
    return parts


def put(s, words):
    rest = memoryview(words)
    while rest:
        try:
            rest = rest[s.send(rest):]
        except BlockingIOError:
            wait(s, select.POLLOUT)


def word(s, length):
    return get(s, length).decode()


def name_of(error):
    return errno.errorcode.get(error.errno, str(error)) if isinstance(error, OSError) and error.errno else str(error)


def end_of(s):
    """How it ends: END, more bytes, or an error."""
    try:
        return get(s, 1).decode() or "END"
    except OSError as error:
        return name_of(error)


def digest(words):
    return [len(words), hashlib.sha256(words).hexdigest()[:12]]


def reset(s):
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    s.close()


def arrives(s, length):
    """Waits until so many bytes can be peeked."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            if len(s.recv(length, socket.MSG_PEEK)) == length:
                return
        except BlockingIOError:
            pass
        if time.monotonic() > until:
            raise TimeoutError("HUNG")
        time.sleep(0.001)


def is_readable(s):
    return bool(select.select([s], [], [], 0)[0])


def new_socket(address, protocol=0):
    s = socket.socket(address[0], socket.SOCK_STREAM, protocol)
    s.setblocking(False)
    return s


def connected(address, first=b"", protocol=0):
    s = new_socket(address, protocol)
    if s.connect_ex(address[1]) == errno.EINPROGRESS:
        wait(s, select.POLLOUT)
    if error := s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(error, os.strerror(error))
    put(s, first)
    return s


class Transcript:
    """What one end has seen; printed once."""

    def __init__(self, side, name):
        self.side, self.name, self.seen = side, name, []

    def __call__(self, *seen):
        self.seen.extend(seen)

    def nothing(self):
        """Somebody else says it."""
        self.side = None

    def done(self):
        if self.side:
            sys.stdout.write(json.dumps({"side": self.side, "case": self.name, "seen": self.seen}) + "\n")
            sys.stdout.flush()
        self.side = None


def play(side, name, act, s):
    say = Transcript(side, name)
    try:
        act(s, say)
    except OSError as error:
        say(name_of(error))
    say.done()
    s.close()
