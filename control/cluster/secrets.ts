/**
 * Where the authority of a cluster lies: in the Secret `cacerts` when somebody has plugged one in, otherwise in our own
 * Secret, which whichever replica is first makes. Both are watched, so that a change takes effect without a restart.
 */
import * as z from 'zod';
import type { Logger } from '../../base/log.ts';
import type { BundleStore } from '../authority-store.ts';
import { bundleOfCacerts } from '../cacerts.ts';
import { hasStatus } from './api-error.ts';
import type { Api } from './api.ts';
import { Reflector, type ReflectorTiming } from './reflector.ts';

/** Names that users of meshes know, and the key of our own Secret. */
const authoritySecret = 'culvert-ca';
const pluggedInSecret = 'cacerts';
const authorityKey = 'authority.pem';

export interface SecretBundleOptions {
  readonly api: Api;
  readonly namespace: string;
  readonly log: Logger;
  readonly timing?: Partial<ReflectorTiming>;
}

const secretSchema = z.object({ data: z.record(z.string(), z.base64()).nullish() });

export class SecretBundle implements BundleStore {
  readonly name: string;
  readonly #options: SecretBundleOptions;
  readonly #listeners = new Set<() => void>();
  readonly #reflectors: readonly Reflector[];

  constructor(options: SecretBundleOptions) {
    this.#options = options;
    this.name = `Secret ${options.namespace}/${pluggedInSecret} or ${authoritySecret}`;
    // What they bring is only the news that there is something to read.
    const changed = (): void => {
      for (const listener of this.#listeners) listener();
    };
    const sink = { begin: () => {}, set: changed, delete: changed, end: changed };
    this.#reflectors = [pluggedInSecret, authoritySecret].map(
      name =>
        new Reflector({
          api: options.api,
          path: this.#path(),
          fieldSelector: `metadata.name=${name}`,
          sink,
          log: options.log,
          timing: options.timing ?? {},
        }),
    );
  }

  /** From now on changes are told. */
  start(): void {
    for (const reflector of this.#reflectors) reflector.start();
  }

  async stop(): Promise<void> {
    this.#listeners.clear();
    await Promise.all(this.#reflectors.map(reflector => reflector.stop()));
  }

  async read(): Promise<string | null> {
    const { namespace } = this.#options;
    const pluggedIn = await this.#secret(pluggedInSecret);
    if (pluggedIn !== null) return bundleOfCacerts(pluggedIn, `Secret ${namespace}/${pluggedInSecret}`);
    const own = await this.#secret(authoritySecret);
    // A Secret without the key is one that can't be used, and must not be taken for none.
    return own === null ? null : (own[authorityKey] ?? '');
  }

  async create(bundle: string): Promise<'made' | 'exists'> {
    try {
      await this.#options.api.json({
        method: 'POST',
        path: this.#path(),
        body: {
          apiVersion: 'v1',
          kind: 'Secret',
          type: 'Opaque',
          metadata: {
            name: authoritySecret,
            namespace: this.#options.namespace,
            labels: { 'app.kubernetes.io/part-of': 'culvert' },
          },
          data: { [authorityKey]: Buffer.from(bundle).toString('base64') },
        },
      });
      this.#options.log.info({ secret: authoritySecret }, 'a certificate authority was made');
      return 'made';
    } catch (error) {
      if (hasStatus(error, 409)) return 'exists';
      throw error;
    }
  }

  onChange(callback: () => void): () => void {
    this.#listeners.add(callback);
    return () => this.#listeners.delete(callback);
  }

  /** The decoded entries of a Secret, null when there is none. */
  async #secret(name: string): Promise<Record<string, string> | null> {
    try {
      const { data } = secretSchema.parse(await this.#options.api.json({ path: `${this.#path()}/${name}` }));
      const entries = Object.entries(data ?? {});
      return Object.fromEntries(
        entries.map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
      );
    } catch (error) {
      if (hasStatus(error, 404)) return null;
      throw error;
    }
  }

  #path(): string {
    return `/api/v1/namespaces/${this.#options.namespace}/secrets`;
  }
}
