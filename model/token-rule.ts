/**
 * Tokens of requests: whose are taken, where they stand in a request, and what a request looks like when they have been read.
 * Pure; whether a signature is good is for waypoint/tokens.ts.
 *
 * Headers that rules write are ours alone: what a client sends under their names is removed, token or not.
 */
import type { Claims } from './http-policy-facts.ts';
import type { HeaderList, HttpHead } from './http-head.ts';
import type { PolicyTarget } from './http-policy.ts';

/** A RequestAuthentication, as a waypoint gets it. */
export interface TokenRules {
  readonly name: string;
  readonly namespace: string;
  readonly targets: readonly PolicyTarget[];
  readonly rules: readonly TokenRule[];
}

export interface TokenRule {
  readonly issuer: string;
  /** Empty: any. */
  readonly audiences: readonly string[];
  readonly keys: KeysFrom;
  /** Names in lower case. */
  readonly headers: readonly { readonly name: string; readonly prefix: string }[];
  readonly params: readonly string[];
  readonly cookies: readonly string[];
  /** Whether the endpoint gets the token too. */
  readonly forward: boolean;
  readonly payloadHeader: string | null;
  readonly claimHeaders: readonly { readonly header: string; readonly claim: string }[];
  /** Claims whose text is a list. */
  readonly lists: readonly string[];
}

/** `issuer`: where OpenID discovery says. */
export type KeysFrom =
  | { readonly kind: 'inline'; readonly jwks: string }
  | { readonly kind: 'uri' | 'issuer'; readonly url: string; readonly timeoutMs: number };

export function tokenRulesKey({ namespace, name }: TokenRules): string {
  return `${namespace}/${name}`;
}

/** A token of a request, and the rules that look where it stands. */
export interface FoundToken {
  readonly token: string;
  readonly rules: readonly TokenRule[];
}

/** Every token in a request, each once, in the order of the rules. */
export function tokensOf(head: HttpHead, rules: readonly TokenRule[]): FoundToken[] {
  const found = new Map<string, TokenRule[]>();
  const add = (token: string, rule: TokenRule): void => {
    const known = found.get(token);
    if (known === undefined) found.set(token, [rule]);
    else if (!known.includes(rule)) known.push(rule);
  };
  for (const rule of rules) {
    for (const { name, prefix } of rule.headers) {
      for (const value of valuesOf(head.headers, name)) {
        const token = afterPrefix(value, prefix);
        if (token !== null) add(token, rule);
      }
    }
    if (rule.params.length > 0 && head.query !== null) {
      for (const [name, value] of new URLSearchParams(head.query))
        if (rule.params.includes(name)) add(value, rule);
    }
    if (rule.cookies.length > 0) {
      for (const [name, value] of cookiesOf(head.headers)) if (rule.cookies.includes(name)) add(value, rule);
    }
  }
  return [...found].map(([token, of]) => ({ token, rules: of }));
}

/** The request without what only these rules may write. */
export function withoutOutput(head: HttpHead, rules: readonly TokenRule[]): HttpHead {
  const names = rules.flatMap(({ payloadHeader, claimHeaders }) => [
    ...(payloadHeader === null ? [] : [payloadHeader]),
    ...claimHeaders.map(({ header }) => header),
  ]);
  // Also where `-` is written `_`, which some servers take for the same.
  const folded = new Set(names.map(fold));
  return folded.size === 0
    ? head
    : { ...head, headers: filtered(head.headers, name => !folded.has(fold(name))) };
}

/** The request after a token was found good: without the token where it is not for the endpoint, and with its claims. */
export function withClaims(head: HttpHead, rule: TokenRule, claims: Claims, payload: string): HttpHead {
  const bare = rule.forward ? head : withoutToken(head, rule);
  const added: string[] = rule.payloadHeader === null ? [] : [rule.payloadHeader, payload];
  for (const { header, claim } of rule.claimHeaders) {
    const value = claimText(claims, claim);
    if (value !== null) added.push(header, value);
  }
  return added.length === 0 ? bare : { ...bare, headers: [...bare.headers, ...added] };
}

