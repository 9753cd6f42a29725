/**
 * What a Secret has for TLS to endpoints, for one waypoint that may have it: PEM. Never shown, logged or explained.
 *
 * Made by control/build-credentials.ts, told to nobody but the pods of this waypoint, kept by waypoint/endpoint-tls.ts.
 */
export interface Credential {
  /** The Gateway whose pods may have it, `namespace/name`. */
  readonly waypoint: string;
  /** The Secret, `namespace/name`. */
  readonly name: string;
  /** Certificate with its chain, and its key; null where nobody asks for them, or the Secret has none. */
  readonly certificate: string | null;
  readonly key: string | null;
  /** Authorities; null: the Secret has none. */
  readonly authorities: string | null;
  /** Certificates that have been revoked; null: the Secret says nothing about that. */
  readonly revoked: string | null;
}

/** The key of a credential: the waypoint, then the Secret. */
export function credentialKey({ waypoint, name }: Pick<Credential, 'waypoint' | 'name'>): string {
  return `${waypoint}/${name}`;
}
