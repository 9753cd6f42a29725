"""Socket calls on behalf of a test, in a pod: one JSON object per line over a UNIX socket, each in its own thread.

Started by remote-sockets.ts with the path of that socket. The answer to a call has its `id` and either `value` or, as
`error`, the name of the errno that the kernel gave.
"""
import errno
import hashlib
import itertools
import json
import random
import selectors
import socket
import struct
import sys
import threading

BLOCK = 1 << 20
numbers = itertools.count(1)
sockets = {}
poured = {}


def keep(opened, **facts):
    number = next(numbers)
    sockets[number] = opened
    return {"socket": number, "local": opened.getsockname()[:2], **facts}


def made(host, kind=socket.SOCK_STREAM):
    return socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)


def peer_of(opened):
    """None where it has been reset already."""
    try:
        return opened.getpeername()[:2]
    except OSError:
        return None


def listen(host, port, backlog=128):
    server = made(host)
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if server.family == socket.AF_INET6:
        server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
    server.bind((host, port))
    server.listen(backlog)
    return keep(server)


def accept(socket):
    client, address = sockets[socket].accept()
    return keep(client, accepted=address[:2], peer=peer_of(client))


def connect(host, port, nonblocking=False, bind=None):
    client = made(host)
    if bind is not None:
        client.bind((bind[0], bind[1]))
    if nonblocking:
        client.setblocking(False)
        begun = client.connect_ex((host, port))
        if begun != errno.EINPROGRESS:
            raise OSError(begun or errno.EISCONN, "connect() did not say that it is under way")
        with selectors.DefaultSelector() as ready:
            ready.register(client, selectors.EVENT_WRITE)
            ready.select()
        failed = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failed:
            raise OSError(failed, "SO_ERROR")
        client.setblocking(True)
    else:
        client.connect((host, port))
    return keep(client, peer=peer_of(client))


def send(socket, text):
    sockets[socket].sendall(text.encode())


def receive(socket, count):
    """As many bytes as asked for, or fewer where the end comes first."""
    got = b""
    while len(got) < count:
        chunk = sockets[socket].recv(count - len(got))
        if not chunk:
            break
        got += chunk
    return got.decode()


def shutdown(socket):
    sockets[socket].shutdown(1)


def close(socket):
    sockets.pop(socket).close()


def reset(socket):
    closing = sockets.pop(socket)
    closing.setsockopt(1, 13, struct.pack("ii", 1, 0))  # SOL_SOCKET, SO_LINGER
    closing.close()


def pour(socket, megabytes, seed):
    """Sends as much, never the same block twice, and shuts down. Returns the digest."""
    block = random.Random(seed).randbytes(BLOCK - 8)
    digest = hashlib.sha256()
    for number in range(megabytes):
        data = struct.pack(">Q", number) + block
        digest.update(data)
        view = memoryview(data)
        while view:
            # A blocking socket takes all of a piece or waits, and what it has taken of it is not told meanwhile.
            count = sockets[socket].send(view[:65536])
            poured[socket] = poured.get(socket, 0) + count
            view = view[count:]
    sockets[socket].shutdown(1)
    return {"bytes": megabytes * BLOCK, "digest": digest.hexdigest()}


def progress(socket):
    return poured.get(socket, 0)


def drink(socket):
    """Receives until the end."""
    digest, count = hashlib.sha256(), 0
    while chunk := sockets[socket].recv(BLOCK):
        digest.update(chunk)
        count += len(chunk)
    return {"bytes": count, "digest": digest.hexdigest()}


def serve(host, port):
    """Echoes to everybody, for as long as this program runs."""
    server = sockets[listen(host, port, 4096)["socket"]]
    server.setblocking(False)

    def loop():
        ready = selectors.DefaultSelector()
        ready.register(server, selectors.EVENT_READ)
        while True:
            for key, _ in ready.select():
                try:
                    if key.fileobj is server:
                        ready.register(server.accept()[0], selectors.EVENT_READ)
                        continue
                    data = key.fileobj.recv(65536)
                    if data:
                        key.fileobj.sendall(data)
                        continue
                except OSError:
                    pass
                if key.fileobj is not server:
                    ready.unregister(key.fileobj)
                    key.fileobj.close()

    threading.Thread(target=loop, daemon=True).start()


def crowd(host, port, count):
    """Opens connections, all at once, and keeps them until each was answered with its own number. Returns the failures."""
    ready, failures, waiting, opened = selectors.DefaultSelector(), {}, set(), []
    for number in range(count):
        client = made(host)
        client.setblocking(False)
        client.connect_ex((host, port))
        ready.register(client, selectors.EVENT_WRITE, number)
        opened.append(client)
        waiting.add(number)
    while waiting:
        events = ready.select(15)
        if not events:
            failures["silence"] = len(waiting)
            break
        for key, _ in events:
            text = b"%06d" % key.data
            try:
                if key.events == selectors.EVENT_WRITE:
                    failed = key.fileobj.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                    if failed:
                        raise OSError(failed, "connect")
                    key.fileobj.sendall(text)
                    ready.modify(key.fileobj, selectors.EVENT_READ, key.data)
                    continue
                got = key.fileobj.recv(64)
                problem = None if got == text else "wrong answer" if got else "end"
            except OSError as error:
                problem = errno.errorcode[error.errno]
            if problem:
                failures[problem] = failures.get(problem, 0) + 1
            ready.unregister(key.fileobj)
            waiting.discard(key.data)
    for client in opened:
        client.close()
    return failures


def udp_serve(host, port):
    """Echoes datagrams with the address that they came from."""
    server = made(host, socket.SOCK_DGRAM)
    server.bind((host, port))

    def loop():
        while True:
            data, source = server.recvfrom(65536)
            server.sendto(data + b" from %s" % source[0].encode(), source)

    threading.Thread(target=loop, daemon=True).start()


def udp_ask(host, port, text):
    client = made(host, socket.SOCK_DGRAM)
    client.settimeout(5)
    client.sendto(text.encode(), (host, port))
    answer, source = client.recvfrom(65536)
    return {"text": answer.decode(), "source": source[:2]}


def obey(line):
    call = json.loads(line)
    try:
        answer = {"value": calls[call["call"]](**call["with"])}
    except OSError as error:
        answer = {"error": errno.errorcode.get(error.errno, type(error).__name__), "message": str(error)}
    with writing:
        control.sendall(json.dumps({"id": call["id"], **answer}).encode() + b"\n")


calls = {
    function.__name__: function
    for function in (listen, accept, connect, send, receive, shutdown, close, reset, pour, progress, drink, serve, crowd)
    + (udp_serve, udp_ask)
}
writing = threading.Lock()
control = socket.socket(socket.AF_UNIX)
control.connect(sys.argv[1])
for command in control.makefile():
    threading.Thread(target=obey, args=(command,), daemon=True).start()
