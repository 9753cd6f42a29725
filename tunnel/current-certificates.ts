/**
 * Certificates as a shard has them: what the main thread sent last, and those who wait for one that is still to come.
 */
import { CulvertError } from '../base/errors.ts';
import type { IssuedCertificate } from './certificates.ts';
import { clientContext, serverContext, type ClientContext, type ServerContext } from './tls.ts';

/** A certificate ready for use, and when it ends (ms since the epoch). */
export interface ReadyCertificate<Context> {
  readonly identity: string;
  readonly context: Context;
  readonly notAfter: number;
}

interface Held {
  readonly issued: IssuedCertificate;
  server: ServerContext | null;
  client: ClientContext | null;
}

interface Waiter {
  readonly resolve: (held: Held) => void;
  readonly timer: NodeJS.Timeout;
}

export class CurrentCertificates {
  readonly #held = new Map<string, Held>();
  readonly #waiting = new Map<string, Set<Waiter>>();

  set(issued: IssuedCertificate): void {
    const held: Held = { issued, server: null, client: null };
    this.#held.set(issued.identity, held);
    const waiters = this.#waiting.get(issued.identity);
    this.#waiting.delete(issued.identity);
    for (const waiter of waiters ?? []) {
      clearTimeout(waiter.timer);
      waiter.resolve(held);
    }
  }

  forget(identity: string): void {
    this.#held.delete(identity);
  }

  /** What a listener of this identity shows. */
  async server(identity: string, waitMs: number): Promise<ReadyCertificate<ServerContext>> {
    const held = await this.#get(identity, waitMs);
    held.server ??= serverContext(held.issued);
    return { identity, context: held.server, notAfter: held.issued.notAfter };
  }

  /** What a dialling pod of this identity shows. */
  async client(identity: string, waitMs: number): Promise<ReadyCertificate<ClientContext>> {
    const held = await this.#get(identity, waitMs);
    held.client ??= clientContext(held.issued);
    return { identity, context: held.client, notAfter: held.issued.notAfter };
  }

  async #get(identity: string, waitMs: number): Promise<Held> {
    const held = this.#held.get(identity);
    if (held !== undefined && held.issued.notAfter > Date.now()) return held;
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        resolve,
        timer: setTimeout(() => {
          this.#waiting.get(identity)?.delete(waiter);
          reject(
            new CulvertError(
              'CERTIFICATE_UNAVAILABLE',
              `no valid certificate for ${identity} within ${waitMs} ms`,
              {
                side: 'us',
                fix: 'see `culvert status` for why the certificate authority gave none',
              },
            ),
          );
        }, waitMs),
      };
      const waiters = this.#waiting.get(identity) ?? new Set();
      waiters.add(waiter);
      this.#waiting.set(identity, waiters);
    });
  }
}
