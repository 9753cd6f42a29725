"""Steady traffic of an application, to find out whether anybody notices what happens to the mesh meanwhile.

  steady.py HOST PORT [--every MS] [--streams N] [--life SECONDS] [--each]

Opens a connection to an echo server every MS milliseconds, each with its own words, and keeps N streams going, of which
every byte depends on its place and comes back. Ends with its standard input and prints one JSON object: how many
connections and streams there were, and how many failed, by the errno that the kernel gave; HUNG is what did not come to an
end in time, and WRONG what came back otherwise than it was sent. With --each every connection is told of: when it was begun, how
many milliseconds it took, and why it failed or null.
"""
import argparse
import collections
import errno
import json
import os
import socket
import sys
import threading
import time

PATIENCE = 15
BLOCK = 4096
lock = threading.Lock()
results = {"asked": 0, "failed": collections.Counter(), "streams": 0, "lost": collections.Counter(), "bytes": 0}
slowest = 0.0
over = threading.Event()
examples = []
each = []


def reason(error):
    if isinstance(error, TimeoutError):
        return "HUNG"
    if isinstance(error, OSError):
        return errno.errorcode.get(error.errno, str(error))
    return str(error)


def note(kind, error, begun):
    with lock:
        results[kind][reason(error)] += 1
        if len(examples) < 20:
            examples.append({"kind": kind, "why": reason(error), "begun": begun, "ended": time.time()})


def received(opened, length):
    parts = b""
    while len(parts) < length:
        part = opened.recv(length - len(parts))
        if not part:
            raise ValueError("ENDED")
        parts += part
    return parts


def ask(host, port):
    global slowest
    begun = time.time()
    why = None
    try:
        with socket.create_connection((host, port), timeout=PATIENCE) as opened:
            words = os.urandom(16)
            opened.sendall(words)
            if received(opened, len(words)) != words:
                raise ValueError("WRONG")
            opened.shutdown(socket.SHUT_WR)
            if opened.recv(1) != b"":
                raise ValueError("WRONG")
    except (OSError, ValueError) as error:
        note("failed", error, begun)
        why = reason(error)
    with lock:
        took = time.time() - begun
        results["asked"] += 1
        slowest = max(slowest, took)
        each.append((begun, round(took * 1000, 3), why))


def stream(host, port, life, seed):
    begun = time.time()
    until = begun + life
    sent = 0
    try:
        with socket.create_connection((host, port), timeout=PATIENCE) as opened:
            while time.time() < until and not over.is_set():
                block = bytes((seed + sent + at * 7) & 0xFF for at in range(BLOCK))
                opened.sendall(block)
                if received(opened, BLOCK) != block:
                    raise ValueError("WRONG")
                sent += BLOCK
                time.sleep(0.02)
            opened.shutdown(socket.SHUT_WR)
            if opened.recv(1) != b"":
                raise ValueError("WRONG")
    except (OSError, ValueError) as error:
        note("lost", error, begun)
    with lock:
        results["streams"] += 1
        results["bytes"] += sent


def streams(host, port, life, seed):
    while not over.is_set():
        stream(host, port, life, seed)
        # Where nobody listens this must not keep a CPU busy.
        time.sleep(0.05)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("host")
    parser.add_argument("port", type=int)
    parser.add_argument("--every", type=float, default=50)
    parser.add_argument("--streams", type=int, default=0)
    parser.add_argument("--life", type=float, default=5)
    parser.add_argument("--each", action="store_true")
    options = parser.parse_args()
    running = []

    def begin(work, *arguments):
        thread = threading.Thread(target=work, args=arguments)
        thread.start()
        running.append(thread)

    for number in range(options.streams):
        begin(streams, options.host, options.port, options.life, number * 31)
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    print("begun", flush=True)
    next_at = time.monotonic()
    while not over.is_set():
        begin(ask, options.host, options.port)
        running = [thread for thread in running if thread.is_alive()]
        next_at = max(next_at + options.every / 1000, time.monotonic() - 1)
        time.sleep(max(0, next_at - time.monotonic()))
    for thread in running:
        thread.join()
    told = {**results, "slowestMs": round(slowest * 1000), "examples": examples}
    print(json.dumps({**told, "each": sorted(each)} if options.each else told), flush=True)


main()
