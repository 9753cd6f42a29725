/**
 * What a passage of the kernel path means for its record: bytes, and why it has ended. The kernel tells numbers; here they become
 * what is told of all other connections.
 */
import { CulvertError } from '../base/errors.ts';
import type { Connection } from './connections.ts';
import type { Passage } from './kernel-path-abi.ts';

/** What a connection has to say that policy allows no longer. */
export function policyChanged(reason: string): CulvertError {
  return new CulvertError('POLICY_CHANGED', `closed by a changed policy: ${reason}`, { side: 'client' });
}

/** Writes down what a passage has carried so far. */
export function carry(connection: Connection, { up, down }: Passage): void {
  // Ends are read one after the other, so a sum may be older than the one before.
  connection.up = Math.max(connection.up, up);
  connection.down = Math.max(connection.down, down);
}

const [ETIMEDOUT, ECONNREFUSED] = [110, 111];

/** What ended it; null for two FINs. An end that has an error got it from the other side. */
export function errorOf({ accepted, openerError, serverError }: Passage): CulvertError | null {
  if (!accepted) {
    const refused = openerError === ECONNREFUSED;
    return new CulvertError(
      refused ? 'DIAL_REFUSED' : openerError === ETIMEDOUT ? 'DIAL_TIMEOUT' : 'CLIENT_GONE',
      refused ? 'the application refused the connection' : 'the connection was never established',
      { side: refused || openerError === ETIMEDOUT ? 'server' : 'client' },
    );
  }
  if (openerError === 0 && serverError === 0) return null;
  const side = openerError === 0 ? 'client' : 'server';
  return new CulvertError(
    'PEER_RESET',
    `the ${side} broke the connection (errno ${openerError || serverError})`,
    {
      side,
    },
  );
}
