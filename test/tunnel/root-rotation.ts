import t from 'tap';
import { fingerprintOf } from '../../tunnel/authority-bundle.ts';
import type { AuthorityBundle, AuthorityEntry } from '../../tunnel/authority-bundle.ts';
import { RootRotation } from '../../tunnel/root-rotation.ts';
import { makeRoot } from './pki.ts';

const overlapMs = 1_000;

function entry(): AuthorityEntry {
  const { issuer } = makeRoot();
  return { certificate: issuer.certificate, privateKey: issuer.privateKey };
}

const [a, b, c] = [entry(), entry(), entry()];
const names = new Map([
  [fingerprintOf(a.certificate), 'a'],
  [fingerprintOf(b.certificate), 'b'],
  [fingerprintOf(c.certificate), 'c'],
]);
const name = (certificate: AuthorityEntry['certificate']): string =>
  names.get(fingerprintOf(certificate)) ?? '?';

function seen(rotation: RootRotation): string {
  const roots = rotation.roots().map(({ certificate, state }) => `${name(certificate)} ${state}`);
  return `${name(rotation.signer.certificate)}: ${roots.join(', ')}`;
}

t.test('what is in the file at the start is trusted, and its first key signs', async t => {
  const rotation = new RootRotation([a, b], overlapMs);
  t.equal(seen(rotation), 'a: a signing, b trusted');
  t.equal(rotation.nextAt(), null);
});

t.test('add, activate, retire', async t => {
  const rotation = new RootRotation([a], overlapMs);
  rotation.adopt([a, b], 0);
  t.equal(seen(rotation), 'a: a signing, b trusted', 'trusted at once');
  rotation.adopt([b, a], 400);
  t.equal(seen(rotation), 'a: a signing, b joining', 'does not sign before others have had time to trust it');
  t.equal(rotation.nextAt(), 1_000);
  t.equal(rotation.settle(999), false);
  t.equal(rotation.settle(1_000), true);
  t.equal(seen(rotation), 'b: b signing, a trusted');
  rotation.adopt([b], 5_000);
  t.equal(seen(rotation), 'b: b signing, a leaving', 'others may show a certificate of it still');
  t.equal(rotation.nextAt(), 7_000);
  t.equal(rotation.settle(7_000), true);
  t.equal(seen(rotation), 'b: b signing');
  t.equal(rotation.nextAt(), null);
});

t.test('replacing the only root in one edit goes through the same steps', async t => {
  const rotation = new RootRotation([a], overlapMs);
  rotation.adopt([b], 0);
  t.equal(seen(rotation), 'a: a signing, b joining');
  rotation.settle(1_000);
  t.equal(seen(rotation), 'b: b signing, a leaving');
  rotation.settle(1_999);
  t.equal(seen(rotation), 'b: b signing, a leaving');
  rotation.settle(2_000);
  t.equal(seen(rotation), 'b: b signing');
});

t.test('one that has been trusted for long signs at once', async t => {
  const rotation = new RootRotation([a, b], overlapMs);
  rotation.adopt([b, a], 0);
  t.equal(seen(rotation), 'b: b signing, a trusted');
});

t.test('an edit taken back in time leaves everything as it was', async t => {
  const rotation = new RootRotation([a], overlapMs);
  rotation.adopt([b], 0);
  rotation.adopt([a], 500);
  t.equal(seen(rotation), 'a: a signing, b leaving');
  rotation.settle(2_500);
  t.equal(seen(rotation), 'a: a signing');
});

t.test('a second edit during the first one', async t => {
  const rotation = new RootRotation([a], overlapMs);
  rotation.adopt([b], 0);
  rotation.adopt([c], 900);
  t.equal(seen(rotation), 'a: a signing, b leaving, c joining');
  rotation.settle(1_900);
  t.equal(seen(rotation), 'c: c signing, a leaving, b leaving');
  rotation.settle(2_899);
  t.equal(seen(rotation), 'c: c signing, a leaving, b leaving');
  rotation.settle(2_900);
  t.equal(seen(rotation), 'c: c signing');
});

t.test(
  'two agents that see each edit at different moments always trust what the other signs with',
  async t => {
    const distrust: string[] = [];
    const edits: AuthorityBundle[] = [[a, b], [b, a], [b], [c], [a], [c, b]];
    // The second agent is late by almost one overlap; edits come faster than anything settles.
    for (const [late, every] of [
      [990, 300],
      [500, 1_500],
      [990, 5_000],
    ] as const) {
      const [one, two] = [new RootRotation([a], overlapMs), new RootRotation([a], overlapMs)];
      for (let now = 0; now < edits.length * every + 6_000; now += 10) {
        const [first, second] = [edits[now / every], edits[(now - late) / every]];
        if (first !== undefined) one.adopt(first, now);
        if (second !== undefined) two.adopt(second, now);
        one.settle(now);
        two.settle(now);
        for (const [signs, trusts] of [
          [one, two],
          [two, one],
        ] as const) {
          const trusted = trusts.roots().map(root => root.certificate.fingerprint256);
          if (!trusted.includes(signs.signer.root.fingerprint256)) {
            distrust.push(`at ${now} ms, late by ${late}: ${seen(signs)} against ${seen(trusts)}`);
          }
        }
      }
    }
    t.strictSame(distrust, []);
  },
);

t.test('a bundle that was changed while nobody looked goes through the same steps', async t => {
  const distributed = { roots: [a.certificate], now: 0 };
  const added = new RootRotation([b, a], overlapMs, distributed);
  t.equal(seen(added), 'a: a signing, b joining', 'the key whose root is known signs on');
  added.settle(1_000);
  t.equal(seen(added), 'b: b signing, a trusted');
  const replaced = new RootRotation([b], overlapMs, distributed);
  t.equal(
    seen(replaced),
    'b: b signing, a leaving',
    'nobody else can sign; what was signed before is trusted still',
  );
  replaced.settle(1_999);
  t.equal(seen(replaced), 'b: b signing, a leaving');
  replaced.settle(2_000);
  t.equal(seen(replaced), 'b: b signing');
  const same = new RootRotation([a], overlapMs, distributed);
  t.equal(seen(same), 'a: a signing');
  t.equal(same.nextAt(), null);
  t.equal(seen(new RootRotation([a], overlapMs, { roots: [], now: 0 })), 'a: a signing');
});
