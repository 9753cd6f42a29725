/**
 * What concerns the connection as a whole: the SETTINGS exchange, PING, GOAWAY, and the deadlines of all three.
 */
import { ErrorCode, Fault, flowControlFault, protocolFault } from './errors.ts';
import type { Farewell } from './farewell.ts';
import type { ConnectionFrames } from './inbound.ts';
import { Keepalive } from './keepalive.ts';
import type { H2Clock, H2Timing, KeepaliveTarget } from './keepalive.ts';
import type { AbuseCounters } from './limits.ts';
import type { Pings } from './pings.ts';
import type { FrameReader } from './reader.ts';
import type { Receiver } from './receiver.ts';
import type { Sender } from './sender.ts';
import type { PeerSettings } from './settings.ts';
import type { Streams } from './streams.ts';
import type { FrameWriter } from './writer.ts';

export interface ControlParts {
  readonly role: 'client' | 'server';
  readonly peer: PeerSettings;
  readonly streams: Streams;
  readonly writer: FrameWriter;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly counters: AbuseCounters;
  readonly pings: Pings;
  readonly farewell: Farewell;
  readonly timing: H2Timing;
  readonly clock: H2Clock;
  /** The peer's SETTINGS may allow more streams than before. */
  readonly onSettings: () => void;
  readonly onGoaway: () => void;
  readonly onFault: (fault: Fault) => void;
}

export class Control implements ConnectionFrames, KeepaliveTarget {
  readonly #parts: ControlParts;
  readonly #keepalive: Keepalive;
  #reader: FrameReader | null = null;
  #ackAwaited = true;
  /** Of the transport. */
  bytesReceived = 0;

  constructor(parts: ControlParts) {
    this.#parts = parts;
    this.#keepalive = new Keepalive(this, parts.timing, parts.clock);
  }

  /** Where stuck frames are to be seen. */
  watch(reader: FrameReader): void {
    this.#reader = reader;
  }

  stop(): void {
    this.#reader?.stop();
    this.#keepalive.stop();
    this.#parts.farewell.stop();
  }

  get midFrame(): boolean {
    return this.#reader?.midFrame ?? false;
  }

  get framesReceived(): number {
    return this.#reader?.frames ?? 0;
  }

  onSettings(source: Buffer, start: number, end: number): void {
    const { role, peer, writer, streams, sender } = this.#parts;
    const [wasKnown, window] = [peer.known, peer.initialWindowBytes];
    peer.apply(role, source, start, end);
    // Before any byte that relies on them: the peer counts by the new values from the acknowledgement on.
    writer.settingsAck();
    writer.maxFrameBytes = peer.maxFrameBytes;
    const change = peer.initialWindowBytes - window;
    if (change !== 0) {
      for (const stream of streams.all()) {
        if (!sender.grant(stream, change)) throw flowControlFault('INITIAL_WINDOW_SIZE overflows a window');
      }
      sender.pump();
    }
    if (!wasKnown && !this.#ackAwaited) this.#keepalive.established();
    this.#parts.onSettings();
  }

  onSettingsAck(): void {
    if (!this.#ackAwaited) throw protocolFault('acknowledgement of SETTINGS that were not sent');
    this.#ackAwaited = false;
    this.#parts.receiver.acknowledged(this.#parts.streams.all());
    if (this.#parts.peer.known) this.#keepalive.established();
  }

  onPingAck(source: Buffer, start: number): void {
    if (!this.#parts.pings.acknowledged(source, start)) this.#parts.counters.ignoredFrames.take();
  }

  onGoaway(lastStreamId: number, code: number): void {
    const first = this.#parts.farewell.peerCode === null;
    this.#parts.farewell.received(lastStreamId, code);
    if (first) this.#parts.onGoaway();
  }

  sendKeepalivePing(): void {
    this.#parts.pings.send(() => {});
  }

  onHandshakeTimeout(): void {
    const { handshakeTimeoutMs } = this.#parts.timing;
    if (this.#parts.peer.known) {
      this.#fault(
        'H2_SETTINGS_TIMEOUT',
        ErrorCode.SETTINGS_TIMEOUT,
        `SETTINGS not acknowledged in ${handshakeTimeoutMs} ms`,
      );
    } else {
      this.#fault(
        'H2_PREFACE_TIMEOUT',
        ErrorCode.SETTINGS_TIMEOUT,
        `no HTTP/2 preface in ${handshakeTimeoutMs} ms`,
      );
    }
  }

  onSilence(silentMs: number): void {
    this.#fault('H2_PING_TIMEOUT', ErrorCode.NO_ERROR, `no answer to a PING in ${Math.round(silentMs)} ms`);
  }

  onStuckFrame(): void {
    this.#fault('H2_STUCK_FRAME', ErrorCode.ENHANCE_YOUR_CALM, 'a frame was begun and not ended');
  }

  #fault(code: string, wireCode: number, message: string): void {
    this.#parts.onFault(new Fault(code, wireCode, message));
  }
}
