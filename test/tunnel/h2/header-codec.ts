/** HPACK decoding and encoding: the examples of RFC 7541 appendix C, the limits, and what must hold for any bytes. */
import * as fc from 'fast-check';
import t from 'tap';
import { Fault } from '../../../tunnel/h2/errors.ts';
import { HeaderDecoder } from '../../../tunnel/h2/header-decoder.ts';
import { blockBound, encodeConnect, encodeFields, encodeStatus } from '../../../tunnel/h2/header-encoder.ts';
import { DynamicTable } from '../../../tunnel/h2/header-table.ts';
import type { HeaderField } from '../../../tunnel/h2/header-table.ts';
import { defaultLimits } from '../../../tunnel/h2/limits.ts';
import type { H2Limits } from '../../../tunnel/h2/limits.ts';

const limits = defaultLimits('server');

function decoder(changes: Partial<H2Limits> = {}): (hex: string | Buffer) => string[] {
  const decoder = new HeaderDecoder({ ...limits, ...changes });
  return hex => {
    const block = typeof hex === 'string' ? Buffer.from(hex.replaceAll(/\s/g, ''), 'hex') : hex;
    return decoder.decode(block, 0, block.length).map(([name, value]) => `${name}: ${value}`);
  };
}

function faultOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    return error instanceof Fault ? error.code : String(error);
  }
  return 'none';
}

t.test('C.2 single fields', async t => {
  t.strictSame(decoder()('400a 6375 7374 6f6d 2d6b 6579 0d63 7573 746f 6d2d 6865 6164 6572'), [
    'custom-key: custom-header',
  ]);
  t.strictSame(decoder()('040c 2f73 616d 706c 652f 7061 7468'), [':path: /sample/path']);
  t.strictSame(decoder()('1008 7061 7373 776f 7264 0673 6563 7265 74'), ['password: secret']);
  t.strictSame(decoder()('82'), [':method: GET']);
});

