/**
 * A packet capture: what somebody who listens on the wire between two nodes would see.
 *
 * tcpdump is the judge, not our own code. `start` returns when it listens; `stop` returns when it has written all that
 * was sent before.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { CulvertError } from '../../base/errors.ts';
import { type Flow, flowsOf, type Packet, parsePcap } from './pcap.ts';
import type { Place } from './place.ts';
import type { LabProcess } from './process.ts';

export interface CaptureOptions {
  /** A pcap filter expression; everything unless said. */
  readonly filter?: string;
}

export interface CaptureResult {
  readonly path: string;
  readonly packets: readonly Packet[];
  /** TCP and UDP by direction, with their payload in order. */
  readonly flows: readonly Flow[];
  /** Packets that the kernel could not hand over; a proof of absence needs 0. */
  readonly dropped: number;
  /** Whether the bytes occur anywhere: in one packet, or across the packets of one direction of a connection. */
  contains(bytes: string | Uint8Array): boolean;
}

/** Kernel buffer in KiB: room for a burst while every CPU is busy with the traffic itself. */
const bufferKiB = 32 << 10;
const drainTimeoutMs = 10_000;
const statistics =
  /(\d+) packets? captured, (\d+) packets? received by filter, (\d+) packets? dropped by kernel/g;

let captures = 0;

export class Capture implements AsyncDisposable {
  readonly path: string;
  readonly #tcpdump: LabProcess;
  #stopped: Promise<CaptureResult> | null = null;

  private constructor(path: string, tcpdump: LabProcess) {
    this.path = path;
    this.#tcpdump = tcpdump;
  }

  /** @param device interface in the place, or `any` */
  static async start(
    place: Place,
    device: string,
    directory: string,
    options: CaptureOptions,
  ): Promise<Capture> {
    const path = join(directory, `${place.name}-${device}-${++captures}.pcap`);
    const flags = ['-Z', 'root', '-nn', '-U', '--immediate-mode', '-B', String(bufferKiB)];
    const filter = options.filter === undefined ? [] : [options.filter];
    const tcpdump = place.spawn('tcpdump', [...flags, '-i', device, '-w', path, ...filter]);
    await tcpdump.says(/listening on/);
    return new Capture(path, tcpdump);
  }

  /** Ends the capture and reads it. */
  stop(): Promise<CaptureResult> {
    this.#stopped ??= this.#finish();
    return this.#stopped;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }

  async #finish(): Promise<CaptureResult> {
    const dropped = await this.#drain();
    await this.#tcpdump.stop('SIGINT');
    const file = readFileSync(this.path);
    const packets = parsePcap(file);
    const flows = flowsOf(packets);
    return {
      path: this.path,
      packets,
      flows,
      dropped,
      contains: bytes => file.includes(bytes) || flows.some(flow => flow.payload.includes(bytes)),
    };
  }

  /**
   * Waits until tcpdump has written whatever the kernel has seen, and returns how many packets were lost. On SIGUSR1 it
   * tells both numbers; on a loopback device the kernel counts twice, so two equal answers in a row count as well.
   */
  async #drain(): Promise<number> {
    const deadline = performance.now() + drainTimeoutMs;
    let before = -1;
    while (performance.now() < deadline) {
      const { captured, received, dropped } = await this.#ask();
      if (captured >= received - dropped || (captured === before && captured > 0)) return dropped;
      before = captured;
      await delay(50);
    }
    throw new CulvertError('LAB_CAPTURE', `tcpdump did not catch up within ${drainTimeoutMs} ms`);
  }

  async #ask(): Promise<{ captured: number; received: number; dropped: number }> {
    const known = [...this.#tcpdump.stderr().matchAll(statistics)].length;
    this.#tcpdump.kill('SIGUSR1');
    for (;;) {
      const answer = [...this.#tcpdump.stderr().matchAll(statistics)][known];
      if (answer !== undefined) {
        const [, captured, received, dropped] = answer.map(Number);
        return { captured: captured ?? 0, received: received ?? 0, dropped: dropped ?? 0 };
      }
      if (!this.#tcpdump.running)
        throw new CulvertError('LAB_CAPTURE', `tcpdump ended: ${this.#tcpdump.stderr()}`);
      await delay(2);
    }
  }
}
