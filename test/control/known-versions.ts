/** What clients say they have, read by hand, against what protobufjs reads. */
import * as fc from 'fast-check';
import t from 'tap';
import { discoveryService } from '../../control/ads-messages.ts';
import { KnownReader, splitRequest } from '../../control/known-versions.ts';
import { protocols } from '../../proto/load.ts';

const deserialize = (bytes: Buffer) => discoveryService().DeltaAggregatedResources.requestDeserialize(bytes);

t.test('a request says the same as to protobufjs', async () => {
  const text = fc.string({ unit: 'binary', minLength: 1, maxLength: 40 });
  fc.assert(
    fc.property(
      fc.dictionary(text, text, { maxKeys: 20 }),
      fc.array(text, { maxLength: 3 }),
      text,
      (versions, names, nonce) => {
        const given = {
          node: { id: 'n', clientFeatures: ['f'] },
          typeUrl: 't',
          resourceNamesSubscribe: names,
          initialResourceVersions: versions,
          responseNonce: nonce,
        };
        const bytes = protocols.deltaRequest.encode(given);
        const { initialResourceVersions, ...rest } = deserialize(bytes);
        const expected = protocols.deltaRequest.decode(bytes);
        t.strictSame(initialResourceVersions, new Map(Object.entries(expected.initialResourceVersions)));
        t.equal(rest.responseNonce, expected.responseNonce);
        t.strictSame([...rest.resourceNamesSubscribe], [...expected.resourceNamesSubscribe]);
      },
    ),
  );
});

t.test('entries may stand between other fields', async t => {
  const known = (name: string) => protocols.deltaRequest.encode({ initialResourceVersions: { [name]: '1' } });
  const other = (typeUrl: string) => protocols.deltaRequest.encode({ typeUrl });
  const pieces = [known('a'), other('x'), known('b'), other('y'), known('c')];
  const { entries, rest } = splitRequest(Buffer.concat(pieces));
  t.strictSame(entries, Buffer.concat([known('a'), known('b'), known('c')]));
  t.strictSame(rest, Buffer.concat([other('x'), other('y')]));
  t.strictSame([...deserialize(Buffer.concat(pieces)).initialResourceVersions.keys()], ['a', 'b', 'c']);
});

t.test('what is cut off is refused, wherever', async t => {
  const bytes = protocols.deltaRequest.encode({ initialResourceVersions: { name: 'version' } });
  for (let length = 1; length < bytes.length; length++)
    t.throws(() => deserialize(bytes.subarray(0, length)), String(length));
});

t.test('those who know the same share what was read, others do not', async t => {
  const entries = (version: string) =>
    protocols.deltaRequest.encode({
      initialResourceVersions: Object.fromEntries(
        Array.from({ length: 2_000 }, (_, n) => [`Kubernetes//Pod/shop/pod-${n}`, version]),
      ),
    });
  const reader = new KnownReader({ kept: 2, keepMs: 60_000 });
  const first = reader.read(entries('1'));
  t.equal(reader.read(entries('1')), first);
  const second = reader.read(entries('2'));
  t.equal(second.get('Kubernetes//Pod/shop/pod-7'), '2');
  reader.read(entries('3'));
  t.not(reader.read(entries('1')), first, 'the oldest is forgotten');
});
