/**
 * The inside of one connection: builds the parts, and does what they ask of the connection as a whole.
 *
 * Bytes take the way reader.ts → inbound.ts → receiver.ts → stream owner, and back sender.ts → writer.ts → output.ts.
 * connection.ts is the face of this towards owners and the transport's events.
 */
import type { Duplex } from 'node:stream';
import type { CulvertError } from '../../base/errors.ts';
import { Control } from './control.ts';
import { ErrorCode, Fault, handlerFailed } from './errors.ts';
import { maxStreamId } from './frames.ts';
import { HeaderBlocks } from './header-block.ts';
import type { ConnectHeaders } from './header-rules.ts';
import type { HeaderField } from './header-table.ts';
import { Farewell } from './farewell.ts';
import { Inbound } from './inbound.ts';
import type { H2Clock, H2Timing } from './keepalive.ts';
import { Lifecycle } from './lifecycle.ts';
import { AbuseCounters } from './limits.ts';
import type { H2Limits } from './limits.ts';
import { Output } from './output.ts';
import type { OutputOwner } from './output.ts';
import { Pings } from './pings.ts';
import { FrameReader } from './reader.ts';
import { Receiver } from './receiver.ts';
import { RequestIntake } from './request-intake.ts';
import { Responder } from './responder.ts';
import { ResponseIntake } from './response-intake.ts';
import { Sender } from './sender.ts';
import { PeerSettings, announcedSettings } from './settings.ts';
import type { H2Settings } from './settings.ts';
import { Stream, headersSent, held } from './stream.ts';
import type { H2Stream, H2StreamHandlers, StreamHost } from './stream.ts';
import { Streams } from './streams.ts';
import { FrameWriter } from './writer.ts';

/** What a session tells its connection. */
export interface SessionEvents {
  onRequest(stream: H2Stream, request: ConnectHeaders): void;
  onGoaway(): void;
  onCapacity(): void;
  /** The session is over: both have said goodbye (null), or a Fault or CulvertError says why. */
  onOver(error: Fault | CulvertError | null): void;
}

export interface SessionOptions {
  readonly transport: Duplex;
  readonly role: 'client' | 'server';
  readonly settings: H2Settings;
  readonly limits: H2Limits;
  readonly timing: H2Timing;
  readonly clock: H2Clock;
  readonly events: SessionEvents;
}

const unowned: H2StreamHandlers = { onData() {}, onEnd() {}, onReset() {}, onDrain() {} };

export class Session implements StreamHost, OutputOwner {
  readonly #options: SessionOptions;
  readonly #reader: FrameReader;
  readonly #writer: FrameWriter;
  readonly #receiver: Receiver;
  readonly #responder: Responder;
  readonly #control: Control;
  readonly #pings: Pings;
  #wasFull = false;
  readonly output: Output;
  readonly sender: Sender;
  readonly streams: Streams;
  readonly lifecycle: Lifecycle;
  readonly farewell: Farewell;
  readonly peer = new PeerSettings();

