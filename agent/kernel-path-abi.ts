/**
 * The kernel path's part of bpf/culvert.h for TypeScript: verdicts, grants, passages and the events about them.
 *
 * A test compares it with the header, as it does with redirect-abi.ts.
 */
import {
  decodeAddress,
  encodeAddress,
  encodeIndex,
  encodeU64,
  sizes,
  type Endpoint,
} from './redirect-abi.ts';

/** Sizes of the structures, in bytes. */
export const pathSizes = {
  pathConfig: 16,
  verdictKey: 32,
  verdict: 16,
  grant: 8,
  opening: 16,
  passageEnd: 40,
  passage: 176,
  passageSock: 80,
  pathEvent: 200,
  choice: 28,
  service: 1832,
  leg: 48,
} as const;

/** Number of grants, and so of verdicts: CULVERT_MAX_VERDICTS. */
export const maxVerdicts = 65_536;

export interface PathConfig {
  readonly enabled: boolean;
  readonly joins: boolean;
  /** Bytes. */
  readonly limit: number;
  readonly graceMs: number;
}

const enabledBit = 1;
const joinsBit = 2;

/** Value of `path_config`. */
export function encodePathConfig(config: PathConfig): Buffer {
  const bytes = Buffer.alloc(pathSizes.pathConfig);
  bytes.writeBigUInt64LE(BigInt(config.graceMs) * 1_000_000n, 0);
  bytes.writeUInt32LE(config.limit, 8);
  bytes.writeUInt32LE((config.enabled ? enabledBit : 0) | (config.joins ? joinsBit : 0), 12);
  return bytes;
}

/** What a verdict is about, or the choices of a Service. */
export interface VerdictKey {
  /** Cookie of the source pod's namespace. */
  readonly source: bigint;
  readonly address: string;
  readonly port: number;
}

export interface Verdict {
  /** Cookie of the destination pod's namespace. */
  readonly destination: bigint;
  readonly slot: number;
  readonly serial: number;
}

export function encodeVerdictKey({ source, address, port }: VerdictKey): Buffer {
  const bytes = Buffer.alloc(pathSizes.verdictKey);
  bytes.writeBigUInt64LE(source, 0);
  encodeAddress(address).copy(bytes, 8);
  bytes.writeUInt16BE(port, 24);
  return bytes;
}

/** Null for what no agent has written. */
export function decodeVerdictKey(bytes: Buffer): VerdictKey | null {
  const address = decodeAddress(bytes.subarray(8, 24));
  return address === null
    ? null
    : { source: bytes.readBigUInt64LE(0), address, port: bytes.readUInt16BE(24) };
}

export function encodeVerdict({ destination, slot, serial }: Verdict): Buffer {
  const bytes = Buffer.alloc(pathSizes.verdict);
  bytes.writeBigUInt64LE(destination, 0);
  bytes.writeUInt32LE(slot, 8);
  bytes.writeUInt32LE(serial, 12);
  return bytes;
}

export function decodeVerdict(bytes: Buffer): Verdict {
  return {
    destination: bytes.readBigUInt64LE(0),
    slot: bytes.readUInt32LE(8),
    serial: bytes.readUInt32LE(12),
  };
}

const seenOpener = 1;
const seenServer = 2;

/** Value of `grants`; `seenFit`: both programs are known to be served rightly by a join. */
export function encodeGrant(serial: number, seenFit: boolean): Buffer {
  const bytes = Buffer.alloc(pathSizes.grant);
  bytes.writeUInt32LE(serial, 0);
  bytes.writeUInt32LE(seenFit ? seenOpener | seenServer : 0, 4);
  return bytes;
}

export function decodeGrantSerial(bytes: Buffer): number {
  return bytes.readUInt32LE(0);
}

const roleAllowed = 1;

/** A culvert_passage_sock as the connect hook writes it: for the self-test, which has no hook. */
export function encodeAllowed(target: Endpoint, verdict: Verdict): Buffer {
  const bytes = Buffer.alloc(pathSizes.passageSock);
  bytes.writeBigUInt64LE(verdict.destination, 8);
  encodeAddress(target.address).copy(bytes, 16);
  bytes.writeUInt16BE(target.port, 32);
  bytes.writeUInt16LE(roleAllowed, 34);
  bytes.writeUInt32LE(verdict.slot, 40);
  bytes.writeUInt32LE(verdict.serial, 44);
  return bytes;
}

/** A connection that the kernel carries, as `passages` and events have it. */
export interface Passage {
  /** Of the opener's end; the server's is one more. */
  readonly id: bigint;
  readonly source: Endpoint;
  readonly target: Endpoint;
  /** The Service that was asked for; null where it was the pod itself. */
  readonly service: Endpoint | null;
  readonly sourceNetns: bigint;
  readonly targetNetns: bigint;
  /** CLOCK_MONOTONIC. */
  readonly openedNs: bigint;
  readonly slot: number;
  readonly serial: number;
  /** The application has accepted it. */
  readonly accepted: boolean;
  readonly joined: boolean;
  /** Bytes opener → server and server → opener. */
  readonly up: number;
  readonly down: number;
  /** errno that each end got from its peer or the network; 0: none. */
  readonly openerError: number;
  readonly serverError: number;
}

