/**
 * TLS from a waypoint to the endpoints of a service: what it shows them, whom it believes, and which name they have to prove.
 *
 * Translated from DestinationRule by control/build-endpoint-tls.ts, from BackendTLSPolicy by build-backend-tls.ts. Plain JSON data.
 * Certificates of authorities that anybody may see are in it; what has a private key beside it is only named, and told to
 * the waypoints that may have it (credential.ts). Done by waypoint/endpoint-tls.ts.
 */
export interface EndpointTls {
  /** Who asks for it, for people: `DestinationRule shop/web`. */
  readonly source: string;
  /** Namespace of whoever asks for it: only its own waypoints use credentials for it. */
  readonly namespace: string;
  /** Said in the greeting; null: nothing. */
  readonly sni: string | null;
  /** One of these the endpoint's certificate has to be for. Empty only where nothing is verified. */
  readonly names: readonly TlsName[];
  readonly trust: TlsTrust;
  /** What the waypoint proves who it is by; null: by nothing. */
  readonly client: TlsClient | null;
  /** File with certificates that have been revoked; null: none. */
  readonly revoked: string | null;
}

/** `any`: a DNS name, address or URI, as the certificate has it. */
export interface TlsName {
  readonly type: 'dns' | 'uri' | 'any';
  readonly value: string;
}

/** Whose word counts about who an endpoint is. */
export type TlsTrust =
  /** The authorities that the machine knows. */
  | { readonly type: 'system' }
  | { readonly type: 'pem'; readonly pem: string }
  /** Of the waypoint's own machine. */
  | { readonly type: 'file'; readonly path: string }
  | { readonly type: 'credential'; readonly name: string }
  /** Nobody's is asked for: nothing is verified. */
  | { readonly type: 'unverified' };

export type TlsClient =
  | { readonly type: 'files'; readonly certificate: string; readonly key: string }
  /** `namespace/name` */
  | { readonly type: 'credential'; readonly name: string };
