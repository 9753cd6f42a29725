"""A small DNS server over UDP and TCP: every A query below `.example.` has the answer 192.0.2.7, all else does not exist.

Says on stdout what was asked, by which way and from where: `udp 10.244.1.2 www.example. 1`.
"""
import socket
import struct
import sys
import threading


def answer(query, way, source):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += 1 + query[at]
    question = query[12 : at + 5]
    (kind,) = struct.unpack(">H", question[-4:-2])
    name = ".".join(labels).lower() + "."
    print(way, source, name, kind, flush=True)
    known = name.endswith(".example.")
    records = b""
    if known and kind == 1:
        records = b"\xc0\x0c" + struct.pack(">HHIH", 1, 1, 60, 4) + bytes([192, 0, 2, 7])
    flags = 0x8580 if known else 0x8583
    return query[:2] + struct.pack(">HHHHH", flags, 1, 1 if records else 0, 0, 0) + question + records


def exactly(stream, count):
    data = b""
    while len(data) < count:
        chunk = stream.recv(count - len(data))
        if not chunk:
            return None
        data += chunk
    return data


def over_tcp(stream, source):
    while header := exactly(stream, 2):
        reply = answer(exactly(stream, struct.unpack(">H", header)[0]), "tcp", source)
        stream.sendall(struct.pack(">H", len(reply)) + reply)
    stream.close()


def listen_tcp(server):
    while True:
        stream, source = server.accept()
        threading.Thread(target=over_tcp, args=(stream, source[0]), daemon=True).start()


address = sys.argv[1]
udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
udp.bind((address, 53))
tcp = socket.create_server((address, 53))
threading.Thread(target=listen_tcp, args=(tcp,), daemon=True).start()
print("listening", flush=True)
while True:
    packet, client = udp.recvfrom(4096)
    udp.sendto(answer(packet, "udp", client[0]), client)
