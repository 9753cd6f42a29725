/**
 * Proves that redirection works in a pod, instead of trusting that "attached" means "runs": for readiness and `culvert check`.
 *
 * The agent makes two connections inside the pod's namespace, both to a listener of its own. The first is marked as a
 * probe, so that the connect hook takes it for an application's on its way to a documentation address: it must arrive with that
 * address as its original destination. The second carries a made-up client, whom the accepting side must see as its peer.
 * No packet leaves the namespace.
 */
import { fstatSync } from 'node:fs';
import { CulvertError, describeError } from '../base/errors.ts';
import { formatHostPort, isIpv6 } from '../model/address.ts';
import * as native from '../native/native.ts';
import {
  decodeName,
  encodeCookie,
  encodeIndex,
  encodeProbe,
  type Endpoint,
  nameProbed,
  type PodEntry,
} from './redirect-abi.ts';
import { uncoveredProcesses } from './redirect-coverage.ts';
import { withPinned } from './redirect-hooks.ts';
import { fdOf, Listener, peerOf } from './redirect-probe.ts';
import { Pins } from './redirect-pins.ts';
import { hooks, type Maps } from './redirect-programs.ts';

export interface SelfTestResult {
  /** Stable, for example `capture (IPv4)`. */
  readonly name: string;
  readonly ok: boolean;
  /** What was seen. */
  readonly detail: string;
  readonly fix: string | null;
}

export interface SelfTestPod {
  readonly cookie: bigint;
  readonly netnsFd: number;
}

export interface SelfTestParts {
  readonly pins: Pins;
  readonly maps: Maps;
  readonly cgroupRoot: string;
  readonly agentCgroup: string;
}

/** RFC 5737 and RFC 3849: addresses that nobody has. */
const target: Readonly<Record<4 | 6, Endpoint>> = {
  4: { address: '192.0.2.1', port: 9 },
  6: { address: '2001:db8::1', port: 9 },
};
const client: Readonly<Record<4 | 6, Endpoint>> = {
  4: { address: '198.51.100.7', port: 4711 },
  6: { address: '2001:db8::7', port: 4711 },
};

/** Runs all checks for one enrolled pod. Never throws: what fails is a result. */
export async function selfTest(
  parts: SelfTestParts,
  pod: SelfTestPod,
  entry: PodEntry | null,
): Promise<SelfTestResult[]> {
  const results = [hooksAttached(parts)];
  if (entry === null)
    return [...results, failed('enrolled', 'the kernel does not know this pod', 'enrol it first')];
  results.push(lookupAttached(parts, pod), covered(parts, pod));
  for (const address of [entry.ip4, entry.ip6]) {
    if (address !== null) results.push(...(await connections(parts.maps, pod, address)));
  }
  return results;
}

function passed(name: string, detail: string): SelfTestResult {
  return { name, ok: true, detail, fix: null };
}

function failed(name: string, detail: string, fix: string | null): SelfTestResult {
  return { name, ok: false, detail, fix };
}

function hooksAttached({ pins, cgroupRoot }: SelfTestParts): SelfTestResult {
  const name = 'hooks attached';
  try {
    const root = native.cgroupId(cgroupRoot);
    const missing = hooks.filter(
      hook => withPinned(pins, hook.attachType, link => native.linkInfo(link).cgroupId) !== root,
    );
    if (missing.length === 0) return passed(name, `${hooks.length} hooks at ${cgroupRoot}`);
    return failed(
      name,
      `not at ${cgroupRoot}: ${missing.map(hook => hook.attachType).join(', ')}`,
      'restart the agent: it attaches them again',
    );
  } catch (error) {
    return failed(name, describeError(error), null);
  }
}

function lookupAttached({ pins, maps }: SelfTestParts, pod: SelfTestPod): SelfTestResult {
  const name = 'plain TCP steered';
  const inode = withPinned(pins, Pins.lookupName(pod.cookie), link => native.linkInfo(link).netnsInode);
  if (inode !== fstatSync(pod.netnsFd).ino)
    return failed(name, "no sk_lookup program in the pod's namespace", 'enrol the pod again');
  const listener = native.mapLookup(maps.listeners, encodeCookie(pod.cookie));
  if (listener === null)
    return failed(
      name,
      'there is no listener for it',
      'the shard that listened has died: replace its listener',
    );
  return passed(name, 'program attached, listener there');
}

