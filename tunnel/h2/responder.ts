/**
 * A server's answers (RFC 9113 §8.1, §8.5): 2xx makes the stream a tunnel, anything else is its end.
 */
import { CulvertError } from '../../base/errors.ts';
import { FrameFlag } from './frames.ts';
import type { HeaderField } from './header-table.ts';
import type { Lifecycle } from './lifecycle.ts';
import type { Receiver } from './receiver.ts';
import type { Sender } from './sender.ts';
import type { PeerSettings } from './settings.ts';
import { headersSent, held, tunnelled } from './stream.ts';
import type { Stream } from './stream.ts';
import type { FrameWriter } from './writer.ts';

/** What `:status` counts in a header list. */
const statusBytes = 42;

export interface ResponderParts {
  readonly lifecycle: Lifecycle;
  readonly writer: FrameWriter;
  readonly sender: Sender;
  readonly receiver: Receiver;
  readonly peer: PeerSettings;
}

export class Responder {
  readonly #parts: ResponderParts;

  constructor(parts: ResponderParts) {
    this.#parts = parts;
  }

  respond(stream: Stream, status: number, headers: readonly HeaderField[]): void {
    if (stream.closed) return;
    if ((stream.flags & headersSent) !== 0) {
      throw new CulvertError('H2_ALREADY_ANSWERED', `stream ${stream.id} was answered before`);
    }
    if (!Number.isInteger(status) || status < 200 || status > 599) {
      throw new CulvertError('H2_BAD_HEADER', `${status} is no final status of a response`);
    }
    const { lifecycle, writer, sender, receiver, peer } = this.#parts;
    peer.checkHeaderList(statusBytes, headers);
    const tunnel = status < 300;
    writer.response(stream.id, tunnel ? 0 : FrameFlag.END_STREAM, status, headers);
    stream.flags |= headersSent;
    if (!tunnel) {
      lifecycle.answered(stream);
      return;
    }
    stream.flags = (stream.flags & ~held) | tunnelled;
    sender.wake(stream);
    sender.pump();
    receiver.deliver(stream);
  }
}
