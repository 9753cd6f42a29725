/** Trace contexts of W3C and B3. */
import t from 'tap';
import { formatTraceparent, parseB3, parseTraceparent } from '../../model/trace-context.ts';

const id = '0af7651916cd43dd8448eb211c80319c';
const span = 'b7ad6b7169203331';
const none = { b3: '', traceId: '', spanId: '', sampled: '', flags: '' };

t.test('traceparent', async t => {
  t.same(parseTraceparent(`00-${id}-${span}-01`), { traceId: id, spanId: span, sampled: true });
  t.same(parseTraceparent(`00-${id}-${span}-02`)?.sampled, false, 'other flags say nothing');
  t.same(parseTraceparent(`cc-${id}-${span}-01-what-will-be`)?.traceId, id, 'a later version has more');
  for (const bad of [
    '',
    `00-${id}-${span}-01-more`,
    `ff-${id}-${span}-01`,
    `00-${'0'.repeat(32)}-${span}-01`,
    `00-${id}-${'0'.repeat(16)}-01`,
    `00-${id.toUpperCase()}-${span}-01`,
    `00-${id}-${span}`,
  ])
    t.equal(parseTraceparent(bad), null, bad);
  t.equal(formatTraceparent(id, span, true), `00-${id}-${span}-01`);
});

t.test('B3 in one header', async t => {
  const b3 = (text: string) => parseB3({ ...none, b3: text });
  t.same(b3(`${id}-${span}-1`), { traceId: id, spanId: span, sampled: true });
  t.same(b3(`${id}-${span}-0-${span}`)?.sampled, false);
  t.same(b3(`${id}-${span}-d`)?.sampled, true);
  t.same(b3(`${id}-${span}`)?.sampled, null);
  t.same(b3(`${span}-${span}-1`)?.traceId, `${'0'.repeat(16)}${span}`, 'ids of 64 bits');
  for (const bad of ['0', '1', 'd', id, `${id}-${span}-2`, `${id}-${'0'.repeat(16)}-1`])
    t.equal(b3(bad), null, bad);
});

t.test('B3 in several headers', async t => {
  const ids = { ...none, traceId: id.toUpperCase(), spanId: span };
  t.same(parseB3(ids), { traceId: id, spanId: span, sampled: null });
  t.equal(parseB3({ ...ids, sampled: '1' })?.sampled, true);
  t.equal(parseB3({ ...ids, sampled: 'false' })?.sampled, false);
  t.equal(parseB3({ ...ids, sampled: '0', flags: '1' })?.sampled, true, 'debug');
  t.equal(parseB3({ ...none, traceId: id }), null);
});
