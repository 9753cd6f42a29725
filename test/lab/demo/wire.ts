/**
 * What a packet capture between the nodes holds, for people: packets and bytes by port, how much of it is TLS, and whether
 * somebody who listened has read one of the secrets.
 */
import type { Capture, CaptureResult } from '../capture.ts';
import { tlsRecords } from '../pcap.ts';
import { counted, grouped, type Report } from './report.ts';
import type { Stage } from './stage.ts';

/** ARP and IPv6's neighbour discovery: searched for secrets like the rest, but not worth a word. */
const withoutPort = 'neighbour discovery';

/** The port of the tunnels. */
export const tunnelPort = 15008;

interface PortTraffic {
  /** `port 80`, `udp port 53`, or `withoutPort`. */
  readonly name: string;
  packets: number;
  bytes: number;
  records: number;
  /** Payload of TCP that is not in TLS records. */
  clear: number;
}

/** Listens where the cable leaves node-a. */
export function listen(stage: Stage): Promise<Capture> {
  return stage.lab.capture(stage.lab.node('node-a'), 'eth0');
}

/** Before the mesh: everything can be read. */
export function reportClear(report: Report, capture: CaptureResult, secret: string): void {
  const read = report.expect(
    capture.contains(secret),
    `whoever listens reads "${secret}"`,
    'the page is not found',
  );
  report.row('on the wire', `${describe(capture)}; ${read}`);
}

/** In the mesh: TLS to the tunnels' port and nothing else, with nothing to read in it. */
export function reportProtected(report: Report, capture: CaptureResult, secrets: readonly string[]): void {
  const found = secrets.filter(secret => capture.contains(secret));
  const what = secrets.length === 1 ? `"${secrets[0]}"` : `any of the ${secrets.length} secrets in all that`;
  const readable = report.expect(
    found.length === 0,
    `nobody who listens finds ${what}`,
    `found ${found.join(', ')}`,
  );
  const clear = trafficByPort(capture).reduce((sum, traffic) => sum + traffic.clear, 0);
  const only = report.expect(clear === 0, '', `; ${clear} bytes are not TLS`);
  const complete = report.expect(
    capture.dropped === 0,
    '',
    `; ${capture.dropped} packets escaped the capture`,
  );
  report.row('on the wire', `${describe(capture)}; ${readable}${only}${complete}`);
}

function describe(capture: CaptureResult): string {
  return trafficByPort(capture)
    .filter(({ name }) => name !== withoutPort)
    .map(({ name, packets, bytes, records, clear }) => {
      const payload = [
        ...(records > 0 ? [counted(records, 'TLS record')] : []),
        ...(clear > 0 ? [`${grouped(clear)} of them payload in clear`] : []),
      ];
      return [`${name}: ${counted(packets, 'packet')}`, `${grouped(bytes)} bytes`, ...payload].join(', ');
    })
    .join('; ');
}

/** By the server's port, which is the lower one of the two; the most traffic first. */
function trafficByPort(capture: CaptureResult): PortTraffic[] {
  const byName = new Map<string, PortTraffic>();
  const at = (name: string): PortTraffic => {
    const traffic = byName.get(name) ?? { name, packets: 0, bytes: 0, records: 0, clear: 0 };
    byName.set(name, traffic);
    return traffic;
  };
  const nameOf = (protocol: 'tcp' | 'udp', port: number, peer: number): string =>
    `${protocol === 'udp' ? 'udp ' : ''}port ${Math.min(port, peer)}`;
  for (const { protocol, sourcePort, destinationPort, length } of capture.packets) {
    const traffic = at(protocol === 'other' ? withoutPort : nameOf(protocol, sourcePort, destinationPort));
    traffic.packets += 1;
    traffic.bytes += length;
  }
  for (const { protocol, sourcePort, destinationPort, payload } of capture.flows) {
    if (protocol === 'udp') continue;
    const traffic = at(nameOf(protocol, sourcePort, destinationPort));
    const { records, otherBytes } = tlsRecords(payload);
    traffic.records += records;
    traffic.clear += otherBytes;
  }
  return [...byName.values()].sort((left, right) => right.bytes - left.bytes);
}
