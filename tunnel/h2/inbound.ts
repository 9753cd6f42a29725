/**
 * What each frame of the peer means (RFC 9113 §5.1, §6): the rules of ids and states, and the abuse counters.
 *
 * A Fault thrown here ends the connection. What concerns one stream resets that stream and is counted, because a peer that
 * makes us reset streams without end is as much an attack as one that resets them itself.
 */
import { ErrorCode, Fault, flowControlFault, protocolFault } from './errors.ts';
import { FrameFlag, FrameType, readUint32 } from './frames.ts';
import type { HeaderBlocks } from './header-block.ts';
import type { Lifecycle } from './lifecycle.ts';
import { tinyWindowBytes } from './limits.ts';
import type { AbuseCounters } from './limits.ts';
import type { FrameSink } from './reader.ts';
import type { Receiver } from './receiver.ts';
import type { Sender } from './sender.ts';
import { detached, headersSeen, headersSent, remoteEnded } from './stream.ts';
import type { Stream } from './stream.ts';
import type { Streams } from './streams.ts';
import type { FrameWriter } from './writer.ts';

/** Frames that concern the connection as a whole. */
export interface ConnectionFrames {
  /** SETTINGS to apply and acknowledge; the payload is source[start, end). */
  onSettings(source: Buffer, start: number, end: number): void;
  onSettingsAck(): void;
  /** @param start of the eight bytes that our PING had carried */
  onPingAck(source: Buffer, start: number): void;
  onGoaway(lastStreamId: number, code: number): void;
}

export interface InboundParts {
  readonly role: 'client' | 'server';
  readonly streams: Streams;
  readonly lifecycle: Lifecycle;
  readonly writer: FrameWriter;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly counters: AbuseCounters;
  readonly blocks: HeaderBlocks;
  readonly connection: ConnectionFrames;
}

export class Inbound implements FrameSink {
  readonly #client: boolean;
  readonly #streams: Streams;
  readonly #lifecycle: Lifecycle;
  readonly #writer: FrameWriter;
  readonly #sender: Sender;
  readonly #receiver: Receiver;
  readonly #counters: AbuseCounters;
  readonly #blocks: HeaderBlocks;
  readonly #connection: ConnectionFrames;
  /** The stream that takes the payload being read; null where it goes nowhere. */
  #taker: Stream | null = null;
  #endsStream = false;

  constructor(parts: InboundParts) {
    this.#client = parts.role === 'client';
    this.#streams = parts.streams;
    this.#lifecycle = parts.lifecycle;
    this.#writer = parts.writer;
    this.#sender = parts.sender;
    this.#receiver = parts.receiver;
    this.#counters = parts.counters;
    this.#blocks = parts.blocks;
    this.#connection = parts.connection;
  }

  get continues(): number {
    return this.#blocks.continues;
  }

  onData(flags: number, id: number, frameBytes: number, paddingBytes: number): void {
    this.#taker = null;
    this.#endsStream = (flags & FrameFlag.END_STREAM) !== 0;
    this.#receiver.takeConnection(frameBytes);
    if (frameBytes === paddingBytes && !this.#endsStream) this.#counters.emptyData.take();
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      this.#lateData(id, frameBytes);
    } else if ((stream.flags & remoteEnded) !== 0) {
      this.#lifecycle.breakStream(stream, ErrorCode.STREAM_CLOSED);
    } else if (this.#client && (stream.flags & headersSeen) === 0) {
      this.#lifecycle.breakStream(stream, ErrorCode.PROTOCOL_ERROR);
    } else if (!this.#receiver.take(stream, frameBytes, paddingBytes)) {
      this.#lifecycle.breakStream(stream, ErrorCode.FLOW_CONTROL_ERROR);
    } else {
      this.#taker = stream;
    }
  }

  onPayload(chunk: Buffer): void {
    const stream = this.#taker;
    if (stream !== null && (stream.flags & detached) === 0) this.#receiver.data(stream, chunk);
  }

  onDataDone(): void {
    const stream = this.#taker;
    this.#taker = null;
    if (this.#endsStream && stream !== null && (stream.flags & detached) === 0)
      this.#lifecycle.remoteEnded(stream);
  }

  onFrame(type: number, flags: number, id: number, source: Buffer, start: number, end: number): void {
    switch (type) {
      case FrameType.HEADERS:
        this.#blocks.onHeaders(flags, id, source, start, end);
        return;
      case FrameType.CONTINUATION:
        this.#blocks.onContinuation(flags, source, start, end);
        return;
      case FrameType.WINDOW_UPDATE:
        this.#windowUpdate(id, readUint32(source, start) & 0x7fff_ffff);
        return;
      case FrameType.RST_STREAM:
        this.#reset(id, readUint32(source, start));
        return;
      case FrameType.PING:
        this.#ping(flags, source, start);
        return;
      case FrameType.SETTINGS:
        this.#settings(flags, source, start, end);
        return;
      case FrameType.GOAWAY:
        this.#counters.ignoredFrames.take();
        this.#connection.onGoaway(readUint32(source, start) & 0x7fff_ffff, readUint32(source, start + 4));
        return;
      default:
        this.#counters.ignoredFrames.take();
    }
  }

  #lateData(id: number, bytes: number): void {
    switch (this.#streams.absence(id)) {
      case 'idle':
        throw protocolFault(`DATA on idle stream ${id}`);
      case 'closed':
        throw new Fault('H2_STREAM_CLOSED', ErrorCode.STREAM_CLOSED, `DATA on closed stream ${id}`);
      case 'reset':
        if (!this.#streams.takeLate(id, bytes))
          throw flowControlFault(`DATA beyond the window of reset stream ${id}`);
        if (this.#endsStream) this.#streams.settleReset(id);
    }
  }

  #windowUpdate(id: number, increment: number): void {
    if (increment < tinyWindowBytes) this.#counters.tinyWindowUpdates.take();
    if (id === 0) {
      if (increment === 0) throw protocolFault('WINDOW_UPDATE of 0');
      this.#sender.grantConnection(increment);
      return;
    }
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      if (this.#streams.absence(id) === 'idle') throw protocolFault(`WINDOW_UPDATE on idle stream ${id}`);
    } else if (increment === 0) {
      this.#lifecycle.breakStream(stream, ErrorCode.PROTOCOL_ERROR);
    } else if (this.#sender.grant(stream, increment)) {
      this.#sender.pump();
    } else {
      this.#lifecycle.breakStream(stream, ErrorCode.FLOW_CONTROL_ERROR);
    }
  }

  #reset(id: number, code: number): void {
    const stream = this.#streams.get(id);
    if (stream === undefined) {
      if (this.#streams.absence(id) === 'idle') throw protocolFault(`RST_STREAM on idle stream ${id}`);
      // Both sides may reset at the same time, once.
      if (!this.#streams.settleReset(id)) this.#counters.ignoredFrames.take();
      return;
    }
    if (!this.#client && (stream.flags & headersSent) === 0) this.#counters.prematureResets.take();
    this.#lifecycle.peerReset(stream, code);
  }

  #ping(flags: number, source: Buffer, start: number): void {
    if ((flags & FrameFlag.ACK) !== 0) {
      this.#connection.onPingAck(source, start);
      return;
    }
    this.#counters.pings.take();
    this.#writer.ping(FrameFlag.ACK, source, start);
  }

  #settings(flags: number, source: Buffer, start: number, end: number): void {
    if ((flags & FrameFlag.ACK) !== 0) {
      this.#connection.onSettingsAck();
      return;
    }
    this.#counters.settings.take();
    this.#connection.onSettings(source, start, end);
  }
}
