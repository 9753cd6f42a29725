"""An unmodified server in a pod: answers each connection with what it sees of its client, by accept() and by getpeername().

argv: host, port, family (4, 6, or 46 for dual-stack), protocol number of the socket (0, or 262 for MPTCP).
"""
import json, socket, sys

host, port, family, protocol = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
s = socket.socket(socket.AF_INET if family == "4" else socket.AF_INET6, socket.SOCK_STREAM, protocol)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
if family != "4":
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if family == "46" else 1)
s.bind((host, port))
s.listen(64)
print("ready", flush=True)
while True:
    c, accepted = s.accept()
    try:
        seen = {"accept": accepted[:2], "getpeername": c.getpeername()[:2], "getsockname": c.getsockname()[:2]}
        c.sendall(json.dumps(seen).encode())
    except OSError:
        pass
    c.close()
