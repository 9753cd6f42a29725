/**
 * The tokens of a request: found where the rules of its destination say, and each held against the keys of its issuer.
 * Without a token a request goes on as nobody's; one that is not good refuses it.
 */
import { decodeJwt, errors, jwtVerify, type JWTPayload } from 'jose';
import { CulvertError } from '../base/errors.ts';
import { isPreflight } from '../model/http-cors.ts';
import type { HttpHead } from '../model/http-head.ts';
import type { Claims } from '../model/http-policy-facts.ts';
import { policyClaims, tokensOf, withClaims, type FoundToken, type TokenRule } from '../model/token-rule.ts';
import type { KeySet, KeySets } from './key-sets.ts';

/** Keys of two sides only: who can check these can not make them. `none` and shared secrets (HS256…) are no proof. */
const algorithms = 'RS256 RS384 RS512 PS256 PS384 PS512 ES256 ES384 ES512 EdDSA Ed25519'.split(' ');
/** Clocks differ. */
const leewaySeconds = 60;
const maxTokenLength = 16 * 1024;
const maxTokens = 4;

export interface Authenticated {
  /** What goes on: without what only a waypoint may write, and without tokens that are not for the endpoint. */
  readonly head: HttpHead;
  /** Of the first token, in the order of the rules; null without any. */
  readonly claims: Claims | null;
}

/**
 * At once where there is no token. Throws TOKEN_INVALID or KEYS_UNAVAILABLE.
 * @param head without what only these rules may write
 */
export function authenticate(
  keys: KeySets,
  head: HttpHead,
  rules: readonly TokenRule[],
): Authenticated | Promise<Authenticated> {
  // Browsers send no tokens with these, and what is asked is only whether to ask.
  const tokens = isPreflight(head) ? [] : tokensOf(head, rules);
  return tokens.length === 0 ? { head, claims: null } : verifyAll(keys, head, tokens);
}

async function verifyAll(
  keys: KeySets,
  head: HttpHead,
  tokens: readonly FoundToken[],
): Promise<Authenticated> {
  if (tokens.length > maxTokens) throw invalid(`${tokens.length} tokens`);
  let [changed, first]: [HttpHead, Claims | null] = [head, null];
  for (const found of tokens) {
    const { rule, payload } = await verify(keys, found);
    first ??= policyClaims(payload, rule);
    changed = withClaims(changed, rule, payload, found.token.split('.')[1] ?? '');
  }
  return { head: changed, claims: first };
}

interface Verified {
  readonly rule: TokenRule;
  readonly payload: JWTPayload;
}

/** Any rule of the token's issuer that looks where it stands may vouch for it. */
async function verify(keys: KeySets, { token, rules }: FoundToken): Promise<Verified> {
  const issuer = issuerOf(token);
  const fit = rules.filter(rule => rule.issuer === issuer);
  if (fit.length === 0) throw invalid(`no rule is about the issuer ${JSON.stringify(issuer)}`);
  let failure: CulvertError | null = null;
  for (const rule of fit) {
    try {
      return { rule, payload: await check(keys, token, rule) };
    } catch (thrown) {
      failure ??= thrown instanceof CulvertError ? thrown : invalid((thrown as Error).message);
    }
  }
  throw failure ?? invalid('no rule vouches for it');
}

async function check(keys: KeySets, token: string, rule: TokenRule): Promise<JWTPayload> {
  const set = await keys.get(rule.keys);
  if (set === null)
    throw new CulvertError('KEYS_UNAVAILABLE', `the keys of ${rule.issuer} are not known`, {
      side: 'server',
      fix: 'see jwks, jwksUri and whether the waypoint reaches it',
    });
  try {
    return await checkWith(set, token, rule);
  } catch (thrown) {
    if (!(thrown instanceof errors.JWKSNoMatchingKey)) throw thrown;
    const newer = await keys.getNewer(rule.keys);
    if (newer === null) throw thrown;
    return checkWith(newer, token, rule);
  }
}

async function checkWith(set: KeySet, token: string, rule: TokenRule): Promise<JWTPayload> {
  const options = {
    issuer: rule.issuer,
    algorithms,
    clockTolerance: leewaySeconds,
    ...(rule.audiences.length === 0 ? {} : { audience: [...rule.audiences] }),
  };
  try {
    return (await jwtVerify(token, set, options)).payload;
  } catch (thrown) {
    // A token that does not say which key it is of, of an issuer that has several.
    if (!(thrown instanceof errors.JWKSMultipleMatchingKeys)) throw thrown;
    for await (const key of thrown) {
      try {
        return (await jwtVerify(token, key, options)).payload;
      } catch (error) {
        if (!(error instanceof errors.JWSSignatureVerificationFailed)) throw error;
      }
    }
    throw new errors.JWSSignatureVerificationFailed();
  }
}

function issuerOf(token: string): unknown {
  if (token.length > maxTokenLength) throw invalid(`longer than ${maxTokenLength}`);
  try {
    return decodeJwt(token).iss;
  } catch {
    throw invalid('it is no JSON Web Token');
  }
}

function invalid(why: string): CulvertError {
  return new CulvertError('TOKEN_INVALID', why, { side: 'client' });
}