  constructor(options: SessionOptions) {
    const { role, settings, limits, timing, clock } = options;
    this.#options = options;
    this.output = new Output(options.transport, this, limits.maxOutputQueueBytes);
    const writer = new FrameWriter(this.output);
    const streams = new Streams(role);
    const counters = new AbuseCounters(limits, () => clock.now());
    const sender = new Sender(this.output, writer, stream => this.lifecycle.localEnded(stream));
    const receiver = new Receiver(writer, settings, stream => this.lifecycle.settle(stream));
    const onDetached = (): void => this.#onDetached();
    const lifecycle = new Lifecycle({ streams, writer, sender, receiver, counters, onDetached });
    const shared = { streams, lifecycle, writer, sender, receiver, counters, limits };
    const requests =
      role === 'client'
        ? null
        : new RequestIntake({
            ...shared,
            maxStreams: settings.maxStreams,
            open: id => this.#open(id, unowned, held),
            onRequest: (stream, request) => options.events.onRequest(stream, request),
          });
    const pings = new Pings(writer, () => clock.now());
    const farewell = new Farewell({
      ...shared,
      requests,
      pings,
      clock,
      roundTripTimeoutMs: timing.pingTimeoutMs,
      onDone: () => options.events.onOver(null),
    });
    this.#control = new Control({
      ...shared,
      role,
      peer: this.peer,
      pings,
      farewell,
      timing,
      clock,
      onSettings: () => this.#onRoom(),
      onGoaway: () => options.events.onGoaway(),
      onFault: fault => options.events.onOver(fault),
    });
    const blocks = new HeaderBlocks(requests ?? new ResponseIntake(shared), limits);
    const inbound = new Inbound({ ...shared, role, blocks, connection: this.#control });
    this.#reader = new FrameReader(inbound, limits, settings.maxFrameBytes, role === 'server');
    this.#control.watch(this.#reader);
    this.#responder = new Responder({ ...shared, peer: this.peer });
    this.#writer = writer;
    this.#receiver = receiver;
    this.#pings = pings;
    this.sender = sender;
    this.streams = streams;
    this.lifecycle = lifecycle;
    this.farewell = farewell;
    if (role === 'client') writer.preface();
    writer.settings(announcedSettings(role, settings, limits));
    receiver.start();
  }

  /** Bytes of the transport. */
  get bytesReceived(): number {
    return this.#control.bytesReceived;
  }

  get payloadReceived(): number {
    return this.#receiver.bytesReceived;
  }

  /** Streams that connect() may open now. */
  get available(): number {
    if (this.farewell.draining || this.streams.nextLocalId > maxStreamId) return 0;
    return Math.max(0, this.peer.maxStreams - this.streams.open);
  }

  /**
   * Reads what the transport brought; answers leave in one write. Returns whether a stream's owner keeps some of the chunk.
   * Throws Faults, and whatever a handler throws.
   */
  read(chunk: Buffer): boolean {
    this.#control.bytesReceived += chunk.length;
    this.#receiver.chunkKept = false;
    this.output.hold();
    try {
      this.#reader.read(chunk);
    } finally {
      this.output.release();
    }
    return this.#receiver.chunkKept;
  }

  connect(authority: string, headers: readonly HeaderField[], handlers: H2StreamHandlers): Stream {
    const id = this.streams.nextLocalId;
    this.peer.checkHeaderList(64 + authority.length, headers);
    this.#writer.connect(id, authority, headers);
    this.streams.nextLocalId = id + 2;
    const stream = this.#open(id, handlers, headersSent);
    this.#wasFull = this.available === 0;
    return stream;
  }

  ping(done: (rttMs: number | null) => void): void {
    this.#pings.send(done);
  }

  /** Stops reading and all timers; says goodbye with `fault` where there is one, and drops what is not sent otherwise. */
  stop(fault: Fault | null): void {
    this.#control.stop();
    if (fault !== null) this.#writer.goaway(this.streams.lastPeerId, fault.wireCode);
    this.#pings.abandon();
  }

  respond(stream: Stream, status: number, headers: readonly HeaderField[]): void {
    this.#responder.respond(stream, status, headers);
  }

  write(stream: Stream, chunk: Buffer): boolean {
    return this.sender.write(stream, chunk);
  }

  end(stream: Stream): void {
    this.sender.end(stream);
  }

  reset(stream: Stream, code: number): void {
    this.lifecycle.localReset(stream, code);
  }

  deliver(stream: Stream): void {
    this.#receiver.deliver(stream);
  }

  onOutputDrained(): void {
    try {
      this.sender.pump();
      this.output.flush();
      this.sender.pump();
    } catch (error) {
      this.#options.events.onOver(handlerFailed(error));
    }
  }

  onOutputOverflow(): void {
    const most = this.#options.limits.maxOutputQueueBytes;
    const message = `over ${most} bytes of answers that the peer does not read`;
    this.#options.events.onOver(new Fault('H2_OUTPUT_FLOOD', ErrorCode.ENHANCE_YOUR_CALM, message));
  }

  #open(id: number, handlers: H2StreamHandlers, flags: number): Stream {
    const { initialWindowBytes } = this.#receiver;
    const stream = new Stream(this, id, handlers, flags, this.peer.initialWindowBytes, initialWindowBytes);
    this.streams.add(stream);
    return stream;
  }

  #onDetached(): void {
    this.farewell.check();
    this.#onRoom();
  }

  /** Tells when streams may be opened again after there was no room. */
  #onRoom(): void {
    const full = this.available === 0;
    const opened = this.#wasFull && !full;
    this.#wasFull = full;
    if (opened) this.#options.events.onCapacity();
  }
}
