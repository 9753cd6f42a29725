/** What the lab reads: captures and metrics. Both are judges in other tests, so they are judged here. */
import t from 'tap';
import { parseMetrics } from '../lab/agent-process.ts';
import { cgroup2Mount } from '../lab/cgroup.ts';
import { flowsOf, type Packet, parsePcap, tlsRecords } from '../lab/pcap.ts';

t.test('packets of one direction are put in order, repeats left out', async t => {
  const payload = (sequence: number, text: string): Packet =>
    packet({ sequence: (sequence + 0xffff_fffe) >>> 0, payload: text });
  // The sequence numbers wrap around after two bytes.
  const [flow] = flowsOf([
    packet({ sequence: 0xffff_fffe, syn: true }),
    payload(5, 'fgh'),
    payload(0, 'abc'),
    payload(2, 'cdef'),
    payload(0, 'abc'),
  ]);
  t.match(flow, { packets: 5, payload: Buffer.from('abcdefgh'), complete: true });
});

t.test('a port that is used again is another connection', async t => {
  const flows = flowsOf([
    packet({ sequence: 10, syn: true }),
    packet({ sequence: 10, syn: true }),
    packet({ sequence: 10, payload: 'one' }),
    packet({ sequence: 70, syn: true }),
    packet({ sequence: 70, payload: 'two' }),
  ]);
  t.same(flows.map(flow => flow.payload.toString()).sort(), ['one', 'two'], 'a repeated SYN is not');
  t.match(
    flowsOf([packet({ sequence: 1, payload: 'x' })]),
    [{ complete: false }],
    'one whose begin was not seen says so',
  );
});

t.test('a capture file is read whatever its link type', async t => {
  const tcp = Buffer.from('1f90005000000064000000005010000000000000', 'hex');
  const body = Buffer.from('hello');
  const v4 = Buffer.from('450000000000000040060000010203040a000001', 'hex');
  v4.writeUInt16BE(v4.length + tcp.length + body.length, 2);
  const v6 = Buffer.concat([
    Buffer.from('6000000000000640', 'hex'),
    Buffer.from('fd'.padEnd(31, '0') + '1', 'hex'),
    Buffer.alloc(16),
  ]);
  v6.writeUInt16BE(tcp.length + body.length, 4);
  const ethernet = (type: string): Buffer => Buffer.from(`${'00'.repeat(12)}${type}`, 'hex');
  const padding = Buffer.alloc(6);
  const frames = [
    Buffer.concat([ethernet('0800'), v4, tcp, body, padding]),
    Buffer.concat([ethernet('86dd'), v6, tcp, body]),
    Buffer.concat([ethernet('0806'), body]),
  ];
  const [first, second, third] = parsePcap(pcap(1, frames));
  const ends = { protocol: 'tcp', sourcePort: 8080, destinationPort: 80, sequence: 100, payload: body };
  t.match(
    first,
    { source: '1.2.3.4', destination: '10.0.0.1', length: frames[0]?.length, ...ends },
    'padding is no payload',
  );
  t.match(second, { source: 'fd00::1', destination: '::', ...ends });
  t.match(third, { protocol: 'other', source: '' });
  const cooked = Buffer.concat([Buffer.from('0800', 'hex'), Buffer.alloc(18), v4, tcp, body]);
  t.match(parsePcap(pcap(276, [cooked])), [{ source: '1.2.3.4', ...ends }]);
  const cut = pcap(1, frames).subarray(0, -3);
  t.equal(parsePcap(cut).length, 2, 'a record that was cut is left out');
  t.throws(() => parsePcap(Buffer.alloc(24)), /not a little-endian pcap file/);
});

t.test('TLS is told from what is not', async t => {
  const record = (type: number, size: number): Buffer =>
    Buffer.concat([Buffer.from([type, 3, 3, size >> 8, size & 255]), Buffer.alloc(size, 'e')]);
  t.same(tlsRecords(Buffer.concat([record(22, 300), record(23, 16_640)])), {
    records: 2,
    tlsBytes: 16_950,
    otherBytes: 0,
  });
  t.same(tlsRecords(Buffer.concat([record(22, 5), Buffer.from('GET / HTTP/1.1')])), {
    records: 1,
    tlsBytes: 10,
    otherBytes: 14,
  });
  t.same(tlsRecords(Buffer.from('PRI * HTTP/2.0')).tlsBytes, 0);
  t.equal(
    tlsRecords(record(23, 100).subarray(0, 50)).otherBytes,
    0,
    'a record that goes on after the capture',
  );
});

t.test('metrics are read with their labels', async t => {
  const text = '# HELP a b\na{x="1",y="q\\"u\\\\o\\nte"} 3\na{x="2"} 4.5\nb 1e3\n\nnot a sample\n';
  t.same(parseMetrics(text), [
    { name: 'a', labels: { x: '1', y: 'q"u\\o\nte' }, value: 3 },
    { name: 'a', labels: { x: '2' }, value: 4.5 },
    { name: 'b', labels: {}, value: 1000 },
  ]);
});

t.test('cgroup v2 is found in both layouts', async t => {
  const pure =
    '24 22 0:5 / /sys rw - sysfs sys rw\n25 24 0:6 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw\n';
  const hybrid =
    '25 24 0:6 / /sys/fs/cgroup ro - tmpfs tmpfs ro\n26 25 0:7 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n' +
    '27 25 0:8 / /sys/fs/cgroup/unified rw shared:9 master:2 - cgroup2 cgroup2 rw\n';
  t.equal(cgroup2Mount(pure), '/sys/fs/cgroup');
  t.equal(cgroup2Mount(hybrid), '/sys/fs/cgroup/unified');
  t.throws(() => cgroup2Mount('24 22 0:5 / /sys rw - sysfs sys rw\n'), {
    code: 'LAB_NO_CGROUP2',
    fix: /mount -t cgroup2/,
  });
});

function packet(parts: { sequence: number; syn?: boolean; payload?: string }): Packet {
  const payload = Buffer.from(parts.payload ?? '');
  const ends = { source: '10.0.0.1', destination: '10.0.0.2', sourcePort: 1, destinationPort: 2 };
  return {
    ...ends,
    protocol: 'tcp',
    sequence: parts.sequence,
    syn: parts.syn ?? false,
    length: payload.length,
    payload,
  };
}

function pcap(linkType: number, frames: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt32LE(linkType, 20);
  const records = frames.map(frame => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return Buffer.concat([record, frame]);
  });
  return Buffer.concat([header, ...records]);
}