/** Claims as policies see them: lists that are written as one text are lists. */
export function policyClaims(claims: Claims, { lists }: TokenRule): Claims {
  const split = lists.flatMap(name => {
    const value = Object.hasOwn(claims, name) ? claims[name] : null;
    return typeof value === 'string' ? [[name, value.split(' ').filter(word => word !== '')] as const] : [];
  });
  return { ...claims, ...Object.fromEntries(split) };
}

function withoutToken(head: HttpHead, { headers, params, cookies }: TokenRule): HttpHead {
  const isToken = (name: string, value: string): boolean =>
    headers.some(from => from.name === name.toLowerCase() && afterPrefix(value, from.prefix) !== null);
  let list = filtered(head.headers, (name, value) => !isToken(name, value));
  if (cookies.length > 0) list = withoutCookies(list, cookies);
  return { ...head, headers: list, query: withoutParams(head.query, params) };
}

function withoutParams(query: string | null, params: readonly string[]): string | null {
  if (query === null || params.length === 0) return query;
  const kept = query.split('&').filter(pair => {
    const [name] = new URLSearchParams(pair).keys();
    return name === undefined || !params.includes(name);
  });
  return kept.length === 0 ? null : kept.join('&');
}

function withoutCookies(headers: HeaderList, cookies: readonly string[]): HeaderList {
  const list: string[] = [];
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? '';
    const value = headers[at + 1] ?? '';
    if (name.toLowerCase() !== 'cookie') {
      list.push(name, value);
      continue;
    }
    const kept = value.split(';').filter(pair => !cookies.includes(pair.slice(0, pair.indexOf('=')).trim()));
    if (kept.length > 0) list.push(name, kept.join(';').trim());
  }
  return list;
}

function filtered(headers: HeaderList, keeps: (name: string, value: string) => boolean): HeaderList {
  const list: string[] = [];
  for (let at = 0; at < headers.length; at += 2) {
    const name = headers[at] ?? '';
    const value = headers[at + 1] ?? '';
    if (keeps(name, value)) list.push(name, value);
  }
  return list;
}

function valuesOf(headers: HeaderList, name: string): string[] {
  const values: string[] = [];
  for (let at = 0; at < headers.length; at += 2)
    if (headers[at]?.toLowerCase() === name) values.push(headers[at + 1] ?? '');
  return values;
}

/** Schemes of `Authorization` are read without regard to case. */
function afterPrefix(value: string, prefix: string): string | null {
  const start = value.slice(0, prefix.length);
  return start.toLowerCase() === prefix.toLowerCase() ? value.slice(prefix.length).trim() : null;
}

function* cookiesOf(headers: HeaderList): Iterable<readonly [name: string, value: string]> {
  for (const value of valuesOf(headers, 'cookie')) {
    for (const pair of value.split(';')) {
      const equals = pair.indexOf('=');
      if (equals > 0)
        yield [
          pair.slice(0, equals).trim(),
          pair
            .slice(equals + 1)
            .trim()
            .replaceAll(/^"|"$/g, ''),
        ];
    }
  }
}

/** What fits in a header, of texts, numbers, truth values and lists of them. */
function claimText(claims: Claims, claim: string): string | null {
  const value = Object.hasOwn(claims, claim) ? claims[claim] : nested(claims, claim.split('.'));
  const items: readonly unknown[] = Array.isArray(value) ? value : [value];
  if (items.length === 0 || !items.every(isPlain)) return null;
  const text = items.join(',');
  return /^[\x21-\x7e\x80-\xff](?:[\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?$/.test(text) ? text : null;
}

function isPlain(value: unknown): value is string | number | boolean {
  return typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean';
}

function nested(claims: Claims, path: readonly string[]): unknown {
  let at: unknown = claims;
  for (const name of path) {
    if (typeof at !== 'object' || at === null || !Object.hasOwn(at, name)) return undefined;
    at = (at as Claims)[name];
  }
  return at;
}

function fold(name: string): string {
  return name.toLowerCase().replaceAll('_', '-');
}
