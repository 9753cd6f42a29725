"""An unmodified program in a pod: makes the connections that it is told to and says what it sees of them.

argv[1] is a JSON list of calls, stdout a JSON list of results. A call has `to` [host, port] and any of: kind ("tcp", "udp",
"mptcp"), family (4, 6), bind [host, port], device, nonblocking, fastopen ("connect", "sendto"), connected (for udp), send,
also (more of [host, port] for udp; the last answer counts), again [host, port] (disconnect and connect the same socket there), hold (keep it open until the end).
"""
import errno, json, select, socket, struct, sys

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}
TCP_FASTOPEN_CONNECT = 30
held = []


def disconnect(s):
    import ctypes
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.connect(s.fileno(), struct.pack("=H14x", socket.AF_UNSPEC), 16) != 0:
        raise OSError(ctypes.get_errno(), "disconnect")


def connect(s, call, to):
    if call.get("fastopen") == "sendto":
        s.setblocking(True)
        s.sendto(call["send"].encode(), socket.MSG_FASTOPEN, to)
        return True
    if call.get("nonblocking"):
        s.setblocking(False)
        begun = s.connect_ex(to)
        if begun not in (0, errno.EINPROGRESS):
            raise OSError(begun, errno.errorcode[begun])
        select.select([], [s], [], 5)
        ended = s.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if ended:
            raise OSError(ended, errno.errorcode[ended])
        s.setblocking(True)
        return False
    s.connect(to)
    return False


def stream(s, call, result):
    sent = connect(s, call, tuple(call["to"]))
    if call.get("again"):
        disconnect(s)
        connect(s, call, tuple(call["again"]))
    if call.get("send") and not sent:
        s.sendall(call["send"].encode())
    result["sockname"] = s.getsockname()[:2]
    result["peername"] = s.getpeername()[:2]
    if call.get("hold"):
        held.append(s)
        return
    s.shutdown(socket.SHUT_WR)
    received = b""
    while chunk := s.recv(65536):
        received += chunk
    result["received"] = received.decode()


def datagram(s, call, result):
    if call.get("connected"):
        s.connect(tuple(call["to"]))
        s.send(call["send"].encode())
        result["peername"] = s.getpeername()[:2]
    else:
        for to in [call["to"], *call.get("also", [])]:
            s.sendto(call["send"].encode(), tuple(to))
    result["sockname"] = s.getsockname()[:2]
    for _ in [call["to"], *call.get("also", [])]:
        received, source = s.recvfrom(65536)
    result["received"] = received.decode()
    result["source"] = source[:2]


def run(call):
    kind = call.get("kind", "tcp")
    protocol = {"tcp": 0, "udp": 0, "mptcp": 262}[kind]
    s = socket.socket(FAMILIES[call.get("family", 4)], socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM, protocol)
    s.settimeout(call.get("timeout", 5))
    result = {}
    try:
        if call.get("device"):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, call["device"].encode())
        if call.get("bind"):
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            s.bind(tuple(call["bind"]))
        if call.get("fastopen") == "connect":
            s.setsockopt(socket.IPPROTO_TCP, TCP_FASTOPEN_CONNECT, 1)
        (datagram if kind == "udp" else stream)(s, call, result)
    except OSError as e:
        result["error"] = errno.errorcode.get(e.errno, str(e))
    if s not in held:
        s.close()
    return result


print(json.dumps([run(call) for call in json.loads(sys.argv[1])]), flush=True)
if held:
    sys.stdin.read()
