"""Words and ends: who speaks first, who ends first, and how."""
import os
import select
import signal
import socket
import time

from wire import PATIENCE, case, end_of, name_of, new_socket, put, reset, wait, word


@case("echo")
class Echo:
    def serve(s, say):
        say(word(s, 8))
        put(s, b"answer")
        say(end_of(s))

    def call(s, say):
        put(s, b"question")
        say(word(s, 6))


@case("server-speaks-first", silent=True)
class ServerSpeaksFirst:
    def serve(s, say):
        put(s, b"220 hello")
        say(word(s, 4))

    def call(s, say):
        say(word(s, 9))
        put(s, b"quit")
        say(end_of(s))


@case("data-before-accept", listen=[(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5)])
class DataBeforeAccept:
    serve, call = Echo.serve, Echo.call


def dial_fast(address, first):
    s = new_socket(address)
    words, sent = first + b"question", 0
    try:
        sent = s.sendto(words, socket.MSG_FASTOPEN, address[1])
    except BlockingIOError:
        # Without a cookie nothing is sent yet.
        pass
    wait(s, select.POLLOUT)
    put(s, words[sent:])
    return s


@case("fast-open", listen=[(socket.IPPROTO_TCP, socket.TCP_FASTOPEN, 16)], dial=dial_fast)
class FastOpen:
    serve = Echo.serve

    def call(s, say):
        say(word(s, 6))


@case("client-ends-first")
class ClientEndsFirst:
    def serve(s, say):
        say(word(s, 100))
        put(s, b"understood")

    def call(s, say):
        put(s, b"all of it")
        s.shutdown(socket.SHUT_WR)
        say(word(s, 10), end_of(s))


@case("server-ends-first")
class ServerEndsFirst:
    def serve(s, say):
        put(s, b"all of it")
        s.shutdown(socket.SHUT_WR)
        say(word(s, 100))

    def call(s, say):
        say(word(s, 100))
        put(s, b"last words")


@case("client-resets")
class ClientResets:
    def serve(s, say):
        put(s, b"x")
        say(word(s, 1), end_of(s))

    def call(s, say):
        put(s, b"y")
        say(word(s, 1))
        reset(s)


@case("server-resets")
class ServerResets:
    def serve(s, say):
        say(word(s, 1))
        put(s, b"x")
        # The reset shall not outrun it.
        say(word(s, 1))
        reset(s)

    def call(s, say):
        put(s, b"y")
        say(word(s, 1))
        put(s, b"z")
        say(end_of(s))


@case("server-dies")
class ServerDies:
    def serve(s, say):
        say(word(s, 1))
        say.done()
        os.kill(os.getpid(), signal.SIGKILL)

    def call(s, say):
        put(s, b"y")
        say(end_of(s))


@case("write-after-end")
class WriteAfterEnd:
    def serve(s, say):
        say(word(s, 1))

    def call(s, say):
        put(s, b"x")
        say(end_of(s))
        seen = []
        until = time.monotonic() + PATIENCE
        while not seen and time.monotonic() < until:
            try:
                s.send(b"y")
                time.sleep(0.001)
            except OSError as error:
                seen.append(name_of(error))
        say(*seen)