const requests = [
  [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com'],
  [':method: GET', ':scheme: http', ':path: /', ':authority: www.example.com', 'cache-control: no-cache'],
  [
    ':method: GET',
    ':scheme: https',
    ':path: /index.html',
    ':authority: www.example.com',
    'custom-key: custom-value',
  ],
];

t.test('C.3 requests without Huffman, C.4 with: the dynamic table carries on', async t => {
  const plain = decoder();
  t.strictSame(plain('8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d'), requests[0]);
  t.strictSame(plain('8286 84be 5808 6e6f 2d63 6163 6865'), requests[1]);
  t.strictSame(
    plain('8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65'),
    requests[2],
  );
  const huffman = decoder();
  t.strictSame(huffman('8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff'), requests[0]);
  t.strictSame(huffman('8286 84be 5886 a8eb 1064 9cbf'), requests[1]);
  t.strictSame(huffman('8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf'), requests[2]);
});

t.test('C.6 responses with eviction: a table of 256 bytes', async t => {
  const decode = decoder();
  const shrink = '3fe1 01';
  const date = (second: number): string => `date: Mon, 21 Oct 2013 20:13:${second} GMT`;
  const location = 'location: https://www.example.com';
  t.strictSame(
    decode(
      `${shrink} 4882 6402 5885 aec3 771a 4b61 96d0 7abe 9410 54d4 44a8 2005 9504 0b81 66e0 82a6
       2d1b ff6e 919d 29ad 1718 63c7 8f0b 97c8 e9ae 82ae 43d3`,
    ),
    [':status: 302', 'cache-control: private', date(21), location],
  );
  t.strictSame(decode('4883 640e ffc1 c0bf'), [':status: 307', 'cache-control: private', date(21), location]);
  t.strictSame(
    decode(
      `88c1 6196 d07a be94 1054 d444 a820 0595 040b 8166 e084 a62d 1bff c05a 839b d9ab 77ad 94e7 821d d7f2
       e6c7 b335 dfdf cd5b 3960 d5af 2708 7f36 72c1 ab27 0fb5 291f 9587 3160 65c0 03ed 4ee5 b106 3d50 07`,
    ),
    [
      ':status: 200',
      'cache-control: private',
      date(22),
      location,
      'content-encoding: gzip',
      'set-cookie: foo=ASDJKHQKBZXOQWEOPIUAXQWEOIU; max-age=3600; version=1',
    ],
  );
  t.equal(
    faultOf(() => decode('c2')),
    'H2_COMPRESSION',
    'the evicted are gone: three fields remain (62 to 64)',
  );
});

t.test('what is not HPACK is a compression error', async t => {
  const cases: Record<string, string> = {
    'index 0': '80',
    'an index beyond both tables': 'be',
    'a name index beyond both tables': '7e0161',
    'an integer that never ends': 'ffffffffffffffffffff',
    'an integer over 2^28': 'ffffffffff0f',
    'a string longer than the block': '0005616263',
    'a block that ends inside an integer': 'ff',
    'a literal without a value': '000161',
    'a size update beyond the table of the settings': '3fe21f',
    'a size update behind a field': '8220',
    'broken Huffman': '0084ffffffff0161',
  };
  for (const [what, hex] of Object.entries(cases))
    t.equal(
      faultOf(() => decoder()(hex)),
      'H2_COMPRESSION',
      what,
    );
});

t.test('bombs end at the limits', async t => {
  const field = Buffer.concat([Buffer.from([0x40, 1, 0x61, 0x7f, 0x81, 0x1e]), Buffer.alloc(4000, 'b')]);
  const bomb = Buffer.concat([field, Buffer.alloc(40_000, 0xbe)]);
  t.equal(
    faultOf(() => decoder()(bomb)),
    'H2_HEADER_FLOOD',
    'one large field, referred to again and again',
  );
  t.equal(
    faultOf(() => decoder()(Buffer.alloc(129, 0x82))),
    'H2_HEADER_FLOOD',
    'many fields',
  );
  t.equal(decoder()(Buffer.alloc(128, 0x82)).length, 128);
  t.equal(
    faultOf(() => decoder({ maxHeaderListBytes: 41 })('82')),
    'H2_HEADER_FLOOD',
    ':method GET counts 42 bytes',
  );
  t.strictSame(decoder({ maxHeaderListBytes: 42 })('82'), [':method: GET']);
});

t.test('the dynamic table keeps the newest within its size', async () => {
  const operation = fc.oneof(
    fc
      .tuple(fc.string({ maxLength: 40 }), fc.string({ maxLength: 40 }))
      .map(field => ({ add: field as HeaderField })),
    fc.integer({ min: 0, max: 400 }).map(size => ({ resize: size })),
  );
  fc.assert(
    fc.property(fc.array(operation, { maxLength: 60 }), operations => {
      const table = new DynamicTable(300);
      let model: HeaderField[] = [];
      let maxSize = 300;
      const size = (): number =>
        model.reduce((sum, [name, value]) => sum + name.length + value.length + 32, 0);
      for (const operation of operations) {
        if ('resize' in operation) {
          maxSize = operation.resize;
          table.resize(maxSize);
        } else {
          table.add(operation.add);
          model.unshift(operation.add);
        }
        while (size() > maxSize) model = model.slice(0, -1);
        if (table.size !== size() || table.count !== model.length || table.at(model.length) !== null)
          return false;
        if (model.some((field, age) => table.at(age) !== field)) return false;
      }
      return true;
    }),
  );
});

const name = fc.stringMatching(/^[a-z0-9!#$%&'*+.^_`|~-]{1,200}$/);
const value = fc.stringMatching(
  /^([\x21-\x7e\x80-\xff]([\x20-\x7e\x80-\xff\t]{0,300}[\x21-\x7e\x80-\xff])?)?$/,
);

t.test('what we encode decodes to the same, in an exact block', async () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(name, value), { maxLength: 20 }),
      fc.stringMatching(/^[0-9a-z.:-]{1,60}$/),
      (fields, authority) => {
        const target = Buffer.alloc(blockBound(authority.length, fields));
        const end = encodeFields(target, encodeConnect(target, 0, authority), fields);
        const decoded = new HeaderDecoder(limits).decode(target, 0, end);
        const expected = [[':method', 'CONNECT'], [':authority', authority], ...fields];
        return JSON.stringify(decoded) === JSON.stringify(expected);
      },
    ),
  );
});

t.test('every status, by index or by value', async t => {
  for (let status = 200; status < 600; status += 1) {
    const target = Buffer.alloc(16);
    const end = encodeStatus(target, 0, status);
    const decoded = new HeaderDecoder(limits).decode(target, 0, end);
    if (decoded[0]?.[1] !== String(status)) t.fail(`status ${status}`);
  }
  t.equal(encodeStatus(Buffer.alloc(16), 0, 200), 1, '200 is one byte');
});

t.test('nothing that could break a header gets out', async t => {
  const bad: [string, string][] = [
    ['a', 'b\r\nc: d'],
    ['a', 'b\0'],
    ['a', ' b'],
    ['a', 'b\t'],
    ['a', '\u0100'],
    ['A', 'b'],
    ['a b', 'c'],
    [':path', '/'],
    ['', 'b'],
  ];
  for (const field of bad) {
    t.throws(
      () => encodeFields(Buffer.alloc(64), 0, [field]),
      { code: 'H2_BAD_HEADER' },
      JSON.stringify(field),
    );
  }
  t.throws(() => encodeConnect(Buffer.alloc(64), 0, 'a\nb'), { code: 'H2_BAD_HEADER' });
});

t.test('any bytes decode or are a Fault, also behind one another', async () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 5 }), blocks => {
      const decoder = new HeaderDecoder(limits);
      for (const block of blocks) {
        try {
          decoder.decode(Buffer.from(block), 0, block.length);
        } catch (error) {
          return error instanceof Fault;
        }
      }
      return true;
    }),
    { numRuns: 2000 },
  );
});
