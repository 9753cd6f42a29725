/** Carries bytes, ends and breaks between two streams. */
import { pipeline, type Duplex } from 'node:stream';
import { asCulvertError, CulvertError } from '../base/errors.ts';
import { Idle } from './idle.ts';

/**
 * Two streams, back to back, until both have ended, one has broken, or nothing has moved for a while.
 * @param idleMs 0: whether anything moves or not
 */
export function join(
  client: Duplex,
  server: Duplex,
  idleMs: number,
  done: (error: CulvertError | null, up: number, down: number) => void,
): void {
  let [open, up, down] = [2, 0, 0];
  let failure: Error | null = null;
  let isTold = false;
  const tell = (): void => {
    idle.stop();
    if (!isTold) done(failure === null ? null : asCulvertError(failure, 'PEER_RESET'), up, down);
    isTold = true;
  };
  const settle = (error: NodeJS.ErrnoException | null | undefined): void => {
    failure ??= error ?? null;
    if (failure !== null) {
      client.destroy();
      server.destroy();
    }
    open -= 1;
    if (open === 0) tell();
  };
  const moved = (): number => up + down;
  const idle = new Idle(idleMs, moved, limitMs => {
    failure = new CulvertError('STREAM_IDLE', `nothing moved for ${limitMs} ms`, { side: 'server' });
    // Told first: ends that come now are of our own making.
    tell();
    client.destroy();
    server.destroy();
  });
  client.on('data', (chunk: Buffer) => (up += chunk.length)).pause();
  server.on('data', (chunk: Buffer) => (down += chunk.length)).pause();
  pipeline(client, server, settle);
  pipeline(server, client, settle);
}