const endHere = 1;
const endJoined = 2;
const [servicePortAt, serviceAt] = [156, 160];
const [openerAt, serverAt] = [72, 72 + pathSizes.passageEnd];

export function decodePassage(id: bigint, bytes: Buffer): Passage {
  const sent = (at: number): bigint => bytes.readBigUInt64LE(at + 16);
  const received = (at: number): bigint => bytes.readBigUInt64LE(at + 24);
  const state = bytes.readUInt32LE(serverAt + 32);
  return {
    id,
    source: {
      address: decodeAddress(bytes.subarray(8, 24)) ?? '',
      port: bytes.readUInt16BE(40),
    },
    target: {
      address: decodeAddress(bytes.subarray(24, 40)) ?? '',
      port: bytes.readUInt16BE(42),
    },
    service: decodeService(bytes),
    targetNetns: bytes.readBigUInt64LE(0),
    sourceNetns: bytes.readBigUInt64LE(sizes.flow),
    openedNs: bytes.readBigUInt64LE(56),
    slot: bytes.readUInt32LE(64),
    serial: bytes.readUInt32LE(68),
    accepted: (state & endHere) !== 0,
    joined: (state & endJoined) !== 0,
    up: Number(sent(openerAt) + received(serverAt)),
    down: Number(sent(serverAt) + received(openerAt)),
    openerError: bytes.readUInt32LE(openerAt + 36),
    serverError: bytes.readUInt32LE(serverAt + 36),
  };
}

function decodeService(bytes: Buffer): Endpoint | null {
  const port = bytes.readUInt16BE(servicePortAt);
  const address = decodeAddress(bytes.subarray(serviceAt, serviceAt + sizes.address));
  return port === 0 || address === null ? null : { address, port };
}

/** `blocks`: one end turned blocking and has read all; it shall leave the join. `leaves`: so shall this one, when it has. */
export type PathEventKind = 'opened' | 'closed' | 'blocks' | 'leaves';

const eventKinds: readonly (PathEventKind | null)[] = [null, 'opened', 'closed', 'blocks', 'leaves'];

/** The records of `path_events` in order, each read when it is asked for. */
export class PathEvents {
  readonly count: number;
  readonly #bytes: Buffer;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
    this.count = Math.floor(bytes.length / pathSizes.pathEvent);
  }

  /** Null for one that this agent does not know. */
  kind(index: number): PathEventKind | null {
    return eventKinds[this.#bytes.readUInt32LE(index * pathSizes.pathEvent + 16)] ?? null;
  }

  /** Of the opener's end; of the end itself where it blocks or leaves. */
  id(index: number): bigint {
    return this.#bytes.readBigUInt64LE(index * pathSizes.pathEvent);
  }

  /** CLOCK_MONOTONIC. */
  atNs(index: number): bigint {
    return this.#bytes.readBigUInt64LE(index * pathSizes.pathEvent + 8);
  }

  /** Of an end that leaves: its program passes over what waits in the join. */
  blind(index: number): boolean {
    return this.#bytes.readUInt32LE(index * pathSizes.pathEvent + 20) !== 0;
  }

  /** Of an end that leaves only its addresses, as if it had been accepted. */
  passage(index: number): Passage {
    const at = index * pathSizes.pathEvent;
    return decodePassage(this.id(index), this.#bytes.subarray(at + 24, at + pathSizes.pathEvent));
  }
}

export type PathEvent =
  | { readonly kind: 'opened' | 'closed'; readonly atNs: bigint; readonly passage: Passage }
  | { readonly kind: 'blocks' | 'leaves'; readonly end: bigint };

/** All of them at once. */
export function decodePathEvents(bytes: Buffer): PathEvent[] {
  const events = new PathEvents(bytes);
  const decoded: PathEvent[] = [];
  for (let at = 0; at < events.count; at += 1) {
    const kind = events.kind(at);
    if (kind === 'blocks' || kind === 'leaves') decoded.push({ kind, end: events.id(at) });
    else if (kind !== null) decoded.push({ kind, atNs: events.atNs(at), passage: events.passage(at) });
  }
  return decoded;
}

/** What unread.bpf.c answers. */
export const unreadAnswers = { gone: 0, none: 1, waits: 2 } as const;

/** What leg.bpf.c answers; `later`: the application has not accepted the connection yet. */
export const legAnswers = { apart: 0, joined: 1, later: 2 } as const;

/** What leg.bpf.c is given. `id` is even, and the key of the application's socket in `joined`. */
export function encodeLeg(id: bigint, application: Endpoint, agent: Endpoint): Buffer {
  const bytes = Buffer.alloc(pathSizes.leg);
  bytes.writeBigUInt64LE(id, 0);
  encodeAddress(application.address).copy(bytes, 8);
  encodeAddress(agent.address).copy(bytes, 24);
  bytes.writeUInt16BE(application.port, 40);
  bytes.writeUInt16BE(agent.port, 42);
  return bytes;
}

/** Key of `passages` and `joined`. */
export const encodePassageId = encodeU64;
/** Key of `grants`. */
export const encodeSlot = encodeIndex;