function covered({ cgroupRoot, agentCgroup }: SelfTestParts, pod: SelfTestPod): SelfTestResult {
  const name = 'processes covered';
  const left = uncoveredProcesses(fstatSync(pod.netnsFd).ino, cgroupRoot, agentCgroup);
  if (left.length === 0) return passed(name, `all below ${cgroupRoot}`);
  const shown = left
    .slice(0, 3)
    .map(({ pid, program, cgroup, why }) => `${program} (${pid}) is ${why}: ${cgroup}`);
  return failed(
    name,
    shown.join('; '),
    'choose a cgroup root above all pods, and an agent cgroup that holds nothing else',
  );
}

async function connections(maps: Maps, pod: SelfTestPod, address: string): Promise<SelfTestResult[]> {
  const family = isIpv6(address) ? 6 : 4;
  const capture = `capture (IPv${family})`;
  const source = `source address (IPv${family})`;
  try {
    await using listener = await Listener.open(pod.netnsFd, family);
    return [
      await checked(capture, () => captured(maps, pod, family, listener)),
      await checked(source, () => named(maps, pod, family, address, listener)),
    ];
  } catch (error) {
    return [failed(capture, describeError(error), null)];
  }
}

async function checked(name: string, check: () => Promise<string>): Promise<SelfTestResult> {
  try {
    return passed(name, await check());
  } catch (error) {
    return failed(name, describeError(error), error instanceof CulvertError ? error.fix : null);
  }
}

/** connect4/6, sockops on both sides, both storages, getpeername of a client. */
async function captured(maps: Maps, pod: SelfTestPod, family: 4 | 6, listener: Listener): Promise<string> {
  const fd = socketIn(pod, family);
  const witness = native.duplicate(fd);
  try {
    native.mapUpdate(maps.orig_dst, encodeIndex(fd), encodeProbe(target[family], listener.port), 'any');
    const { accepted, dialled } = await listener.meet(fd, target[family]).catch((cause: unknown) => {
      throw new CulvertError(
        'SELF_TEST_NOT_CAPTURED',
        `the connect hook did not capture: ${verdictOn(maps, witness) ?? describeError(cause)}`,
        {
          fix: "look at the agent's listeners in the pod, its heartbeat and its cgroup",
          cause,
        },
      );
    });
    const found = native.originalDestination(maps.orig_dst, fdOf(accepted));
    const shown = peerOf(dialled);
    accepted.destroy();
    dialled.destroy();
    if (found === null)
      throw new CulvertError('SELF_TEST_NO_DESTINATION', 'captured, but the original destination was lost', {
        fix: 'is the agent below the cgroup root?',
      });
    expect('original destination', found, target[family]);
    expect('getpeername of the client', shown, target[family]);
    return `a connection to ${text(target[family])} arrived`;
  } finally {
    native.close(witness);
  }
}

/** sockops and getpeername on the way from the agent to an application. */
async function named(
  maps: Maps,
  pod: SelfTestPod,
  family: 4 | 6,
  address: string,
  listener: Listener,
): Promise<string> {
  const fd = socketIn(pod, family);
  native.setPeerName(maps.peer_name, fd, client[family].address, client[family].port);
  const { accepted, dialled } = await listener.meet(fd, { address, port: listener.port });
  const shown = peerOf(accepted);
  accepted.destroy();
  dialled.destroy();
  expect('getpeername of the server', shown, client[family]);
  return `an application would see ${text(client[family])}`;
}

function socketIn(pod: SelfTestPod, family: 4 | 6): number {
  const [fd] = native.tcpSockets(pod.netnsFd, family, 1);
  if (fd === undefined)
    throw new CulvertError('SELF_TEST_NO_SOCKET', 'no socket in the namespace of the pod');
  return fd;
}

function verdictOn(maps: Maps, fd: number): string | null {
  const value = native.mapLookup(maps.orig_dst, encodeIndex(fd));
  const name = value === null ? null : decodeName(value);
  return name?.role === nameProbed ? name.verdict : null;
}

function expect(what: string, found: Endpoint, wanted: Endpoint): void {
  if (found.address === wanted.address && found.port === wanted.port) return;
  throw new CulvertError('SELF_TEST_WRONG', `${what} is ${text(found)} and should be ${text(wanted)}`);
}

function text({ address, port }: Endpoint): string {
  return formatHostPort(address, port);
}
