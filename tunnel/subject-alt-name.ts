/**
 * The identity in a peer's certificate, from the text that Node makes of its subject alternative names.
 *
 * Node separates names by `, ` and writes a name with anything odd in it (comma, quote, control character, non-ASCII) as
 * a JSON string, so that a name can't pretend to be two. Whatever doesn't read exactly like that is no identity.
 */
import { parseSpiffeId } from '../model/identity.ts';

export interface AlternativeName {
  /** `URI`, `DNS`, `IP Address`, `email`, `DirName`, `Registered ID`, `othername`. */
  readonly kind: string;
  readonly value: string;
}

const plainName = /([A-Za-z][A-Za-z ]*):([^",\\]*)(?:, |$)/y;
const quotedName = /([A-Za-z][A-Za-z ]*):("(?:[^"\\]|\\.)*")(?:, |$)/y;

/** Returns null for text of any other form. */
export function parseSubjectAltName(text: string): AlternativeName[] | null {
  const names: AlternativeName[] = [];
  let at = 0;
  while (at < text.length) {
    plainName.lastIndex = quotedName.lastIndex = at;
    const quoted = quotedName.exec(text);
    const [all, kind, value] = quoted ?? plainName.exec(text) ?? [];
    if (all === undefined || kind === undefined || value === undefined) return null;
    const unquoted = quoted === null ? value : unquote(value);
    if (unquoted === null) return null;
    names.push({ kind, value: unquoted });
    at += all.length;
    if (at === text.length && all.endsWith(', ')) return null;
  }
  return names;
}

export type PeerIdentity =
  | { readonly identity: string; readonly trustDomain: string; readonly problem: null }
  | { readonly identity: null; readonly trustDomain: null; readonly problem: string };

/**
 * A certificate has exactly one URI name and that is its SPIFFE ID (X.509-SVID §2); with several, one check could see the
 * first and another the second. Names of other kinds mean nothing here.
 */
export function peerIdentity(subjectAltName: string | undefined): PeerIdentity {
  if (subjectAltName === undefined || subjectAltName === '')
    return none('it has no subject alternative name');
  const names = parseSubjectAltName(subjectAltName);
  if (names === null) return none('its subject alternative names cannot be read');
  const uris = names.filter(name => name.kind === 'URI');
  const [uri] = uris;
  if (uri === undefined) return none('it has no URI among its subject alternative names');
  if (uris.length > 1) return none(`it has ${uris.length} URIs where exactly one may be`);
  const parsed = parseSpiffeId(uri.value);
  if (parsed === null)
    return none(`its URI ${quote(uri.value)} is not spiffe://<trust domain>/ns/<namespace>/sa/<name>`);
  return { identity: uri.value, trustDomain: parsed.trustDomain, problem: null };
}

function none(problem: string): PeerIdentity {
  return { identity: null, trustDomain: null, problem };
}

/** Fit for a log line, whatever the peer wrote. */
function quote(text: string): string {
  const quoted = JSON.stringify(text);
  return quoted.length > 200 ? `${quoted.slice(0, 200)}…` : quoted;
}

function unquote(json: string): string | null {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === 'string' ? value : null;
  } catch {
    return null;
  }
}
