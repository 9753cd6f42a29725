/** Carries bytes, ends and breaks between two streams. */
import { pipeline, type Duplex } from 'node:stream';
import { asCulvertError, type CulvertError } from '../base/errors.ts';

/** Two streams, back to back, until both have ended or one has broken. */
export function join(
  client: Duplex,
  server: Duplex,
  done: (error: CulvertError | null, up: number, down: number) => void,
): void {
  let [open, up, down] = [2, 0, 0];
  let failure: Error | null = null;
  const settle = (error: NodeJS.ErrnoException | null | undefined): void => {
    failure ??= error ?? null;
    if (failure !== null) {
      client.destroy();
      server.destroy();
    }
    open -= 1;
    if (open === 0) done(failure === null ? null : asCulvertError(failure, 'PEER_RESET'), up, down);
  };
  client.on('data', (chunk: Buffer) => (up += chunk.length)).pause();
  server.on('data', (chunk: Buffer) => (down += chunk.length)).pause();
  pipeline(client, server, settle);
  pipeline(server, client, settle);
}
