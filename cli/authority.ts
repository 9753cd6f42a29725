/**
 * What `culvert authority rotate` does to the authority's file, while agents run over it.
 *
 * A rotation is three steps: `addRoot` (trusted by all), `activateRoot` (it signs), `retireRoot` (the old one goes). Each
 * replaces the file as a whole, and each can be the last one for as long as one likes.
 */
import type { X509Certificate } from 'node:crypto';
import { CulvertError } from '../base/errors.ts';
import { newBundle } from '../tunnel/authority.ts';
import { fingerprintOf, formatBundle, parseBundle, rootsOf, signerOf } from '../tunnel/authority-bundle.ts';
import type { AuthorityBundle } from '../tunnel/authority-bundle.ts';
import { editAuthorityFile, missing, readAuthorityFile } from '../tunnel/authority-file.ts';
import { describeRoot } from '../tunnel/authority-status.ts';
import type { RootStatus } from '../tunnel/authority-status.ts';

/** A root as the file has it; agents that run may be a step behind for some seconds. */
export interface ListedRoot extends RootStatus {
  /** Its key is in the file, so it can be activated. */
  readonly hasKey: boolean;
}

export interface RotationResult {
  /** The root that this was about. */
  readonly fingerprint: string;
  readonly roots: readonly ListedRoot[];
}

/** Agents show certificates of the former signer for this long at most after a change (two overlaps and the renewal). */
const settleMs = 30_000;

/** The one that signs first. */
export function listRoots(path: string): ListedRoot[] {
  const text = readAuthorityFile(path);
  if (text === null) throw missing(path);
  return list(parseBundle(text, path));
}

/** Makes a new root, trusted from now on, which does not sign yet. */
export function addRoot(path: string, now: number): RotationResult {
  return edit(path, bundle => {
    const added = parseBundle(newBundle(now), 'the new root');
    return { bundle: [...bundle, ...added], about: rootsOf(added) };
  });
}

/**
 * Lets a root sign; the former one stays trusted.
 * @param wanted beginning of its fingerprint; null for the latest root with a key
 */
export function activateRoot(path: string, wanted: string | null): RotationResult {
  return edit(path, bundle => {
    const signing = fingerprintOf(signerOf(bundle).certificate);
    const ready = bundle.filter(
      entry => entry.privateKey !== null && fingerprintOf(entry.certificate) !== signing,
    );
    const certificates = ready.map(entry => entry.certificate);
    const latest = certificates.reduce<X509Certificate | null>(
      (best, next) => (best === null || next.validFromDate >= best.validFromDate ? next : best),
      null,
    );
    const chosen = wanted === null ? latest : only(certificates, wanted);
    if (chosen === null)
      throw unknownRoot(wanted, 'no other root with a key', 'make one with `culvert authority rotate add`');
    const first = bundle.filter(entry => entry.certificate === chosen);
    return { bundle: [...first, ...bundle.filter(entry => entry.certificate !== chosen)], about: [chosen] };
  });
}

/**
 * Removes a root that does not sign. Certificates that it signed are worth nothing once agents have seen the change.
 * @param wanted beginning of its fingerprint; null if there is only one such root
 * @param force even if the file was changed so recently that agents may not have replaced their certificates
 */
export function retireRoot(
  path: string,
  wanted: string | null,
  options: { now: number; force: boolean },
): RotationResult {
  return edit(path, (bundle, changedAt) => {
    const signing = signerOf(bundle).root;
    const idle = rootsOf(bundle).filter(root => root !== signing);
    if (wanted !== null && only([signing], wanted) !== null) {
      throw new CulvertError('AUTHORITY_ROOT_SIGNS', `the root ${wanted} signs, so it cannot be retired`, {
        fix: 'let another sign first: `culvert authority rotate activate`',
      });
    }
    const chosen = wanted === null ? sole(idle) : only(idle, wanted);
    if (chosen === null)
      throw unknownRoot(wanted, 'not exactly one root that does not sign', 'name one by its fingerprint');
    const age = options.now - changedAt;
    if (age < settleMs && !options.force) {
      const seconds = Math.ceil((settleMs - age) / 1000);
      throw new CulvertError(
        'AUTHORITY_TOO_SOON',
        `the authority was changed ${Math.round(age / 1000)} s ago`,
        {
          fix: `agents may still use certificates of that root: try again in ${seconds} s, or use --force`,
        },
      );
    }
    return { bundle: bundle.filter(entry => entry.certificate !== chosen), about: [chosen] };
  });
}

type Change = (
  bundle: AuthorityBundle,
  changedAt: number,
) => { bundle: AuthorityBundle; about: readonly X509Certificate[] };

function edit(path: string, change: Change): RotationResult {
  return editAuthorityFile(path, (text, changedAt) => {
    const { bundle, about } = change(parseBundle(text, path), changedAt);
    const edited = formatBundle(bundle);
    // What the agents will make of it, before they see it.
    const roots = list(parseBundle(edited, 'the changed authority'));
    return { text: edited, result: { fingerprint: about.map(fingerprintOf).join(), roots } };
  });
}

function list(bundle: AuthorityBundle): ListedRoot[] {
  const signing = signerOf(bundle).root;
  const roots = rootsOf(bundle);
  return [signing, ...roots.filter(root => root !== signing)].map(certificate => ({
    ...describeRoot(certificate, certificate === signing ? 'signing' : 'trusted'),
    hasKey: bundle.some(entry => entry.certificate === certificate && entry.privateKey !== null),
  }));
}

function only(certificates: readonly X509Certificate[], wanted: string): X509Certificate | null {
  const prefix = wanted.replaceAll(':', '').toLowerCase();
  return prefix === ''
    ? null
    : sole(certificates.filter(certificate => fingerprintOf(certificate).startsWith(prefix)));
}

function sole<T>(items: readonly T[]): T | null {
  return items.length === 1 ? (items[0] ?? null) : null;
}

function unknownRoot(wanted: string | null, otherwise: string, fix: string): CulvertError {
  const message =
    wanted === null
      ? `there is ${otherwise}`
      : `${wanted} is not the beginning of exactly one such root's fingerprint`;
  return new CulvertError('AUTHORITY_ROOT_UNKNOWN', message, { fix });
}
