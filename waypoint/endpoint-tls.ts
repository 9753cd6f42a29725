/**
 * What TLS to endpoints is done with: from what rules ask for, and the credentials and files they name, to what OpenSSL takes.
 *
 * Made anew when a credential or file is another; connections that are open then go on, and new ones are made beside them.
 */
import { createHash, createPrivateKey, X509Certificate } from 'node:crypto';
import tls from 'node:tls';
import { CulvertError } from '../base/errors.ts';
import { type Credential } from '../model/credential.ts';
import type { EndpointTls } from '../model/endpoint-tls.ts';
import { TlsFiles } from './tls-files.ts';
import { TlsSessions } from './tls-sessions.ts';

/** TLS as it is done with one kind of endpoints. */
export interface UsableTls {
  readonly wanted: EndpointTls;
  readonly context: tls.SecureContext;
  /** Changes with everything that a connection depends on: one pool of connections, and of sessions, for each. */
  readonly key: string;
  /** Of all endpoints. */
  readonly sessions: TlsSessions;
}

/** PEM; null: none. */
interface Material {
  readonly authorities: string | null;
  readonly certificate: string | null;
  readonly key: string | null;
  readonly revoked: string | null;
}

/** What was made, and of which state of credentials and files. */
interface Made {
  readonly state: number;
  readonly result: UsableTls | CulvertError;
}

const certificateBlock = /-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----/g;

export class EndpointTlsStore {
  readonly files: TlsFiles;
  readonly #gateway: string;
  readonly #namespace: string;
  readonly #made = new WeakMap<EndpointTls, Made>();
  /** By key, so that what comes to the same is one thing. */
  readonly #contexts = new Map<string, WeakRef<tls.SecureContext>>();
  #credentials: ReadonlyMap<string, Credential> = new Map();
  readonly #sessions = new TlsSessions();
  #state = 0;

  constructor({ namespace, name }: { readonly namespace: string; readonly name: string }) {
    this.#namespace = namespace;
    this.#gateway = `${namespace}/${name}`;
    this.files = new TlsFiles(() => (this.#state += 1));
  }

  /** All there are; those of other waypoints are not for us, wherever they come from. */
  replace(credentials: readonly Credential[]): void {
    const own = credentials.filter(({ waypoint }) => waypoint === this.#gateway);
    this.#credentials = new Map(own.map(credential => [credential.name, credential]));
    this.#state += 1;
  }

  /** Throws TLS_UNAVAILABLE, whose message says what is missing. */
  use(wanted: EndpointTls): UsableTls {
    let made = this.#made.get(wanted);
    if (made?.state !== this.#state)
      this.#made.set(wanted, (made = { state: this.#state, result: this.#make(wanted) }));
    if (made.result instanceof CulvertError) throw made.result;
    return made.result;
  }

  close(): void {
    this.files.close();
  }

  #make(wanted: EndpointTls): UsableTls | CulvertError {
    try {
      const material = this.#materialOf(wanted);
      const key = createHash('sha256')
        .update(JSON.stringify([wanted, material]))
        .digest('base64url')
        .slice(0, 16);
      let context = this.#contexts.get(key)?.deref();
      if (context === undefined) {
        context = contextOf(material);
        this.#contexts.set(key, new WeakRef(context));
        for (const [other, reference] of this.#contexts)
          if (reference.deref() === undefined) this.#contexts.delete(other);
      }
      return { wanted, context, key, sessions: this.#sessions };
    } catch (thrown) {
      if (thrown instanceof CulvertError) return thrown;
      // What OpenSSL says of PEM has nothing of it in it; what else was thrown might.
      const why = thrown instanceof Error && 'code' in thrown ? String(thrown.code) : 'it can not be used';
      return unavailable(wanted, `a certificate or key is not good: ${why}`);
    }
  }

  #materialOf(wanted: EndpointTls): Material {
    const { trust, client, revoked } = wanted;
    const file = (path: string): string => {
      const read = this.files.read(path);
      if ('problem' in read) throw unavailable(wanted, read.problem);
      return read.text;
    };
    const ownFile = (path: string): string => {
      // Whoever writes a rule elsewhere shall not speak in the name of this namespace.
      if (wanted.namespace !== this.#namespace)
        throw unavailable(wanted, `${path} is for rules of namespace ${this.#namespace} only`);
      return file(path);
    };
    const credential =
      trust.type === 'credential' || client?.type === 'credential' ? this.#credential(wanted) : null;
    const authorities =
      trust.type === 'pem'
        ? trust.pem
        : trust.type === 'file'
          ? file(trust.path)
          : trust.type === 'credential'
            ? (credential?.authorities ?? null)
            : null;
    if (trust.type === 'credential' && authorities === null && client === null)
      throw unavailable(wanted, `Secret ${trust.name} has no ca.crt`);
    if (authorities !== null && (authorities.match(certificateBlock) ?? []).length === 0)
      throw unavailable(wanted, 'there is no certificate among the authorities');
    const material = {
      authorities: trust.type === 'unverified' ? null : (authorities ?? systemAuthorities()),
      certificate: client?.type === 'files' ? ownFile(client.certificate) : (credential?.certificate ?? null),
      key: client?.type === 'files' ? ownFile(client.key) : (credential?.key ?? null),
      revoked: revoked === null ? (credential?.revoked ?? null) : file(revoked),
    };
    if (client === null) return { ...material, certificate: null, key: null };
    if (material.certificate === null || material.key === null)
      throw unavailable(wanted, 'the Secret has no certificate with a key (tls.crt, tls.key)');
    if (!belongTogether(material.certificate, material.key))
      throw unavailable(wanted, 'the key is not that of the certificate');
    return material;
  }

  #credential(wanted: EndpointTls): Credential {
    const { trust, client } = wanted;
    const name = trust.type === 'credential' ? trust.name : client?.type === 'credential' ? client.name : '';
    const found = this.#credentials.get(name);
    if (found !== undefined) return found;
    const isElsewhere = wanted.namespace !== this.#namespace;
    throw unavailable(
      wanted,
      isElsewhere
        ? `Secret ${name} is told to waypoints of its own namespace only, and this one is of ${this.#namespace}`
        : `Secret ${name} is not known here: it is not there, or the control plane may not read it`,
    );
  }
}

function contextOf({ authorities, certificate, key, revoked }: Material): tls.SecureContext {
  return tls.createSecureContext({
    minVersion: 'TLSv1.2',
    ...(authorities === null ? {} : { ca: authorities.match(certificateBlock) ?? [] }),
    ...(certificate === null || key === null ? {} : { cert: certificate, key }),
    ...(revoked === null ? {} : { crl: revoked }),
  });
}

function belongTogether(certificate: string, key: string): boolean {
  return new X509Certificate(certificate).checkPrivateKey(createPrivateKey(key));
}

let known: string | null = null;

/** Those of the machine; where it has none, those that Node brings along. */
function systemAuthorities(): string {
  if (known !== null) return known;
  const own = tls.getCACertificates('system');
  known = (own.length > 0 ? own : tls.getCACertificates('bundled')).join('\n');
  return known;
}

function unavailable({ source }: EndpointTls, why: string): CulvertError {
  return new CulvertError('TLS_UNAVAILABLE', `${source}: ${why}`, {
    side: 'us',
    fix: 'docs/waypoint.md, "TLS to endpoints", says where certificates come from',
  });
}
