"""What applications do with their sockets, one case after the other, and what both ends see of it.

  habits serve PORT              listens on one port for each case, from PORT on
  habits call HOST PORT CASE...  plays these cases, or all, each on its own port
  habits warm HOST PORT          plays the first case, which is nothing special, on all ports

The client's first two bytes say the number of the case. Sockets do not block, as those of event loops. Each end prints one
JSON line for a case: what it was, and what was seen, which is the same on every path that carries TCP rightly. Each
connection is served by a child process.
"""
import os
import select
import signal
import socket
import sys

import ends  # noqa: F401
import reads  # noqa: F401
import sends  # noqa: F401
from wire import Transcript, cases, get, name_of, play

names = list(cases)


def serve(port):
    poller, listeners = select.poll(), {}
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for at, name in enumerate(names):
        listener = socket.socket(socket.AF_INET6)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for option in cases[name].listen:
            listener.setsockopt(*option)
        listener.bind(("::", port + at))
        listener.listen(64)
        poller.register(listener, select.POLLIN)
        listeners[listener.fileno()] = (listener, name)
    print("listening", flush=True)
    while True:
        for fd, _ in poller.poll():
            listener, name = listeners[fd]
            s = listener.accept()[0]
            s.setblocking(False)
            if os.fork() == 0:
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                if not cases[name].silent:
                    name = names[int(get(s, 2) or b"0")]
                play("server", name, cases[name].serve, s)
                os._exit(0)
            s.close()


def call(host, port, name, at):
    family, _, _, _, address = socket.getaddrinfo(host, port + at, type=socket.SOCK_STREAM)[0]
    first = b"" if cases[names[at]].silent else b"%2d" % names.index(name)
    try:
        s = cases[name].dial((family, address), first)
    except OSError as error:
        say = Transcript("client", name)
        say(name_of(error))
        say.done()
        return
    play("client", name, cases[name].call, s)


def main(what, *words):
    if what == "serve":
        serve(int(words[0]))
        return
    host, port = words[0], int(words[1])
    for at, name in enumerate(names):
        if what == "warm":
            call(host, port, name if cases[name].silent else names[0], at)
        elif not words[2:] or name in words[2:]:
            call(host, port, name, at)


main(*sys.argv[1:])
