import t from 'tap';
import { protocols } from '../../proto/load.ts';
import { unknownFields } from '../../proto/unknown-fields.ts';
import { fields, message, packed, text, varint } from './bytes.ts';

/** Paths as `field#index`. */
function find(...parts: readonly Buffer[]): readonly string[] {
  return unknownFields(protocols.schema, 'istio.security.Authorization', fields(...parts)).map(path =>
    path.map(({ field, index }) => `${field}#${index}`).join(' '),
  );
}

const rule = (...parts: readonly Buffer[]) => message(5, ...parts);

t.test('a message of known fields has none', async t => {
  t.strictSame(find(), []);
  t.strictSame(
    find(text(1, 'p'), varint(3, 1), rule(message(1, message(2, message(1, text(1, 'x')), packed(9, 80))))),
    [],
  );
});

t.test('unknown fields are found at every depth, with the way to them', async t => {
  t.strictSame(find(text(90, 'x'), varint(90, 1)), ['90#0', '90#1']);
  t.strictSame(find(rule(), rule(message(1, message(2), message(2, varint(90, 1)))), rule(text(91, 'x'))), [
    '5#1 1#0 2#1 90#0',
    '5#2 91#0',
  ]);
});

t.test('a field of another kind than the file says is passed over', async t => {
  t.strictSame(find(varint(5, 7), text(91, 'x')), ['91#0']);
});

t.test('bytes that are no message are refused', async t => {
  t.throws(() => find(Buffer.from([0x2a, 0x05, 0x0a])));
});
